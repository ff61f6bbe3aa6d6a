"""The self-checks of the weight decay page: right answers pass, each wrong one hears why."""

from __future__ import annotations

import math

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


def right_half_life(lr, decay):
    return math.log(0.5) / math.log(1 - lr * decay)


@pytest.mark.parametrize("seed", range(5))
def test_half_life_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert weight_decay.half_life(right_half_life) is None
    assert weight_decay.half_life(lambda lr, decay: math.ceil(right_half_life(lr, decay))) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda lr, decay: math.log(2) / (lr * decay), "a small share"),
        (lambda lr, decay: 0.5 / (lr * decay), "of what is left"),
        (lambda lr, decay: right_half_life(1.0, decay), "learning rate enter"),
        (lambda lr, decay: -right_half_life(lr, decay), "positive"),
        (lambda lr, decay: right_half_life(lr, decay) + 1, "not half"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_half_life_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (weight_decay.half_life(wrong) or "")
