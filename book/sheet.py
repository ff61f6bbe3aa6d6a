"""The cheat sheet on paper: as few pages of A4 as a type size that can be read allows.

The PDF has no date and no random name, so that the same rows give the same bytes; its text can be
selected and searched, and each claim is a link to its measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import matplotlib
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, Table

from book.forest import INK, PALE, STYLE
from tricks_lib.law import HOLDS, OPPOSITE, TOO_SMALL, UNDECIDED

MARKS = {
    HOLDS: "\N{BLACK CIRCLE}",
    OPPOSITE: "\N{BLACK DIAMOND}",
    TOO_SMALL: "\N{WHITE CIRCLE}",
    UNDECIDED: "\N{WHITE DIAMOND}",
}
PAGE = landscape(A4)
MARGIN, HEAD, FOOT, GAP = 7 * mm, 10 * mm, 4 * mm, 2.2 * mm
# How what the names leave of the width is shared: said, measured, do.
SHARES = (0.15, 0.6, 0.25)
# Points. Below the smallest nobody would read it; a second page comes first.
SIZES = (8.5, 8.25, 8.0, 7.75, 7.5, 7.25, 7.0)
FAMILY = {
    "Sheet": "DejaVuSans.ttf",
    "Sheet-Bold": "DejaVuSans-Bold.ttf",
    "Sheet-Italic": "DejaVuSans-Oblique.ttf",
    "Sheet-Mono": "DejaVuSansMono.ttf",
}


@dataclass(frozen=True)
class Result:
    """What one measurement came to; the label tells it from others of the same claim."""

    verdict: str
    effect: str
    label: str = ""


@dataclass(frozen=True)
class Line:
    """One claim, what was measured for it (once or several times), and where its card is."""

    sentence: str
    results: Sequence[Result]
    address: str


@dataclass(frozen=True)
class Row:
    """One trick; ``said`` and ``todo`` are escaped and may have the tags b, i and code."""

    trick: str
    address: str
    part: str
    said: str
    lines: Sequence[Line]
    todo: str


def draw(rows: Sequence[Row], title: str, address: str) -> bytes:
    """Draw the sheet.

    Args:
        rows: The tricks, in order.
        title: The title of the book.
        address: Where the sheet stands online, for the foot of the page.

    Returns:
        The PDF: one page in the largest size of type that fits, or several in the smallest but one
        that fits the fewest pages.
    """
    _fonts()
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=PAGE, invariant=1, lang="en")
    canvas.setTitle(f"{title}: the cheat sheet")
    canvas.setAuthor(f"The authors of {title}")
    canvas.setSubject("Each trick, what is said, what was measured, what to do")
    canvas.setViewerPreference("DisplayDocTitle", "true")
    pages = _pages(rows, canvas)
    for number, page in enumerate(pages, 1):
        _frame(canvas, title, address, number, len(pages))
        _, height = page.wrapOn(canvas, _width(), _height())
        page.drawOn(canvas, MARGIN, PAGE[1] - MARGIN - HEAD - height)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def _width() -> float:
    return PAGE[0] - 2 * MARGIN


def _height() -> float:
    return PAGE[1] - 2 * MARGIN - HEAD - FOOT


def _fonts() -> None:
    """The font of the book's figures, which comes with matplotlib on every system."""
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    for name, file in FAMILY.items():
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, str(folder / file)))
    pdfmetrics.registerFontFamily(
        "Sheet", normal="Sheet", bold="Sheet-Bold", italic="Sheet-Italic", boldItalic="Sheet-Bold"
    )


def _pages(rows: Sequence[Row], canvas: Canvas) -> list[Table]:
    """The largest type with which the table takes the fewest pages."""
    fewest = None
    for size in SIZES:
        table = _table(rows, size)
        table.wrapOn(canvas, _width(), _height())
        pages = [table]
        while len(parts := pages[-1].splitOn(canvas, _width(), _height())) > 1:
            pages[-1:] = parts
        if fewest is None or len(pages) < len(fewest):
            fewest = pages
    return fewest or []


