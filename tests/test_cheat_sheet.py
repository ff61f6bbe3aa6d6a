"""The cheat sheet: numbers from the records, a PDF that can be read, and no trick missing."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from pybtex.database import parse_file
from pypdf import PageObject, PdfReader

from book import cheat_sheet, sheet, sketches
from book.measured import by_claim, conditions
from book.records import Found, collect
from tests.page_rules import ROOT, TRICK_PARTS
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
from tricks_lib.law import HOLDS, OPPOSITE, TOO_SMALL, UNDECIDED, VERDICTS

SHEET = "chapters/reference/cheat_sheet"
A4 = (842, 595)  # landscape, in points


def rows_of(text: str) -> list[dict]:
    """The rows of the directive in a page."""
    inside = re.search(
        r"^```\{cheat-sheet\}\n(?::[^\n]*\n)?(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    rows, wrong = cheat_sheet.read_rows(inside[1])
    assert wrong == []
    return rows


def printed(**changes: object) -> sheet.Row:
    """A row for the PDF."""
    results = [sheet.Result(HOLDS, "+1.0 points")]
    line = sheet.Line("It pays & lasts.", results, "https://example.org/page.html#a")
    row = {"trick": "Dropout", "address": "https://example.org/page.html", "part": "Part"}
    row |= {"said": "It <i>always</i> helps.", "lines": [line], "todo": "Use <code>p=0.2</code>."}
    return sheet.Row(**row | changes)


def read(pdf: bytes) -> PdfReader:
    return PdfReader(BytesIO(pdf))


def words(page: PageObject) -> str:
    """The text of a page; where a line ends says nothing."""
    return " ".join(page.extract_text().split())


def smallest(page: PageObject) -> float:
    """The smallest type on a page, in points."""
    sizes = []

    def note(text: str, page: list[float], line: list[float], _: object, size: float) -> None:
        if text.strip():
            sizes.append(abs(page[3] * line[3]) * size)

    page.extract_text(visitor_text=note)
    return min(sizes)


def targets(page: PageObject) -> list[str]:
    """Where the links of a page lead."""
    return [link.get_object()["/A"]["/URI"] for link in page["/Annots"]]


# ----------------------------------------------------------------------------- rows and numbers


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("trick: a", "a list of rows"),
        ("", "a list of rows"),
        ("- trick: [", "not YAML"),
        ("- {trick: a, page: b, said: c, do: d}", "needs exactly"),
        ("- {trick: a, page: b, said: c, source: s, do: d, claims: [e.f], x: y}", "needs exactly"),
        ("- {trick: a, page: b, said: c, source: s, do: d, claims: []}", "names no claims"),
        ("- {trick: a, page: b, said: c, source: s, do: d, claims: e.f}", "names no claims"),
        ("- {trick: a, page: b, said: 5, source: s, do: d, claims: [e.f]}", "no text"),
    ],
)
def test_a_row_that_does_not_fit_is_named(text: str, word: str) -> None:
    rows, wrong = cheat_sheet.read_rows(text)
    assert rows == [] and len(wrong) == 1 and word in wrong[0]


# Plain signs stand for the printed ones.
SIGNS = str.maketrans(
    {
        "-": "\N{MINUS SIGN}",
        "*": "\N{MULTIPLICATION SIGN}",
        "/": "\N{DIVISION SIGN}",
    }
)


@pytest.mark.parametrize(
    ("metric", "mean", "interval", "text"),
    [
        ("test_accuracy", 0.1, [0.08, 0.12], "+10.0 points [+8.0, +12.0]"),
        ("steps_to_target", -1043, [-1100, -1000], "-1,043 steps to target [-1,100, -1,000]"),
        ("log_error", 0.000002, [-0.00001, 0.05], "0 log error [0, +0.05]"),
        ("log10_highest_rate", 1.19, [1, 1.36], "highest rate * 15 [* 10, * 23]"),
        ("log2_steps", -1, [-2, -0.5], "steps * 0.5 [/ 4, * 0.71]"),
        ("log10_rise", -7.84, [-8, -7.5], "rise / 69,000,000 [/ 100,000,000, / 32,000,000]"),
    ],
)
def test_effects_are_written_for_people(
    metric: str, mean: float, interval: list[float], text: str
) -> None:
    found = Found(record(metric=metric, effect=mean, interval=interval), "chapters/a/page")
    assert " ".join(cheat_sheet.effect(found)) == text.translate(SIGNS)


def measured(*places: tuple[str, str]) -> list[Found]:
    """Measurements of one claim, by data and by what else they name."""
    return [
        Found(record(data=data, at=at, scale=law.scale(data)), "chapters/a/page")
        for data, at in places
    ]


def test_each_measurement_has_the_condition_that_tells_it_apart() -> None:
    several = measured(
        ("glyphs, standardised", "100 images"),
        ("glyphs, standardised", "900 images"),
        ("mnist, digits 5 to 9", ""),
        ("mnist", "10,240 images, 320 steps"),
        ("mnist", "10,240 images, 4,800 steps"),
        ("CIFAR-10 (JPEG copy)", "1,000 images"),
    )
    assert conditions(several) == [
        "glyphs 100 images",
        "glyphs 900 images",
        "MNIST digits 5 to 9",
        "MNIST 320 steps",
        "MNIST 4,800 steps",
        "CIFAR-10",
    ]
    assert conditions(several[:1]) == [""]


def test_of_many_measurements_those_at_the_largest_scale_are_shown() -> None:
    many = measured(("glyphs", ""), ("digits", "a"), ("digits", "b"), ("mnist", ""), ("wine", ""))
    assert cheat_sheet.shown(many) == [False, True, True, True, True]
    assert cheat_sheet.shown(many[:4]) == [True] * 4


# ------------------------------------------------------------------------------------- the PDF


def test_the_pdf_is_the_same_each_time_and_can_be_read() -> None:
    rows = [printed(), printed(trick="Early stopping")]
    pdf = sheet.draw(rows, "The book", "https://example.org/sheet.html")
    assert pdf == sheet.draw(rows, "The book", "https://example.org/sheet.html")
    (page,) = read(pdf).pages
    assert tuple(round(side) for side in page.mediabox[2:]) == A4
    text = words(page)
    for part in ("Dropout", "Early stopping", "It pays & lasts.", "holds, +1.0 points", "p=0.2"):
        assert part in text
    assert {"https://example.org/page.html", "https://example.org/page.html#a"} <= set(
        targets(page)
    )
    assert "https://example.org/sheet.html" in targets(page)
    about = read(pdf).metadata
    assert about.title == "The book: the cheat sheet" and "2000" in str(about.creation_date)


def test_marks_and_words_name_each_verdict() -> None:
    lines = [sheet.Line("So.", [sheet.Result(verdict, "0")], "https://x") for verdict in VERDICTS]
    (page,) = read(sheet.draw([printed(lines=lines)], "The book", "https://x")).pages
    text = words(page).replace("\N{NO-BREAK SPACE}", " ")
    marks = {HOLDS: "●", OPPOSITE: "◆", TOO_SMALL: "○", UNDECIDED: "◇"}
    for verdict, mark in marks.items():
        assert f"{mark} So. {verdict}, 0" in text
        assert f"{mark} {verdict}" in text  # the key above the table


def test_a_claim_measured_thrice_stands_once_with_both_verdicts() -> None:
    results = [
        sheet.Result(HOLDS, "+1 points", "glyphs"),
        sheet.Result(UNDECIDED, "+0.2 points", "digits"),
        sheet.Result(HOLDS, "+3 points", "MNIST 1,000 images"),
        sheet.Result(UNDECIDED, "+3 points", "MNIST 100 images", shown=False),
        sheet.Result(OPPOSITE, "-3 points", "glyphs 100 images", shown=False),
    ]
    lines = [sheet.Line("So.", results, "https://x")]
    (page,) = read(sheet.draw([printed(lines=lines)], "The book", "https://x")).pages
    text = words(page).replace("\N{NO-BREAK SPACE}", " ")
    told = (
        "● So. holds, glyphs, MNIST 1,000 images; ◇ undecided, digits, 1 more; ◆ opposite, 1 more"
    )
    assert told in text


def test_more_rows_mean_smaller_type_and_then_another_page() -> None:
    few, some, many = (
        read(sheet.draw([printed()] * number, "The book", "https://x")).pages
        for number in (3, 40, 48)
    )
    assert (len(few), len(some), len(many)) == (1, 1, 2)
    assert "Page 2 of 2" in words(many[1]) and "Measured here" in words(many[1])
    assert all(smallest(page) >= 7 for page in (*few, *some, *many))


BACK = [
    sheet.Heading("Numbers"),
    sheet.Grid(["What", "Value"], [["Adam & co", sheet.link("https://x/#a", "<b>0.001</b>")]]),
    sheet.Heading("Steps"),
    sheet.Code("loss.backward()\n    step()"),
    sheet.Heading("Pictures"),
    *[sheet.Picture(name) for name in sketches.SKETCHES],
]


def test_the_back_holds_tables_code_and_pictures() -> None:
    pdf = sheet.draw([printed()], "The book", "https://x", BACK)
    front, back = read(pdf).pages
    assert "Dropout" in words(front) and "Numbers" not in words(front)
    for part in ("Numbers", "0.001", "loss.backward()", "Page 2 of 2", "keep these weights"):
        assert part in words(back)
    assert "https://x/#a" in targets(back)
    with pytest.raises(ValueError, match="more than a page"):
        sheet.draw([printed()], "The book", "https://x", BACK * 4)


def test_pictures_say_what_they_show_and_stay_in_their_box() -> None:
    for name, sketch in sketches.SKETCHES.items():
        assert len(sketch.alt.split()) > 15 and "aria-label" in sketches.svg(name)
        for shape in sketch.shapes:
            for x, y in getattr(
                shape, "points", [(getattr(shape, "x", 0), getattr(shape, "y", 0))]
            ):
                assert 0 <= x <= sketches.WIDTH and 0 <= y <= sketches.HEIGHT, (name, shape)


# ------------------------------------------------------------------------------ in a small book

ROWS = """
- trick: The trick
  page: a/page
  said: It *always* pays.
  source: kingma2015adam
  claims: [page.slug]
  do: Call `f(0)`.
