"""The cheat sheet: an author's rows, filled in with what was measured, as a table and as a PDF.

The PDF has two sides. The front is the table. The back holds the sections of the page that the
option ``:back:`` names by their ids: tables, code and sketches. ``{sketches}`` draws some of the
pictures of ``book.sketches``, one name a line.

``{cheat-sheet}`` takes a list in YAML, a row each, with these keys:

========  ===================================================================================
trick     its name, which becomes a link to the page
page      the page that teaches it, from here: ``../regularization/dropout``
said      what is commonly said
source    who says so: keys of the bibliography, with commas between them
claims    the ids of claims whose sentence, verdicts and effects are shown
do        what to do, given all that
========  ===================================================================================

``said`` and ``do`` may have *emphasis*, **strong** and ``code``. Whatever does not fit together
becomes a warning, which ``make book`` turns into an error.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from xml.sax.saxutils import escape

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from pybtex.richtext import Text
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book import sheet, sketches
from book.ledger import badge, cell, citation, measurements, reference, table, warn
from book.measured import conditions
from book.records import Found, format_value, unit
from tricks_lib import law

KEYS = ("trick", "page", "said", "source", "claims", "do")
MOST = 4  # measurements of a claim that are shown; of the others the verdicts are counted
BIBLIOGRAPHY = "chapters/reference/bibliography"
TAGS = {nodes.emphasis: "i", nodes.strong: "b", nodes.literal: "code"}


def read_rows(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a sheet, and what is wrong with those that were left out."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return [], [f"the rows of the cheat sheet are not YAML: {error}"]
    if not isinstance(found, list) or not found:
        return [], ["a cheat sheet is a list of rows"]
    rows, wrong = [], []
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict) or set(row) != set(KEYS):
            wrong.append(f"row {number} of the cheat sheet needs exactly {', '.join(KEYS)}")
        elif not isinstance(row["claims"], list) or not row["claims"]:
            wrong.append(f"row {number} of the cheat sheet names no claims")
        elif not all(isinstance(row[key], str) for key in KEYS if key != "claims"):
            wrong.append(f"row {number} of the cheat sheet has a value that is no text")
        else:
            rows.append(row)
    return rows, wrong


def effect(found: Found) -> tuple[str, str]:
    """The effect and its interval in a few words.

    A difference of logarithms is a factor: +1 of ``log10_highest_rate`` becomes *highest rate*
    times 10, and -1 the same divided by 10.
    """
    for prefix, base in (("log10_", 10), ("log2_", 2)):
        if found.metric.startswith(prefix):
            name = unit(found.metric.removeprefix(prefix))
            mean, low, high = (_factor(base**value) for value in (found.effect, *found.interval))
            return f"{name} {mean}", f"[{low}, {high}]"
    # What is far too small to matter is nothing on a cheat sheet, and not +2.86e-06.
    mean, low, high = (
        format_value(found.metric, value if abs(value) > found.margin / 100 else 0)
        for value in (found.effect, *found.interval)
    )
    return f"{mean} {unit(found.metric)}", f"[{low}, {high}]"


def _factor(value: float) -> str:
    sign = "\N{MULTIPLICATION SIGN}"
    if value < 0.5:
        sign, value = "\N{DIVISION SIGN}", 1 / value
    rounded = float(f"{value:.2g}")
    return f"{sign} {rounded:,.0f}" if rounded >= 10 else f"{sign} {rounded:g}"


def shown(measured: Sequence[Found]) -> list[bool]:
    """Which measurements of a claim are shown: all if they are few, else the largest in scale.

    What came out says nothing about which are shown.
    """
    size = {"full": 0, "real": 1, "made": 2}
    order = sorted(range(len(measured)), key=lambda at: size[measured[at].scale])
    return [at in order[:MOST] for at in range(len(measured))]


def keys_of(source: str) -> list[str]:
    """The keys of a row's ``source``."""
    return [key.strip() for key in source.split(",") if key.strip()]


