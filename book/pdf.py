"""``make pdf``: the whole book as one PDF, printed from the built pages by a browser.

Each page is printed in the order of the contents, with its answers open and in light colours. The
parts become bookmarks, links lead to their places in the PDF, and a table of contents with page
numbers stands in front. Chromium or Chrome must be there; no other tool is needed.
"""

from __future__ import annotations

import html
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

from playwright.sync_api import Browser, sync_playwright
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.generic import ArrayObject, FloatObject, NameObject, NullObject
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from sphinx_external_toc.parsing import parse_toc_yaml

from book.browser import launch

ROOT = Path(__file__).resolve().parent.parent
NAME = "tips-and-tricks-for-deep-learning.pdf"
MARGIN = {"top": "18mm", "bottom": "20mm", "left": "18mm", "right": "18mm"}
SCALE = 0.85  # a screen's type is large on paper
# Paper has no folds and no lazy pictures, and is white.
# Of its places a browser writes down those that a link on the same page leads to: links that nobody
# sees lead to those that other pages ask for.
READY = """async (places) => {
  const unseen = document.body.appendChild(document.createElement('div'));
  unseen.style = 'position: absolute; left: 0; top: 0; font-size: 1px; opacity: 0';
  for (const place of places) {
    const link = unseen.appendChild(document.createElement('a'));
    link.href = '#' + place;
    link.textContent = '.';
  }
  document.documentElement.dataset.theme = 'light';
  document.querySelectorAll('details').forEach((fold) => { fold.open = true; });
  document.querySelectorAll('.toggle-hidden').forEach((fold) => {
    fold.classList.remove('toggle-hidden');
  });
  document.querySelectorAll('img[loading]').forEach((image) => image.removeAttribute('loading'));
  await Promise.all([...document.images].map((image) => image.decode().catch(() => null)));
  await document.fonts.ready;
  return document.querySelector('h1')?.firstChild?.textContent.trim() ?? document.title;
}"""
LINK = re.compile(r'<a\b[^>]*\shref="([^"]+#[^"]+)"')
LEFT_OUT = ("/api/", "/register")
OFFER = '<p class="offer-pdf"></p>'


class Printed(NamedTuple):
    """A page of the book on paper."""

    docname: str
    part: str
    title: str
    paper: PdfReader

    def places(self) -> dict[str, tuple[int, float]]:
        """The page of this paper, and the height on it, of each place that links lead to."""
        found = self.paper.named_destinations
        return {
            unquote(name.removeprefix("/")): (self.paper.get_destination_page_number(at), at.top)
            for name, at in found.items()
        }


def pages(toc: Path) -> Iterator[tuple[str, str]]:
    """The part and the name of each page, in the order of the contents.

    The library's listings and the register are left out: nobody reads them on paper.
    """
    site = parse_toc_yaml(toc)

    def below(name: str, part: str) -> Iterator[tuple[str, str]]:
        yield part, name
        for tree in site[name].subtrees:
            for item in tree.items:
                if isinstance(item, str) and not any(part in item for part in LEFT_OUT):
                    yield from below(item, tree.caption or part)

    return below(site.root.docname, "")


def asked_for(files: Iterable[Path]) -> dict[str, set[str]]:
    """The places in each file, by its address, that links on other pages lead to."""
    found: dict[str, set[str]] = {}
    for file in files:
        here = file.resolve().as_uri()
        for link in LINK.findall(file.read_text(encoding="utf-8")):
            address, place = urldefrag(urljoin(here, html.unescape(link)))
            found.setdefault(address, set()).add(place)
    return found


def print_page(browser: Browser, file: Path, places: Iterable[str] = ()) -> tuple[str, PdfReader]:
    """The title of a built page, and the page on A4 with the places that others link to."""
    with browser.new_page(color_scheme="light", reduced_motion="reduce") as page:
        page.goto(file.resolve().as_uri(), wait_until="load")
        title = str(page.evaluate(READY, sorted(places)))
        page.emulate_media(media="print")
        paper = page.pdf(format="A4", margin=MARGIN, print_background=True, scale=SCALE)
    return title, PdfReader(io.BytesIO(paper))


def contents_page(
    browser: Browser, found: Sequence[tuple[str, str, int, str]], title: str
) -> PdfReader:
    """A table of contents: for each page of the book a line that leads to it, under its part."""
    lines, part = [], None
    for in_part, name, number, address in found:
        if in_part != part:
            lines.append(f"<h2>{html.escape(in_part)}</h2>" if in_part else "")
            part = in_part
        link = f'<a href="{html.escape(address)}">{html.escape(name)}</a>'
        lines.append(f"<p>{link}<b>{number}</b></p>")
    style = (
        "body { font: 11pt system-ui, sans-serif } h1 { font-size: 22pt; margin: 3cm 0 0.3cm }"
        "h2 { font-size: 11pt; margin: 0.45cm 0 0.1cm; break-after: avoid }"
        "p { display: flex; justify-content: space-between; margin: 0.04cm 0;"
        "border-bottom: 0.5pt dotted #999 } b { font-weight: 400 }"
        "a { color: inherit; text-decoration: none }"
    )
    text = f"<style>{style}</style><h1>{html.escape(title)}</h1>{''.join(lines)}"
    with browser.new_page() as page:
        page.set_content(f"<!doctype html><html lang='en'><body>{text}</body></html>")
        paper = page.pdf(format="A4", margin=MARGIN)
    return PdfReader(io.BytesIO(paper))


