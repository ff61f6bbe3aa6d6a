"""Judges the answers of the part on good practices: inputs, points, and what is wrong.

It never runs a student's code. Sentences name what is wrong with an answer, not the answer.
"""

from __future__ import annotations

import math

import numpy as np
import torch
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
)

Array = np.ndarray


def _number(seen: Seen, call: str, what: str) -> float:
    return seen.tensor(call, (), what).item()


# -------------------------------------------------------------------------- baseline_loss


def _baseline_given(rng: np.random.Generator) -> Given:
    k = int(rng.integers(4, 7))
    shares = rng.permutation(0.6 ** np.arange(k))
    shares = shares / shares.sum()
    train = np.concatenate([np.arange(k), rng.choice(k, int(rng.integers(35, 50)), p=shares)])
    test = np.concatenate([np.arange(k), rng.choice(k, 25, p=np.roll(shares, 1))])
    # Always the last class, which a count leaves out by itself, and one or two others.
    gone = [k - 1, *rng.choice(k - 1, int(rng.integers(1, 3)), replace=False)]
    return {
        "plain_train": rng.permutation(train),
        "plain_test": rng.permutation(test),
        "unseen_train": train[~np.isin(train, gone)],
        "unseen_test": test,
        "num_classes": np.array(k),
        "order": rng.permutation(2),
    }


def _baseline(train: Array, test: Array, k: int, extra: float = 1.0) -> Array:
    counts = np.bincount(train, minlength=k) + extra
    return -np.log(counts / counts.sum())[test]


def _baseline_value(given: Given, seen: Seen) -> str | None:
    train, test, k = given["plain_train"], given["plain_test"], int(given["num_classes"])
    found = _number(seen, "plain", "the loss")
    each = _baseline(train, test, k)
    known = {
        "the shares are those of the test labels, which no model may know.": _baseline(
            test, test, k
        ),
        "no class got its extra example.": _baseline(train, test, k, 0.0),
        "this is the loss on the training labels.": _baseline(train, train, k),
        "this guesses blindly: it does not know which classes are common.": np.log([k]),
        "the logarithm has another base than cross-entropy's.": each / math.log(2),
        "the sign is wrong.": -each,
    }
    if abs(found - each.mean()) < 1e-4:
        return None
    for sentence, wrong in known.items():
        if abs(found - wrong.mean()) < 1e-4:
            return sentence
    if abs(found - each.sum()) < 1e-3:
        return "this is the sum over the test labels, not the mean."
    counts = np.bincount(train, minlength=k)
    if abs(found - -np.log((counts + 1) / counts.sum())[test].mean()) < 1e-4:
        return "the shares of the classes do not add up to one."
    return "this is not the mean cross-entropy of guessing each class by its share."


def _baseline_missing(given: Given, seen: Seen) -> str | None:
    try:
        found = _number(seen, "unseen", "the loss")
    except Wrong as wrong:
        return f"with classes that training never saw: {wrong}"
    labels = given["unseen_train"], given["unseen_test"], int(given["num_classes"])
    if abs(found - _baseline(*labels).mean()) < 1e-4:
        return None
    return "with classes that training never saw the loss is wrong; how many classes are there?"


# -------------------------------------------------------------------------- start_is_sane


CALM, WIDE, SURE, NEAR, KNOWS = "calm", "wide", "sure", "near", "knows"


def _start_given(rng: np.random.Generator) -> Given:
    """Networks of one layer, of which nothing but the loss says whether they are sane.

    Weights and inputs are large or small in each kind, and so are the logits of some that are sane.
    """
    classes, tolerance = int(rng.integers(6, 9)), float(rng.uniform(0.1, 0.2))
    kinds = [CALM] * int(rng.integers(3, 6)) + [WIDE] * int(rng.integers(3, 5))
    kinds += [SURE] * int(rng.integers(4, 7)) + [NEAR] * int(rng.integers(2, 4))
    kinds += [KNOWS] * int(rng.integers(2, 4))
    cases = [_start_case(rng, str(kind), classes, tolerance) for kind in rng.permutation(kinds)]
    given = {key: np.stack([case[key] for case in cases]) for key in cases[0]}
    return given | {
        "norm_weights": normal(rng, 53, scale=0.7),
        "norm_buffers": rng.uniform(0.5, 2.0, (2, 5)).astype(np.float32),
        "tolerance": np.array(tolerance),
        "order": rng.permutation(len(kinds) + 2),
    }


