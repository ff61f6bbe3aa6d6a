"""Self-checks of the page on the tricks in a transformer."""

from __future__ import annotations

import math

import torch
from torch import nn

_TOLERANCE = dict(rtol=1e-4, atol=1e-5)


def inverse_root(answer) -> str | None:
    """``answer(step, warm)``: the factor at a step from 1 up: a line, then a root."""
    for warm in (4, 1, 400):
        steps = sorted({1, max(1, warm // 2), warm, warm + 1, 4 * warm, 9 * warm})
        found = [float(answer(step, warm)) for step in steps]
        if not all(math.isfinite(value) for value in found):
            return f"with warm={warm} some factor is not a finite number."
        if problem := _judge_inverse_root(dict(zip(steps, found, strict=True)), warm):
            return problem
    return None


def _judge_inverse_root(found: dict[int, float], warm: int) -> str | None:
    def is_like(factor) -> bool:
        return all(math.isclose(v, factor(s), rel_tol=1e-4, abs_tol=1e-6) for s, v in found.items())

    if is_like(lambda s: min(s / warm, math.sqrt(warm / s))):
        return None
    if is_like(lambda s: min(s / warm**1.5, 1 / math.sqrt(s))):
        return "the shape is right, but the peak at step warm must be 1: the rate is set elsewhere."
    if is_like(lambda s: min((s - 1) / warm, math.sqrt(warm / s))):
        return "steps count from 1 here; yours makes the first step with a factor of 0."
    if is_like(lambda s: min(s / warm, warm / s)):
        return "it falls like one over the step; there is a root to take."
    if is_like(lambda s: min(1.0, math.sqrt(warm / s))):
        return "it begins at 1 already: the rise is missing."
    if is_like(lambda s: min(1.0, s / warm)):
        return "it stays at 1 after the rise; it must fall."
    if is_like(lambda s: max(s / warm, math.sqrt(warm / s))):
        return "of the two, the line and the root, the smaller one counts."
    if not math.isclose(found[warm], 1.0, rel_tol=1e-4):
        return f"at step warm={warm} the factor must be 1."
    if found[4 * warm] >= 1.0:
        return "after step warm the factor must fall."
    return "the factor is not a line up to 1, and then the root of warm over step."


def fold(answer) -> str | None:
    """``answer(norm, linear)``: one nn.Linear that also does the norm's gain and shift."""
    for bias in (True, False):
        norm, linear = nn.LayerNorm(6), nn.Linear(6, 4, bias=bias)
        with torch.no_grad():
            norm.weight.copy_(torch.randn(6))
            norm.bias.copy_(torch.randn(6))
        given = [p.detach().clone() for layer in (norm, linear) for p in layer.parameters()]
        found = answer(norm, linear)
        now = [p for layer in (norm, linear) for p in layer.parameters()]
        if any(not torch.equal(p, old) for p, old in zip(now, given, strict=True)):
            return "your function changed the layers that it was given; make a new one."
        if not isinstance(found, nn.Linear):
            return f"give back a new nn.Linear, not a {type(found).__name__}."
        if problem := _judge_fold(found, norm, linear):
            return problem
    return None


def _judge_fold(found: nn.Linear, norm: nn.LayerNorm, linear: nn.Linear) -> str | None:
    if found.weight.shape != linear.weight.shape:
        return f"the new weights must be {(*linear.weight.shape,)}, not {(*found.weight.shape,)}."
    x = 2 * torch.randn(50, 6) + 1
    plain = nn.functional.layer_norm(x, [6])
    with torch.no_grad():
        mine = found(plain)

    def same(gain: torch.Tensor, shift: torch.Tensor | float) -> bool:
        return torch.allclose(mine, linear(gain * plain + shift), **_TOLERANCE)

    with torch.no_grad():
        if same(norm.weight, norm.bias):
            return None
        if linear.bias is None and found.bias is None:
            return "a linear layer without a bias needs one now, for the norm's shift."
        if same(norm.weight, 0.0):
            return "the gain is folded in, the norm's shift is lost."
        if same(torch.ones(6), norm.bias):
            return "the shift is folded in, the norm's gain is lost."
        if torch.allclose(mine, linear(norm.weight * plain) + norm.bias.mean(), **_TOLERANCE):
            return "the shift goes through the weights before it is added."
        right = linear.weight * norm.weight
        if torch.allclose(found.weight, right, **_TOLERANCE):
            return "the weights are right, the bias is not: what becomes of the norm's shift?"
    return "after a plain norm, your layer does not give what the two gave together."
