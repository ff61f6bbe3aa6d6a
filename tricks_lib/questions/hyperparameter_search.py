"""Self-checks of the page on hyperparameter search."""

from __future__ import annotations

import numpy as np


def expected_best(answer) -> str | None:
    """``answer(scores, n)`` gives the expected largest of n scores drawn with replacement.

    scores is an array (N,) of validation scores in no order, n a whole number from 1 up.
    """
    rng = np.random.default_rng()
    scores = np.round(rng.uniform(0.2, 0.9, size=9), 3)
    scores[6] = 0.95  # the best comes late, so that the first few are not the best of all
    given = scores.copy()
    for n in (1, 2, 5, 30):
        found = answer(given, n)
        if not np.array_equal(given, scores):
            return "your function changed the scores that it was given; sort a copy."
        try:
            found = float(found)
        except (TypeError, ValueError):
            return f"give back one number, not {type(found).__name__}."
        if problem := _judge_best(found, scores, n):
            return problem
    return None


def _best_of(ordered: np.ndarray, n: int) -> float:
    shares = np.arange(len(ordered) + 1) / len(ordered)
    return float((ordered * np.diff(shares**n)).sum())


def _judge_best(found: float, scores: np.ndarray, n: int) -> str | None:
    ordered, size = np.sort(scores), len(scores)
    if np.isclose(found, _best_of(ordered, n), rtol=1e-7):
        return None
    if n < 6 and np.isclose(found, scores[:n].max()):
        return "this is the best of the first n; the order of the trials is chance as well."
    if n > 1 and np.isclose(found, ordered.max()):
        return f"n={n}: the best of all {size} is what an endless search would expect."
    if n > 1 and np.isclose(found, scores.mean()):
        return f"n={n}: this is the mean, which is right for a single draw only."
    if np.isclose(found, _best_of(scores, n)):
        return "the weights are right, but they belong to scores in order of size."
    if np.isclose(found, _best_of(ordered[::-1], n)):
        return "this is the expected smallest of n scores; which end should weigh most?"
    at_most = float((ordered * (np.arange(1, size + 1) / size) ** n).sum())
    if np.isclose(found, at_most):
        return "your weights do not sum to one: 'at most the i-th' is not 'exactly the i-th'."
    return f"n={n}: this is not the expected largest score; check your weights for n=1 by hand."


def halving(answer) -> str | None:
    """``answer(curves, eta)`` gives the winner's row and the rungs that were trained.

    curves is an array (settings, rungs) of scores, all different; eta a whole number from 2 up.
    """
    rng = np.random.default_rng()
    for settings, rungs, eta in ((8, 4, 2), (9, 3, 3), (10, 4, 3), (5, 3, 2)):
        curves = rng.permutation(settings * rungs).reshape(settings, rungs) / 100
        # The best row of the last rung falls early, and rows of small index do not win by luck.
        curves[0, 0], curves[0, -1] = -1.0, 9.0
        curves = rng.permutation(curves)
        given = curves.copy()
        found = answer(given, eta)
        if not np.array_equal(given, curves):
            return "your function changed the curves that it was given."
        if not isinstance(found, tuple | list) or len(found) != 2:
            return "give back two numbers: the winner's row and the rungs trained in all."
        row, spent = int(found[0]), int(found[1])
        if problem := _judge_halving(row, spent, curves, eta):
            return problem
    return None


def _survive(curves: np.ndarray, eta: int, sign: int = 1, up: bool = False) -> tuple[int, int, int]:
    """The winning row, the rungs trained, and the winner's place among the last survivors."""
    rows, spent = np.arange(len(curves)), 0
    for rung in range(curves.shape[1]):
        spent += len(rows)
        order = np.argsort(-sign * curves[rows, rung])
        if rung == curves.shape[1] - 1:
            return int(rows[order[0]]), spent, int(order[0])
        keep = -(-len(rows) // eta) if up else len(rows) // eta
        rows = rows[order[: max(1, keep)]]
    raise AssertionError("curves have no rung")


def _judge_halving(row: int, spent: int, curves: np.ndarray, eta: int) -> str | None:
    settings, rungs = curves.shape
    best, total, place = _survive(curves, eta)
    if (row, spent) == (best, total):
        return None
    if row == best and spent == settings * rungs:
        return "the winner is right; but settings that were dropped train no further rungs."
    if row == int(curves[:, -1].argmax()):
        return "your winner was dropped at an early rung; its last score would never be seen."
    if row == _survive(curves, eta, sign=-1)[0]:
        return "you keep the worst settings; these scores are better when they are higher."
    if row == best and spent == _survive(curves, eta, up=True)[1]:
        return "the winner is right; how many stay when eta does not divide their number?"
    if row == best:
        return f"the winner is right, but {spent} rungs is not what was trained."
    if row == place and place != best:
        return "this is a place among the survivors; which row of curves was that?"
    return "this is not the row that wins at the last rung among the survivors."
