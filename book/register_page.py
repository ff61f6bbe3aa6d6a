"""The Sphinx side of the register: ``{claims-register}`` draws it, and the build checks it.

``{claims-register}`` takes ``:status:``, one of ``stands``, ``undecided``, ``withdrawn`` and
``merged``; without it, it shows all rows. Whatever is wrong with the register becomes a warning,
which ``make book`` turns into an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book import register
from book.ledger import badges, cell, claim_link, measurements, reference, table, warn
from book.records import Found, format_value, unit

PAGE = "chapters/reference/register"


def check(app: Sphinx, env: Any, added: set, changed: set, removed: set) -> list[str]:
    """Hold the register against the records of all notebooks."""
    source = Path(app.srcdir)
    if not (source / register.PATH).is_file():
        return []  # a book without a register; the directive says so if one is asked for
    try:
        rows = register.read(source)
    except ValueError as error:
        warn(str(error), PAGE)
        return []
    sentences = {name: record["sentence"] for name, record in register.on_pages(source).items()}
    for message in register.problems(rows, sentences):
        warn(message, PAGE)
    return []


class ClaimsRegister(SphinxDirective):
    """``{claims-register}``: each claim, what became of it, and what the first edition said."""

    option_spec = {  # noqa: RUF012
        "status": lambda text: directives.choice(text, register.STATUSES),
    }

    def run(self) -> list[nodes.Node]:
        source = Path(self.env.srcdir)
        self.env.note_dependency(str(source / register.PATH))
        try:
            rows = register.rows(register.read(source), self.options.get("status"))
        except ValueError:
            rows = []  # the check has said what is wrong
        if not rows:
            return [nodes.paragraph(text="There is no such claim.")]
        count = nodes.paragraph(text=f"{len(rows)} claim{'s' * (len(rows) > 1)}.")
        head = ["Claim", "Today", "In the first edition"]
        return [count, table(head, [self.row(entry) for entry in rows], "ledger-full")]

    def row(self, entry: register.Entry) -> list[list[nodes.Node]]:
        measured = measurements(self.env, entry.id)
        sentence = nodes.Text(entry.sentence)
        claim = [
            cell(reference(self.env, measured[0], sentence) if measured else sentence),
            cell(nodes.literal(text=entry.id, classes=["claim-id"])),
        ]
        return [claim, self.today(entry, measured), self.first_edition(entry)]

    def today(self, entry: register.Entry, measured: list[Found]) -> list[nodes.Node]:
        """What became of the claim, and why."""
        if entry.status == register.STANDS:
            return [cell(*badges(measured))]
        said = [cell(nodes.strong(text=entry.status), nodes.Text(f" {entry.left}"))]
        if entry.into:
            said.append(cell(nodes.Text("into "), self.claim(entry.into)))
        return [*said, cell(*self.prose(entry.reason))]

    def prose(self, text: str) -> list[nodes.Node]:
        """Text in which `backquotes` name a claim."""
        parts = text.split("`")
        return [
            self.claim(part) if place % 2 else nodes.Text(part)
            for place, part in enumerate(parts)
            if part
        ]

    def claim(self, name: str) -> nodes.Node:
        """A link to a claim that is on a page, else its id."""
        return claim_link(self.env, name) or nodes.literal(text=name, classes=["claim-id"])

    def first_edition(self, entry: register.Entry) -> list[nodes.Node]:
        """Verdict, effect and interval as they stood, and what stood before that."""
        if not entry.first_edition:
            return [cell(nodes.Text("no verdict"))]
        effect, low, high = (
            format_value(entry.metric, float(value))
            for value in (entry.effect, entry.low, entry.high)
        )
        margin = format_value(entry.metric, float(entry.margin), "")
        numbers = (
            f"{effect} [{low}, {high}] {unit(entry.metric)}, {entry.num_seeds} seeds; "
            f"mattered from {margin} on"
        )
        said = [cell(nodes.Text(entry.first_edition)), cell(nodes.Text(numbers), css="small")]
        if entry.earlier:
            said += [
                cell(nodes.Text(f"Before: {part}"), css="small")
                for part in entry.earlier.split(" | ")
            ]
        return said


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of the above with Sphinx."""
    app.connect("env-get-outdated", check)
    app.add_directive("claims-register", ClaimsRegister)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
