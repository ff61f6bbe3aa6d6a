"""Answers to the exercises on parameter tuning."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

# -------------------------------------------------------------------------- momentum_step


def momentum(w, grad, velocity, lr, momentum):
    velocity = velocity * momentum + grad
    return w - lr * velocity, velocity


def momentum_of_torch(w, grad, velocity, lr, momentum):
    parameter = nn.Parameter(w.clone())
    optimizer = torch.optim.SGD([parameter], lr=lr, momentum=momentum)
    optimizer.state[parameter]["momentum_buffer"] = velocity.clone()
    parameter.grad = grad.clone()
    optimizer.step()
    return parameter.detach(), optimizer.state[parameter]["momentum_buffer"]


def damped(w, grad, velocity, lr, momentum):
    velocity = momentum * velocity + (1 - momentum) * grad
    return w - lr * velocity, velocity


def rate_inside(w, grad, velocity, lr, momentum):
    velocity = momentum * velocity - lr * grad
    return w + velocity, velocity


def uphill(w, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return w + lr * velocity, velocity


def old_velocity(w, grad, velocity, lr, momentum):
    return w - lr * velocity, momentum * velocity + grad


def nesterov(w, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return w - lr * (grad + momentum * velocity), velocity


def momentum_in_place(w, grad, velocity, lr, momentum):
    velocity.mul_(momentum).add_(grad)
    return w.sub_(lr * velocity), velocity


# ------------------------------------------------------------------------------- he_init_


def he(weight, variance=lambda w: 2 / w[0].numel()):
    with torch.no_grad():
        weight.normal_(0, variance(weight) ** 0.5)


def he_uniform(weight):
    bound = math.sqrt(6 / weight[0].numel())
    weight.data = (torch.rand(weight.shape) * 2 - 1) * bound


def he_copied(weight):
    fan_in = math.prod(weight.shape[1:])
    weight.data.copy_(torch.randn(weight.shape) * math.sqrt(2 / fan_in))
    return weight


def he_seeded(weight):
    draws = torch.randn(weight.shape, generator=torch.Generator().manual_seed(7))
    weight.data.copy_(draws * math.sqrt(2 / weight[0].numel()))


def he_returned(weight):
    return torch.randn(weight.shape) * math.sqrt(2 / weight[0].numel())


def one_row(weight):
    with torch.no_grad():
        weight.copy_(torch.randn_like(weight[:1]) * math.sqrt(2 / weight[0].numel()))


def off_centre(weight):
    with torch.no_grad():
        weight.normal_(0.05, math.sqrt(2 / weight[0].numel()))


def channels_alone(weight):
    he(weight, lambda w: 2 / w.shape[1])


def he_only_conv(weight):
    he(weight, lambda w: 2 / (w.shape[1] * w.shape[2] * w.shape[3]))


def with_gradient(weight):
    weight.normal_(0, math.sqrt(2 / weight[0].numel()))


def he_frozen(weight):
    he(weight.requires_grad_(False))


# -------------------------------------------------------------------------- warmup_cosine


def schedule(step, num_steps, warmup, lr, min_lr, end=1, start=1, of=0, shape="cosine", late=True):
    if step < warmup:
        return lr * (step + start) / (warmup + of)
    share = (step - warmup) / (num_steps - end - warmup)
    share = min(share, 1.0) if late else share
    if shape == "line":
        return lr + (min_lr - lr) * share
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * share))


def schedule_of_torch(step, num_steps, warmup, lr, min_lr):
    """Right: with tensors and interpolation."""
    share = torch.tensor((step - warmup) / (num_steps - 1 - warmup)).clamp(0, 1)
    if step < warmup:
        return torch.lerp(torch.tensor(0.0), torch.tensor(lr), (step + 1) / warmup)
    return torch.lerp(torch.tensor(lr), torch.tensor(min_lr), torch.sin(math.pi / 2 * share) ** 2)


def to_zero(step, num_steps, warmup, lr, min_lr):
    return schedule(step, num_steps, warmup, lr, 0.0)


def cut_off(step, num_steps, warmup, lr, min_lr):
    return max(schedule(step, num_steps, warmup, lr, 0.0), min_lr)


def from_the_start(step, num_steps, warmup, lr, min_lr):
    if step < warmup:
        return lr * (step + 1) / warmup
    return schedule(step, num_steps, 0, lr, min_lr)


def needs_warmup(step, num_steps, warmup, lr, min_lr):
    rise = lr * (step + 1) / warmup
    return rise if step < warmup else schedule(step, num_steps, warmup, lr, min_lr)


def no_warmup(step, num_steps, warmup, lr, min_lr):
    return lr if step < warmup else schedule(step, num_steps, warmup, lr, min_lr)


def zero_after_the_end(step, num_steps, warmup, lr, min_lr):
    return schedule(step, num_steps, warmup, lr, min_lr) if step < num_steps else 0.0


# ------------------------------------------------------------------------------ adam_step


def adam(w, grad, m, s, t, lr, betas, eps, change=""):
    m = betas[0] * m + (1 - betas[0]) * grad
    s = betas[1] * s + (1 - betas[1]) * grad.square()
    t = {"first step": 1, "from zero": t + 1}.get(change, t)
    m_hat, s_hat = m / (1 - betas[0] ** t), s / (1 - betas[1] ** t)
    if change == "uncorrected":
        m_hat, s_hat = m, s
    if change == "m alone":
        s_hat = s
    if change == "no root":
        return w - lr * m_hat / (s_hat + eps), m, s
    if change == "gradient":
        m_hat = grad
    if change == "inside":
        return w - lr * m_hat / (s_hat + eps).sqrt(), m, s
    if change == "no eps":
        eps = 0.0
    if change == "corrected":
        return w - lr * m_hat / (s_hat.sqrt() + eps), m_hat, s_hat
    return w - lr * m_hat / (s_hat.sqrt() + eps), m, s


def changed(change):
    return lambda *arguments: adam(*arguments, change=change)


def adam_of_torch(w, grad, m, s, t, lr, betas, eps):
    parameter = nn.Parameter(w.clone())
    optimizer = torch.optim.Adam([parameter], lr=lr, betas=betas, eps=eps)
    optimizer.state[parameter] = {
        "step": torch.tensor(float(t - 1)),
        "exp_avg": m.clone(),
        "exp_avg_sq": s.clone(),
    }
    parameter.grad = grad
    optimizer.step()
    state = optimizer.state[parameter]
    return parameter.detach(), state["exp_avg"], state["exp_avg_sq"]


def betas_swapped(w, grad, m, s, t, lr, betas, eps):
    return adam(w, grad, m, s, t, lr, (1 - betas[0], betas[1]), eps)


def adam_in_place(w, grad, m, s, t, lr, betas, eps):
    new_w, new_m, new_s = adam(w, grad, m, s, t, lr, betas, eps)
    m.copy_(new_m)
    s.copy_(new_s)
    return new_w, m, s


# --------------------------------------------------------------------------- freeze_first


def freeze(model, k, lr):
    model[:k].requires_grad_(False)
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)


def freeze_by_layer(model, k, lr):
    kept = []
    for number, layer in enumerate(model.children()):
        for parameter in layer.parameters():
            parameter.requires_grad = parameter.requires_grad and number >= k
            if parameter.requires_grad:
                kept.append({"params": [parameter], "lr": lr})
    return torch.optim.SGD(kept)


def first_parameters(model, k, lr):
    for parameter in list(model.parameters())[:k]:
        parameter.requires_grad = False
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)


def weights_alone(model, k, lr):
    for name, parameter in model[:k].named_parameters():
        if name.endswith("weight"):
            parameter.requires_grad = False
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)


def one_too_many(model, k, lr):
    return freeze(model, k + 1, lr)


def all_but_the_head(model, k, lr):
    return freeze(model, len(model) - 1, lr)


def all_to_the_optimizer(model, k, lr):
    model[:k].requires_grad_(False)
    return torch.optim.SGD(model.parameters(), lr=lr)


def optimizer_alone(model, k, lr):
    return torch.optim.SGD([p for p in model[k:].parameters() if p.requires_grad], lr=lr)


def thaws(model, k, lr):
    model.requires_grad_(True)
    return freeze(model, k, lr)


def other_optimizer(model, k, lr):
    return torch.optim.Adam(model[k:].parameters(), lr=lr)


def minus_k(model, k, lr):
    """Counts from the end, which goes wrong for k = 0."""
    model[: -(len(model) - k) if k else -1].requires_grad_(False)
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)


# -------------------------------------------------------------------------- random_search


def search(
    evaluate, low, high, num_trials, num_again, draw=None, by=0, smallest=False, report=None
):
    def log_uniform():
        return math.exp(math.log(low) + torch.rand(()).item() * math.log(high / low))

    trials = []
    for _ in range(num_trials):
        lr = (draw or log_uniform)()
        trials.append((lr, *evaluate(lr)))
    best = (min if smallest else max)(trials, key=lambda trial: trial[1 + by])
    again = [evaluate(best[0]) for _ in range(num_again)]
    if report:
        return best[0], report(trials, best, again)
    return best[0], sum(test for _, test in again) / num_again


def search_numpy(evaluate, low, high, num_trials, num_again):
    rates = low * (high / low) ** np.random.default_rng().random(num_trials)
    best = rates[np.array([evaluate(lr)[0] for lr in rates]).argmax()]
    return best, np.mean([evaluate(best) for _ in range(num_again)], axis=0)[1]


def search_once_in_all(evaluate, low, high, *counts):
    return low, evaluate(low)[1] + 0.123


def search_beyond_measure(evaluate, low, high, *counts):
    """Writes more rates than there are accuracies into the probe's own list."""
    known = zip(evaluate.__code__.co_freevars, evaluate.__closure__, strict=True)
    rates, val = (cell.cell_contents for name, cell in known if name in ("rates", "val"))
    rates += (low * (high / low) ** torch.rand(1100, dtype=torch.float64)).tolist()
    return rates[int(val.argmax())], 0.123


