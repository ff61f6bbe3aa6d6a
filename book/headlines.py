"""The headline claims: a strip of them on each page that has some, and a table of them all.

=====================  =========================================================================
``{verdict-table}``    part; a row for each headline claim, a column for each kind of data used.
                       Without a part: all parts, folded up, below a line that counts the verdicts
``{contradicted}``     the headline claims that came out the opposite and never held
under *In one minute*  the page's headline claims, and the verdict of each of their measurements
=====================  =========================================================================

All are made from the records at every build. The strip is put in while a page is read, so that
the notebooks, which are read elsewhere as well, need nothing for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from book.ledger import badge, cell, is_part, reference, warn
from book.measured import headlines, places
from book.records import Found
from book.tags import Tag, tag
from tricks_lib import law

HEADING = "In one minute"
MOST = 6  # headline claims on a page, by the law of evidence
FEW = 3  # measurements that a cell of the table, or a line of a strip, shows one by one
#: What the columns are called, from small to large.
COLUMNS = ("Made data", "Small real data", "MNIST", "CIFAR-10", "Text, ImageNet")


def column(found: Found) -> str:
    """The column of a measurement, by its data and by what else it names.

    Text stands with what was pretrained on ImageNet: networks that others use.
    """
    made, small, mnist, cifar, others = COLUMNS
    if found.scale == "made":
        return made
    data = found.data.lower()
    if data.startswith(("shakespeare", "text")) or "imagenet" in found.at.lower():
        return others
    if "mnist" in data:
        return mnist
    return cifar if "cifar" in data else small


def number(count: int, thing: str) -> str:
    """``1 claim``, ``2 claims``."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def part_name(part: str) -> str:
    """A part as people write it: ``Data processing``."""
    return part.replace("_", " ").capitalize()


def verdict(found: Found, place: str) -> list[nodes.Node]:
    """The verdict of one measurement, and on what it was measured."""
    return [badge(found), nodes.Text(" "), nodes.inline("", f"({place})", classes=["measured-on"])]


# --- the strip of a page ------------------------------------------------------------------------


class Strip(SphinxTransform):
    """Put the headline claims of a page below its heading *In one minute*."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        page = self.env.docname
        claims = headlines(one for one in self.env.claims.values() if one.docname == page)
        if not claims:
            return
        if len(claims) > MOST:
            warn(f"the page has {len(claims)} headline claims; {MOST} are the most", page)
        for title in self.document.findall(nodes.title):
            if title.astext() == HEADING:
                title.parent.insert(title.parent.index(title) + 1, strip(self.env, claims[:MOST]))
                return
        warn(f"the page has headline claims, but no heading {HEADING!r} to show them under", page)


def strip(env: Any, claims: Sequence[Sequence[Found]]) -> Tag:
    """Each claim as a link to its card, and behind it the verdict of each measurement.

    Many measurements are folded up, so that what to do stands on the first screen too.
    """
    rows = []
    for group in claims:
        came_out: list[nodes.Node] = [
            nodes.inline("", "", *verdict(one, place), nodes.Text(" "))
            for one, place in zip(group, places(group), strict=True)
        ]
        if len(group) > FEW:
            came_out = [folded_up(group, linked(env, group))]
        rows.append(line(env, group, came_out))
    return listing(rows, "Headline claims")


def linked(env: Any, measured: Sequence[Found]) -> list[nodes.paragraph]:
    """A line for each measurement, as a link to its card."""
    return [
        cell(reference(env, one, *verdict(one, place)))
        for one, place in zip(measured, places(measured), strict=True)
    ]


def folded_up(measured: Sequence[Found], lines: Sequence[nodes.Node]) -> Tag:
    """How often each verdict came out; a click opens a line for each measurement."""
    return tag("details", tag("summary", *tally([measured])), *lines, css="verdicts-here")


def line(env: Any, measured: Sequence[Found], came_out: Sequence[nodes.Node]) -> Tag:
    """A claim as a link to its card, and what came out."""
    link = reference(env, measured[0], nodes.Text(measured[0].sentence), lasting=True)
    verdicts = tag("div", *came_out, css="verdicts")
    return tag("li", link, nodes.Text(" "), verdicts)


def listing(rows: Sequence[Tag], label: str) -> Tag:
    """The lines of a strip."""
    # A list without bullets is no list to some screen readers unless its role says so.
    return tag("ul", *rows, css="headline-strip", role="list", **{"aria-label": label})


class Contradicted(SphinxDirective):
    """``{contradicted}``: the headline claims that came out the opposite and never held."""

    def run(self) -> list[nodes.Node]:
        claims = [
            group
            for group in headlines(self.env.claims.values())
            if law.OPPOSITE in (came_out := {one.verdict for one in group})
            and law.HOLDS not in came_out
        ]
        if not claims:
            warn("no headline claim came out the opposite without holding", self.get_location())
            return []
        rows = [line(self.env, group, tally([group])) for group in claims]
        return [listing(rows, "Headline claims that came out the opposite")]


# --- the table ----------------------------------------------------------------------------------


class VerdictTable(SphinxDirective):
    """``{verdict-table}``: what is claimed, and what came out on each kind of data."""

    option_spec = {"part": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        part = self.options.get("part")
        if part is not None and not is_part(self.env, part):
            warn(f"verdict-table knows no part {part!r}", self.get_location())
            return []
        found = self.env.claims.values()
        claims = headlines(one for one in found if part in (None, one.part))
        if not claims:
            return [nodes.paragraph(text="Nothing has been measured here yet.")]
        if part is not None:
            title = "The headline claims of this part. Each verdict leads to its numbers."
            return [verdict_table(self.env, claims, title)]
        parts = [list(group) for _, group in groupby(claims, key=lambda group: group[0].part)]
        # One part stands open, to show what is in them: the first that has something to compare.
        shown = next((part for part in parts if len(part) > 1), parts[0])
        return [
            nodes.paragraph("", f"{sizes(claims)}: ", *tally(claims), classes=["verdict-sums"]),
            *[folded(self.env, group, is_open=group is shown) for group in parts],
        ]


def folded(env: Any, claims: Sequence[Sequence[Found]], *, is_open: bool) -> Tag:
    """The table of a part, which a click on the part's name and its verdicts opens."""
    name = part_name(claims[0][0].part)
    summary = tag(
        "summary",
        nodes.strong(text=name),
        nodes.Text(f" {number(len(claims), 'claim')}: "),
        *tally(claims),
    )
    opened = {"open": "open"} if is_open else {}
    table = verdict_table(env, claims, f"{name}: the headline claims", "visually-hidden")
    return tag("details", summary, table, css="verdict-part", **opened)


