"""The book's own machinery: records, ledger, plots, configuration, and the change of its name."""

from __future__ import annotations

import copy
import functools
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup
from pybtex.database import parse_file

from book import forest, measured, prose, records, retarget
from book.build import build as build_a_book
from tests.page_rules import CONFIG
from tricks_lib import claims as library
from tricks_lib import law
from tricks_lib.experiment import Effect

ROOT = Path(__file__).resolve().parent.parent
GAINS = (0.08, 0.09, 0.1, 0.11, 0.12)  # one a seed; their interval is clear of the margin, 0.02
RECORD = {
    "id": "page.slug",
    "sentence": "It pays.",
    "source": "ioffe2015batch",
    "place": "section 4",
    "tested_by": ["santurkar2018how"],
    "kind": "claim",
    "headline": False,
    "data": "glyphs",
    "at": "",
    "scale": "made",
    "conditions": {"steps": "300"},
    "metric": "test_accuracy",
    "direction": "higher",
    "arms": ["with", "without"],
    "of": "",
    "rate": False,
    "margin": 0.02,
    "reason": "one example in fifty",
    "differences": list(GAINS),
    "effect": 0.1,
    "interval": [0.06744, 0.1326],
    "confidence": 0.99,
    "num_seeds": 5,
    "seeds": [0, 1, 2, 3, 4],
    "diverged": [0, 0],
    "verdict": "holds",
    "amended": "",
    "recorded": None,
    "versions": {"python": "3.11.0"},
    "device": "cpu",
}
KEYS = ("ioffe2015batch", "santurkar2018how")
# Differences that lead to each verdict, at the margin of RECORD.
GIVES = {
    law.HOLDS: GAINS,
    law.OPPOSITE: tuple(-gain for gain in GAINS),
    law.TOO_SMALL: (-0.001, 0.0, 0.001, 0.002, -0.002),
    law.UNDECIDED: (-0.05, 0.0, 0.05, 0.1, 0.02),
}


def record(**changes: object) -> dict:
    """A good record with some fields changed, whether they fit together or not."""
    return {**copy.deepcopy(RECORD), **changes}


def judged(differences: Sequence[float] = GAINS, **changes: object) -> dict:
    """A record whose numbers and verdict follow from its differences and from ``changes``."""
    found = record(differences=list(differences), **changes)
    found["num_seeds"] = len(differences)
    found["seeds"] = list(range(len(differences)))
    found["margin"] = law.margin(found["metric"], found["data"]).value
    low, high = law.interval(differences, rate=found["rate"])
    found["effect"] = sum(differences) / len(differences)
    found["interval"] = [low, high]
    found["verdict"] = law.verdict((low, high), found["margin"], found["direction"])
    return {**found, **changes}


def coming_out(verdict: str, **changes: object) -> dict:
    """A good record with this verdict."""
    made = judged(GIVES[verdict], **changes)
    assert made["verdict"] == verdict and records.check_record(made) == []
    return made


def pages_with(*found: dict) -> dict[str, records.Found]:
    """Records as the build has them."""
    made = [records.Found(one, f"chapters/a/{one['id'].split('.')[0]}") for one in found]
    return {one.key: one for one in made}


def declare(name: str) -> dict:
    """A code cell that declares a claim."""
    return {
        "cell_type": "code",
        "source": f'%matplotlib inline\nfew = tl.Claim(\n    id="{name}", sentence="It pays.")',
        "outputs": [],
    }


def stored(found: object) -> dict:
    """A code cell whose output has a record, and a card as the library makes it."""
    data = {records.MIME: found, "text/plain": "HOLDS"}
    if not records.check_record(found):
        data["text/html"] = library.card(found)
    return {
        "cell_type": "code",
        "source": "tl.claim(few, effect)",
        "outputs": [{"output_type": "display_data", "data": data, "metadata": {}}],
    }


def text_cell(text: str) -> dict:
    return {"cell_type": "markdown", "source": text}


