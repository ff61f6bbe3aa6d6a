"""Judges the answers of the part on parameter tuning: inputs, points, and what is wrong.

It never runs a student's code. Sentences name what is wrong with an answer, not the answer.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from ..rubric import (
    ONE_OR_TWO,
    Criterion,
    Given,
    Question,
    Seen,
    Wrong,
    near,
    normal,
    once,
    same_state,
    unchanged,
)
from . import studies

Array = np.ndarray


def _parts(seen: Seen, call: str, count: int, what: str) -> list[str]:
    """The names of the parts of a tuple.

    Raises:
        Wrong: something else came back, or the call raised.
    """
    if error := seen.text(f"{call}.error"):
        raise Wrong(error)
    if f"{call}.{count - 1}" not in seen or f"{call}.{count}" in seen:
        raise Wrong(f"give back {what}, as a tuple.")
    return [f"{call}.{number}" for number in range(count)]


# -------------------------------------------------------------------------- momentum_step


def _momentum_given(rng: np.random.Generator) -> Given:
    shape = rng.integers(2, 6, 2)
    return {
        "w": normal(rng, *shape),
        "grad": normal(rng, *shape),
        "velocity": normal(rng, *shape),
        "lr": np.array(rng.uniform(0.2, 0.4)),
        "momentum": np.array(rng.uniform(0.7, 0.9)),
    }


def _momentum_values(given: Given, seen: Seen) -> str | None:
    names = _parts(seen, "step", 2, "the new weights and the new velocity")
    w, grad, velocity = (given[k].astype(np.float64) for k in ("w", "grad", "velocity"))
    lr, momentum = float(given["lr"]), float(given["momentum"])
    new_w = seen.tensor(names[0], w.shape, "the new weights")
    new_velocity = seen.tensor(names[1], w.shape, "the new velocity")
    wanted = momentum * velocity + grad
    if near(new_velocity, wanted) and near(new_w, w - lr * wanted):
        return None
    if near(new_w, wanted) or near(new_velocity, w - lr * wanted):
        return "weights and velocity come back in the wrong order."
    if near(new_velocity, momentum * velocity + (1 - momentum) * grad):
        return "the gradient enters the velocity with a factor; in PyTorch's momentum it does not."
    if near(new_velocity, momentum * velocity + lr * grad) or near(
        new_velocity, momentum * velocity - lr * grad
    ):
        return "the learning rate is already in the velocity; in PyTorch it comes later."
    if not near(new_velocity, wanted):
        return "the new velocity is not right."
    if near(new_w, w + lr * wanted):
        return "the velocity is right, and the weights walk uphill."
    if near(new_w, w - lr * velocity):
        return "the velocity is right, but the weights move by another one."
    if near(new_w, w - lr * (grad + momentum * wanted)):
        return "the weights look ahead; that is Nesterov's momentum."
    if near(new_w, w - wanted):
        return "the learning rate is missing in the step of the weights."
    return "the velocity is right, the weights are not."


def _momentum_keeps(given: Given, seen: Seen) -> str | None:
    return unchanged(seen, "step", given["w"], given["grad"], given["velocity"])


# ------------------------------------------------------------------------------- he_init_


def _he_given(rng: np.random.Generator) -> Given:
    # Such that the variances by other rules are all apart from each other.
    channels = int(rng.integers(6, 15))
    kernel = rng.permutation([(3, 7), (7, 3), (5, 5)])[0]
    conv = [int(channels * rng.uniform(4, 6)), channels, *kernel.tolist()]
    linear = [int(rng.integers(50, 80)), int(rng.integers(100, 140))]
    return {"conv": np.array(conv), "linear": np.array(linear), "order": rng.permutation(4)}


def _filled(given: Given, seen: Seen, call: str, found: Array | None = None) -> Tensor:
    """The weights after a call that should have filled them.

    Raises:
        Wrong: they are as they were, of another shape, or not numbers.
    """
    if error := seen.text(f"{call}.error"):
        raise Wrong(error)
    found = seen.argument(call, 0) if found is None else found
    shape = tuple(given["linear" if call == "linear" else "conv"].tolist())
    if found is None or found.dtype.kind not in "biuf" or found.shape != shape:
        raise Wrong("your code stopped before this could be seen.")
    if not np.isfinite(found).all():
        raise Wrong("some weights are NaN or infinite.")
    if (found == 1).all():
        raise Wrong("the tensor that you were given is as it was; fill it where it stands.")
    return torch.from_numpy(found.astype(np.float64))


def _he_problem(weight: Tensor) -> str | None:
    n, fan_out = weight.numel(), len(weight)
    fan_in, deviation = n // fan_out, weight.std().item()
    if len(torch.unique(weight)) < n / 2:
        return "many weights are equal; units that start alike stay alike."
    # Five standard errors: draws from a normal distribution fail once in a million times.
    room = 5 / math.sqrt(2 * n)

    def like(variance: float) -> bool:
        return abs(deviation / math.sqrt(variance) - 1) < room

    if abs(weight.mean().item()) > 5 * deviation / math.sqrt(n):
        return "the mean of the weights is not zero."
    if like(2 / fan_in):
        return None
    receptive = weight[0, 0].numel()
    known = {
        "half of the signal's power is lost at every ReLU, and nothing makes up for it.": 1
        / fan_in,
        "the variance follows the number of outputs; what adds up are the inputs.": (
            2 / (fan_out * receptive)
        ),
        "the variance follows inputs and outputs together, as in Glorot's rule.": (
            2 / (fan_in + fan_out * receptive)
        ),
        "one unit of a convolution adds up more numbers than it has input channels.": (
            2 / weight.shape[1]
        ),
        "variance and standard deviation are mixed up.": (2 / fan_in) ** 2,
        "the width of a uniform distribution is not its standard deviation.": 2 / fan_in / 3,
    }
    for sentence, variance in known.items():
        if like(variance):
            return sentence
    return "the spread of the weights is not that of He's rule."


def _he_conv(given: Given, seen: Seen) -> str | None:
    weight = _filled(given, seen, "conv")
    if torch.equal(weight, _filled(given, seen, "again")):
        return "two calls fill in the very same numbers; each should draw anew."
    return _he_problem(weight)


def _he_linear(given: Given, seen: Seen) -> str | None:
    problem = _he_problem(_filled(given, seen, "linear"))
    return problem and f"with a weight of a linear layer: {problem}"


def _he_parameter(given: Given, seen: Seen) -> str | None:
    names = _parts(seen, "parameter", 2, "nothing")
    problem = _he_problem(_filled(given, seen, "parameter", seen.array(names[0])))
    if problem is None and not seen.tensor(names[1], ()).item():
        return "the weight of a layer can no longer be trained after your function."
    return problem and f"with the weight of a layer: {problem}"


# -------------------------------------------------------------------------- warmup_cosine


def _warmup_given(rng: np.random.Generator) -> Given:
    lr = rng.uniform(0.2, 0.6)
    return {
        "num_steps": np.array(int(rng.integers(25, 40))),
        "warmup": np.array(int(rng.integers(4, 8))),
        "lr": np.array(lr),
        "min_lr": np.array(lr * rng.uniform(0.2, 0.3)),
        "order": rng.permutation(4),
    }


def _cosine(given: Given, warmup: int, end: float) -> Array:
    lr, low, n = float(given["lr"]), float(given["min_lr"]), int(given["num_steps"])
    share = (np.arange(warmup, n) - warmup) / (end - warmup)
    return low + (lr - low) * (1 + np.cos(np.pi * share)) / 2


def _warmup_fall(given: Given, seen: Seen) -> str | None:
    n, warmup = int(given["num_steps"]), int(given["warmup"])
    lr, low = float(given["lr"]), float(given["min_lr"])
    found = seen.tensor("fall", (n - warmup,), "the list of rates")
    wanted = _cosine(given, warmup, n - 1)
    if near(found, wanted):
        return None
    if near(found, _cosine(given, warmup, n)):
        return "the fall ends one step too late; which number has the last step?"
    if near(found, np.linspace(lr, low, n - warmup)):
        return "the rate falls along a straight line."
    if near(found, (wanted - low) * lr / (lr - low)):
        return "the rate falls to zero; where is min_lr?"
    if near(found, np.maximum((wanted - low) * lr / (lr - low), low)):
        return "min_lr cuts the curve off; the curve should end in it."
    if near(found, _cosine(given, 0, n - 1)[warmup:]):
        return "the cosine began with the first step of the warm-up."
    if near(found[:1], np.array([lr])) and near(found[-1:], np.array([low])):
        return "the fall begins and ends where it should; between them it is not half a cosine."
    return "after the warm-up the rates are not those of half a cosine from lr to min_lr."


def _warmup_rise(given: Given, seen: Seen) -> str | None:
    warmup, lr, low = int(given["warmup"]), float(given["lr"]), float(given["min_lr"])
    found = seen.tensor("rise", (warmup,), "the list of rates in the warm-up")
    if near(found, lr * np.arange(1, warmup + 1) / warmup):
        return None
    if near(found, lr * np.arange(warmup) / warmup):
        return "the first step of the warm-up has the rate zero, and is wasted."
    if near(found, low + (lr - low) * np.arange(warmup) / warmup):
        return "the warm-up rises from min_lr; it should rise in equal parts of lr."
    if near(found, lr * np.arange(1, warmup + 1) / (warmup + 1)):
        return "the last step of the warm-up does not reach lr."
    if near(found, np.full(warmup, lr)):
        return "there is no warm-up."
    return "the rates of the warm-up do not rise as they should."


def _warmup_cold(given: Given, seen: Seen) -> str | None:
    n = int(given["num_steps"])
    try:
        found = seen.tensor("cold", (n,), "the list of rates")
    except Wrong as wrong:
        return f"with warmup = 0: {wrong}"
    return None if near(found, _cosine(given, 0, n - 1)) else "with warmup = 0 the rates are wrong."


def _warmup_late(given: Given, seen: Seen) -> str | None:
    found = seen.tensor("late", (5,), "the list of rates after the end")
    if near(found, np.full(5, float(given["min_lr"]))):
        return None
    if (np.diff(found.numpy()) > 0).any():
        return "a training that goes on after num_steps sees the rate rise again."
    return "after num_steps the rate should stay where the fall ended."


# ------------------------------------------------------------------------------ adam_step


def _adam_given(rng: np.random.Generator) -> Given:
    shape = rng.integers(3, 6, 2)
    return {
        "w": normal(rng, *shape),
        "grad": normal(rng, *shape),
        "m": normal(rng, *shape),
        "s": rng.uniform(0.2, 1.0, shape).astype(np.float32),
        "t": np.array(int(rng.integers(3, 6))),
        "lr": np.array(rng.uniform(0.3, 0.5)),
        "betas": np.array([rng.uniform(0.65, 0.75), rng.uniform(0.85, 0.9)]),
        "fine_eps": np.array(1e-8),
        "coarse_eps": np.array(rng.uniform(0.4, 0.6)),
        "order": rng.permutation(2),
    }


def _adam_means(given: Given) -> tuple[Array, Array, Array]:
    w, grad, m, s = (given[k].astype(np.float64) for k in ("w", "grad", "m", "s"))
    beta_m, beta_s = given["betas"]
    return w, beta_m * m + (1 - beta_m) * grad, beta_s * s + (1 - beta_s) * grad**2


def _adam_moments(given: Given, seen: Seen) -> str | None:
    names = _parts(seen, "fine", 3, "the new w, m and s")
    w, m, s = _adam_means(given)
    beta_m, beta_s = given["betas"]
    seen.tensor(names[0], w.shape, "the new w")
    found_m = seen.tensor(names[1], w.shape, "the new m")
    found_s = seen.tensor(names[2], w.shape, "the new s")
    if near(found_m, m) and near(found_s, s):
        return None
    correct_m, correct_s = 1 - beta_m ** int(given["t"]), 1 - beta_s ** int(given["t"])
    if near(found_m, m / correct_m) or near(found_s, s / correct_s):
        return "what is remembered is the running mean itself, before its bias is corrected."
    if near(found_m, s) and near(found_s, m):
        return "m and s come back in the wrong order."
    grad, old_m = given["grad"].astype(np.float64), given["m"].astype(np.float64)
    if near(found_m, (1 - beta_m) * old_m + beta_m * grad):
        return "old and new have changed their weights in the running mean."
    if not near(found_m, m):
        return "the running mean of the gradients is not right."
    return "the mean of the gradients is right, the mean of their squares is not."


def _adam_weights(given: Given, seen: Seen) -> str | None:
    w, m, s = _adam_means(given)
    t, lr, (beta_m, beta_s) = int(given["t"]), float(given["lr"]), given["betas"]
    correct_m, correct_s = 1 - beta_m**t, 1 - beta_s**t
    found = seen.tensor("fine.0", w.shape, "the new w")

    def step(by_m: float, by_s: float, power: float = 0.5) -> Array:
        return w - lr * (m / by_m) / (s / by_s) ** power

    if near(found, step(correct_m, correct_s)):
        return None
    known = {
        "nothing corrects the bias of the two means, which began at zero.": step(1, 1),
        "the bias of the second mean is not corrected.": step(correct_m, 1),
        "the bias of the first mean is not corrected.": step(1, correct_s),
        "the bias is corrected as if this were the first step.": step(1 - beta_m, 1 - beta_s),
        "t counts from one; you correct as if it counted from zero.": (
            step(1 - beta_m ** (t + 1), 1 - beta_s ** (t + 1))
        ),
        "you divide by the mean square; which power of it has the right unit?": (
            step(correct_m, correct_s, 1.0)
        ),
        "the weights walk uphill.": 2 * w - step(correct_m, correct_s),
    }
    for sentence, wrong in known.items():
        if near(found, wrong):
            return sentence
    grad = given["grad"].astype(np.float64)
    if near(found, w - lr * grad / np.sqrt(s / correct_s)):
        return "the step goes along this one gradient, not along the mean."
    return "m and s are right, the new w is not."


def _adam_eps(given: Given, seen: Seen) -> str | None:
    w, m, s = _adam_means(given)
    t, lr, eps = int(given["t"]), float(given["lr"]), float(given["coarse_eps"])
    m, s = m / (1 - given["betas"][0] ** t), s / (1 - given["betas"][1] ** t)
    found = seen.tensor("coarse.0", w.shape, "the new w")
    if near(found, w - lr * m / (np.sqrt(s) + eps)):
        return None
    if near(found, w - lr * m / np.sqrt(s + eps)):
        return "eps stands under the root; in Adam it stands elsewhere."
    if near(found, w - lr * m / np.sqrt(s)):
        return "eps is not used."
    return "with a large eps the new w is wrong."


def _adam_keeps(given: Given, seen: Seen) -> str | None:
    return unchanged(seen, "fine", *(given[k] for k in ("w", "grad", "m", "s")))


# --------------------------------------------------------------------------- freeze_first

# The layer of each parameter of the model, in the order of model.parameters().
LAYERS = np.array([0, 0, 2, 2, 3, 3, 4, 4])


def _layers() -> nn.Sequential:
    inner = nn.Sequential(nn.Linear(5, 5), nn.Tanh())
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), inner, nn.Linear(5, 5), nn.Linear(5, 3))


def _freeze_given(rng: np.random.Generator) -> Given:
    given = _freeze_inputs(rng)
    return given | {"order": rng.permutation(len(given["plain_k"]) + 2)}


def _freeze_inputs(rng: np.random.Generator) -> Given:
    count = sum(p.numel() for p in _layers().parameters())
    return {
        "weights": normal(rng, count, scale=0.6),
        "x": normal(rng, 7, 4),
        "y": rng.integers(0, 3, 7),
        "lr": np.array(rng.uniform(0.5, 1.0)),
        # Three, where counting parameters or modules goes wrong, and other numbers of layers.
        "plain_k": rng.permutation([3, *rng.choice([1, 2, 4], int(rng.integers(1, 4)), False)]),
        "before_k": np.array(int(rng.integers(1, 3))),
        "frozen": np.array(int(rng.integers(4, 8))),  # before, and beyond these layers
        "none_k": np.array(0),
    }


def _freeze_cases(given: Given) -> list[tuple[str, int]]:
    """The calls with some layers to freeze, and how many."""
    return [(f"plain_{number}", int(k)) for number, k in enumerate(given["plain_k"])]


def _freeze_moves(given: Given, seen: Seen, case: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each parameter: before, after, and where plain gradient descent would bring it."""
    if error := seen.text(f"{case}_made.error"):
        raise Wrong(error)
    if f"{case}_held" not in seen:
        raise Wrong("give back an optimizer of torch.optim.")
    model = _layers().double()
    before = torch.from_numpy(given["weights"]).double()
    with torch.no_grad():
        nn.utils.vector_to_parameters(before.clone(), model.parameters())
    after = seen.tensor(f"{case}_after", before.shape, "the weights after a step")
    x, y = torch.from_numpy(given["x"]).double(), torch.from_numpy(given["y"])
    gradients = torch.autograd.grad(
        nn.functional.cross_entropy(model(x), y), list(model.parameters())
    )
    wanted = before - float(given["lr"]) * torch.cat([g.flatten() for g in gradients])
    sizes = [p.numel() for p in model.parameters()]
    return list(zip(*(v.split(sizes) for v in (before, after, wanted)), strict=True))