def who(entry: Any) -> str:
    """Authors and year of an entry of the bibliography, as the text cites it."""
    people = [
        str(Text.from_latex(" ".join([*person.prelast_names, *person.last_names])))
        for person in entry.persons.get("author", entry.persons.get("editor", []))
    ]
    names = people[0] + (" et al." if len(people) > 2 else "") if people else entry.key
    if len(people) == 2:
        names += f" & {people[1]}"
    return f"{names} {entry.fields.get('year', '')}".strip()


def markup(node: nodes.Node, base: str = "") -> str:
    """The text below a node, with the tags that a paragraph of the PDF understands.

    With ``base``, the address of the page online, its links lead there.
    """
    if isinstance(node, nodes.Text):
        return escape(node.astext())
    inside = "".join(markup(child, base) for child in node.children)
    if base and isinstance(node, nodes.reference):
        where = node.get("refuri") or f"#{node.get('refid', '')}"
        return sheet.link(urljoin(base, where), inside)
    tag = TAGS.get(type(node))
    return f"<{tag}>{inside}</{tag}>" if tag else inside


def blocks(document: nodes.document, names: list[str], base: str) -> list[sheet.Block]:
    """The named sections of a finished page, as what the back of the sheet can draw."""
    found = {name: part for part in document.findall(nodes.section) for name in part["ids"]}
    made: list[sheet.Block] = []
    for name in names:
        if name not in found:
            warn(f"no section of the cheat sheet has the id {name!r}", document["source"])
            continue
        part = found[name]
        made.append(sheet.Heading(part.next_node(nodes.title).astext()))
        for node in part.findall():
            if isinstance(node, nodes.table):
                rows = [
                    [markup(entry, base) for entry in row.children]
                    for row in node.findall(nodes.row)
                ]
                made.append(sheet.Grid(rows[0], rows[1:]))
            elif isinstance(node, nodes.literal_block):
                made.append(sheet.Code(node.astext()))
            elif isinstance(node, nodes.raw) and "sketch" in node:
                made.append(sheet.Picture(node["sketch"]))
    return made


