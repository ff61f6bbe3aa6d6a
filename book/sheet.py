"""The cheat sheet on paper: the table on as few pages of A4 as a type size that can be read
allows, and what one works with on the back.

The PDF has no date and no random name, so that the same rows give the same bytes; its text can be
selected and searched, and each claim is a link to its measurement.
"""

from __future__ import annotations

import re
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
from reportlab.platypus import Flowable, Frame, Paragraph, Preformatted, Spacer, Table

from book import sketches
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
SHARES = (0.21, 0.5, 0.29)
COLUMNS = 3  # of the back
_BARE = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
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
    """What one measurement came to; the label tells it from others of the same claim.

    One that is not ``shown`` is only counted.
    """

    verdict: str
    effect: str
    label: str = ""
    shown: bool = True


@dataclass(frozen=True)
class Line:
    """One claim, what was measured for it (once or several times), and where its card is."""

    sentence: str
    results: Sequence[Result]
    address: str


@dataclass(frozen=True)
class Row:
    """One trick; ``said`` and ``todo`` are escaped and may have the tags b, i, a and code."""

    trick: str
    address: str
    part: str
    said: str
    lines: Sequence[Line]
    todo: str


@dataclass(frozen=True)
class Heading:
    """The title of a section on the back."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table on the back; its cells are escaped and may have the tags b, i, a and code."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Code:
    """Lines of a program."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A sketch of ``book.sketches``, by its name."""

    name: str


Block = Heading | Grid | Code | Picture