def _start_case(rng: np.random.Generator, kind: str, classes: int, tolerance: float) -> Given:
    x, size = rng.normal(0, 1, (16, 4)), float(np.exp(rng.uniform(np.log(0.02), np.log(20))))
    weights = rng.uniform(0.5, 1.5, (classes, 4)) * _signs(rng, classes, 4)
    bias = np.zeros(classes)
    # The last two of the classes are not in these batches.
    y = np.concatenate([np.arange(classes - 2), rng.integers(0, 4, 18 - classes)])
    y = rng.permutation(y)
    if kind == KNOWS:
        y[:] = rng.integers(0, classes)
        bias[y[0]] = rng.uniform(1.0, 4.0)
    if kind in (CALM, KNOWS):
        # The same in each row, which makes no difference to a softmax, and a small one of its own.
        rows = rng.uniform(0.5, 1.5, 4) * _signs(rng, 4)
        weights = rows * rng.uniform(0.0, 3.0) + 0.004 * weights
    elif kind == SURE:
        weights *= rng.uniform(4.0, 20.0)
    else:  # as wide as it takes for this loss, at labels that the logits know a little of
        knows = rng.random(16) < rng.uniform(0.2, 0.5)
        y = np.where(knows, (x @ weights.T)[:, : classes - 2].argmax(1), y)
        excess = tolerance * rng.uniform(-0.7, 0.7) if kind == WIDE else 0.0
        if kind == NEAR:
            excess = tolerance * rng.uniform(1.3, 2.0)
        weights *= _wide(x @ weights.T, y, excess)
    return {
        "x": (x / size).astype(np.float32),
        "weights": (weights * size).astype(np.float32),
        "biases": bias.astype(np.float32),
        "y": y.astype(np.int64),
    }


def _wide(logits: Array, y: Array, excess: float) -> float:
    """The largest factor with which logits have this loss above that of guessing, or nearly."""

    def above(factor: float) -> float:
        return _excess(factor * logits, y) - excess

    low, high = min(np.linspace(0.0, 4.0, 81), key=above), 100.0
    for _ in range(60):  # the loss is convex in the factor
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) > 0 else (middle, high)
    return float(low)


def _excess(logits: Array, y: Array) -> float:
    """The mean cross-entropy above that of treating all classes alike."""
    log_p = logits - np.logaddexp.reduce(logits, 1, keepdims=True)
    return float(-log_p[np.arange(len(y)), y].mean()) - math.log(logits.shape[1])


def _start_kind(given: Given, number: int) -> str:
    """What kind of network it is, by its loss."""
    weight, bias, x = (given[key][number].astype(np.float64) for key in ("weights", "biases", "x"))
    excess = _excess(x @ weight.T + bias, given["y"][number])
    if abs(excess) <= float(given["tolerance"]):
        return CALM if abs(excess) < 0.1 * float(given["tolerance"]) else WIDE
    return SURE if excess > 0 else KNOWS


def _signs(rng: np.random.Generator, *shape: int) -> Array:
    return rng.choice([-1, 1], shape).astype(np.float32)


def _start_said(given: Given, seen: Seen, kind: str) -> list[float]:
    """What was said of the networks of a kind."""
    numbers = [n for n in range(len(given["y"])) if _start_kind(given, n) == kind]
    return [_number(seen, f"network_{number}", "the verdict") for number in numbers]


def _start_verdicts(given: Given, seen: Seen) -> str | None:
    alike, wide, sure = (_start_said(given, seen, kind) for kind in (CALM, WIDE, SURE))
    calm = alike + wide
    if min(calm) == 1 and max(sure) == 0:
        return None
    if min(calm) == 1:
        return "a network that is sure of wrong answers before any training is called sane."
    if max(calm) == 0 and min(sure) == 1:
        return "the verdicts are turned over."
    if max(alike) == 0:
        return "a network that treats all classes alike is not called sane; what is its loss?"
    if max(sure) == 0:
        return "some networks whose loss is as expected are not called sane."
    return "some calm networks are not called sane, and some that are sure of their answers are."


def _start_knows(given: Given, seen: Seen) -> str | None:
    if max(_start_said(given, seen, KNOWS)) == 0:
        return None
    return "a network that knows the labels before any training is called sane."


def _start_keeps(given: Given, seen: Seen) -> str | None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    weights = torch.from_numpy(given["norm_weights"])
    nn.utils.vector_to_parameters(weights.clone(), model.parameters())
    for buffer, value in zip(model.buffers(), given["norm_buffers"], strict=False):
        buffer.copy_(torch.from_numpy(value))
    for mode in ("train", "eval"):
        call = f"norm_{mode}"
        if error := seen.text(f"{call}.error"):
            return error
        for name, value in model.state_dict().items():
            found = seen.tensor(f"{call}.{name}", value.shape, f"the model's {name}")
            if not torch.equal(found, value.double()):
                what = "look at batch norm's running averages." if "1." in name else "its weights."
                return f"a network in {mode} mode is changed: {what}"
        if not _all_are(seen, f"{call}_modes", 4, mode == "train"):
            return f"a network in {mode} mode comes back in the other one."
        if not _all_are(seen, f"{call}_learns", 6, True):
            return "the network's weights no longer ask for gradients."
    return None


def _all_are(seen: Seen, call: str, count: int, wanted: bool) -> bool:
    """Whether each of so many noted truths is as wanted."""
    return bool((seen.tensor(call, (count,), "it") == float(wanted)).all())


# ------------------------------------------------------------------------- split_by_group


SPLITS = 20  # at so many different seeds