class CheatSheet(SphinxDirective):
    """``{cheat-sheet}``: trick, what is said, what was measured, what to do."""

    has_content = True
    option_spec = {"back": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        rows, wrong = read_rows("\n".join(self.content))
        for message in wrong:
            warn(message, self.get_location())
        name = posixpath.basename(self.env.docname) + ".pdf"
        link = nodes.reference("", "A4, to print (PDF)", refuri=name, internal=True)
        made = [self.row(row) for row in rows]
        sheets = self.env.__dict__.setdefault("cheat_sheets", {})
        back = [name.strip() for name in self.options.get("back", "").split(",") if name.strip()]
        sheets[self.env.docname] = [line for _, line in made], back
        head = ["Trick", "What is said", "What was measured here", "What to do"]
        cells = [row for row, _ in made]
        return [
            nodes.paragraph("", "", link, classes=["sheet-pdf"]),
            table(head, cells, "cheat-sheet"),
        ]

    def row(self, row: dict[str, Any]) -> tuple[list[list[nodes.Node]], sheet.Row]:
        """A row of the table, and the same row for the PDF."""
        page = self.parse(f"{{doc}}`{row['trick']} <{row['page']}>`")
        said, todo = self.parse(row["said"]), self.parse(row["do"])
        known = self.env.get_domain("cite").bibdata.data.entries
        sources = keys_of(row["source"])
        for key in sources:
            if key not in known:
                warn(
                    f"the cheat sheet cites {key!r}, which is not in references.bib",
                    self.get_location(),
                )
        by = [node for key in sources for node in (nodes.Text(" "), *citation(self, key))]
        cells, lines = [], []
        for name in row["claims"]:
            measured = measurements(self.env, name)
            if not measured:
                warn(f"no record has the claim id {name!r}", self.get_location())
                continue
            found = measured[0]
            told = [reference(self.env, found, nodes.Text(found.sentence))]
            results = []
            for one, label, show in zip(
                measured, conditions(measured), shown(measured), strict=True
            ):
                mean, interval = effect(one)
                results.append(sheet.Result(one.verdict, mean, label, show))
                if show:
                    where = f" {label}:" if label else ""
                    numbers = nodes.inline("", f"{where} {mean} {interval}", classes=["small"])
                    told += [nodes.Text(" "), reference(self.env, one, badge(one)), numbers]
            told += self.more(
                [one for one, r in zip(measured, results, strict=True) if not r.shown]
            )
            cells.append(cell(*told))
            address = f"{self.config.html_baseurl}{found.docname}.html#{found.anchor}"
            lines.append(sheet.Line(found.sentence, results, address))
        docname = posixpath.normpath(
            posixpath.join(posixpath.dirname(self.env.docname), row["page"])
        )
        printed = sheet.Row(
            trick=row["trick"],
            address=f"{self.config.html_baseurl}{docname}.html",
            part=posixpath.basename(posixpath.dirname(docname)).replace("_", " ").capitalize(),
            said=" ".join([markup(said[0]), self.printed(sources)]).strip(),
            lines=lines,
            todo=markup(todo[0]),
        )
        said.append(cell(*by, css="small"))
        return [page, said, cells, todo], printed

    def more(self, hidden: Sequence[Found]) -> list[nodes.Node]:
        """How often each verdict came out among the measurements that are not shown, as links."""
        if not hidden:
            return []
        made: list[nodes.Node] = [nodes.Text(f" And {len(hidden)} more:")]
        for verdict in law.VERDICTS:
            alike = [one for one in hidden if one.verdict == verdict]
            if alike:
                link = reference(self.env, alike[0], badge(alike[0]))
                made += [
                    nodes.Text(" "),
                    link,
                    nodes.inline("", f" {len(alike)}", classes=["small"]),
                ]
        return made

    def printed(self, sources: Sequence[str]) -> str:
        """The sources for the PDF, each a link into the bibliography online."""
        known = self.env.get_domain("cite").bibdata.data.entries
        links = [
            sheet.link(f"{self.config.html_baseurl}{BIBLIOGRAPHY}.html", escape(who(known[key])))
            for key in sources
            if key in known
        ]
        return f"({', '.join(links)})" if links else ""

    def parse(self, text: str) -> list[nodes.Node]:
        """One paragraph, with the markup of the page's own language."""
        box = nodes.Element()
        lines = StringList([" ".join(text.split())], self.env.doc2path(self.env.docname))
        self.state.nested_parse(lines, self.content_offset, box)
        return list(box.children) or [nodes.paragraph()]


class Sketches(SphinxDirective):
    """``{sketches}``: small pictures side by side, a name of ``book.sketches`` in each line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        box = nodes.container(classes=["sketches"])
        for name in self.content:
            if name not in sketches.SKETCHES:
                warn(f"there is no sketch {name!r}", self.get_location())
                continue
            figure = f"<figure>{sketches.svg(name)}</figure>"
            box += nodes.raw("", figure, format="html", sketch=name)
        return [box]


def write_pdf(app: Sphinx, exception: Exception | None) -> None:
    """Put each sheet beside its page once the HTML is written."""
    if exception or app.builder.format != "html":
        return
    for docname, (rows, back) in getattr(app.env, "cheat_sheets", {}).items():
        path = Path(app.outdir, f"{docname}.pdf")
        path.parent.mkdir(parents=True, exist_ok=True)
        address = f"{app.config.html_baseurl}{docname}.html"
        page = app.env.get_and_resolve_doctree(docname, app.builder) if back else None
        side = blocks(page, back, address) if page else []
        path.write_bytes(sheet.draw(rows, app.config.project, address, side))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and the PDF with Sphinx."""
    app.setup_extension("book.ledger")
    app.add_directive("cheat-sheet", CheatSheet)
    app.add_directive("sketches", Sketches)
    app.connect("build-finished", write_pdf)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