def write_notebook(path: Path, *cells: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(cells):
        cell.update(id=f"c{number:02d}", metadata={})
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {
        "cells": list(cells),
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


# --- records ----------------------------------------------------------------------------------


def test_a_good_record_is_accepted():
    assert records.check_record(RECORD) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"id": "Page.Slug"}, "lower case"),
        ({"id": "page"}, "page.slug"),
        ({"sentence": " "}, "sentence"),
        ({"source": ""}, "source"),
        ({"margin": "0.02"}, "wrong type"),
        ({"margin": True}, "wrong type"),
        ({"margin": 0}, "margin"),
        ({"margin": float("nan")}, "finite"),
        ({"margin": 0.01}, "not that of the table"),
        ({"metric": "beauty"}, "not that of the table"),
        ({"effect": 0.2}, "do not follow from its differences"),
        ({"interval": [0.08, 0.12]}, "do not follow from its differences"),
        ({"interval": [0.06744]}, "finite"),
        ({"interval": [0.06744, float("inf")]}, "finite"),
        ({"confidence": 0.95}, "not of 0.99"),
        ({"differences": [0.1] * 5, "interval": [0.1, 0.1]}, "do not vary"),
        ({"differences": [0.1, 0.2]}, "one number a seed"),
        ({"scale": "huge"}, "scale"),
        ({"kind": "guess"}, "kind"),
        ({"direction": "up"}, "direction"),
        ({"verdict": "HOLDS"}, "verdict"),
        ({"verdict": "no detectable effect"}, "verdict"),
        ({"verdict": "undecided"}, "does not follow"),
        ({"arms": ["with"]}, "arms"),
        ({"tested_by": [7]}, "tested_by"),
        ({"num_seeds": 10}, "num_seeds"),
        ({"seeds": [1, 1, 1]}, "num_seeds"),
        ({"extra": 1}, "unknown field"),
    ],
)
def test_a_bad_record_is_named(changes: dict, word: str):
    problems = records.check_record(record(**changes))
    assert problems and word in " ".join(problems)


@pytest.mark.parametrize("name", RECORD)
def test_every_field_is_needed(name: str):
    found = record()
    del found[name]
    assert name in " ".join(records.check_record(found))


@pytest.mark.parametrize("found", [None, 3, "holds", []])
def test_a_record_is_an_object(found: object):
    assert records.check_record(found)


def measure(values: Sequence[float], metric: str = "test_accuracy", **fields: object) -> Effect:
    """An effect as a study finds it."""
    return Effect(
        np.array(values), tuple(range(len(values))), "a", "b", metric, "glyphs", "cpu", **fields
    )


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("values", GIVES.values(), ids=GIVES)
def test_what_the_library_stores_is_a_good_record(values: tuple, lower: bool):
    claim = library.Claim("page.slug", "It pays.", "ioffe2015batch, section 4", lower=lower)
    found = library.record(claim, measure(values))
    assert records.check_record(found) == []
    assert (found["source"], found["place"]) == ("ioffe2015batch", "section 4")


@pytest.mark.parametrize("verdict", law.VERDICTS)
def test_a_verdict_is_worked_out_again_from_the_differences(verdict: str):
    good = coming_out(verdict)
    for other in set(law.VERDICTS) - {verdict}:
        assert "does not follow" in " ".join(records.check_record({**good, "verdict": other}))
    told = {**good, "differences": [value + 0.3 for value in good["differences"]]}
    assert "do not follow" in " ".join(records.check_record(told))


def test_no_record_has_an_interval_of_zero_width():
    """Ten successes of ten do not prove a rate of one."""
    claim = library.Claim("page.slug", "It fails.", "ioffe2015batch", metric="failed")
    found = library.record(claim, measure([1] * 10, "failed", rate=True))
    assert records.check_record(found) == []
    low, high = found["interval"]
    assert low < 0.7 and high == 1
    assert records.check_record({**found, "interval": [1, 1]})
    with pytest.raises(ValueError, match="do not vary"):
        library.record(claim, measure([1] * 10, "failed"))


def test_no_page_chooses_its_own_margin():
    claim = library.Claim("page.slug", "It pays.", "ioffe2015batch", margin=0.01)
    problems = records.check_record(library.record(claim, measure(GAINS)))
    assert len(problems) == 1 and "not that of the table" in problems[0]


def test_collect_finds_records_in_order(tmp_path: Path):
    pages = {
        "chapters/a/two": write_notebook(
            tmp_path / "two.ipynb", declare("two.x"), stored(record(id="two.x"))
        ),
        "chapters/a/one": write_notebook(
            tmp_path / "one.ipynb", stored(record(id="one.x", sentence="It costs."))
        ),
    }
    found, problems = records.collect(pages, KEYS)
    assert problems == []
    assert [(item.id, item.part, item.page) for item in found.values()] == [
        ("two.x", "a", "two"),
        ("one.x", "a", "one"),
    ]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([stored(record()), stored(record())], "measured twice on glyphs"),
        ([stored(record()), stored(judged(data="digits", place="p. 3"))], "differ in 'place'"),
        ([stored(record()), stored(record(id="page.twin"))], "its sentence is that of page.slug"),
        ([stored(record(source="nobody1999nothing"))], "not in references.bib"),
        ([stored(record(tested_by=["nobody1999nothing"]))], "not in references.bib"),
        ([declare("page.lost")], "no output has its record"),
        ([stored(record(id="other.slug"))], "must begin with"),
        ([stored(record(verdict="opposite"))], "does not follow"),
        ([stored("nonsense")], "not a JSON object"),
    ],
)
def test_collect_names_what_does_not_fit(tmp_path: Path, cells: list, message: str):
    path = write_notebook(tmp_path / "page.ipynb", *copy.deepcopy(cells))
    _, problems = records.collect({"chapters/a/page": path}, KEYS)
    assert len(problems) == 1 and message in problems[0].message


