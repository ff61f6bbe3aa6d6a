"""The whole book as one PDF: order, bookmarks, page numbers, links."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pypdf import PdfReader

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


@pytest.fixture
def printed(tmp_path: Path) -> PdfReader:
    """A book of three pages, and a fourth that nobody reads on paper."""
    bodies = {
        "index": f'<a href="b.html#place">to B</a><a href="https://example.org/">out</a>{pdf.OFFER}',
        "a": "<details><summary>Answer</summary>forty-two</details>",
        "b": '<p id="place">' + "<br>line" * 120,
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

    links = [entry.get_object() for entry in printed.pages[1]["/Annots"]]
    (inside,) = [link for link in links if "/Dest" in link]
    assert inside["/Dest"][0].get_object() == printed.pages[3].get_object()
    assert [link["/A"]["/URI"] for link in links if "/A" in link] == ["https://example.org/"]


def test_a_book_that_is_not_built_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make book"):
        pdf.make(tmp_path, tmp_path / "_toc.yml", "A small book")
