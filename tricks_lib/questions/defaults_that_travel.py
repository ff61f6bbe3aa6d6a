"""Self-checks of the page on defaults that travel."""

from __future__ import annotations

import torch
from torch import Tensor

_TOLERANCE = dict(rtol=1e-4, atol=1e-6)


def clip(answer) -> str | None:
    """``answer(gradients, max_norm)`` gives new tensors, shortened together to max_norm."""
    gradients = [3 * torch.randn(4, 3), torch.randn(5), 0.1 * torch.randn(2, 2)]
    for max_norm in (1.0, 1000.0):
        given = [g.clone() for g in gradients]
        found = answer(given, max_norm)
        if any(not torch.equal(g, old) for g, old in zip(given, gradients, strict=True)):
            return "your function changed the gradients that it was given; make new tensors."
        if not isinstance(found, tuple | list) or len(found) != len(gradients):
            return f"give back a list of {len(gradients)} tensors, one for each gradient."
        if problem := _judge_clipped([torch.as_tensor(g) for g in found], gradients, max_norm):
            return problem
    return None


def _judge_clipped(found: list[Tensor], gradients: list[Tensor], max_norm: float) -> str | None:
    def same(wanted: list[Tensor]) -> bool:
        return all(
            mine.shape == other.shape and torch.allclose(mine, other, **_TOLERANCE)
            for mine, other in zip(found, wanted, strict=True)
        )

    norm = torch.sqrt(sum((g**2).sum() for g in gradients))
    if same([g * min(1.0, float(max_norm / norm)) for g in gradients]):
        return None
    if same([g * (max_norm / norm) for g in gradients]):
        return "a gradient that is short already must stay as it is; yours is made longer."
    if same([g * min(1.0, float(max_norm / g.norm())) for g in gradients]):
        return "each tensor is shortened by itself; that turns the joint vector. Use one factor."
    if same([g.clamp(-max_norm, max_norm) for g in gradients]):
        return "this cuts single numbers, which changes the direction; shorten the whole vector."
    if same([g * min(1.0, float(max_norm / norm**2)) for g in gradients]):
        return "the length is the root of the sum of squares; yours lacks the root."
    return "the gradients are not those that clip_grad_norm_ leaves."


def average(answer) -> str | None:
    """``answer(weights, beta)``: weights (n, k), the corrected average (k,) after step n."""
    for steps in (1, 6):
        weights = 1 + torch.randn(steps, 3)
        found = torch.as_tensor(answer(weights.clone(), 0.8), dtype=torch.float32)
        if found.shape != (3,):
            return f"give back the average after the last step, shape (3,), not {(*found.shape,)}."
        if problem := _judge_average(found, weights, 0.8):
            return problem
    return None


def _judge_average(found: Tensor, weights: Tensor, beta: float) -> str | None:
    def running(start: Tensor, share: float) -> Tensor:
        mean = start
        for row in weights:
            mean = share * mean + (1 - share) * row
        return mean

    zero, steps = torch.zeros(3), len(weights)
    if torch.allclose(found, running(zero, beta) / (1 - beta**steps), **_TOLERANCE):
        return None
    if torch.allclose(found, running(zero, beta), **_TOLERANCE):
        return "this average is still pulled towards its start at zero; the correction is missing."
    other = running(zero, 1 - beta)
    if any(torch.allclose(found, other / c, **_TOLERANCE) for c in (1, 1 - (1 - beta) ** steps)):
        return "old and new have changed places: beta is the share of the old average."
    if torch.allclose(found, running(zero, beta) / (1 - beta), **_TOLERANCE):
        return "the correction must depend on the number of steps done."
    if torch.allclose(found, running(weights[0], beta), **_TOLERANCE):
        return "this starts at the first weights; the exercise starts at zero and corrects."
    if torch.allclose(found, weights.mean(0), **_TOLERANCE):
        return "this is the plain mean; recent steps should count for more."
    return "the average is not the corrected one."
