"""The self-checks of the search page: right answers pass, each wrong one hears why."""

from __future__ import annotations

import numpy as np
import pytest

from tricks_lib.questions import hyperparameter_search


def right_best(scores, n):
    ordered = np.sort(scores)
    shares = np.arange(len(ordered) + 1) / len(ordered)
    return (ordered * np.diff(shares**n)).sum()


def in_place(scores, n):
    scores.sort()
    return right_best(scores, n)


def in_given_order(scores, n):
    shares = np.arange(len(scores) + 1) / len(scores)
    return (scores * np.diff(shares**n)).sum()


def smallest(scores, n):
    return -right_best(-scores, n)


def at_most(scores, n):
    return (np.sort(scores) * (np.arange(1, len(scores) + 1) / len(scores)) ** n).sum()


@pytest.mark.parametrize("repeat", range(5))
def test_expected_best_accepts_the_right_answer(repeat: int) -> None:
    assert hyperparameter_search.expected_best(right_best) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (in_place, "changed the scores"),
        (in_given_order, "in order of size"),
        (smallest, "smallest"),
        (at_most, "sum to one"),
        (lambda scores, n: scores.mean(), "this is the mean"),
        (lambda scores, n: right_best(scores, min(n, 2)), "not the expected largest"),
        (lambda scores, n: scores.mean() if n == 1 else scores.max(), "endless"),
        (lambda scores, n: scores[:n].max(), "the first n"),
        (lambda scores, n: [1.0, 2.0], "one number"),
    ],
)
@pytest.mark.parametrize("repeat", range(5))
def test_expected_best_tells_a_wrong_answer_why(wrong, message: str, repeat: int) -> None:
    assert message in (hyperparameter_search.expected_best(wrong) or "")


def right_halving(curves, eta, sign=1, up=False):
    rows, spent = np.arange(len(curves)), 0
    for scores in curves.T[:-1]:
        spent += len(rows)
        keep = -(-len(rows) // eta) if up else len(rows) // eta
        rows = rows[np.argsort(-sign * scores[rows])][: max(1, keep)]
    return int(rows[np.argmax(sign * curves[rows, -1])]), spent + len(rows)


def no_savings(curves, eta):
    return right_halving(curves, eta)[0], curves.size


def full_training(curves, eta):
    return int(curves[:, -1].argmax()), curves.size


def changes(curves, eta):
    found = right_halving(curves, eta)
    curves[0] = 0
    return found


def last_rung_not_counted(curves, eta):
    row, spent = right_halving(curves, eta)
    return row, spent - 1


@pytest.mark.parametrize("repeat", range(10))
def test_halving_accepts_the_right_answer(repeat: int) -> None:
    assert hyperparameter_search.halving(right_halving) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (no_savings, "train no further"),
        (full_training, "dropped at an early rung"),
        (changes, "changed the curves"),
        (last_rung_not_counted, "not what was trained"),
        (lambda curves, eta: right_halving(curves, eta)[0], "two numbers"),
    ],
)
@pytest.mark.parametrize("repeat", range(10))
def test_halving_tells_a_wrong_answer_why(wrong, message: str, repeat: int) -> None:
    assert message in (hyperparameter_search.halving(wrong) or "")


@pytest.mark.parametrize("repeat", range(10))
def test_halving_sees_a_wrong_order_or_rounding(repeat: int) -> None:
    assert hyperparameter_search.halving(lambda c, eta: right_halving(c, eta, sign=-1))
    assert hyperparameter_search.halving(lambda c, eta: right_halving(c, eta, up=True))