def _groups_given(rng: np.random.Generator) -> Given:
    share, count = float(rng.choice([0.2, 0.3, 0.4])), 10 * int(rng.integers(2, 5))
    names = rng.choice(np.arange(100, 900), count, replace=False)
    seeds = rng.choice(10**6, SPLITS, replace=False)
    return {
        "groups": rng.permutation(np.repeat(names, rng.integers(1, 9, count))),
        "share": np.array(share),
        "seeds": np.array([seeds[0], *seeds]),
        "order": rng.permutation(SPLITS + 1),
    }


def _split(given: Given, seen: Seen, call: str) -> tuple[Array, Array]:
    names, n = seen.pair(call), len(given["groups"])
    found = []
    for name in names:
        rows = seen.array(name)
        if rows.dtype.kind == "b":
            raise Wrong("give back the numbers of the rows, not a mask.")
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise Wrong("each part should be a tensor of row numbers, with one axis.")
        if len(rows) and (rows.min() < 0 or rows.max() >= n):
            raise Wrong("there are row numbers that no row has.")
        found.append(rows.astype(np.int64))
    return found[0], found[1]


def _groups_apart(given: Given, seen: Seen) -> str | None:
    train, test = _split(given, seen, "one")
    groups, n = given["groups"], len(given["groups"])
    if len(train) == 0 or len(test) == 0:
        return "one of the two parts is empty."
    if len(np.unique(np.concatenate([train, test]))) < n:
        return "some rows are in neither part."
    if len(train) + len(test) > n:
        return "some rows are there more than once."
    if np.isin(groups[train], groups[test]).any():
        return "a group has rows on both sides."
    return None


def _groups_share(given: Given, seen: Seen) -> str | None:
    _, test = _split(given, seen, "one")
    groups, share = len(np.unique(given["groups"])), float(given["share"])
    count, wanted = len(np.unique(given["groups"][test])), round(share * groups)
    if count == wanted:
        return None
    if count == groups - wanted:
        return "the two parts come back in the wrong order."
    return f"of {groups} groups {count} are in the test part, for a share of {share:g}."


def _groups_seed(given: Given, seen: Seen) -> str | None:
    one, again = (set(_split(given, seen, call)[1].tolist()) for call in ("one", "again"))
    if one != again:
        return "the same seed twice gives two different splits."
    calls = ["one", *(f"other_{number}" for number in range(SPLITS - 1))]
    rows = [_split(given, seen, call)[1] for call in calls]
    if all(one == set(other.tolist()) for other in rows):
        return "another seed gives the same split."
    names, first = np.unique(given["groups"], return_index=True)
    chosen = np.array([np.isin(names, given["groups"][test]) for test in rows])
    return _by_chance(chosen, first.argsort())


def _by_chance(chosen: Array, by_place: Array) -> str | None:
    """What speaks against chance in splits, shaped (splits, groups), True in the test part.

    Each number is compared with its mean and deviation if all sets of groups are equally likely.
    Pearson's type III fitted to 40,000 simulated drawings of each size says that chance alone
    goes beyond any of the three bounds less than once in a hundred million times.
    """
    splits, n = chosen.shape
    m = int(chosen[0].sum())
    if not (chosen.sum(1) == m).all():
        return "with another seed the test part has another number of groups."
    share, pairs = m / n, splits * (splits - 1) / 2
    shared = (chosen.astype(int) @ chosen.T.astype(int))[np.triu_indices(splits, 1)] - m * share
    spread = m * share * (1 - share) * (n - m) / (n - 1)
    # Neighbours, in a ring, that are both in the test part.
    mean = m * (m - 1) / (n - 1)
    three = mean * (m - 2) / (n - 2)
    variance = mean + 2 * three + three * (m - 3) - mean**2
    for order in (np.arange(n), by_place):
        ring = chosen[:, order]
        both = (ring & np.roll(ring, 1, 1)).sum() - splits * mean
        if both > 9 * np.sqrt(splits * variance):
            return "groups that are neighbours stand together more often than by chance."
    if shared.sum() > 10 * np.sqrt(pairs * spread):
        return "some groups come into the test part more often than others, and not by chance."
    if (shared**2).sum() > 2.1 * pairs * spread:
        return "the splits of different seeds are more alike than by chance."
    return None


# ------------------------------------------------------------------------- clip_together_


def _clip_given(rng: np.random.Generator) -> Given:
    a, b, c = normal(rng, 3, 4, scale=3), normal(rng, 5), normal(rng, 2, 2, scale=0.2)
    norm = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in (a, b, c)))
    shares = [rng.uniform(0.2, 0.4), rng.uniform(1.5, 2.0)]
    limits = norm * np.array(shares)
    return {"a": a, "b": b, "c": c, "limits": limits, "order": rng.permutation(3)}


def _norm(given: Given) -> float:
    return _joined(_gradients(given)).norm().item()


def _gradients(given: Given) -> list[Tensor]:
    return [torch.from_numpy(given[name]).double() for name in ("a", "b", "c")]


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])


