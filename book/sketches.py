"""Small pictures of the cheat sheet: a few lines each, drawn as SVG for the page and on paper.

Points lie in a box of ``WIDTH`` by ``HEIGHT``, with y upwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from reportlab.graphics.shapes import Circle, Drawing, PolyLine, Rect, String
from reportlab.lib.colors import HexColor

from book.forest import INK, PALE, STYLE
from tricks_lib.law import HOLDS, OPPOSITE, TOO_SMALL, UNDECIDED

WIDTH, HEIGHT, FONT = 150, 70, 5


@dataclass(frozen=True)
class Line:
    """A line through points; ``verdict`` gives it that verdict's colour."""

    points: Sequence[tuple[float, float]]
    verdict: str = ""
    dashed: bool = False
    thin: bool = False


@dataclass(frozen=True)
class Dot:
    """A mark, filled or hollow."""

    x: float
    y: float
    verdict: str = ""
    filled: bool = True


@dataclass(frozen=True)
class Band:
    """A shaded strip from one x to another."""

    left: float
    right: float


@dataclass(frozen=True)
class Label:
    """Words; ``anchor`` is start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class Sketch:
    """A picture and what it shows, for those who cannot see it."""

    alt: str
    shapes: Sequence[Line | Dot | Band | Label]


AXES = Line([(8, 64), (8, 10), (146, 10)], thin=True)


def _schedule() -> Sketch:
    """The rate over the steps: warm-up, then half a cosine."""
    fall = [(28 + x, 12 + 24 * (1 + math.cos(math.pi * x / 112))) for x in range(0, 113, 4)]
    return Sketch(
        "The learning rate rises in a straight line during a short warm-up, then falls along half "
        "a cosine to zero at the last step.",
        [
            AXES,
            Line([(8, 12), (28, 60), *fall[1:]], HOLDS),
            Label(30, 63, "warm up, then a cosine to zero"),
            Label(146, 2, "steps", "end"),
            Label(10, 68, "rate"),
        ],
    )


def _curves() -> Sketch:
    """The loss on both parts, and the place of the best weights."""
    steps = range(0, 133, 4)
    train = [(10 + x, 14 + 44 * math.exp(-x / 32)) for x in steps]
    held = [(10 + x, 24 + 36 * math.exp(-x / 26) + 0.0013 * max(0, x - 40) ** 2) for x in steps]
    best = min(held, key=lambda point: point[1])
    return Sketch(
        "Two curves of loss over steps: that of the training data keeps falling, that of the "
        "validation data turns upwards after its lowest point, where the best weights are kept.",
        [
            AXES,
            Line(train, TOO_SMALL),
            Line(held, HOLDS),
            Dot(*best, HOLDS),
            Label(best[0], best[1] + 7, "keep these weights", "middle"),
            Label(142, 18, "training", "end"),
            Label(142, 42, "validation", "end"),
            Label(146, 2, "steps", "end"),
            Label(10, 66, "loss"),
        ],
    )


def _verdicts() -> Sketch:
    """The four verdicts as intervals against the margin."""
    rows = [
        (HOLDS, 62, 60, 86, True),
        (OPPOSITE, 47, -64, -40, True),
        (TOO_SMALL, 32, -9, 11, False),
        (UNDECIDED, 17, -6, 52, False),
    ]
    shapes: list[Line | Dot | Band | Label] = [Band(38, 68), Line([(53, 8), (53, 70)], thin=True)]
    for verdict, y, low, high, filled in rows:
        left, right = 53 + low / 2, 53 + high / 2
        shapes += [
            Line([(left, y), (right, y)], verdict, dashed=verdict == UNDECIDED),
            Dot((left + right) / 2, y, verdict, filled),
            Label(100, y - 2, verdict),
        ]
    shapes.append(Label(53, 1, "shaded: too small to matter", "middle"))
    return Sketch(
        "Four intervals beside a shaded strip around zero that is as wide as the smallest effect "
        "that matters: wholly right of it, it holds; wholly left of it, opposite; wholly inside, "
        "too small to matter; across its edge, undecided.",
        shapes,
    )


SKETCHES = {"schedule": _schedule(), "curves": _curves(), "verdicts": _verdicts()}


def svg(name: str) -> str:
    """The sketch as inline SVG, in the colours of the page's theme."""
    sketch = SKETCHES[name]
    inside = "".join(_tag(shape) for shape in sketch.shapes)
    return (
        f'<svg class="sketch" role="img" aria-label="{escape(sketch.alt)}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT + 4}">{inside}</svg>'
    )


def _tag(shape: Line | Dot | Band | Label) -> str:
    if isinstance(shape, Band):
        width = shape.right - shape.left
        return f'<rect class="band" x="{shape.left}" y="4" width="{width}" height="{HEIGHT - 8}"/>'
    if isinstance(shape, Label):
        at = f'x="{shape.x:g}" y="{_down(shape.y):g}" text-anchor="{shape.anchor}"'
        return f"<text {at}>{escape(shape.text)}</text>"
    names = [f"claim-{shape.verdict.replace(' ', '-')}"] if shape.verdict else []
    if isinstance(shape, Dot):
        names += ["filled"] if shape.filled else []
        return f'<circle{_css(names)} cx="{shape.x:g}" cy="{_down(shape.y):g}" r="3"/>'
    points = " ".join(f"{x:g},{_down(y):g}" for x, y in shape.points)
    more = ' stroke-dasharray="3 2"' if shape.dashed else ""
    more += ' stroke-width="0.8"' if shape.thin else ""
    return f'<polyline{_css(names)}{more} points="{points}"/>'


def _css(names: Sequence[str]) -> str:
    return f' class="{" ".join(names)}"' if names else ""


def _down(y: float) -> float:
    return round(HEIGHT + 2 - y, 1)


def drawing(name: str, width: float, size: float) -> Drawing:
    """The sketch for the PDF, with words in type of this size, or as wide as there is room."""
    made = Drawing(WIDTH, HEIGHT + 4)
    for shape in SKETCHES[name].shapes:
        colour = HexColor(STYLE[shape.verdict]["color"] if getattr(shape, "verdict", "") else PALE)
        if isinstance(shape, Band):
            wide = shape.right - shape.left
            strip = Rect(shape.left, 6, wide, HEIGHT - 6, fillColor=HexColor("#ECEEF0"))
            strip.strokeColor = None
            made.add(strip)
        elif isinstance(shape, Label):
            words = String(shape.x, shape.y, shape.text, fontName="Sheet", fontSize=FONT)
            words.fillColor, words.textAnchor = HexColor(INK), shape.anchor
            made.add(words)
        elif isinstance(shape, Dot):
            fill = colour if shape.filled else HexColor("#FFFFFF")
            made.add(Circle(shape.x, shape.y, 2.6, strokeColor=colour, fillColor=fill))
        else:
            flat = [value for point in shape.points for value in point]
            line = PolyLine(flat, strokeColor=colour, strokeWidth=0.7 if shape.thin else 1.5)
            line.strokeDashArray = [3, 2] if shape.dashed else None
            made.add(line)
    scale = min(size / FONT, width / WIDTH)
    made.scale(scale, scale)
    made.width, made.height = WIDTH * scale, (HEIGHT + 4) * scale
    return made
