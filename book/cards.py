"""The small cards that say where a link leads, before it is followed.

``_static/card-texts.js`` holds what they say, made at every build from the records, the glossary
and the bibliography; ``static/cards.js`` shows it when a pointer rests on a link, the keyboard
reaches it, or a finger taps it. A page loads the texts when the first card is asked for. They
come as a script, because a page that is opened from a folder may load nothing else.

A text is found by what its link leads to: ``#claim-...`` for a claim, and the page's name with
the place on it for the others, ``glossary#term-Adam``.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from book import forest
from book.links import GLOSSARY, last_name, plain
from book.measured import by_claim, places
from book.records import Found, format_value, stable_anchor, unit

FILE = "card-texts.js"
MOST = 4  # measurements on a card; of more only the one that the link leads to


def of_claims(claims: Iterable[Found]) -> Iterator[tuple[str, str]]:
    """A card for each measurement: the sentence, then verdict, data and interval.

    A claim that is measured a few times has one card with all of its measurements: where the
    others would have theirs stands the place of the first.
    """
    for measured in by_claim(claims):
        lines = [line(*both) for both in zip(measured, places(measured), strict=True)]
        sentence = f'<p class="card-says">{html.escape(measured[0].sentence)}</p>'
        keys = [f"#{found.anchor}" for found in measured]
        if len(measured) > MOST:
            more = others(len(measured) - 1)
            yield from ((key, sentence + own + more) for key, own in zip(keys, lines, strict=True))
        else:
            yield keys[0], sentence + "".join(lines)
            yield from ((key, keys[0]) for key in keys[1:])


def line(found: Found, place: str) -> str:
    """One measurement."""
    low, high = (format_value(found.metric, value) for value in found.interval)
    effect = format_value(found.metric, found.effect)
    kept = "recorded" if found.recorded else "live"
    arms = f"{f'gain of {found.of}, ' if found.of else ''}{' minus '.join(found.arms)}"
    return (
        f'<p><span class="verdict {found.css}">{found.verdict}</span> {html.escape(place)}<br>'
        f"<strong>{effect}</strong> [{low}, {high}] {html.escape(unit(found.metric))}"
        f"{forest.in_a_row(found)}<br>"
        f'<span class="card-more">{html.escape(arms)}; {found.num_seeds} seeds, {kept}</span></p>'
    )


def others(count: int) -> str:
    """How often the claim was measured besides."""
    return f'<p class="card-more">and measured {count} times more</p>'


def of_terms(glossary: nodes.document) -> Iterator[tuple[str, str]]:
    """A card for each term: the first sentence of its definition."""
    page = GLOSSARY.rpartition("/")[2]
    for item in glossary.findall(nodes.definition_list_item):
        said = next(item.findall(nodes.paragraph), None)
        if said is None:
            continue
        for term in item.findall(nodes.term):
            text = f"<p><strong>{html.escape(term.astext())}.</strong> "
            text += f"{html.escape(first_sentence(said.astext()))}</p>"
            yield from ((f"{page}#{place}", text) for place in term["ids"])


def first_sentence(text: str) -> str:
    """Up to the first full stop that a capital follows."""
    text = " ".join(text.split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text, maxsplit=1)[0]


def of_works(citations: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """A card for each work: who, when, its title and where it appeared."""
    for citation in citations:
        entry = citation.entry
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        fields = {name: plain(text) for name, text in entry.fields.items()}
        where = next(
            (fields[name] for name in ("booktitle", "journal", "publisher") if name in fields), ""
        )
        text = f"<p>{html.escape(authors(people))} ({fields.get('year', 'no year')})</p>"
        text += f'<p class="card-says">{html.escape(fields.get("title", ""))}</p>'
        text += f"<p>{html.escape(where)}</p>" if where else ""
        page = citation.bibliography_key.docname.rpartition("/")[2]
        yield f"{page}#{citation.citation_id}", text


def authors(people: Iterable[Any], most: int = 4) -> str:
    """The names, each with its first letters; of many the first three."""
    named = []
    for one in people:
        letters = [f"{plain(name)[0]}." for name in (*one.first_names, *one.middle_names)]
        named.append(" ".join([*letters, last_name(one)]))
    if len(named) > most or named[-1:] == ["others"]:
        return f"{', '.join(named[: min(3, len(named) - 1)])} et al."
    return " and ".join(filter(None, [", ".join(named[:-1]), *named[-1:]]))


def texts(app: Sphinx) -> dict[str, str]:
    """All cards of the book."""
    env = app.env
    made = dict(of_claims(env.claims.values()))
    # The address of a claim shows what its first card does.
    firsts = (measured[0] for measured in by_claim(env.claims.values()))
    made |= {f"#{stable_anchor(first.id)}": f"#{first.anchor}" for first in firsts}
    if GLOSSARY in env.found_docs:
        made |= of_terms(env.get_doctree(GLOSSARY))
    return made | dict(of_works(env.get_domain("cite").citations))


def write(app: Sphinx, exception: Exception | None) -> None:
    """Called by Sphinx when all pages are written."""
    folder = Path(app.outdir, "_static")
    if exception is not None or app.builder.name != "html" or not folder.is_dir():
        return
    text = json.dumps(texts(app), ensure_ascii=False, separators=(",", ":"))
    (folder / FILE).write_text(f"window.cardTexts={text};\n", encoding="utf-8", newline="\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_js_file("cards.js", loading_method="defer")
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
