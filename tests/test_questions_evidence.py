"""The self-checks of the page on evidence: right answers pass, known wrong ones are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tricks_lib.questions import evidence


def interval(values, *, ddof=1, t=None, root=True, swap=False, centre=0.0):
    n = len(values)
    error = values.std(ddof=ddof) / (np.sqrt(n) if root else 1)
    half = (t or stats.t.ppf(0.975, n - 1)) * error
    low, high = values.mean() + centre - half, values.mean() + centre + half
    return (values.mean(), high, low) if swap else (values.mean(), low, high)


def test_a_right_interval_passes_whatever_the_seed():
    assert all(evidence.mean_and_interval(interval) is None for _ in range(100))


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"ddof": 0}, "ddof=1"),
        ({"t": 1.96}, "Student"),
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


def rule(mean, low, high, margin):
    if low > 0 and mean >= margin:
        return "holds"
    return "opposite" if high < 0 and mean <= -margin else "no detectable effect"


def test_the_right_rule_passes():
    assert evidence.verdict(rule) is None


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda m, lo, hi, g: "holds" if m > 0 else "opposite", "crosses zero"),
        (lambda m, lo, hi, g: rule(m, lo, hi, 0.0), "smaller than the margin"),
        (lambda m, lo, hi, g: rule(abs(m), abs(m), hi, g), "wrong side"),
        (lambda m, lo, hi, g: "yes", "none of the three"),
    ],
)
def test_wrong_rules_are_told_apart(wrong, hint):
    assert hint in evidence.verdict(wrong)