"""


SECTIONS = """
## Numbers

| What | Value |
|---|---|
| Adam | [0.001](bibliography.md) |

```python
loss.backward()
```

## Pictures

```{sketches}
curves
```
"""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book of one claim and a cheat sheet, with the settings of the real one."""
    settings_of_the_book(tmp_path)
    pages = [{"file": f"chapters/{name}"} for name in ("sheet", "a/page", "bibliography")]
    toc = {"format": "jb-book", "root": "index", "chapters": pages}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    (tmp_path / "index.md").write_text("# Small\n", encoding="utf-8")
    write_notebook(
        tmp_path / "chapters" / "a" / "page.ipynb", text_cell("# Page"), stored(coming_out(HOLDS))
    )
    write_sheet(tmp_path, ROWS)
    (tmp_path / "chapters" / "bibliography.md").write_text(
        "# Bibliography\n\n```{bibliography}\n:all:\n```\n", encoding="utf-8"
    )
    return tmp_path


def write_sheet(book: Path, rows: str, back: str = "numbers, pictures") -> None:
    text = f"# Sheet\n\n```{{cheat-sheet}}\n:back: {back}\n{rows}```\n{SECTIONS}"
    (book / "chapters" / "sheet.md").write_text(text, encoding="utf-8")


@pytest.mark.site
def test_the_sheet_follows_the_records(book: Path) -> None:
    done = build(book)
    assert done.returncode == 0, done.stdout + done.stderr
    html = book / "_build" / "html" / "chapters" / "sheet.html"
    text = html.read_text(encoding="utf-8")
    assert 'href="a/page.html#claim-page-slug-on-glyphs"' in text and 'href="sheet.pdf"' in text
    assert "It <em>always</em> pays." in text and 'href="a/page.html"' in text
    assert "+10.0 points" in text and "[+6.7, +13.3]" in text
    page, back = PdfReader(html.with_suffix(".pdf")).pages
    assert "It always pays. (Kingma & Ba 2015)" in words(page)
    assert "It pays. holds, +10.0 points" in words(page) and "f(0)" in words(page)
    assert "0.001" in words(back) and "loss.backward()" in words(back)
    assert [uri for uri in targets(back) if uri.endswith("/chapters/bibliography.html")]
    assert "keep these weights" in words(back) and 'aria-label="Two curves' in text
    (link,) = [uri for uri in targets(page) if uri.endswith("page.html#claim-page-slug-on-glyphs")]
    assert link.startswith("https://")

    twice = [stored(coming_out(OPPOSITE)), stored(coming_out(TOO_SMALL, data="digits"))]
    write_notebook(book / "chapters" / "a" / "page.ipynb", text_cell("# Page"), *twice)
    assert build(book).returncode == 0
    minus = "\N{MINUS SIGN}"
    text = html.read_text(encoding="utf-8")
    assert "+10.0" not in text and f"glyphs: {minus}10.0 points" in text
    assert text.count(">It pays.<") == 1
    page, _ = PdfReader(html.with_suffix(".pdf")).pages
    told = words(page).replace("\N{NO-BREAK SPACE}", " ")
    assert "It pays. opposite, glyphs; ○ too small to matter, digits" in told


