"""The self-checks of the page on transformers: right answers pass, each wrong one hears why."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from tricks_lib.questions import transformers


def right_root(step, warm):
    return min(step / warm, math.sqrt(warm / step))


def test_inverse_root_accepts_the_right_answer() -> None:
    assert transformers.inverse_root(right_root) is None
    assert transformers.inverse_root(lambda s, w: torch.tensor(right_root(s, w))) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda s, w: min(s / w**1.5, s**-0.5), "peak"),
        (lambda s, w: min((s - 1) / w, math.sqrt(w / s)), "count from 1"),
        (lambda s, w: min(s / w, w / s), "root to take"),
        (lambda s, w: min(1.0, math.sqrt(w / s)), "rise is missing"),
        (lambda s, w: min(1.0, s / w), "stays at 1"),
        (lambda s, w: max(s / w, math.sqrt(w / s)), "smaller one"),
        (lambda s, w: 0.5 * right_root(s, w) + 0.1, "must be 1"),
        (lambda s, w: s / w, "must fall"),
        (lambda s, w: min((s / w) ** 2, math.sqrt(w / s)), "not a line"),
        (lambda s, w: math.nan, "finite"),
    ],
)
def test_inverse_root_tells_a_wrong_answer_why(wrong, message: str) -> None:
    assert message in (transformers.inverse_root(wrong) or "")


def folded(norm, linear, gain=True, shift=True, bias=None):
    new = nn.Linear(linear.in_features, linear.out_features)
    with torch.no_grad():
        new.weight.copy_(linear.weight * (norm.weight if gain else 1))
        old = 0 if linear.bias is None else linear.bias
        new.bias.copy_(old + (linear.weight @ norm.bias if shift else 0))
        if bias is not None:
            new.bias.copy_(old + bias(norm))
    return new


def in_place(norm, linear):
    with torch.no_grad():
        linear.weight *= norm.weight
    return linear


def without_bias(norm, linear):
    new = copy.deepcopy(linear)
    with torch.no_grad():
        new.weight *= norm.weight
        if new.bias is not None:
            new.bias += linear.weight @ norm.bias
    return new


@pytest.mark.parametrize("seed", range(5))
def test_fold_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert transformers.fold(folded) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (in_place, "changed the layers"),
        (lambda norm, linear: linear.weight * norm.weight, "a new nn.Linear"),
        (lambda norm, linear: nn.Linear(4, 6), "must be (4, 6)"),
        (without_bias, "needs one now"),
        (lambda n, li: folded(n, li, shift=False), "shift is lost"),
        (lambda n, li: folded(n, li, gain=False), "gain is lost"),
        (lambda n, li: folded(n, li, bias=lambda n: n.bias.mean()), "goes through the weights"),
        (lambda n, li: folded(n, li, bias=lambda n: 7.0), "the weights are right"),
        (lambda n, li: nn.Linear(6, 4), "does not give"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_fold_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (transformers.fold(wrong) or "")
