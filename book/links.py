"""Links that nobody has to write: to the glossary, and to the works that a page names.

- Where a page first uses a word that the glossary explains, the word becomes a link to it.
- Where prose cites a work as people do, "Li et al. (2019)", the names become a link to the
  bibliography.

Both are made while a page is read, so that the notebooks, which are read elsewhere as well, need
nothing for it. Headings, tables, code, formulas and what is a link already stay as they are.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from pybtex.backends.plaintext import Backend
from pybtex.richtext import Text
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import make_refnode

AS_TEXT = Backend()
GLOSSARY = "chapters/reference/glossary"
REFERENCES = ("References", "Further reading")
#: Words that everyday language uses as well, or that every page is full of.
PLAIN = (
    "activation arm batch bias capacity checkpoint claim class control effect feature interaction "
    "loss margin measurement metric parameter patience pool schedule seed step tuning verdict"
)
#: What a link may stand in; anything else between a word and its paragraph keeps it plain.
AROUND = (nodes.emphasis, nodes.strong)
PLAIN_PLACES = (nodes.table, nodes.caption, nodes.legend)

Found = tuple[int, int, nodes.Node]  # from, to, and what takes the place of the text between


def glossary_terms(text: str) -> list[str]:
    """The terms of the glossary, from its source: a line, and an indented one below it."""
    body = text.partition("{glossary}")[2]
    return [found[1].strip() for found in re.finditer(r"^(\S[^\n]*)\n[ ]{2,}\S", body, re.M)]


def pattern_of(term: str) -> str:
    """A term as prose writes it: in one or the other spelling, of one thing or of many."""
    words = [re.escape(word) for word in term.split()]
    joined = re.sub(r"i[sz](?=ation|er\b)", "i[sz]", r"\s+".join(words))
    first = joined[0]
    # A name such as ReLU keeps its capitals; other terms begin with one in a sentence only.
    if first.isalpha() and not re.search(r"[A-Z]", joined[1:]):
        joined = f"[{first.upper()}{first.lower()}]{joined[1:]}"
    return rf"\b{joined}s?(?![\w-])"


def last_name(person: Any) -> str:
    """The name of an author that a citation begins with: ``van Laarhoven``."""
    return plain(" ".join([*person.prelast_names, *person.last_names]))


@functools.cache  # every name is asked for on every page
def plain(text: str) -> str:
    """What a field of the bibliography says, without the marks of LaTeX."""
    text = re.sub(r"\$([^$]*)\$", lambda found: re.sub(r"[_{}^\\]", "", found[1]), text)
    return Text.from_latex(text).render(AS_TEXT).replace("\N{NO-BREAK SPACE}", " ")


def work_names(people: Iterable[Any]) -> str:
    """Authors as prose names them: one, two, or the first *et al.*"""
    last = [last_name(one) for one in people]
    if len(last) > 2 or last[-1:] == ["others"]:
        return f"{last[0]} et al."
    return " & ".join(last)


def works(entries: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """The key of each work by its authors and year; none where two works share them."""
    keys = defaultdict(list)
    for key, entry in entries.items():
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        keys[work_names(people), str(entry.fields.get("year", ""))].append(key)
    return {named: found[0] for named, found in keys.items() if len(found) == 1 and all(named)}


def citing(known: Mapping[tuple[str, str], str]) -> re.Pattern[str] | None:
    """What finds a citation in prose: names, and a year with or without brackets."""
    if not known:
        return None
    names = sorted({name for name, _ in known}, key=len, reverse=True)
    either = "|".join(
        r"\s+".join(
            "(?:&|and)" if word == "&" else re.escape(word) for word in name.split()
        ).replace(r"al\.", r"al\.?")
        for name in names
    )
    return re.compile(rf"(?<![\w-])({either}),?\s+(?:\((\d{{4}})(?=[);,])\)?|(\d{{4}})(?![\d-]))")


def plain_name(text: str) -> str:
    """Names as ``works`` writes them."""
    text = re.sub(r"\s+", " ", text).replace(" and ", " & ")
    return re.sub(r"\bal$", "al.", text)


class Links(SphinxTransform):
    """Put the links into a page of the book's parts."""

    default_priority = 410

    def apply(self, **kwargs: Any) -> None:
        page = self.env.docname
        if not page.startswith("chapters/") or page.startswith("chapters/reference/"):
            return
        if page.endswith(("/index", "/exercises")):
            return
        self.known = works(self.env.get_domain("cite").bibdata.data.entries)
        self.pattern = citing(self.known)
        self.terms = dict(self.open_terms())
        for paragraph in list(self.document.findall(nodes.paragraph)):
            if not (within(paragraph, *PLAIN_PLACES) or in_references(paragraph)):
                for text in list(texts(paragraph)):
                    for link in replace(text, [*self.citations(text), *self.words(text)]):
                        self.terms.pop(link["reftarget"], None)

    def open_terms(self) -> Iterator[tuple[str, re.Pattern[str]]]:
        """What to look for: every term but those in the title, which the page explains itself."""
        if GLOSSARY not in self.env.found_docs:
            return
        source = Path(self.env.doc2path(GLOSSARY))
        self.env.note_dependency(str(source))
        title = next((node.astext() for node in self.document.findall(nodes.title)), "")
        for term in glossary_terms(source.read_text(encoding="utf-8")):
            pattern = re.compile(pattern_of(term))
            if term.lower() not in PLAIN.split() and not pattern.search(title):
                yield term, pattern

    def citations(self, text: nodes.Text) -> Iterator[Found]:
        for found in self.pattern.finditer(str(text)) if self.pattern else ():
            key = self.known.get((plain_name(found[1]), found[2] or found[3]))
            if key:
                link = pending_xref(
                    "", nodes.inline("", found[0]), reftype="work", reftarget=key, refdomain=""
                )
                yield found.start(), found.end(), self.from_here(link)

    def words(self, text: nodes.Text) -> Iterator[Found]:
        for term, pattern in self.terms.items():
            found = pattern.search(str(text))
            if found:
                link = pending_xref(
                    "",
                    nodes.inline("", found[0], classes=["term"]),
                    refdomain="std",
                    reftype="term",
                    reftarget=term,
                    refexplicit=True,
                )
                yield found.start(), found.end(), self.from_here(link)

    def from_here(self, link: pending_xref) -> pending_xref:
        link["refdoc"] = self.env.docname
        link["refwarn"] = True
        return link


