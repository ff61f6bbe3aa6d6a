"""Claims: declared before they are measured, judged by a fixed rule, recorded in the output."""

from __future__ import annotations

import html
import platform
import re
from dataclasses import dataclass

import torch

from ._version import __version__
from .experiment import Effect

RECORD_TYPE = "application/vnd.tricks-lib.claim+json"
HOLDS, NO_EFFECT, OPPOSITE = "holds", "no detectable effect", "opposite"
KINDS = ("claim", "placebo", "control")


@dataclass(frozen=True)
class Claim:
    """A sentence that a measurement can prove wrong.

    Attributes:
        id: ``page.slug``, lower case, such as ``augmentation.few_images``; unique in the book.
        sentence: the claim, in one sentence, as it is taught.
        source: who teaches it: a key of the bibliography.
        metric: what is measured, such as ``test_accuracy``.
        margin: the smallest effect that matters, in the metric's unit.
        direction: ``"higher"`` or ``"lower"``: where the trick takes the metric, says the claim.
        kind: ``"claim"``; ``"placebo"``, a change that cannot matter; or ``"control"``, the trick
            switched off. The last two are expected to show no detectable effect.
        tested_by: keys of papers that put the claim to the test.
    """

    id: str
    sentence: str
    source: str
    metric: str
    margin: float
    direction: str = "higher"
    kind: str = "claim"
    tested_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", self.id):
            raise ValueError(f"id={self.id!r} must look like 'augmentation.few_images'.")
        if self.direction not in ("higher", "lower"):
            raise ValueError(f"direction={self.direction!r} must be 'higher' or 'lower'.")
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r} must be one of {KINDS}.")
        if not self.margin > 0:
            raise ValueError(f"margin={self.margin} must be the smallest effect that matters, > 0.")
        if not self.sentence.strip() or not self.source.strip():
            raise ValueError(f"claim {self.id} needs a sentence, and a source that teaches it.")


def verdict(declared: Claim, effect: Effect) -> str:
    """The rule: an interval clear of zero, and a mean that is large enough to matter.

    Returns:
        ``"holds"``, ``"opposite"``, or ``"no detectable effect"`` when neither is shown.
    """
    sign = 1 if declared.direction == "higher" else -1
    low, high = sorted((sign * effect.low, sign * effect.high))
    mean = sign * effect.mean
    if low > 0 and mean >= declared.margin:
        return HOLDS
    if high < 0 and mean <= -declared.margin:
        return OPPOSITE
    return NO_EFFECT


def record(declared: Claim, effect: Effect) -> dict:
    """The claim and its measurement as plain JSON; differences are ``arm - over``, unflipped."""
    return {
        "id": declared.id,
        "sentence": declared.sentence,
        "source": declared.source,
        "tested_by": list(declared.tested_by),
        "kind": declared.kind,
        "data": effect.data,
        "metric": effect.metric,
        "direction": declared.direction,
        "arms": [effect.arm, effect.over],
        "margin": declared.margin,
        # Four significant digits: more would only be noise.
        "effect": _round(effect.mean),
        "interval": [_round(effect.low), _round(effect.high)],
        "detectable": _round(effect.detectable),
        "num_seeds": len(effect.seeds),
        "seeds": list(effect.seeds),
        "verdict": verdict(declared, effect),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "tricks_lib": __version__,
        },
        "device": effect.device,
    }


def claim(declared: Claim, effect: Effect) -> None:
    """Judge a claim that was declared before, show the verdict and store the record.

    The text of the verdict has no digits in it, so that it is the same on every machine. The
    numbers stand in the card and in the record.

    Raises:
        ValueError: the effect measures another metric than the claim declared.
    """
    if effect.metric != declared.metric:
        raise ValueError(
            f"claim {declared.id} is about {declared.metric}, but the effect measures "
            f"{effect.metric}; declare the one that you measure."
        )
    found = record(declared, effect)
    text = f"{found['verdict'].upper()} · {declared.sentence} [{declared.id}]"
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


def card(found: dict) -> str:
    """A record as a small piece of HTML that reads well in Colab too, where there is no style."""
    css = found["verdict"].replace(" ", "-")
    anchor = "claim-" + found["id"].replace(".", "-")
    low, high = found["interval"]
    metric = found["metric"].replace("_", " ")
    as_text = _formatter(found["metric"])
    name = {"claim": "", "placebo": "Placebo: ", "control": "Control: "}[found["kind"]]
    return (
        f'<div class="claim claim-{css}" id="{anchor}">'
        f'<p class="claim-verdict"><strong>{name}{found["verdict"]}</strong> '
        f"<code>{found['id']}</code></p>"
        f'<p class="claim-sentence">{html.escape(found["sentence"])}</p>'
        f"{_interval_svg(found)}"
        f'<p class="claim-numbers">{html.escape(found["arms"][0])} minus '
        f"{html.escape(found['arms'][1])}: <strong>{as_text(found['effect'])}</strong> {metric}, "
        f"95&nbsp;% interval {as_text(low)} to {as_text(high)}; {found['num_seeds']} paired seeds "
        f"on {html.escape(found['data'])}. Smallest effect that so many seeds detect: "
        f"{as_text(found['detectable'], sign='')}; smallest that matters: "
        f"{as_text(found['margin'], sign='')}.</p></div>"
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
            points = round(100 * value, 1) + 0.0  # the sum turns -0.0 into 0.0
            return f"{points:{sign}.1f}&nbsp;points"
        return f"{value:{sign},.0f}" if abs(value) >= 100 else f"{value:{sign}.3g}"

    return as_text


def _round(value: float) -> float:
    return float(f"{value:.4g}")