def _freeze_step(given: Given, seen: Seen) -> str | None:
    problems = (_freeze_problem(given, seen, case, k) for case, k in _freeze_cases(given))
    return next(filter(None, problems), None)


def _freeze_problem(given: Given, seen: Seen, case: str, k: int) -> str | None:
    moves = _freeze_moves(given, seen, case)
    early = [move for move, layer in zip(moves, LAYERS, strict=True) if layer < k]
    late = [move for move, layer in zip(moves, LAYERS, strict=True) if layer >= k]
    if early and all(near(after, wanted) for _, after, wanted in early):
        return "the first k layers learn like the others."
    if not all(near(after, before, 1e-6) for before, after, _ in early):
        return "something in the first k layers still learns."
    if all(near(after, before, 1e-6) for before, after, _ in late):
        return "nothing learns any more, not even the last layers."
    if any(near(after, before, 1e-6) for before, after, _ in late):
        return "something beyond the first k layers is frozen too."
    if all(near(after, wanted) for _, after, wanted in late):
        return None
    return "the later layers learn, but not by plain gradient descent with the rate lr."


def _freeze_none(given: Given, seen: Seen) -> str | None:
    problem = _freeze_problem(given, seen, "none", 0)
    return problem and f"with k = 0: {problem}"


def _freeze_only(given: Given, seen: Seen) -> str | None:
    for case, k in _freeze_cases(given):
        late = k <= LAYERS
        held = seen.tensor(f"{case}_held", late.shape).numpy() > 0
        if (held & ~late).any():
            return "the optimizer was given frozen parameters as well."
        open_ = seen.tensor(f"{case}_open", late.shape).numpy() > 0
        if (open_ & ~late).any():
            return "gradients are still computed for the first layers, and thrown away."
    return None