def test_scaled_points_where_the_sentence_points():
    found = records.Found(
        record(direction="lower", effect=-0.1, interval=[-0.12, -0.08]), "chapters/a/page"
    )
    assert found.scaled == pytest.approx((4, 5, 6))


# --- one claim, several measurements ------------------------------------------------------------


def test_a_claim_may_be_measured_several_times(tmp_path: Path):
    path = write_notebook(
        tmp_path / "page.ipynb",
        declare("page.slug"),
        stored(coming_out(law.HOLDS)),
        stored(coming_out(law.UNDECIDED, data="digits")),
        stored(coming_out(law.TOO_SMALL, data="digits", at="900 steps")),
    )
    found, problems = records.collect({"chapters/a/page": path}, KEYS)
    assert problems == []
    assert list(found) == [
        "page.slug on glyphs",
        "page.slug on digits",
        "page.slug on digits 900 steps",
    ]
    assert len({one.anchor for one in found.values()}) == 3


@pytest.mark.parametrize(
    ("where", "labels"),
    [
        ([("glyphs, standardised", "")], [""]),
        ([("glyphs, standardised", ""), ("digits", "")], ["glyphs", "digits"]),
        ([("digits", "300 steps"), ("digits", "900 steps")], ["300 steps", "900 steps"]),
        ([("digits", ""), ("digits", "900 steps")], ["digits", "digits, 900 steps"]),
        ([("digits", ""), ("digits, turned", "")], ["digits", "digits, turned"]),
        (
            [
                ("glyphs, standardised", "9 steps"),
                ("digits", "9 steps"),
                ("digits, turned", "9 steps"),
            ],
            ["glyphs, 9 steps", "digits, 9 steps", "digits, turned, 9 steps"],
        ),
    ],
)
def test_measurements_are_told_apart_in_few_words(where: list, labels: list[str]):
    found = [records.Found(record(data=data, at=at), "chapters/a/page") for data, at in where]
    assert measured.labels(found) == labels


def test_one_measurement_alone_was_made_somewhere_too():
    found = [records.Found(record(data="glyphs, standardised"), "chapters/a/page")]
    assert (measured.labels(found), measured.places(found)) == ([""], ["glyphs"])


def test_claims_and_measurements_are_counted_apart():
    found = pages_with(
        coming_out(law.HOLDS, headline=True),
        coming_out(law.UNDECIDED, headline=True, data="digits"),
        coming_out(law.OPPOSITE, id="page.other"),
        coming_out(law.TOO_SMALL, id="page.third"),
        coming_out(law.TOO_SMALL, id="more.placebo", kind="placebo"),
        coming_out(law.HOLDS, id="more.control", kind="control"),
    )
    assert measured.counts(found.values()) == {
        "claims": 3,
        "measurements": 4,
        "headline": 1,
        "holds": 1,
        "opposite": 1,
        "too-small": 1,
        "undecided": 1,
        "checks": 2,
        "checks-passed": 1,
        "pages": 2,
        "decided": 5,
        "expected-wrong": 1,
    }


def test_the_placebos_are_judged_together():
    honest, biased, claim = (record(kind="placebo") for _ in range(3))
    honest["differences"] = [0.01, -0.012, 0.004, -0.003, 0.0]
    biased["differences"] = [0.01, 0.012, 0.011, 0.013, 0.012]
    claim |= {"kind": "claim", "differences": biased["differences"]}

    def together(*found: dict) -> float:
        return measured.placebos_together(records.Found(one, "chapters/a/page") for one in found)

    assert together(honest, claim) > 0.5
    assert together(honest, biased, claim) < 0.001
    assert together(claim) == 1


def test_no_fault_shows_in_the_placebos_of_the_book():
    notebooks = {path.stem: path for path in (ROOT / "chapters").glob("*/*.ipynb")}
    found, _ = records.collect(notebooks, ())
    assert measured.placebos_together(found.values()) > 0.01