@pytest.mark.site
def test_what_is_unknown_fails_the_build(book: Path) -> None:
    lost = ROWS.replace("page.slug", "page.lost") + ROWS.replace("a/page", "a/nowhere")
    lost = lost.replace("kingma2015adam", "nobody1999", 1)
    write_sheet(book, lost + "- trick: Half\n  page: a/page\n", back="numbers, lost-section")
    fails(
        book,
        "no section of the cheat sheet has the id 'lost-section'",
        "no record has the claim id 'page.lost'",
        "the cheat sheet cites 'nobody1999', which is not in references.bib",
        "a/nowhere",
        "row 3 of the cheat sheet needs exactly",
    )


# ------------------------------------------------------------------------------- the real sheet


def missing(toc: dict, rows: list[dict]) -> set[str]:
    """The pages of tricks in the contents that have no row."""
    listed = {entry["file"] for part in toc["parts"] for entry in part["chapters"]}
    tricks = {
        name
        for name in listed
        if Path(name).parent.name in TRICK_PARTS and Path(name).name not in ("index", "exercises")
    }
    return tricks - {f"chapters/{row['page'].removeprefix('../')}" for row in rows}


def test_every_trick_has_a_row() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    rows = rows_of((ROOT / f"{SHEET}.md").read_text(encoding="utf-8"))
    assert missing(toc, rows) == set()
    kept = [row for row in rows if not row["page"].endswith("/optimizers")]
    assert missing(toc, kept) == {"chapters/parameter_tuning/optimizers"}


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / f"{SHEET}.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bibliography() -> dict:
    return parse_file(str(ROOT / "references.bib")).entries