def draw(rows: Sequence[Row], title: str, address: str, back: Sequence[Block] = ()) -> bytes:
    """Draw the sheet.

    Args:
        rows: The tricks, in order.
        title: The title of the book.
        address: Where the sheet stands online, for the foot of the page.
        back: What stands on the last page, in columns; without it there is none.

    Raises:
        ValueError: The back does not fit one page in the smallest type.

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
    total = len(pages) + bool(back)
    for number, page in enumerate(pages, 1):
        _frame(canvas, title, address, number, total)
        _, height = page.wrapOn(canvas, _width(), _height())
        page.drawOn(canvas, MARGIN, PAGE[1] - MARGIN - HEAD - height)
        canvas.showPage()
    if back:
        _frame(canvas, title, address, total, total, marks=False)
        _back(back, canvas)
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


def _back(blocks: Sequence[Block], canvas: Canvas) -> None:
    """Put the blocks into columns, in the largest type with which all of them fit."""
    for size in SIZES:
        trial = Canvas(BytesIO(), pagesize=PAGE)
        if _filled(blocks, size, trial):
            _filled(blocks, size, canvas)
            return
    raise ValueError("the back of the cheat sheet holds more than a page: shorten it")


def _filled(blocks: Sequence[Block], size: float, canvas: Canvas) -> bool:
    """Fill the columns one after the other, no title alone at a foot; whether all found room."""
    width = (_width() - (COLUMNS - 1) * 2 * GAP) / COLUMNS
    pads = dict.fromkeys(("leftPadding", "rightPadding", "topPadding", "bottomPadding"), 0)
    columns = [
        Frame(MARGIN + number * (width + 2 * GAP), MARGIN + FOOT, width, _height(), **pads)
        for number in range(COLUMNS)
    ]
    group: list[Flowable] = []
    for block in blocks:
        group += _flowables(block, size, width)
        if isinstance(block, Heading):
            continue  # it goes with the block that follows
        whole = Table([[group]], colWidths=[width], style=_BARE)
        while columns and not columns[0].add(whole, canvas):
            columns.pop(0)
        if not columns:
            return False
        group = []
    return True


def _flowables(block: Block, size: float, width: float) -> list[Flowable]:
    text = ParagraphStyle(
        "back", fontName="Sheet", fontSize=size, leading=1.2 * size, textColor=HexColor(INK)
    )
    if isinstance(block, Heading):
        style = ParagraphStyle("head", text, fontName="Sheet-Bold", fontSize=size + 2)
        title = Paragraph(escape(block.text), style)
        return [Spacer(0, 2 * mm), title, Spacer(0, 1.5 * mm)]
    if isinstance(block, Code):
        mono = ParagraphStyle("code", text, fontName="Sheet-Mono", fontSize=min(size, 7.25))
        return [Preformatted(block.text, mono), Spacer(0, 1.5 * mm)]
    if isinstance(block, Picture):
        return [sketches.drawing(block.name, width, size), Spacer(0, 1.5 * mm)]
    cells = [[Paragraph(f"<b>{head}</b>", text) for head in block.head]]
    cells += [[Paragraph(_code(entry), text) for entry in row] for row in block.rows]
    # Each column gets room by the length of its words, the shortest never less than a fifth.
    longest = [
        max(len(re.sub("<[^>]+>", "", row[at])) for row in block.rows) ** 0.5
        for at in range(len(block.head))
    ]
    widths = [width * max(share / sum(longest), 0.2) for share in longest]
    widths = [width * one / sum(widths) for one in widths]
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), GAP),
        ("TOPPADDING", (0, 0), (-1, -1), 0.3 * mm),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 0.8 * mm),
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, HexColor("#C8CDD3")),
    ]
    return [Table(cells, colWidths=widths, style=style), Spacer(0, 1.5 * mm)]


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
        trick = f"<b>{link(row.address, escape(row.trick))}</b>"
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
    sentence = link(line.address, escape(line.sentence))
    told = [_results(first, found[first])]
    told += [_results(other, found[other], MARKS[other]) for other in others]
    return Paragraph(f"{mark}{sentence} {'; '.join(told)}", style)


def _results(verdict: str, results: Sequence[Result], mark: str = "") -> str:
    """The verdict, and the effect; of a claim measured several times what it was measured on.

    There is no room for the effects of all. Those that are not shown are counted.
    """
    space = "\N{NO-BREAK SPACE}"
    colour = STYLE[verdict]["color"]
    word = f"{mark}{space}{verdict}" if mark else verdict
    if len(results) == 1 and not results[0].label:
        told = escape(results[0].effect).replace(" ", space)
    else:
        shown = [one.label for one in results if one.shown]
        more = len(results) - len(shown)
        told = escape(", ".join([*shown, *([f"{more} more"] if more else [])]))
    return f'<font color="{colour}"><b>{word}</b></font>, {told}'


def link(address: str, text: str) -> str:
    """A link around escaped text, in the colour of the text."""
    return f'<a href={quoteattr(address)} color="{INK}">{text}</a>'


def _code(text: str) -> str:
    return text.replace("<code>", '<font name="Sheet-Mono">').replace("</code>", "</font>")


def _frame(
    canvas: Canvas, title: str, address: str, number: int, total: int, marks: bool = True
) -> None:
    """What stands above and below the table: the title, the key to the marks, the address."""
    top = PAGE[1] - MARGIN
    canvas.setFillColor(HexColor(INK))
    canvas.setFont("Sheet-Bold", 13)
    canvas.drawString(MARGIN, top - 12, title)
    x = MARGIN + canvas.stringWidth(title, "Sheet-Bold", 13) + 5 * mm
    for verdict, mark in MARKS.items() if marks else ():
        canvas.setFillColor(HexColor(STYLE[verdict]["color"]))
        canvas.setFont("Sheet-Bold", 8)
        canvas.drawString(x, top - 12, f"{mark} {verdict}")
        x += canvas.stringWidth(f"{mark} {verdict}", "Sheet-Bold", 8) + 4 * mm
    canvas.setFillColor(HexColor(PALE))
    canvas.setFont("Sheet", 7.5)
    told = (
        "A number is an effect: with the trick minus without it, the mean over paired seeds. All "
        "of them, and intervals, are one click away. Each page says how far a verdict carries."
    )
    back = (
        "To work with. Values to start from are those of their sources; the front says what held."
    )
    canvas.drawString(MARGIN, top - 23, told if marks else back)
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