def number(page: PageObject, at: int) -> None:
    """Put a page number at the foot of a page."""
    sheet = io.BytesIO()
    canvas = Canvas(sheet, pagesize=A4)
    canvas.setFont("Helvetica", 8)
    canvas.drawCentredString(A4[0] / 2, 28, str(at))
    canvas.save()
    page.merge_page(PdfReader(sheet).pages[0])


def turn_links(
    writer: PdfWriter, files: dict[str, int], places: dict[str, dict[str, tuple[int, float]]]
) -> int:
    """Let links to files of the book, and to places in them, lead into the PDF; how many did.

    A browser that prints a file writes the addresses of other files into it, and the bare names of
    places in its own, of which many files have the same.

    Args:
        writer: all pages.
        files: the page on which each file begins, by its address, in the order of the pages.
        places: of each file, by its address, the page after that and the height of each place.
    """
    turned = 0
    starts = {at: address for address, at in files.items()}
    here = ""
    for n, page in enumerate(writer.pages):
        here = starts.get(n, here)
        for entry in page.get("/Annots") or []:
            link = entry.get_object()
            if "/A" in link:
                address, place = urldefrag(str(link["/A"].get_object().get("/URI", "")))
            else:
                address, place = here, str(link.get("/Dest", "")).removeprefix("/")
            if address not in files:
                continue
            after, top = places[address].get(unquote(place), (0, None))
            height = NullObject() if top is None else FloatObject(top)
            goal = writer.pages[files[address] + after].indirect_reference
            way = [NameObject("/XYZ"), NullObject(), height, NullObject()]
            link.pop("/A", None)
            link[NameObject("/Dest")] = ArrayObject([goal, *way])
            turned += 1
    return turned


def bind(browser: Browser, printed: Sequence[Printed], site: Path, title: str) -> PdfWriter:
    """All pages as one document, with contents, numbers, bookmarks and links."""
    # The contents take as many pages whatever numbers stand in them: print them twice.
    addresses = [(site / f"{page.docname}.html").resolve().as_uri() for page in printed]
    lines = zip(printed, addresses, strict=True)
    draft = contents_page(browser, [(p.part, p.title, 100, a) for p, a in lines], title)
    ahead = len(draft.pages)
    first, at = [], ahead
    for page in printed:
        first.append(at)
        at += len(page.paper.pages)
    lines = zip(printed, first, addresses, strict=True)
    table = [(p.part, p.title, n + 1, a) for p, n, a in lines]
    writer = PdfWriter()
    writer.append(contents_page(browser, table, title), import_outline=False)
    parts: dict[str, Any] = {}
    for page, start in zip(printed, first, strict=True):
        writer.append(page.paper, import_outline=False)
        if page.part and page.part not in parts:
            parts[page.part] = writer.add_outline_item(title=page.part, page_number=start)
        writer.add_outline_item(title=page.title, page_number=start, parent=parts.get(page.part))
    places = {a: page.places() for a, page in zip(addresses, printed, strict=True)}
    turn_links(writer, dict(zip(addresses, first, strict=True)), places)
    for n, sheet in enumerate(writer.pages):
        if n >= ahead:
            number(sheet, n + 1)
            sheet.compress_content_streams()
    writer.add_metadata({"/Title": title})
    writer.compress_identical_objects()
    return writer


def make(site: Path, toc: Path, title: str, say: Callable[[str], object] = print) -> Path:
    """Print the built book in ``site``, and offer the PDF on its landing page.

    Raises:
        FileNotFoundError: the book is not built, or there is no browser.
    """
    if not (site / "index.html").is_file():
        raise FileNotFoundError("the book is not built yet: run `make book` first.")
    with sync_playwright() as playwright:
        browser = launch(playwright, "--allow-file-access-from-files")
        printed = []
        order = list(pages(toc))
        asked = asked_for(site / f"{docname}.html" for _, docname in order)
        for part, docname in order:
            file = site / f"{docname}.html"
            name, paper = print_page(browser, file, asked.get(file.resolve().as_uri(), ()))
            printed.append(Printed(docname, part, name, paper))
            say(f"{len(paper.pages):4d} pages  {name}")
        writer = bind(browser, printed, site, title)
        browser.close()
    target = site / NAME
    writer.write(target)
    index = site / "index.html"
    text = index.read_text(encoding="utf-8")
    offer = f'<p class="offer-pdf"><a href="{NAME}">The whole book as a PDF</a></p>'
    index.write_text(text.replace(OFFER, offer), encoding="utf-8", newline="\n")
    return target


def main() -> None:
    """The command line."""
    try:
        target = make(
            ROOT / "_build" / "html", ROOT / "_toc.yml", "Tips and Tricks for Deep Learning"
        )
    except FileNotFoundError as error:
        sys.exit(str(error))
    print(f"\nThe PDF is ready:\n  {target}")


if __name__ == "__main__":
    main()
