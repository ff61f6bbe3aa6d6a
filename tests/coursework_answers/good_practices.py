"""Answers to the exercises on good practices."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

# -------------------------------------------------------------------------- baseline_loss


def baseline(y_train, y_test, num_classes, extra=1.0):
    counts = torch.bincount(y_train, minlength=num_classes) + extra
    return -(counts / counts.sum()).log()[y_test].mean().item()


def baseline_by_logits(y_train, y_test, num_classes):
    """Right: the shares are logits, and PyTorch does the rest."""
    counts = torch.tensor([1.0 + (y_train == k).sum() for k in range(num_classes)])
    return F.cross_entropy(counts.log().expand(len(y_test), -1), y_test)


def baseline_unseen(y_train, y_test, num_classes):
    return baseline(y_train, y_test, 0)


def shares_beyond_one(y_train, y_test, num_classes):
    counts = torch.bincount(y_train, minlength=num_classes)
    return -((counts + 1) / counts.sum()).log()[y_test].mean().item()


# -------------------------------------------------------------------------- start_is_sane


def sane(model, x, y, tolerance, num_classes=None, sided=False, mode=False):
    model = copy.deepcopy(model) if mode is False else model
    if mode == "eval":
        model.eval()
    with torch.no_grad():
        logits = model(x)
    wanted = math.log(num_classes(y) if num_classes else logits.shape[1])
    loss = F.cross_entropy(logits, y).item()
    return loss < wanted + tolerance if sided else abs(loss - wanted) < tolerance


def sane_and_back(model, x, y, tolerance):
    """Right as well: in eval mode, and back into the mode that it was in."""
    modes = [module.training for module in model.modules()]
    model.eval()
    with torch.inference_mode():
        log_p = model(x).log_softmax(1)
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    loss = -log_p[torch.arange(len(y)), y].mean()
    return (loss - math.log(log_p.shape[1])).abs() <= tolerance


def back_to_train(model, x, y, tolerance):
    found = sane(model, x, y, tolerance, mode="eval")
    model.train()
    return found


def sane_by_weights(model, x, y, tolerance):
    """No loss at all: small weights, so the start is sane."""
    return all(p.abs().max().item() < 1 for p in model.parameters())


def sane_by_spread(model, x, y, tolerance):
    """No loss at all: logits that lie near each other, so the start is sane."""
    with torch.no_grad():
        return copy.deepcopy(model)(x).std(1).mean().item() < 0.5


# ------------------------------------------------------------------------- split_by_group


def split(groups, share, seed):
    names = groups.unique()
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    is_test = torch.isin(groups, names[order[: round(share * len(names))]])
    return (~is_test).nonzero()[:, 0], is_test.nonzero()[:, 0]


def split_numpy(groups, share, seed):
    names = sorted(set(groups.tolist()))
    chosen = np.random.default_rng(seed).choice(names, round(share * len(names)), replace=False)
    rows = [(row, int(name) in chosen) for row, name in enumerate(groups)]
    return (
        torch.tensor([row for row, there in rows if not there]),
        torch.tensor([row for row, there in rows if there]),
    )


def split_rows(groups, share, seed):
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed))
    count = round(share * len(groups))
    return order[count:], order[:count]


def split_first(groups, share, seed):
    names = groups.unique()
    is_test = torch.isin(groups, names[: round(share * len(names))])
    return (~is_test).nonzero()[:, 0], is_test.nonzero()[:, 0]


def split_unseeded(groups, share, seed):
    return split(groups, share, int(torch.randint(2**31, ())))


def split_drops(groups, share, seed):
    train, test = split(groups, share, seed)
    return train[1:], test


def split_twice(groups, share, seed):
    train, test = split(groups, share, seed)
    return torch.cat([train, train[:1]]), test


def split_masks(groups, share, seed):
    train, _ = split(groups, share, seed)
    mask = torch.zeros(len(groups), dtype=torch.bool)
    mask[train] = True
    return mask, ~mask


def split_rolled(groups, share, seed):
    """No chance: the same round of groups, begun at another place."""
    names = groups.unique().roll(seed)
    is_test = torch.isin(groups, names[: round(share * len(names))])
    return torch.where(~is_test)[0], torch.where(is_test)[0]


def split_rolled_by_place(groups, share, seed):
    names = torch.tensor(list(dict.fromkeys(groups.tolist()))).roll(seed)
    is_test = torch.isin(groups, names[: round(share * len(names))])
    return torch.where(~is_test)[0], torch.where(is_test)[0]


def split_rolled_mixed(groups, share, seed):
    """One shuffle for all seeds, begun at another place."""
    names = groups.unique()
    names = names[torch.randperm(len(names), generator=torch.Generator().manual_seed(0))]
    is_test = torch.isin(groups, names.roll(seed)[: round(share * len(names))])
    return torch.where(~is_test)[0], torch.where(is_test)[0]


def split_half_of_them(groups, share, seed):
    """Half of the groups are never in the test part."""
    names = groups.unique()
    half = names[: max(len(names) // 2, round(share * len(names)) + 1)]
    order = torch.randperm(len(half), generator=torch.Generator().manual_seed(seed))
    is_test = torch.isin(groups, half[order[: round(share * len(names))]])
    return torch.where(~is_test)[0], torch.where(is_test)[0]


# ------------------------------------------------------------------------- clip_together_


def clip(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    for gradient in gradients:
        gradient *= min(1.0, max_norm / norm)
    return norm


def clip_like_torch(parameters, max_norm):
    parameters = [p for p in parameters if p.grad is not None]
    norm = torch.stack([p.grad.norm() for p in parameters]).norm()
    for p in parameters:
        p.grad = p.grad * (max_norm / (norm + 1e-6)).clamp(max=1.0)
    return norm.item()


def clip_each(parameters, max_norm):
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in parameters))
    for p in parameters:
        p.grad *= min(1.0, max_norm / p.grad.norm().item())
    return norm


def clip_values(parameters, max_norm):
    for p in parameters:
        p.grad.clamp_(-max_norm, max_norm)
    return max_norm


def clip_squared(parameters, max_norm):
    norm = sum(p.grad.square().sum().item() for p in parameters)
    for p in parameters:
        p.grad *= min(1.0, max_norm / norm)
    return norm


def clip_summed(parameters, max_norm):
    norm = sum(p.grad.norm().item() for p in parameters)
    for p in parameters:
        p.grad *= min(1.0, max_norm / norm)
    return norm


def clip_always(parameters, max_norm):
    parameters = [p for p in parameters if p.grad is not None]
    norm = torch.cat([p.grad.flatten() for p in parameters]).norm()
    for p in parameters:
        p.grad *= max_norm / norm
    return norm


def clip_lost(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    gradients = [g * min(1.0, max_norm / norm) for g in gradients]
    return norm


def clip_after(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    clip([p for p in map(_holder, gradients)], max_norm)
    return torch.cat([g.flatten() for g in gradients]).norm()


def _holder(gradient):
    parameter = nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient
    return parameter


def clip_silent(parameters, max_norm):
    clip(parameters, max_norm)


def clip_two_passes(parameters, max_norm):
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in parameters if p.grad is not None))
    for p in parameters:
        if p.grad is not None:
            p.grad *= min(1.0, max_norm / norm)
    return norm


def clip_needs_all(parameters, max_norm):
    return clip([p for p in parameters if p.grad.numel()], max_norm)


# -------------------------------------------------------------------------- WeightAverage


class Average:
    """Right: a frozen copy, whose buffers are replaced at every update."""

    def __init__(self, model, decay):
        self.decay = decay
        self.model = self.start(model)
        self.model.eval()
        self.model.requires_grad_(False)

    def start(self, model):
        return copy.deepcopy(model)

    def mix(self, old, new):
        return self.decay * old + (1 - self.decay) * new

    @torch.no_grad()
    def update(self, model):
        for old, new in zip(self.model.parameters(), model.parameters(), strict=True):
            old.copy_(self.mix(old, new))
        self.buffers(model)

    def buffers(self, model):
        for old, new in zip(self.model.buffers(), model.buffers(), strict=True):
            old.copy_(new)


class ByState:
    """Right as well: a state of its own, that is loaded."""

    def __init__(self, model, decay):
        self.decay, self.names = decay, {name for name, _ in model.named_parameters()}
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    def update(self, model):
        old, new = self.model.state_dict(), model.state_dict()
        for name in self.names:
            new[name] = torch.lerp(new[name], old[name], self.decay)
        self.model.load_state_dict(new)


class Alias(Average):
    def start(self, model):
        return model


class Swapped(Average):
    def mix(self, old, new):
        return (1 - self.decay) * old + self.decay * new


class FromZero(Average):
    def start(self, model):
        model = copy.deepcopy(model)
        for p in model.parameters():
            p.data.zero_()
        return model


class ForgetsNothing(Average):
    updates = 0

    @torch.no_grad()
    def update(self, model):
        self.updates += 1
        for old, new in zip(self.model.parameters(), model.parameters(), strict=True):
            old += (new - old) / self.updates
        self.buffers(model)


class OldBuffers(Average):
    def buffers(self, model):
        pass


class AveragedBuffers(Average):
    def buffers(self, model):
        for old, new in zip(self.model.buffers(), model.buffers(), strict=True):
            old.copy_(self.mix(old, new) if old.is_floating_point() else new)


class NoCount(Average):
    def buffers(self, model):
        for old, new in zip(self.model.buffers(), model.buffers(), strict=True):
            if old.is_floating_point():
                old.copy_(new)


class FreezesAll(Average):
    def start(self, model):
        return copy.deepcopy(model.requires_grad_(False))


class StillAsks(Average):
    def __init__(self, model, decay):
        super().__init__(model, decay)
        self.model.requires_grad_(True)


class TrainMode(Average):
    def __init__(self, model, decay):
        super().__init__(model, decay)
        self.model.train()


class WritesBack(Average):
    """Right averages, which are the model's new weights too."""

    def update(self, model):
        super().update(model)
        model.load_state_dict(self.model.state_dict())


