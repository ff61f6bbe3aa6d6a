"""The ledger as files to take away: ``claims.json`` and ``claims.csv``, beside its page.

The page *The ledger of claims* documents both; whoever changes a field here changes it there.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from book.records import Found

FOLDER = "chapters/reference"
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
    whole = [{**found.record, "address": row["address"]} for found, row in both]
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")) + "\n"


def write(app: Sphinx, exception: Exception | None) -> None:
    """Called by Sphinx when all pages are written."""
    folder = Path(app.outdir, FOLDER)
    if exception is not None or app.builder.name != "html" or not folder.is_dir():
        return
    claims, base = app.env.claims.values(), app.config.html_baseurl
    for name, text in (("csv", as_csv(claims, base)), ("json", as_json(claims, base))):
        (folder / f"claims.{name}").write_text(text, encoding="utf-8", newline="\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
