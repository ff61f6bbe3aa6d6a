"""The whole book as one PDF: order, bookmarks, page numbers, links."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pypdf import PdfReader
from pypdf.generic import NullObject

from book import pdf

pytestmark = pytest.mark.browser
TOC = """
format: jb-book
root: index
parts:
  - caption: First part
    chapters:
      - file: a
  - caption: Second part
    chapters:
      - file: b
      - file: reference/api/c
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> PdfReader:
    """A book of three pages, and a fourth that nobody reads on paper."""
    tmp_path = tmp_path_factory.mktemp("printed")
    bodies = {
        "index": f'<a href="b.html#place">to B</a><a href="https://example.org/">out</a>{pdf.OFFER}',
        "a": '<details><summary>Answer</summary>forty-two</details><a id="here" href="#here">x</a>',
        "b": '<a href="#here">to here</a>' + "<br>line" * 100 + '<p id="place">x<p id="here">y',
    }
    for name, body in bodies.items():
        text = f"<!doctype html><html><body><h1>Page {name}<a>#</a></h1>{body}</body></html>"
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
    (tmp_path / "_toc.yml").write_text(TOC, encoding="utf-8")
    said: list[str] = []
    try:
        target = pdf.make(tmp_path, tmp_path / "_toc.yml", "A small book", said.append)
    except FileNotFoundError as missing:
        required = os.environ.get("TRICKS_REQUIRE_BROWSER")
        (pytest.fail if required else pytest.skip)(str(missing))
    assert len(said) == 3
    assert f'href="{pdf.NAME}"' in (tmp_path / "index.html").read_text(encoding="utf-8")
    return PdfReader(target)


def test_the_book_becomes_one_pdf(printed: PdfReader) -> None:
    texts = [page.extract_text() for page in printed.pages]
    front, index, a, *b = texts
    assert "A small book" in front and "First part" in front
    assert "Page index" in index and "forty-two" in a and "Page b" in b[0] and len(b) > 1
    assert [text.strip().splitlines()[-1] for text in texts[1:]] == [
        str(number) for number in range(2, len(texts) + 1)
    ]
    assert re.search(r"Page b\s*4", front)
    names = [item if isinstance(item, list) else item.title for item in printed.outline]
    assert names[0] == "Page index" and names[1] == "First part" and names[3] == "Second part"
    assert printed.metadata.title == "A small book"


def test_links_lead_to_their_places(printed: PdfReader) -> None:
    def links(page: int) -> list:
        return [entry.get_object() for entry in printed.pages[page].get("/Annots") or []]

    def goal(link: dict) -> tuple[int, float | None]:
        page, _, _, top, _ = link["/Dest"]
        height = None if isinstance(top, NullObject) else float(top)
        return printed.pages.index(page.get_object()), height

    # The contents lead to the beginning of each page.
    assert [goal(link) for link in links(0)] == [(1, None), (2, None), (3, None)]
    inside, outside = links(1)
    assert outside["/A"]["/URI"] == "https://example.org/"
    # Pages a and b have a place of the same name each.
    (own,), (other,) = links(2), links(3)
    assert goal(own)[0] == 2 and goal(other)[0] == goal(inside)[0] == len(printed.pages) - 1 > 3
    assert goal(inside)[1] > goal(other)[1]


def test_a_book_that_is_not_built_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make book"):
        pdf.make(tmp_path, tmp_path / "_toc.yml", "A small book")