def _freeze_before(given: Given, seen: Seen) -> str | None:
    moves = _freeze_moves(given, seen, "before")
    open_ = seen.tensor("before_open", LAYERS.shape).numpy() > 0
    frozen = int(given["frozen"])
    before, after, _ = moves[frozen]
    if open_[frozen] or not near(after, before, 1e-6):
        return "a parameter that was frozen before your function came learns again."
    return None


# -------------------------------------------------------------------------- random_search


def _search_given(rng: np.random.Generator) -> Given:
    searches = int(rng.integers(2, 4))
    trials, again = rng.integers(200, 301, searches), rng.integers(3, 7, searches)
    low = 10.0 ** rng.uniform(-6, -2, searches)
    val, test = rng.uniform(0.5, 0.9, (2, searches, 3 * 310))
    for row, count in enumerate(trials):
        # The best trial on validation data is one of many on test data, and the other way round.
        best, lucky, worst = rng.choice(count - 30, 3, replace=False) + 10
        val[row, best], test[row, best], val[row, lucky], test[row, lucky] = 0.95, 0.8, 0.6, 0.99
        val[row, worst] = 0.1
        # Trained again, it is not as good.
        test[row, count - 1 : count + again[row]] = rng.uniform(0.6, 0.7, again[row] + 1)
    return {
        "val": val,
        "test": test,
        "low": low,
        "high": low * 10.0 ** rng.uniform(2.5, 4.5, searches),
        "num_trials": trials,
        "num_again": again,
    }


