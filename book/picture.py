"""``{part-picture}``: what a part has measured, as a picture at its head.

A row for each page, and in it a mark for each measurement, by how far its effect lies from zero
and on which side. It is drawn from the records at every build, in the colours of the theme.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from itertools import count, groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book.forest import along
from book.ledger import is_part, warn
from book.records import Found
from tricks_lib import law

WIDTH, SIDE, STEP = 440, 8, 10  # of a row, free at its ends, and from mark to mark
SCALE = (("opposite", "the opposite"), ("too-small", "too small to matter"), ("holds", "as taught"))


class PartPicture(SphinxDirective):
    """The measurements of the claims of ``:part:``."""

    option_spec = {"part": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        part = self.options.get("part")
        if not part or not is_part(self.env, part):
            warn(f"part-picture knows no part {part!r}", self.get_location())
            return []
        found = [one for one in self.env.claims.values() if one.part == part]
        claims = [one for one in found if one.kind == "claim"]
        titles = {one.docname: self.title(one.docname) for one in claims}
        return [nodes.raw("", picture(claims, titles), format="html")] if claims else []

    def title(self, docname: str) -> str:
        """The title of a notebook, which may not have been read yet."""
        path = self.env.doc2path(docname)
        self.env.note_dependency(str(path))
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
        texts = ("".join(one["source"]) for one in cells if one["cell_type"] == "markdown")
        found = re.search(r"^# +(.+)$", "\n".join(texts), re.MULTILINE)
        return found[1].strip() if found else ""


def picture(claims: Sequence[Found], titles: Mapping[str, str]) -> str:
    """The figure: rows, scale and caption.

    Args:
        claims: the measurements, those of a page together.
        titles: what each page is called, by its docname.
    """
    pages = [
        (titles[docname], list(group))
        for docname, group in groupby(claims, key=lambda one: one.docname)
    ]
    rows = "".join(f"<span>{html.escape(name)}</span>{swarm(group)}" for name, group in pages)
    scale = "".join(f'<span class="{css}">{words}</span>' for css, words in SCALE)
    return (
        f'<figure class="part-picture"><div role="img" aria-label="{html.escape(alt_text(pages))}">'
        f'{rows}<span></span><div class="scale">{scale}</div></div>'
        "<figcaption>Each mark is a measurement: how far its effect lies from zero, in multiples "
        "of the smallest that matters, and on which side.</figcaption></figure>\n"
    )


def alt_text(pages: Sequence[tuple[str, Sequence[Found]]]) -> str:
    """What is seen, in words: how often each verdict came out on each page."""
    told = []
    for name, group in pages:
        came_out = [one.verdict for one in group]
        counts = [f"{came_out.count(v)} {v}" for v in law.VERDICTS if v in came_out]
        told.append(f"{name}: {', '.join(counts)}")
    return (
        "A mark for each measurement of this part, in a row for its page, with the opposite of "
        f"what is taught to the left of zero. {'. '.join(told)}."
    )


def swarm(group: Sequence[Found]) -> str:
    """The marks of a page; those that would cover another move up or down."""
    placed: list[tuple[float, int, Found]] = []
    for one in sorted(group, key=lambda one: one.scaled[1]):
        x = round(WIDTH / 2 + (WIDTH / 2 - SIDE) * along(one.scaled[1]), 1)
        free = (
            level
            for far in count()
            for level in dict.fromkeys((far, -far))
            if all(level != other or abs(x - there) >= STEP for there, other, _ in placed)
        )
        placed.append((x, next(free), one))
    top = max(abs(level) for _, level, _ in placed)
    height = STEP * (2 * top + 1) + 6
    band = (WIDTH / 2 - SIDE) * along(1.0)
    marks = "".join(mark(one, x, height / 2 + STEP * level) for x, level, one in placed)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" focusable="false">'
        f'<rect x="{WIDTH / 2 - band:.1f}" width="{2 * band:.1f}" height="{height}" '
        f'class="matters-not"/><path d="M{WIDTH // 2} 0v{height}" class="zero"/>{marks}</svg>'
    )


def mark(found: Found, x: float, y: float) -> str:
    """A circle or a diamond, filled or hollow, as in the other plots."""
    filled = "filled" if found.verdict in (law.HOLDS, law.OPPOSITE) else "hollow"
    css = f'class="{found.css} {filled}"'
    if found.verdict in (law.HOLDS, law.TOO_SMALL):
        return f'<circle cx="{x:g}" cy="{y:g}" r="4" {css}/>'
    return f'<path d="M{x:g} {y - 5:g}l5 5l-5 5l-5 -5z" {css}/>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("part-picture", PartPicture)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
