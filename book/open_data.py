"""The ledger as files to take away, beside its page.

``claims.csv`` has the columns that the page *The ledger of claims* explains; ``claims.json`` has
the whole records, and ``claims.schema.json`` says what each field is and may be: the page's
table of fields, ``{claims-fields}``, is made from it. ``claims.bib`` cites each claim.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book import cite
from book.records import Found, stable_anchor
from book.tags import tag

FOLDER = "chapters/reference"
SCHEMA = Path(__file__).with_name("claims.schema.json")
#: The columns of the table: those of a record, and what says where it stands.
COLUMNS = (
    "id",
    "part",
    "page",
    "sentence",
    "kind",
    "headline",
    "data",
    "at",
    "scale",
    "metric",
    "direction",
    "arm",
    "over",
    "effect",
    "low",
    "high",
    "margin",
    "verdict",
    "num_seeds",
    "source",
    "place",
    "recorded",
    "amended",
    "address",
    "lasting",
)


def rows(claims: Iterable[Found], base: str) -> list[dict[str, Any]]:
    """A row for each measurement, with the columns above; ``base`` is the book's address."""
    made = []
    for found in claims:
        more = {
            "part": found.part,
            "page": found.page,
            "arm": found.arms[0],
            "over": found.arms[1],
            "low": found.interval[0],
            "high": found.interval[1],
            "recorded": found.recorded["date"] if found.recorded else "",
            "address": f"{base}{found.docname}.html#{found.anchor}",
            "lasting": f"{base}{found.docname}.html#{stable_anchor(found.id)}",
        }
        made.append({name: {**found.record, **more}[name] for name in COLUMNS})
    return made


def as_csv(claims: Iterable[Found], base: str) -> str:
    """The table, in UTF-8, with commas."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(claims, base))
    return text.getvalue()


def as_json(claims: Iterable[Found], base: str) -> str:
    """The whole records: what the table has, the conditions, and every paired difference."""
    claims = list(claims)
    both = zip(claims, rows(claims, base), strict=True)
    whole = [
        {**found.record, "address": row["address"], "lasting": row["lasting"]}
        for found, row in both
    ]
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")) + "\n"


def schema(base: str = "") -> dict[str, Any]:
    """What a file with whole records must look like; with ``base``, also where it will stand."""
    found = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return {**found, "$id": f"{base}{FOLDER}/{SCHEMA.name}"} if base else found


def fields() -> dict[str, dict[str, Any]]:
    """The fields of a whole record, and what the schema says about each."""
    return schema()["$defs"]["measurement"]["properties"]


def kind(field: dict[str, Any]) -> str:
    """What a field holds, in a word or its few values."""
    if "enum" in field:
        return ", ".join(field["enum"])
    if "oneOf" in field:
        return " or ".join(kind(one) for one in field["oneOf"])
    if field.get("type") == "array":
        return f"list of {kind(field['items'])}s"
    return {"boolean": "true or false", "integer": "whole number"}.get(
        name := field.get("type", "text"), name.replace("string", "text")
    )


class Fields(SphinxDirective):
    """``{claims-fields}``: a table of the fields of ``claims.json``."""

    def run(self) -> list[nodes.Node]:
        heads = [
            tag("th", nodes.Text(name), scope="col") for name in ("field", "holds", "what it is")
        ]
        rows = [
            tag(
                "tr",
                tag("th", nodes.literal(text=name), scope="row"),
                tag("td", nodes.Text(kind(field))),
                tag("td", nodes.Text(field["description"])),
            )
            for name, field in fields().items()
        ]
        caption = tag("caption", nodes.Text("The fields of claims.json"))
        head, body = tag("thead", tag("tr", *heads)), tag("tbody", *rows)
        return [tag("table", caption, head, body, css="table fields")]


def write(app: Sphinx, exception: Exception | None) -> None:
    """Called by Sphinx when all pages are written."""
    folder = Path(app.outdir, FOLDER)
    if exception is not None or app.builder.name != "html" or not folder.is_dir():
        return
    claims, base = app.env.claims.values(), app.config.html_baseurl
    texts = {
        "csv": as_csv(claims, base),
        "json": as_json(claims, base),
        "schema.json": json.dumps(schema(base), indent=1) + "\n",
        "bib": cite.as_bib(claims, base),
    }
    for name, text in texts.items():
        (folder / f"claims.{name}").write_text(text, encoding="utf-8", newline="\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.setup_extension("book.tags")
    app.add_directive("claims-fields", Fields)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
