"""The self-checks of the page on evidence: right answers pass, known wrong ones are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tricks_lib import law
from tricks_lib.questions import evidence


def interval(values, *, ddof=1, t=None, root=True, swap=False, centre=0.0, level=0.995):
    n = len(values)
    error = values.std(ddof=ddof) / (np.sqrt(n) if root else 1)
    half = (t or stats.t.ppf(level, n - 1)) * error
    low, high = values.mean() + centre - half, values.mean() + centre + half
    return (values.mean(), high, low) if swap else (values.mean(), low, high)


def test_a_right_interval_passes_whatever_the_seed():
    assert all(evidence.mean_and_interval(interval) is None for _ in range(100))


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"ddof": 0}, "ddof=1"),
        ({"t": 2.576}, "Student"),
        ({"level": 0.975}, "95 %"),
        ({"root": False}, "spread of single runs"),
        ({"swap": True}, "above"),
        ({"centre": 1.0}, "evenly around"),
        ({"t": 3.0}, "wrong width"),
    ],
)
def test_wrong_intervals_are_told_apart(options, hint):
    for _ in range(20):
        assert hint in evidence.mean_and_interval(lambda v: interval(v, **options))


def test_an_interval_of_the_wrong_shape_or_mean_is_told():
    assert "three numbers" in evidence.mean_and_interval(lambda v: interval(v)[1:])
    wrong = evidence.mean_and_interval(lambda v: (np.median(v) + 1, *interval(v)[1:]))
    assert "not the mean" in wrong


def rule(low, high, margin):
    if low >= margin:
        return "holds"
    if high <= -margin:
        return "opposite"
    return "too small to matter" if -margin < low and high < margin else "undecided"


def by_middle(low, high, margin):
    """The first edition: the mean against the margin, the interval against zero."""
    mean = (low + high) / 2
    if low > 0 and mean >= margin:
        return "holds"
    return "opposite" if high < 0 and mean <= -margin else "too small to matter"


def test_the_right_rule_passes():
    assert all(evidence.decide(rule) is None for _ in range(50))
    assert all(evidence.decide(lambda lo, hi, m: law.verdict((lo, hi), m)) is None for _ in "123")


@pytest.mark.parametrize(
    "wrong",
    [
        by_middle,
        lambda lo, hi, m: rule(lo, hi, 0.0),
        lambda lo, hi, m: rule(lo, hi, m) if hi > 0 else "undecided",  # one direction
        lambda lo, hi, m: "undecided" if lo < 0 < hi else rule(lo, hi, m),
        lambda lo, hi, m: "too small to matter" if lo < 0 < hi else rule(lo, hi, m),
        lambda lo, hi, m: "too small to matter" if hi < m and lo < m else rule(lo, hi, m),
        lambda lo, hi, m: "holds" if lo > m else rule(lo - 1e-9, hi, m),  # touching is inside
        lambda lo, hi, m: rule(lo, hi, m + 1e-9),  # touching is inside, on both sides
        lambda lo, hi, m: "too small to matter" if max(-lo, hi) <= m else rule(lo, hi, m),
        lambda lo, hi, m: "holds" if lo > 0 else rule(lo, hi, m),
        lambda lo, hi, m: rule(-hi, -lo, m),
        *[lambda lo, hi, m, word=word: word for word in law.VERDICTS],
    ],
)
def test_wrong_rules_are_told(wrong):
    assert all("wrong verdict" in evidence.decide(wrong) for _ in range(50))


def test_another_word_is_told():
    assert "none of the four" in evidence.decide(lambda lo, hi, m: "no effect")


@pytest.mark.parametrize(
    "answer",
    [{"A", "C", "E", "G"}, ["g", "e", "c", "a"], "ACEG", "A, C, E, G", ("A", "C", "E", "G")],
)
def test_the_right_reading_passes_however_it_is_written(answer):
    assert evidence.read_study(answer) is None


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ({"A", "B", "C", "E", "G"}, "B does not follow"),
        ({"A", "C", "D", "E", "G"}, "D does not follow"),
        ({"A", "C", "E", "F", "G"}, "F does not follow"),
        ({"C", "E", "G"}, "missing"),
        ({"A", "E", "G"}, "missing"),
        ({"A", "C", "G"}, "missing"),
        ({"A", "C", "E"}, "missing"),
        (set(), "missing"),
        ({"A", "Z"}, "none of the sentences"),
        (3, "a set of letters"),
    ],
)
def test_wrong_readings_are_told_apart(answer, hint):
    assert hint in evidence.read_study(answer)


def test_the_readings_follow_from_the_law():
    """The three intervals of the exercise, in points, against a margin of two."""
    assert law.verdict((3.1, 6.5), 2) == "holds"  # A
    assert law.verdict((-0.4, 1.1), 2) == "too small to matter"  # C, and not B
    assert law.verdict((0.3, 2.6), 2) == "undecided"  # not D
    assert -2 < 0.3  # E
    assert 2.6 > 1.45  # not F
