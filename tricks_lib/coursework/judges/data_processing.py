"""Judges the answers of the part on data processing: inputs, points, and what is wrong.

It never runs a student's code. Sentences name what is wrong with an answer, not the answer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from ..rubric import (
    ONE_OR_TWO,
    Criterion,
    Given,
    Question,
    Seen,
    Wrong,
    near,
    once,
    same_state,
    unchanged,
)
from . import studies

# --------------------------------------------------------------------------- shift_images


def _shift_given(rng: np.random.Generator) -> Given:
    height, width = (int(n) for n in rng.integers(5, 9, 2))

    def signs() -> np.ndarray:
        return rng.choice([-1, 1], 2)

    near = [rng.choice([1, 2, 3], 2, replace=False) * signs() for _ in range(rng.integers(3, 6))]
    # As far as the images are high or wide, or further, and hardly to the other side.
    far = [(int(rng.integers(0, 3)), height + int(rng.integers(0, 3))) * signs()]
    if rng.random() < 0.5:
        far += [(width + int(rng.integers(0, 3)), int(rng.integers(0, 3))) * signs()]
    return {
        "x": rng.uniform(0.1, 1.0, (3, 2, height, width)).astype(np.float32),
        "steps": rng.permutation(np.array([*near, *far])),
    }


def _shift_cases(given: Given, far: bool) -> list[tuple[str, int, int]]:
    """The calls, with their steps, that leave something of the images, or that leave nothing."""
    height, width = given["x"].shape[-2:]
    steps = [(f"case_{n}", int(right), int(down)) for n, (right, down) in enumerate(given["steps"])]
    return [case for case in steps if (abs(case[1]) >= width or abs(case[2]) >= height) == far]


def _shifted(x: np.ndarray, right: int, down: int) -> np.ndarray:
    height, width = x.shape[-2:]
    moved = np.zeros_like(x)
    for row in range(height):
        for column in range(width):
            old_row, old_column = row - down, column - right
            if 0 <= old_row < height and 0 <= old_column < width:
                moved[..., row, column] = x[..., old_row, old_column]
    return moved


def _shift_moves(given: Given, seen: Seen) -> str | None:
    x = given["x"]
    for call, right, down in _shift_cases(given, far=False):
        found = seen.tensor(call, x.shape)
        if near(found, _shifted(x, right, down)):
            continue
        if near(found, np.roll(x, (down, right), (-2, -1))):
            return "what leaves the image at one side comes in again at the other."
        if near(found, _shifted(x, -right, -down)):
            return "the images move the wrong way."
        if near(found, _shifted(x, down, right)):
            return "the two directions have changed places; which axis holds the columns?"
        if near(found, x):
            return "the images stay where they are."
        inside = _shifted(np.ones_like(x), right, down) > 0
        if near(found[torch.from_numpy(inside)], _shifted(x, right, down)[inside]):
            return "the pixels that come in from outside must be zero."
        return "the pixels are not where they should be."
    return None


def _shift_far(given: Given, seen: Seen) -> str | None:
    x = given["x"]
    for call, right, down in _shift_cases(given, far=True):
        if not near(seen.tensor(call, x.shape), _shifted(x, right, down)):
            return "a shift by more than the height or the width of the images goes wrong."
    return None


def _shift_keeps(given: Given, seen: Seen) -> str | None:
    problems = (unchanged(seen, f"case_{n}", given["x"]) for n in range(len(given["steps"])))
    return next(filter(None, problems), None)


# ---------------------------------------------------------------------------- random_flip


def _flip_given(rng: np.random.Generator) -> Given:
    n, classes = int(rng.integers(550, 700)), int(rng.integers(5, 8))
    return {
        "x": rng.uniform(0, 1, (n, 1, 3, 4)).astype(np.float32),
        "y": rng.integers(0, classes, n),
        "safe": np.sort(rng.choice(classes, int(rng.integers(2, 4)), replace=False)),
        "calls": np.array(int(rng.integers(2, 5))),
    }


def _flips(given: Given, seen: Seen, call: int) -> tuple[np.ndarray, np.ndarray]:
    """Which images a call mirrored, and which should be left alone.

    Raises:
        Wrong: an image is neither as it was nor mirrored.
    """
    x = given["x"]
    found = seen.tensor(f"call_{call}", x.shape).numpy()
    axes = (1, 2, 3)
    mirrored = np.isclose(found, x[..., ::-1], atol=1e-6).all(axes)
    same = np.isclose(found, x, atol=1e-6).all(axes)
    if not (mirrored | same).all():
        if np.isclose(found, x[..., ::-1, :], atol=1e-6).all(axes).any():
            raise Wrong("some images are upside down; a flip goes from left to right.")
        raise Wrong("some images are neither as they were nor mirrored.")
    return mirrored, ~np.isin(given["y"], given["safe"])


def _flip_coins(given: Given, seen: Seen) -> str | None:
    may = np.isin(given["y"], given["safe"])
    calls = [_flips(given, seen, call)[0] for call in range(int(given["calls"]))]
    for mirrored in calls:
        if problem := _coins(mirrored[may], [mirrored[given["y"] == k] for k in given["safe"]]):
            return problem
    for one, two in pairwise(calls):
        if abs((one[may] == two[may]).mean() - 0.5) > 2.5 / np.sqrt(may.sum()):
            return "two calls mirror the same images; each call needs coins of its own."
    return None


def _coins(coins: np.ndarray, by_class: list[np.ndarray]) -> str | None:
    """What is wrong with the coins of one call, in all and in each class."""
    if not coins.any():
        return "no image was mirrored."
    if coins.all():
        return "all images are mirrored, without a coin."
    # Five standard errors: a fair coin fails once in two million times.
    if abs(coins.mean() - 0.5) > 2.5 / np.sqrt(len(coins)):
        return "about half of the images that may be mirrored should be."
    if np.abs(np.diff(coins.astype(int))).mean() < 0.25:
        return "neighbours share a coin; each image needs its own."
    if any(abs(some.mean() - 0.5) > 2.5 / np.sqrt(len(some)) for some in by_class):
        return "images of a class share a coin; each image needs its own."
    return None


def _flip_labels(given: Given, seen: Seen) -> str | None:
    for call in range(int(given["calls"])):
        mirrored, unsafe = _flips(given, seen, call)
        if mirrored[unsafe].any():
            return "images were mirrored whose label does not survive it."
    return None


def _flip_keeps(given: Given, seen: Seen) -> str | None:
    return unchanged(seen, "call_0", given["x"], given["y"])


# -------------------------------------------------------------------------------- min_max


def _min_max_given(rng: np.random.Generator) -> Given:
    rows, columns = int(rng.integers(15, 25)), int(rng.integers(3, 7))
    scale, start = rng.uniform(5, 50, columns), rng.uniform(-30, 30, columns)
    train = (rng.uniform(0, 1, (rows, columns)) * scale + start).astype(np.float32)
    test = (rng.uniform(0.2, 0.8, (8, columns)) * scale + start).astype(np.float32)
    low, high = train.min(0), train.max(0)
    # One value beyond the training rows above, one below, and sometimes more, wherever they fall.
    for number, place in enumerate(rng.choice(test.size, int(rng.integers(2, 5)), replace=False)):
        row, column = divmod(int(place), columns)
        end = low[column] if number % 2 else high[column]
        test[row, column] = end + (-0.5 if number % 2 else 0.5) * scale[column]
    return {"train": train, "test": test}


def _scaled(seen: Seen, given: Given, call: str = "scaled", prefix: str = ""):
    one, two = seen.pair(call)
    return (
        seen.tensor(one, given[f"{prefix}train"].shape, "the first result"),
        seen.tensor(two, given[f"{prefix}test"].shape, "the second result"),
    )


def _min_max_values(given: Given, seen: Seen) -> str | None:
    train, test = given["train"].astype(np.float64), given["test"].astype(np.float64)
    found_train, found_test = _scaled(seen, given)
    low, high = train.min(0), train.max(0)
    both = np.concatenate([train, test])
    if near(found_train, (train - train.min()) / (train.max() - train.min())):
        return "one minimum and one maximum served all columns."
    if near(found_train, (train - both.min(0)) / (both.max(0) - both.min(0))):
        return "the training rows are scaled by numbers that the test rows have a part in."
    if near(found_train, (train.T - train.T.min(0)).T / np.ptp(train.T, 0)[:, None]):
        return "you scale row by row; what has a common unit is a column."
    if not near(found_train, (train - low) / (high - low)):
        return "the training columns do not reach from 0 to 1."
    wanted = (test - low) / (high - low)
    inside = (wanted >= 0) & (wanted <= 1)
    if near(found_test[torch.from_numpy(inside)], wanted[inside]):
        return None
    if near(found_test, (test - test.min(0)) / np.ptp(test, 0)):
        return "the test rows are scaled by their own smallest and largest values."
    return "the training rows are right, the test rows are not."


def _min_max_outside(given: Given, seen: Seen) -> str | None:
    low, high = given["train"].min(0), given["train"].max(0)
    _, found = _scaled(seen, given)
    if near(found, (given["test"] - low) / (high - low)):
        return None
    return "a test value beyond all training values must keep its distance, not be cut."


# -------------------------------------------------------------------- standardise_channels


def _channels_given(rng: np.random.Generator) -> Given:
    def images(n: int) -> np.ndarray:
        return rng.normal(0, 1, (n, 3, 5, 6)) * scale + shift

    scale = rng.uniform(0.5, 5, (1, 3, 1, 1))
    shift = rng.uniform(1, 4, (1, 3, 1, 1)) * rng.choice([-1, 1], (1, 3, 1, 1))
    train, test = images(30).astype(np.float32), (images(9) + 2 * scale).astype(np.float32)
    constant_train, constant_test = train.copy(), test.copy()
    # A power of two, so that its mean is exact whatever the order of the sum.
    constant = int(rng.integers(0, 3))
    constant_train[:, constant] = constant_test[:, constant] = rng.choice([0.25, 0.5, 2.0])
    return {
        "train": train,
        "test": test,
        "constant_train": constant_train,
        "constant_test": constant_test,
        "order": rng.permutation(2),
    }


def _standard(x: np.ndarray, by: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    by = by.astype(np.float64)
    deviation = by.std(axes, keepdims=True)
    return (x - by.mean(axes, keepdims=True)) / np.where(deviation > 0, deviation, 1)


def _channels_values(given: Given, seen: Seen) -> str | None:
    train, test = given["train"], given["test"]
    found_train, found_test = _scaled(seen, given)
    axes, tolerance = (0, 2, 3), 1e-3  # either of the two deviations, over n or n - 1
    both = np.concatenate([train, test])
    if near(found_train, _standard(train, train, (0, 1, 2, 3)), tolerance):
        return "one mean and one deviation served all channels."
    if near(found_train, _standard(train, train, (2, 3)), tolerance):
        return "each image has its own mean here; the bright and the dark would look alike."
    if near(found_train, _standard(train, train, (0,)), tolerance):
        return "each pixel has its own mean here; wanted is one for each channel."
    if near(found_train, _standard(train, both, axes), tolerance):
        return "the training images are scaled by numbers that the test images have a part in."
    deviation = train.astype(np.float64).std(axes, keepdims=True)
    if near(found_train, _standard(train, train, axes) / deviation, tolerance):
        return "you divide by the variance; which power of it has the right unit?"
    if not near(found_train, _standard(train, train, axes), tolerance):
        return "the channels of the training images do not have mean 0 and deviation 1."
    if near(found_test, _standard(test, train, axes), tolerance):
        return None
    if near(found_test, _standard(test, test, axes), 5 * tolerance):
        return "the test images are scaled by their own mean and deviation."
    return "the training images are right, the test images are not."


def _channels_constant(given: Given, seen: Seen) -> str | None:
    train, test = given["constant_train"], given["constant_test"]
    try:
        found_train, found_test = _scaled(seen, given, "constant", "constant_")
    except Wrong as wrong:
        return f"with a channel that is constant in training: {wrong}"
    axes, tolerance = (0, 2, 3), 1e-3
    right = near(found_train, _standard(train, train, axes), tolerance)
    if right and near(found_test, _standard(test, train, axes), tolerance):
        return None
    return "a channel that is constant in training should become 0, and the others stay right."


# -------------------------------------------------------------------------- norm_two_steps


def _two_steps_given(rng: np.random.Generator) -> Given:
    n, units = int(rng.integers(5, 9)), int(rng.integers(3, 6))
    x = rng.normal(0, 1, (n, units)) * rng.uniform(0.3, 2, units) + rng.uniform(-3, 3, units)
    return {
        "x": x.astype(np.float32),
        "gamma": rng.uniform(0.5, 2, units).astype(np.float32),
        "beta": (rng.uniform(0.5, 2, units) * rng.choice([-1, 1], units)).astype(np.float32),
        "eps": np.array(rng.uniform(0.05, 0.2)),
        "weights": rng.normal(0, 1, (n, units)).astype(np.float32),
    }


def _two_steps_values(given: Given, seen: Seen) -> str | None:
    x, gamma, beta = (given[k].astype(np.float64) for k in ("x", "gamma", "beta"))
    eps = float(given["eps"])
    found = seen.tensor("y", x.shape)
    mean, centred = x.mean(0), x - x.mean(0)
    if near(found, gamma * centred / np.sqrt(x.var(0) + eps) + beta):
        return None
    known = {
        "the two steps are there, with another variance than batch norm's; divided by how many?": (
            gamma * centred / np.sqrt(x.var(0, ddof=1) + eps) + beta
        ),
        "eps is not where it belongs; it is not small in this test.": (
            gamma * centred / (x.std(0) + eps) + beta
        ),
        "eps is missing; it is not small in this test.": gamma * centred / x.std(0) + beta,
        "this is step one alone; what becomes of gamma and beta?": (
            centred / np.sqrt(x.var(0) + eps)
        ),
        "gamma should stretch the normalised values alone, not beta as well.": (
            gamma * (centred / np.sqrt(x.var(0) + eps) + beta)
        ),
        "you divide by the variance; which power of it has the right unit?": (
            gamma * centred / (x.var(0) + eps) + beta
        ),
        "the mean is not taken away.": gamma * (centred + mean) / np.sqrt(x.var(0) + eps) + beta,
    }
    for sentence, wrong in known.items():
        if near(found, wrong):
            return sentence
    rows = x - x.mean(1, keepdims=True)
    if near(found, gamma * rows / np.sqrt(x.var(1, keepdims=True) + eps) + beta):
        return "you average over the units of an example; batch norm averages over the batch."
    return "the values are not those of batch norm in train mode."


def _two_steps_gradient(given: Given, seen: Seen) -> str | None:
    x = torch.from_numpy(given["x"]).double().requires_grad_()
    gamma, beta = (torch.from_numpy(given[k]).double() for k in ("gamma", "beta"))
    y = nn.functional.batch_norm(x, None, None, gamma, beta, True, 0.0, float(given["eps"]))
    (y * torch.from_numpy(given["weights"])).sum().backward()
    try:
        found = seen.tensor("gradient", x.shape)
    except Wrong:
        return "no gradient reaches x: something took the values out of PyTorch's sight."
    if near(found, x.grad, 1e-3):
        return None
    return "the values are right, but mean and variance look like constants to the gradient."


# -------------------------------------------------------------------------- CumulativeNorm


def _cumulative_given(rng: np.random.Generator) -> Given:
    n, units = int(rng.integers(3, 7)), int(rng.integers(3, 6))
    scale = rng.uniform(0.5, 3, (n, 1, units))
    batches = rng.normal(0, 1, (n, 5, units)) * scale + rng.uniform(-4, 4, (n, 1, units))
    return {
        "batches": batches.astype(np.float32),
        "test": rng.normal(1, 2, (7, units)).astype(np.float32),
    }


def _cumulative_reference(given: Given) -> tuple[list[torch.Tensor], nn.Module]:
    batches = torch.from_numpy(given["batches"])
    layer = nn.BatchNorm1d(batches.shape[-1], momentum=None, affine=False)
    return [layer(batch) for batch in batches], layer.eval()


def _cumulative_train(given: Given, seen: Seen) -> str | None:
    seen_type = seen.text("layer.error") or seen.text("layer.type")
    if seen.text("layer.error"):
        return seen_type
    if "train_0.type" not in seen and "train_0.error" not in seen:
        return "CumulativeNorm must be an nn.Module."
    wanted, _ = _cumulative_reference(given)
    for number, right in enumerate(wanted):
        found = seen.tensor(f"train_{number}", right.shape, "the output in train mode")
        if not near(found, right, 1e-3):
            batch = torch.from_numpy(given["batches"])[number]
            unbiased = (batch - batch.mean(0)) / torch.sqrt(batch.var(0) + 1e-5)
            if near(found, unbiased, 1e-3):
                return "in train mode the variance is not batch norm's; divided by how many?"
            return "in train mode each batch is normalised with its own mean and variance."
    return None


def _cumulative_eval(given: Given, seen: Seen) -> str | None:
    test = torch.from_numpy(given["test"])
    batches = torch.from_numpy(given["batches"])
    _, layer = _cumulative_reference(given)
    found = seen.tensor("eval", test.shape, "the output in eval mode")
    if near(found, layer(test), 1e-3):
        return None

    def normal(mean, var):
        return (test - mean) / torch.sqrt(var + 1e-5)

    means, variances = batches.mean(1), batches.var(1)
    if near(found, normal(test.mean(0), test.var(0, unbiased=False)), 1e-3):
        return "in eval mode the output depends on the other rows of the batch."
    if near(found, normal(means.mean(0), batches.var(1, unbiased=False).mean(0)), 1e-3):
        return "the means are right; of the two variances, batch norm collects the other."
    if near(found, normal(means[-1], variances[-1]), 1e-3):
        return "eval mode remembers the last batch alone."
    other = nn.BatchNorm1d(batches.shape[-1], affine=False)
    for batch in batches:
        other(batch)
    if near(found, other.eval()(test), 1e-3):
        return "this average forgets old batches; here every batch counts the same."
    return "in eval mode the values are not those of the averages over all training batches."


def _cumulative_alone(given: Given, seen: Seen) -> str | None:
    _, layer = _cumulative_reference(given)
    test = torch.from_numpy(given["test"])
    again = seen.tensor("again", test.shape, "the output in eval mode")
    if not near(again, layer(test), 1e-3):
        return "eval mode changes what was remembered."
    found = seen.tensor("alone", (1, test.shape[1]), "the output for a single row")
    if near(found, layer(test[:1]), 1e-3):
        return None
    return "in eval mode a single row must come out as it does among others."


def _cumulative_saved(given: Given, seen: Seen) -> str | None:
    _, layer = _cumulative_reference(given)
    test = torch.from_numpy(given["test"])
    try:
        found = seen.tensor("from_file", test.shape)
    except Wrong:
        return "a fresh layer could not load the state_dict of a trained one."
    if near(found, layer(test), 1e-3):
        return None
    return "a fresh layer that loads the state_dict does not give the same in eval mode."


# --------------------------------------------------------------------------------- decide


def _studies_given(rng: np.random.Generator) -> Given:
    cases = studies.cases(rng)
    margins = rng.choice([0.01, 0.02, 0.05], len(cases))
    sizes = np.array([size for _, _, size in cases])
    with_trick, without = np.zeros((2, len(cases), sizes.max()))
    for number, (mean, half, size) in enumerate(cases):
        difference = margins[number] * studies.differences(rng, mean, half, size)
        seeds = rng.normal(0.8, 6 * margins[number], size)  # what a seed does to both arms
        without[number, :size] = seeds
        with_trick[number, :size] = seeds + difference
    return {"with_trick": with_trick, "without": without, "sizes": sizes, "margins": margins}


def _decided(asked: str) -> Callable[[Given, Seen], str | None]:
    """A criterion on the studies of one kind."""

    def judge(given: Given, seen: Seen) -> str | None:
        both = given["with_trick"] - given["without"]
        rows = [row[:size] for row, size in zip(both, given["sizes"], strict=True)]
        return studies.problem(rows, given["margins"], lambda n: _said(seen, n), asked)

    return judge


def _said(seen: Seen, number: int) -> str:
    said = seen.text(f"study_{number}")
    if not said:
        seen.array(f"study_{number}")  # says what came instead
    return said


# ---------------------------------------------------------------------- train_and_validate


IMAGES = 400  # for validation


def _loop_given(rng: np.random.Generator) -> Given:
    """A training whose accuracies are far from chance and from all that is measured wrongly."""
    while True:
        rule = rng.normal(0, 1, (4, 3))
        x_train, x_val = rng.normal(0, 1, (24, 4)), rng.normal(0, 2, (IMAGES, 4))
        given = {
            "x_train": x_train.astype(np.float32),
            "y_train": (x_train @ rule).argmax(1),
            "x_val": x_val.astype(np.float32),
            "y_val": (x_val @ rule).argmax(1),
            "first": rng.normal(0, 0.7, (6, 4)).astype(np.float32),
            "last": rng.normal(0, 0.7, (3, 6)).astype(np.float32),
            "nudge": (rng.choice([-1, 1], 4) * rng.uniform(1.5, 2.5, 4)).astype(np.float32),
            "num_epochs": np.array(int(rng.integers(3, 5))),
            "batch_size": np.array(int(rng.choice([6, 8]))),
            "lr": np.array(rng.uniform(0.15, 0.25)),
            "order": rng.permutation(2),
        }
        right, *others = (np.array(curve) for curve in _loop(given)[1].values())
        apart = min(np.abs(right - other).max() for other in others)
        if apart > 0.03 and np.ptp(right) > 0.03 and np.abs(right - 1 / 3).min() > 0.03:
            return given


@once
def _loop(
    given: Given, bug: str = "", epochs: int | None = None
) -> tuple[nn.Module, dict[str, list[float]]]:
    """The loop that is asked for, or one with a bug: its model, and its curves.

    The first curve, whose name is empty, is the right one; the others are measured wrongly.
    """
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 3))
    tensors = {key: torch.from_numpy(value) for key, value in given.items() if value.ndim}
    with torch.no_grad():
        model[0].weight.copy_(tensors["first"])
        model[2].weight.copy_(tensors["last"])
        model[2].bias.zero_()
    optimizer = torch.optim.SGD(model.parameters(), lr=float(given["lr"]))
    train, val = ((tensors[f"x_{part}"], tensors[f"y_{part}"]) for part in ("train", "val"))
    curves: dict[str, list[float]] = {"": [], "training": [], "mode": [], "augmented": []}
    size = int(given["batch_size"])
    for epoch in range(epochs or int(given["num_epochs"])):
        if bug != "mode" or epoch == 0:
            model.train()
        for x, y in zip(train[0].split(size), train[1].split(size), strict=True):
            if bug != "gradient":
                optimizer.zero_grad()
            nn.functional.cross_entropy(model(x + tensors["nudge"]), y).backward()
            optimizer.step()
        model.eval()
        curves[""].append(_accuracy(model, *val))
        curves["training"].append(_accuracy(model, *train))
        curves["mode"].append(_accuracy(copy.deepcopy(model).train(), *val))
        curves["augmented"].append(_accuracy(model, val[0] + tensors["nudge"], val[1]))
    return model, curves


@torch.no_grad()
def _accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    return (model(x).argmax(1) == y).double().mean().item()


def _loop_steps(given: Given, seen: Seen) -> str | None:
    if error := seen.text("one.error"):
        return error
    if same_state(seen, "one", _loop(given, epochs=1)[0].state_dict()):
        return None
    if seen.tensor("one_augmented", ()).item() == 0:
        return "the training images are never augmented now."
    if same_state(seen, "one", _loop(given, "gradient", epochs=1)[0].state_dict()):
        return "already in the first epoch, every step but the first goes wrong."
    return "after one epoch the weights are not those of a right loop with the same batches."


def _loop_epochs(given: Given, seen: Seen) -> str | None:
    if error := seen.text("all.error"):
        return error
    if same_state(seen, "all", _loop(given)[0].state_dict()):
        return None
    if same_state(seen, "all", _loop(given, "mode")[0].state_dict()):
        return "the first epoch is right, the later ones are not: the layers behave differently."
    return "the first epoch is right, the later ones are not."


def _loop_validates(given: Given, seen: Seen) -> str | None:
    if "curve" not in seen or "first" not in seen:
        return "give back the list of accuracies, one number an epoch."
    curve = seen.tensor("curve", (int(given["num_epochs"]),), "the list of accuracies")
    first = seen.tensor("first", (1,), "the list of accuracies of one epoch")
    if seen.tensor("one_augmented", ()).item() > len(given["x_train"]):
        return "the validation accuracy is not that of the images as they are."
    # Where the later epochs are trained wrongly, only the first one's accuracy is known.
    found = curve if _loop_epochs(given, seen) is None else curve[:1]
    curves = _loop(given)[1]

    def like(name: str, some: torch.Tensor) -> bool:
        right = torch.tensor(curves[name][: len(some)], dtype=torch.float64)
        return bool(((some - right).abs() < 3.5 / IMAGES).all())  # some may fall on an edge

    if like("", found) and like("", first):
        return None
    if like("training", found):
        return "the validation accuracy is that of the training images."
    if like("", first) and not like("", found):
        return "the validation accuracy is right after one epoch, and not in a longer training."
    return "the validation accuracy is not that of the model in its right mode."


QUESTIONS = {
    "shift_images": Question(
        8,
        _shift_given,
        [
            Criterion(1, "the pixels move by the right steps, and zeros come in", _shift_moves),
            Criterion(1, "a shift beyond the image's size works too", _shift_far),
            Criterion(1, "`x` is left as it was", _shift_keeps),
        ],
    ),
    "random_flip": Question(
        10,
        _flip_given,
        [
            Criterion(2, "each image is mirrored or not, by a coin of its own", _flip_coins),
            Criterion(1, "no image is mirrored whose label would not survive", _flip_labels),
            Criterion(1, "`x` and `y` are left as they were", _flip_keeps),
        ],
    ),
    "min_max": Question(
        8,
        _min_max_given,
        [
            Criterion(2, "both tables are scaled by what the training rows know", _min_max_values),
            Criterion(1, "a test value beyond the training range stays beyond", _min_max_outside),
        ],
    ),
    "standardise_channels": Question(
        10,
        _channels_given,
        [
            Criterion(2, "both are scaled by each channel's training statistics", _channels_values),
            Criterion(1, "a channel that is constant in training gives no NaN", _channels_constant),
        ],
    ),
    "norm_two_steps": Question(
        12,
        _two_steps_given,
        [
            Criterion(2, "both steps, with the statistics of this batch", _two_steps_values),
            Criterion(1, "the gradient flows through mean and variance", _two_steps_gradient),
        ],
    ),
    "CumulativeNorm": Question(
        20,
        _cumulative_given,
        [
            Criterion(1, "train mode normalises with the batch", _cumulative_train),
            Criterion(2, "eval mode uses the averages over all batches", _cumulative_eval),
            Criterion(1, "eval mode works for one row, and remembers nothing", _cumulative_alone),
            Criterion(1, "the averages are saved and loaded with the model", _cumulative_saved),
        ],
    ),
    "decide": Question(
        15,
        _studies_given,
        [
            Criterion(2, "clear cases of all four verdicts, both ways", _decided(studies.CLEAR)),
            Criterion(1, "the whole interval counts, not its mean", _decided(studies.WHOLE)),
            Criterion(1, "the interval promises 99 %, with few seeds too", _decided(studies.SURE)),
        ],
        rounds=ONE_OR_TWO,
    ),
    "train_and_validate": Question(
        20,
        _loop_given,
        [
            Criterion(2, "every step of the first epoch is right", _loop_steps),
            Criterion(1, "and so are the later epochs", _loop_epochs),
            Criterion(1, "validation measures the images as they are", _loop_validates),
        ],
    ),
}
