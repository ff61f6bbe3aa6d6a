"""Questions of the page on normalising inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def standardise(answer) -> str | None:
    """`answer(x_train, x_test)` gives back both tables, scaled by what training knows."""
    draw = _generator()
    x_train, x_test = _table(draw, 40), _table(draw, 9)
    before = x_train.clone(), x_test.clone()
    given = answer(x_train, x_test)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        return "give back two tables, the training one first."
    train, test = given
    for name, new, old in (("training", train, x_train), ("test", test, x_test)):
        if not isinstance(new, Tensor) or new.shape != old.shape:
            return f"the {name} table must come back as a tensor of the same shape."
    if not (torch.equal(x_train, before[0]) and torch.equal(x_test, before[1])):
        return "the tables that came in were changed; make new ones."
    if not (train.isfinite().all() and test.isfinite().all()):
        return "a column that never changes gave NaN or infinity."
    changing = x_train.std(dim=0) > 0
    mean, deviation = train[:, changing].mean(dim=0), train[:, changing].std(dim=0)
    if not _near(mean / deviation.clamp(min=1), 0.0, 1e-3):
        return "the training columns do not all have mean 0."
    # With or without Bessel's correction: both are called the standard deviation.
    if not _near(deviation, 1.0, 0.02):
        return "the training columns do not all have standard deviation 1."
    return _one_map(x_train, train, x_test, test, answer)


def _one_map(x_train, train, x_test, test, answer) -> str | None:
    """Whether the test rows went through the very map that the training rows did."""
    # Two rows, not one: the deviation of one row would only draw a warning from torch.
    alone = answer(x_train.clone(), x_test[:2].clone())[1]
    if not torch.allclose(alone, test[:2], atol=1e-3):
        return "a test row's numbers depend on the other test rows; a server sees one at a time."
    other = answer(x_train.clone(), 3 * x_test + 100)[0]
    if not torch.allclose(other, train, atol=1e-3):
        return "the training table's numbers depend on the test rows."
    again = answer(x_train.clone(), x_train[:2].clone())[1]
    if not torch.allclose(again, train[:2], atol=1e-3):
        return "the same driver comes out different in the training and in the test table."
    return None


def fold(answer) -> str | None:
    """`answer(layer, mean, deviation)` gives the layer that does the same on raw inputs."""
    draw = _generator()
    x = _table(draw, 16, constant=False).double()
    mean, deviation = x.mean(dim=0), x.std(dim=0)
    for bias in (True, False):
        layer = nn.Linear(x.shape[1], 3, bias=bias).double()
        with torch.no_grad():
            for weights in layer.parameters():
                weights.copy_(torch.randn(weights.shape, generator=draw, dtype=weights.dtype))
        wanted = layer((x - mean) / deviation).detach()
        kept = {name: value.clone() for name, value in layer.state_dict().items()}
        new = answer(layer, mean.clone(), deviation.clone())
        if not isinstance(new, nn.Linear):
            return "give back an nn.Linear."
        if any(not torch.equal(layer.state_dict()[name], kept[name]) for name in kept):
            return "the old layer was changed; make a new one."
        if (wrong := _same_layer(new, x, mean, deviation, wanted)) is not None:
            return wrong if bias else f"for a layer without bias: {wrong}"
    return None


def _same_layer(new: nn.Linear, x, mean, deviation, wanted) -> str | None:
    if new.weight.shape != (wanted.shape[1], x.shape[1]):
        return "the new layer has other numbers of inputs or outputs than the old one."
    if new.weight.dtype != x.dtype:
        return "the new layer has another dtype than the old one."
    with torch.no_grad():
        given = new(x)
        # A step of one deviation in one column must move the output as it did before.
        slopes = new.weight * deviation
        old_slopes = torch.linalg.lstsq(_with_ones((x - mean) / deviation), wanted).solution[:-1].T
    if not torch.allclose(slopes, old_slopes, rtol=1e-5, atol=1e-7):
        return "a step of one deviation in a column does not move the output as it did before."
    if not torch.allclose(given, wanted, rtol=1e-5, atol=1e-6):
        return "the slopes are right, but the outputs are off by a constant."
    return None


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)


def _table(draw: torch.Generator, rows: int, *, constant: bool = True) -> Tensor:
    """Four columns on unlike scales, float32 (rows, 4); the last one constant if wished."""
    width, centre = torch.tensor([14.0, 3000.0, 0.1, 5.0]), torch.tensor([45.0, 9000.0, 0.3, 7.0])
    x = torch.randn(rows, 4, generator=draw) * width + centre
    if constant:
        x[:, -1] = 7.0
    return x


def _near(values: Tensor, wanted: float, within: float) -> bool:
    return bool(((values - wanted).abs() < within).all())


def _generator() -> torch.Generator:
    """Fresh inputs at every check, so that no answer can be a table of results."""
    draw = torch.Generator()
    draw.seed()
    return draw
