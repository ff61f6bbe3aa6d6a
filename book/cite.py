"""*Cite this claim*: on each claim's first card a BibTeX entry of its own, and all in one file.

An entry has the claim's sentence, its lasting address, the version of the book and what came out,
because a verdict can change with the next version. It needs no script: a line on the card opens it.
``claims.bib`` lies beside the ledger's other files. Title, authors and version of the book come
from ``CITATION.cff``.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from book.measured import by_claim, labels
from book.records import Found, stable_anchor

CITATION = Path(__file__).resolve().parent.parent / "CITATION.cff"
#: What BibTeX, or the LaTeX that reads its entries, would take for a command.
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


@functools.cache
def the_book() -> dict[str, str]:
    """Title, authors, version and year of the book."""
    cited = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    return {
        "title": cited["title"],
        "author": " and ".join(f"{{{as_latex(one['name'])}}}" for one in cited["authors"]),
        "version": str(cited["version"]),
        "year": str(cited["date-released"])[:4],
    }


def as_latex(text: str) -> str:
    """A text in which no sign is a command."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def entry(measured: Sequence[Found], base: str) -> str:
    """The BibTeX entry of a claim with all of its measurements; ``base`` is the book's address."""
    first, about = measured[0], the_book()
    came_out = "; ".join(
        f"{found.verdict} ({where})" if where else found.verdict
        for found, where in zip(measured, labels(measured), strict=True)
    )
    fields = {
        "title": f"{{{as_latex(first.sentence.rstrip('.'))}}}",
        "author": about["author"],
        "year": about["year"],
        "howpublished": f"{as_latex(about['title'])}, claim {as_latex(first.id)}",
        "url": f"{base}{first.docname}.html#{stable_anchor(first.id)}",
        "note": as_latex(f"Version {about['version']}. Measured: {came_out}"),
    }
    key = f"tips_and_tricks_{about['year']}_{re.sub(r'[^a-z0-9]+', '_', first.id)}"
    width = max(map(len, fields))
    lines = [f"  {name:{width}} = {{{text}}}" for name, text in fields.items()]
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}"


def fold(measured: Sequence[Found], base: str) -> str:
    """What stands on the claim's first card: a line that opens the entry."""
    text = html.escape(entry(measured, base), quote=False)
    return (
        '<details class="cite-claim"><summary>Cite this claim</summary>'
        f'<div class="highlight"><pre>{text}</pre></div></details>'
    )


def as_bib(claims: Iterable[Found], base: str) -> str:
    """The entries of all claims, checks among them."""
    return "\n\n".join(entry(measured, base) for measured in by_claim(claims)) + "\n"


def on_cards(body: str, claims: Iterable[Any], base: str) -> str:
    """A page's text, with the entry of each claim at the end of its first card."""
    folds = {measured[0].anchor: fold(measured, base) for measured in by_claim(claims)}

    def closed(card: re.Match[str]) -> str:
        return card[0] + folds.get(card[1], "")

    return CARD.sub(closed, body)


#: A card up to its conditions, the last that the library writes into it.
CARD = re.compile(
    r'<div class="claim [^"]*" id="(claim-[^"]+)">(?:(?!</div>).)*?'
    r'<p class="claim-conditions">(?:(?!</p>).)*</p>',
    re.DOTALL,
)
