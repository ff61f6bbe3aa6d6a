"""Forest plots: every measurement a row, its effect and interval against zero."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from book.measured import by_claim, labels
from book.records import Found, format_value
from tricks_lib.law import CONFIDENCE, HOLDS, OPPOSITE, TOO_SMALL, UNDECIDED, VERDICTS

# Colours that colour-blind readers can tell apart; shape, filling and line say the same once more.
STYLE = {
    HOLDS: {"color": "#0072B2", "marker": "o", "markerfacecolor": "#0072B2"},
    OPPOSITE: {"color": "#C44E00", "marker": "D", "markerfacecolor": "#C44E00"},
    TOO_SMALL: {"color": "#6B6B6B", "marker": "o", "markerfacecolor": "white"},
    UNDECIDED: {"color": "#8A4F9E", "marker": "D", "markerfacecolor": "white"},
}
# What is not known is drawn with gaps.
DASHES = {UNDECIDED: (2.2, 1.4)}
REACH = 2.7  # of an interval in a row: 0.7 for the margin, and two powers of ten
TICKS = (1, 3, 10, 30, 100, 300, 1000)
SYSTEM_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
INK, PALE = "#24292F", "#57606A"
MINUS, LEFT, RIGHT = "\N{MINUS SIGN}", "\N{LEFTWARDS ARROW}", "\N{RIGHTWARDS ARROW}"


def alt_text(claims: Sequence[Found]) -> str:
    """What the figure shows, in words, for readers who cannot see it."""
    counts = {name: sum(claim.verdict == name for claim in claims) for name in VERDICTS}
    return (
        f"Forest plot of {len(claims)} measurements of {len(by_claim(claims))} claims. Each row is "
        f"one effect with its {100 * CONFIDENCE:.0f} % interval, in multiples of the smallest "
        "effect that matters; zero is in the middle and the right-hand side is where the claim "
        f"points. {counts[HOLDS]} hold, {counts[OPPOSITE]} come out opposite, "
        f"{counts[TOO_SMALL]} are too small to matter, {counts[UNDECIDED]} are undecided."
    )


def along(value: float) -> float:
    """Where an effect in multiples of its margin lies on a scale from -1 to 1.

    It is even up to one margin and logarithmic beyond it, both ways.
    """
    far = 0.7 * abs(value) if abs(value) < 1 else 0.7 + math.log10(abs(value))
    return math.copysign(min(far, REACH) / REACH, value)


def in_a_row(found: Found, *, to_sort: bool = False) -> str:
    """One interval as a small SVG for a row of a table, in multiples of the margin.

    Zero is in the middle, what is too small to matter is shaded, and the right-hand side is where
    the sentence points. The scale is that of the forest plot and the same in every row. Rows that
    can be sorted carry their effect; on 600 cards it would weigh three kilobytes.
    """

    def at(value: float) -> float:
        return round(90 + 86 * along(value), 1)

    low, effect, high = found.scaled
    dashes = ' stroke-dasharray="3 2"' if found.verdict == UNDECIDED else ""
    filled = found.verdict in (HOLDS, OPPOSITE)
    key = f' data-effect="{effect:.4g}"' if to_sort else ""
    return (
        f'<svg class="row-interval {found.css}"{key} viewBox="0 0 180 14" '
        'width="180" height="14" aria-hidden="true" focusable="false">'
        f'<rect x="{at(-1)}" width="{at(1) - at(-1):.1f}" height="14" class="matters-not"/>'
        '<line x1="90" x2="90" y2="14" class="zero"/>'
        f'<line x1="{at(low)}" x2="{at(high)}" y1="7" y2="7" class="reach"{dashes}/>'
        f'<circle cx="{at(effect)}" cy="7" r="2.8" class="{"filled" if filled else "hollow"}"/>'
        "</svg>"
    )


def on_a_card(found: Found) -> str:
    """One interval for its card: the scale of the rows, wider, with zero and the margins named."""

    def at(value: float) -> float:
        return round(150 + 140 * along(value), 1)

    low, effect, high = found.scaled
    turn = 1 if found.direction == "higher" else -1
    ends = {place: format_value(found.metric, place * turn * found.margin) for place in (-1, 1)}
    ends[0] = "0"
    reach = " to ".join(format_value(found.metric, value) for value in found.interval)
    label = (
        f"effect {format_value(found.metric, found.effect)}, "
        f"{100 * found.confidence:.0f} % interval {reach}, margin {ends[turn]}; "
        f"{html.escape(found.key)}"
    )
    dashes = ' stroke-dasharray="5 3"' if found.verdict == UNDECIDED else ""
    filled = found.verdict in (HOLDS, OPPOSITE)
    ticks = "".join(
        f'<text x="{at(place)}" y="31" text-anchor="middle">{text}</text>'
        for place, text in ends.items()
    )
    return (
        f'<svg class="claim-interval row-interval {found.css}" role="img" aria-label="{label}" '
        'viewBox="0 0 300 34" width="300" height="34">'
        f'<rect x="{at(-1)}" width="{at(1) - at(-1):.1f}" height="20" class="matters-not"/>'
        '<line x1="150" x2="150" y2="20" class="zero"/>'
        f'<line x1="{at(low)}" x2="{at(high)}" y1="10" y2="10" class="reach"{dashes}/>'
        f'<circle cx="{at(effect)}" cy="10" r="4" class="{"filled" if filled else "hollow"}"/>'
        f"{ticks}</svg>"
    )


def draw(claims: Sequence[Found], path: Path, *, narrow: bool, compact: bool = False) -> None:
    """Draw the claims into an SVG file, the same bytes each time.

    Args:
        claims: What to show, a row for each measurement, grouped by page in the order given; the
            measurements of one claim come together.
        path: The file to write.
        narrow: For a phone: 3.5 inches wide, labels above the rows instead of beside them.
        compact: Name the pages only, not each claim.
    """
    width = 3.5 if narrow else 7.4
    rows, y = _layout(claims, narrow, compact)
    settings = {"svg.fonttype": "none", "svg.hashsalt": "ledger", "font.family": "DejaVu Sans"}
    with mpl.rc_context(settings):
        top, bottom = 0.5 if narrow else 0.32, 0.72  # two rows of legend on a phone
        height = top + y + bottom
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        left = 0.2 if narrow else (1.8 if compact else 2.35)
        axes = figure.add_axes(
            (left / width, bottom / height, 1 - (left + 0.12) / width, y / height)
        )
        _axis(axes, claims, y)
        names = _names(claims)
        for claim, at, first in rows:
            _row(axes, claim, at, compact, crowded=compact and len(claims) > 30)
            _labels(axes, claim, names[claim.key], at, first, narrow, compact)
        _legend(axes, narrow)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    # The reader's own system font, not the font of the machine that drew the figure.
    text = path.read_text(encoding="utf-8").replace("'DejaVu Sans'", SYSTEM_FONTS)
    path.write_text(text, encoding="utf-8")


def _layout(
    claims: Sequence[Found], narrow: bool, compact: bool
) -> tuple[list[tuple[Found, float, bool]], float]:
    """Where each row lies, in inches from the top, and whether it is the first of its page."""
    # A compact plot stays a glance: many claims move closer together, strongest last.
    least = min(0.055, 7.0 / len(claims))
    step = max(least, min(0.16, 3.2 / len(claims))) if compact else (0.42 if narrow else 0.25)
    space = (0.32 if narrow else 0.1) if compact else (0.44 if narrow else 0.4)
    rows, y = [], 0.0
    for page in dict.fromkeys(claim.page for claim in claims):
        here = by_claim(claim for claim in claims if claim.page == page)
        group = [claim for measured in here for claim in measured]
        if compact:
            group.sort(key=lambda claim: claim.scaled[1])
        y += space
        rows += [(claim, y + step * number, number == 0) for number, claim in enumerate(group)]
        # The name of a page needs its height, however few its claims.
        y += max(step * len(group), 0.1)
    return rows, y


def _names(claims: Sequence[Found]) -> dict[str, str]:
    """What stands beside the row of each measurement, by its key."""
    names = {}
    for measured in by_claim(claims):
        for claim, label in zip(measured, labels(measured), strict=True):
            name = claim.id.split(".")[1].replace("_", " ")
            if claim.kind != "claim":
                name += f" ({claim.kind})"
            names[claim.key] = f"{name}, {label}" if label else name
    return names


def _axis(axes: Axes, claims: Sequence[Found], bottom: float) -> None:
    """A scale that is even up to one margin and logarithmic beyond it, both ways."""
    reach = [value for claim in claims for value in claim.scaled]
    low, high = min(-2.0, *reach) * 1.35, max(2.0, *reach) * 1.35
    axes.set_xscale("symlog", linthresh=1, linscale=0.7)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, -0.05)
    axes.axvspan(-1, 1, color="#000000", alpha=0.055, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.9)
    # Few ticks on a narrow scale, so that their labels stay apart.
    keep = TICKS[:: 2 if high > 60 or low < -60 else 1]
    ticks = [-tick for tick in reversed(keep) if -tick >= low]
    ticks += [0, *[tick for tick in keep if tick <= high]]
    axes.set_xticks(
        ticks,
        [f"{tick}\N{MULTIPLICATION SIGN}".replace("-", MINUS) if tick else "0" for tick in ticks],
        fontsize=8,
        color=PALE,
    )
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.tick_params(axis="x", length=0, pad=4)
    axes.set_yticks([])
    for side in ("top", "left", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel(
        "effect in multiples of the smallest that matters", fontsize=8, color=PALE, labelpad=20
    )
    below = axes.get_xaxis_transform()  # x in data, y in shares of the axis
    axes.annotate(
        f"{LEFT} the opposite",
        (0, 0),
        (-6, -27),
        xycoords=below,
        fontsize=8,
        textcoords="offset points",
        color=PALE,
        ha="right",
    )
    axes.annotate(
        f"as taught {RIGHT}",
        (0, 0),
        (6, -27),
        xycoords=below,
        fontsize=8,
        textcoords="offset points",
        color=PALE,
        ha="left",
    )


def _row(axes: Axes, claim: Found, at: float, compact: bool, crowded: bool) -> None:
    """One line and one mark; smaller ones where many rows share little space."""
    low, mean, high = claim.scaled
    style = STYLE[claim.verdict]
    dashes = DASHES.get(claim.verdict)
    axes.plot(
        [low, high],
        [at, at],
        color=style["color"],
        linewidth=1.0 if crowded else 1.6,
        **({"dashes": dashes} if dashes else {"solid_capstyle": "round"}),
    )
    axes.plot(
        [mean],
        [at],
        linestyle="none",
        markersize=3.2 if crowded else (4.6 if compact else 5.6),
        markeredgewidth=0.9 if crowded else 1.4,
        **style,
    )


def _labels(
    axes: Axes, claim: Found, name: str, at: float, first: bool, narrow: bool, compact: bool
) -> None:
    """The page once per group; each measurement's name unless the plot is compact."""
    page = claim.page.replace("_", " ")
    side = axes.get_yaxis_transform()  # x in shares of the axis, y in data
    if narrow:
        if first:
            lift = 0.16 if compact else 0.36
            axes.text(
                0,
                at - lift,
                page,
                transform=side,
                fontsize=8.5,
                fontweight="bold",
                color=INK,
                va="center",
            )
        if not compact:
            axes.text(0, at - 0.16, name, transform=side, fontsize=8.5, color=INK, va="center")
    elif compact:
        if first:
            axes.text(
                -0.02, at, page, transform=side, fontsize=9, color=INK, ha="right", va="center"
            )
    else:
        if first:
            axes.text(
                -0.02,
                at - 0.24,
                page,
                transform=side,
                fontsize=9,
                fontweight="bold",
                color=INK,
                ha="right",
                va="center",
            )
        axes.text(-0.02, at, name, transform=side, fontsize=9, color=INK, ha="right", va="center")


def _legend(axes: Axes, narrow: bool) -> None:
    """Say which side means what, above the plot, and what the marks mean."""
    size = 7.5 if narrow else 8.5
    for name in VERDICTS:
        (mark,) = axes.plot(
            [], [], linewidth=1.6, markersize=5, markeredgewidth=1.4, label=name, **STYLE[name]
        )
        if name in DASHES:
            mark.set_dashes(DASHES[name])
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2 if narrow else len(VERDICTS),
        frameon=False,
        fontsize=size,
        handlelength=2.2,
        columnspacing=1.2,
        borderaxespad=0.2,
        labelcolor=INK,
    )