def test_the_verdicts_to_be_expected_wrong_follow_benjamini_and_hochberg():
    """The largest p-value among n decided verdicts: n times it are expected to be wrong."""
    sure = [coming_out(law.HOLDS, id=f"page.c{number}") for number in range(99)]
    unsure = coming_out(law.UNDECIDED, id="page.open")
    # An interval that just reaches the margin: its p-value is half of 1 - 0.99, or a little less.
    shift = 0.02 - sure[0]["interval"][0] + 1e-6
    last = judged([gain + shift for gain in GAINS], id="page.close")
    assert records.check_record(last) == []
    found = pages_with(*sure, unsure, last)
    p_values = sorted(one.p_value for one in found.values() if one.p_value is not None)
    assert len(p_values) == 100 and p_values[-1] == pytest.approx(0.005, rel=0.01)
    expected = measured.expected(found.values())
    assert expected.decided == 100 and expected.wrong == pytest.approx(0.5, rel=0.01)
    assert measured.counts(found.values())["expected-wrong"] == 1
    assert measured.counts(pages_with(unsure).values())["expected-wrong"] == 0


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("test_accuracy", 0.1234, "+12.3"),
        ("test_accuracy", -0.002, "\N{MINUS SIGN}0.20"),  # MNIST is judged at a fifth of a point
        ("test_accuracy", -0.00002, "0.00"),
        ("test_loss", 0.01234, "+0.0123"),
        ("steps_to_target", -1043.2, "\N{MINUS SIGN}1,043"),
    ],
)
def test_numbers_are_written_as_people_write_them(metric: str, value: float, text: str):
    assert records.format_value(metric, value) == text


# --- plots ------------------------------------------------------------------------------------


def test_the_forest_plot_is_the_same_each_time(tmp_path: Path):
    found = list(
        pages_with(
            coming_out(law.HOLDS),
            coming_out(law.OPPOSITE, id="page.worse"),
            coming_out(law.UNDECIDED, data="digits"),
            coming_out(law.TOO_SMALL, id="page.tiny"),
        ).values()
    )
    for narrow in (False, True):
        forest.draw(found, tmp_path / "one.svg", narrow=narrow)
        forest.draw(found, tmp_path / "two.svg", narrow=narrow)
        first = (tmp_path / "one.svg").read_bytes()
        assert first == (tmp_path / "two.svg").read_bytes()
        assert b"worse" in first and b"<dc:date>" not in first
    text = forest.alt_text(found)
    for words in (
        "4 measurements of 3 claims",
        "99 % interval",
        "1 hold,",
        "1 come out opposite",
        "1 are too small to matter",
        "1 are undecided",
    ):
        assert words in text, words


def drawn(path: Path, *found: dict) -> str:
    """The SVG of a forest plot."""
    forest.draw(list(pages_with(*found).values()), path, narrow=False)
    return path.read_text(encoding="utf-8")


def test_a_plot_names_each_verdict_and_each_measurement(tmp_path: Path):
    plot = drawn(
        tmp_path / "a.svg", coming_out(law.HOLDS), coming_out(law.UNDECIDED, data="digits")
    )
    for words in (*law.VERDICTS, "slug, glyphs", "slug, digits"):
        assert f">{words}<" in plot, words


def test_the_marks_of_the_verdicts_do_not_differ_by_colour_alone(tmp_path: Path):
    shapes = {
        (style["marker"], style["markerfacecolor"] == "white") for style in forest.STYLE.values()
    }
    assert set(forest.STYLE) == set(law.VERDICTS) and len(shapes) == 4
    solid, dashed = (
        drawn(tmp_path / "a.svg", coming_out(verdict)).count("stroke-dasharray")
        for verdict in (law.HOLDS, law.UNDECIDED)
    )
    assert dashed == solid + 1


def test_a_compact_plot_of_many_claims_stays_a_glance(tmp_path: Path):
    found = [
        records.Found(record(id=f"page{number // 20}.c{number}"), f"chapters/a/page{number // 20}")
        for number in range(300)
    ]
    forest.draw(found, tmp_path / "plot.svg", narrow=False, compact=True)
    (height,) = re.findall(r'<svg [^>]*height="([\d.]+)pt"', (tmp_path / "plot.svg").read_text())
    assert float(height) < 14 * 72


# --- the words around the claims --------------------------------------------------------------


