"""Self-checks of the page on initialisation."""

from __future__ import annotations

import math

import torch

from . import unpacked


def leaky(answer) -> str | None:
    """``answer(fan_out, fan_in, slope)`` draws weights (fan_out, fan_in) for a leaky ReLU."""
    fan_out, fan_in = 300, int(torch.randint(520, 680, ()))
    slope = float(torch.empty(()).uniform_(0.4, 0.6))
    weight = answer(fan_out, fan_in, slope)
    if not isinstance(weight, torch.Tensor):
        return f"give back a tensor of weights, not a {type(weight).__name__}."
    if weight.shape != (fan_out, fan_in):
        return f"the shape must be (fan_out, fan_in) = {(fan_out, fan_in)}, not {(*weight.shape,)}."
    weight = weight.detach().double()
    if abs(weight.mean()) > 0.05 * weight.std():
        return "the weights are not centred: their mean must be zero."
    found, wanted = weight.var().item(), 2 / ((1 + slope**2) * fan_in)
    near = {
        "this is the variance for a plain ReLU; what do the negative values still carry?": (
            2 / fan_in
        ),
        "this is centred and level for linear units; a leaky ReLU loses a part.": 1 / fan_in,
        "the slope must enter as the signal's variance sees it; which power is that?": (
            2 / ((1 + slope) * fan_in)
        ),
        "this keeps the gradient level on the way back; forward, which fan counts?": (
            2 / ((1 + slope**2) * fan_out)
        ),
        "you drew with the variance where the standard deviation belongs.": wanted**2,
        "a uniform distribution's bound is not its standard deviation; how do they relate?": (
            wanted / 3
        ),
    }
    # 150,000 draws fix a variance to about half a per cent.
    if math.isclose(found, wanted, rel_tol=0.025):
        return None
    for message, variance in near.items():
        if math.isclose(found, variance, rel_tol=0.025):
            return message
    return "the variance is not the one that keeps the signal level."


def gain(answer) -> str | None:
    """``answer(activation)`` gives the gain g: with g / sqrt(fan_in) the signal stays level."""
    slope = float(torch.empty(()).uniform_(0.4, 0.55))
    shift = float(torch.empty(()).uniform_(0.9, 1.2))

    def shifted(z: torch.Tensor) -> torch.Tensor:
        return slope * z + shift

    for activation in (shifted, torch.relu, torch.tanh):
        found = unpacked(answer(activation))
        if isinstance(found, bool) or not isinstance(found, int | float):
            return f"give back one number, not a {type(found).__name__}."
        problem = _judge_gain(found, *_moments(activation))
        if problem:
            return problem
    return None


def _moments(activation) -> tuple[float, float]:
    """Mean and mean square of ``activation(z)`` for a standard normal z, by quadrature."""
    z = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    share = torch.exp(-(z**2) / 2)
    share, out = share / share.sum(), activation(z)
    return (share * out).sum().item(), (share * out**2).sum().item()


def _judge_gain(found: float, mean: float, square: float) -> str | None:
    def near(value: float) -> bool:
        return math.isclose(found, value, rel_tol=0.03)

    if near(square**-0.5):
        return None
    if near(1 / square):
        return "a gain multiplies standard deviations; you have one for variances."
    if near(square**0.5):
        return "upside down: the gain must make up for what the activation loses."
    if near((square - mean**2) ** -0.5):
        return "the next layer sums up whole outputs, their mean included; look at the formula."
    return "with this gain the sums of the next layer do not have variance one."