def _rates(given: Given, seen: Seen, number: int) -> tuple[Array, int]:
    """The rates of all trainings of a search, and how many of them were its trials.

    Raises:
        Wrong: the search raised, or evaluated nothing.
    """
    if error := seen.text(f"result_{number}.error"):
        raise Wrong(error)
    found = seen.array(f"rates_{number}")
    if found.dtype.kind not in "biuf" or found.ndim != 1 or not np.isfinite(found).all():
        raise Wrong("your code stopped before this could be seen.")
    if len(found) == 0:
        raise Wrong("evaluate was never called.")
    if len(found) > given["val"].shape[1]:  # where it raises at the latest
        raise Wrong("evaluate was called far more often than num_trials and num_again ask for.")
    again = int(given["num_again"][number])
    return found.astype(np.float64), max(1, len(found) - again)


def _search_draws(given: Given, seen: Seen) -> str | None:
    for number, (low, high) in enumerate(zip(given["low"], given["high"], strict=True)):
        rates, trials = _rates(given, seen, number)
        if 2 * trials < given["num_trials"][number]:  # of so few nothing can be said
            return _count_problem(given, len(rates), number)
        if problem := _draws_problem(rates[:trials], low, high):
            return problem
    return None


def _draws_problem(rates: Array, low: float, high: float) -> str | None:
    if (rates < low * 0.999).any() or (rates > high * 1.001).any():
        return "some of the rates lie outside of low and high."
    if len(np.unique(rates)) < len(rates) / 2:
        return "the same few rates are tried again and again."
    shares = np.sort(np.log(rates / low) / np.log(high / low))
    gaps = np.diff(shares)
    if len(rates) > 10 and gaps.max() - gaps.min() < 1e-3:
        return "the rates stand at equal distances, as in a grid; draw them."
    # The Kolmogorov-Smirnov distance; right draws are beyond this once in two million times.
    room = math.sqrt(15.2 / (2 * len(rates)))
    if stats.kstest(shares, "uniform").statistic < room:
        return None
    if stats.kstest((rates - low) / (high - low), "uniform").statistic < room:
        return "nearly all rates are large: each power of ten should get an equal share."
    return "the powers of ten between low and high do not get equal shares of the trials."