CLAIMED = {"page.open": {"undecided", "holds"}, "page.tiny": {"holds", "too small to matter"}}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The two are equals (`page.open`).", "equals"),
        ("It costs nothing: `page.open`.", "nothing"),
        ("Equally good, says {claim}`page.open`.", "equally"),
        ("It makes no difference\n(`page.open`).", "no difference"),
        ("- Freezing is *free* (`page.open`).", "free"),
        ("Both are the **same** here: `page.open`.", "the same"),
        ("Both give the same (`page.open`).", "the same"),
        ("It is as good as new: `page.open`.", "as good"),
        ("The two do not differ: `page.open`.", "do not differ"),
        ("It doesn't matter (`page.open`).", "doesn't matter"),
        ("The ends are identical, `page.open`.", "identical"),
        ("It ends no worse (`page.open`).", "no worse"),
        ("Its loss is as low as Adam's (`page.open`).", "as low"),
        ("It has no effect: `page.open`.", "no effect"),
        ("There is no detectable effect.", "no detectable effect"),
        ("The gain is undetectable.", "undetectable"),
        ("What remains is no detectable difference (`page.tiny`).", "no detectable difference"),
        # A verdict that no measurement of a claim near it has.
        ("It is undecided (`page.tiny`).", "undecided"),
        ("It is *too small to matter*: `page.open`.", "too small to matter"),
        ("It is undecided (`page.open`), or too small to matter (`page.tiny`).", ""),
        ("Undecided, too small to matter: two words.", ""),
        # A verdict stands behind it.
        ("It costs nothing: `page.tiny`.", ""),
        ("It costs nothing: `page.open`, `page.tiny`.", ""),
        # No claim is near, or none that we know.
        ("It costs nothing.", ""),
        ("It costs nothing: `page.ipynb`.", ""),
        ("It costs nothing.\n\nSee `page.open`.", ""),
        ("- It costs nothing.\n- See `page.open`.", ""),
        ("| nothing | a |\n| `page.open` | b |", ""),
        ("```python\nfree = 1\n```\n`page.open`", ""),
        ("Write `free` or $x = y$ (`page.open`).", ""),
        # What is held fixed, what is denied, what is quoted.
        ("With the same learning rate and the same 100 images, `page.open` fails.", ""),
        ("At equal epochs it is behind: `page.open`.", ""),
        ("They are not equal: `page.open`.", ""),
        ("Nothing else changed: `page.open`.", ""),
        ("A learning-rate-free optimizer, free to read: `page.open`.", ""),
        ("The first edition called it *no detectable effect*.", ""),
    ],
)
def test_words_of_equality_need_a_verdict(text: str, word: str):
    found = [said for block in prose.blocks(text) for said in prose.too_much(block, CLAIMED)]
    assert len(found) == (word != "") and all(f"says {word!r}" in said for said in found), found


@pytest.mark.parametrize(
    ("kind", "sentence", "word"),
    [
        ("placebo", "Another order of the batches raises accuracy.", ""),
        ("placebo", "Another order of the batches changes nothing.", "nothing"),
        ("placebo", "Another order of the batches does not raise accuracy.", "not"),
        ("placebo", "Another order of the batches never helps.", "never"),
        ("placebo", "Another order of the batches is as good.", "as good"),
        ("control", "The network keeps its accuracy.", "keeps"),
        ("placebo", "Another order ends at the same accuracy.", "same"),
        ("placebo", "Another order of the batches is without effect.", "without effect"),
        ("control", "Dropout at zero gives an equal score.", "equal"),
        ("control", "Dropout at zero doesn't help.", "doesn't"),
        ("control", "Without noise, and on the same images, dropout raises accuracy.", ""),
        ("claim", "Momentum is not adaptive.", ""),
    ],
)
def test_a_check_says_that_there_is_an_effect(kind: str, sentence: str, word: str):
    found = prose.polarity(record(kind=kind, sentence=sentence))
    assert len(found) == (word != "") and all(f"says {word!r}" in said for said in found), found


def test_pages_are_read_for_their_words(tmp_path: Path):
    (tmp_path / "part.md").write_text("# Part\n\n`page.slug` costs nothing.\n", encoding="utf-8")
    pages = {
        "page": write_notebook(
            tmp_path / "page.ipynb",
            text_cell("# Page\n\nIt is free (`page.slug`)."),
            stored(coming_out(law.HOLDS)),
            stored(record(id="page.same", kind="placebo", sentence="It changes nothing.")),
        ),
        "part": tmp_path / "part.md",
    }
    verdicts = prose.verdicts_in({"page": pages["page"]})
    assert verdicts == {"page.slug": {"holds"}, "page.same": {"holds"}}
    found = [(problem.docname, problem.message) for problem in prose.problems(pages, verdicts)]
    assert [name for name, _ in found] == ["page", "page", "part"]
    for (_, message), words in zip(
        found, ("placebo page.same", "'free' near", "'nothing' near"), strict=True
    ):
        assert words in message


