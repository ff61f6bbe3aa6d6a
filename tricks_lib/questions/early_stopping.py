"""Self-checks of the page on early stopping."""

from __future__ import annotations

import torch

_TOLERANCE = dict(rtol=1e-4, atol=1e-4)


def patient(answer) -> str | None:
    """``answer(losses, wait, min_delta)`` gives (index of the stop, index to restore).

    losses is a list of floats. An improvement is a loss below the best by more than min_delta.
    """
    trials = [_draw() for _ in range(40)]
    # One curve that never stops, and one whose improvements are all crumbs.
    trials.append(([1.0, 0.8, 0.6, 0.4], 2, 0.05))
    trials.append(([1.0, 0.98, 0.96, 0.94, 0.92, 0.9], 3, 0.07))
    # One whose wait is interrupted: it tells a count in a row from a count in all.
    trials.append(([1.0, 1.2, 0.8, 0.9, 0.6, 0.7, 0.75, 0.3], 2, 0.05))
    # Two crumbs that make an improvement together.
    trials.append(([1.0, 0.96, 0.92, 0.5, 0.6, 0.7, 0.8], 2, 0.05))
    found = []
    for losses, wait, min_delta in trials:
        given = answer(list(losses), wait, min_delta)
        if not isinstance(given, tuple | list) or len(given) != 2:
            return "give back two indices: where the rule stops, and which weights it restores."
        found.append((int(given[0]), int(given[1])))

    def like(**changes) -> list[tuple[int, int]]:
        return [_patient(*trial, **changes) for trial in trials]

    right = like()
    if found == right:
        return None
    mistakes = {
        "you wait for too many records: when the count reaches wait, stop at once.": {"late": 1},
        "you stop one record too soon: count the records without an improvement.": {"late": -1},
        "an improvement starts the count anew; yours seems to go on.": {"in_a_row": False},
        "min_delta makes no difference in yours; what is an improvement?": {"use_delta": False},
        "the best loss moves only with an improvement that counts, not with every crumb.": {
            "creep": True
        },
    }
    for hint, change in mistakes.items():
        if found == like(**change):
            return hint
    stops = [stop for stop, _ in right]
    if [stop for stop, _ in found] == stops:
        if all(stop == kept for stop, kept in found):
            return "the stop is right, but the weights there are not the best ones."
        return "the stop is right, the restored index is not: which record was the best?"
    return "the rule does not stop where it should; try a short curve by hand."


def _draw() -> tuple[list[float], int, float]:
    length = int(torch.randint(12, 20, ()))
    fall = torch.linspace(1.0, 0.4, length)
    losses = (fall + 0.15 * torch.randn(length)).abs() + 0.05
    return losses.tolist(), int(torch.randint(2, 5, ())), float(torch.empty(()).uniform_(0.03, 0.1))


def _patient(
    losses: list[float],
    wait: int,
    min_delta: float,
    *,
    late: int = 0,
    in_a_row: bool = True,
    use_delta: bool = True,
    creep: bool = False,
) -> tuple[int, int]:
    """The rule itself, and with a change one of its usual mistakes."""
    best, kept, since = float("inf"), 0, 0
    for t, loss in enumerate(losses):
        if loss < best - (min_delta if use_delta else 0.0):
            best, kept, since = loss, t, since * (not in_a_row)
        else:
            since += 1
            best = min(best, loss) if creep else best
        if since >= wait + late and t > 0:
            return t, kept
    return len(losses) - 1, kept


def generalisation_loss(answer) -> str | None:
    """``answer(losses)`` gives GL at every record, in per cent; both are shaped (records,)."""
    losses = torch.rand(15) + 0.5
    losses[1], losses[-1] = losses[0] + 0.3, 0.2  # a rise at once, and the lowest value last
    given = losses.clone()
    found = torch.as_tensor(answer(given), dtype=torch.float32)
    if not torch.equal(given, losses):
        return "your function changed the curve that it was given."
    if found.shape != losses.shape:
        return f"give back one number per record, shape {tuple(losses.shape)}."
    lowest = losses.cummin(0).values
    right = 100 * (losses / lowest - 1)
    near = torch.allclose
    if near(found, right, **_TOLERANCE):
        return None
    if near(found, right / 100, **_TOLERANCE):
        return "this is a share; the threshold is meant in per cent."
    if near(found, 100 * (losses / losses.min() - 1), **_TOLERANCE):
        return "your lowest value comes from the future; which records are known at that time?"
    if near(found, 100 * (losses - lowest), **_TOLERANCE):
        return "a difference depends on the unit of the loss; relative to what is it measured?"
    if near(found, 100 * losses / lowest, **_TOLERANCE):
        return "at a new lowest value the generalisation loss is zero; yours is not."
    before = torch.cat([losses[:1], losses[:-1]])
    if near(found, 100 * (losses / before - 1), **_TOLERANCE):
        return "you compare with the record before; with which one should it be?"
    return "these are not the values of the formula; try a curve of three records by hand."
