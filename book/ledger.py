"""The Sphinx extension of the book: it puts the notebooks' claim records into the pages.

=====================================  ==========================================================
``{claims-ledger}``  part, kind        the full table: who says it, effect, interval, verdict
``{claims-plot}``    part, compact     a forest plot
``{margins}``                          the table of smallest effects that matter
``{claim}`id```                        a link to a claim's first card, with all of its verdicts
``{claim-count}`holds```               a number: claims, measurements, holds, undecided, pages ...
``{placebos}`p```                      one p-value for all placebos together
inline code with a claim's id          the same link, in notebooks as well
=====================================  ==========================================================

A claim stands once, however often it is measured; each measurement has a verdict of its own.
Numbers about claims are never typed: they come from the records at every build, and whatever
does not fit together becomes a warning, which ``make book`` turns into an error.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from book import cite, forest, prose
from book.measured import COUNTS, by_claim, counts, labels, named, placebos_together
from book.records import ID, Found, collect, format_value, stable_anchor, unit
from book.tags import tag
from tricks_lib import law

logger = logging.getLogger(__name__)

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
LOCAL_BADGE = Path(__file__).parent / "vendor" / "colab-badge.svg"
TAKEAWAYS = "Takeaways"
MOST_MARKS = 6  # of a claim in prose; of more measurements the marks are counted
#: The signs of the verdicts, here as in the style of the labels and in the forest plot.
MARKS = {
    law.HOLDS: "\N{BLACK CIRCLE}",
    law.OPPOSITE: "\N{BLACK DIAMOND}",
    law.TOO_SMALL: "\N{WHITE CIRCLE}",
    law.UNDECIDED: "\N{WHITE DIAMOND}",
}
MARGINS_ID = "margins"  # where a page's table of margins stands


# --- reading ----------------------------------------------------------------------------------


def read_records(app: Sphinx, env: Any, added: set, changed: set, removed: set) -> list[str]:
    """Collect all records before any page is read; read every page again when one changed."""
    source = Path(app.srcdir)
    order = list(getattr(app.config, "external_site_map", ()))
    in_book = sorted(env.found_docs, key=lambda name: order.index(name) if name in order else -1)
    notebooks = {
        name: path for name in in_book if (path := Path(env.doc2path(name))).suffix == ".ipynb"
    }
    keys = env.get_domain("cite").bibdata.data.entries
    env.claims, problems = collect(notebooks, keys)
    env.claim_pages = {path.stem: name for name, path in notebooks.items()}
    pages = {name: Path(env.doc2path(name)) for name in in_book}
    problems += prose.problems(pages, verdicts(env))
    for problem in problems:
        warn(problem.message, problem.docname)
    for path in sorted(source.glob("chapters/**/*.ipynb")):
        hidden = {part for part in path.relative_to(source).parts if part[0] in "._"}
        if not hidden and path not in notebooks.values():
            warn(f"{path.relative_to(source).as_posix()} is not in the table of contents")
    everything = [[found.docname, dict(found.record)] for found in env.claims.values()]
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
    if digest == getattr(env, "claims_digest", None):
        return []
    env.claims_digest = digest
    return sorted(env.found_docs - added)


def warn(message: str, location: Any = None) -> None:
    """A warning of this extension; ``make book`` fails on it."""
    logger.warning(message, location=location, type="ledger")


def measurements(env: Any, name: str) -> list[Found]:
    """All measurements of the claim with this id, in the order of the book; empty for none."""
    return [found for found in env.claims.values() if found.id == name]


def verdicts(env: Any) -> dict[str, set[str]]:
    """The verdicts of each claim, by its id."""
    return {
        group[0].id: {found.verdict for found in group} for group in by_claim(env.claims.values())
    }


# --- small pieces of a page -------------------------------------------------------------------


def badge(found: Found) -> nodes.inline:
    """The verdict as a small coloured label; the word itself is the message."""
    return nodes.inline(found.verdict, found.verdict, classes=["verdict", found.css])


def badges(measured: Sequence[Found]) -> list[nodes.Node]:
    """The verdict of each measurement, and behind it which one it is if there are several."""
    made: list[nodes.Node] = []
    for found, label in zip(measured, labels(measured), strict=True):
        made += [nodes.Text(" \N{MIDDLE DOT} "), badge(found)] if made else [badge(found)]
        made += [nodes.inline("", f" ({label})", classes=["measured-on"])] if label else []
    return made


def is_part(env: Any, name: str) -> bool:
    """Whether the book has a part of this name, a folder of ``chapters/``."""
    return Path(env.srcdir, "chapters", name).is_dir()


def reference(
    env: Any, found: Found, *children: nodes.Node, lasting: bool = False, css: str = "claim-ref"
) -> nodes.reference:
    """A link around ``children``: to the card of a measurement, or to its claim's own address."""
    page = env.app.builder.get_relative_uri(env.docname, found.docname)
    place = stable_anchor(found.id) if lasting else found.anchor
    return nodes.reference(
        "", "", *children, refuri=f"{page}#{place}", internal=True, classes=css.split()
    )


