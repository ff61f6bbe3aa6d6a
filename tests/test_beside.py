"""What papers report beside what we measured: the file, and the table in a small book, built."""

from __future__ import annotations

import csv
from dataclasses import astuple, replace
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from book import beside
from book.records import Found
from tests.test_book import (
    ROOT,
    build,
    coming_out,
    fails,
    judged,
    settings_of_the_book,
    stored,
    text_cell,
    write_notebook,
)
from tricks_lib import law

ROW = beside.Row(
    claim="page.slug",
    data="glyphs",
    at="",
    tip="Do it",
    source="ioffe2015batch",
    place="table 9",
    setting="ResNet-18 on all of it",
    before="5.60",
    after="4.2",
    unit="% error",
)
FOUND = Found(coming_out(law.HOLDS, id="page.slug", data="glyphs", at=""), "chapters/to_do/page")


def write(path: Path, *rows: beside.Row, head: tuple[str, ...] = beside.COLUMNS) -> Path:
    """A file of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *map(astuple, rows)])
    return path


def test_rows_are_read_as_they_are_written(tmp_path: Path) -> None:
    assert beside.read(write(tmp_path / "rows.csv", ROW)) == [ROW]
    with pytest.raises(ValueError, match="the first line must be claim,data,at"):
        beside.read(write(tmp_path / "rows.csv", ROW, head=beside.COLUMNS[1:]))
    short = write(tmp_path / "rows.csv", ROW)
    with short.open("a", encoding="utf-8") as file:
        file.write("page.slug,glyphs\n")
    with pytest.raises(ValueError, match="row 3 has 2 values instead of 10"):
        beside.read(short)


@pytest.mark.parametrize(
    ("before", "after", "unit", "difference"),
    [
        ("5.60", "4.2", "% error", "1.40"),
        ("24.1", "34.7", "% error", "-10.6"),
        ("52.39", "53.35", "% accuracy", "0.96"),
        ("31.0", "13.3", "million steps", "-17.7"),
        ("0.071", "0.035", "calibration error", "-0.036"),
    ],
)
def test_a_difference_points_as_our_metric_does(
    before: str, after: str, unit: str, difference: str
) -> None:
    row = replace(ROW, before=before, after=after, unit=unit)
    assert row.difference == Decimal(difference)


@pytest.mark.parametrize(
    ("differences", "direction"),
    [
        ([0.1, 0.11, 0.09, 0.1, 0.12], beside.SAME),
        ([-0.1, -0.11, -0.09, -0.1, -0.12], beside.OTHER),
        ([0.1, -0.11, 0.09, -0.1, 0.12], beside.OPEN),
    ],
)
def test_a_direction_needs_all_of_the_interval(differences: list[float], direction: str) -> None:
    found = Found(judged(differences, data="glyphs"), "chapters/to_do/page")
    assert beside.direction(ROW, found) == direction


WRONG = {
    "no record has the claim id 'page.other'": {"claim": "page.other"},
    "page.slug has no measurement on 'digits' at '', but on 'glyphs' at ''": {"data": "digits"},
    "page.slug has no measurement on 'glyphs' at '9 steps'": {"at": "9 steps"},
    "page.slug: 'nobody2099nothing' is not in references.bib": {"source": "nobody2099nothing"},
    "page.slug: 'BLEU' is no unit for test_accuracy": {"unit": "BLEU"},
    "page.slug: 'million steps' is no unit for test_accuracy": {"unit": "million steps"},
    "page.slug: '5.60' and 'less' must be numbers": {"after": "less"},
}


@pytest.mark.parametrize(("message", "changes"), WRONG.items())
def test_a_row_that_does_not_fit_is_named(message: str, changes: dict[str, str]) -> None:
    assert beside.measurement(ROW, [FOUND], {ROW.source}) is FOUND
    with pytest.raises(ValueError) as error:
        beside.measurement(replace(ROW, **changes), [FOUND], {ROW.source})
    assert message in str(error.value)


def test_no_comparison_of_the_book_stands_twice() -> None:
    rows = beside.read(ROOT / beside.PATH)
    assert len({(row.claim, row.data, row.at, row.source) for row in rows}) == len(rows) >= 10
    assert all(row.tip and row.place and row.setting for row in rows)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book with one claim, and the page of comparisons."""
    settings_of_the_book(tmp_path)
    texts = {
        "index.md": "# Small\n",
        "chapters/sources.md": "# Sources\n\n```{beside-the-sources}\n```\n",
        "chapters/bibliography.md": "# Bibliography\n\n```{bibliography}\n:all:\n```\n",
    }
    write(tmp_path / beside.PATH, ROW)
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    write_notebook(
        tmp_path / "chapters/to_do/page.ipynb", text_cell("# Page"), stored(dict(FOUND.record))
    )
    pages = ("chapters/to_do/page", "chapters/sources", "chapters/bibliography")
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": name} for name in pages]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    return tmp_path


@pytest.mark.site
def test_paper_and_book_stand_side_by_side(book: Path) -> None:
    done = build(book)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (book / "_build/html/chapters/sources.html").read_text(encoding="utf-8")
    plain = page.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    article = BeautifulSoup(plain, "html.parser").select_one("article")
    table = article.select_one("table.beside")
    text = " ".join(table.get_text(" ").split())
    assert table.caption and {head["scope"] for head in table.select("th")} == {
        "col",
        "row",
        "rowgroup",
    }
    assert [head.get_text() for head in table.select("thead th")] == list(beside.HEADS)
    assert table.select_one("tr.page-row").get_text(strip=True) == "To do"
    assert "+1.40 points from 5.60 to 4.2 % error ResNet-18 on all of it" in text
    assert "2015" in text and ", table 9" in text
    assert f"holds {beside.SAME}" in text
    assert f"In 1 comparison our interval {beside.SAME} in 1, " in article.get_text()
    links = [link["href"].partition("#")[2] for link in table.select("a.claim-ref")]
    assert links == ["claim-page-slug", FOUND.anchor]


@pytest.mark.site
def test_what_does_not_fit_fails_the_build(book: Path) -> None:
    write(book / beside.PATH, *[replace(ROW, **changes) for changes in WRONG.values()])
    fails(book, *[f"sources.md:3: WARNING: {beside.PATH}: {message}" for message in WRONG])
