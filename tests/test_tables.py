"""Captions and scopes of tables, as screen readers are told them."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup

from book.tables import told

PANDAS = (
    "<table><thead><tr><th></th><th>mean</th></tr></thead>"
    "<tbody><tr><th>plain</th><td>1</td></tr></tbody></table>"
)
HEADING = '<h2>Use <code>it</code> &amp; see<a class="headerlink" href="#x">#</a></h2>'


def test_a_table_is_named_after_its_heading() -> None:
    soup = BeautifulSoup(told(f"{PANDAS}{HEADING}{PANDAS}<p>and</p>{PANDAS}"), "html.parser")
    captions = [caption.get_text() for caption in soup.select("table > caption")]
    assert captions == ["Table", "Use it & see", "Use it & see, table 2"]
    assert all(table.find().name == "caption" for table in soup.select("table"))


@pytest.mark.parametrize("empty", ["<th></th>", '<th class="head"><p></p></th>'])
def test_heads_have_scopes_and_an_empty_one_is_none(empty: str) -> None:
    soup = BeautifulSoup(told(PANDAS.replace("<th></th>", empty)), "html.parser")
    assert [(head.get_text(), head["scope"]) for head in soup.select("th")] == [
        ("mean", "col"),
        ("plain", "row"),
    ]
    assert soup.select_one("thead tr").find().name == "td"


@pytest.mark.parametrize(
    "body",
    [
        '<table>\n<caption>Mine</caption><thead><tr><th scope="col">a</th></tr></thead></table>',
        '<table><caption class="x">Mine</caption><tr><th scope="rowgroup">a</th></tr></table>',
        "<h2>A</h2><pre>&lt;table&gt;&lt;th&gt;</pre><thead-like></thead-like>",
    ],
)
def test_what_is_named_already_stays(body: str) -> None:
    assert told(body) == body