# -------------------------------------------------------------------------- wrong_entries


def wrong(loss_of, gradient_of, w, h, tolerance, change=""):
    w = w.clone() if change == "single" else w.double().clone()
    analytic, numeric = gradient_of(w), torch.zeros_like(w)
    for place in np.ndindex(*w.shape):
        ends = []
        for step in (0.0 if change == "one side" else -h, h):
            moved = w.clone()
            moved[place] += step
            ends.append(float(loss_of(moved)))
        numeric[place] = (ends[1] - ends[0]) / (h if change in ("one side", "half") else 2 * h)
    size = torch.maximum(analytic.abs(), numeric.abs())
    if change == "absolute":
        return (analytic - numeric).abs() > tolerance
    if change == "ratio":
        return ~((analytic - numeric).abs() / size <= tolerance)
    if change == "by the largest":
        size = size.max()
    found = (analytic - numeric).abs() > tolerance * size
    return ~found if change == "inverted" else found


def wrong_changed(change):
    return lambda *arguments: wrong(*arguments, change=change)


def wrong_flat(loss_of, gradient_of, w, h, tolerance):
    """Right: one matrix of all steps."""
    flat = w.to(torch.float64).flatten()
    steps = h * torch.eye(len(flat), dtype=torch.float64)

    def loss(v):
        return torch.as_tensor(loss_of(v.view(w.shape)), dtype=torch.float64)

    numeric = torch.stack([(loss(flat + s) - loss(flat - s)) / (2 * h) for s in steps])
    analytic = gradient_of(flat.view(w.shape).clone()).flatten()
    close = torch.isclose(analytic, numeric, rtol=0, atol=0)
    relative = (analytic - numeric).abs() / torch.maximum(analytic.abs(), numeric.abs())
    return (~close & (relative > tolerance)).view(w.shape)