def _search_counts(given: Given, seen: Seen) -> str | None:
    counts = [len(_rates(given, seen, number)[0]) for number in range(len(given["low"]))]
    problems = (_count_problem(given, count, number) for number, count in enumerate(counts))
    return next(filter(None, problems), None)


def _count_problem(given: Given, count: int, number: int) -> str | None:
    trials, again = given["num_trials"][number], given["num_again"][number]
    if count == trials + again:
        return None
    return f"evaluate was called {count} times for num_trials = {trials} and num_again = {again}."


def _search_choice(given: Given, seen: Seen) -> str | None:
    problems = (_choice_problem(given, seen, number) for number in range(len(given["low"])))
    return next(filter(None, problems), None)


def _choice_problem(given: Given, seen: Seen, number: int) -> str | None:
    names = _parts(seen, f"result_{number}", 2, "the rate and its test accuracy")
    rates, trials = _rates(given, seen, number)
    val, test = given["val"][number], given["test"][number]
    count = len(rates)
    chosen = seen.tensor(names[0], (), "the rate that comes back").item()
    score = seen.tensor(names[1], (), "the accuracy that comes back").item()

    def is_rate(trial: int) -> bool:
        return abs(chosen / rates[trial] - 1) < 1e-4

    best = int(val[:trials].argmax())
    if is_rate(int(test[:trials].argmax())):
        return "the trial was chosen by its test accuracy, which should have no say."
    if is_rate(int(val[:trials].argmin())):
        return "the trial with the smallest accuracy was chosen."
    if not is_rate(best):
        return "the rate is not that of the best trial."
    if abs(score - test[best]) < 1e-6:
        return "this is the test accuracy of the trial that won, which was lucky; train it again."
    if abs(score - val[best]) < 1e-6:
        return "the accuracy that comes back is the one that was used to choose; it flatters."
    fresh = test[trials:count]
    if not len(fresh):
        return "the winner's rate was not trained again."
    if np.abs(rates[trials:count] / rates[best] - 1).max(initial=0.0) > 1e-4:
        return "what is trained again is not the winner's rate."
    if abs(score - fresh.mean()) < 1e-6:
        return None
    known = {
        "of the trainings with the winner's rate the best counts here; report their mean.": (
            fresh.max()
        ),
        "this is the validation accuracy of the trainings that came after.": (
            val[trials:count].mean()
        ),
        "the trial that won has a part in the mean; it was chosen because it was lucky.": (
            np.append(fresh, test[best]).mean()
        ),
        "the rate is right, the test accuracy belongs to another trial.": test[:trials].max(),
    }
    for sentence, wrong in known.items():
        if abs(score - wrong) < 1e-6:
            return sentence
    return "the rate is right; the accuracy is not the mean over the trainings that came after."


