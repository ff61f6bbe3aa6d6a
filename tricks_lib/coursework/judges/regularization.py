"""Judges the answers of the part on regularization: inputs, points, and what is wrong.

It never runs a student's code. Sentences name what is wrong with an answer, not the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tricks_lib import law

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


def _numbers(seen: Seen, call: str, count: int, what: str) -> list[float]:
    """The parts of a tuple of numbers.

    Raises:
        Wrong: something else came back, or the call raised.
    """
    if error := seen.text(f"{call}.error"):
        raise Wrong(error)
    if f"{call}.{count - 1}" not in seen or f"{call}.{count}" in seen:
        raise Wrong(f"give back {what}, as a tuple.")
    return [seen.tensor(f"{call}.{n}", (), "each of them").item() for n in range(count)]


# --------------------------------------------------------------------------- read_history


def _history_given(rng: np.random.Generator) -> Given:
    sizes = rng.integers(9, 14, int(rng.integers(5, 9)))
    train, val = np.full((2, len(sizes), sizes.max()), np.nan)
    # Two histories or more in which a later epoch has the same lowest loss.
    ties = rng.permutation(len(sizes)) < rng.integers(2, len(sizes) - 2)
    for number, (epochs, tie) in enumerate(zip(sizes, ties, strict=True)):
        best = int(rng.integers(2, epochs - 4))
        losses = 1.0 + 0.1 * np.abs(np.arange(epochs) - best) + rng.uniform(0, 0.04, epochs)
        losses[best] -= 0.05
        losses[0] += 1.0
        if tie:
            losses[best + 2] = losses[best]
        train[number, :epochs] = np.sort(rng.uniform(0.05, 0.9, epochs))[::-1]
        val[number, :epochs] = losses
    return {"train": train, "val": val, "sizes": sizes}


def _histories(given: Given, ties: bool) -> list[tuple[str, Array, Array]]:
    """The calls whose lowest loss is there twice, or those where it is not, with their losses."""
    found = []
    for number, size in enumerate(given["sizes"]):
        train, val = given["train"][number, :size], given["val"][number, :size]
        if ((val == val.min()).sum() > 1) == ties:
            found.append((f"history_{number}", train, val))
    return found


def _history_epoch(given: Given, seen: Seen) -> str | None:
    for call, train, val in _histories(given, ties=False):
        epoch = _numbers(seen, call, 3, "the epoch, its gap and the last gap")[0]
        if epoch == val.argmin():
            continue
        known = {
            "epochs are counted from zero here.": val.argmin() + 1,
            "the epoch is chosen by the training loss, which nearly always says the last.": (
                train.argmin()
            ),
            "this is the epoch of the largest loss.": val.argmax(),
            "the epoch is chosen by the gap.": (val - train).argmin(),
            "this is the loss, not the number of its epoch.": val.min(),
        }
        for sentence, wrong in known.items():
            if abs(epoch - wrong) < 1e-6:
                return sentence
        return "the epoch is not that of the lowest validation loss."
    return None


def _history_gaps(given: Given, seen: Seen) -> str | None:
    for call, train, val in _histories(given, ties=False):
        gaps = val - train
        found = _numbers(seen, call, 3, "the epoch, its gap and the last gap")[1:]
        wanted = np.array([gaps[val.argmin()], gaps[-1]])
        if np.abs(found - wanted).max() < 1e-5:
            continue
        if np.abs(found + wanted).max() < 1e-5:
            return "a network that fits training better than new data has a gap above zero."
        if np.abs(found - wanted[::-1]).max() < 1e-5:
            return "the two gaps come back in the wrong order."
        return "the gaps are not the differences of the two losses at these epochs."
    return None


def _history_tie(given: Given, seen: Seen) -> str | None:
    for call, _, val in _histories(given, ties=True):
        if _numbers(seen, call, 3, "the epoch, its gap and the last gap")[0] != val.argmin():
            return "of two epochs with the same lowest loss, another one comes back than is asked."
    return None


# ------------------------------------------------------------------------ InvertedDropout


def _dropout_given(rng: np.random.Generator) -> Given:
    p = rng.uniform(0.2, 0.35)
    shape = rng.integers(50, 61, 2)
    x = rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return {"x": x, "p": np.array(p), "order": rng.permutation(3)}


def _dropout_output(given: Given, seen: Seen, call: str) -> Array:
    if error := seen.text("layer.error"):
        raise Wrong(error)
    if f"{call}.type" not in seen and f"{call}.error" not in seen:
        raise Wrong("InvertedDropout must be an nn.Module.")
    return seen.tensor(call, given["x"].shape, "the output").numpy()


def _dropout_train(given: Given, seen: Seen) -> str | None:
    found, x, p = _dropout_output(given, seen, "train"), given["x"], float(given["p"])
    stays = found != 0
    if stays.all():
        return "in train mode nothing is dropped."
    if (stays == stays[:1]).all() or (stays == stays[:, :1]).all():
        return "whole rows or columns are dropped; each value needs its own coin."
    # Five standard errors: a fair draw fails once in two million times.
    room, dropped = 5 * math.sqrt(p * (1 - p) / stays.size), 1 - stays.mean()
    if abs(dropped - (1 - p)) < room:
        return "p is the share that is kept here; it should be the share that is dropped."
    if abs(dropped - p) > room:
        return "the share of zeros is not p."
    scale = found[stays] / x[stays]
    if np.abs(scale - 1 / (1 - p)).max() < 1e-4:
        return None
    if np.abs(scale - 1).max() < 1e-4:
        return "the values that stay are as they were, so that the mean of the signal falls."
    if np.abs(scale - 1 / p).max() < 1e-4:
        return "the values that stay are scaled by the wrong one of the two shares."
    if np.abs(scale - (1 - p)).max() < 1e-4:
        return "the values that stay are scaled the wrong way; the mean of the signal falls."
    return "the values that stay are not scaled so that the mean of the signal stays."


def _dropout_eval(given: Given, seen: Seen) -> str | None:
    found, x = _dropout_output(given, seen, "eval"), given["x"]
    if np.abs(found - x).max() < 1e-5:
        return None
    if (found == 0).any():
        return "in eval mode values are still dropped."
    return "in eval mode the signal is scaled, though train mode has already seen to its mean."


def _dropout_anew(given: Given, seen: Seen) -> str | None:
    one, two = (_dropout_output(given, seen, call) == 0 for call in ("train", "again"))
    if (one == two).all():
        return "two calls drop the very same values; each call needs new coins."
    return None


def _dropout_edges(given: Given, seen: Seen) -> str | None:
    for call, p, wanted in (("none", 0, given["x"]), ("all", 1, 0 * given["x"])):
        try:
            if error := seen.text(f"{call}_layer.error"):
                raise Wrong(error)
            found = seen.tensor(call, given["x"].shape, "the output").numpy()
        except Wrong as wrong:
            return f"with p = {p}: {wrong}"
        if np.abs(found - wanted).max() > 1e-5:
            return f"with p = {p} the output in train mode is wrong."
    return None


# -------------------------------------------------------------------------- smoothed_loss


def _smoothed_given(rng: np.random.Generator) -> Given:
    n, classes = int(rng.integers(6, 9)), int(rng.integers(4, 7))
    logits = normal(rng, n, classes, scale=2.0)
    # The largest logit is far above the others, and seldom that of the label.
    large = normal(rng, n, classes, scale=300.0)
    return {
        "logits": logits,
        "large": large,
        "y": rng.integers(0, classes, n),
        "smoothing": np.array(rng.uniform(0.25, 0.4)),
        "order": rng.permutation(2),
    }


def _smoothed(logits: Tensor, y: Tensor, smoothing: float) -> Tensor:
    return nn.functional.cross_entropy(logits, y, label_smoothing=smoothing)


def _smoothed_value(given: Given, seen: Seen) -> str | None:
    logits, y = torch.from_numpy(given["logits"]).double(), torch.from_numpy(given["y"])
    smoothing, (n, classes) = float(given["smoothing"]), logits.shape
    array = seen.array("loss")
    if array.shape == (n,):
        return "give back one number for the batch, not one for each example."
    found = seen.tensor("loss", (), "the loss")
    wanted = _smoothed(logits, y, smoothing)
    if near(found, wanted):
        return None
    log_p = logits.log_softmax(1)
    right, rest = log_p.gather(1, y[:, None])[:, 0], log_p.sum(1)
    others = smoothing / (classes - 1)
    spread = -((1 - smoothing) * right + others * (rest - right)).mean()
    known = {
        "the labels are not smoothed.": -right.mean(),
        "the labels' own class gets no part of what is spread; in PyTorch all classes do.": spread,
        "this is the sum over the batch, not the mean.": wanted * n,
        "the loss is averaged over the classes too.": wanted / classes,
        "the sign is wrong.": -wanted,
        "smoothing is what the label keeps here; it should be what the label gives.": (
            _smoothed(logits, y, 1 - smoothing)
        ),
        "softmax is taken twice.": _smoothed(logits.softmax(1), y, smoothing),
        "the logits are taken for probabilities, or logarithms of them.": _raw(
            logits, y, smoothing
        ),
        "the targets of an example add up to more than one.": -(
            right + smoothing / classes * rest
        ).mean(),
    }
    for sentence, wrong in known.items():
        if near(found, wrong):
            return sentence
    return "this is not the cross-entropy with smoothed labels."


def _raw(logits: Tensor, y: Tensor, smoothing: float) -> Tensor:
    right = logits.gather(1, y[:, None])[:, 0]
    return -((1 - smoothing) * right + smoothing * logits.mean(1)).mean()


def _smoothed_gradient(given: Given, seen: Seen) -> str | None:
    logits = torch.from_numpy(given["logits"]).double().requires_grad_()
    _smoothed(logits, torch.from_numpy(given["y"]), float(given["smoothing"])).backward()
    try:
        found = seen.tensor("gradient", logits.shape)
    except Wrong:
        return "no gradient reaches the logits: something took the values out of PyTorch's sight."
    return None if near(found, logits.grad, 1e-3) else "the value is right, its gradient is not."


def _smoothed_large(given: Given, seen: Seen) -> str | None:
    logits, y = torch.from_numpy(given["large"]).double(), torch.from_numpy(given["y"])
    try:
        found = seen.tensor("large", (), "the loss")
    except Wrong as wrong:
        return f"with large logits: {wrong}"
    if near(found, _smoothed(logits, y, float(given["smoothing"])), 1e-3):
        return None
    return "with large logits the loss is wrong: a probability has become zero on the way."


# --------------------------------------------------------------------------- elastic_step


def _elastic_given(rng: np.random.Generator) -> Given:
    lr, l1, l2 = rng.uniform(0.3, 0.4), rng.uniform(1.2, 1.6), rng.uniform(0.6, 0.8)
    rows = int(rng.integers(3, 6))
    w, grad = normal(rng, rows, 6), normal(rng, rows, 6)
    # Some that end within the threshold on either side, and some far beyond it.
    goal = np.array([0.5, -0.5, 0.8, -0.8, 4.0, -4.0]) * lr * l1
    some = rng.permutation(w.size)[: len(goal)]
    grad.flat[some] = ((w.flat[some] - goal) / lr - l2 * w.flat[some]).astype(np.float32)
    return {"w": w, "grad": grad, "lr": np.array(lr), "l1": np.array(l1), "l2": np.array(l2)}


def _shrunk(u: Array, by: float | Array) -> Array:
    return np.sign(u) * np.maximum(np.abs(u) - by, 0)


def _elastic_values(given: Given, seen: Seen) -> str | None:
    w, grad = given["w"].astype(np.float64), given["grad"].astype(np.float64)
    lr, l1, l2 = (float(given[k]) for k in ("lr", "l1", "l2"))
    found = seen.tensor("step", w.shape, "the new weights")
    u = w - lr * (grad + l2 * w)
    if near(found, _shrunk(u, lr * l1)):
        return None
    known = {
        "nothing shrinks towards zero by the L1 part.": u,
        "the L1 part is a term of the gradient here, and never rests at zero.": (
            u - lr * l1 * np.sign(w)
        ),
        "weights that cross zero in the last part of the step should stop there.": (
            u - lr * l1 * np.sign(u)
        ),
        "small weights become zero, and the others should come nearer to it as well.": (
            np.where(np.abs(u) > lr * l1, u, 0)
        ),
        "the threshold does not depend on the size of the step.": _shrunk(u, l1),
        "the L2 part is missing.": _shrunk(w - lr * grad, lr * l1),
        "the L2 part is twice too strong; its loss has a half in it.": (
            _shrunk(u - lr * l2 * w, lr * l1)
        ),
        "the weights shrink before they step along the gradient.": (
            _shrunk(w, lr * l1) - lr * (grad + l2 * _shrunk(w, lr * l1))
        ),
        "all weights lose their sign.": np.maximum(np.abs(u) - lr * l1, 0),
        "weights below zero are cut off.": np.maximum(u - lr * l1, 0),
    }
    for sentence, wrong in known.items():
        if near(found, wrong):
            return sentence
    first = w - lr * grad
    if near(found, _shrunk(w, lr * l1) - lr * (grad + l2 * w)):
        return "the weights shrink before they step along the gradient."
    if near(found, _shrunk(first, lr * l1) - lr * l2 * w):
        return "the L2 part comes after the threshold, and moves zeros away from zero."
    return "the new weights are not those of the two parts of the step."


def _elastic_keeps(given: Given, seen: Seen) -> str | None:
    return unchanged(seen, "step", given["w"], given["grad"])


# ------------------------------------------------------------------------ decay_both_ways


def _decay_given(rng: np.random.Generator) -> Given:
    shape = rng.integers(3, 6, 2)
    return {
        "w": normal(rng, *shape),
        "grad": normal(rng, *shape),
        "s": rng.uniform(0.2, 2.0, shape).astype(np.float32),
        "lr": np.array(rng.uniform(0.3, 0.4)),
        "beta": np.array(rng.uniform(0.6, 0.7)),
        "eps": np.array(1e-8),
        "decay": np.array(rng.uniform(0.5, 0.7)),
    }


def _decay_steps(given: Given) -> tuple[dict[str, Array], dict[str, Array]]:
    """The right results, named "", and known wrong ones, named by their sentences."""
    w, g, s = (given[k].astype(np.float64) for k in ("w", "grad", "s"))
    lr, beta, decay = (float(given[k]) for k in ("lr", "beta", "decay"))
    both = g + decay * w
    root = np.sqrt(beta * s + (1 - beta) * g**2)
    root_both = np.sqrt(beta * s + (1 - beta) * both**2)
    plain, apart = w - lr * g / root, w - lr * decay * w - lr * g / root
    penalty = {
        "": w - lr * both / root_both,
        "nothing decays.": plain,
        "this is the decoupled way; the two come back in the wrong order, or are the same.": apart,
        "the running mean of squares does not see the penalty's gradient.": w - lr * both / root,
        "the gradient of half a square has no factor two.": w
        - lr * (g + 2 * decay * w) / np.sqrt(beta * s + (1 - beta) * (g + 2 * decay * w) ** 2),
        "the weights grow.": w
        - lr * (g - decay * w) / np.sqrt(beta * s + (1 - beta) * (g - decay * w) ** 2),
        "the running mean of squares is as it was before the step.": w - lr * both / np.sqrt(s),
        "you divide by the mean square; which power of it has the right unit?": (
            w - lr * both / root_both**2
        ),
    }
    decoupled = {
        "": apart,
        "nothing decays.": plain,
        "this is the penalty in the gradient again.": penalty[""],
        "the decay is divided by the root too, so large gradients are spared it.": (
            w - lr * both / root
        ),
        "the decay does not follow the learning rate.": plain - decay * w,
        "what decays is the weight after the step, not as it was before.": plain * (1 - lr * decay),
        "the running mean of squares knows of the decay.": w - lr * decay * w - lr * g / root_both,
        "the weights grow.": w + lr * decay * w - lr * g / root,
        "the running mean of squares is as it was before the step.": (
            w - lr * decay * w - lr * g / np.sqrt(s)
        ),
    }
    return penalty, decoupled


def _decay_problem(given: Given, seen: Seen, number: int) -> str | None:
    names, what = seen.pair("both"), ("the penalty's way", "the decoupled way")[number]
    found = seen.tensor(names[number], given["w"].shape, f"w {what}")
    for sentence, values in _decay_steps(given)[number].items():
        if near(found, values):
            return f"{what}: {sentence}" if sentence else None
    return f"{what}: the new weights are not right."


def _decay_penalty(given: Given, seen: Seen) -> str | None:
    return _decay_problem(given, seen, 0)


def _decay_apart(given: Given, seen: Seen) -> str | None:
    return _decay_problem(given, seen, 1)


def _decay_keeps(given: Given, seen: Seen) -> str | None:
    return unchanged(seen, "both", *(given[k] for k in ("w", "grad", "s")))


# -------------------------------------------------------------------------- EarlyStopping

NAN = math.nan
# Ways to stop wrongly, and what is said of them. Each comes with the runs that show it.
STOPS_WRONGLY = {
    "where nothing improves, it stops too late.": {"late": 1},
    "where nothing improves, it stops too early.": {"late": -1},
    "after a new best loss the waiting does not begin anew.": {"in_a_row": False},
    "a loss that is better than the one before, but not than the best, counts too much.": {
        "last": True
    },
    "a loss that is as good as the best is no improvement.": {"ties": True},
}


def _stops(
    losses: Array,
    patience: int,
    late: int = 0,
    in_a_row: bool = True,
    last: bool = False,
    ties: bool = False,
    nan: bool = False,
) -> tuple[int | None, int]:
    """The update that first says "stop", None if none does, and the best one until then."""
    best, waited, at, before = math.inf, 0, 0, math.inf
    for number, loss in enumerate(losses):
        rival = before if last else best
        if loss < rival or (ties and loss == rival) or (nan and not loss >= rival):
            best, at = loss, number
            waited = 0 if in_a_row else waited
        else:
            waited += 1
        before = loss
        if waited >= max(patience + late, 1):
            return number, at
    return None, at


def _stopping_given(rng: np.random.Generator) -> Given:
    """Runs of losses with ties, of which several tell each wrong way from the right one."""
    while True:
        runs = [_random_run(rng) for _ in range(int(rng.integers(8, 12)))]
        right = [_stops(losses, patience)[0] for losses, patience in runs]
        shown = [
            sum(_stops(*run, **way)[0] != stop for run, stop in zip(runs, right, strict=True))
            for way in STOPS_WRONGLY.values()
        ]
        if min(shown) >= 2 and 1 <= right.count(None) <= len(runs) - 4:
            break
    broken = [_broken_run(rng) for _ in range(int(rng.integers(1, 4)))]
    restored = _restored_run(rng)
    runs += broken
    order = rng.permutation(len(runs))
    runs = [*(runs[number] for number in order), restored]
    losses = np.full((len(runs), max(len(run) for run, _ in runs)), -1.0)
    for number, (run, _) in enumerate(runs):
        losses[number, : len(run)] = run
    return {
        "losses": losses,
        "sizes": np.array([len(run) for run, _ in runs]),
        "patience": np.array([patience for _, patience in runs]),
        "order": rng.permutation(len(runs)),
        # What the model holds at each update, and at last when it is to be restored.
        "weights": normal(rng, losses.shape[1] + 1, 15),
        "buffers": rng.uniform(0.5, 2.0, (losses.shape[1] + 1, 6)).astype(np.float32),
        "counts": rng.choice(np.arange(1, 200), losses.shape[1] + 1, replace=False),
    }


def _random_run(rng: np.random.Generator) -> tuple[Array, int]:
    """Losses that fall and rise, often with equals among them."""
    levels = np.cumsum(rng.uniform(0.05, 0.3, 10))
    size = int(rng.integers(5, 10))
    ranks = rng.integers(0, 6, size) + np.arange(size)[::-1] // 2
    if rng.random() < 0.15:
        ranks = np.arange(size)[::-1]  # each is the best so far
    return levels[np.minimum(ranks, 9)], int(rng.integers(1, 4))


def _broken_run(rng: np.random.Generator) -> tuple[Array, int]:
    """A training that breaks: NaN from some update on, or for as long as patience lasts."""
    patience = int(rng.integers(2, 4))
    start = np.sort(rng.uniform(0.5, 1.0, int(rng.integers(1, 4))))[::-1]
    end = rng.uniform(0.1, 0.4, int(rng.integers(0, 3)))
    return np.concatenate([start, np.full(patience, NAN), end]), patience


def _restored_run(rng: np.random.Generator) -> tuple[Array, int]:
    """A run that stops, and whose best update is neither its first nor its last."""
    while True:
        losses, patience = _random_run(rng)
        stop, best = _stops(losses, patience)
        if stop is not None and 0 < best < stop:
            return losses, patience


def _runs(given: Given) -> list[tuple[Array, int]]:
    sizes = zip(given["losses"], given["sizes"], given["patience"], strict=True)
    return [(losses[:size], int(patience)) for losses, size, patience in sizes]


def _first_stops(given: Given, seen: Seen, broken: bool) -> tuple[list, list]:
    """The runs, with NaN or without, and the update that first said "stop" in each."""
    runs, stops = [], []
    for number, (losses, patience) in enumerate(_runs(given)[:-1]):
        if np.isnan(losses).any() == broken:
            found = seen.tensor(f"run_{number}", (len(losses),), "what update gives back")
            where = np.flatnonzero(found.numpy())
            runs.append((losses, patience))
            stops.append(int(where[0]) if len(where) else None)
    return runs, stops


def _stopping_time(given: Given, seen: Seen) -> str | None:
    runs, stops = _first_stops(given, seen, broken=False)
    if stops == [_stops(*run)[0] for run in runs]:
        return None
    if all(stop is None for stop in stops):
        return "update never says that it is time to stop."
    for sentence, way in STOPS_WRONGLY.items():
        if stops == [_stops(*run, **way)[0] for run in runs]:
            return sentence
    falls = [(np.diff(losses) < 0).all() for losses, _ in runs]
    if any(stop is not None and fall for stop, fall in zip(stops, falls, strict=True)):
        return "it stops though every loss is the best so far."
    return "it stops at another update than it should."


def _restored(given: Given, seen: Seen, part: int, what: str) -> str | None:
    parameters, buffers = seen.pair("restored")
    names, sizes = (parameters, buffers), (15, 7)
    stop, best = _stops(*_runs(given)[-1])
    found = seen.tensor(names[part], (sizes[part],), what).numpy()
    held = (given["weights"], np.column_stack([given["buffers"], given["counts"]]))[part]

    def of(number: int) -> bool:
        return bool(np.abs(found - held[number]).max() < 1e-5)

    if of(best):
        return None
    if of(-1):
        return f"{what}: restore leaves what is in the model as it is."
    if of(0):
        return f"{what}: what comes back is of the first update, not of the best."
    if of(stop):
        return f"{what}: what comes back is of the last update, not of the best."
    if part and np.abs(found - held[best])[:6].max() < 1e-5:
        return "one of the buffers, a whole number, is forgotten."
    return f"{what}: what comes back is not of the best update."


def _stopping_weights(given: Given, seen: Seen) -> str | None:
    return _restored(given, seen, 0, "the weights")


def _stopping_buffers(given: Given, seen: Seen) -> str | None:
    return _restored(given, seen, 1, "batch norm's running averages")


def _stopping_nan(given: Given, seen: Seen) -> str | None:
    runs, stops = _first_stops(given, seen, broken=True)
    if stops == [_stops(*run)[0] for run in runs]:
        return None
    return "a loss that is NaN is taken for an improvement."


# -------------------------------------------------------------------------- quotient_stop


def _quotients(train: Array, val: Array, k: int, change: str = "") -> Array:
    """PQ at each epoch from the k-th on; NaN where it is not asked for."""
    found = np.full(len(val), np.nan)
    for t in range(k - 1, len(val)):
        if (t + 1) % k and change != "every epoch":
            continue
        low = val.min() if change == "future" else val[: t + 1].min()
        loss = 100 * (val[t] / low - 1)
        strip = train[: t + 1] if change == "whole" else train[t + 1 - k : t + 1]
        progress = 1000 * (strip.mean() / strip.min() - 1)
        if change == "loss alone":
            progress = 1.0
        if change == "strip of validation":
            strip = val[t + 1 - k : t + 1]
            progress = 1000 * (strip.mean() / strip.min() - 1)
        found[t] = loss / progress
    return found


CHANGES = ("every epoch", "future", "whole", "loss alone", "strip of validation")


def _stop(quotients: Array, alpha: float) -> int:
    above = np.flatnonzero(np.nan_to_num(quotients, nan=-1.0) > alpha)
    return int(above[0]) + 1 if len(above) else len(quotients)


def _quotient_given(rng: np.random.Generator) -> Given:
    """Studies with a strip, a length and a threshold of their own, and a few at the edges."""
    while True:
        studies = [_quotient_study(rng) for _ in range(int(rng.integers(9, 13)))]
        train, val, k, _ = studies[0]
        ends = _quotients(train, val, k)[k - 1 :: k]
        # Here any loss will do, whatever the progress.
        studies[0] = train, val, k, ends[ends > 0].min(initial=1.0) / 1000
        right = _quotient_right(studies)
        apart = [
            sum(map(int.__ne__, right, _quotient_right(studies, change))) for change in CHANGES
        ]
        distance = min(
            np.nanmin(np.abs(_quotients(*study[:3]) / study[3] - 1)) for study in studies
        )
        if min(apart) > 1 and distance > 1e-3:
            break
    studies = [studies[number] for number in rng.permutation(len(studies))]
    sizes = np.array([len(study[0]) for study in studies])
    # Their training loss has few bits, so that its mean is exact in whatever order one adds.
    still: list[tuple[Array, int]] = []
    while len({_still_stop(*case) for case in still}) < 2:
        still = [_still(rng) for _ in range(int(rng.integers(2, 4)))]
    length = max(len(losses) for losses, _ in still)
    given = {
        "sizes": sizes,
        "k": np.array([study[2] for study in studies]),
        "alpha": np.array([study[3] for study in studies]),
        "edge_k": np.array([k for _, k in still]),
        "edge_alpha": rng.uniform(0.05, 0.6, len(still)),
        "falling": (1.0 - 0.025 * np.arange(rng.integers(20, 32))) * rng.uniform(0.9, 1.1),
        "still_sizes": np.array([len(losses) for losses, _ in still]),
        "still": np.full((len(still), 2, length), rng.integers(20, 40) / 64),
        "order": rng.permutation(len(studies) + 2 * len(still)),
    }
    for part, name in enumerate(("train", "val")):
        given[name] = np.ones((len(studies), sizes.max()))
        for number, study in enumerate(studies):
            given[name][number, : sizes[number]] = study[part]
    for number, (losses, _) in enumerate(still):
        given["still"][number, 1, : len(losses)] = losses
    return given


def _quotient_study(rng: np.random.Generator) -> tuple[Array, Array, int, float]:
    """A training that overfits: its losses, k and alpha."""
    k = int(rng.integers(3, 6))
    t = np.arange(int(rng.integers(5, 8)) * k + int(rng.integers(0, k)))
    train = np.exp(-rng.uniform(0.08, 0.15) * t) * rng.uniform(0.95, 1.05, len(t)) + 0.2
    val = 1.2 + 0.03 * np.abs(t - rng.integers(4, 9)) + rng.uniform(-0.03, 0.03, len(t))
    ends = np.sort(_quotients(train, val, k)[k - 1 :: k])
    place = int(rng.integers(1, len(ends) - 1))
    return train, val, k, max((ends[place] + ends[place + 1]) / 2, 1e-3)


def _still(rng: np.random.Generator) -> tuple[Array, int]:
    """Validation losses that rise while the training loss stands still, and k."""
    k, falls, rises = int(rng.integers(3, 6)), int(rng.integers(1, 4)), int(rng.integers(1, 3))
    more = int(rng.integers(k, 2 * k))
    low = np.linspace(rng.uniform(1.3, 1.6), 1.0, falls * k)
    return np.concatenate([low, 1.0 + 0.1 * np.arange(1, rises * k + more)]), k


def _still_stop(losses: Array, k: int) -> int:
    """The end of the first strip that lies above the lowest loss."""
    return (int(losses.argmin()) // k + 2) * k


def _quotient_right(studies: Sequence[tuple[Array, Array, int, float]], change: str = "") -> list:
    """After how many epochs each training stops, by the rule or a wrong one."""
    return [_stop(_quotients(train, val, k, change), alpha) for train, val, k, alpha in studies]


def _quotient_studies(given: Given) -> list[tuple[Array, Array, int, float]]:
    return [
        (given["train"][n, :size], given["val"][n, :size], int(k), float(alpha))
        for n, (size, k, alpha) in enumerate(
            zip(given["sizes"], given["k"], given["alpha"], strict=True)
        )
    ]


def _quotient_stops(given: Given, seen: Seen) -> str | None:
    studies_ = _quotient_studies(given)
    found = [
        seen.tensor(f"study_{number}", (), "the number of epochs").item()
        for number in range(len(studies_))
    ]
    right = _quotient_right(studies_)
    if found == right:
        return None
    if found == given["sizes"].tolist():
        return "training never stops before the last epoch."
    if found == [stop - 1 for stop in right]:
        return "this is the last epoch's place in the list, not the number of epochs trained."
    known = {
        "every epoch": "the rule is asked at other epochs than the ends of strips.",
        "future": "the lowest validation loss comes from epochs that have not been trained yet.",
        "whole": "the progress is taken over all epochs so far, not over one strip.",
        "loss alone": "the progress has no say.",
        "strip of validation": "the progress is that of the validation loss.",
    }
    for change, sentence in known.items():
        if found == _quotient_right(studies_, change):
            return sentence
    return "training stops at another epoch than the rule says."


def _quotient_never(given: Given, seen: Seen) -> str | None:
    for number in range(len(given["edge_k"])):
        found = seen.tensor(f"never_{number}", (), "the number of epochs").item()
        if found != len(given["falling"]) - number:
            return "where the validation loss falls to the end, all epochs should be trained."
    return None


def _quotient_still(given: Given, seen: Seen) -> str | None:
    for number, (size, k) in enumerate(zip(given["still_sizes"], given["edge_k"], strict=True)):
        try:
            found = seen.tensor(f"still_{number}", (), "the number of epochs").item()
        except Wrong as wrong:
            return f"with a training loss that stands still: {wrong}"
        if found != _still_stop(given["still"][number, 1, :size], int(k)):
            return (
                "with a training loss that stands still, it stops at another epoch than the rule "
                "says."
            )
    return None


# ------------------------------------------------------------------------ finished_verdict


def _budgets_given(rng: np.random.Generator) -> Given:
    """Studies at several budgets, whose verdict depends on the budget, in a drawn order."""
    while True:
        cases = [_budget_study(rng, finishes=True) for _ in range(int(rng.integers(9, 13)))]
        cases += [_budget_study(rng, finishes=False) for _ in range(int(rng.integers(2, 4)))]
        given = {
            "margins": rng.choice([0.01, 0.02], len(cases)),
            "budgets": np.array([len(case[0]) for case in cases]),
            "seeds": np.array([case[0].shape[1] for case in cases]),
        }
        shape = (2, len(cases), given["budgets"].max(), given["seeds"].max())
        both = np.zeros(shape)
        for number, (trick, without) in enumerate(cases):
            budgets, seeds = trick.shape
            both[0, number, :budgets, :seeds] = trick * given["margins"][number]
            both[1, number, :budgets, :seeds] = without * given["margins"][number]
        order = rng.permutation(len(cases))
        given |= {"with_trick": 0.8 + both[0], "without": 0.8 + both[1]}
        given = {key: value[order] for key, value in given.items()}
        right = [_finished(*study) for study in _budget_studies(given)]
        others = [
            sum(_finished(*study, change)[0] != place for study, (place, _) in _pairs(given, right))
            for change in FINISHES_WRONGLY.values()
        ]
        verdicts = {verdict for place, verdict in right if place is not None}
        if min(others) >= 3 and len(verdicts) == 4:
            return given


def _budget_study(rng: np.random.Generator, finishes: bool) -> tuple[Array, Array]:
    """The accuracies of both arms, in margins, at some budgets and seeds."""
    budgets, seeds = int(rng.integers(4, 7)), int(rng.integers(9, 13))
    steps = rng.uniform(1.5, 4.0, budgets - 1)
    steps[rng.random(budgets - 1) < 0.25] *= -1.0  # more training made it worse, and by much
    if finishes:
        steps[rng.integers(0, budgets - 1)] = rng.uniform(-0.7, 0.7)
    level = np.concatenate([[0.0], steps.cumsum()])
    noise = rng.normal(0, 3, (budgets, seeds))
    without = level[:, None] + noise - noise.mean(1, keepdims=True)
    kinds = rng.permutation(len(studies.MANY))[:budgets]
    gains = [
        rng.choice([-1, 1]) * studies.differences(rng, *studies.MANY[kind], seeds) for kind in kinds
    ]
    return without + np.array(gains), without


# Ways to choose a wrong budget, and what is said of them.
FINISHES_WRONGLY = {
    "this is the last budget; where has the training without the trick finished?": "last",
    "the trick's own training is looked at; the baseline is the one without it.": "trick",
    "a baseline that twice the budget makes worse, by more than the margin, has not finished.": (
        "signed"
    ),
    "this is the budget after the one at which the baseline has finished.": "next",
}


def _finished(
    trick: Array, without: Array, margin: float, change: str = ""
) -> tuple[int | None, str]:
    """The first budget that twice as much moves by less than the margin, and the verdict there."""
    steps = np.diff((trick if change == "trick" else without).mean(1))
    still = np.flatnonzero((steps if change == "signed" else np.abs(steps)) < margin)
    if len(still) == 0:
        return None, law.UNDECIDED
    place = int(still[0]) + (change == "next")
    place = len(trick) - 1 if change == "last" else place
    return place, studies.right(trick[place] - without[place], margin)


def _budget_studies(given: Given) -> list[tuple[Array, Array, float]]:
    sizes = zip(given["budgets"], given["seeds"], given["margins"], strict=True)
    return [
        (given["with_trick"][n, :budgets, :seeds], given["without"][n, :budgets, :seeds], margin)
        for n, (budgets, seeds, margin) in enumerate(sizes)
    ]


def _pairs(given: Given, right: list) -> list[tuple[tuple, tuple]]:
    return list(zip(_budget_studies(given), right, strict=True))


def _budget_said(seen: Seen, number: int) -> tuple[float | None, str]:
    """What was said of a study: a place or None, and a verdict.

    Raises:
        Wrong: something else came back.
    """
    call = f"study_{number}"
    if error := seen.text(f"{call}.error"):
        raise Wrong(error)
    if f"{call}.1.type" not in seen or f"{call}.2.type" in seen:
        raise Wrong("give back the budget's place and the verdict, as a tuple.")
    verdict = seen.text(f"{call}.1")
    if verdict not in law.VERDICTS:
        raise Wrong(f"{verdict!r} is not one of the four verdicts, as the question spells them.")
    if seen.text(f"{call}.0.type") == "NoneType":
        return None, verdict
    return seen.tensor(f"{call}.0", (), "the budget's place").item(), verdict


def _budget_places(given: Given, seen: Seen) -> str | None:
    studies_ = _budget_studies(given)
    numbers = [n for n, study in enumerate(studies_) if _finished(*study)[0] is not None]
    found = [_budget_said(seen, number)[0] for number in numbers]
    if found == [_finished(*studies_[number])[0] for number in numbers]:
        return None
    for sentence, change in FINISHES_WRONGLY.items():
        if found == [_finished(*studies_[number], change)[0] for number in numbers]:
            return sentence
    return "the place is not that of the first budget at which the baseline has finished."


def _budget_verdicts(given: Given, seen: Seen) -> str | None:
    for number, study in enumerate(_budget_studies(given)):
        place, verdict = _finished(*study)
        if place is not None and _budget_said(seen, number)[1] != verdict:
            return "the place is right, and the verdict at this budget is not."
    return None


def _budget_never(given: Given, seen: Seen) -> str | None:
    for number, study in enumerate(_budget_studies(given)):
        if _finished(*study)[0] is None and _budget_said(seen, number) != (None, law.UNDECIDED):
            return "where the baseline has finished at no budget, nothing is decided."
    return None


# -------------------------------------------------------------------- train_and_keep_best


def _keep_given(rng: np.random.Generator) -> Given:
    """A training whose validation loss is lowest in an epoch that is drawn, but never the last.

    It is so in both modes of the network: labels are drawn until it is.
    """
    epochs = int(rng.integers(4, 6))
    best = int(rng.integers(0, epochs - 1))
    while True:
        x = normal(rng, 16, 4)
        given = {
            "x_train": x,
            "y_train": (3 * x[:, :3]).argmax(1),
            "x_val": normal(rng, 30, 4) * 1.5 + np.float32(0.5),
            "y_val": rng.integers(0, 3, 30),
            "first": normal(rng, 6, 4, scale=0.7),
            "last": normal(rng, 3, 6, scale=0.4),
            "bias": (rng.uniform(0.6, 1.0, 3) * rng.choice([-1, 1], 3)).astype(np.float32),
            "num_epochs": np.array(epochs),
            "batch_size": np.array(8),
            "lr": np.array(rng.uniform(0.35, 0.45)),
            "decay": np.array(0.1),
            "order": rng.permutation(2),
        }
        both = np.stack([_kept(given, bug)[2].numpy() for bug in ("", "mode")])
        likes = (both[:, best] - np.delete(both, best, 1).max(1)).mean(0).argmax(1)
        for _ in range(50):
            y_val = np.where(rng.random(30) < rng.uniform(0.4, 1), likes, rng.integers(0, 3, 30))
            curves = -both[:, :, np.arange(30), y_val].mean(2)
            second, first = np.partition(curves, 1)[:, 1], curves.min(1)
            if (curves.argmin(1) == best).all() and (second - first).min() > 2e-3:
                return given | {"y_val": y_val}


@once
def _kept(
    given: Given, bug: str = "", epochs: int | None = None
) -> tuple[list[dict[str, Tensor]], list[float], Tensor]:
    """The states after each epoch, the losses, and the logarithms of all probabilities.

    They are those of the loop that is asked for, or of a wrong one.
    """
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
    t = {key: torch.from_numpy(value) for key, value in given.items() if value.ndim}
    with torch.no_grad():
        model[0].weight.copy_(t["first"])
        model[3].weight.copy_(t["last"])
        model[0].bias.fill_(0.5)
        model[1].bias.fill_(-0.7)
        model[3].bias.copy_(t["bias"])
    spared = [] if bug == "all" else [p for p in model.parameters() if p.ndim < 2]
    if bug == "biases":
        spared = [model[0].bias, model[1].bias, model[3].bias]
    decayed = [p for p in model.parameters() if all(p is not q for q in spared)]
    groups = [{"params": decayed, "weight_decay": float(given["decay"])}]
    groups += [{"params": spared}] if spared else []
    if bug == "none":
        groups = [{"params": list(model.parameters())}]
    optimizer = torch.optim.SGD(groups, lr=float(given["lr"]))
    states, losses, every, size = [], [], [], int(given["batch_size"])
    x_train, x_val = t["x_train"].double(), t["x_val"].double()
    for _ in range(epochs or int(given["num_epochs"])):
        model.train()
        for x, y in zip(x_train.split(size), t["y_train"].split(size), strict=True):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if bug != "mode":
            model.eval()
        with torch.no_grad():
            every.append(model(x_val).log_softmax(1))
            losses.append(nn.functional.nll_loss(every[-1], t["y_val"]).item())
        weights = {k: v.clone() for k, v in model.state_dict().items() if "running" not in k}
        states.append(weights)
    return states, losses, torch.stack(every)


def _keep_steps(given: Given, seen: Seen) -> str | None:
    if error := seen.text("one.error"):
        return error
    if same_state(seen, "one", _kept(given, epochs=1)[0][-1]):
        return None
    if same_state(seen, "one", _kept(given, "all", 1)[0][-1]):
        return "something decays in the first epoch that should not."
    if same_state(seen, "one", _kept(given, "biases", 1)[0][-1]):
        return "the biases are spared, and something else decays that should not."
    if same_state(seen, "one", _kept(given, "none", 1)[0][-1]):
        return "nothing decays any more."
    return "after one epoch the weights are not those of a right loop with the same batches."


def _keep_losses(given: Given, seen: Seen) -> str | None:
    if error := seen.text("all.error"):
        return error
    losses = _kept(given)[1]
    found = seen.tensor("curve", (len(losses),), "the list of losses")
    if near(found, torch.tensor(losses), 1e-3):
        return None
    if near(found, torch.tensor(_kept(given, "mode")[1]), 1e-3):
        return "the validation loss depends on which images stand together in the batch."
    return "the validation losses are not those of the model after each epoch."


def _keep_best(given: Given, seen: Seen) -> str | None:
    if error := seen.text("all.error"):
        return error
    states, losses, _ = _kept(given)
    # Whose curve is that of the wrong mode may choose by it; no other curve has a say.
    found = seen.tensor("curve", (len(losses),), "the list of losses")
    if not near(found, torch.tensor(losses), 1e-3):
        other = _kept(given, "mode")[1]
        losses = other if near(found, torch.tensor(other), 1e-3) else losses
    best = int(np.argmin(losses))
    if same_state(seen, "all", states[best]):
        return None
    if same_state(seen, "all", states[-1]):
        return "in the end the model holds the weights of the last epoch."
    return "in the end the model does not hold the weights of its best epoch."


QUESTIONS = {
    "read_history": Question(
        8,
        _history_given,
        [
            Criterion(1, "the epoch with the lowest validation loss", _history_epoch),
            Criterion(1, "the gaps at this epoch and at the last one", _history_gaps),
            Criterion(1, "of equals, the earliest", _history_tie),
        ],
    ),
    "InvertedDropout": Question(
        12,
        _dropout_given,
        [
            Criterion(2, "train mode drops a share `p` and keeps the mean", _dropout_train),
            Criterion(1, "eval mode leaves its input as it is", _dropout_eval),
            Criterion(1, "each call draws anew", _dropout_anew),
            Criterion(1, "`p = 0` and `p = 1` work too", _dropout_edges),
        ],
    ),
    "smoothed_loss": Question(
        12,
        _smoothed_given,
        [
            Criterion(2, "the mean cross-entropy with smoothed labels", _smoothed_value),
            Criterion(1, "its gradient reaches the logits", _smoothed_gradient),
            Criterion(1, "large logits do not break it", _smoothed_large),
        ],
    ),
    "elastic_step": Question(
        12,
        _elastic_given,
        [
            Criterion(2, "both penalties, and weights that rest at zero", _elastic_values),
            Criterion(1, "`w` and `grad` are left as they were", _elastic_keeps),
        ],
    ),
    "decay_both_ways": Question(
        15,
        _decay_given,
        [
            Criterion(2, "a penalty goes the way of every gradient", _decay_penalty),
            Criterion(2, "decoupled decay goes its own way", _decay_apart),
            Criterion(1, "what was given is left as it was", _decay_keeps),
        ],
    ),
    "EarlyStopping": Question(
        20,
        _stopping_given,
        [
            Criterion(2, "it stops when patience is at its end", _stopping_time),
            Criterion(1, "the best weights come back", _stopping_weights),
            Criterion(1, "and so do batch norm's running averages", _stopping_buffers),
            Criterion(1, "NaN is never the best", _stopping_nan),
        ],
    ),
    "quotient_stop": Question(
        20,
        _quotient_given,
        [
            Criterion(2, "it stops where the rule says", _quotient_stops),
            Criterion(1, "a falling validation loss never stops it", _quotient_never),
            Criterion(1, "it can bear a training loss that stands still", _quotient_still),
        ],
        rounds=ONE_OR_TWO,
    ),
    "finished_verdict": Question(
        15,
        _budgets_given,
        [
            Criterion(2, "the first budget at which the baseline has finished", _budget_places),
            Criterion(1, "the verdict is that of this budget, by the rule", _budget_verdicts),
            Criterion(1, "a baseline that never finishes decides nothing", _budget_never),
        ],
        rounds=ONE_OR_TWO,
    ),
    "train_and_keep_best": Question(
        20,
        _keep_given,
        [
            Criterion(2, "every step of the first epoch is right", _keep_steps),
            Criterion(1, "the validation losses are right", _keep_losses),
            Criterion(1, "the model ends with the weights of its best epoch", _keep_best),
        ],
    ),
}
