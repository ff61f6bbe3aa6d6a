"""One style sheet for each set of pages that use the same ones, and in it only what they use.

The theme and its extensions bring a dozen style sheets, and a browser draws nothing before it has
them all. Here they become one file, in their order, without the rules for classes that no page and
no script of the book ever names.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

LINK = re.compile(r"[ \t]*<link\b(?=[^>]*\brel=\"stylesheet\")[^>]*>\n?")
HREF = re.compile(r'\bhref="([^"?]*_static/)([^"?]+)[^"]*"')
URL = re.compile(r"url\((['\"]?)([^)'\"]+)\1\)")
IMPORT = re.compile(r"@import\s+(?:url\()?['\"]?([^'\")]+)['\"]?\)?\s*$")
TOKEN = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|url\([^)\"']*\)|[{};]")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
CLASS = re.compile(r"\.(-?[A-Za-z_](?:[\w-]|\\.)*)")
#: A class in these need not be there for the rule to hold, or is none.
EITHER = re.compile(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)|\[[^\]]*\]")


def pieces(css: str) -> Iterator[tuple[str, str | None]]:
    """The statements of a style sheet: what stands before the braces, and what is in them."""
    depth, start, before = 0, 0, ""
    for found in TOKEN.finditer(css):
        if found[0] == "{":
            if depth == 0:
                before, start = css[start : found.start()].strip(), found.end()
            depth += 1
        elif found[0] == "}":
            depth -= 1
            if depth == 0:
                yield before, css[start : found.start()]
                start = found.end()
        elif found[0] == ";" and depth == 0:
            yield css[start : found.start()].strip(), None
            start = found.end()


def selectors(text: str) -> Iterator[str]:
    """The selectors of a rule, split at its commas but not at those within brackets."""
    depth, start = 0, 0
    for at, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            yield text[start:at].strip()
            start = at + 1
    yield text[start:].strip()


def used(css: str, words: set[str]) -> str:
    """A style sheet without the rules for classes that are not among ``words``."""
    kept = []
    for before, inside in pieces(css):
        if inside is None:
            kept.append(f"{before};")
        elif before.startswith(("@media", "@supports", "@layer", "@container")):
            if rest := used(inside, words):
                kept.append(f"{before}{{{rest}}}")
        elif before.startswith("@"):
            kept.append(f"{before}{{{inside}}}")
        else:
            live = [one for one in selectors(before) if set(classes(one)) <= words]
            if live:
                kept.append(f"{','.join(live)}{{{inside.strip()}}}")
    return "".join(kept)


def classes(selector: str) -> list[str]:
    """The classes that must be there for a selector to hold."""
    return [name.replace("\\", "") for name in CLASS.findall(EITHER.sub("", selector))]


def read(static: Path, name: str) -> str:
    """A style sheet with those that it imports; its addresses count from ``static``."""
    css = COMMENT.sub("", (static / name).read_text(encoding="utf-8"))
    folder = posixpath.dirname(name)

    def moved(found: re.Match[str]) -> str:
        if re.match(r"[a-z]+:|#|/", found[2]):
            return found[0]
        place = posixpath.normpath(posixpath.join(folder, found[2]))
        return f"url({found[1]}{place}{found[1]})"

    text = []
    for before, inside in pieces(css):
        imported = IMPORT.match(before) if inside is None else None
        if imported:
            text.append(read(static, posixpath.normpath(posixpath.join(folder, imported[1]))))
        elif not before.startswith("@charset"):
            statement = f"{before};" if inside is None else f"{before}{{{inside}}}"
            text.append(URL.sub(moved, statement))
    return "".join(text)


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
            css = used("".join(read(static, name) for name in names), words)
            digest = hashlib.sha256(css.encode()).hexdigest()[:8]
            made[names] = f"site-{digest}.css"
            (static / made[names]).write_text(css, encoding="utf-8", newline="\n")
        one = f'    <link rel="stylesheet" href="{links[0][1]}{made[names]}" />\n'
        first = LINK.search(text)
        rest = LINK.sub("", text[first.end() :])
        changed[page] = text[: first.start()] + one + rest
    return changed