def citation(directive: SphinxDirective, key: str) -> list[nodes.Node]:
    """A citation as ``{cite:t}`key``` makes it; an unknown key was reported when reading."""
    domain = directive.env.get_domain("cite")
    if key not in domain.bibdata.data.entries:
        return [nodes.Text(key)]
    role = domain.roles["t"]
    inliner = getattr(directive.state, "inliner", None)
    text = f":cite:t:`{key}`"
    made, _ = role("cite:t", text, key, directive.lineno, inliner, {}, [])
    return made


def table(head: list[str], rows: list[list[Any]], css: str) -> nodes.table:
    """A table of ready-made cells, each a list of paragraphs or an entry of its own."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    top, body = nodes.thead(), nodes.tbody()
    top += nodes.row("", *[nodes.entry("", nodes.paragraph(text=text)) for text in head])
    for cells in rows:
        body += nodes.row(
            "",
            *[made if isinstance(made, nodes.entry) else nodes.entry("", *made) for made in cells],
        )
    group += [top, body]
    return nodes.table("", group, classes=["ledger", css])


def cell(*children: nodes.Node, css: str = "") -> nodes.paragraph:
    """One paragraph for a table cell."""
    return nodes.paragraph("", "", *children, classes=[css] if css else [])


# --- directives -------------------------------------------------------------------------------


class ClaimsDirective(SphinxDirective):
    """What all directives share: which claims to show."""

    option_spec = {  # noqa: RUF012
        "part": directives.unchanged,
        "kind": lambda text: directives.choice(text, ("claim", "check", "all")),
        "compact": directives.flag,
    }

    def chosen(self) -> list[Found]:
        """The claims of ``:part:`` and ``:kind:``, in the order of the book."""
        part, kind = self.options.get("part"), self.options.get("kind", "claim")
        return [
            found
            for found in self.env.claims.values()
            if part in (None, found.part)
            and (kind == "all" or (found.kind == "claim") == (kind == "claim"))
        ]

    def run(self) -> list[nodes.Node]:
        claims = self.chosen()
        if not claims:
            return [nodes.paragraph(text="Nothing has been measured here yet.")]
        return self.show(claims)

    def show(self, claims: list[Found]) -> list[nodes.Node]:
        raise NotImplementedError


class Ledger(ClaimsDirective):
    """``{claims-ledger}``: a claim once, and beside it a row for each of its measurements."""

    def show(self, claims: list[Found]) -> list[nodes.Node]:
        head = [
            "Claim",
            "Verdict",
            f"Effect and {100 * law.CONFIDENCE:.0f} % interval",
            "Measured",
            "Who says so",
        ]
        rows = [row for measured in by_claim(claims) for row in self.rows(measured)]
        return [table(head, rows, "ledger-full")]

    def rows(self, measured: list[Found]) -> list[list[Any]]:
        """The rows of one claim; its sentence and its source reach down over all of them."""
        more: dict[str, Any] = {"morerows": len(measured) - 1} if len(measured) > 1 else {}
        first, *others = [self.measurement(found) for found in measured]
        sentence = nodes.entry("", *self.sentence(measured), classes=["claim-cell"], **more)
        source = nodes.entry("", cell(*self.who(measured[0])), **more)
        return [[sentence, *first, source], *others]

    def sentence(self, measured: list[Found]) -> list[nodes.Node]:
        """What is claimed, and what was changed about it after a look at results."""
        found = measured[0]
        kind = "" if found.kind == "claim" else f"{found.kind.capitalize()}: "
        headline = [nodes.inline("", " headline", classes=["headline"])] if found.headline else []
        amended = dict.fromkeys(one.amended for one in measured if one.amended)
        return [
            cell(
                nodes.Text(kind),
                reference(self.env, found, nodes.Text(found.sentence), lasting=True),
            ),
            cell(nodes.literal(text=found.id, classes=["claim-id"]), *headline),
            *[cell(nodes.Text(f"Amended after a look: {text}"), css="small") for text in amended],
        ]

    def measurement(self, found: Found) -> list[Any]:
        """Three cells: the verdict, the numbers, and on what they were measured."""
        low, high = (format_value(found.metric, value) for value in found.interval)
        effect = format_value(found.metric, found.effect)
        margin = format_value(found.metric, found.margin, "")
        gain = f"gain of {found.of}, " if found.of else ""
        arms = f"{gain}{' minus '.join(found.arms)}; matters from {margin} on"
        return [
            [cell(reference(self.env, found, badge(found)))],
            nodes.entry(
                "",
                cell(nodes.raw("", forest.in_a_row(found, to_sort=True), format="html")),
                cell(
                    nodes.strong(text=effect), nodes.Text(f" [{low}, {high}] {unit(found.metric)}")
                ),
                cell(nodes.Text(arms), css="small"),
                classes=["effect-cell"],
            ),
            nodes.entry(
                "",
                cell(nodes.Text(", ".join(filter(None, [named(found.data), found.at])))),
                *[cell(nodes.Text(line), css="small") for line in self.how(found)],
                classes=["measured-cell"],
            ),
        ]

    def how(self, found: Found) -> list[str]:
        """At which scale, live or recorded, with how many seeds, and how many runs diverged."""
        kept = "recorded" if found.recorded else "live"
        lines = [f"{found.scale} data, {kept}, {found.num_seeds} seeds"]
        if found.recorded:
            lines.append(", ".join(str(found.recorded[name]) for name in ("device", "date")))
        if any(found.diverged):
            parts = [
                f"{number} with {arm}"
                for number, arm in zip(found.diverged, found.arms, strict=True)
                if number
            ]
            lines.append(f"diverged: {', '.join(parts)}")
        return lines

    def who(self, found: Found) -> list[nodes.Node]:
        """Who teaches it, and where; and who tested it."""
        who = citation(self, found.source)
        if found.place:
            who += [nodes.Text(f", {found.place}")]
        if found.kind != "claim":  # nobody teaches a placebo
            who = [nodes.Text("our own check; compare "), *who]
        for number, key in enumerate(found.tested_by):
            who += [nodes.Text("; tested by " if number == 0 else ", "), *citation(self, key)]
        return who


class Margins(SphinxDirective):
    """``{margins}``: the smallest effects that matter, in the order in which they are looked up."""

    def run(self) -> list[nodes.Node]:
        rows = [
            [
                [cell(nodes.literal(text=row.metric))],
                [cell(nodes.literal(text=row.data))],
                [cell(nodes.Text(margin_text(row)))],
                [cell(nodes.Text(row.reason))],
            ]
            for row in law.MARGINS
        ]
        made = table(["Metric", "Data", "Smallest effect", "Why"], rows, "margins")
        made["ids"].append(MARGINS_ID)
        self.env.margins_page = self.env.docname
        return [made]


def margin_text(row: law.Margin) -> str:
    """A margin in its unit: points for accuracies, plain numbers for all others."""
    accuracy = "accuracy" in row.metric
    text = format_value("accuracy" if accuracy else row.metric, row.value, "")
    return f"{text} points" if accuracy else text


class ClaimsPlot(ClaimsDirective):
    """``{claims-plot}``: a forest plot, drawn twice: for a wide page and for a phone."""

    def show(self, claims: list[Found]) -> list[nodes.Node]:
        compact = "compact" in self.options
        folder = Path(self.env.app.doctreedir) / "ledger"
        folder.mkdir(parents=True, exist_ok=True)
        name = "-".join(
            ["claims", self.options.get("part", "all"), self.options.get("kind", "claim")]
            + ["compact"] * compact
        )
        images = []
        for narrow in (False, True):
            path = folder / f"{name}-{'narrow' if narrow else 'wide'}.svg"
            forest.draw(claims, path, narrow=narrow, compact=compact)
            uri = "/" + Path(os.path.relpath(path, self.env.srcdir)).as_posix()
            css = ["forest", "forest-narrow" if narrow else "forest-wide"]
            images.append(nodes.image(uri=uri, alt=forest.alt_text(claims), classes=css))
        return images


# --- roles and inline code --------------------------------------------------------------------


def claim_link(env: Any, name: str, *, named: bool = True) -> nodes.Node | None:
    """A link to the claim ``name`` with a mark for each verdict; None when no record has that id.

    The marks are short, because prose has many of them: their words are hidden, and the card of the
    link says all. A claim that the sentence names keeps its name, on its own page without the page.
    """
    measured = measurements(env, name)
    if not measured:
        return None
    here = env.docname == measured[0].docname
    came_out = ", ".join(
        f"{found.verdict} ({label})" if label else found.verdict
        for found, label in zip(measured, labels(measured), strict=True)
    )
    shown = [nodes.literal(text=name.partition(".")[2] if here else name), nodes.Text(" ")]
    hidden = nodes.inline(
        "", came_out if named else f"{name}: {came_out}", classes=["visually-hidden"]
    )
    marks = tag("span", *symbols(measured), css="marks", **{"aria-hidden": "true"})
    link = reference(env, measured[0], *(shown if named else []), marks, hidden, lasting=True)
    link["classes"].append("claim-mark")
    link["reftitle"] = measured[0].sentence  # shown when a pointer rests on it
    return link


def symbols(measured: Sequence[Found]) -> list[nodes.Node]:
    """The sign of each verdict; of many measurements each sign once, and how often."""
    signs = [(MARKS[one.verdict], one.css) for one in measured]
    if len(signs) > MOST_MARKS:
        count = Counter(signs)
        signs = [(f"{sign}{count[sign, css]} ", css) for sign, css in sorted(count, key=count.get)]
        signs.reverse()
    return [tag("span", nodes.Text(text), css=css) for text, css in signs]


class ClaimRole(SphinxRole):
    """``{claim}`augmentation.few_images```."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        link = claim_link(self.env, self.text)
        if link is None:
            warn(f"no record has the claim id {self.text!r}", self.get_location())
            return [nodes.literal(text=self.text)], []
        return [link], []