def test_the_source_of_each_row_is_in_the_bibliography(page: str, bibliography: dict) -> None:
    for row in rows_of(page):
        keys = cheat_sheet.keys_of(row["source"])
        assert keys, row["trick"]
        for key in keys:
            who = cheat_sheet.who(bibliography[key])
            assert re.fullmatch(r"[^\W\d].* \d{4}", who) and "\\" not in who, who


def test_no_two_verdicts_of_a_row_clash_without_a_condition(page: str) -> None:
    found, _ = collect(
        {
            str(path.relative_to(ROOT).with_suffix("")): path
            for part in TRICK_PARTS
            for path in sorted((ROOT / "chapters" / part).glob("*.ipynb"))
        },
        [],
    )
    claims = {group[0].id: group for group in by_claim(found.values())}
    for row in rows_of(page):
        for name in row["claims"]:
            told = conditions(claims[name])
            assert len(set(told)) == len(told), name


def section(page: str, title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]


def test_the_steps_stand_in_the_order_in_which_they_work(page: str) -> None:
    code = section(page, "One step of training, in order")
    calls = [
        "model.train()",
        "autocast",
        "cross_entropy",
        "/ parts).backward()",
        "scaler.unscale_(optimizer)",
        "clip_grad_norm_",
        "scaler.step(optimizer)",
        "scaler.update()",
        "optimizer.zero_grad()",
        "scheduler.step()",
        "averaged.update_parameters(model)",
        "model.eval()",
        "inference_mode",
    ]
    places = [code.index(call) for call in calls]
    assert places == sorted(places)
    assert all(len(line) <= 62 for line in code.splitlines() if line.startswith(" "))


def test_every_number_to_start_from_has_a_source(page: str, bibliography: dict) -> None:
    lines = [one for one in section(page, "Numbers to start from").splitlines() if one[:1] == "|"]
    assert len(lines) > 20
    for line in lines[2:]:
        source = line.strip("| ").rpartition("|")[2]
        cited = re.findall(r"\{cite:t\}`(\w+)`", source)
        pages = re.findall(r"\{doc\}`([^`]+)`", source)
        assert cited or pages, line
        assert all(key in bibliography for key in cited), line
        for name in pages:
            assert (ROOT / SHEET).parent.joinpath(f"{name}.ipynb").resolve().is_file(), line


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d[\d,.]*\d|\d", text))


def test_every_number_of_the_advice_stands_in_its_page_or_among_the_cited_ones(page: str) -> None:
    """That a number means the same there cannot be tested: readers of the page see to it."""
    cited = numbers(section(page, "Numbers to start from"))
    for row in rows_of(page):
        told = (ROOT / SHEET).parent.joinpath(f"{row['page']}.ipynb").read_text(encoding="utf-8")
        lost = (
            numbers(re.sub(r"`[^`]*`", "", row["do"] + " " + row["said"])) - cited - numbers(told)
        )
        assert not lost, (row["trick"], lost)


def test_a_number_about_the_popular_sheets_stands_beside_a_claim(page: str) -> None:
    wrong = section(page, "What the popular sheets get wrong")
    for item in re.split(r"^- ", wrong, flags=re.MULTILINE)[1:]:
        text = re.sub(r"`[^`]*`|L[12]", "", item)
        assert not numbers(text) or re.search(r"`[a-z_]+\.[a-z0-9_]+`", item), item