def _clipped(given: Given, seen: Seen, case: str) -> Tensor:
    size = sum(given[name].size for name in ("a", "b", "c"))
    return seen.tensor(seen.pair(case)[0], (size,), "the gradients")


def _clip_long(given: Given, seen: Seen) -> str | None:
    found, parts, norm = _clipped(given, seen, "long"), _gradients(given), _norm(given)
    limit = float(given["limits"][0])
    if near(found, limit / norm * _joined(parts)):
        return None
    if near(found, _joined(parts)):
        return "the gradients are as they were; the parameters must hold the clipped ones."
    known = {
        "each gradient is clipped by itself, which turns the step.": [
            g * min(1.0, limit / g.norm().item()) for g in parts
        ],
        "each gradient gets the length max_norm by itself, which turns the step.": [
            g * limit / g.norm().item() for g in parts
        ],
        "single values are cut off, which turns the step.": [g.clamp(-limit, limit) for g in parts],
        "the root of the sum of squares is missing.": [g * limit / norm**2 for g in parts],
        "this norm is the sum of the tensors' norms, not that of all values together.": [
            g * limit / sum(h.norm().item() for h in parts) for g in parts
        ],
        "this norm is the largest of the tensors' norms.": [
            g * limit / max(h.norm().item() for h in parts) for g in parts
        ],
        "all together have length one, whatever max_norm is.": [g / norm for g in parts],
    }
    for sentence, wrong in known.items():
        if near(found, _joined(wrong)):
            return sentence
    return "all gradients together do not have the length max_norm, or another direction."


def _clip_short(given: Given, seen: Seen) -> str | None:
    if near(_clipped(given, seen, "short"), _joined(_gradients(given))):
        return None
    return "gradients that are shorter than max_norm should stay as they are."


def _clip_norm(given: Given, seen: Seen) -> str | None:
    norm, limit = _norm(given), float(given["limits"][0])
    found = [_number(seen, seen.pair(case)[1], "the norm") for case in ("long", "short")]
    if np.abs(np.array(found) / norm - 1).max() < 1e-4:
        return None
    if found[0] == -1:
        return "give back the norm as well."
    if abs(found[0] / limit - 1) < 1e-4:
        return "the norm that comes back is that after clipping."
    return "the norm that comes back is not that of all gradients before clipping."


def _clip_stream(given: Given, seen: Seen) -> str | None:
    try:
        found = _clipped(given, seen, "stream")
    except Wrong as wrong:
        return f"with model.parameters(), one of them without a gradient: {wrong}"
    if near(found, float(given["limits"][0]) / _norm(given) * _joined(_gradients(given))):
        return None
    return "what model.parameters() gives can be gone through only once."


# -------------------------------------------------------------------------- WeightAverage

WEIGHTS = 24


def _average_given(rng: np.random.Generator) -> Given:
    updates = int(rng.integers(3, 7))
    return {
        "weights": normal(rng, updates + 1, WEIGHTS),
        "buffers": rng.uniform(0.5, 2.0, (updates + 1, 2, 4)).astype(np.float32),
        "decay": np.array(rng.uniform(0.65, 0.8)),
    }


def _averages(weights: Array, decay: float) -> Array:
    average = weights[0].astype(np.float64)
    for new in weights[1:]:
        average = decay * average + (1 - decay) * new
    return average


def _average_values(given: Given, seen: Seen) -> str | None:
    for call in ("made", "updated", "parameters"):
        if error := seen.text(f"{call}.error"):
            return error
    found = seen.tensor("parameters", (WEIGHTS,), "the averaged weights")
    weights, decay = given["weights"], float(given["decay"])
    if near(found, _averages(weights, decay)):
        return None
    zero = np.concatenate([np.zeros_like(weights[:1]), weights[1:]])
    known = {
        "the average is the trained model itself, or follows it at once.": weights[-1],
        "the average never moves.": weights[0],
        "old and new have changed their shares.": _averages(weights, 1 - decay),
        "the average begins at zero, not at the model's first weights.": _averages(zero, decay),
        "this average forgets nothing; every update counts the same.": weights[1:].mean(0),
    }
    for sentence, wrong in known.items():
        if near(found, wrong):
            return sentence
    return "the averaged weights are not right after a few updates."


def _average_buffers(given: Given, seen: Seen) -> str | None:
    found = seen.tensor("buffers", (9,), "the buffers").numpy()
    buffers = given["buffers"].reshape(-1, 8)
    if np.abs(found[:8] - buffers[-1]).max() < 1e-4:
        return (
            None
            if found[8] == len(buffers) - 1
            else "one of the buffers, a whole number, is forgotten."
        )
    if np.abs(found[:8] - buffers[0]).max() < 1e-4:
        return "batch norm's running averages are still those of the beginning."
    if np.abs(found[:8] - _averages(buffers, float(given["decay"]))).max() < 1e-3:
        return "batch norm's running averages are averages already; take the latest."
    return "the buffers are not those of the model at the last update."