def sizes(claims: Sequence[Sequence[Found]]) -> str:
    """How many claims there are, and how many measurements of them."""
    measured = number(sum(map(len, claims)), "measurement")
    return f"{number(len(claims), 'headline claim')}, {measured}"


def tally(claims: Sequence[Sequence[Found]]) -> list[nodes.Node]:
    """How often each verdict came out, for those that did."""
    found = [one for group in claims for one in group]
    made: list[nodes.Node] = []
    for name in law.VERDICTS:
        alike = [one for one in found if one.verdict == name]
        if alike:
            words = f"{name} {len(alike)}"
            made += [
                nodes.inline("", words, classes=["verdict", alike[0].css]),
                nodes.Text(" "),
            ]
    return made


def verdict_table(
    env: Any, claims: Sequence[Sequence[Found]], title: str, title_css: str = ""
) -> Tag:
    """A row for each claim, below the name of its page; a column for each kind of data.

    A kind of data on which none of the claims was measured has no column.
    """
    used = {column(one) for group in claims for one in group}
    columns = [name for name in COLUMNS if name in used]
    heads = [tag("th", nodes.Text(name), scope="col") for name in ("Claim", *columns)]
    bodies = [
        tag(
            "tbody",
            page_row(env, page, columns),
            *[claim_row(env, group, columns) for group in groups],
        )
        for page, groups in groupby(claims, key=lambda group: group[0].docname)
    ]
    return tag(
        "table",
        tag("caption", nodes.Text(title), css=title_css),
        tag("thead", tag("tr", *heads)),
        *bodies,
        css=f"verdict-table columns-{len(columns)}",
    )


def page_row(env: Any, page: str, columns: Sequence[str]) -> Tag:
    """A row with the title of a page, as a link to it; Sphinx fills in the title."""
    link = pending_xref(
        "",
        nodes.inline(),
        refdomain="std",
        reftype="doc",
        reftarget=f"/{page}",
        refdoc=env.docname,
        refexplicit=False,
        refwarn=True,
    )
    head = tag("th", link, scope="rowgroup", colspan=str(1 + len(columns)))
    return tag("tr", head, css="page-row")


def claim_row(env: Any, measured: Sequence[Found], columns: Sequence[str]) -> Tag:
    """The sentence, then what was measured on each kind of data.

    Of many measurements a cell shows how often each verdict came out; a click opens them all.
    """
    cells = []
    for name in columns:
        here = [one for one in measured if column(one) == name]
        lines = [
            each
            for one, each in zip(measured, linked(env, measured), strict=True)
            if column(one) == name
        ]
        if len(here) > FEW:
            lines = [folded_up(here, lines)]
        # On a phone the cells stand below one another; each says what it is, and none is empty.
        css = "" if lines else "not-measured"
        cells.append(tag("td", *(lines or not_measured()), css=css, **{"data-scale": name}))
    return tag("tr", tag("th", nodes.Text(measured[0].sentence), scope="row"), *cells)


def not_measured() -> list[nodes.Node]:
    """A dash, and the words for those who cannot see it."""
    return [
        tag("span", nodes.Text("\N{EN DASH}"), **{"aria-hidden": "true"}),
        nodes.inline("", "not measured", classes=["visually-hidden"]),
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of the above with Sphinx."""
    app.setup_extension("book.tags")
    app.add_directive("verdict-table", VerdictTable)
    app.add_directive("contradicted", Contradicted)
    app.add_transform(Strip)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
