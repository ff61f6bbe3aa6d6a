"""The headline claims: the strip of a page and the table of verdicts, in a small book, built."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup, Tag

from book import headlines
from book.records import Found
from tests.page_rules import MAX_HEADLINES
from tests.test_book import (
    build,
    coming_out,
    fails,
    record,
    settings_of_the_book,
    stored,
    text_cell,
    write_notebook,
)
from tricks_lib import law

MINUTE = "## In one minute"
NO_HEADLINE = "It supports the others."
# What the pages of the small book claim: sentence, then where it was measured and what came out.
PAYS = {
    "sentence": "It pays.",
    "made": (law.HOLDS, "holds (glyphs)"),
    "full": (law.UNDECIDED, "undecided (MNIST)"),
}
COSTS = {"sentence": "It costs.", "real": (law.OPPOSITE, "opposite (digits)")}
UNCLEAR = {"sentence": "It is unclear.", "made": (law.UNDECIDED, "")}
DATA = {"made": "glyphs", "real": "digits", "full": "MNIST"}
COLUMN = dict(zip(DATA, headlines.COLUMNS, strict=False))


def measurements(name: str, claim: dict, **changes: object) -> list[dict]:
    """The cells that store a headline claim, one for each scale at which it was measured."""
    return [
        stored(
            coming_out(
                claim[scale][0],
                id=name,
                sentence=claim["sentence"],
                headline=True,
                scale=scale,
                data=DATA[scale],
                **changes,
            )
        )
        for scale in DATA
        if scale in claim
    ]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book of two parts, a page each, with the settings of the real one."""
    settings_of_the_book(tmp_path)
    (tmp_path / "index.md").write_text("# Small\n\n```{verdict-table}\n```\n", encoding="utf-8")
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "part.md").write_text(
        "# Part\n\n```{part-picture}\n:part: to_do\n```\n\n```{verdict-table}\n:part: to_do\n```\n",
        encoding="utf-8",
    )
    (tmp_path / "chapters" / "bibliography.md").write_text(
        "# Bibliography\n\n```{bibliography}\n:all:\n```\n", encoding="utf-8"
    )
    write_notebook(
        tmp_path / "chapters" / "to_do" / "page.ipynb",
        text_cell("# The page"),
        text_cell(f"{MINUTE}\n\nDo it."),
        *measurements("page.pays", PAYS),
        stored(coming_out(law.HOLDS, id="page.support", sentence=NO_HEADLINE)),
    )
    write_notebook(
        tmp_path / "chapters" / "more" / "plain.ipynb",
        text_cell("# A plain page"),
        text_cell(f"{MINUTE}\n\nRead on."),
        stored(coming_out(law.HOLDS, id="plain.x", sentence="It also supports.")),
    )
    contents(tmp_path, "chapters/to_do/page", "chapters/more/plain")
    return tmp_path