def within(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    """Whether one of a node's ancestors is of such a kind."""
    while (node := node.parent) is not None:
        if isinstance(node, kinds):
            return True
    return False


def in_references(paragraph: nodes.paragraph) -> bool:
    """Whether it stands among the references, which name works in full."""
    section = paragraph.parent
    while section is not None and not isinstance(section, nodes.section):
        section = section.parent
    return section is not None and section[0].astext() in REFERENCES


def texts(paragraph: nodes.paragraph) -> Iterator[nodes.Text]:
    """The words of a paragraph that may become links, lines that belong together as one text."""
    for node in [paragraph, *paragraph.findall(lambda node: isinstance(node, AROUND))]:
        above = node
        while above is not paragraph and isinstance(above, AROUND):
            above = above.parent
        if above is not paragraph:
            continue
        join_lines(node)
        yield from (child for child in node.children if isinstance(child, nodes.Text))


def join_lines(node: nodes.Element) -> None:
    """Make one text of neighbours: the parser leaves a text for each line."""
    joined: list[nodes.Node] = []
    for child in node.children:
        if joined and isinstance(child, nodes.Text) and isinstance(joined[-1], nodes.Text):
            joined[-1] = nodes.Text(f"{joined[-1]}{child}")
        else:
            joined.append(child)
    node.children = []
    node += joined


def replace(text: nodes.Text, found: Iterable[Found]) -> list[nodes.Node]:
    """Put what was found into the text, and give back what was put there.

    Of two that overlap the first stays, and of two that begin together the longer.
    """
    made: list[nodes.Node] = []
    links, at = [], 0
    for start, end, link in sorted(found, key=lambda one: (one[0], -one[1])):
        if start >= at:
            made += [nodes.Text(str(text)[at:start])] if start > at else []
            made.append(link)
            links.append(link)
            at = end
    if made:
        rest = str(text)[at:]
        text.parent.replace(text, [*made, *([nodes.Text(rest)] if rest else [])])
    return links


def to_bibliography(
    app: Sphinx, env: Any, node: pending_xref, words: nodes.Node
) -> nodes.reference | None:
    """Called by Sphinx for a link that no domain knows: where a work stands."""
    if node.get("reftype") != "work":
        return None
    for citation in env.get_domain("cite").citations:
        if citation.key == node["reftarget"]:
            place = citation.bibliography_key.docname, citation.citation_id
            return make_refnode(app.builder, node["refdoc"], *place, words)
    return words  # a small book without a bibliography page


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_transform(Links)
    app.connect("missing-reference", to_bibliography)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