def book_pages() -> dict[str, Path]:
    """Every page of the book, and what stands beside it."""
    pages = sorted(ROOT.glob("chapters/**/*.ipynb")) + sorted(ROOT.glob("chapters/**/*.md"))
    pages += [ROOT / name for name in ("index.md", "README.md", "CONTRIBUTING.md")]
    return {
        path.relative_to(ROOT).as_posix(): path
        for path in pages
        if not any(part[0] in "._" for part in path.relative_to(ROOT).parts)
    }


@functools.cache
def book_verdicts() -> dict[str, set[str]]:
    """The verdicts that all pages store; those of the first edition back no word."""
    return prose.verdicts_in({n: p for n, p in book_pages().items() if p.suffix == ".ipynb"})


@pytest.mark.parametrize("name", book_pages())
def test_no_page_says_more_than_its_verdicts(name: str):
    found = prose.problems({name: book_pages()[name]}, book_verdicts())
    assert [problem.message for problem in found] == []


# --- a small book, built ------------------------------------------------------------------------


def settings_of_the_book(folder: Path) -> None:
    """Give a small book the settings, the style and the scripts of the real one."""
    for name in ("_config.yml", "references.bib"):
        shutil.copy(ROOT / name, folder)
    for name in ("static", "templates", "vendor"):
        shutil.copytree(ROOT / "book" / name, folder / "book" / name)


@pytest.fixture
def small_book(tmp_path: Path) -> Path:
    """A book of two pages with the settings of the real one."""
    folder = tmp_path / "small"
    folder.mkdir()
    settings_of_the_book(folder)
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": "chapters/a/page"}]}
    toc["chapters"].append({"file": "chapters/bibliography"})
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    (folder / "index.md").write_text(
        "# Small\n\n{claim-count}`claims` claims, {claim-count}`measurements` measurements, "
        "{claim-count}`undecided a` undecided; of {claim-count}`decided` decided about "
        "{claim-count}`expected-wrong` may be wrong.\n\n"
        "{placebos}`p`. {claim}`page.slug` and `page.slug`.\n\n```{claims-plot}\n:compact:\n```\n\n"
        "```{claims-ledger}\n:part: a\n```\n\n"
        "```{margins}\n```\n",
        encoding="utf-8",
    )
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    write_notebook(
        folder / "chapters" / "a" / "page.ipynb",
        text_cell(f"# Page\n\n[![Open in Colab]({badge})](https://colab.research.google.com/)"),
        text_cell("## In one minute"),
        declare("page.slug"),
        stored(
            coming_out(law.HOLDS, headline=True, diverged=[0, 2], amended="Twice the steps."),
        ),
        stored(
            coming_out(
                law.UNDECIDED,
                headline=True,
                data="MNIST",
                scale="full",
                at="900 steps",
                recorded={"device": "a GPU", "date": "2026-11-28", "takes": "an hour"},
            )
        ),
        text_cell("As `page.slug` shows; `page.ipynb` and `nn.relu` are no claims."),
        text_cell("## Takeaways\n\n- It pays (`page.slug`), see: `page.slug`, `page.slug`."),
    )
    (folder / "chapters" / "bibliography.md").write_text(
        "# Bibliography\n\n```{bibliography}\n:all:\n```\n", encoding="utf-8"
    )
    return folder


def build(folder: Path) -> subprocess.CompletedProcess:
    """Build in a process of its own, forked from one that has read what every build imports."""
    builders = multiprocessing.get_context("forkserver")
    extensions = CONFIG["sphinx"]["config"]["extensions"]
    builders.set_forkserver_preload(["jupyter_book.sphinx", *extensions, __name__])
    said = folder.with_name(f"{folder.name}.txt")
    process = builders.Process(target=_build, args=(folder, said))
    process.start()
    process.join()
    told = said.read_text(encoding="utf-8")
    return subprocess.CompletedProcess(["build", str(folder)], process.exitcode, told, "")


