"""One style sheet for each set of pages that use the same ones, and in it only what they use.

The theme and its extensions bring a dozen style sheets, and a browser draws nothing before it has
them all. Here they become one file, in their order, without the rules for classes that no page and
no script of the book ever names.
"""

from __future__ import annotations

import hashlib
import itertools
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import tinycss2
from tinycss2.ast import AtRule, Node

LINK = re.compile(r"[ \t]*<link\b(?=[^>]*\brel=\"stylesheet\")[^>]*>\n?")
HREF = re.compile(r'\bhref="([^"?]*_static/)([^"?]+)[^"]*"')
#: Rules that hold other rules.
GROUPS = ("media", "supports", "layer", "container")


def parts(tokens: list[Node]) -> Iterator[list[Node]]:
    """The selectors of a rule."""
    part: list[Node] = []
    for token in tokens:
        if token == ",":
            yield part
            part = []
        else:
            part.append(token)
    yield part


def classes(selector: list[Node]) -> set[str]:
    """The classes that must be there for a selector to hold.

    What stands within brackets, as in ``:not(.a)`` and ``:is(.a, .b)``, need not be.
    """
    pairs = itertools.pairwise(selector)
    return {name.value for dot, name in pairs if dot == "." and name.type == "ident"}


def used(rules: Iterable[Node], words: set[str]) -> str:
    """A style sheet without the rules for classes that are not among ``words``."""
    kept = []
    for rule in rules:
        if rule.type == "qualified-rule":
            live = [part for part in parts(rule.prelude) if classes(part) <= words]
            selectors = ",".join(tinycss2.serialize(part).strip() for part in live)
            if live:
                kept.append(f"{selectors}{{{tinycss2.serialize(rule.content).strip()}}}")
        elif isinstance(rule, AtRule) and rule.content and rule.lower_at_keyword in GROUPS:
            inside = used(tinycss2.parse_rule_list(rule.content, True, True), words)
            if inside:
                kept.append(f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inside}}}")
        elif isinstance(rule, AtRule):
            kept.append(rule.serialize())
    return "".join(kept)


def address(token: Node) -> str | None:
    """The address in ``url(a.css)``, ``url("a.css")``; ``None`` where a token is no such thing."""
    if token.type == "url":
        return token.value
    if token.type == "function" and token.lower_name == "url":
        return next((word.value for word in token.arguments if word.type == "string"), None)
    return None


def move(tokens: list[Node], folder: str) -> None:
    """Let addresses that count from ``folder`` count from the folder above all style sheets."""
    for at, token in enumerate(tokens):
        place = address(token)
        if place and not re.match(r"[a-z]+:|#|/", place):
            place = posixpath.normpath(posixpath.join(folder, place))
            tokens[at : at + 1] = tinycss2.parse_component_value_list(f'url("{place}")')
        elif token.type.endswith("block"):
            move(token.content, folder)


def read(static: Path, name: str) -> list[Node]:
    """The rules of a style sheet and of those that it imports; addresses count from ``static``."""
    css, folder = (static / name).read_text(encoding="utf-8"), posixpath.dirname(name)
    rules = []
    for rule in tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True):
        if isinstance(rule, AtRule) and rule.lower_at_keyword == "import":
            word = next(token for token in rule.prelude if token.type != "whitespace")
            place = word.value if word.type == "string" else address(word)
            rules += read(static, posixpath.normpath(posixpath.join(folder, place)))
        elif not (isinstance(rule, AtRule) and rule.lower_at_keyword == "charset"):
            move(getattr(rule, "content", None) or [], folder)
            rules.append(rule)
    return rules


def words_of(texts: Iterable[str], scripts: Iterable[Path]) -> set[str]:
    """All that may be a class: in the pages those of elements, in scripts every word."""
    found: set[str] = set()
    for text in texts:
        for names in set(re.findall(r'\bclass=(?:"([^"]*)"|\'([^\']*)\')', text)):
            found.update(" ".join(names).split())
    for script in scripts:
        found.update(re.findall(r"[A-Za-z_][\w-]*", script.read_text(encoding="utf-8")))
    return found


def bundle(site: Path, texts: dict[Path, str]) -> dict[Path, str]:
    """Put one link in place of all those to style sheets in each page of ``texts``."""
    static = site / "_static"
    words = words_of(texts.values(), static.rglob("*.js"))
    made: dict[tuple[str, ...], str] = {}
    changed = {}
    for page, text in texts.items():
        links = [HREF.search(link) for link in LINK.findall(text)]
        if len(links) < 2 or not all(links):
            changed[page] = text
            continue
        names = tuple(link[2] for link in links)
        if names not in made:
            rules = [rule for name in names for rule in read(static, name)]
            css = used(rules, words)
            digest = hashlib.sha256(css.encode()).hexdigest()[:8]
            made[names] = f"site-{digest}.css"
            (static / made[names]).write_text(css, encoding="utf-8", newline="\n")
        one = f'    <link rel="stylesheet" href="{links[0][1]}{made[names]}" />\n'
        first = LINK.search(text)
        rest = LINK.sub("", text[first.end() :])
        changed[page] = text[: first.start()] + one + rest
    return changed