def _average_apart(given: Given, seen: Seen) -> str | None:
    left = seen.tensor("left", (WEIGHTS,), "the model's weights")
    if not near(left, given["weights"][-1]):
        return "update changes the model that is being trained."
    if not _all_are(seen, "still_learns", 4, True) or not _all_are(seen, "still_trains", 3, True):
        return "the model that is being trained no longer learns, or is in another mode."
    if not _all_are(seen, "learns", 4, False):
        return "the averaged weights still ask for gradients."
    return None if _all_are(seen, "trains", 3, False) else "the averaged model is not in eval mode."


# -------------------------------------------------------------------------- wrong_entries


UNITS = 16


def _entries_given(rng: np.random.Generator) -> Given:
    """Several losses with gradients, of which some are right in every entry.

    Nothing that comes along says which entries are wrong: the gradient is written in other units
    than the loss, and is what it claims to be at this `w` alone.
    """
    marks = [True] * int(rng.integers(2, 4)) + [False] * int(rng.integers(1, 3))
    steps = [rng.uniform(0.004, 0.006) if n % 2 else rng.uniform(0.017, 0.02) for n in range(4)]
    pairs = [(mistaken, steps[n % 4]) for n, mistaken in enumerate(marks)]
    cases = [_one_loss(rng, *pairs[n]) for n in rng.permutation(len(pairs))]
    given = {key: np.stack([case[key] for case in cases]) for key in cases[0]}
    return given | {"order": rng.permutation(2 * len(marks))}


def _one_loss(rng: np.random.Generator, mistaken: bool, h: float) -> Given:
    """A mixture of cubes of sums, and a mixture of squares that is its gradient, or nearly."""
    while True:
        w = rng.uniform(0.6, 1.5, (3, 4)).astype(np.float32) * _signs(rng, 3, 4)
        tolerance = h * rng.uniform(0.16, 0.24)
        # A weight without any effect, and one with a small one, whose gradient is slightly wrong.
        idle, small, *others = rng.permutation(12)
        scale, factor = np.ones(12), np.ones(12)
        scale[idle], scale[small] = 0.0, 2e-3
        factor[others[-2:]] = 1 + 0.7 * tolerance  # near enough to be right
        if mistaken:
            factor[small] = 1.06
            factor[others[:4]] = -1, 2, 1.05, 1 + 1.4 * tolerance
        mix = np.concatenate([np.eye(12), np.zeros((UNITS - 12, 12))])
        mix = (mix + rng.normal(0, 0.06, mix.shape)) * scale
        stretch = rng.uniform(0.7, 1.4, UNITS) * _signs(rng, UNITS)
        weights = rng.uniform(1.0, 2.0, UNITS) * _signs(rng, UNITS) / stretch**3
        shuffled = rng.permutation(UNITS)
        case = {
            "w": w,
            "mix": (mix * stretch[:, None])[shuffled],
            "weights": weights[shuffled],
            "turn": rng.normal(0, 1, (UNITS, 12)),
            "offset": np.array(rng.uniform(40000, 60000)),  # float32 rounds these to 1 / 256
            "h": np.array(h),
            "tolerance": np.array(tolerance),
        }
        true = _true_slopes(case)
        squares = (case["turn"] @ w.ravel().astype(np.float64)) ** 2
        slopes = rng.normal(0, 0.3, (12, UNITS)) * scale[:, None]
        case["slopes"] = slopes + np.outer(factor * true - slopes @ squares, squares) / (
            squares @ squares
        )
        case["slopes"][idle] = 0.0
        clear = np.abs(true[others]).min() > 1 and abs(true[small]) > scale[small]
        if clear and (_marked(case, _differences(case)) == _marked(case, true)).all():
            sides = np.abs(_differences(case, two=False) / np.where(true == 0, 1, true) - 1)
            right = np.setdiff1d(others, others[:4])
            if (sides[right] > 3 * tolerance).any():
                return case


def _cubes(case: Given, w: Array) -> float:
    return float(case["weights"] @ (case["mix"] @ w) ** 3)


def _true_slopes(case: Given) -> Array:
    w = case["w"].ravel().astype(np.float64)
    return 3 * (case["weights"] * (case["mix"] @ w) ** 2) @ case["mix"]


def _differences(case: Given, two: bool = True) -> Array:
    """Differences of two losses, a step to both sides or to one."""
    w, h = case["w"].ravel().astype(np.float64), float(case["h"])
    ends = [(w + h * step, w - h * step * two) for step in np.eye(12)]
    return np.array([(_cubes(case, a) - _cubes(case, b)) / (h * (1 + two)) for a, b in ends])


def _said_slopes(case: Given) -> Array:
    return case["slopes"] @ (case["turn"] @ case["w"].ravel().astype(np.float64)) ** 2


def _marked(case: Given, slopes: Array) -> Array:
    """Which entries differ by more than the tolerance; -1 where the two are almost equal."""
    said = _said_slopes(case)
    room = float(case["tolerance"]) * np.maximum(np.abs(said), np.abs(slopes))
    share = np.abs(said - slopes) / np.where(room > 0, room, 1)
    return np.where(np.abs(share - 1) < 0.1, -1, share > 1)


