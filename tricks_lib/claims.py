"""Claims: declared before they are measured, judged by the law of evidence, kept in the output."""

from __future__ import annotations

import html
import math
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real

import torch

from . import law
from ._version import __version__
from .experiment import Effect

RECORD_TYPE = "application/vnd.tricks-lib.claim+json"
KINDS = ("claim", "placebo", "control")
# What lies between 0 and 1, or between -1 and 1, so that no difference reaches 1.
SHARES = (
    *("accuracy", "accuracy_gap", "calibration_error", "overconfidence"),
    *("failed", "success", "found", "kept", "swapped", "memorised", "share", "distinct_units"),
)


@dataclass(frozen=True)
class Claim:
    """A sentence that a measurement can prove wrong.

    Attributes:
        id: ``page.slug``, lower case, such as ``augmentation.few_images``; unique in the book.
        sentence: the claim, in one sentence, with every condition without which it would be false.
        source: who teaches it: a key of the bibliography, and behind a comma the place, as in
            ``"srivastava2014dropout, section 6.1"``.
        metric: what is measured, such as ``test_accuracy``.
        lower: the sentence says that the metric falls; without it, that it rises.
        headline: a claim that a reader came for; at most six a page.
        kind: ``"claim"``; ``"placebo"``, a change that cannot matter; or ``"control"``, the trick
            switched off. The sentence of the last two says that there *is* an effect, so that
            *too small to matter* is what they should show.
        tested_by: keys of papers that put the claim to the test.
        amended: what was changed after a look at results, in a sentence; empty when nothing was.
        margin: the smallest effect that matters, in the metric's unit; default that of the table
            ``tl.MARGINS``. The book's own claims never choose one.
        conditions: what cannot be read off the runs, such as ``{"budget": "until it fits"}``.
    """

    id: str
    sentence: str
    source: str
    metric: str = "test_accuracy"
    lower: bool = False
    headline: bool = False
    kind: str = "claim"
    tested_by: tuple[str, ...] = ()
    amended: str = ""
    margin: float | None = None
    conditions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", self.id):
            raise ValueError(f"id={self.id!r} must look like 'augmentation.few_images'.")
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r} must be one of {KINDS}.")
        if not self.sentence.strip() or not self.source.strip():
            raise ValueError(f"claim {self.id} needs a sentence, and a source that teaches it.")
        if self.margin is None:
            return
        if not (isinstance(self.margin, Real) and 0 < self.margin < math.inf):
            raise ValueError(
                f"margin={self.margin!r} must be the smallest effect that matters, a number > 0."
            )
        if self.metric.endswith(SHARES) and self.margin >= 1:
            raise ValueError(
                f"margin={self.margin} can never be reached by {self.metric}, which lies between "
                "0 and 1: 0.02 stands for two points."
            )

    @property
    def direction(self) -> str:
        """``"higher"`` or ``"lower"``: where the sentence says that the metric goes."""
        return "lower" if self.lower else "higher"


@dataclass(frozen=True)
class Claims:
    """Declares the claims of a page in a line or two each.

    ``say = tl.Claims("dropout", source="srivastava2014dropout")`` and then
    ``few = say("few_images", "With few images, dropout raises test accuracy.")``; what a claim
    does not say itself it takes from here.

    Attributes:
        page: the first half of every id.
        source, metric, lower, tested_by, conditions: as in ``Claim``.
    """

    page: str
    source: str
    metric: str = "test_accuracy"
    lower: bool = False
    tested_by: tuple[str, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, slug: str, sentence: str, metric: str = "", **fields: object) -> Claim:
        """Declare ``page.slug``; further fields as in ``Claim``."""
        names = ("source", "lower", "tested_by", "conditions")
        shared = {name: getattr(self, name) for name in names}
        found = shared | {"metric": metric or self.metric} | fields
        return Claim(f"{self.page}.{slug}", sentence, **found)

    def but(self, **fields: object) -> Claims:
        """The same with some fields changed, as in ``say.but(metric="test_loss", lower=True)``."""
        return replace(self, **fields)


def record(declared: Claim, effect: Effect, at: str = "") -> dict:
    """The claim and its measurement as plain JSON; differences are ``arm - over``, unflipped.

    Whatever is computed here is computed from the rounded differences that stand in the record, so
    that whoever reads it finds the very same interval and verdict.

    Raises:
        KeyError: no row of the table of margins fits.
        ValueError: the runs do not vary with the seed.
    """
    row = law.margin(declared.metric, effect.data) if declared.margin is None else None
    margin = declared.margin if row is None else row.value
    # Four significant digits: more would only be noise.
    values = [_round(value) for value in effect.values]
    low, high = law.interval(values, rate=effect.rate)
    source, _, place = declared.source.partition(",")
    return {
        "id": declared.id,
        "sentence": declared.sentence,
        "source": source.strip(),
        "place": place.strip(),
        "tested_by": list(declared.tested_by),
        "kind": declared.kind,
        "headline": declared.headline,
        "data": effect.data,
        "at": at,
        "scale": law.scale(effect.data),
        "conditions": {**effect.conditions, **declared.conditions},
        "metric": effect.metric,
        "direction": declared.direction,
        "arms": [effect.arm, effect.over],
        "of": effect.of,
        "rate": effect.rate,
        "margin": margin,
        "reason": row.reason if row else "chosen where the claim is declared",
        "differences": values,
        "effect": _round(sum(values) / len(values)),
        "interval": [_round(low), _round(high)],
        "confidence": law.CONFIDENCE,
        "num_seeds": len(effect.seeds),
        "seeds": list(effect.seeds),
        "diverged": list(effect.diverged),
        "verdict": law.verdict((low, high), margin, declared.direction),
        "amended": declared.amended,
        "recorded": effect.recorded,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "tricks_lib": __version__,
        },
        "device": effect.device,
    }