# -------------------------------------------------------------------------- compare_tuned

RATES = 4


def _studies_given(rng: np.random.Generator) -> Given:
    cases = studies.cases(rng)
    longest = max(size for _, _, size in cases)
    margins = rng.choice([0.01, 0.02], len(cases))
    val = np.zeros((len(cases), 2, RATES, longest))
    test = np.zeros((len(cases), 2, RATES, longest))
    for number, (mean, half, size) in enumerate(cases):
        difference = margins[number] * studies.differences(rng, mean, half, size)
        seeds = rng.normal(0, 6 * margins[number], size)  # what a seed does to both arms
        both = np.stack([seeds + difference, seeds])
        for arm, seed in np.ndindex(2, size):
            # Each seed and arm has a best rate of its own; another one tempts by its test score.
            best, good, other, tempting = rng.permutation(RATES)
            level, rise = np.zeros((2, RATES))
            level[[best, good, other, tempting]] = 0.8, 0.7, 0.65, 0.6
            val[number, arm, :, seed] = level + rng.uniform(-0.01, 0.01, RATES)
            rise[[good, other, tempting]] = (-0.05, -0.15, 0.2) if arm else (-0.2, -0.34, 0.1)
            test[number, arm, :, seed] = 0.7 + rise + both[arm, seed]
    sizes = np.array([size for _, _, size in cases])
    return {"val": val, "test": test, "sizes": sizes, "margins": margins}


def _tables(given: Given, number: int) -> tuple[Array, Array]:
    """The accuracies of one study, validation and test, each (2, rates, seeds)."""
    size = given["sizes"][number]
    return given["val"][number, :, :, :size], given["test"][number, :, :, :size]


def _at(test: Array, first: Array, second: Array) -> Array:
    """Differences of the arms at one rate each, or at one rate each a seed."""
    seeds = np.arange(test.shape[-1])
    return test[0, first, seeds] - test[1, second, seeds]


