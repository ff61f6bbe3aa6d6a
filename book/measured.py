"""Claims and their measurements: one sentence may be measured several times, and is told once.

A claim has an id and a sentence; each of its measurements has a verdict of its own. This module
groups and counts them; it knows records, not Sphinx.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from scipy import stats

from book.records import Found
from tricks_lib import law

#: What can be counted, in the order in which an error message lists it.
COUNTS = (
    "claims",
    "measurements",
    "headline",
    "holds",
    "opposite",
    "too-small",
    "undecided",
    "checks",
    "checks-passed",
    "pages",
    "decided",
    "expected-wrong",
)


def by_claim(found: Iterable[Found]) -> list[list[Found]]:
    """The measurements of each claim together, in the order in which the claims first appear."""
    groups: dict[str, list[Found]] = {}
    for one in found:
        groups.setdefault(one.id, []).append(one)
    return list(groups.values())


def headlines(found: Iterable[Found]) -> list[list[Found]]:
    """The headline claims, each with its measurements."""
    return by_claim(one for one in found if one.headline and one.kind == "claim")


def labels(measured: Sequence[Found]) -> list[str]:
    """What tells the measurements of one claim apart; one measurement alone gets an empty label."""
    return [""] if len(measured) == 1 else places(measured)


def named(data: str) -> str:
    """A data set as people write it; records have the name of the function that makes it."""
    return re.sub(r"\bmnist\b", "MNIST", data)


def places(measured: Sequence[Found]) -> list[str]:
    """On what each measurement of one claim was made, as short as it can be.

    The data alone where that is enough (``"glyphs"``), else what differs on the same data
    (``"900 steps"``), else both.
    """
    data = [named(one.data) for one in measured]
    short = [name.partition(",")[0] for name in data]
    plain = [name.replace(", standardised", "") for name in data]
    ats = [one.at for one in measured]
    *ways, longest = (
        [", ".join(filter(None, pair)) for pair in zip(names, ats, strict=True)]
        for names in (short, plain, data)
    )
    for texts in (short, ats, *ways):
        if all(texts) and len(set(texts)) == len(texts):
            return texts
    return longest


def conditions(measured: Sequence[Found]) -> list[str]:
    """What tells the measurements of one claim apart, without what all on the same data say.

    Unlike ``labels`` each names its data, and no two are equal: ``"MNIST 320 steps"`` of
    ``"MNIST, 10,240 images, 320 steps"`` where each on MNIST has as many images.
    """
    if len(measured) == 1:
        return [""]
    data = [named(one.data) for one in measured]
    short = [
        re.sub(r" \(.*?\)", "", name.replace(", standardised", "")).replace(",", "")
        for name in data
    ]
    parts = [one.at.split(", ") if one.at else [] for one in measured]
    made = []
    for name, mine in zip(short, parts, strict=True):
        others = [found for found, other in zip(parts, short, strict=True) if other == name]
        told = [part for part in mine if not all(part in other for other in others)]
        made.append(" ".join([name, *told]))
    return made if len(set(made)) == len(made) else labels(measured)


def expected(found: Iterable[Found]) -> law.Expected:
    """How many of the decided verdicts must be expected to be wrong (Benjamini & Hochberg 1995)."""
    return law.expected_wrong([p for one in found if (p := one.p_value) is not None])


def placebos_together(found: Iterable[Found]) -> float:
    """One p-value for all placebos, by Fisher's method: small when they differ from nothing.

    Each placebo's own is that of a t-test against zero. A control is left out: what it switches
    off may do a little. Of no placebo at all it is 1.
    """
    placebos = [one.record["differences"] for one in found if one.kind == "placebo"]
    each = [stats.ttest_1samp(differences, 0.0).pvalue for differences in placebos]
    return float(stats.combine_pvalues(each, method="fisher").pvalue) if each else 1.0


def counts(found: Iterable[Found]) -> dict[str, int]:
    """Everything that pages count.

    ``claims``, ``headline`` and ``pages`` count sentences and pages. The four verdicts count
    measurements of claims; ``checks`` are the measurements of placebos and controls. ``decided``
    and ``expected-wrong`` are about all verdicts, checks among them; the latter is rounded up,
    because a promise may only err to that side.
    """
    found = list(found)
    claims = [one for one in found if one.kind == "claim"]
    checks = [one for one in found if one.kind != "claim"]

    def verdict(name: str, among: list[Found]) -> int:
        return sum(one.verdict == name for one in among)

    wrong = expected(found)
    values = (
        len({one.id for one in claims}),
        len(claims),
        len(headlines(found)),
        verdict(law.HOLDS, claims),
        verdict(law.OPPOSITE, claims),
        verdict(law.TOO_SMALL, claims),
        verdict(law.UNDECIDED, claims),
        len(checks),
        verdict(law.TOO_SMALL, checks),
        len({one.docname for one in found}),
        wrong.decided,
        math.ceil(wrong.wrong - 1e-9),
    )
    return dict(zip(COUNTS, values, strict=True))