def _build(folder: Path, said: Path) -> None:
    with said.open("w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.exit(build_a_book(folder))


def fails(folder: Path, *messages: str) -> str:
    """The build of the book in ``folder`` fails and says all of this; gives back what it said."""
    done = build(folder)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    for message in messages:
        assert message in said, f"{message!r} is not in:\n{said}"
    return said


@pytest.mark.site
def test_a_formula_that_nobody_can_draw_fails(small_book: Path):
    page = small_book / "index.md"
    page.write_text(page.read_text(encoding="utf-8") + "\nA half, $\\frac{1}$.\n", encoding="utf-8")
    fails(small_book, "KaTeX parse error", r"\frac{1}")


@pytest.mark.site
def test_the_ledger_is_made_from_the_records(small_book: Path):
    done = build(small_book)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (small_book / "_build/html/index.html").read_text(encoding="utf-8")
    lasting = 'href="chapters/a/page.html#claim-page-slug"'
    assert page.count(lasting) == 3  # the role, the inline code, the sentence in the table
    link = 'href="chapters/a/page.html#claim-page-slug-on-glyphs"'
    assert page.count(link) == 1  # its row of the table
    other = 'href="chapters/a/page.html#claim-page-slug-on-mnist-900-steps"'
    assert page.count(other) == 1  # its row of the table
    text = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert "1 claims, 2 measurements, 1 undecided; of 1 decided about 1 may be wrong." in text
    assert (
        text.count("page.slug \N{BLACK CIRCLE}\N{WHITE DIAMOND}holds (glyphs), undecided (MNIST)")
        == 2
    )
    assert text.count("It pays.") == 1
    assert page.count('rowspan="2"') == 2
    for words in (
        "Effect and 99 % interval",
        "+10.0 [+6.7, +13.3] points",
        "made data, live, 5 seeds",
        "MNIST, 900 steps",
        "full data, recorded, 5 seeds a GPU, 2026-11-28",
        "diverged: 2 with without",
        "Amended after a look: Twice the steps.",
        "headline",
        "Ioffe and Szegedy [2015], section 4; tested by",
        "0.20 points",  # the margin of MNIST
        "one run in four",
    ):
        assert words in text, words
    assert 'href="chapters/bibliography.html#' in page and "Ioffe and Szegedy" in page
    assert "claims-all-claim-compact-narrow.svg" in page
    chapter = (small_book / "_build/html/chapters/a/page.html").read_text(encoding="utf-8")
    assert 'id="claim-page-slug-on-glyphs"' in chapter and 'id="claim-page-slug"' in chapter
    assert 'href="#claim-page-slug"' in chapter
    assert chapter.count("@misc{") == 1  # on its first card
    assert chapter.count('<a href="../../index.html#margins">Smallest effect that matters</a>') == 2
    assert 'id="margins"' in page
    assert 'src="../../_images/colab-badge.svg"' in chapter
    assert "colab.research.google.com/assets" not in chapter


@pytest.mark.site
def test_marks_of_claims_are_short_and_have_words(small_book: Path):
    assert build(small_book).returncode == 0
    text = (small_book / "_build/html/chapters/a/page.html").read_text(encoding="utf-8")
    page = BeautifulSoup(text, "html.parser")
    named, *pointing = page.select("p a.claim-mark")
    assert len(pointing) == 3
    assert named.code.get_text() == "slug"  # on its own page
    for mark in (named, *pointing):
        assert mark["href"] == "#claim-page-slug" and mark["title"] == "It pays."
        shown = mark.select_one('.marks[aria-hidden="true"]')
        assert shown.get_text() == "\N{BLACK CIRCLE}\N{WHITE DIAMOND}"
        assert [part["class"] for part in shown.find_all("span")] == [
            ["claim-holds"],
            ["claim-undecided"],
        ]
        words = mark.select_one(".visually-hidden").get_text()
        assert words.endswith("holds (glyphs), undecided (MNIST)")
        assert (mark is named) == (mark.code is not None)
        assert (mark is named) == (not words.startswith("page.slug: "))
    (legend,) = page.select("p.mark-legend")
    assert legend.find_previous("h2").get_text().startswith("Takeaways")
    assert all(verdict in legend.get_text() for verdict in law.VERDICTS)


@pytest.mark.site
def test_what_does_not_fit_together_fails_the_build(small_book: Path):
    chapters = small_book / "chapters" / "a"
    write_notebook(
        chapters / "page.ipynb",
        text_cell("# Page\n\nSee `page.missing`.\n\n![A chart](https://example.org/chart.png)"),
        declare("page.lost"),
        stored(record()),
        stored(record()),
        stored(record(id="page.cited", sentence="It is cited.", source="nobody1999nothing")),
        stored(record(id="page.same", sentence="It changes nothing.", kind="placebo")),
        text_cell("It is free: `page.slug`."),
    )
    write_notebook(chapters / "orphan.ipynb", text_cell("# Orphan"))
    write_notebook(chapters / "_solutions" / "secret.ipynb", text_cell("# Secret"))
    with (small_book / "index.md").open("a", encoding="utf-8") as index:
        index.write("\n{claim}`page.nowhere` and {claim-count}`many`.\n")
    said = fails(
        small_book,
        "'page.missing', but no record",
        "the claim id 'page.nowhere'",
        "page.lost is declared",
        "claim page.slug: it is measured twice on glyphs",
        "the text says 'free' near `page.slug`",
        "placebo page.same: its sentence says 'nothing'",
        "cites 'nobody1999nothing'",
        "chapters/a/orphan.ipynb is not in the table of contents",
        "claim-count knows",
        "https://example.org/chart.png would be loaded from the network",
    )
    assert "secret.ipynb" not in said


# --- configuration and bibliography ---------------------------------------------------------------


def test_every_page_of_the_contents_exists():
    def files(item: object) -> list[str]:
        if isinstance(item, list):
            return [name for entry in item for name in files(entry)]
        if isinstance(item, dict):
            own = [item["file"]] if "file" in item else []
            return own + [name for value in item.values() for name in files(value)]
        return []

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = files(toc)
    assert len(listed) == len(set(listed))
    missing = [
        name
        for name in listed
        if not list(ROOT.glob(f"{name}.md")) + list(ROOT.glob(f"{name}.ipynb"))
    ]
    assert missing == []


def test_pages_show_stored_outputs_and_draw_equations_without_a_network():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["execute"]["execute_notebooks"] == "off"
    sphinx = config["sphinx"]["config"]
    for file in ("katex.min.js", "katex.min.css", "LICENSE"):
        assert (ROOT / "book" / "vendor" / "katex" / file).is_file()
    assert sphinx["html_theme_options"]["navbar_persistent"] == []


def test_the_bibliography_is_complete():
    entries = parse_file(str(ROOT / "references.bib")).entries
    for key, entry in entries.items():
        author = entry.persons["author"][0]
        year, title = entry.fields["year"], entry.fields["title"]
        first = "".join(letter for letter in title.split()[0].lower() if letter.isalpha())
        assert year in key, f"{key}: its year is {year}"
        name, _, word = key.partition(year)
        assert word and (first.startswith(word) or word in title.lower()), f"{key}: {title}"
        assert name.isascii() and name.islower() and author.last_names, key
        assert {"journal", "booktitle", "publisher", "howpublished", "institution"} & set(
            entry.fields
        ), f"{key} has no venue"


# --- the repository's name --------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Files that name the repository in all the ways that the project does."""
    old = retarget.PLACEHOLDER
    name = old.split("/")[1]
    texts = {
        "_config.yml": f"repository:\n  url: https://github.com/{old}\n  branch: main\n",
        "README.md": f"https://OWNER.github.io/{name}/ and git clone https://github.com/{old}.git.\n"
        f"cd {name}\n"
        f"See https://github.com/{old}.\nNot {old}-fork, nor my{old}.\n",
        "chapters/a/page.ipynb": json.dumps(
            {
                "badge": f"https://colab.research.google.com/github/{old}/blob/main/a.ipynb",
                "setup": f"git+https://github.com/{old}@main",
            }
        ),
        ".github/workflows/book.yml": f"if: github.repository == '{old}'\n",
        "CITATION.cff": f'repository-code: "https://github.com/{old}"\r\n',
        "_build/page.md": old,
    }
    for path, text in texts.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    return tmp_path


def test_retarget_rewrites_every_place_and_can_be_repeated(checkout: Path):
    changed = retarget.retarget("ada/tips.2", checkout)
    assert len(changed) == 5
    assert retarget.present_name(checkout) == "ada/tips.2"
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    assert "https://ada.github.io/tips.2/" in readme
    assert "https://github.com/ada/tips.2.git.\ncd tips.2\n" in readme
    assert f"Not {retarget.PLACEHOLDER}-fork, nor my{retarget.PLACEHOLDER}." in readme
    assert "github/ada/tips.2/blob" in (checkout / "chapters/a/page.ipynb").read_text()
    assert (checkout / "CITATION.cff").read_bytes().endswith(b'ada/tips.2"\r\n')
    assert (checkout / "_build/page.md").read_text() == retarget.PLACEHOLDER
    assert retarget.retarget("ada/tips.2", checkout) == []
    assert len(retarget.retarget("Grace-H/book", checkout)) == 5
    assert "https://grace-h.github.io/book/" in (checkout / "README.md").read_text()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ada",
        "ada/",
        "/tips",
        "ada/tips/more",
        "ada tips",
        "-ada/tips",
        "ada/..",
        "a/b.git",
        "https://github.com/ada/tips",
        "ada/ti ps",
        "ada/t\nips",
    ],
)
def test_retarget_refuses_what_is_no_name(checkout: Path, name: str):
    before = (checkout / "_config.yml").read_bytes()
    with pytest.raises(ValueError, match="write it as owner/name"):
        retarget.retarget(name, checkout)
    assert (checkout / "_config.yml").read_bytes() == before