def _differences(given: Given, number: int) -> Array:
    """The paired differences at the rates that each seed's own validation scores choose."""
    val, test = _tables(given, number)
    return _at(test, *val.argmax(1))


def _study(seen: Seen, number: int) -> tuple[float, float, float, str]:
    """What was said of one study."""
    names = _parts(seen, f"study_{number}", 4, "mean, low, high and the verdict")
    mean, low, high = (
        seen.tensor(name, (), f"the {what}").item()
        for name, what in zip(names[:3], ("mean", "lower end", "upper end"), strict=True)
    )
    return mean, low, high, seen.text(names[3])


def _compare_means(given: Given, seen: Seen) -> str | None:
    for number in range(len(given["sizes"])):
        mean = _study(seen, number)[0]
        difference = _differences(given, number)
        if abs(mean - difference.mean()) < 1e-5:
            continue
        val, test = _tables(given, number)
        known = {
            "the difference has the wrong sign; which arm is the first?": -difference,
            "the rates were chosen by the test scores.": _at(test, *test.argmax(1)),
            "both arms were given the same rate, which is the best for one of them at most.": (
                _at(test, *[val.mean(0).argmax(0)] * 2)
            ),
            "one rate was chosen for all seeds; each seed tunes for itself.": (
                _at(test, *val.mean(-1).argmax(-1))
            ),
            "the mean runs over all rates, not over the chosen ones.": test[0] - test[1],
            "this is the difference of validation scores.": val[0].max(0) - val[1].max(0),
        }
        for sentence, wrong in known.items():
            if abs(mean - wrong.mean()) < 1e-5:
                return sentence
        return "the mean difference is not that of the arms at the rates that each seed chooses."
    return None


def _compare_interval(given: Given, seen: Seen) -> str | None:
    for number in range(len(given["sizes"])):
        _, low, high, _ = _study(seen, number)
        right = studies.interval(_differences(given, number))
        if abs(low - right[0]) < 1e-5 and abs(high - right[1]) < 1e-5:
            continue
        if low > high:
            return "the lower end lies above the upper one."
        if high - low < 0.999 * (right[1] - right[0]):
            return "the interval is too narrow."
        return "the interval is too wide; the two arms share their seeds."
    return None


def _compare_verdicts(given: Given, seen: Seen) -> str | None:
    rows = [_differences(given, number) for number in range(len(given["sizes"]))]
    for asked in (studies.CLEAR, studies.WHOLE, studies.SURE):
        problem = studies.problem(
            rows, given["margins"], lambda number: _study(seen, number)[3], asked
        )
        if problem:
            return problem
    return None


# ------------------------------------------------------------------------------ fine_tune


def _tune_given(rng: np.random.Generator) -> Given:
    return {
        "x": normal(rng, 22, 4),
        "y": rng.integers(0, 3, 22),
        "first": normal(rng, 6, 4, scale=0.7),
        "last": normal(rng, 3, 6, scale=0.7),
        "batch": np.array(int(rng.choice([7, 8]))),
        "lr": np.array(rng.uniform(0.25, 0.35)),
        "num_epochs": np.array(int(rng.integers(3, 5))),
        "order": rng.permutation(2),
    }


