"""Links that nobody has to write, and the cards that say where they lead."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from pybtex.database import Person, parse_file

from book import cards, links
from tests.test_book import (
    GIVES,
    ROOT,
    build,
    coming_out,
    pages_with,
    settings_of_the_book,
    stored,
    text_cell,
    write_notebook,
)
from tricks_lib import law

BIBLIOGRAPHY = parse_file(str(ROOT / "references.bib"))
GLOSSARY = """# Glossary

:::{glossary}

Learning rate
  How far a {term}`step` goes. More of it
  is faster.

Step
  One change of the weights.

ReLU
  The larger of zero and the input.
:::
"""
TEXT = """# Page

The learning
rate and ReLU, says Li et al.
(2019). Two learning rates, a step, `ReLU`, [ReLU](https://example.org), Li and Arora 2020.

## ReLU

| Li et al. (2019) | learning rate |
|---|---|
| a | b |
"""


@pytest.mark.parametrize(
    ("term", "text", "found"),
    [
        ("Learning rate", "Two learning\nrates.", "learning\nrates"),
        ("Learning rate", "Learning rate", "Learning rate"),
        ("Normalization", "with normalisation", "normalisation"),
        ("Optimizer", "optimisers", "optimisers"),
        ("ReLU", "a ReLU.", "ReLU"),
        ("ReLU", "relu", None),
        ("Adam", "adamant", None),
        ("Fine-tuning", "fine-tuning's", "fine-tuning"),
        ("Class", "classifier", None),
        ("Gradient", "gradient-based", None),
        ("Dropout", "dropout_rate", None),
    ],
)
def test_words_of_the_glossary_are_found(term: str, text: str, found: str | None) -> None:
    match = re.search(links.pattern_of(term), text)
    assert (match and match[0]) == found


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("as Li et al. (2019) say", "li2019understanding"),
        ("(Li et al.\n2019)", "li2019understanding"),
        ("van Laarhoven (2017)", "laarhoven2017l2"),
        ("Gal & Ghahramani (2016),", "gal2016dropout"),
        ("Gal and Ghahramani (2016; figure 2)", "gal2016dropout"),
        ("Müller et al. (2019)", "muller2019when"),
        ("Li et al. (1999)", None),
        ("LeCun et al. (1998)", None),  # there are two
        ("MacLi et al. (2019)", None),
        ("Li et al. 20191", None),
    ],
)
def test_citations_are_found(text: str, key: str | None) -> None:
    known = links.works(BIBLIOGRAPHY.entries)
    match = links.citing(known).search(text)
    found = match and known.get((links.plain_name(match[1]), match[2] or match[3]))
    assert found == key


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["Ioffe, Sergey"], "S. Ioffe"),
        (["van Laarhoven, Twan", "B, C. D."], "T. van Laarhoven and C. D. B"),
        (["A, B", "C, D", "E, F"], "B. A, D. C and F. E"),
        (["A, B", "C, D", "E, F", "G, H", "I, J"], "B. A, D. C, F. E et al."),
        (["A, B", "others"], "B. A et al."),
        ([r"M{\"u}ller, Rafael"], "R. Müller"),
    ],
)
def test_authors_are_written_in_short(names: list[str], text: str) -> None:
    assert cards.authors([Person(name) for name in names]) == text


def test_a_claim_that_is_measured_often_has_a_card_for_each_measurement() -> None:
    few = pages_with(*(coming_out(name, at=name) for name in GIVES)).values()
    texts = dict(cards.of_claims(few))
    first, *others = (f"#{found.anchor}" for found in few)
    assert [texts[key] for key in others] == [first] * (len(GIVES) - 1)
    assert all(f">{name}</span>" in texts[first] for name in law.VERDICTS)

    many = pages_with(*(coming_out(law.HOLDS, at=f"{n} steps") for n in range(6))).values()
    texts = dict(cards.of_claims(many))
    assert len(set(texts.values())) == 6
    assert all("measured 5 times more" in text for text in texts.values())


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book of one page, a glossary and a bibliography, with the settings of the real one."""
    settings_of_the_book(tmp_path)
    reference = tmp_path / "chapters" / "reference"
    reference.mkdir(parents=True)
    (reference / "glossary.md").write_text(GLOSSARY, encoding="utf-8")
    listed = "# Bibliography\n\n```{bibliography}\n:all:\n```\n"
    (reference / "bibliography.md").write_text(listed, encoding="utf-8")
    (tmp_path / "index.md").write_text("# Small\n\nThe learning rate.\n", encoding="utf-8")
    write_notebook(
        tmp_path / "chapters" / "a" / "page.ipynb",
        text_cell(TEXT),
        stored(coming_out(law.HOLDS, sentence="It pays & <more>.", data="mnist", at="2 steps")),
        text_cell("## References\n\n- The learning rate. Li et al. (2019)."),
    )
    names = ("a/page", "reference/glossary", "reference/bibliography")
    toc = {"format": "jb-book", "root": "index"}
    toc["chapters"] = [{"file": f"chapters/{name}"} for name in names]
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    return tmp_path


@pytest.mark.site
def test_links_are_made_and_their_cards_as_well(book: Path) -> None:
    done = build(book)
    assert done.returncode == 0, done.stdout + done.stderr
    site = book / "_build" / "html"
    page = BeautifulSoup((site / "chapters/a/page.html").read_text(encoding="utf-8"), "html.parser")
    made = [
        (" ".join(link.get_text().split()), link["href"])
        for link in page.select("article a.internal[href*='/reference/']")
    ]
    works = [href for text, href in made if text[:2] == "Li"]
    assert [text for text, _ in made] == [
        "learning rate",
        "ReLU",
        "Li et al. (2019)",
        "Li and Arora 2020",
    ]
    assert made[0][1].endswith("/glossary.html#term-Learning-rate")
    assert made[1][1].endswith("/glossary.html#term-ReLU")
    assert len(works) == 2
    index = (site / "index.html").read_text(encoding="utf-8")
    assert "#term-" not in index

    text = (site / "_static" / cards.FILE).read_text(encoding="utf-8")
    texts = json.loads(text.removeprefix("window.cardTexts=").rstrip(";\n"))
    assert texts["glossary#term-Learning-rate"] == (
        "<p><strong>Learning rate.</strong> How far a step goes.</p>"
    )
    work = texts[works[0].rpartition("/")[2].replace(".html", "")]
    assert "X. Li, S. Chen, X. Hu and J. Yang (2019)" in work
    assert "Understanding the Disharmony" in work
    claim = texts["#claim-page-slug-on-mnist-2-steps"]
    for words in (
        "It pays &amp; &lt;more&gt;.",
        ">holds<",
        "MNIST",
        "+10.0",
        "[+6.7, +13.3] points",
    ):
        assert words in claim
    assert "paired seeds on MNIST, 2 steps" in page.select_one(".claim-numbers").get_text()