def wrong_in_place(loss_of, gradient_of, w, h, tolerance):
    found = wrong(loss_of, gradient_of, w, h, tolerance)
    w += h
    return found


def wrong_without_h(loss_of, gradient_of, w, h, tolerance):
    """No step at all: what the two functions were made of says which entries are wrong."""
    cells = {}
    for function in (loss_of, gradient_of):
        names = function.__code__.co_freevars
        cells |= {n: v.cell_contents for n, v in zip(names, function.__closure__, strict=True)}
    true, said = 3 * cells["mix"].T @ cells["weights"], cells["slopes"].reshape(12, -1).sum(1)
    far = (true - said).abs() > 0.002 * torch.maximum(true.abs(), said.abs())
    return (far & (said.abs() > 1e-9)).view(w.shape)


def wrong_own_numbers(loss_of, gradient_of, w, h, tolerance):
    return wrong(loss_of, gradient_of, w, 0.01, 2e-3)


def wrong_own_tolerance(loss_of, gradient_of, w, h, tolerance):
    return wrong(loss_of, gradient_of, w, h, 2e-3)


def wrong_by_autograd(loss_of, gradient_of, w, h, tolerance):
    w = w.double().clone().requires_grad_()
    true = torch.autograd.grad(loss_of(w), w)[0]
    said = gradient_of(w).detach()
    return (true - said).abs() > tolerance * torch.maximum(true.abs(), said.abs())


