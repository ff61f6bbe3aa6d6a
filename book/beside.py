"""``{beside-the-sources}``: what papers report of a tip, beside what this book measured of it.

``chapters/reference/beside_the_sources.csv`` has a row for each comparison:

===================  =======================================================================
``claim``            the claim's id
``data``, ``at``     which of its measurements, as the record names it
``tip``              the tip in plain words
``source``           the paper: a key of references.bib
``place``            where in the paper its numbers stand
``setting``          on what it measured them
``before, after``    the numbers as printed: of the arm that we subtract, then of the other
``unit``             what they count, one of ``UNITS``
===================  =======================================================================

Our numbers come from the records at every build. A row that does not fit them, or the
bibliography, becomes a warning, which ``make book`` turns into an error.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book.headlines import number, part_name
from book.ledger import badge, cell, citation, reference, warn
from book.measured import named
from book.records import Found, format_value, unit
from book.tags import Tag, tag

PATH = "chapters/reference/beside_the_sources.csv"
HEADS = ("Tip", "The paper", "This book")
NUMBER = re.compile(r"\d+(\.\d+)?")
#: What a paper's numbers count: the end of our metric's name, whether more is more of that (1) or
#: less (-1), and what a difference of two is called.
UNITS = {
    "% accuracy": ("accuracy", 1, "points"),
    "% error": ("accuracy", -1, "points"),
    "million steps": ("steps_to_target", 1, "million steps"),
    "calibration error": ("calibration_error", 1, "calibration error"),
}
#: Where our interval lies, seen from the paper's difference.
SAME, OTHER, OPEN = "points the paper's way", "points the other way", "leaves the direction open"


@dataclass(frozen=True)
class Row:
    """A row of the file; every value is text, as in the file."""

    claim: str
    data: str
    at: str
    tip: str
    source: str
    place: str
    setting: str
    before: str
    after: str
    unit: str

    @property
    def difference(self) -> Decimal:
        """What the paper found, in the direction of our metric and with the digits it prints."""
        return UNITS[self.unit][1] * (Decimal(self.after) - Decimal(self.before))


COLUMNS = tuple(field.name for field in fields(Row))


def read(path: Path) -> list[Row]:
    """The rows of the file.

    Raises:
        ValueError: The file has other columns, or a row of another length.
    """
    with path.open(encoding="utf-8", newline="") as file:
        head, *lines = csv.reader(file)
    if tuple(head) != COLUMNS:
        raise ValueError(f"the first line must be {','.join(COLUMNS)}")
    for count, line in enumerate(lines, 2):
        if len(line) != len(COLUMNS):
            raise ValueError(f"row {count} has {len(line)} values instead of {len(COLUMNS)}")
    return [Row(*line) for line in lines]


def measurement(row: Row, claims: Iterable[Found], keys: Collection[str]) -> Found:
    """The measurement that a row names.

    Raises:
        ValueError: There is no such measurement, or the row does not fit it.
    """
    measured = [one for one in claims if one.id == row.claim]
    if not measured:
        raise ValueError(f"no record has the claim id {row.claim!r}")
    here = [one for one in measured if (one.data, one.at) == (row.data, row.at)]
    if not here:
        known = "; ".join(f"{one.data!r} at {one.at!r}" for one in measured)
        raise ValueError(
            f"{row.claim} has no measurement on {row.data!r} at {row.at!r}, but on {known}"
        )
    if row.source not in keys:
        raise ValueError(f"{row.claim}: {row.source!r} is not in references.bib")
    if row.unit not in UNITS or not here[0].metric.endswith(UNITS[row.unit][0]):
        raise ValueError(f"{row.claim}: {row.unit!r} is no unit for {here[0].metric}")
    if not (NUMBER.fullmatch(row.before) and NUMBER.fullmatch(row.after)):
        raise ValueError(f"{row.claim}: {row.before!r} and {row.after!r} must be numbers")
    return here[0]


def direction(row: Row, found: Found) -> str:
    """Whether our whole interval lies on the paper's side of zero, on the other, or on neither."""
    low, high = found.interval
    if low <= 0 <= high:
        return OPEN
    return SAME if (low > 0) == (row.difference > 0) else OTHER


