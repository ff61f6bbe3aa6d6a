"""Every table of the book says what it is, and which of its cells are heads, to screen readers.

- A table without a caption gets one that is only heard: the heading above it, and a number from the
  second table below it on.
- Heads of columns and of rows have their scope. The empty head that pandas leaves in the corner
  becomes a plain cell.

Works on the text of a page, because notebooks store their tables made.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from typing import Any

from sphinx.application import Sphinx

PIECE = re.compile(
    r"<h[1-6]\b[^>]*>(?P<heading>.*?)</h[1-6]>"
    r"|(?P<table><table\b[^>]*>)(?P<caption>\s*<caption\b)?"
    r"|(?P<part></?thead\b[^>]*>|</table>)"
    r"|<th\b(?P<how>[^>]*)>(?P<empty>\s*(?:<p>\s*</p>\s*)?</th>)?",
    re.DOTALL,
)
PERMALINK = re.compile(r'<a class="headerlink".*?</a>', re.DOTALL)


def words(heading: str) -> str:
    """The words of a heading."""
    plain = html.unescape(re.sub(r"<[^>]+>", "", PERMALINK.sub("", heading)))
    return html.escape(" ".join(plain.split()), quote=False)


def told(body: str) -> str:
    """The text of a page, with captions and scopes."""
    heading, in_head = "Table", False
    count: Counter[str] = Counter()

    def mended(found: re.Match[str]) -> str:
        nonlocal heading, in_head
        if found["heading"] is not None:
            heading = words(found["heading"]) or heading
        elif found["part"]:
            in_head = found["part"].startswith("<thead")
        elif found["table"]:
            if not found["caption"]:
                count[heading] += 1
                text = heading if count[heading] == 1 else f"{heading}, table {count[heading]}"
                return f'{found["table"]}<caption class="visually-hidden">{text}</caption>'
        elif found["empty"] is not None:
            return f"<td{found['how']}></td>"
        elif "scope=" not in found["how"]:
            return f'<th{found["how"]} scope="{"col" if in_head else "row"}">'
        return found[0]

    return PIECE.sub(mended, body)


def on_the_page(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Called by Sphinx for every page that it is about to write."""
    if "body" in context:
        context["body"] = told(context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("html-page-context", on_the_page, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
