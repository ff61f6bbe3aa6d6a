"""The law of evidence: intervals, verdicts, p-values, the table of margins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tricks_lib import law
from tricks_lib.law import HOLDS, OPPOSITE, TOO_SMALL, UNDECIDED


@pytest.mark.parametrize(
    ("ends", "higher", "lower"),
    [
        ((0.03, 0.05), HOLDS, OPPOSITE),
        ((0.02, 0.05), HOLDS, OPPOSITE),  # it touches the margin from beyond
        ((-0.05, -0.03), OPPOSITE, HOLDS),
        ((-0.01, 0.01), TOO_SMALL, TOO_SMALL),
        ((0.005, 0.015), TOO_SMALL, TOO_SMALL),  # clear of zero, and still too small
        ((-0.01, 0.02), UNDECIDED, UNDECIDED),  # one margin is just within reach
        ((0.01, 0.05), UNDECIDED, UNDECIDED),  # clear of zero, but perhaps too small
        ((-0.05, 0.05), UNDECIDED, UNDECIDED),
        ((-0.05, -0.01), UNDECIDED, UNDECIDED),
    ],
)
def test_the_verdict_comes_from_the_whole_interval_and_the_margin(ends, higher, lower):
    assert law.verdict(ends, 0.02) == higher
    assert law.verdict(ends, 0.02, "lower") == lower
    assert law.verdict(ends[::-1], 0.02) == higher, "the order of the ends does not matter"


def test_the_interval_of_measured_differences_is_students():
    values = np.random.default_rng(0).normal(0.1, 0.05, 10)
    found = stats.ttest_1samp(values, 0).confidence_interval(0.99)
    assert law.interval(values) == pytest.approx((found.low, found.high))


def test_the_interval_of_rates_covers_the_truth_and_never_has_no_width():
    low, high = law.interval([1] * 10, rate=True)
    assert 0 < low < 0.6 and high == 1, "ten of ten do not prove a rate of one"
    low, high = law.interval([0] * 10, rate=True)
    assert low == -high < -0.2, "none of ten does not prove a rate of zero"
    rng = np.random.default_rng(0)
    truth, covered = 0.6, 0
    for _ in range(300):
        first, second = rng.random((2, 20)) < [[0.7], [0.1]]
        low, high = law.interval(first.astype(float) - second, rate=True)
        covered += low <= truth <= high
    assert covered >= 0.99 * 300


@pytest.mark.parametrize(
    ("values", "sentence"),
    [([0.1], "two seeds at least"), ([0.08] * 10, "do not vary"), ([0.0] * 5, "do not vary")],
)
def test_no_interval_from_runs_that_do_not_vary(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        law.interval(values)


@pytest.mark.parametrize("rate", [False, True])
def test_a_verdict_is_given_just_where_its_p_value_says_so(rate):
    rng = np.random.default_rng(1)
    for mean in (-0.6, -0.3, 0.0, 0.3, 0.6):
        yes = np.sign(mean) * (rng.random(40) < abs(mean))
        values = yes if rate else rng.normal(mean, 0.2, 20)
        found = law.verdict(law.interval(values, rate=rate), 0.25)
        for name in (HOLDS, OPPOSITE, TOO_SMALL):
            small = law.p_value(values, 0.25, "higher", name, rate=rate) <= 0.005 + 1e-9
            assert small == (found == name), (mean, name, found)
    with pytest.raises(ValueError, match="says nothing"):
        law.p_value([1.0, 2.0], 0.1, "higher", UNDECIDED)


def test_looks_at_99_percent_keep_the_promise_of_one_look_at_95():
    rng = np.random.default_rng(0)
    wrong = {0.95: 0, 0.99: 0}
    studies = 1000
    for _ in range(studies):
        values = rng.normal(0.02, 0.05, law.LOOKS[-1])  # the truth lies right at the margin
        for confidence in wrong:
            for look in law.LOOKS:
                ends = law.interval(values[:look], confidence=confidence)
                found = law.verdict(ends, 0.02)
                if found != UNDECIDED:
                    wrong[confidence] += 1
                    break
    assert wrong[0.99] / studies < 0.05 < wrong[0.95] / studies


def test_the_expected_number_of_wrong_verdicts():
    assert law.expected_wrong([]).wrong == 0
    found = law.expected_wrong([1e-6] * 98 + [0.004, 0.005])
    assert found.decided == 100
    assert found.wrong == pytest.approx(0.5), "the worst p-value, times how many were judged"


def test_no_row_of_the_table_is_hidden_by_one_above_it():
    for row in law.MARGINS:
        metric, data = row.metric.replace("*", "x"), row.data.replace("*", "x")
        assert law.margin(metric, data) == row


def test_the_table_of_margins():
    assert law.margin("test_accuracy", "glyphs").value == 0.02
    assert law.margin("test_accuracy", "MNIST").value == 0.002
    for name in ("CIFAR-10 (JPEG copy)", "cifar10, standardised"):
        assert law.margin("test_accuracy", name).value == 0.01
    assert all(row.value > 0 and row.reason for row in law.MARGINS)
    pairs = [(row.metric, row.data) for row in law.MARGINS]
    assert len(set(pairs)) == len(pairs)
    with pytest.raises(KeyError, match=r"margin=0\.02"):
        law.margin("beauty", "glyphs")


@pytest.mark.parametrize(
    ("data", "size"),
    [("glyphs, standardised", "made"), ("rendered digits", "made"), ("digits", "real"),
     ("MNIST", "full"), ("CIFAR-10 (JPEG copy)", "full"), ("cifar10", "full"), ("mine", "made")],
)  # fmt: skip
def test_the_scale_of_a_data_set(data, size):
    assert law.scale(data) == size


@pytest.mark.parametrize(
    ("interval", "margin", "direction", "words"),
    [
        ((0.03, 0.05), 0.0, "higher", "smallest effect that matters"),
        ((0.03, 0.05), -0.02, "higher", "smallest effect that matters"),
        ((0.03, 0.05), float("nan"), "higher", "smallest effect that matters"),
        ((0.03, 0.05), 0.02, "up", "'higher' or 'lower'"),
        ((float("nan"), 0.05), 0.02, "higher", "no number"),
    ],
)
def test_no_verdict_rests_on_a_slip(interval, margin, direction, words):
    with pytest.raises(ValueError, match=words):
        law.verdict(interval, margin, direction)


def test_no_interval_rests_on_a_run_without_a_score():
    with pytest.raises(ValueError, match="no number"):
        law.interval([0.1, float("nan"), 0.2])