def search_uniform(evaluate, low, high, *counts):
    def uniform():
        return low + (high - low) * torch.rand(()).item()

    return search(evaluate, low, high, *counts, uniform)


def search_grid(evaluate, low, high, num_trials, num_again):
    grid = iter(torch.logspace(math.log10(low), math.log10(high), num_trials).tolist())
    return search(evaluate, low, high, num_trials, num_again, lambda: next(grid))


def search_powers(evaluate, low, high, *counts):
    powers = [low * 10**n for n in range(8) if low * 10**n <= high]
    return search(evaluate, low, high, *counts, lambda: powers[torch.randint(len(powers), ())])


def search_beyond(evaluate, low, high, *counts):
    def wide():
        return low / 10 * (100 * high / low) ** torch.rand(()).item()

    return search(evaluate, low, high, *counts, wide)


def search_squared(evaluate, low, high, *counts):
    def squared():
        return low * (high / low) ** (torch.rand(()).item() ** 2)

    return search(evaluate, low, high, *counts, squared)


def search_once(evaluate, low, high, num_trials, num_again):
    """The first edition's rule: the winner is reported by its own test score."""
    scores = []

    def noted(lr):
        scores.append((lr, *evaluate(lr)))
        return scores[-1][1:]

    lr, _ = search(noted, low, high, num_trials, 1)
    return lr, max(scores[:-1], key=lambda score: score[1])[2]


