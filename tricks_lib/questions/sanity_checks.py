"""Self-checks of the page on sanity checks."""

from __future__ import annotations

import torch

from . import unpacked


def constant(answer) -> str | None:
    """``answer(y_train, y_test)`` is the test accuracy of the best constant guess."""
    # Commonest in training: 2. Commonest in the test part: 1. Class 3 is missing in the test part.
    y_train = torch.tensor([2] * int(torch.randint(40, 60, ())) + [1] * 30 + [0] * 20 + [3] * 10)
    twos = int(torch.randint(11, 19, ()))
    y_test = torch.tensor([1] * 50 + [2] * twos + [0] * 30)
    y_train, y_test = (y[torch.randperm(len(y))] for y in (y_train, y_test))
    found = unpacked(answer(y_train, y_test))
    if isinstance(found, bool) or not isinstance(found, int | float):
        return f"give back one number, not a {type(found).__name__}."
    share = twos / len(y_test)
    near = {
        "the class must be chosen on the training labels; the test labels only judge it.": (
            50 / len(y_test)
        ),
        "this is the accuracy on the training labels; which labels judge a model?": (
            (y_train == 2).double().mean().item()
        ),
        "that is a share in per cent; give a number from 0 to 1.": 100 * share,
        "that is how many are right; which share of the test labels is it?": float(twos),
        "this is a blind guess; the constant guess knows which class is the commonest.": (1 / 4),
        "this is the number of the class; how often is it right?": 2.0,
    }
    if abs(found - share) < 1e-6:
        return None
    for message, value in near.items():
        if abs(found - value) < 1e-6:
            return message
    return "this is not the share of test labels that equal the commonest training label."


def gradient(answer) -> str | None:
    """``answer(loss_of, weight, h)`` is the central difference, float64, shaped like weight."""
    weight = torch.rand(2, 3) + 0.5
    kept, scale = weight.clone(), torch.rand(2, 3, dtype=torch.float64) + 1

    def loss_of(w: torch.Tensor) -> torch.Tensor:
        return (scale.to(w.dtype) * w**3).sum() + 2 * w[0, 0] * w[1, 2]

    h = 1e-4
    found = answer(loss_of, weight, h)
    if not isinstance(found, torch.Tensor):
        return f"give back a tensor, not a {type(found).__name__}."
    if not torch.equal(weight, kept):
        return "your function changed the weight that it was given; work on a copy."
    if found.shape != weight.shape:
        return f"the shape must be that of the weight, {(*weight.shape,)}, not {(*found.shape,)}."
    exact = weight.double().requires_grad_()
    wanted = torch.autograd.grad(loss_of(exact), exact)[0]

    def near(value: torch.Tensor, tolerance: float = 1e-6) -> bool:
        return bool(torch.allclose(found.double(), value, rtol=tolerance, atol=0))

    if found.dtype != torch.float64:
        return f"give back float64, not {str(found.dtype).removeprefix('torch.')}."
    if near(wanted):
        return None
    second = 6 * scale * weight.double()
    for sign in (1, -1):
        if near(wanted + sign * second * h / 2):
            return "this is a one-sided difference; step to both sides, for an error of h squared."
    if near(2 * wanted):
        return "twice too large: how far apart are the two points?"
    if near(wanted / 2):
        return "half the gradient: how far apart are the two points?"
    if near(-wanted):
        return "the sign is turned over: which of the two points comes first?"
    if near(wanted, 0.05):
        return "close, but rounded away: the steps and losses must be float64 as well."
    if near(wanted.sum().expand_as(wanted), 1e-3):
        return "you moved all weights at once; move one, and leave the others where they are."
    return "this is not the slope of the loss along each weight."
