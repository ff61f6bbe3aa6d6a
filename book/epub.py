"""``make epub``: the whole book for a reader of e-books, made from the built pages.

Each page of the contents becomes a chapter: its article without what only a browser can use. The
equations are MathML, pictures and links inside the book come along, answers are open. Links to what
is left out (the library's listings, the register) lead to the book's place on the web.
"""

from __future__ import annotations

import datetime
import html
import mimetypes
import posixpath
import re
import sys
import uuid
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urldefrag
from xml.etree import ElementTree

import yaml
from bs4 import BeautifulSoup, Comment, Tag

from book.pdf import ROOT, pages

NAME = "tips-and-tricks-for-deep-learning.epub"
OFFER = '<p class="offer-epub"></p>'
# What only a browser can use, or a reader of an e-book has by other means.
LEFT_OUT = "script, style, noscript, button, input, form, .headerlink, figure.live, .cite-claim"
# An HTML parser writes all names in small letters; XML tells them apart.
CAPITALS = {"viewbox": "viewBox", "preserveaspectratio": "preserveAspectRatio"}
SPACES = {"svg": "http://www.w3.org/2000/svg", "math": "http://www.w3.org/1998/Math/MathML"}
HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n'
    '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" '
    'lang="en" xml:lang="en"><head><title>{title}</title>'
    '<link rel="stylesheet" href="book.css"/></head><body>{body}</body></html>\n'
)
STYLE = """body { line-height: 1.5 }
pre { white-space: pre-wrap; font-size: 0.8em; border-left: 3px solid #888; padding-left: 0.6em }
img, svg { max-width: 100%; height: auto }
table { border-collapse: collapse; font-size: 0.85em }
th, td { border-top: 1px solid #888; padding: 0.2em 0.4em; text-align: left; vertical-align: top }
.claim { border: 1px solid #888; border-left-width: 5px; padding: 0.4em 0.8em; margin: 1em 0 }
.claim-numbers, .claim-conditions, figcaption { font-size: 0.85em }
.verdict { border: 1px solid; border-radius: 1em; padding: 0 0.5em; font-size: 0.85em }
.claim-holds .claim-verdict, .verdict.claim-holds, .row-interval.claim-holds { color: #00609a }
.claim-opposite .claim-verdict, .verdict.claim-opposite { color: #a63c00 }
.claim-undecided .claim-verdict, .verdict.claim-undecided { color: #75408a }
.row-interval line, .row-interval circle { stroke: currentColor; fill: none }
.row-interval .matters-not, .part-picture .matters-not { fill: #888; opacity: 0.2 }
.part-picture circle, .part-picture path { stroke: #555; fill: none }
.part-picture .claim-holds { stroke: #00609a } .part-picture .claim-opposite { stroke: #a63c00 }
.part-picture .filled.claim-holds { fill: #00609a }
.part-picture .filled.claim-opposite { fill: #a63c00 }
.visually-hidden { position: absolute; clip-path: inset(50%) }
"""


@dataclass
class Chapter:
    """A page of the book, as it stands in the e-book."""

    docname: str
    part: str
    title: str
    article: Tag
    ids: set[str]

    @property
    def file(self) -> str:
        """Its name in the e-book."""
        return self.docname.replace("/", "_") + ".xhtml"


@dataclass
class Ebook:
    """What goes into the file: chapters in order, and the pictures that they show."""

    site: Path
    web: str
    chapters: dict[str, Chapter] = field(default_factory=dict)
    pictures: dict[str, Path] = field(default_factory=dict)

    def add(self, part: str, docname: str) -> Chapter:
        """Read a built page, and leave out what has no place in an e-book."""
        text = (self.site / f"{docname}.html").read_text(encoding="utf-8")
        article = BeautifulSoup(text, "html.parser").select_one("article")
        for needless in article.select(LEFT_OUT):
            needless.decompose()
        for note in article.find_all(string=lambda text: isinstance(text, Comment)):
            note.extract()
        for formula in article.select(".katex"):
            formula.replace_with(formula.select_one("math"))
        title = article.select_one("h1").get_text(" ", strip=True)
        ids = {node["id"] for node in article.select("[id]")}
        self.chapters[docname] = Chapter(docname, part, title, article, ids)
        return self.chapters[docname]

    def finish(self, chapter: Chapter) -> str:
        """The chapter as XML: its links and pictures lead to files of the e-book."""
        seen: set[str] = set()
        for node in chapter.article.find_all(True):
            for name, right in CAPITALS.items():
                if name in node.attrs:
                    node[right] = node.attrs.pop(name)
            if node.name in SPACES:
                node["xmlns"] = SPACES[node.name]
            if node.name == "details":
                node["open"] = "open"
            if node.name == "img":
                node["src"] = self.picture(chapter, node["src"])
                node.attrs.pop("loading", None)
            if node.name == "a" and "href" in node.attrs:
                node["href"] = self.link(chapter, node["href"])
            # XML allows a name once.
            if node.get("id") in seen:
                del node["id"]
            seen.add(node.get("id"))
        body = chapter.article.decode_contents(formatter="minimal")
        text = HEAD.format(title=html.escape(chapter.title), body=f"<section>{body}</section>")
        try:
            ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise ValueError(f"{chapter.docname} is no XML: {error}") from error
        return text

    def picture(self, chapter: Chapter, source: str) -> str:
        """Take a picture along."""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(chapter.docname), source))
        path = unquote(path.partition("?")[0])
        name = "images/" + posixpath.basename(path)
        self.pictures[name] = self.site / path
        return name

    def link(self, chapter: Chapter, href: str) -> str:
        """Where a link leads: into the e-book, or out to the web."""
        if re.match(r"[a-z]+:", href):
            return href
        path, place = urldefrag(href)
        if not path:
            return f"#{place}" if place in chapter.ids else chapter.file
        path = posixpath.normpath(posixpath.join(posixpath.dirname(chapter.docname), path))
        goal = self.chapters.get(path.removesuffix(".html"))
        if goal is None:
            return self.web + path + (f"#{place}" if place else "")
        return goal.file + (f"#{place}" if unquote(place) in goal.ids else "")