def _entries_case(given: Given, number: int) -> Given:
    names = "w", "mix", "weights", "turn", "slopes", "offset", "h", "tolerance"
    return {name: given[name][number] for name in names}


def _wrong_entries(given: Given, number: int) -> Array:
    """Where the slopes are not those of the loss."""
    case = _entries_case(given, number)
    return (_marked(case, _true_slopes(case)) == 1).reshape(3, 4)


def _entries(given: Given, seen: Seen, call: str) -> Array:
    found = seen.array(call)
    if found.dtype.kind != "b":
        raise Wrong("give back a tensor of True and False.")
    return seen.tensor(call, (3, 4), "the mask").numpy() > 0


def _entries_mistaken(given: Given, seen: Seen) -> str | None:
    for number in range(len(given["w"])):
        wanted = _wrong_entries(given, number)
        if not wanted.any():
            continue
        found = _entries(given, seen, f"case_{number}")
        slopes = _said_slopes(_entries_case(given, number))
        if (found == wanted).all():
            continue
        if (found == ~wanted).all():
            return "the mask is turned over: it marks what is right."
        if not found.any():
            return "no mistake is found at all."
        idle = (slopes == 0).reshape(3, 4)
        if (found == wanted | idle).all():
            return "a weight without any effect, whose gradient is rightly zero, is marked."
        if (found & ~wanted).any():
            return "entries are marked whose gradient is right."
        small = (np.abs(slopes) < 0.1).reshape(3, 4)
        if (found == wanted & ~small).all():
            return "a small gradient is wrong by a few per cent, and is not marked."
        return "some of the mistakes are not marked."
    return None


def _entries_exact(given: Given, seen: Seen) -> str | None:
    for number in range(len(given["w"])):
        right = not _wrong_entries(given, number).any()
        if right and _entries(given, seen, f"case_{number}").any():
            return "a gradient without any mistake has entries that are marked."
    return None


def _entries_single(given: Given, seen: Seen) -> str | None:
    for number in range(len(given["w"])):
        if (_entries(given, seen, f"single_{number}") != _wrong_entries(given, number)).any():
            return "if w is float32, rounding is taken for mistakes, or hides them."
    return None


def _entries_keeps(given: Given, seen: Seen) -> str | None:
    for number, w in enumerate(given["w"]):
        for call, dtype in (("case", np.float64), ("single", np.float32)):
            after = seen.argument(f"{call}_{number}", 2)
            if after is None or not np.array_equal(after, w.astype(dtype)):
                return "your function changed the weights that it was given; work on a copy."
    return None


# -------------------------------------------------------------------------- overfit_batch


def _overfit_given(rng: np.random.Generator) -> Given:
    cases = [_overfit_case(rng) for _ in range(int(rng.integers(3, 6)))]
    given = {key: np.stack([case[key] for case in cases]) for key in cases[0]}
    # Batches that can be learned, and some that cannot in so few steps, or need not be.
    kinds = [REACHED] * len(cases)
    kinds += [HOPELESS] * int(rng.integers(1, 3)) + [DONE] * int(rng.integers(1, 3))
    rows = [*range(len(cases)), *rng.integers(0, len(cases), len(kinds) - len(cases))]
    given = {key: value[rows] for key, value in given.items()}
    steps = rng.integers(20, MOST_STEPS, len(kinds), endpoint=True)
    for row, kind in enumerate(kinds):
        losses = _overfit_losses({key: value[row] for key, value in given.items()}, MOST_STEPS)
        if kind == HOPELESS:
            needed = next(n for n, loss in enumerate(losses) if loss < given["goal"][row])
            steps[row] = rng.integers(2, needed - 1)
        if kind == DONE:
            steps[row] = rng.integers(2, MOST_STEPS, endpoint=True)
            given["goal"][row] = losses[0] + rng.uniform(0.05, 0.5)
    order = rng.permutation(len(kinds))
    given = {key: value[order] for key, value in given.items()}
    return given | {"lr": np.array(LR), "max_steps": steps[order]}


LR, MOST_STEPS = 0.4, 40
REACHED, HOPELESS, DONE = "reached", "hopeless", "done"


def _overfit_case(rng: np.random.Generator) -> Given:
    while True:
        case = {
            "x": normal(rng, 8, 4),
            "y": rng.integers(0, 3, 8),
            "weights": normal(rng, 4 * 6 + 6 + 6 * 3 + 3, scale=0.5),
        }
        steps = int(rng.integers(6, 18))
        losses = _overfit_losses(case, steps + 2)
        if min(losses[:steps]) - losses[steps] > 1e-3 and (np.diff(losses) < -1e-3).all():
            return case | {"goal": np.array((losses[steps - 1] + losses[steps]) / 2)}


def _overfit_losses(case: Given, steps: int, bug: str = "") -> list[float]:
    """The losses of one case before the first step, after the first, and so on."""
    w, gradient, losses = case["weights"].astype(np.float64), 0.0, []
    for _ in range(steps + 1):
        loss, new = _loss_and_gradient(w, case["x"].astype(np.float64), case["y"])
        gradient = gradient + new if bug else new
        w = w - LR * gradient
        losses.append(loss)
    return losses