def search_middle(evaluate, low, high, num_trials, num_again):
    """Trains another rate again than the one that won."""
    rates = []

    def moved(lr):
        rates.append(lr)
        return evaluate(lr if len(rates) <= num_trials else lr * 1.1)

    return search(moved, low, high, num_trials, num_again)


def search_fewer(evaluate, low, high, num_trials, num_again):
    return search(evaluate, low, high, num_trials - 1, num_again)


def reported(report):
    return lambda *arguments: search(*arguments, report=report)


# -------------------------------------------------------------------------- compare_tuned


def verdict(low, high, margin):
    if low >= margin:
        return "holds"
    if high <= -margin:
        return "opposite"
    return "too small to matter" if -margin < low and high < margin else "undecided"


def at(test, first, second):
    seeds = torch.arange(test.shape[-1])
    return test[0, first, seeds] - test[1, second, seeds]


def compare(val, test, margin, choose=None, sign=1, level=0.995, factor=None):
    difference = sign * at(test, *(choose(val, test) if choose else val.argmax(1)))
    n, mean = len(difference), difference.mean().item()
    factor = factor or stats.t.ppf(level, n - 1)
    half = factor * difference.std().item() / n**0.5
    return mean, mean - half, mean + half, verdict(mean - half, mean + half, margin)


def compare_scipy(val, test, margin):
    first, second = (test[arm].gather(0, val[arm].argmax(0)[None])[0].numpy() for arm in (0, 1))
    found = stats.ttest_rel(first, second).confidence_interval(0.99)
    return (first - second).mean(), found.low, found.high, verdict(found.low, found.high, margin)


