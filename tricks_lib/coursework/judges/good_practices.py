"""Judges the answers of the part on good practices: inputs, points, and what is wrong.

It never runs a student's code. Sentences name what is wrong with an answer, not the answer.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ..rubric import Criterion, Given, Question, Seen, Wrong, near

Array = np.ndarray


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    return rng.normal(0, scale, shape).astype(np.float32)


def _number(seen: Seen, call: str, what: str) -> float:
    return seen.tensor(call, (), what).item()


# -------------------------------------------------------------------------- baseline_loss


def _baseline_given(rng: np.random.Generator) -> Given:
    shares = rng.permutation([0.45, 0.25, 0.15, 0.1, 0.05])
    train = np.concatenate([np.arange(5), rng.choice(5, 40, p=shares)])
    test = np.concatenate([np.arange(5), rng.choice(5, 25, p=np.roll(shares, 1))])
    return {
        "plain_train": rng.permutation(train),
        "plain_test": rng.permutation(test),
        "unseen_train": train[train < 3],
        "unseen_test": test,
        "num_classes": np.array(5),
    }


def _baseline(train: Array, test: Array, extra: float = 1.0) -> Array:
    counts = np.bincount(train, minlength=5) + extra
    return -np.log(counts / counts.sum())[test]


def _baseline_value(given: Given, seen: Seen) -> str | None:
    train, test = given["plain_train"], given["plain_test"]
    found = _number(seen, "plain", "the loss")
    each = _baseline(train, test)
    known = {
        "the shares are those of the test labels, which no model may know.": _baseline(test, test),
        "no class got its extra example.": _baseline(train, test, 0.0),
        "this is the loss on the training labels.": _baseline(train, train),
        "this guesses blindly: it does not know which classes are common.": np.log([5.0]),
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
    counts = np.bincount(train, minlength=5)
    if abs(found - -np.log((counts + 1) / counts.sum())[test].mean()) < 1e-4:
        return "the shares of the classes do not add up to one."
    return "this is not the mean cross-entropy of guessing each class by its share."


def _baseline_missing(given: Given, seen: Seen) -> str | None:
    try:
        found = _number(seen, "unseen", "the loss")
    except Wrong as wrong:
        return f"with classes that training never saw: {wrong}"
    if abs(found - _baseline(given["unseen_train"], given["unseen_test"]).mean()) < 1e-4:
        return None
    return "with classes that training never saw the loss is wrong; how many classes are there?"


# -------------------------------------------------------------------------- start_is_sane


def _start_given(rng: np.random.Generator) -> Given:
    return {
        "weight": rng.uniform(0.5, 1.5, (6, 4)).astype(np.float32) * _signs(rng, 6, 4),
        "x": _normal(rng, 16, 4),
        # The last two of the six classes are not in this batch.
        "y": np.concatenate([np.arange(4), rng.integers(0, 4, 12)]),
        "tolerance": np.array(0.2),
    }


def _signs(rng: np.random.Generator, *shape: int) -> Array:
    return rng.choice([-1, 1], shape).astype(np.float32)


def _start_verdicts(given: Given, seen: Seen) -> str | None:
    calm, sure = (_number(seen, call, "the verdict") for call in ("calm", "sure"))
    if calm == 1 and sure == 0:
        return None
    if calm == 1:
        return "a network that is sure of wrong answers before any training is called sane."
    if sure == 0:
        return "a network that treats all classes alike is not called sane; what is its loss?"
    return "the verdicts are turned over."


def _start_knows(given: Given, seen: Seen) -> str | None:
    if _number(seen, "knows", "the verdict") == 0:
        return None
    return "a network that knows the labels before any training is called sane."


def _start_keeps(given: Given, seen: Seen) -> str | None:
    for mode in ("train", "eval"):
        if error := seen.text(f"norm_{mode}.error"):
            return error
        if _number(seen, f"{mode}_same", "the state") != 1:
            return f"a network in {mode} mode is changed: look at batch norm's running averages."
        if _number(seen, f"{mode}_mode", "the mode") != 1:
            return f"a network in {mode} mode comes back in the other one."
    return None


# ------------------------------------------------------------------------- split_by_group

GROUPS, TEST_GROUPS, SHARE = 30, 9, 0.3


def _groups_given(rng: np.random.Generator) -> Given:
    names = rng.choice(np.arange(100, 900), GROUPS, replace=False)
    sizes = rng.integers(1, 9, GROUPS)
    return {"groups": rng.permutation(np.repeat(names, sizes)), "share": np.array(SHARE)}


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
    count = len(np.unique(given["groups"][test]))
    if count == TEST_GROUPS:
        return None
    if count == GROUPS - TEST_GROUPS:
        return "the two parts come back in the wrong order."
    return f"of {GROUPS} groups {count} are in the test part, for a share of {SHARE}."


def _groups_seed(given: Given, seen: Seen) -> str | None:
    one, again, other = (
        set(_split(given, seen, call)[1].tolist()) for call in ("one", "again", "other")
    )
    if one != again:
        return "the same seed twice gives two different splits."
    return "another seed gives the same split." if one == other else None


# ------------------------------------------------------------------------- clip_together_


def _clip_given(rng: np.random.Generator) -> Given:
    a, b, c = _normal(rng, 3, 4, scale=3), _normal(rng, 5), _normal(rng, 2, 2, scale=0.2)
    norm = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in (a, b, c)))
    return {"a": a, "b": b, "c": c, "norm": np.array(norm)}


def _gradients(given: Given) -> list[Tensor]:
    return [torch.from_numpy(given[name]).double() for name in ("a", "b", "c")]


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])


def _clipped(given: Given, seen: Seen, case: str) -> Tensor:
    size = sum(given[name].size for name in ("a", "b", "c"))
    return seen.tensor(seen.pair(case)[0], (size,), "the gradients")


def _clip_long(given: Given, seen: Seen) -> str | None:
    found, parts, norm = _clipped(given, seen, "long"), _gradients(given), float(given["norm"])
    limit = 0.3 * norm
    if near(found, 0.3 * _joined(parts)):
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
    norm = float(given["norm"])
    found = [_number(seen, seen.pair(case)[1], "the norm") for case in ("long", "short")]
    if np.abs(np.array(found) / norm - 1).max() < 1e-4:
        return None
    if found[0] == -1:
        return "give back the norm as well."
    if abs(found[0] / (0.3 * norm) - 1) < 1e-4:
        return "the norm that comes back is that after clipping."
    return "the norm that comes back is not that of all gradients before clipping."


def _clip_stream(given: Given, seen: Seen) -> str | None:
    try:
        found = _clipped(given, seen, "stream")
    except Wrong as wrong:
        return f"with model.parameters(), one of them without a gradient: {wrong}"
    if near(found, 0.3 * _joined(_gradients(given))):
        return None
    return "what model.parameters() gives can be gone through only once."


# -------------------------------------------------------------------------- WeightAverage

UPDATES, WEIGHTS = 4, 24


def _average_given(rng: np.random.Generator) -> Given:
    return {
        "weights": _normal(rng, UPDATES + 1, WEIGHTS),
        "buffers": rng.uniform(0.5, 2.0, (UPDATES + 1, 2, 4)).astype(np.float32),
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
    buffers = given["buffers"].reshape(UPDATES + 1, 8)
    if np.abs(found[:8] - buffers[-1]).max() < 1e-4:
        return None if found[8] == UPDATES else "one of the buffers, a whole number, is forgotten."
    if np.abs(found[:8] - buffers[0]).max() < 1e-4:
        return "batch norm's running averages are still those of the beginning."
    if np.abs(found[:8] - _averages(buffers, float(given["decay"]))).max() < 1e-3:
        return "batch norm's running averages are averages already; take the latest."
    return "the buffers are not those of the model at the last update."


def _average_apart(given: Given, seen: Seen) -> str | None:
    left = seen.tensor("left", (WEIGHTS,), "the model's weights")
    if not near(left, given["weights"][-1]):
        return "update changes the model that is being trained."
    if _number(seen, "still_learns", "it") != 1 or _number(seen, "still_trains", "it") != 1:
        return "the model that is being trained no longer learns, or is in another mode."
    if _number(seen, "learns", "it") != 0:
        return "the averaged weights still ask for gradients."
    return "the averaged model is not in eval mode." if _number(seen, "trains", "it") != 0 else None


# -------------------------------------------------------------------------- wrong_entries


def _entries_given(rng: np.random.Generator) -> Given:
    scale = rng.uniform(1.0, 2.0, (3, 4))
    factor = np.ones((3, 4))
    # A weight without any effect, and one with a small one, whose gradient is slightly wrong.
    scale[0, 2], scale[2, 1] = 0.0, 2e-3
    factor[2, 1] = 1.06
    others = [(0, 0), (0, 1), (1, 0), (1, 2), (1, 3), (2, 0), (2, 2), (2, 3)]
    for place, mistake in zip(
        rng.choice(len(others), 3, replace=False), (-1, 2, 1.05), strict=True
    ):
        factor[others[place]] = mistake
    return {
        "w": rng.uniform(0.6, 1.5, (3, 4)).astype(np.float32) * _signs(rng, 3, 4),
        "scale": scale,
        "factor": factor,
        "offset": np.array(rng.uniform(40000, 60000)),  # float32 rounds such losses to 1 / 256
        "h": np.array(0.01),
        "tolerance": np.array(2e-3),
    }


def _entries(given: Given, seen: Seen, call: str) -> Array:
    found = seen.array(call)
    if found.dtype.kind != "b":
        raise Wrong("give back a tensor of True and False.")
    return seen.tensor(call, given["w"].shape, "the mask").numpy() > 0


def _entries_mistaken(given: Given, seen: Seen) -> str | None:
    found, wanted = _entries(given, seen, "mistaken"), given["factor"] != 1
    if (found == wanted).all():
        return None
    if (found == ~wanted).all():
        return "the mask is turned over: it marks what is right."
    if not found.any():
        return "no mistake is found at all."
    if found[0, 2] and (found[wanted]).all() and found.sum() == wanted.sum() + 1:
        return "a weight without any effect, whose gradient is rightly zero, is marked."
    if (found & ~wanted).any():
        return "entries are marked whose gradient is right."
    if not found[2, 1] and found.sum() == wanted.sum() - 1:
        return "a small gradient is wrong by a few per cent, and is not marked."
    return "some of the mistakes are not marked."


def _entries_exact(given: Given, seen: Seen) -> str | None:
    if _entries(given, seen, "exact").any():
        return "a gradient without any mistake has entries that are marked."
    return None


def _entries_single(given: Given, seen: Seen) -> str | None:
    found = _entries(given, seen, "single")
    if (found == (given["factor"] != 1)).all():
        return None
    return "if w is float32, rounding is taken for mistakes, or hides them."


def _entries_keeps(given: Given, seen: Seen) -> str | None:
    for call, dtype in (("mistaken", np.float64), ("single", np.float32)):
        after = seen.argument(call, 2)
        if after is None or not np.array_equal(after, given["w"].astype(dtype)):
            return "your function changed the weights that it was given; work on a copy."
    return None


# -------------------------------------------------------------------------- overfit_batch


def _overfit_given(rng: np.random.Generator) -> Given:
    while True:
        given = {
            "x": _normal(rng, 8, 4),
            "y": rng.integers(0, 3, 8),
            "weights": _normal(rng, 4 * 6 + 6 + 6 * 3 + 3, scale=0.5),
            "lr": np.array(0.4),
            "max_steps": np.array(40),
        }
        steps = int(rng.integers(8, 16))
        losses = _overfit_losses(given, steps + 2)
        if min(losses[:steps]) - losses[steps] > 1e-3 and (np.diff(losses) < -1e-3).all():
            return given | {"goal": np.array((losses[steps - 1] + losses[steps]) / 2)}


def _overfit_losses(given: Given, steps: int, bug: str = "") -> list[float]:
    """The losses before the first step, after the first, and so on."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.from_numpy(given["x"]).double(), torch.from_numpy(given["y"])
    nn.utils.vector_to_parameters(torch.from_numpy(given["weights"]).double(), model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=float(given["lr"]))
    losses = []
    for _ in range(steps + 1):
        if not bug:
            optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _overfit_steps(given: Given, seen: Seen) -> str | None:
    if _number(seen, "reached_none", "it") == 1 and not seen.text("reached.error"):
        return "a batch that can be overfitted is not: nothing came back."
    found = _number(seen, "reached", "the number of steps")
    goal, most = float(given["goal"]), int(given["max_steps"])
    wanted = next(n for n, loss in enumerate(_overfit_losses(given, most)) if loss < goal)
    if found == wanted:
        return None
    if abs(found - wanted) == 1:
        return "the number of steps is wrong by one; after how many steps was the loss measured?"
    bug = [n for n, loss in enumerate(_overfit_losses(given, most, "gradient")) if loss < goal]
    if bug and abs(found - bug[0]) <= 1:
        return "every step but the first goes wrong."
    if found == most:
        return "it goes on to the last step though the goal is reached before."
    return "the number of steps is not that of plain gradient descent on this batch."