@once
def _tuned(
    given: Given, epochs: int, batch: int, bug: str = ""
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Weights, and losses by batch and by image, of the right loop or of one with a bug."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    t = {key: torch.from_numpy(value) for key, value in given.items() if value.ndim}
    with torch.no_grad():
        model[0].weight.copy_(t["first"])
        model[2].weight.copy_(t["last"])
        model[0].bias.zero_()
        model[2].bias.zero_()
    trained = {"head": model[0], "body": model[2]}.get(bug, model)
    optimizer = torch.optim.SGD(trained.parameters(), lr=1.0, momentum=0.9)
    losses, weighted, step = [], [], 0
    batches = list(zip(t["x"].double().split(batch), t["y"].split(batch), strict=True))
    for epoch in range(epochs):
        each = []
        for x, y in batches:
            done, of = step, epochs * len(batches)
            if bug in ("epoch", "epochs"):
                done, of = epoch, epochs if bug == "epochs" else of
            rate = 1.0 if bug == "constant" else (1 + math.cos(math.pi * done / of)) / 2
            optimizer.param_groups[0]["lr"] = float(given["lr"]) * rate
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            each.append((loss.item(), len(x)))
            step += 1
        losses.append(sum(loss for loss, _ in each) / len(each))
        weighted.append(sum(loss * n for loss, n in each) / len(t["x"]))
    weights = {"first": model[0].weight.detach(), "last": model[2].weight.detach()}
    by_batch, by_image = (torch.tensor(each, dtype=torch.float64) for each in (losses, weighted))
    return weights, by_batch, by_image


def _tune_head(given: Given, seen: Seen) -> str | None:
    if error := seen.text("one.error"):
        return error
    if not seen.tensor("one_replaced", ()).item():
        return "the model does not end in the new head."
    one = (1, len(given["x"]))
    if same_state(seen, "one", _tuned(given, *one)[0]):
        return None
    if same_state(seen, "one", _tuned(given, *one, "head")[0]):
        return "after one step over all images, the body has learned and the head has not."
    if same_state(seen, "one", _tuned(given, *one, "body")[0]):
        return "only the head learns; all of the model should."
    return "after one step over all images the weights are not those of a right loop."


def _tune_schedule(given: Given, seen: Seen) -> str | None:
    if error := seen.text("all.error"):
        return error
    run = (int(given["num_epochs"]), int(given["batch"]))
    if same_state(seen, "all", _tuned(given, *run)[0]):
        return None
    if any(same_state(seen, "all", _tuned(given, *run, bug)[0]) for bug in ("epoch", "epochs")):
        return "the rate stays the same through an epoch."
    if same_state(seen, "all", _tuned(given, *run, "constant")[0]):
        return "the rate never changes."
    return "the first step is right, and the later ones are not."


def _tune_losses(given: Given, seen: Seen) -> str | None:
    epochs = int(given["num_epochs"])
    _, by_batch, by_image = _tuned(given, epochs, int(given["batch"]))
    found = seen.tensor("curve", (epochs,), "the list of losses")
    if near(found, by_image, 1e-3):
        return None
    # Whatever else is wrong with the steps, the mean over batches is known by itself.
    if near(found, by_batch, 1e-3):
        return "an image of the last, smaller batch counts for more than the others."
    return "the losses are not the means over the images of each epoch."


QUESTIONS = {
    "momentum_step": Question(
        8,
        _momentum_given,
        [
            Criterion(2, "weights and velocity are those of PyTorch's momentum", _momentum_values),
            Criterion(1, "what was given is left as it was", _momentum_keeps),
        ],
    ),
    "he_init_": Question(
        10,
        _he_given,
        [
            Criterion(2, "a convolution's weight gets He's mean and variance", _he_conv),
            Criterion(1, "and so does a linear layer's", _he_linear),
            Criterion(1, "it works on a layer's parameter, which can still learn", _he_parameter),
        ],
    ),
    "warmup_cosine": Question(
        12,
        _warmup_given,
        [
            Criterion(2, "half a cosine leads from `lr` to `min_lr`", _warmup_fall),
            Criterion(1, "the warm-up rises in equal parts", _warmup_rise),
            Criterion(1, "no warm-up is possible too", _warmup_cold),
            Criterion(1, "after the last step the rate stays low", _warmup_late),
        ],
    ),
    "freeze_first": Question(
        12,
        _freeze_given,
        [
            Criterion(2, "the first `k` layers stay, the others learn", _freeze_step),
            Criterion(1, "no gradient and no optimizer for what is frozen", _freeze_only),
            Criterion(1, "`k = 0` freezes nothing", _freeze_none),
            Criterion(1, "what was frozen before stays frozen", _freeze_before),
        ],
    ),
    "adam_step": Question(
        15,
        _adam_given,
        [
            Criterion(1, "both running means are right", _adam_moments),
            Criterion(2, "the weights move by the corrected means", _adam_weights),
            Criterion(1, "`eps` stands where it stands in PyTorch", _adam_eps),
            Criterion(1, "what was given is left as it was", _adam_keeps),
        ],
    ),
    "random_search": Question(
        15,
        _search_given,
        [
            Criterion(2, "each power of ten gets an equal share of the draws", _search_draws),
            Criterion(1, "`num_trials` trials, and `num_again` trainings more", _search_counts),
            Criterion(2, "the best on validation, reported by its new trainings", _search_choice),
        ],
        rounds=ONE_OR_TWO,
    ),
    "compare_tuned": Question(
        20,
        _studies_given,
        [
            Criterion(2, "each seed compares the arms at the rates that it chose", _compare_means),
            Criterion(1, "the interval is Student's, 99 %, of pairs", _compare_interval),
            Criterion(2, "the verdicts follow the rule", _compare_verdicts),
        ],
        rounds=ONE_OR_TWO,
    ),
    "fine_tune": Question(
        20,
        _tune_given,
        [
            Criterion(2, "one step changes body and head as it should", _tune_head),
            Criterion(1, "and so do the later steps, with their rates", _tune_schedule),
            Criterion(1, "the losses are means over images", _tune_losses),
        ],
    ),
}