def _loss_and_gradient(w: Array, x: Array, y: Array) -> tuple[float, Array]:
    """Of the network 4 - 6 - 3 with tanh and cross-entropy; NumPy is quicker for one so small."""
    first, shift, last, bias = np.split(w, [24, 30, 48])
    first, last = first.reshape(6, 4), last.reshape(3, 6)
    hidden = np.tanh(x @ first.T + shift)
    logits = hidden @ last.T + bias
    log_p = logits - np.logaddexp.reduce(logits, 1, keepdims=True)
    error = (np.exp(log_p) - np.eye(3)[y]) / len(y)
    back = error @ last * (1 - hidden**2)
    parts = back.T @ x, back.sum(0), error.T @ hidden, error.sum(0)
    loss = -float(log_p[np.arange(len(y)), y].mean())
    return loss, np.concatenate([part.ravel() for part in parts])


@once
def _overfit_cases(given: Given, kind: str) -> list[tuple[str, Given]]:
    """The calls of a kind, with what they were given."""
    found = []
    for number in range(len(given["goal"])):
        case = {key: given[key][number] for key in ("x", "y", "weights", "goal", "max_steps")}
        losses, goal = _overfit_losses(case, int(case["max_steps"])), case["goal"]
        here = DONE if losses[0] < goal else REACHED if min(losses) < goal else HOPELESS
        found += [(f"case_{number}", case)] if here == kind else []
    return found


def _overfit_steps(given: Given, seen: Seen) -> str | None:
    for call, case in _overfit_cases(given, REACHED):
        if _number(seen, f"{call}_none", "it") == 1 and not seen.text(f"{call}.error"):
            return "a batch that can be overfitted is not: nothing came back."
        found = _number(seen, call, "the number of steps")
        goal, losses = float(case["goal"]), _overfit_losses(case, MOST_STEPS)
        wanted = next(n for n, loss in enumerate(losses) if loss < goal)
        if found == wanted:
            continue
        if abs(found - wanted) == 1:
            return "the number of steps is wrong by one; after how many steps was it measured?"
        bug = _overfit_losses(case, MOST_STEPS, "gradient")
        bug = [n for n, loss in enumerate(bug) if loss < goal]
        if bug and abs(found - bug[0]) <= 1:
            return "every step but the first goes wrong."
        if found == case["max_steps"]:
            return "it goes on to the last step though the goal is reached before."
        return "the number of steps is not that of plain gradient descent on this batch."
    return None


def _overfit_hopeless(given: Given, seen: Seen) -> str | None:
    for call, _ in _overfit_cases(given, HOPELESS):
        if error := seen.text(f"{call}.error"):
            return error
        if _number(seen, f"{call}_none", "it") != 1:
            return "where max_steps steps do not reach the goal, something else than None comes."
    return None


def _overfit_done(given: Given, seen: Seen) -> str | None:
    for call, _ in _overfit_cases(given, DONE):
        if error := seen.text(f"{call}.error"):
            return error
        if _number(seen, call, "the number of steps") != 0:
            return "a loss that is below the goal from the start needs no step."
    return None


def _overfit_keeps(given: Given, seen: Seen) -> str | None:
    for call, case in _overfit_cases(given, REACHED):
        found = seen.tensor(f"{call}_after", case["weights"].shape, "the model's weights")
        if not np.array_equal(found.numpy(), case["weights"].astype(np.float64)):
            return "the model that was given has been trained; its real training would begin there."
        if not _all_are(seen, f"{call}_grads", 4, False):
            return "gradients are left behind in the model that was given."
    return None


# ---------------------------------------------------------------------------- fit_clipped


def _fit_given(rng: np.random.Generator) -> Given:
    batch = int(rng.choice([3, 4, 5]))
    x, weight = normal(rng, 3 * batch, 3), normal(rng, 1, 3)
    return {
        "x": x,
        "y": (x @ rng.uniform(1, 3, 3) + rng.uniform(1, 3)).astype(np.float32),
        "weight": weight,
        "lr": np.array(rng.uniform(0.08, 0.12)),
        "num_epochs": np.array(int(rng.integers(2, 4))),
        "max_norm": np.array(rng.uniform(0.4, 0.6)),
        "batch": np.array(batch),
        "order": rng.permutation(3),
        "seed": np.array(int(rng.integers(0, 2**31))),
    }