def _table(rows: Sequence[Row], size: float) -> Table:
    """All rows, in type of one size."""
    text = ParagraphStyle(
        "text", fontName="Sheet", fontSize=size, leading=1.14 * size, textColor=HexColor(INK)
    )
    line = ParagraphStyle(
        "line", text, leftIndent=1.25 * size, bulletFontName="Sheet", bulletFontSize=size
    )
    cells = [
        [Paragraph(f"<b>{head}</b>", text) for head in ("Trick", "Said", "Measured here", "Do")]
    ]
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), GAP),
        ("TOPPADDING", (0, 0), (-1, -1), 0.3 * mm),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 0.65 * mm),
        ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, HexColor("#C8CDD3")),
    ]
    part = None
    for number, row in enumerate(rows, 1):
        if row.part != part:  # a heavier rule where a part of the book begins
            part = row.part
            style.append(("LINEABOVE", (0, number), (-1, number), 0.9, HexColor(INK)))
        trick = f"<b>{_link(row.address, escape(row.trick))}</b>"
        cells.append(
            [
                Paragraph(trick, text),
                Paragraph(_code(row.said), text),
                [_measured(entry, line) for entry in row.lines],
                Paragraph(_code(row.todo), text),
            ]
        )
    words = [word for row in rows for word in row.trick.split()]
    names = GAP + max(pdfmetrics.stringWidth(word, "Sheet-Bold", size) for word in words)
    widths = [names, *(share * (_width() - names) for share in SHARES)]
    return Table(cells, colWidths=widths, style=style, repeatRows=1)


def _measured(line: Line, style: ParagraphStyle) -> Paragraph:
    """A claim; each verdict as a mark and as a word, with the effects that came to it."""
    found: dict[str, list[Result]] = {}
    for result in line.results:
        found.setdefault(result.verdict, []).append(result)
    first, *others = found
    colour = STYLE[first]["color"]
    mark = f'<bullet color="{colour}">{MARKS[first]}</bullet>'
    sentence = _link(line.address, escape(line.sentence))
    told = [_results(first, found[first])]
    told += [_results(other, found[other], MARKS[other]) for other in others]
    return Paragraph(f"{mark}{sentence} {'; '.join(told)}", style)


def _results(verdict: str, results: Sequence[Result], mark: str = "") -> str:
    """The verdict, and the effect; of a claim that was measured several times the data instead."""
    space = "\N{NO-BREAK SPACE}"
    colour = STYLE[verdict]["color"]
    word = f"{mark}{space}{verdict}" if mark else verdict
    if len(results) == 1 and not results[0].label:
        told = escape(results[0].effect).replace(" ", space)
    else:  # there is no room for the effects of all
        told = escape(", ".join(dict.fromkeys(one.label.partition(",")[0] for one in results)))
    return f'<font color="{colour}"><b>{word}</b></font>, {told}'


def _link(address: str, text: str) -> str:
    return f'<a href={quoteattr(address)} color="{INK}">{text}</a>'


def _code(text: str) -> str:
    return text.replace("<code>", '<font name="Sheet-Mono">').replace("</code>", "</font>")


def _frame(canvas: Canvas, title: str, address: str, number: int, total: int) -> None:
    """What stands above and below the table: the title, the key to the marks, the address."""
    top = PAGE[1] - MARGIN
    canvas.setFillColor(HexColor(INK))
    canvas.setFont("Sheet-Bold", 13)
    canvas.drawString(MARGIN, top - 12, title)
    x = MARGIN + canvas.stringWidth(title, "Sheet-Bold", 13) + 5 * mm
    for verdict, mark in MARKS.items():
        canvas.setFillColor(HexColor(STYLE[verdict]["color"]))
        canvas.setFont("Sheet-Bold", 8)
        canvas.drawString(x, top - 12, f"{mark} {verdict}")
        x += canvas.stringWidth(f"{mark} {verdict}", "Sheet-Bold", 8) + 4 * mm
    canvas.setFillColor(HexColor(PALE))
    canvas.setFont("Sheet", 7.5)
    canvas.drawString(
        MARGIN,
        top - 23,
        "A number is an effect: with the trick minus without it, the mean over paired seeds. All "
        "of them, and intervals, are one click away. Each page says how far a verdict carries.",
    )
    canvas.setFont("Sheet", 7)
    foot = MARGIN
    canvas.drawString(MARGIN, foot, address)
    canvas.linkURL(
        address,
        (MARGIN, foot - 2, MARGIN + canvas.stringWidth(address, "Sheet", 7), foot + 7),
    )
    right = "Made from the stored measurements. CC BY 4.0."
    if total > 1:
        right += f" Page {number} of {total}."
    canvas.drawRightString(PAGE[0] - MARGIN, foot, right)
