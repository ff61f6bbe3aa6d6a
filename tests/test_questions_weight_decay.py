"""The self-checks of the weight decay page: right answers pass, each wrong one hears why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tricks_lib.questions import weight_decay


def right_step(w, lr, l1):
    return w.sign() * (w.abs() - lr * l1).clamp(min=0)


def in_place(w, lr, l1):
    return w.copy_(right_step(w, lr, l1))


@pytest.mark.parametrize("seed", range(5))
def test_soft_threshold_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert weight_decay.soft_threshold(right_step) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda w, lr, l1: w - lr * l1 * w.sign(), "jump over zero"),
        (lambda w, lr, l1: nn.functional.hardshrink(w, lr * l1), "large ones"),
        (lambda w, lr, l1: (w - lr * l1).clamp(min=0), "negative ones"),
        (lambda w, lr, l1: right_step(w, 1.0, l1), "learning rate"),
        (lambda w, lr, l1: w * (1 - lr * l1), "L2's way"),
        (lambda w, lr, l1: right_step(w, lr, l1).sum(), "shape"),
        (lambda w, lr, l1: w + 1, "not the soft-threshold"),
        (in_place, "changed the weights"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_soft_threshold_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (weight_decay.soft_threshold(wrong) or "")


def hard(y, num_classes):
    return nn.functional.one_hot(y, num_classes).float()


def right_targets(y, num_classes, smoothing):
    return (1 - smoothing) * hard(y, num_classes) + smoothing / num_classes


def among_the_others(y, num_classes, smoothing):
    spread = smoothing / (num_classes - 1) * (1 - hard(y, num_classes))
    return (1 - smoothing) * hard(y, num_classes) + spread


@pytest.mark.parametrize("seed", range(5))
def test_smooth_targets_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert weight_decay.smooth_targets(right_targets) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda y, n, s: hard(y, n), "hard targets"),
        (among_the_others, "other classes alone"),
        (lambda y, n, s: right_targets(y, n, 1 - s), "changed places"),
        (lambda y, n, s: hard(y, n) + s / n, "sum to"),
        (lambda y, n, s: right_targets(y, n, s / 2), "shares are not"),
        (lambda y, n, s: right_targets(y, n, s).T, "shape"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_smooth_targets_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (weight_decay.smooth_targets(wrong) or "")
