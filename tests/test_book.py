"""The book's own machinery: records, ledger, plots, configuration, and the change of its name."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from pybtex.database import parse_file

from book import forest, records, retarget
from tricks_lib import claims as library

ROOT = Path(__file__).resolve().parent.parent
RECORD = {
    "id": "page.slug",
    "sentence": "It pays.",
    "source": "ioffe2015batch",
    "tested_by": ["santurkar2018how"],
    "kind": "claim",
    "data": "glyphs",
    "metric": "test_accuracy",
    "direction": "higher",
    "arms": ["with", "without"],
    "margin": 0.02,
    "effect": 0.1,
    "interval": [0.08, 0.12],
    "detectable": 0.03,
    "num_seeds": 3,
    "seeds": [0, 1, 2],
    "verdict": "holds",
    "versions": {"python": "3.11.0"},
    "device": "cpu",
}
KEYS = ("ioffe2015batch", "santurkar2018how")


def record(**changes: object) -> dict:
    """A good record with some fields changed."""
    return {**copy.deepcopy(RECORD), **changes}


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


def prose(text: str) -> dict:
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
        ({"effect": 0.2}, "outside"),
        ({"interval": [0.12, 0.08]}, "outside"),
        ({"interval": [0.08]}, "finite"),
        ({"interval": [0.08, float("inf")]}, "finite"),
        ({"kind": "guess"}, "kind"),
        ({"direction": "up"}, "direction"),
        ({"verdict": "HOLDS"}, "verdict"),
        ({"verdict": "no detectable effect"}, "does not follow"),
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


def test_the_rule_is_that_of_the_library():
    """The book judges each record once more; both must have the same law."""
    for direction in ("higher", "lower"):
        for mean in (-0.3, -0.05, 0.0, 0.02, 0.3):
            for width in (0.0, 0.01, 0.1, 1.0):
                low, high = mean - width, mean + width
                declared = SimpleNamespace(direction=direction, margin=0.02)
                effect = SimpleNamespace(mean=mean, low=low, high=high)
                assert records.verdict(mean, (low, high), 0.02, direction) == library.verdict(
                    declared, effect
                )


def test_a_verdict_right_at_the_margin_may_be_either():
    """The record has rounded numbers, the verdict came from exact ones."""
    at_margin = {"effect": 0.02, "interval": [0.01, 0.03]}
    assert not records.check_record(record(**at_margin))
    assert not records.check_record(record(**at_margin, verdict="no detectable effect"))


def test_collect_finds_records_in_order(tmp_path: Path):
    pages = {
        "chapters/a/two": write_notebook(
            tmp_path / "two.ipynb", declare("two.x"), stored(record(id="two.x"))
        ),
        "chapters/a/one": write_notebook(tmp_path / "one.ipynb", stored(record(id="one.x"))),
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
        ([stored(record()), stored(record())], "used before"),
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


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("test_accuracy", 0.1234, "+12.3"),
        ("test_accuracy", -0.002, "\N{MINUS SIGN}0.2"),
        ("test_accuracy", -0.0002, "0.0"),
        ("test_loss", 0.01234, "+0.0123"),
        ("steps_to_target", -1043.2, "\N{MINUS SIGN}1,043"),
    ],
)
def test_numbers_are_written_as_people_write_them(metric: str, value: float, text: str):
    assert records.format_value(metric, value) == text


# --- plots ------------------------------------------------------------------------------------


def test_the_forest_plot_is_the_same_each_time(tmp_path: Path):
    found = [
        records.Found(record(), "chapters/a/page"),
        records.Found(
            record(id="page.worse", verdict="opposite", effect=-4.0, interval=[-5.0, -3.0]),
            "chapters/a/page",
        ),
    ]
    for narrow in (False, True):
        forest.draw(found, tmp_path / "one.svg", narrow=narrow)
        forest.draw(found, tmp_path / "two.svg", narrow=narrow)
        first = (tmp_path / "one.svg").read_bytes()
        assert first == (tmp_path / "two.svg").read_bytes()
        assert b"worse" in first and b"<dc:date>" not in first
    text = forest.alt_text(found)
    assert "2 measured claims" in text and "1 hold" in text and "1 come out opposite" in text


def test_a_compact_plot_of_many_claims_stays_a_glance(tmp_path: Path):
    found = [
        records.Found(record(id=f"page{number // 20}.c{number}"), f"chapters/a/page{number // 20}")
        for number in range(300)
    ]
    forest.draw(found, tmp_path / "plot.svg", narrow=False, compact=True)
    (height,) = re.findall(r'<svg [^>]*height="([\d.]+)pt"', (tmp_path / "plot.svg").read_text())
    assert float(height) < 14 * 72


# --- a small book, built ------------------------------------------------------------------------


@pytest.fixture
def small_book(tmp_path: Path) -> Path:
    """A book of two pages with the settings of the real one."""
    folder = tmp_path / "small"
    folder.mkdir()
    for name in ("_config.yml", "references.bib"):
        shutil.copy(ROOT / name, folder)
    for name in ("static", "vendor"):
        shutil.copytree(ROOT / "book" / name, folder / "book" / name)
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": "chapters/a/page"}]}
    toc["chapters"].append({"file": "chapters/bibliography"})
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    (folder / "index.md").write_text(
        "# Small\n\n{claim-count}`claims` claims, {claim-count}`opposite a` opposite.\n\n"
        "{claim}`page.slug` and `page.slug`.\n\n```{claims-plot}\n:compact:\n```\n\n"
        "```{claims-list}\n:part: a\n```\n\n```{claims-ledger}\n```\n",
        encoding="utf-8",
    )
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    write_notebook(
        folder / "chapters" / "a" / "page.ipynb",
        prose(f"# Page\n\n[![Open in Colab]({badge})](https://colab.research.google.com/)"),
        declare("page.slug"),
        stored(record()),
        prose("As `page.slug` shows; `page.ipynb` and `nn.relu` are no claims."),
    )
    (folder / "chapters" / "bibliography.md").write_text(
        "# Bibliography\n\n```{bibliography}\n:all:\n```\n", encoding="utf-8"
    )
    return folder


def build(folder: Path) -> subprocess.CompletedProcess:
    code = "import pathlib, sys; from book.build import build; "
    code += "sys.exit(build(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


@pytest.mark.site
def test_the_ledger_is_made_from_the_records(small_book: Path):
    done = build(small_book)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (small_book / "_build/html/index.html").read_text(encoding="utf-8")
    link = 'href="chapters/a/page.html#claim-page-slug"'
    assert page.count(link) == 4  # the role, the inline code, the list, the table
    assert "1 claims, 0 opposite." in page
    assert "It pays." in page and "10.0" in page and "[+8.0, +12.0] points" in page
    assert 'href="chapters/bibliography.html#' in page and "Ioffe and Szegedy" in page
    assert "claims-all-claim-compact-narrow.svg" in page
    chapter = (small_book / "_build/html/chapters/a/page.html").read_text(encoding="utf-8")
    assert 'id="claim-page-slug"' in chapter and 'href="#claim-page-slug"' in chapter
    assert 'src="../../_images/colab-badge.svg"' in chapter
    assert "colab.research.google.com/assets" not in chapter


@pytest.mark.site
def test_what_does_not_fit_together_fails_the_build(small_book: Path):
    chapters = small_book / "chapters" / "a"
    write_notebook(
        chapters / "page.ipynb",
        prose("# Page\n\nSee `page.missing`.\n\n![A chart](https://example.org/chart.png)"),
        declare("page.lost"),
        stored(record()),
        stored(record()),
        stored(record(id="page.cited", source="nobody1999nothing")),
    )
    write_notebook(chapters / "orphan.ipynb", prose("# Orphan"))
    write_notebook(chapters / "_solutions" / "secret.ipynb", prose("# Secret"))
    with (small_book / "index.md").open("a", encoding="utf-8") as index:
        index.write("\n{claim}`page.nowhere` and {claim-count}`many`.\n")
    done = build(small_book)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    for message in (
        "'page.missing', but no record",
        "the claim id 'page.nowhere'",
        "page.lost is declared",
        "claim page.slug: its id was used before",
        "cites 'nobody1999nothing'",
        "chapters/a/orphan.ipynb is not in the table of contents",
        "claim-count knows",
        "https://example.org/chart.png would be loaded from the network",
    ):
        assert message in said, f"{message!r} is not in:\n{said}"
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
    assert (ROOT / "book" / "vendor" / sphinx["mathjax_path"]).is_file()
    assert (ROOT / "book" / "vendor" / "mathjax" / "LICENSE").is_file()
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