def how(found: Found) -> str:
    """How much data and how many steps, where ``at`` does not say it, and how many seeds."""
    said = []
    for name in ("training examples", "steps"):
        text = found.conditions.get(name, "")
        amount = re.sub(r"\d{4,}", lambda digits: f"{int(digits[0]):,}", text)
        if amount and amount not in found.at:
            said.append(f"{amount} {name}")
    return ", ".join([*said, f"{found.num_seeds} seeds"])


class BesideTheSources(SphinxDirective):
    """``{beside-the-sources}``: a count of directions, then the table."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir, PATH)
        self.env.note_dependency(str(path))
        try:
            rows = read(path)
        except (OSError, ValueError) as error:
            warn(f"{PATH}: {error}", self.get_location())
            return []
        keys = self.env.get_domain("cite").bibdata.data.entries
        pairs = []
        for row in rows:
            try:
                pairs.append((row, measurement(row, self.env.claims.values(), keys)))
            except ValueError as error:
                warn(f"{PATH}: {error}", self.get_location())
        in_the_book = list(self.env.claims)
        pairs.sort(key=lambda pair: in_the_book.index(pair[1].key))
        return [self.sums(pairs), self.table(pairs)]

    def sums(self, pairs: Sequence[tuple[Row, Found]]) -> nodes.paragraph:
        """How often our interval points where."""
        count = Counter(direction(*pair) for pair in pairs)
        same, other, left_open = (f"{name} in {count[name]}" for name in (SAME, OTHER, OPEN))
        said = f"our interval {same}, {other}, and {left_open}"
        text = f"In {number(len(pairs), 'comparison')} {said}."
        return nodes.paragraph(text=text, classes=["verdict-sums"])

    def table(self, pairs: Sequence[tuple[Row, Found]]) -> Tag:
        """A body for each part, a row for each comparison."""
        heads = [tag("th", nodes.Text(name), scope="col") for name in HEADS]
        bodies = []
        for part, group in groupby(pairs, key=lambda pair: pair[1].part):
            name = nodes.Text(part_name(part))
            head = tag("th", name, scope="rowgroup", colspan=str(len(HEADS)))
            rows = [self.row(*pair) for pair in group]
            bodies.append(tag("tbody", tag("tr", head, css="page-row"), *rows))
        return tag(
            "table",
            tag("caption", nodes.Text("What papers report, and what this book measured")),
            tag("thead", tag("tr", *heads)),
            *bodies,
            css="verdict-table beside",
        )

    def row(self, row: Row, found: Found) -> Tag:
        """The tip as a link to its claim; what the paper reports; what we measured."""
        tip = reference(self.env, found, nodes.Text(row.tip), lasting=True)
        texts = (self.paper(row), self.ours(row, found))
        cells = [
            tag("td", *lines, **{"data-scale": name})
            for name, lines in zip(HEADS[1:], texts, strict=True)
        ]
        return tag("tr", tag("th", tip, scope="row"), *cells)

    def paper(self, row: Row) -> list[nodes.Node]:
        """The difference, the numbers that it follows from, on what, and where they stand."""
        difference = f"{row.difference:+}".replace("-", "\N{MINUS SIGN}")
        place = row.place.replace(" ", "\N{NO-BREAK SPACE}")  # "figure 9" stays on one line
        return [
            cell(nodes.strong(text=difference), nodes.Text(f" {UNITS[row.unit][2]}")),
            cell(nodes.Text(f"from {row.before} to {row.after} {row.unit}")),
            cell(nodes.Text(row.setting), css="small"),
            cell(*citation(self, row.source), nodes.Text(f", {place}"), css="small"),
        ]

    def ours(self, row: Row, found: Found) -> list[nodes.Node]:
        """The difference with its interval, the verdict as a link to the card, and on what."""
        low, high = (format_value(found.metric, value) for value in found.interval)
        effect = format_value(found.metric, found.effect)
        place = ", ".join(filter(None, [named(found.data), found.at]))
        return [
            cell(nodes.strong(text=effect), nodes.Text(f" [{low}, {high}] {unit(found.metric)}")),
            cell(
                reference(self.env, found, badge(found)),
                nodes.Text(f" {direction(row, found)}"),
            ),
            cell(nodes.Text(f"{place}; {how(found)}"), css="small"),
            cell(nodes.Text(" minus ".join(found.arms)), css="small"),
        ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive with Sphinx."""
    app.add_directive("beside-the-sources", BesideTheSources)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
