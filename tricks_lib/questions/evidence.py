"""Self-checks of the page "How to read the evidence"."""

from __future__ import annotations

import numpy as np
from scipy import stats


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
        true = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        ratio = (high - low) / (true.high - true.low)
        if np.isclose(ratio, np.sqrt((n - 1) / n)):
            return "the standard deviation should divide by n - 1 (ddof=1)."
        if np.isclose(ratio, np.sqrt(n)):
            return "that is the spread of single runs; the mean's error is smaller by a root of n."
        if np.isclose(ratio, stats.norm.ppf(0.975) / stats.t.ppf(0.975, n - 1), atol=0.002):
            return "1.96 is right for very many seeds; for few, Student's t is larger."
        if not np.isclose(ratio, 1):
            return f"with {n} differences the interval has the wrong width."
    return None


def verdict(answer) -> str | None:
    """A function from (mean, low, high, margin) to one of the three verdicts."""
    margin = float(np.random.default_rng().uniform(0.5, 2.0))
    cases = [
        ((3, 2, 4), "holds", "clear of zero and large"),
        ((-3, -4, -2), "opposite", "clear of zero on the wrong side"),
        ((1.2, -1, 3.4), "no detectable effect", "large, but its interval crosses zero"),
        ((0.5, 0.2, 0.8), "no detectable effect", "clear of zero, but smaller than the margin"),
        ((-0.5, -0.8, -0.2), "no detectable effect", "below zero, but smaller than the margin"),
        ((0, 0, 0), "no detectable effect", "exactly zero"),
    ]
    for numbers, right, what in cases:
        found = answer(*(n * margin for n in numbers), margin)
        if found not in ("holds", "no detectable effect", "opposite"):
            return f"{found!r} is none of the three verdicts."
        if found != right:
            return f"an effect that is {what} got the wrong verdict."
    return None
