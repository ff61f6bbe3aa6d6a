"""The book as an e-book."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from book import epub

TOC = """
format: jb-book
root: index
parts:
  - caption: First part
    chapters:
      - file: chapters/a
  - caption: Second part
    chapters:
      - file: chapters/b
      - file: reference/api/c
"""
ABOUT = {"title": "A & B", "creator": "We", "rights": "CC BY 4.0", "web": "https://e.org/x/"}
FORMULA = (
    '<span class="katex"><span class="katex-mathml"><math><mi>x</mi></math></span>'
    '<span class="katex-html">drawn</span></span>'
)
ARTICLES = {
    "index": '<a href="chapters/b.html#place">to B</a><a href="reference/api/c.html#d">out</a>'
    f'<a href="https://example.org/?a=1&amp;b">far</a>{epub.OFFER}',
    "chapters/a": f"<details><summary>Q</summary>forty&nbsp;two</details>{FORMULA}"
    "<button>Go</button>"
    '<svg viewBox="0 0 9 9"><path d="M0 0"></svg><p id="p">a<br>b<p id="p">c<a href="#gone">d</a>',
    "chapters/b": '<p id="place">5 &lt; 6</p>'
    '<img alt="It is." src="../_images/i.webp" loading="lazy">'
    "words <!-- a -- b --><script>let x = 1 && 2</script>",
}


@pytest.fixture
def bound(tmp_path: Path) -> zipfile.ZipFile:
    for name, body in ARTICLES.items():
        path = tmp_path / f"{name}.html"
        path.parent.mkdir(exist_ok=True)
        text = f"<article><h1>Page {name[-1]}<a class='headerlink'>#</a></h1>{body}</article>"
        path.write_text(f"<!doctype html><nav>menu</nav>{text}", encoding="utf-8")
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images" / "i.webp").write_bytes(b"picture")
    (tmp_path / "_toc.yml").write_text(TOC, encoding="utf-8")
    return zipfile.ZipFile(epub.make(tmp_path, tmp_path / "_toc.yml", ABOUT))


def test_the_e_book_is_whole(bound: zipfile.ZipFile, tmp_path: Path) -> None:
    names = bound.namelist()
    assert names[0] == "mimetype" and bound.getinfo("mimetype").compress_type == zipfile.ZIP_STORED
    texts = {name: bound.read(name).decode() for name in names if name.endswith(("ml", "opf"))}
    for text in texts.values():
        ElementTree.fromstring(text)
    listed = re.findall(r'href="([^"]+)"', texts["book/package.opf"])
    assert {f"book/{name}" for name in listed} | {
        "mimetype",
        "META-INF/container.xml",
        "book/package.opf",
    } == set(names)
    assert len(listed) == len(set(listed))
    assert "<dc:title>A &amp; B</dc:title>" in texts["book/package.opf"]
    assert re.findall(r"<span>([^<]+)</span>|>(Page \w)</a>", texts["book/nav.xhtml"]) == [
        ("", "Page x"),
        ("First part", ""),
        ("", "Page a"),
        ("Second part", ""),
        ("", "Page b"),
    ]
    offered = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert f'href="{epub.NAME}"' in offered and (tmp_path / epub.NAME).is_file()


def test_links_pictures_and_formulas_come_along(bound: zipfile.ZipFile) -> None:
    index, a, b = (
        bound.read(f"book/{name}.xhtml").decode() for name in ("index", "chapters_a", "chapters_b")
    )
    assert 'href="chapters_b.xhtml#place"' in index
    assert 'href="https://e.org/x/reference/api/c.html#d"' in index
    assert 'href="https://example.org/?a=1&amp;b"' in index
    assert 'href="chapters_a.xhtml"' in a and "#gone" not in a
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML"><mi>x</mi></math>' in a
    assert "katex-html" not in a and "<button" not in a and 'open="open"' in a
    assert 'viewBox="0 0 9 9"' in a and "forty\N{NO-BREAK SPACE}two" in a and a.count('id="p"') == 1
    assert 'src="images/i.webp"' in b and "loading" not in b and "<script" not in b
    assert bound.read("book/images/i.webp") == b"picture"
    opf = bound.read("book/package.opf").decode()
    assert (
        'href="chapters_a.xhtml" media-type="application/xhtml+xml" properties="mathml svg"' in opf
    )
    assert "menu" not in index + a + b and "#" not in re.sub(r'"[^"]*"', "", b)