def _overfit_hopeless(given: Given, seen: Seen) -> str | None:
    if error := seen.text("hopeless.error"):
        return error
    if _number(seen, "hopeless_none", "it") == 1:
        return None
    return "where max_steps steps do not reach the goal, something else than None comes back."


def _overfit_done(given: Given, seen: Seen) -> str | None:
    if error := seen.text("done.error"):
        return error
    if _number(seen, "done", "the number of steps") == 0:
        return None
    return "a loss that is below the goal from the start needs no step."


def _overfit_keeps(given: Given, seen: Seen) -> str | None:
    if _number(seen, "reached_same", "it") != 1:
        return "the model that was given has been trained; its real training would begin there."
    if _number(seen, "reached_grads", "it") != 0:
        return "gradients are left behind in the model that was given."
    return None


# ---------------------------------------------------------------------------- fit_clipped


def _fit_given(rng: np.random.Generator) -> Given:
    x, weight = _normal(rng, 12, 3), _normal(rng, 1, 3)
    return {
        "x": x,
        "y": (x @ rng.uniform(1, 3, 3) + rng.uniform(1, 3)).astype(np.float32),
        "weight": weight,
        "lr": np.array(0.1),
        "max_norm": np.array(0.5),
        "batch": np.array(4),
        "seed": np.array(int(rng.integers(0, 2**31))),
    }


def _fitted(given: Given, run: str, bug: str = "") -> Tensor:
    """Weights and bias after the run, by a right loop or one with a bug."""
    x, y = torch.from_numpy(given["x"]).double(), torch.from_numpy(given["y"]).double()
    w = torch.cat([torch.from_numpy(given["weight"]).double()[0], torch.zeros(1).double()])
    x = torch.cat([x, torch.ones(len(x), 1).double()], 1)
    generator = torch.Generator().manual_seed(int(given["seed"]))
    order = torch.randperm(len(x), generator=generator)
    order_y = torch.randperm(len(x), generator=generator) if bug == "pairs" else order
    if bug == "order":
        order = order_y = torch.arange(len(x))
    size = int(given["batch"]) if run == "all" else len(x)
    for rows, rows_y in zip(order.split(size), order_y.split(size), strict=True):
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
    known = {"order": "the rows are no longer shuffled."}
    problem = _fit_problem(given, seen, "all", known)
    return "with several batches the weights are not right." if problem == "" else problem


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
