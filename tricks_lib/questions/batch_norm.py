"""Self-checks of the page on batch normalisation."""

from __future__ import annotations

import torch
from torch import nn

_TOLERANCE = dict(rtol=1e-4, atol=1e-5)


def running(answer) -> str | None:
    """``answer(running_mean, running_var, x, momentum)`` gives the pair after one training step.

    x is (batch, channels, height, width); all else is shaped (channels,), momentum a float.
    """
    batch, channels = 3, 4
    x = torch.randn(batch, channels, 2, 3) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    x = x + torch.randn(1, channels, 1, 1) * 3
    layer = nn.BatchNorm2d(channels, momentum=float(torch.empty(1).uniform_(0.15, 0.35)))
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2.0)
    before = layer.running_mean.clone(), layer.running_var.clone()
    given = before[0].clone(), before[1].clone()
    found = answer(*given, x.clone(), layer.momentum)
    if not isinstance(found, tuple | list) or len(found) != 2:
        return "give back two tensors: the new running mean and the new running variance."
    mean, var = (torch.as_tensor(part, dtype=torch.float32) for part in found)
    if mean.shape != (channels,) or var.shape != (channels,):
        return (
            f"both must have one number per channel, shape ({channels},); yours have "
            f"{tuple(mean.shape)} and {tuple(var.shape)}. Over which axes do we average?"
        )
    layer(x)
    near = torch.allclose
    if near(mean, layer.running_mean, **_TOLERANCE):
        return _judge_variance(var, layer, before[1], x)
    other = (1 - layer.momentum) * x.mean((0, 2, 3)) + layer.momentum * before[0]
    if near(mean, other, **_TOLERANCE):
        return "old and new have changed places: momentum is the share of the new batch here."
    if near(mean, x.mean((0, 2, 3)), **_TOLERANCE):
        return "this forgets all earlier batches; a running mean moves a part of the way."
    return "the running mean is not the one that nn.BatchNorm2d gets."


def _judge_variance(
    var: torch.Tensor, layer: nn.BatchNorm2d, before: torch.Tensor, x: torch.Tensor
) -> str | None:
    near, step = torch.allclose, layer.momentum
    if near(var, layer.running_var, **_TOLERANCE):
        return None
    if near(var, before + step * (x.var((0, 2, 3), unbiased=False) - before), **_TOLERANCE):
        return "the running variance divides by one less than the number of values; yours does not."
    if near(var, before + step * (x.std((0, 2, 3)) - before), **_TOLERANCE):
        return "the mean is right, but you keep standard deviations where variances belong."
    return "the mean is right; the running variance is not the one that nn.BatchNorm2d gets."


def fold(answer) -> str | None:
    """``answer(linear, norm)`` gives one nn.Linear that does what both do in eval mode.

    linear is an nn.Linear, with or without a bias; norm the nn.BatchNorm1d that follows it.
    """
    for with_bias in (False, True):
        linear, norm = nn.Linear(5, 3, bias=with_bias), nn.BatchNorm1d(3, eps=0.1).eval()
        with torch.no_grad():
            norm.weight.uniform_(0.5, 2.0)
            norm.bias.normal_()
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.3, 3.0)
        untouched = {**linear.state_dict(prefix="linear."), **norm.state_dict(prefix="norm.")}
        untouched = {name: value.clone() for name, value in untouched.items()}
        problem = _judge_fold(answer(linear, norm), linear, norm, untouched)
        if problem:
            return problem
    return None


def _judge_fold(
    folded: object, linear: nn.Linear, norm: nn.BatchNorm1d, untouched: dict[str, torch.Tensor]
) -> str | None:
    if not isinstance(folded, nn.Linear):
        return f"give back one nn.Linear, not a {type(folded).__name__}."
    now = {**linear.state_dict(prefix="linear."), **norm.state_dict(prefix="norm.")}
    if any(not torch.equal(now[name], value) for name, value in untouched.items()):
        return "your function changed the layers that it was given; make a new nn.Linear."
    if folded.weight.shape != linear.weight.shape:
        return f"the new weight must have the shape {tuple(linear.weight.shape)} of the old one."
    x = torch.randn(7, 5)
    with torch.no_grad():
        wanted, found = norm(linear(x)), folded(x)
        slope, wanted_slope = found - folded(0 * x), wanted - norm(linear(0 * x))
        if torch.allclose(found, wanted, **_TOLERANCE):
            return None
        if torch.allclose(slope, wanted_slope, **_TOLERANCE):
            return "the weight is right and the bias is not; what becomes of every constant?"
        scale = norm.weight / norm.running_var.sqrt()
        if torch.allclose(slope, (linear(x) - linear(0 * x)) * scale, **_TOLERANCE):
            return "the weight leaves out eps, which is not small in this test."
        scale = norm.weight / (norm.running_var + norm.eps)
        if torch.allclose(slope, (linear(x) - linear(0 * x)) * scale, **_TOLERANCE):
            return "the weight is divided by a variance; which power of it has the right unit?"
    return "the weight is not right: by what does batch norm multiply each output in eval mode?"