def contents(chapters: Iterable[Chapter]) -> str:
    """The table of contents, part by part."""
    lines, part = [], ""
    for one in chapters:
        if one.part != part:
            lines.append("</ol></li>" if part else "")
            lines.append(f"<li><span>{html.escape(one.part)}</span><ol>")
            part = one.part
        lines.append(f'<li><a href="{one.file}">{html.escape(one.title)}</a></li>')
    body = "".join([*lines, "</ol></li>" if part else ""])
    toc = f'<nav epub:type="toc"><h1>Contents</h1><ol>{body}</ol></nav>'
    return HEAD.format(title="Contents", body=toc)


def package(book: Ebook, texts: dict[str, str], about: dict[str, str]) -> str:
    """The list of all files, and what the book is."""
    items, order = [], []
    for name, text in texts.items():
        has = [kind for kind in ("mathml", "svg") if f"<{kind.removesuffix('ml')}" in text]
        has += ["nav"] if name == "nav.xhtml" else []
        more = f' properties="{" ".join(has)}"' if has else ""
        key = "x" + re.sub(r"\W", "-", name)
        items.append(f'<item id="{key}" href="{name}" media-type="application/xhtml+xml"{more}/>')
        order.append(f'<itemref idref="{key}"/>')
    for number, name in enumerate(book.pictures):
        kind = "image/webp" if name.endswith(".webp") else mimetypes.guess_type(name)[0]
        items.append(f'<item id="p{number}" href="{name}" media-type="{kind}"/>')
    told = "".join(
        f"<dc:{name}>{html.escape(about[name])}</dc:{name}>"
        for name in ("title", "creator", "rights")
    )
    identity = uuid.uuid5(uuid.NAMESPACE_URL, book.web)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'<dc:identifier id="id">urn:uuid:{identity}</dc:identifier>'
        f"{told}<dc:language>en</dc:language>"
        f'<meta property="dcterms:modified">{about["modified"]}</meta>'
        '<meta property="schema:accessMode">textual</meta>'
        '<meta property="schema:accessMode">visual</meta>'
        '<meta property="schema:accessibilityFeature">MathML</meta>'
        '<meta property="schema:accessibilityFeature">alternativeText</meta>'
        '<meta property="schema:accessibilityHazard">none</meta></metadata>'
        '<manifest><item id="css" href="book.css" media-type="text/css"/>'
        f"{''.join(items)}</manifest><spine>{''.join(order)}</spine></package>\n"
    )


def make(site: Path, toc: Path, about: dict[str, str]) -> Path:
    """Bind the built book in ``site``, and offer the file on its landing page.

    Args:
        site: the folder of the built pages.
        toc: ``_toc.yml``.
        about: ``title``, ``creator``, ``rights``, and ``web``, the book's address.

    Raises:
        ValueError: a page is no XML, even after it has been read and written anew.
    """
    book = Ebook(site, about["web"])
    for part, docname in pages(toc):
        book.add(part, docname)
    now = datetime.datetime.now(datetime.timezone.utc)
    about = {**about, "modified": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    texts = {"nav.xhtml": contents(book.chapters.values())}
    texts |= {one.file: book.finish(one) for one in book.chapters.values()}
    container = (
        '<?xml version="1.0"?>\n<container version="1.0" '
        'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile '
        'full-path="book/package.opf" media-type="application/oebps-package+xml"/>'
        "</rootfiles></container>\n"
    )
    with zipfile.ZipFile(site / NAME, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        file.writestr("META-INF/container.xml", container)
        file.writestr("book/package.opf", package(book, texts, about))
        file.writestr("book/book.css", STYLE)
        for name, text in texts.items():
            file.writestr(f"book/{name}", text)
        for name, path in book.pictures.items():
            file.write(path, f"book/{name}")
    index = site / "index.html"
    offer = f'<p class="offer-epub"><a href="{NAME}">The whole book as an EPUB</a></p>'
    text = index.read_text(encoding="utf-8").replace(OFFER, offer)
    index.write_text(text, encoding="utf-8", newline="\n")
    return site / NAME


def main() -> None:
    """The command line."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    site = ROOT / "_build" / "html"
    about = {"title": config["title"], "creator": config["author"], "rights": "CC BY 4.0"}
    if not (site / "sitemap.xml").is_file():
        sys.exit("the book is not built yet: run `make book` first.")
    named = re.findall(r"<loc>(\S+)index\.html", (site / "sitemap.xml").read_text("utf-8"))
    target = make(site, ROOT / "_toc.yml", {**about, "web": min(named, key=len)})
    print(f"\nThe e-book is ready:\n  {target}")


if __name__ == "__main__":
    main()