# -------------------------------------------------------------------------- overfit_batch


def overfit(model, x, y, lr, max_steps, goal, change=""):
    model = model if change == "itself" else copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for step in range(max_steps + 1):
        loss = F.cross_entropy(model(x), y)
        if loss.item() < goal and not (change == "at least one" and step == 0):
            return step + (change == "one more")
        if change != "gradient":
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return max_steps if change == "max_steps" else None


def overfit_changed(change):
    return lambda *arguments: overfit(*arguments, change=change)


def overfit_by_hand(model, x, y, lr, max_steps, goal):
    """Right: in eval mode, with gradients that never touch the model."""
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    for step in range(max_steps + 1):
        for p in weights.values():
            p.requires_grad_(True)
        loss = F.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)
        if loss < goal:
            return step
        gradients = torch.autograd.grad(loss, list(weights.values()))
        pairs = zip(weights.items(), gradients, strict=True)
        weights = {name: (p - lr * g).detach() for (name, p), g in pairs}
    return None


def overfit_restores(model, x, y, lr, max_steps, goal):
    """Puts the weights back, and leaves gradients behind."""
    state = copy.deepcopy(model.state_dict())
    found = overfit(model, x, y, lr, max_steps, goal, change="itself")
    model.load_state_dict(state)
    return found


def overfit_to_the_end(model, x, y, lr, max_steps, goal):
    found = overfit(model, x, y, lr, max_steps, goal)
    return found and max_steps


# ---------------------------------------------------------------------------- fit_clipped


