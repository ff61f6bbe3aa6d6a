"""Self-checks of the page on weight decay."""

from __future__ import annotations

import math

import torch
from torch import nn

_TOLERANCE = dict(rtol=1e-4, atol=1e-6)


def soft_threshold(answer) -> str | None:
    """``answer(w, lr, l1)`` gives the weights after one soft-threshold step of size lr * l1.

    w is a tensor of any shape, lr and l1 are positive floats. w itself must stay as it is.
    """
    lr, l1 = (float(torch.empty(1).uniform_(0.3, 0.6)) for _ in range(2))
    step = lr * l1
    # Small and large weights of both signs, so that every case occurs, and one that is zero.
    sizes = torch.tensor([0.2, 0.6, 1.5, 3.0, 0.0]) * step
    w = torch.stack([sizes, -sizes]) * torch.empty(2, 5).uniform_(0.9, 1.1)
    given = w.clone()
    found = torch.as_tensor(answer(given, lr, l1), dtype=torch.float32)
    if not torch.equal(given, w):
        return "your function changed the weights that it was given; give back new ones."
    if found.shape != w.shape:
        return f"the result must keep the shape {tuple(w.shape)}; yours has {tuple(found.shape)}."
    near = torch.allclose
    if near(found, nn.functional.softshrink(w, step), **_TOLERANCE):
        return None
    if near(found, w - step * w.sign(), **_TOLERANCE):
        return "small weights jump over zero and change their sign; where should they stop?"
    if near(found, nn.functional.hardshrink(w, step), **_TOLERANCE):
        return "the small weights are right, but what does the penalty do to the large ones?"
    if near(found, (w - step).clamp(min=0), **_TOLERANCE):
        return "the positive weights are right; look at the negative ones."
    if near(found, nn.functional.softshrink(w, l1), **_TOLERANCE):
        return "the step is too long; how does the learning rate enter?"
    if near(found, w * (1 - step), **_TOLERANCE):
        return "this shrinks each weight by a share of its size, which is L2's way, not L1's."
    return "this is not the soft-threshold step; draw its output against w by hand first."


def half_life(answer) -> str | None:
    """``answer(lr, decay)`` gives the number of steps after which decay has halved a weight.

    lr and decay are positive floats with lr * decay below 1; the number need not be whole.
    """
    for _ in range(3):
        lr, decay = (float(torch.empty(1).uniform_(0.3, 0.8)) for _ in range(2))
        share = lr * decay  # what a step takes: so large that ln 2 / share is not near
        found = float(answer(lr, decay))
        right = math.log(0.5) / math.log1p(-share)
        if math.isclose(found, right, rel_tol=1e-3) or found == math.ceil(right):
            continue
        if math.isclose(found, math.log(2) / share, rel_tol=1e-3):
            return "that is right for a small share; here a step takes much: what is left after n?"
        if math.isclose(found, 0.5 / share, rel_tol=1e-3):
            return "each step takes its share of what is left, not of the weight at the start."
        if math.isclose(found, math.log(0.5) / math.log1p(-min(decay, 0.999)), rel_tol=1e-3):
            return "how does the learning rate enter a step of decay?"
        if math.isclose(-found, right, rel_tol=1e-3):
            return "a number of steps is positive; look at the sign of your logarithms."
        return "multiply a weight by (1 - lr * decay) that often: it is not half of it."
    return None
