"""Studies to be judged: paired differences whose verdict is known, drawn anew for each seed.

Their number and order, their numbers of seeds and their signs are drawn, so that no list of
verdicts that was learnt by heart fits another drawing. Verdicts are the law's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from scipy import stats

from tricks_lib import law

from ..rubric import Wrong

# Mean difference and half width of the 99 % interval, both in margins; each case comes with both
# signs. No end lies so near to a margin that the rounding of float32 could move it across.
MANY = (
    (2.0, 0.6),  # all of it beyond the margin
    (1.5, 0.45),  # only just
    (0.5, 0.3),  # inside, and clear of zero
    (0.1, 0.6),  # inside, on both sides of zero
    (0.2, 2.5),  # past both margins
    (0.6, 0.9),  # past one margin, on both sides of zero
    (0.8, 0.6),  # past one margin, clear of zero, and the mean inside
    (1.5, 0.9),  # past one margin, clear of zero, and the mean beyond
)
# Undecided by Student's t at 99 %. At 95 %, with a normal distribution, or with n where n - 1
# belongs, they would be decided.
EDGE = ((1.5, 0.6), (0.4, 0.75))
FEW = ((1.5, 0.53), (0.2, 1.1))

# What a study asks for; `kind` says it from the numbers alone, so that no key goes along with them.
CLEAR, WHOLE, SURE = "clear", "whole", "sure"


def cases(rng: np.random.Generator) -> list[tuple[float, float, int]]:
    """Mean and half width, in margins, and the number of seeds of each study, shuffled.

    Their number is drawn as well.
    """
    many = [(mean, half, int(rng.integers(9, 14))) for mean, half in MANY + EDGE]
    few = [(mean, half, 5) for mean, half in FEW]
    both = [(sign * mean, half, n) for mean, half, n in many + few for sign in (1, -1)]
    # Five seeds can decide as well.
    both += [(float(rng.choice([-1, 1])) * 3.0, 0.8, 5), (0.1, 0.6, 5)]
    more = rng.integers(0, len(many), rng.integers(0, 5))  # so that their number says nothing
    both += [(float(rng.choice([-1, 1])) * many[i][0], *many[i][1:]) for i in more]
    return [both[i] for i in rng.permutation(len(both))]


def differences(rng: np.random.Generator, mean: float, half: float, size: int) -> np.ndarray:
    """Paired differences, in margins, with this mean and this half width."""
    noise = rng.normal(0, 1, size)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return mean + noise * half / _factor(size)


@cache
def _factor(size: int) -> float:
    return float(stats.t.ppf((1 + law.CONFIDENCE) / 2, size - 1) / np.sqrt(size))


def interval(values: np.ndarray, shrunk: float = 1.0) -> tuple[float, float]:
    """The law's interval of the mean; ``shrunk`` narrows it. Quicker, for there are many."""
    mean, half = values.mean(), shrunk * _factor(len(values)) * values.std(ddof=1)
    return float(mean - half), float(mean + half)


def right(values: np.ndarray, margin: float) -> str:
    """The law's verdict on these differences."""
    return law.verdict(interval(values), margin)


def kind(values: np.ndarray, margin: float) -> str:
    """What a study asks for: a clear case, the whole interval, or how sure it is."""
    found = right(values, margin)
    if len(values) < 9 or law.verdict(interval(values, 0.65), margin) != found:
        return SURE
    low, high = interval(values)
    wide = low < -margin and high > margin
    across = low < 0 < high and found == law.TOO_SMALL
    return CLEAR if found in (law.HOLDS, law.OPPOSITE) or across or wide else WHOLE


def problem(
    found: Sequence[np.ndarray], margins: Sequence[float], said: Callable[[int], str], asked: str
) -> str | None:
    """What is wrong with the verdicts on the studies of one kind, in a sentence, or None.

    Args:
        found: the differences of each study.
        margins: the smallest effect that matters in each.
        said: the student's verdict on a study, by its number.
        asked: the kind of studies to look at.

    Raises:
        Wrong: a verdict is none of the four.
    """
    for number, (values, margin) in enumerate(zip(found, margins, strict=True)):
        if kind(values, margin) != asked:
            continue
        answer = said(number)
        if answer not in law.VERDICTS:
            raise Wrong(f"{answer!r} is not one of the four verdicts, as the question spells them.")
        if answer != right(values, margin):
            return _sentence(values, margin, asked)
    return None


def _sentence(values: np.ndarray, margin: float, asked: str) -> str:
    """Names the kind of study that was judged wrongly, not its verdict."""
    if asked == SURE:
        return "with this few seeds your interval is too sure; the rule asks for one of 99 %."
    found = right(values, margin)
    low, high = interval(values)
    if found in (law.HOLDS, law.OPPOSITE):
        return "a large effect with a narrow interval is judged wrongly, in one direction or both."
    if found == law.TOO_SMALL:
        where = "on both sides of zero" if low < 0 < high else "clear of zero"
        return f"an interval that lies between the two margins, {where}, is judged wrongly."
    if low < -margin and high > margin:
        return "an interval that reaches past both margins is judged wrongly."
    return "an interval that reaches past one margin only is judged wrongly."