class CountRole(SphinxRole):
    """``{claim-count}`holds data_processing```: how many, in the book or in a part of it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        what, _, part = self.text.partition(" ")
        if what not in COUNTS or (part and not is_part(self.env, part)):
            warn(
                f"claim-count knows {', '.join(COUNTS)}, and the parts; not {self.text!r}",
                self.get_location(),
            )
            return [nodes.Text("?")], []
        here = [found for found in self.env.claims.values() if part in ("", found.part)]
        return [nodes.Text(str(counts(here)[what]))], []


class PlacebosRole(SphinxRole):
    """``{placebos}`p```: one p-value for all placebos of the book together."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [nodes.Text(f"{placebos_together(self.env.claims.values()):.2g}")], []


class Prose(SphinxTransform):
    """Turn claim ids in inline code into links, and keep pages free of the network."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        strict = not self.env.docname.startswith("chapters/reference/api/")
        for literal in list(self.document.findall(nodes.literal)):
            name = literal.astext()
            inside_link = isinstance(literal.parent, nodes.reference | pending_xref)
            if inside_link or "claim-id" in literal["classes"] or not ID.fullmatch(name):
                continue
            page, _, slug = name.partition(".")
            link = claim_link(self.env, name, named=not aside(literal))
            if link is not None:
                literal.replace_self(link)
            elif strict and page in self.env.claim_pages and slug not in ("ipynb", "py", "md"):
                warn(f"the text names the claim {name!r}, but no record has that id", literal)
        for title in self.document.findall(nodes.title):
            if title.astext() == TAKEAWAYS and has_marks(title.parent):
                title.parent.insert(title.parent.index(title) + 1, legend())
        for image in self.document.findall(nodes.image):
            if image["uri"] == BADGE:
                image["uri"] = "/" + Path(os.path.relpath(LOCAL_BADGE, self.env.srcdir)).as_posix()
            elif "://" in image["uri"]:
                warn(f"the image {image['uri']} would be loaded from the network", image)


def aside(literal: nodes.literal) -> bool:
    """Whether a claim's id only points: in brackets, after a colon, or behind one that does.

    A sentence such as "The placebo `page.slug` is ..." needs the name; "(`page.slug`)" does not.
    """
    before, pointed = "", False
    for node in literal.parent.children:
        if node is literal:
            break
        if "claim-mark" in node.get("classes", ()) if isinstance(node, nodes.Element) else False:
            pointed = not any(isinstance(part, nodes.literal) for part in node.children)
            before += "*"
        else:
            before += node.astext()
    if before.count("(") > before.count(")") or before.rstrip().endswith(":"):
        return True
    return pointed and bool(re.search(r"\*(,| and|, and)\s+$", before))


def has_marks(section: nodes.Element) -> bool:
    """Whether a section points to claims."""
    return any("claim-mark" in link["classes"] for link in section.findall(nodes.reference))


def legend() -> nodes.paragraph:
    """What the marks mean."""
    said: list[nodes.Node] = []
    for verdict, sign in MARKS.items():
        css = "claim-" + verdict.replace(" ", "-")
        said += [
            tag("span", nodes.Text(f"{sign} {verdict}"), css=css),
            nodes.Text(" \N{MIDDLE DOT} "),
        ]
    said[-1] = nodes.Text(". A mark for each measurement; it leads to its claim.")
    return nodes.paragraph("", "", *said, classes=["mark-legend"])


MINUS = re.compile(r"(?<=[ >])-(?=\d)")  # of a number, not within a word
TUNED = re.compile(
    r"inside each seed by (\w+), of \{(.*?)\}; "
    r"on the edge (\d+) times, tied (\d+) times, of (\d+)"
)


def in_words(conditions: str) -> str:
    """How an arm was tuned, as one would say it."""

    def said(tuning: re.Match[str]) -> str:
        by, grid, edge, tied, runs = tuning.groups()
        grid = re.sub(r"'(\w+)': \[(.*?)\]", r"\1 from \2", html.unescape(grid))
        by = by.replace("val_", "validation ").replace("_", " ")
        return (
            f"inside each seed by its {by}, over {html.escape(grid)}; of {runs} picks "
            f"{edge} lay on an end of the grid and {tied} were ties"
        )

    return TUNED.sub(said, conditions)


CARD = re.compile(
    r'(<div class="claim [^"]*" id="(claim-[^"]+)">'
    r'<p class="claim-verdict"><strong>[^<]*</strong>) '
    r"(<code>([^<]*)</code>)"
)
INTERVAL = re.compile(
    r'(id="(claim-[^"]+)">(?:(?!</svg>).)*?)<svg class="claim-interval.*?</svg>', re.DOTALL
)


def card_links(app: Sphinx, page: str, template: str, context: dict, doctree: Any) -> None:
    """Give each claim an address that lasts and its citation, and its cards a scale.

    A card's own address names data and conditions, so a claim that is measured anew gets another
    one. The claim's address, which people cite, stands before its first card.
    """
    if "body" not in context:
        return
    here = [one for one in app.env.claims.values() if one.docname == page]
    found = {one.anchor: one for one in here}
    seen: set[str] = set()

    def linked(card: re.Match[str]) -> str:
        head, address, name, claim = card.groups()
        place = ""
        if claim not in seen:
            seen.add(claim)
            address = stable_anchor(claim)
            place = f'<span class="claim-place" id="{address}"></span>'
        return f'{place}{head} <a class="claim-address" href="#{address}">{name}</a>'

    def scaled(card: re.Match[str]) -> str:
        one = found.get(card[2])
        return card[1] + forest.on_a_card(one) if one else card[0]

    body = cite.on_cards(context["body"], here, app.config.html_baseurl)
    context["body"] = CARD.sub(linked, INTERVAL.sub(scaled, body))


def names_on_cards(app: Sphinx, page: str, template: str, context: dict, doctree: Any) -> None:
    """Write data sets on the cards as they are written elsewhere; notebooks store them made."""
    if "body" in context:
        context["body"] = re.sub(
            r'<p class="claim-numbers">.*?</p>',
            lambda line: MINUS.sub("\N{MINUS SIGN}", named(line[0])),
            context["body"],
        )
        context["body"] = re.sub(
            r'<p class="claim-conditions">.*?</p>', lambda line: in_words(line[0]), context["body"]
        )


def script_of_the_ledger(
    app: Sphinx, page: str, template: str, context: dict, doctree: Any
) -> None:
    """Filters and orders, on the page that has the ledger."""
    if "claim-cell" in context.get("body", ""):
        app.add_js_file("ledger.js", loading_method="defer")


def link_margins(app: Sphinx, page: str, template: str, context: dict, doctree: Any) -> None:
    """Let the words about the margin in each card lead to the table of margins."""
    target = getattr(app.env, "margins_page", None)
    if target not in app.env.found_docs or "body" not in context:
        return
    words = "Smallest effect that matters"
    link = f'<a href="{context["pathto"](target)}#{MARGINS_ID}">{words}</a>'
    context["body"] = re.sub(
        rf'(<p class="claim-numbers">(?:(?!</p>).)*?){words}', rf"\1{link}", context["body"]
    )


def site_address(app: Sphinx, config: Any) -> None:
    """Where the book will stand, from the repository's name: GitHub Pages' own rule."""
    owner, _, name = urlparse(config.html_theme_options["repository_url"]).path[1:].partition("/")
    prefix = "/" if name.lower() == f"{owner.lower()}.github.io" else f"/{name}/"
    config.html_baseurl = config.ogp_site_url = f"https://{owner.lower()}.github.io{prefix}"
    config.notfound_urls_prefix = prefix


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of the above with Sphinx."""
    # These stand in modules of their own, and need all that is registered here.
    app.setup_extension("book.headlines")
    app.connect("config-inited", site_address, priority=100)
    app.connect("env-get-outdated", read_records)
    app.setup_extension("book.open_data")
    app.connect("html-page-context", link_margins)
    app.connect("html-page-context", card_links)
    app.connect("html-page-context", names_on_cards)
    app.connect("html-page-context", script_of_the_ledger)
    app.add_directive("claims-ledger", Ledger)
    app.add_directive("claims-plot", ClaimsPlot)
    app.add_directive("margins", Margins)
    app.add_role("claim", ClaimRole())
    app.add_role("claim-count", CountRole())
    app.add_role("placebos", PlacebosRole())
    app.add_transform(Prose)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
