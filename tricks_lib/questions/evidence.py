"""Self-checks of the page "How to read the evidence"."""

from __future__ import annotations

import numpy as np
from scipy import stats

from tricks_lib import law


def mean_and_interval(answer) -> str | None:
    """A function from differences (n,) to (mean, low, high)."""
    rng = np.random.default_rng()
    for n in (2, 5, 30):
        values = rng.normal(0.3, 1.0, n)
        result = answer(values.copy())
        if np.shape(result) != (3,):
            return "return three numbers: the mean, the lower and the upper end."
        mean, low, high = (float(v) for v in result)
        if not np.isclose(mean, values.mean()):
            return "the first number is not the mean of the differences."
        if low > high:
            return "the lower end stands above the upper end."
        if not np.isclose((low + high) / 2, mean):
            return "the interval should lie evenly around the mean."
        true = stats.ttest_1samp(values, 0).confidence_interval(0.99)
        ratio = (high - low) / (true.high - true.low)
        if np.isclose(ratio, np.sqrt((n - 1) / n)):
            return "the standard deviation should divide by n - 1 (ddof=1)."
        if np.isclose(ratio, np.sqrt(n)):
            return "that is the spread of single runs; the mean's error is smaller by a root of n."
        if np.isclose(ratio, stats.norm.ppf(0.995) / stats.t.ppf(0.995, n - 1), atol=0.002):
            return "2.58 is right for very many seeds; for few, Student's t is larger."
        if np.isclose(ratio, stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.995, n - 1)):
            return "that interval promises 95 %; looking several times asks for 99 %."
        if not np.isclose(ratio, 1):
            return f"with {n} differences the interval has the wrong width."
    return None


def decide(answer) -> str | None:
    """A function from (low, high, margin) to one of the four verdicts."""
    rng = np.random.default_rng()
    margin = float(rng.choice([0.25, 0.5, 1.0, 2.0]))  # powers of two: an end can lie on it exactly
    cases = [
        ((2, 4), "lies beyond the margin"),
        ((1, 3), "lies beyond the margin and touches it"),
        ((0.25, 0.75), "is clear of zero and lies inside the margin"),
        ((-0.5, 0.75), "lies inside the margin, on both sides of zero"),
        ((-1.5, 2.5), "reaches past both margins"),
        ((-0.5, 1.5), "reaches past one margin, from the other side of zero"),
        ((0.5, 1.5), "is clear of zero and reaches past one margin"),
        ((0.75, 8), "has its middle far beyond the margin and begins inside"),
        ((0.25, 1), "lies inside and touches the margin"),
        ((-1, 0.5), "touches the margin on one side and lies inside on the other"),
        ((-1, 1), "reaches from margin to margin"),
    ]
    cases += [((-high, -low), what) for (low, high), what in cases]
    for number in rng.permutation(len(cases)):
        (low, high), what = cases[number]
        right = law.verdict((low * margin, high * margin), margin)
        found = answer(low * margin, high * margin, margin)
        if found not in law.VERDICTS:
            return f"{found!r} is none of the four verdicts."
        if found != right:
            side = "below" if low + high < 0 else "above"
            return f"an interval that {what}, {side} zero in the main, got the wrong verdict."
    return None


# Which sentences follow from the study of exercise 3, and what misleads in those that do not.
FOLLOW = {"A", "C", "E", "G"}
MISREAD = {
    "B": "an interval inside the margins rules out what matters, not every effect.",
    "D": "an interval clear of zero may still begin inside the margin.",
    "F": "an effect is bounded by the end of its interval, not by the middle.",
}
MISSED = {
    "A": "hold all of the first interval against the margin.",
    "C": "say what the second interval rules out.",
    "E": "say what the third interval rules out, on its lower side.",
    "G": "a difference of two gains needs an interval of its own.",
}


def read_study(answer) -> str | None:
    """A set of the letters of the sentences that follow."""
    letters = {*"ABCDEFG"}
    if isinstance(answer, str):
        answer = answer.replace(",", " ").split() if " " in answer or "," in answer else [*answer]
    try:
        said = {str(letter).strip().upper() for letter in answer}
    except TypeError:
        return 'give a set of letters, such as {"A", "B"}.'
    if not said <= letters:
        return f"{min(said - letters)!r} is none of the sentences; they are A to G."
    for letter in sorted(said - FOLLOW):
        return f"{letter} does not follow: {MISREAD[letter]}"
    for letter in sorted(FOLLOW - said):
        return f"a sentence is missing: {MISSED[letter]}"
    return None