def contents(book: Path, *pages: str) -> None:
    """Write the table of contents."""
    files = [{"file": name} for name in (*pages, "chapters/part", "chapters/bibliography")]
    toc = {"format": "jb-book", "root": "index", "chapters": files}
    (book / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")


def built(book: Path) -> None:
    done = build(book)
    assert done.returncode == 0, done.stdout + done.stderr


def page_of(book: Path, name: str) -> Tag:
    """The article of a built page."""
    path = book / "_build" / "html" / f"{name}.html"
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one("article")


def words(node: Tag) -> str:
    return " ".join(node.get_text(" ").split())


def rows_of(table: Tag) -> dict[str, dict[str, str]]:
    """What stands in each column of each claim's row, by the claim's sentence."""
    heads = [words(head) for head in table.select("thead th")]
    found = {}
    for row in table.select('tr:has(> th[scope="row"])'):
        cells = dict(
            zip(heads, map(words, row.find_all(["th", "td"], recursive=False)), strict=True)
        )
        sentence = cells.pop("Claim")
        assert sentence not in found, "a sentence stands in the table twice"
        found[sentence] = cells
    return found


def expected(claim: dict, *used: str) -> dict[str, str]:
    """The row of a claim in a table with a column for each of the scales ``used``."""
    empty = dict.fromkeys((COLUMN[scale] for scale in used), "\N{EN DASH} not measured")
    return empty | {COLUMN[scale]: claim[scale][1] for scale in DATA if scale in claim}


@pytest.mark.parametrize(
    ("data", "at", "name"),
    [
        ("glyphs, standardised", "900 steps", "Made data"),
        ("rendered digits", "", "Made data"),
        ("drivers", "", "Made data"),
        ("digits, mislabelled", "", "Small real data"),
        ("handwriting", "", "Small real data"),
        ("wine", "", "Small real data"),
        ("mnist, digits 5 to 9", "", "MNIST"),
        ("CIFAR-10 (JPEG copy), standardised", "1,000 images", "CIFAR-10"),
        ("CIFAR-10 (JPEG copy)", "from ImageNet, against all layers", "Text, ImageNet"),
        ("Shakespeare", "400 steps", "Text, ImageNet"),
        ("text", "25 labels", "Text, ImageNet"),
    ],
)
def test_each_kind_of_data_has_its_column(data: str, at: str, name: str) -> None:
    found = Found(record(data=data, at=at, scale=law.scale(data)), "chapters/a/page")
    assert headlines.column(found) == name


def test_what_the_law_calls_full_size_is_not_shown_as_small() -> None:
    small = headlines.COLUMNS[:2]
    for pattern, size in law.SCALES:
        data = pattern.replace("*", "")
        found = Found(record(data=data, at="", scale=size), "chapters/a/page")
        assert (headlines.column(found) in small) == (size != "full" and data != "text")


def test_a_strip_has_room_for_all_that_a_page_may_have() -> None:
    assert headlines.MOST == MAX_HEADLINES


@pytest.mark.site
def test_headline_claims_stand_on_their_page_and_in_the_table(book: Path) -> None:
    built(book)

    page = page_of(book, "chapters/to_do/page")
    (strip,) = page.select("ul.headline-strip")
    assert strip["aria-label"] == "Headline claims" and strip["role"] == "list"
    assert strip.find_previous_sibling().get_text().startswith("In one minute")
    assert words(strip.find_next_sibling()) == "Do it."
    (item,) = strip.select("li")
    assert words(item) == "It pays. holds (glyphs) undecided (MNIST)"
    assert item.a["href"] == "#claim-page-pays"
    assert page.find(id=item.a["href"][1:]) is not None
    assert page_of(book, "chapters/more/plain").select(".headline-strip") == []

    index = page_of(book, "index")
    assert words(index.select_one(".verdict-sums")) == (
        "1 headline claim, 2 measurements: holds 1 undecided 1"
    )
    (part,) = index.select("details.verdict-part")  # no headline claim, no part
    assert part.has_attr("open") and words(part.summary) == "To do 1 claim: holds 1 undecided 1"
    table = part.table
    assert words(table.caption) == "To do: the headline claims"
    assert [words(head) for head in table.select('th[scope="rowgroup"]')] == ["The page"]
    assert {head["scope"] for head in table.select("thead th")} == {"col"}
    # What was not measured on any data of a kind has no column for it.
    assert rows_of(table) == {"It pays.": expected(PAYS, "made", "full")}
    links = [link["href"] for link in table.select("td a")]
    assert links == [
        "chapters/to_do/page.html#claim-page-pays-on-glyphs",
        "chapters/to_do/page.html#claim-page-pays-on-mnist",
    ]

    # Another page, in another part, and a claim that is measured twice at one scale. It came out
    # the opposite only, so the landing page can name it among the tips that were false.
    with (book / "index.md").open("a", encoding="utf-8") as text:
        text.write("\n```{contradicted}\n```\n")
    write_notebook(
        book / "chapters" / "more" / "new.ipynb",
        text_cell("# A new page"),
        text_cell(f"{MINUTE}\n\nLeave it."),
        *measurements("new.costs", COSTS),
        *measurements("new.costs", COSTS, at="900 steps"),
        *[
            cell
            for steps in range(headlines.FEW + 1)
            for cell in measurements("new.unclear", UNCLEAR, at=f"{steps} steps")
        ],
    )
    contents(book, "chapters/to_do/page", "chapters/more/plain", "chapters/more/new")
    built(book)
    index = page_of(book, "index")
    assert words(index.select_one(".verdict-sums")) == (
        "3 headline claims, 8 measurements: holds 1 opposite 2 undecided 5"
    )
    (false,) = index.select("ul.headline-strip li")
    assert words(false) == "It costs. opposite 2"
    assert false.a["href"] == "chapters/more/new.html#claim-new-costs"
    first, second = index.select("details.verdict-part")
    # The one that stands open has something to compare.
    assert second.has_attr("open") and not first.has_attr("open")
    assert rows_of(first.table) == {"It pays.": expected(PAYS, "made", "full")}
    twice = "opposite (digits) opposite (digits, 900 steps)"
    each = " ".join(f"undecided ({steps} steps)" for steps in range(headlines.FEW + 1))
    assert rows_of(second.table) == {
        "It costs.": expected({**COSTS, "real": (law.OPPOSITE, twice)}, "made", "real"),
        "It is unclear.": expected(
            {**UNCLEAR, "made": (law.UNDECIDED, f"undecided 4 {each}")}, "made", "real"
        ),
    }
    dashes = second.table.select('td.not-measured > [aria-hidden="true"]')
    assert len(dashes) == 2
    for dash in dashes:
        assert words(dash.find_next_sibling(class_="visually-hidden")) == "not measured"
    (fold,) = second.table.select("details")  # many measurements are folded up, and two are not
    assert words(fold.summary) == "undecided 4"
    assert len(fold.select("p > a.claim-ref")) == headlines.FEW + 1
    (few, many) = page_of(book, "chapters/more/new").select("ul.headline-strip li")
    assert words(few) == f"It costs. {twice}" and few.details is None
    assert words(many.summary) == "undecided 4"
    assert words(many.details) == f"undecided 4 {each}"
    part = page_of(book, "chapters/part")
    assert part.select("details") == [] and part.select(".verdict-sums") == []
    assert rows_of(part.table) == {"It pays.": expected(PAYS, "made", "full")}
    picture = part.select_one("figure.part-picture [role=img]")
    assert "The page: 2 holds, 1 undecided." in picture["aria-label"]
    assert len(picture.select("svg > [class^=claim-]")) == 3


@pytest.mark.site
def test_what_cannot_be_shown_fails_the_build(book: Path) -> None:
    with (book / "index.md").open("a", encoding="utf-8") as index:
        index.write("\n```{verdict-table}\n:part: nowhere\n```\n")
        index.write("\n```{part-picture}\n:part: nowhere\n```\n")
    write_notebook(
        book / "chapters" / "to_do" / "page.ipynb",
        text_cell("# The page\n\n## In two minutes"),
        *measurements("page.pays", PAYS),
    )
    many = [
        cell
        for number in range(headlines.MOST + 1)
        for cell in measurements(
            f"plain.n{number}", {**COSTS, "sentence": f"It costs {number} times."}
        )
    ]
    write_notebook(
        book / "chapters" / "more" / "plain.ipynb",
        text_cell("# A plain page"),
        text_cell(MINUTE),
        *many,
    )
    fails(
        book,
        "index.md:6: WARNING: verdict-table knows no part 'nowhere'",
        "index.md:10: WARNING: part-picture knows no part 'nowhere'",
        "page.ipynb: WARNING: the page has headline claims, but no heading 'In one minute'",
        "plain.ipynb: WARNING: the page has 7 headline claims; 6 are the most",
    )