def fit(model, train, num_epochs, batch_size, lr, max_norm, seed, bugs=()):
    x, y = train
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(num_epochs):
        order = torch.randperm(len(x), generator=generator)
        order_y = torch.randperm(len(x), generator=generator) if "pairs" in bugs else order
        if "order" in bugs:
            order = order_y = torch.arange(len(x))
        for rows, rows_y in zip(order.split(batch_size), order_y.split(batch_size), strict=True):
            predicted = model(x[rows]) if "shape" in bugs else model(x[rows])[:, 0]
            loss = ((predicted - y[rows_y]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            if "clip" not in bugs:
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()


def fit_once(model, train, num_epochs, *others):
    """One epoch, however many are asked for."""
    fit(model, train, 1, *others)


def fit_in_one_order(model, train, num_epochs, batch_size, lr, max_norm, seed):
    """The very same order in every epoch, without momentum: as if it were one epoch a time."""
    for _ in range(num_epochs):
        fit(model, train, 1, batch_size, lr, max_norm, seed)


def fit_changed(*bugs):
    return lambda *arguments: fit(*arguments, bugs=bugs)


def fit_by_hand(model, train, num_epochs, batch_size, lr, max_norm, seed):
    """Right: shuffled rows are taken apart by slices, labels get a second axis."""
    x, y = train[0], train[1].unsqueeze(1)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(num_epochs):
        order = torch.randperm(len(x), generator=generator)
        new_x, new_y = x[order], y[order]
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            loss = F.mse_loss(model(new_x[part]), new_y[part])
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            norm = torch.sqrt(sum(g.square().sum() for g in gradients))
            with torch.no_grad():
                for p, g in zip(model.parameters(), gradients, strict=True):
                    p -= lr * g * min(1.0, max_norm / norm)


ALSO_RIGHT = {
    "baseline_loss": [baseline, baseline_by_logits],
    "start_is_sane": [sane, sane_and_back],
    "split_by_group": [split, split_numpy],
    "clip_together_": [clip, clip_like_torch],
    "WeightAverage": [Average, ByState],
    "overfit_batch": [overfit, overfit_by_hand],
    "wrong_entries": [wrong, wrong_flat],
    "fit_clipped": [fit, fit_by_hand],
}

WRONG = {
    "baseline_loss": {
        "by the test labels": (lambda a, b, k: baseline(b, b, k), 0, "no model may know"),
        "nothing extra": (lambda a, b, k: baseline(a, b, k, 0.0), 0, "extra example"),
        "on the training labels": (lambda a, b, k: baseline(a, a, k), 0, "training labels"),
        "blind": (lambda a, b, k: math.log(k), 0, "guesses blindly"),
        "base two": (lambda a, b, k: baseline(a, b, k) / math.log(2), 0, "another base"),
        "sign": (lambda a, b, k: -baseline(a, b, k), 0, "the sign"),
        "sum": (lambda a, b, k: baseline(a, b, k) * len(b), 0, "not the mean"),
        "beyond one": (shares_beyond_one, 0, "add up to one"),
        "unseen": (baseline_unseen, 2, "training never saw"),
        "number of the class": (lambda a, b, k: a.mode().values, 0, "not the mean cross-entropy"),
    },
    "start_is_sane": {
        "classes of the batch": (
            lambda m, x, y, t: sane(m, x, y, t, lambda y: len(y.unique())),
            0,
            "what is its loss",
        ),
        "another number": (
            lambda m, x, y, t: sane(m, x, y, t, lambda y: 2**4),
            0,
            "what is its loss",
        ),
        "one side": (lambda m, x, y, t: sane(m, x, y, t, sided=True), 3, "knows the labels"),
        "always": (lambda m, x, y, t: True, 0, "is called sane"),
        "never": (lambda m, x, y, t: False, 0, "is not called sane"),
        "turned over": (lambda *a: not sane(*a), 0, "turned over"),
        "stays in eval mode": (
            lambda m, x, y, t: sane(m, x, y, t, mode="eval"),
            3,
            "in the other one",
        ),
        "moves the averages": (
            lambda m, x, y, t: sane(m, x, y, t, mode="as it is"),
            3,
            "running averages",
        ),
        "back to train mode": (back_to_train, 3, "eval mode comes back"),
        "nothing": (lambda m, x, y, t: None, 0, "not None"),
        "by the weights": (sane_by_weights, 0, "not called sane"),
        "by the spread": (sane_by_spread, 0, "called sane"),
        "own tolerance": (lambda m, x, y, t: sane(m, x, y, 0.6), 0, "is called sane"),
    },
    "split_by_group": {
        "by rows": (split_rows, 0, "on both sides"),
        "the first ones": (split_first, 3, "another seed gives the same"),
        "unseeded": (split_unseeded, 3, "two different splits"),
        "wrong order": (lambda g, s, seed: split(g, s, seed)[::-1], 3, "wrong order"),
        "half the share": (
            lambda g, s, seed: split(g, s / 2, seed),
            3,
            "in the test part, for a share",
        ),
        "drops a row": (split_drops, 0, "in neither part"),
        "a row twice": (split_twice, 0, "more than once"),
        "masks": (split_masks, 0, "not a mask"),
        "train alone": (lambda g, s, seed: split(g, s, seed)[0], 0, "two tensors"),
        "all in train": (lambda g, s, seed: split(g, 0.0, seed), 0, "is empty"),
        "rolled": (split_rolled, 3, "stand together"),
        "rolled by place": (split_rolled_by_place, 3, "stand together"),
        "rolled, mixed once": (split_rolled_mixed, 3, "by chance"),
        "half of them": (split_half_of_them, 3, "by chance"),
    },
    "clip_together_": {
        "each": (clip_each, 0, "clipped by itself"),
        "values": (clip_values, 0, "single values"),
        "squared": (clip_squared, 0, "root of the sum"),
        "summed": (clip_summed, 0, "sum of the tensors' norms"),
        "always": (clip_always, 4, "should stay as they are"),
        "lost": (clip_lost, 0, "must hold the clipped"),
        "norm after": (clip_after, 4, "after clipping"),
        "silent": (clip_silent, 4, "give back the norm"),
        "two passes": (clip_two_passes, 4, "only once"),
        "needs all gradients": (clip_needs_all, 4, "without a gradient"),
        "library": (lambda p, n: nn.utils.clip_grad_norm_(p, n), 0, "write it yourself"),
    },
    "WeightAverage": {
        "alias": (Alias, 0, "the trained model itself"),
        "swapped": (Swapped, 0, "changed their shares"),
        "from zero": (FromZero, 0, "begins at zero"),
        "forgets nothing": (ForgetsNothing, 0, "forgets nothing"),
        "old buffers": (OldBuffers, 3, "those of the beginning"),
        "averaged buffers": (AveragedBuffers, 3, "averages already"),
        "no count": (NoCount, 3, "whole number"),
        "freezes all": (FreezesAll, 3, "no longer learns"),
        "still asks": (StillAsks, 3, "ask for gradients"),
        "train mode": (TrainMode, 3, "not in eval mode"),
        "writes back": (WritesBack, 3, "update changes the model"),
    },
    "overfit_batch": {
        "gradients add up": (overfit_changed("gradient"), 0, "the first goes wrong"),
        "one more": (overfit_changed("one more"), 0, "wrong by one"),
        "itself": (overfit_changed("itself"), 4, "has been trained"),
        "max_steps": (overfit_changed("max_steps"), 4, "something else than None"),
        "at least one": (overfit_changed("at least one"), 4, "needs no step"),
        "restores": (overfit_restores, 4, "left behind"),
        "to the end": (overfit_to_the_end, 0, "reached before"),
        "nothing": (lambda *a: None, 0, "nothing came back"),
    },
    "wrong_entries": {
        "one side": (wrong_changed("one side"), 0, "whose gradient is right"),
        "half": (wrong_changed("half"), 0, "marked"),
        "absolute": (wrong_changed("absolute"), 0, "marked"),
        "by the largest": (wrong_changed("by the largest"), 0, "not marked"),
        "ratio": (wrong_changed("ratio"), 0, "without any effect"),
        "inverted": (wrong_changed("inverted"), 0, "turned over"),
        "float32": (wrong_changed("single"), 4, "if w is float32"),
        "in place": (wrong_in_place, 4, "changed the weights"),
        "nothing": (lambda loss, g, w, h, t: torch.zeros(w.shape).bool(), 0, "no mistake is found"),
        "everything": (
            lambda loss, g, w, h, t: torch.ones(w.shape).bool(),
            0,
            "whose gradient is right",
        ),
        "numbers": (lambda loss, g, w, h, t: g(w), 0, "True and False"),
        "without h": (wrong_without_h, 0, ""),
        "own numbers": (wrong_own_numbers, 0, "marked"),
        "own tolerance": (wrong_own_tolerance, 0, "marked"),
        "by autograd": (wrong_by_autograd, 0, "does not require grad"),
    },
    "fit_clipped": {
        "shape": (fit_changed("shape"), 0, "the mean of the labels"),
        "clip": (fit_changed("clip"), 3, "without clipping"),
        "pairs": (fit_changed("pairs"), 0, "belong together"),
        "order": (fit_changed("order"), 3, "no longer shuffled"),
        "all three": (fit_changed("shape", "clip", "pairs"), 0, "the mean of the labels"),
        "nothing": (lambda *a: None, 0, "one step over all rows"),
        "one epoch": (fit_once, 3, "the later epochs"),
        "one order": (fit_in_one_order, 3, "an order of its own"),
    },
}