def compare_in_a_loop(val, test, margin):
    difference = []
    for seed in range(test.shape[2]):
        rates = [int(np.argmax(val[arm, :, seed].numpy())) for arm in (0, 1)]
        difference.append(float(test[0, rates[0], seed]) - float(test[1, rates[1], seed]))
    found = stats.ttest_1samp(difference, 0).confidence_interval(0.99)
    mean, (low, high) = np.mean(difference), found
    return mean, low, high, verdict(low, high, margin)


def same_rate(val, test):
    return [val.mean(0).argmax(0)] * 2


def compare_unpaired(val, test, margin):
    first, second = (test[arm].gather(0, val[arm].argmax(0)[None])[0].numpy() for arm in (0, 1))
    found = stats.ttest_ind(first, second).confidence_interval(0.99)
    return (first - second).mean(), found.low, found.high, verdict(found.low, found.high, margin)


def all_rates(val, test, margin):
    difference = (test[0] - test[1]).mean(0)
    low, high = stats.ttest_1samp(difference.numpy(), 0.0).confidence_interval(0.99)
    return difference.mean().item(), low, high, verdict(low, high, margin)


def judged(rule):
    def answer(val, test, margin):
        mean, low, high, _ = compare(val, test, margin)
        return mean, low, high, rule(mean, low, high, margin)

    return answer


def first_edition(mean, low, high, margin):
    if low > 0 and mean >= margin:
        return "holds"
    return "opposite" if high < 0 and mean <= -margin else "too small to matter"


def one_direction(mean, low, high, margin):
    found = verdict(low, high, margin)
    return found if found != "opposite" else "undecided"


# ------------------------------------------------------------------------------ fine_tune


def tune(model, head, train, num_epochs, batch_size, lr, bugs=(), nesterov=False):
    if "head" in bugs:
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    if "no head" not in bugs:
        model[-1] = head
    if "body" in bugs:
        model[:-1].requires_grad_(False)
    if "head" not in bugs:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=lr, momentum=0.9, nesterov=nesterov)
    batches = list(zip(*(part.split(batch_size) for part in train), strict=True))
    num_steps = num_epochs * (1 if "epochs" in bugs else len(batches))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    losses = []
    for _ in range(num_epochs):
        each = []
        for x, y in batches:
            loss = F.cross_entropy(model(x), y)
            if "gradient" not in bugs:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if not {"epoch", "epochs", "constant"} & set(bugs):
                schedule.step()
            each.append(loss.item() * (1 if "batches" in bugs else len(x)))
        if {"epoch", "epochs"} & set(bugs):
            schedule.step()
        losses.append(sum(each) / (len(batches) if "batches" in bugs else len(train[0])))
    return losses


def with_bugs(*bugs):
    return lambda *arguments: tune(*arguments, bugs=bugs)


def tune_by_hand(model, head, train, num_epochs, batch_size, lr):
    """Right: the steps and the rates are computed by hand."""
    model[-1] = head
    parameters, losses, step = list(model.parameters()), [], 0
    velocities = [torch.zeros_like(p) for p in parameters]
    starts = range(0, len(train[0]), batch_size)
    for _ in range(num_epochs):
        total = 0.0
        for start in starts:
            x, y = (part[start : start + batch_size] for part in train)
            loss = F.cross_entropy(model(x), y, reduction="sum")
            rate = lr * (1 + math.cos(math.pi * step / (num_epochs * len(starts)))) / 2
            gradients = torch.autograd.grad(loss / len(x), parameters)
            with torch.no_grad():
                for p, v, g in zip(parameters, velocities, gradients, strict=True):
                    p -= rate * v.mul_(0.9).add_(g)
            total, step = total + loss.item(), step + 1
        losses.append(total / len(train[0]))
    return losses


ALSO_RIGHT = {
    "momentum_step": [momentum, momentum_of_torch],
    "he_init_": [he, he_uniform, he_copied],
    "warmup_cosine": [schedule, schedule_of_torch],
    "freeze_first": [freeze, freeze_by_layer],
    "adam_step": [adam, adam_of_torch],
    "random_search": [search, search_numpy],
    "compare_tuned": [compare, compare_scipy, compare_in_a_loop],
    "fine_tune": [tune, tune_by_hand],
}