@once
def _fitted(given: Given, run: str, bug: str = "") -> Tensor:
    """Weights and bias after the run, by a right loop or one with a bug."""
    x, y = torch.from_numpy(given["x"]).double(), torch.from_numpy(given["y"]).double()
    w = torch.cat([torch.from_numpy(given["weight"]).double()[0], torch.zeros(1).double()])
    x = torch.cat([x, torch.ones(len(x), 1).double()], 1)
    generator = torch.Generator().manual_seed(int(given["seed"]))
    size = int(given["batch"]) if run == "all" else len(x)
    batches: list[tuple[Tensor, Tensor]] = []
    for _ in range(int(given["num_epochs"]) if run == "all" and bug != "once" else 1):
        if bug == "same":
            generator.manual_seed(int(given["seed"]))
        order = torch.randperm(len(x), generator=generator)
        order_y = torch.randperm(len(x), generator=generator) if bug == "pairs" else order
        if bug == "order":
            order = order_y = torch.arange(len(x))
        batches += zip(order.split(size), order_y.split(size), strict=True)
    for rows, rows_y in batches:
        error = x[rows] @ w - y[rows_y]
        if bug == "shape":
            error = x[rows] @ w - y[rows_y].mean()
        gradient = 2 * x[rows].T @ error / len(rows)
        if run == "steep" and bug != "clip":
            gradient = gradient * min(1.0, float(given["max_norm"]) / gradient.norm().item())
        w = w - float(given["lr"]) * gradient
    return w


def _fit_problem(given: Given, seen: Seen, run: str, known: dict[str, str]) -> str | None:
    if error := seen.text(f"{run}.error"):
        return error
    found = seen.tensor(f"{run}_after", (4,), "the weights")
    if near(found, _fitted(given, run), 1e-4):
        return None
    for bug, sentence in known.items():
        if near(found, _fitted(given, run, bug), 1e-4):
            return sentence
    return ""


def _fit_step(given: Given, seen: Seen) -> str | None:
    known = {
        "shape": "one step over all rows goes to the mean of the labels, not to each its own.",
        "pairs": "rows and labels no longer belong together.",
    }
    problem = _fit_problem(given, seen, "gentle", known)
    return "one step over all rows is not right." if problem == "" else problem


def _fit_clips(given: Given, seen: Seen) -> str | None:
    known = {"clip": "the step is as long as without clipping."}
    problem = _fit_problem(given, seen, "steep", known)
    return "with a small max_norm the step is not right." if problem == "" else problem


def _fit_batches(given: Given, seen: Seen) -> str | None:
    known = {
        "order": "the rows are no longer shuffled.",
        "once": "the first epoch is right, and the later epochs are missing.",
        "same": "each epoch should have an order of its own.",
    }
    problem = _fit_problem(given, seen, "all", known)
    return (
        "with several batches and epochs the weights are not right." if problem == "" else problem
    )


QUESTIONS = {
    "baseline_loss": Question(
        8,
        _baseline_given,
        [
            Criterion(2, "the mean loss of guessing by the training shares", _baseline_value),
            Criterion(1, "classes that training never saw", _baseline_missing),
        ],
    ),
    "start_is_sane": Question(
        10,
        _start_given,
        [
            Criterion(2, "it tells a calm network from one that is sure", _start_verdicts),
            Criterion(1, "it is wary of a loss that is too low", _start_knows),
            Criterion(1, "the network is left as it was", _start_keeps),
        ],
        rounds=ONE_OR_TWO,
    ),
    "split_by_group": Question(
        12,
        _groups_given,
        [
            Criterion(2, "every row once, and no group on both sides", _groups_apart),
            Criterion(1, "the share of the groups is right", _groups_share),
            Criterion(1, "the seed decides, and nothing else", _groups_seed),
        ],
    ),
    "clip_together_": Question(
        15,
        _clip_given,
        [
            Criterion(2, "long gradients are shortened together", _clip_long),
            Criterion(1, "short ones stay as they are", _clip_short),
            Criterion(1, "the norm before clipping comes back", _clip_norm),
            Criterion(1, "it can bear `model.parameters()` and missing gradients", _clip_stream),
        ],
    ),
    "WeightAverage": Question(
        15,
        _average_given,
        [
            Criterion(2, "the average of the weights is right", _average_values),
            Criterion(1, "the buffers are the latest", _average_buffers),
            Criterion(1, "both models can go on with their own work", _average_apart),
        ],
    ),
    "overfit_batch": Question(
        15,
        _overfit_given,
        [
            Criterion(2, "the number of steps is right", _overfit_steps),
            Criterion(1, "`None` if the goal is not reached", _overfit_hopeless),
            Criterion(1, "no step where none is needed", _overfit_done),
            Criterion(1, "the model is left as it was", _overfit_keeps),
        ],
        rounds=ONE_OR_TWO,
    ),
    "wrong_entries": Question(
        20,
        _entries_given,
        [
            Criterion(2, "the wrong entries are marked, and no others", _entries_mistaken),
            Criterion(1, "a right gradient has no marks", _entries_exact),
            Criterion(1, "float32 weights are no obstacle", _entries_single),
            Criterion(1, "the weights are left as they were", _entries_keeps),
        ],
        rounds=ONE_OR_TWO,
    ),
    "fit_clipped": Question(
        20,
        _fit_given,
        [
            Criterion(2, "one step fits each row to its own label", _fit_step),
            Criterion(1, "clipping bounds the step", _fit_clips),
            Criterion(1, "with several batches too, in an order of their own", _fit_batches),
        ],
    ),
}
