"""Self-checks of the page on the learning rate."""

from __future__ import annotations

import math

import torch


def trapezoid(answer) -> str | None:
    """``answer(share, warm, cool)`` gives the factor of a straight rise, a stay and a fall.

    All arguments are shares of the training, 0 to 1, with warm + cool below 1.
    """
    warm, cool = torch.empty(2).uniform_(0.1, 0.35).tolist()
    within = torch.empty(1).uniform_(0.2, 0.8).item()
    if problem := _judge_middle(answer, warm, cool, within):
        return problem
    rising, falling = answer(within * warm, warm, cool), answer(1 - within * cool, warm, cool)
    if _near(rising, within * within):
        return "the rise must be a straight line; yours is bent."
    if not _near(rising, within):
        return f"the rise is wrong: at {within:.2f} of the warm-up the factor was {rising:.3f}."
    if _near(falling, 1 - within):
        return "the cooling runs the wrong way, or counts from the wrong end."
    if not _near(falling, within):
        return f"the fall is wrong: with {within:.2f} of it to go the factor was {falling:.3f}."
    return _judge_ends(answer, warm, cool)


def _judge_middle(answer, warm: float, cool: float, within: float) -> str | None:
    middle = answer(warm + within * (1 - warm - cool), warm, cool)
    if not isinstance(middle, int | float) or isinstance(middle, bool):
        return f"give back one number, not a {type(middle).__name__}."
    if not math.isfinite(middle):
        return f"between warm-up and cooling the factor was {middle}, not a usual number."
    if not _near(middle, 1.0):
        return f"between warm-up and cooling the factor must stay at 1; it was {middle:.3f}."
    return None


def _judge_ends(answer, warm: float, cool: float) -> str | None:
    """The corners, where a division by zero waits."""
    for share, now_warm, now_cool, wanted, what in (
        (0.0, warm, cool, 0.0, "at the very start"),
        (1.0, warm, cool, 0.0, "at the very end"),
        (0.0, 0.0, cool, 1.0, "at the start, without a warm-up,"),
        (1.0, warm, 0.0, 1.0, "at the end, without a cooling,"),
    ):
        try:
            found = answer(share, now_warm, now_cool)
        except ZeroDivisionError:
            return f"{what} your code divides by zero; a share may be 0."
        if not _near(found, wanted):
            return f"{what} the factor should be {wanted:g}; it was {found:.3f}."
    return None


def edge_of(answer) -> str | None:
    """``answer(A)`` gives the edge of stable rates on a bowl; A is symmetric (n, n), float64."""
    n = 4
    basis = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64))[0]
    # Far apart, so that every wrong formula gives another number.
    values = torch.tensor([0.5, 1.0, 2.0, 6.0], dtype=torch.float64)
    values = values * torch.empty(1, dtype=torch.float64).uniform_(0.5, 2.0)
    matrix = basis * values @ basis.T
    matrix = (matrix + matrix.T) / 2
    found = answer(matrix.clone())
    try:
        found = float(found)
    except (TypeError, ValueError, RuntimeError):
        return f"give back one number, not a {type(found).__name__}."
    low, high = values.min().item(), values.max().item()
    known = [
        (2 / high, None),
        (2 / low, "beyond this rate even the flattest direction fails; which one fails first?"),
        (1 / high, "at this rate the steepest direction is solved in one step; go further."),
        (2 / (low + high), "this is the fastest rate on the bowl; it is not yet the edge."),
        (2 / values.sum().item(), "the sum of the curvatures is too careful a bound."),
        (2 / values.mean().item(), "the mean curvature does not decide; one direction does."),
        (
            2 / matrix.diagonal().max().item(),
            "the diagonal depends on the axes, the edge does not.",
        ),
        (2 * high, "a steeper bowl must have a smaller edge; yours grows."),
    ]
    for value, message in known:
        if math.isclose(found, value, rel_tol=1e-5):
            return message
    if found < 2 / high:
        return "a larger rate than this still converges from every start."
    return "at this rate some starts run away: look at the factor of each direction."


def _near(found: object, wanted: float) -> bool:
    return math.isclose(float(found), wanted, rel_tol=1e-5, abs_tol=1e-6)