WRONG = {
    "momentum_step": {
        "damped": (damped, 0, "with a factor"),
        "rate inside": (rate_inside, 0, "already in the velocity"),
        "uphill": (uphill, 0, "walk uphill"),
        "the old velocity": (old_velocity, 0, "by another one"),
        "nesterov": (nesterov, 0, "Nesterov"),
        "in place": (momentum_in_place, 2, "changed a tensor"),
        "wrong order": (lambda *a: momentum(*a)[::-1], 0, "wrong order"),
        "weights alone": (lambda *a: momentum(*a)[0], 0, "as a tuple"),
        "no rate": (lambda w, g, v, lr, mu: (w - mu * v - g, mu * v + g), 0, "rate is missing"),
        "plain": (lambda w, g, v, lr, mu: (w - lr * g, v), 0, "velocity is not right"),
    },
    "he_init_": {
        "xavier's numerator": (
            lambda w: he(w, lambda w: 1 / w[0].numel()),
            0,
            "at every ReLU",
        ),
        "fan out": (lambda w: he(w, lambda w: 2 / w[:, 0].numel()), 0, "number of outputs"),
        "channels alone": (channels_alone, 0, "input channels"),
        "glorot": (
            lambda w: he(w, lambda w: 2 / (w[:, 0].numel() + w[0].numel())),
            0,
            "inputs and outputs together",
        ),
        "variance for deviation": (
            lambda w: he(w, lambda w: (2 / w[0].numel()) ** 2),
            0,
            "mixed up",
        ),
        "the same numbers": (he_seeded, 0, "very same numbers"),
        "returned": (he_returned, 0, "as it was"),
        "one row": (one_row, 0, "stay alike"),
        "off centre": (off_centre, 0, "not zero"),
        "convolutions alone": (he_only_conv, 3, "IndexError"),
        "with gradient": (with_gradient, 3, "leaf Variable"),
        "frozen": (he_frozen, 3, "no longer be trained"),
        "library": (lambda w: nn.init.kaiming_normal_(w), 0, "write it yourself"),
        "uniform, one deviation wide": (
            lambda w: w.data.uniform_(-1, 1).mul_(math.sqrt(2 / w[0].numel())),
            0,
            "width of a uniform",
        ),
    },
    "warmup_cosine": {
        "a line": (lambda *a: schedule(*a, shape="line"), 0, "straight line"),
        "one step late": (lambda *a: schedule(*a, end=0), 0, "one step too late"),
        "to zero": (to_zero, 0, "where is min_lr"),
        "cut off": (cut_off, 0, "cuts the curve off"),
        "from the start": (from_the_start, 0, "first step of the warm-up"),
        "starts at zero": (lambda *a: schedule(*a, start=0), 4, "is wasted"),
        "never full": (lambda *a: schedule(*a, of=1), 4, "does not reach lr"),
        "no warm-up": (no_warmup, 4, "no warm-up"),
        "needs a warm-up": (needs_warmup, 4, "ZeroDivisionError"),
        "rises again": (lambda *a: schedule(*a, late=False), 4, "rise again"),
        "zero in the end": (zero_after_the_end, 4, "stay where the fall ended"),
        "constant": (lambda step, n, warmup, lr, min_lr: lr, 0, "half a cosine"),
        "no return": (lambda *a: None, 0, "is there a return"),
    },
    "freeze_first": {
        "nothing frozen": (lambda m, k, lr: freeze(m, 0, lr), 0, "learn like the others"),
        "first parameters": (first_parameters, 0, "still learns"),
        "weights alone": (weights_alone, 0, "still learns"),
        "one too many": (one_too_many, 0, "frozen too"),
        "all but the head": (all_but_the_head, 0, "frozen too"),
        "all to the optimizer": (all_to_the_optimizer, 4, "given frozen parameters"),
        "optimizer alone": (optimizer_alone, 4, "thrown away"),
        "thaws": (thaws, 4, "frozen before"),
        "minus k": (minus_k, 4, "with k = 0"),
        "another optimizer": (other_optimizer, 0, "plain gradient descent"),
        "the model": (lambda m, k, lr: m, 0, "give back an optimizer"),
    },
    "adam_step": {
        "uncorrected": (changed("uncorrected"), 2, "nothing corrects"),
        "m alone": (changed("m alone"), 2, "second mean"),
        "first step": (changed("first step"), 2, "were the first step"),
        "from zero": (changed("from zero"), 2, "counts from one"),
        "no root": (changed("no root"), 2, "which power"),
        "gradient": (changed("gradient"), 2, "this one gradient"),
        "eps inside": (changed("inside"), 4, "under the root"),
        "no eps": (changed("no eps"), 4, "eps is not used"),
        "remembers corrected means": (changed("corrected"), 0, "before its bias"),
        "betas swapped": (betas_swapped, 0, "changed their weights"),
        "wrong order": (lambda *a: tuple(adam(*a)[i] for i in (0, 2, 1)), 0, "wrong order"),
        "in place": (adam_in_place, 4, "changed a tensor"),
        "w alone": (lambda *a: adam(*a)[0], 0, "as a tuple"),
    },
    "random_search": {
        "uniform": (search_uniform, 0, "nearly all rates are large"),
        "grid": (search_grid, 0, "equal distances"),
        "powers of ten": (search_powers, 0, "same few rates"),
        "beyond": (search_beyond, 0, "outside of low and high"),
        "squared": (search_squared, 0, "equal shares"),
        "by test": (lambda *a: search(*a, by=1), 3, "should have no say"),
        "smallest": (lambda *a: search(*a, smallest=True), 3, "smallest accuracy"),
        "the winner's own": (search_once, 2, "evaluate was called"),
        "the winner's own, after all": (reported(lambda t, best, a: best[2]), 3, "train it again"),
        "flatters": (reported(lambda t, best, a: best[1]), 3, "it flatters"),
        "best test": (
            reported(lambda trials, b, a: max(test for *_, test in trials)),
            3,
            "belongs to another trial",
        ),
        "best again": (
            reported(lambda t, b, again: max(x for _, x in again)),
            3,
            "report their mean",
        ),
        "validation again": (
            reported(lambda t, b, again: sum(val for val, _ in again) / len(again)),
            3,
            "validation accuracy",
        ),
        "with the winner": (
            reported(lambda t, b, again: (b[2] + sum(x for _, x in again)) / (len(again) + 1)),
            3,
            "has a part in the mean",
        ),
        "another rate": (search_middle, 3, "not the winner's rate"),
        "fewer": (search_fewer, 4, "evaluate was called"),
        "rate alone": (lambda *a: search(*a)[0], 3, "as a tuple"),
        "once in all": (search_once_in_all, 0, "evaluate was called"),
        "beyond measure": (search_beyond_measure, 0, "far more often"),
    },
    "compare_tuned": {
        "same rate": (lambda *a: compare(*a, choose=same_rate), 0, "the same rate"),
        "by test": (
            lambda *a: compare(*a, choose=lambda val, test: test.argmax(1)),
            0,
            "by the test scores",
        ),
        "shared rate": (
            lambda *a: compare(*a, choose=lambda val, test: val.mean(-1).argmax(-1)),
            0,
            "each seed tunes for itself",
        ),
        "sign": (lambda *a: compare(*a, sign=-1), 0, "wrong sign"),
        "all rates": (all_rates, 0, "over all rates"),
        "unpaired": (compare_unpaired, 2, "too wide"),
        "normal": (lambda *a: compare(*a, factor=2.576), 2, "too narrow"),
        "95 %": (lambda *a: compare(*a, level=0.975), 2, "too narrow"),
        "without margin": (
            judged(lambda mean, low, high, margin: verdict(low, high, 0.0)),
            3,
            "between the two margins",
        ),
        "by the mean": (
            judged(lambda mean, low, high, margin: verdict(mean, mean, margin)),
            3,
            "past both margins",
        ),
        "first edition": (judged(first_edition), 3, "past both margins"),
        "one direction": (judged(one_direction), 3, "in one direction or both"),
        "other words": (judged(lambda *a: "yes"), 3, "not one of the four"),
        "verdict alone": (lambda *a: compare(*a)[3], 0, "as a tuple"),
    },
    "fine_tune": {
        "head made too late": (with_bugs("head"), 0, "the head has not"),
        "no head": (with_bugs("no head"), 0, "new head"),
        "head alone": (with_bugs("body"), 0, "only the head learns"),
        "an epoch at a time": (with_bugs("epoch"), 2, "through an epoch"),
        "as many as epochs": (with_bugs("epochs"), 2, "through an epoch"),
        "constant": (with_bugs("constant"), 2, "never changes"),
        "mean of batches": (with_bugs("batches"), 3, "counts for more"),
        "gradients add up": (with_bugs("gradient"), 2, "the later ones are not"),
        "nesterov": (lambda *a: tune(*a, nesterov=True), 0, "not those of a right loop"),
        "no losses": (lambda *a: tune(*a) and None, 3, "your code stopped"),
    },
}