def claim(declared: Claim, effect: Effect, at: str = "") -> None:
    """Judge a claim that was declared before, show the verdict and store the record.

    A claim may be measured several times, on other data say; each time it gets a verdict.

    The text of the verdict has no digits in it, so that it is the same on every machine. The
    numbers stand in the card and in the record.

    Args:
        declared: the claim.
        effect: what ``study.effect`` found.
        at: what tells this measurement from another one on the same data, such as
            ``"900 steps"``.

    Raises:
        TypeError: not an effect, a whole study say.
        ValueError: the effect measures another metric than the claim declared, or its runs do not
            vary with the seed.
    """
    if not isinstance(effect, Effect):
        raise TypeError(
            f"claim {declared.id} got a {type(effect).__name__}; give it two arms of the study, "
            'as in study.effect("trick", over="plain").'
        )
    if effect.metric != declared.metric:
        raise ValueError(
            f"claim {declared.id} is about {declared.metric}, but the effect measures "
            f"{effect.metric}; declare the one that you measure."
        )
    found = record(declared, effect, at)
    where = f", {at}" if at else ""
    text = f"{found['verdict'].upper()} · {declared.sentence} [{declared.id}: {effect.data}{where}]"
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(text)
        return
    if get_ipython() is None:
        print(text)
        return
    display({"text/plain": text, "text/html": card(found), RECORD_TYPE: found}, raw=True)


def anchor(found: Mapping) -> str:
    """The ``id`` of a record's card in its page."""
    words = " ".join([found["id"], "on", found["data"], found["at"]])
    return "claim-" + re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def card(found: dict) -> str:
    """A record as a small piece of HTML that reads well in Colab too, where there is no style."""
    css = found["verdict"].replace(" ", "-")
    low, high = found["interval"]
    metric = found["metric"].replace("_", " ")
    as_text = _formatter(found["metric"])
    name = {"claim": "", "placebo": "Placebo: ", "control": "Control: "}[found["kind"]]
    arm, over = map(html.escape, found["arms"])
    of = f"gain of {html.escape(found['of'])}, " if found["of"] else ""
    where = html.escape(", ".join(filter(None, [found["data"], found["at"]])))
    lines = [
        f"{of}{arm} minus {over}: <strong>{as_text(found['effect'])}</strong> {metric}, "
        f"{100 * found['confidence']:.0f}&nbsp;% interval {as_text(low)} to {as_text(high)}; "
        f"{found['num_seeds']} paired seeds on {where}. Smallest effect that matters: "
        f"{as_text(found['margin'], sign='')} ({html.escape(found['reason'])})."
    ]
    if any(found["diverged"]):
        lines.append(
            f"Runs that diverged: {found['diverged'][0]} with {arm}, "
            f"{found['diverged'][1]} with {over}."
        )
    if found["recorded"]:
        about = found["recorded"]
        lines.append(
            f"<strong>Recorded</strong> on {html.escape(about['device'])}, {about['date']}; "
            f"repeating it takes about {html.escape(about['takes'])}."
        )
    if found["amended"]:
        lines.append(f"Amended after a look: {html.escape(found['amended'])}")
    details = "; ".join(f"{key} {value}" for key, value in found["conditions"].items())
    numbers = "".join(f'<p class="claim-numbers">{line}</p>' for line in lines)
    return (
        f'<div class="claim claim-{css}" id="{anchor(found)}">'
        f'<p class="claim-verdict"><strong>{name}{found["verdict"]}</strong> '
        f"<code>{found['id']}</code></p>"
        f'<p class="claim-sentence">{html.escape(found["sentence"])}</p>'
        f"{_interval_svg(found)}{numbers}"
        f'<p class="claim-conditions">{html.escape(details)}</p></div>'
    )


def _interval_svg(found: dict) -> str:
    """The interval against zero; the shaded band holds the effects too small to matter."""
    low, high = found["interval"]
    reach = 1.15 * max(abs(low), abs(high), 2 * found["margin"])

    def at(value: float) -> float:
        return round(150 + 145 * value / reach, 1)

    margin = found["margin"]
    return (
        '<svg class="claim-interval" role="img" aria-label="the interval against zero" '
        'viewBox="0 0 300 22" width="300" height="22" style="max-width:100%">'
        f'<rect x="{at(-margin)}" y="0" width="{at(margin) - at(-margin):.1f}" height="22" '
        'fill="currentColor" opacity="0.12"/>'
        '<line x1="150" y1="0" x2="150" y2="22" stroke="currentColor" stroke-dasharray="3 2"/>'
        f'<line x1="{at(low)}" y1="11" x2="{at(high)}" y2="11" stroke="currentColor" '
        'stroke-width="2"/>'
        f'<circle cx="{at(found["effect"])}" cy="11" r="5" fill="currentColor"/></svg>'
    )


def _formatter(metric: str):
    """How a metric's differences are written: accuracies in points, others as plain numbers."""

    def as_text(value: float, sign: str = "+") -> str:
        if metric.endswith("accuracy"):
            # MNIST is judged at a fifth of a point: one digit more for what is small.
            digits = 1 if abs(value) >= 0.01 else 2
            points = round(100 * value, digits) + 0.0  # the sum turns -0.0 into 0.0
            return f"{points:{sign}.{digits}f}&nbsp;points"
        return f"{value:{sign},.0f}" if abs(value) >= 100 else f"{value:{sign}.3g}"

    return as_text


def _round(value: float) -> float:
    return float(f"{value:.4g}")
