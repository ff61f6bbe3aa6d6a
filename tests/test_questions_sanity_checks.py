"""The self-checks of the page on sanity checks: right answers pass, each wrong one hears why."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tricks_lib.questions import sanity_checks


def right_constant(y_train, y_test):
    return (y_test == y_train.bincount().argmax()).double().mean().item()


@pytest.mark.parametrize("seed", range(5))
def test_constant_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert sanity_checks.constant(right_constant) is None
    assert sanity_checks.constant(lambda a, b: (b == a.mode().values).double().mean()) is None
    assert sanity_checks.constant(lambda a, b: np.float64(right_constant(a, b))[None]) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda a, b: right_constant(b, b), "chosen on the training labels"),
        (lambda a, b: right_constant(a, a), "on the training labels; which"),
        (lambda a, b: 100 * right_constant(a, b), "per cent"),
        (lambda a, b: (b == a.mode().values).sum(), "how many are right"),
        (lambda a, b: 1 / len(a.unique()), "blind guess"),
        (lambda a, b: a.bincount().argmax(), "number of the class"),
        (lambda a, b: 0.0, "not the share"),
        (lambda a, b: b == a.mode().values, "one number"),
        (lambda a, b: "often", "one number"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_constant_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (sanity_checks.constant(wrong) or "")


def differences(loss_of, weight, h=1e-5, dtype=torch.float64, ahead=1.0, behind=1.0, span=2.0):
    weight = weight.to(dtype)
    found = torch.zeros_like(weight)
    for i in range(weight.numel()):
        step = torch.zeros_like(weight)
        step.view(-1)[i] = h
        rise = loss_of(weight + ahead * step) - loss_of(weight - behind * step)
        found.view(-1)[i] = rise / (span * h)
    return found


def in_place(loss_of, weight, h=1e-5):
    found = differences(loss_of, weight, h)
    weight += h
    return found


def all_at_once(loss_of, weight, h=1e-5):
    weight = weight.double()
    slope = (loss_of(weight + h) - loss_of(weight - h)) / (2 * h)
    return torch.full_like(weight, slope.item())


@pytest.mark.parametrize("seed", range(5))
def test_gradient_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert sanity_checks.gradient(differences) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda f, w, h: differences(f, w, h, behind=0.0, span=1.0), "one-sided"),
        (lambda f, w, h: differences(f, w, h, ahead=0.0, span=1.0), "one-sided"),
        (lambda f, w, h: differences(f, w, h, span=1.0), "twice too large"),
        (lambda f, w, h: differences(f, w, h, span=4.0), "half the gradient"),
        (lambda f, w, h: -differences(f, w, h), "sign"),
        (lambda f, w, h: differences(f, w, h, dtype=torch.float32), "float64, not float32"),
        (lambda f, w, h: differences(f, w, h, dtype=torch.float32).double(), "rounded away"),
        (lambda f, w, h: differences(f, w, h).flatten(), "the shape"),
        (in_place, "changed the weight"),
        (all_at_once, "all weights at once"),
        (lambda f, w, h: torch.zeros(2, 3, dtype=torch.float64), "not the slope"),
        (lambda f, w, h: 1.0, "a tensor"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_gradient_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (sanity_checks.gradient(wrong) or "")
