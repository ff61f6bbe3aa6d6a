"""The self-checks of the learning rate page: right answers pass, each wrong one hears why."""

from __future__ import annotations

import math

import pytest
import torch

from tricks_lib.questions import learning_rate


def right_trapezoid(share, warm, cool):
    rise = share / warm if share < warm else 1.0
    fall = (1 - share) / cool if 1 - share < cool else 1.0
    return min(rise, fall)


def as_a_tensor(share, warm, cool):
    return torch.tensor(right_trapezoid(share, warm, cool))


def bent(share, warm, cool):
    return (share / warm) ** 2 if share < warm else right_trapezoid(share, warm, cool)


def late_rise(share, warm, cool):
    return share if share < warm else right_trapezoid(share, warm, cool)


def cools_backwards(share, warm, cool):
    return (share - (1 - cool)) / cool if share > 1 - cool else right_trapezoid(share, warm, cool)


def cools_to_a_half(share, warm, cool):
    right = right_trapezoid(share, warm, cool)
    return (1 + right) / 2 if share > 1 - cool else right


def no_cooling(share, warm, cool):
    return min(1.0, share / warm)


def triangle(share, warm, cool):
    return share / warm if share < warm else (1 - share) / (1 - warm)


def divides(share, warm, cool):
    return min(share / warm, 1.0, (1 - share) / cool)


def lifted_start(share, warm, cool):
    return 0.1 if share == 0 else right_trapezoid(share, warm, cool)


@pytest.mark.parametrize("seed", range(5))
def test_trapezoid_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert learning_rate.trapezoid(right_trapezoid) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (as_a_tensor, "one number"),
        (lambda share, warm, cool: math.nan, "not a usual number"),
        (bent, "straight line"),
        (late_rise, "the rise is wrong"),
        (cools_backwards, "wrong way"),
        (cools_to_a_half, "the fall is wrong"),
        (no_cooling, "the fall is wrong"),
        (triangle, "must stay at 1"),
        (divides, "divides by zero"),
        (lifted_start, "at the very start"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_trapezoid_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (learning_rate.trapezoid(wrong) or "")


def right_edge(A):
    return 2 / torch.linalg.eigvalsh(A)[-1]


@pytest.mark.parametrize("seed", range(5))
def test_edge_of_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert learning_rate.edge_of(right_edge) is None
    assert learning_rate.edge_of(lambda A: 2 / torch.linalg.matrix_norm(A, 2).item()) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda A: 2 / torch.linalg.eigvalsh(A)[0], "flattest"),
        (lambda A: 1 / torch.linalg.eigvalsh(A)[-1], "go further"),
        (lambda A: 2 / (torch.linalg.eigvalsh(A)[[0, -1]].sum()), "fastest rate"),
        (lambda A: 2 / A.trace(), "too careful"),
        (lambda A: 2 * len(A) / A.trace(), "one direction does"),
        (lambda A: 2 / A.diagonal().max(), "depends on the axes"),
        (lambda A: 2 * torch.linalg.eigvalsh(A)[-1], "yours grows"),
        (lambda A: torch.linalg.eigvalsh(A), "one number"),
        (lambda A: 1e-3, "still converges"),
        (lambda A: 1e3, "run away"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_edge_of_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (learning_rate.edge_of(wrong) or "")
