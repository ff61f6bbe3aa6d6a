"""The law of evidence: how an effect gets its interval, and an interval its verdict.

It stands here once. ``tricks_lib.claim`` judges by it, the book's reader of records checks by it,
and the page *How to read the evidence* teaches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from scipy import stats

HOLDS, OPPOSITE = "holds", "opposite"
TOO_SMALL, UNDECIDED = "too small to matter", "undecided"
VERDICTS = (HOLDS, OPPOSITE, TOO_SMALL, UNDECIDED)

#: After so many seeds we look, and stop when the claim is decided.
LOOKS = (5, 10, 20, 40, 80)
#: The confidence of the interval at each look. Five looks at 95 % would be wrong about the margin
#: three times as often as they promise; five at 99 % are not.
CONFIDENCE = 0.99


class NoSpread(ValueError):
    """The differences are all the same, so they carry no interval."""


def verdict(interval: Sequence[float], margin: float, direction: str = "higher") -> str:
    """Judge an effect by its whole interval against the smallest effect that matters.

    Args:
        interval: its two ends, in the metric's unit.
        margin: the smallest effect that matters, above 0, in the same unit.
        direction: ``"higher"`` or ``"lower"``: where the sentence says that the metric goes.

    Returns:
        ``"holds"``: all of the interval lies beyond the margin, where the sentence says.
        ``"opposite"``: all of it lies beyond the margin on the other side.
        ``"too small to matter"``: all of it lies inside the margin.
        ``"undecided"``: anything else.

    Raises:
        ValueError: a margin that is not above 0, a direction of another name, or an end that is
            no number.
    """
    if not margin > 0:
        raise ValueError(f"margin={margin} must be the smallest effect that matters, above 0.")
    if direction not in ("higher", "lower"):
        raise ValueError(f"direction={direction!r} must be 'higher' or 'lower'.")
    if np.isnan(interval).any():
        raise ValueError(f"interval={tuple(interval)} has an end that is no number.")
    low, high = sorted(interval) if direction == "higher" else sorted(-end for end in interval)
    if low >= margin:
        return HOLDS
    if high <= -margin:
        return OPPOSITE
    if -margin < low and high < margin:
        return TOO_SMALL
    return UNDECIDED


def interval(
    values: Sequence[float], *, rate: bool = False, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of the mean of paired differences.

    Measured differences get Student's t. Differences of yes-or-no outcomes (``rate``) get exact
    limits: those of Clopper & Pearson (1934) for the share of seeds where the first arm alone says
    yes and for the share where the second does, with half of the error each. Ten successes of ten
    do not prove a rate of one, and this interval says so.

    Args:
        values: one difference a seed, shape (seeds,); -1, 0 or 1 for a rate.
        rate: whether both arms gave 0 or 1.
        confidence: how often such intervals cover the true mean.

    Raises:
        ValueError: fewer than two values, or one that is no number.
        NoSpread: measured ones that are all the same: then the runs did not vary, and no number of
            them tells what another seed would show.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        raise ValueError("an interval needs two seeds at least; five are the first look here.")
    if np.isnan(values).any():
        raise ValueError("a difference is no number: a run without a score carries no interval.")
    if rate:
        half = (1 + confidence) / 2
        up, down = (
            stats.binomtest(int((values == sign).sum()), len(values)).proportion_ci(half)
            for sign in (1, -1)
        )
        return float(up.low - down.high), float(up.high - down.low)
    if np.ptp(values) == 0:
        raise NoSpread(
            f"all {len(values)} differences are {values[0]:g}: these runs do not vary with the "
            "seed, so they carry no interval. Assert such a fact in a cell instead of claiming it."
        )
    found = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    return float(found.low), float(found.high)


def p_value(
    values: Sequence[float], margin: float, direction: str, found: str, *, rate: bool = False
) -> float:
    """How easily chance alone would have given the verdict ``found``, were it false.

    One-sided, at the margin: for *holds* against an effect of one margin, for *too small to
    matter* the larger of the two tests against its ends (Schuirmann 1987).

    Raises:
        ValueError: *undecided* says nothing that could be wrong.
    """
    if found == UNDECIDED:
        raise ValueError("an undecided claim says nothing that could be wrong.")
    sign = 1.0 if direction == "higher" else -1.0
    values = sign * np.asarray(values, dtype=float)
    if found == TOO_SMALL:
        return max(_above(values, -margin, rate), _above(-values, -margin, rate))
    return _above(values if found == HOLDS else -values, margin, rate)


def _above(values: np.ndarray, bound: float, rate: bool) -> float:
    """The p-value of a mean at or below ``bound``: small when the mean lies clearly above it."""
    if not rate:
        return float(stats.ttest_1samp(values, bound, alternative="greater").pvalue)
    # The exact limits have no test of their own: halve the gap to where their low end meets it.
    certain, doubtful = 1.0, 0.0
    for _ in range(40):
        middle = (certain + doubtful) / 2
        if interval(values, rate=True, confidence=middle)[0] > bound:
            doubtful = middle
        else:
            certain = middle
    return (1 - doubtful) / 2


@dataclass(frozen=True)
class Expected:
    """How many verdicts of a ledger must be expected to be wrong.

    Attributes:
        decided: verdicts other than *undecided*.
        share: the largest adjusted p-value of Benjamini & Hochberg (1995) among them: of so many
            decided verdicts, at most this share is expected to be wrong.
        wrong: ``decided * share``.
    """

    decided: int
    share: float

    @property
    def wrong(self) -> float:
        return self.decided * self.share


def expected_wrong(p_values: Sequence[float]) -> Expected:
    """The verdicts to be expected wrong among those with these p-values."""
    if not len(p_values):
        return Expected(0, 0.0)
    adjusted = stats.false_discovery_control(np.clip(p_values, 0, 1))
    return Expected(len(p_values), float(adjusted.max()))


# --- the smallest effects that matter ----------------------------------------------------------


@dataclass(frozen=True)
class Margin:
    """One row of the table of smallest effects that matter.

    Attributes:
        metric, data: which metrics and data sets it is for, as shell patterns; the first row of
            the table that fits counts.
        value: the margin, in the metric's unit.
        reason: why a smaller effect would change nobody's mind.
    """

    metric: str
    data: str
    value: float
    reason: str


MARGINS: tuple[Margin, ...] = tuple(
    Margin(*row)
    for row in (
        (
            "*accuracy",
            "MNIST*",
            0.002,
            "twenty of the 10,000 test images; dropout is said to gain thrice that",
        ),
        ("*accuracy", "CIFAR*", 0.01, "one image in a hundred: papers report less as a tie"),
        ("*accuracy*", "*", 0.02, "one example in fifty: nobody changes a recipe for less"),
        ("kept", "*", 0.02, "as an accuracy: one example in fifty"),
        ("swapped", "*", 0.02, "as an accuracy: one example in fifty"),
        ("gap", "*", 0.02, "as an accuracy: one example in fifty"),
        ("memorised", "*", 0.05, "one wrong label in twenty"),
        ("log10_loss_rise", "*", 0.3, "a factor of two"),
        ("*loss*", "*", 0.05, "the right class gets a twentieth less of the probability"),
        ("calibration_error", "*", 0.02, "two points of probability"),
        ("overconfidence", "*", 0.02, "two points of probability"),
        ("failed", "*", 0.25, "one run in four"),
        ("success", "*", 0.25, "one run in four"),
        ("found", "*", 0.25, "one run in four"),
        ("steps*", "*", 20, "a tenth of a short training here"),
        ("relative_steps", "*", 0.2, "a fifth of the other's steps; batches alone vary by a tenth"),
        ("log2_steps", "*", 0.5, "1.4 times as many steps"),
        ("doublings", "*", 0.5, "1.4 times as much"),
        ("log10_highest_rate", "*", 0.25, "half a step of the usual grid of rates, 0.1, 0.3, 1"),
        ("log10_gradient_norm", "*", 0.3, "a factor of two"),
        ("log10_*", "*", 0.1, "a quarter more or less"),
        ("log_error", "*", 1.0, "a factor of e; rules of thumb promise powers of ten"),
        ("forward_change", "*", 0.3, "a factor of two from end to end, on a scale of log10"),
        ("backward_change", "*", 0.3, "a factor of two from end to end, on a scale of log10"),
        ("start_gap", "*", 0.5, "half of the loss that a blind guess is away from certainty"),
        ("share_of_full_step", "*", 0.01, "a hundredth of a step"),
        ("share_*", "*", 0.05, "one in twenty"),
        ("found_share", "*", 0.1, "one bug in ten"),
        ("distinct_units", "*", 0.05, "one unit in twenty"),
        ("*correlation", "*", 0.05, "a twentieth of a full correlation"),
        ("smoothness", "*", 0.05, "a twentieth of a full correlation"),
        ("imbalance", "*", 0.1, "a tenth"),
        ("variance_ratio", "*", 0.1, "a tenth of the stored variance"),
        ("input_drift", "*", 0.05, "a twentieth of a standard deviation"),
    )
)


def margin(metric: str, data: str) -> Margin:
    """The row of ``MARGINS`` for a metric on a data set.

    Raises:
        KeyError: no row fits; the message says what to do.
    """
    for row in MARGINS:
        if fnmatchcase(metric, row.metric) and fnmatchcase(data.lower(), row.data.lower()):
            return row
    raise KeyError(
        f"the table of margins has no row for {metric!r} on {data!r}: "
        f"give the claim one, as in tl.Claim(..., margin=0.02)."
    )


#: The size at which a data set is: made for this book, real but small, or as the tip is taught.
SCALES = (
    ("MNIST*", "full"),
    ("Fashion-MNIST*", "full"),
    ("CIFAR*", "full"),
    ("Shakespeare*", "full"),
    ("rendered*", "made"),
    ("*digits*", "real"),
    ("handwriting*", "real"),
    ("text*", "real"),
    ("wine", "real"),
    ("breast cancer", "real"),
    ("*", "made"),
)


def scale(data: str) -> str:
    """``"made"``, ``"real"`` or ``"full"``, by a data set's name."""
    return next(name for pattern, name in SCALES if fnmatchcase(data.lower(), pattern.lower()))
