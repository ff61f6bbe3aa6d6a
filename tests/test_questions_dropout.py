"""The self-checks of the dropout page: right answers pass, each wrong one hears why."""

from __future__ import annotations

import pytest
import torch

from tricks_lib.questions import dropout


@pytest.mark.parametrize("seed", range(5))
def test_inverted_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert dropout.inverted(lambda x, keep, p: x * keep / (1 - p)) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, keep, p: x * keep, "shrinks"),
        (lambda x, keep, p: x * keep * (1 - p), "wrong way"),
        (lambda x, keep, p: x * keep / p, "which share is left"),
        (lambda x, keep, p: x * (1 - keep) / (1 - p), "changed places"),
        (lambda x, keep, p: x[0], "shape"),
        (lambda x, keep, p: x, "not what nn.Dropout gives"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_inverted_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (dropout.inverted(wrong) or "")


def masked(x, p, shape, *, keep=None, scale=None):
    mask = torch.empty(shape).bernoulli_(1 - p if keep is None else keep)
    return x * mask * (1 / (1 - p) if scale is None else scale)


def right_spatial(x, p, **changes):
    return masked(x, p, (*x.shape[:2], 1, 1), **changes)


@pytest.mark.parametrize("seed", range(5))
def test_spatial_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert dropout.spatial(right_spatial) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, p: masked(x, p, x.shape), "in part"),
        (lambda x, p: masked(x, p, (1, x.shape[1], 1, 1)), "the same channels"),
        (lambda x, p: masked(x, p, (len(x), 1, 1, 1)), "all of its channels"),
        (lambda x, p: right_spatial(x, p, keep=p), "should be kept"),
        (lambda x, p: right_spatial(x, p, scale=1.0), "shrinks"),
        (lambda x, p: right_spatial(x, p, scale=1 - p), "not scaled"),
        (lambda x, p: x, "nothing was dropped"),
        (lambda x, p: x[0], "shape"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_spatial_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (dropout.spatial(wrong) or "")
