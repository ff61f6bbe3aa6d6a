"""Citing a claim, and the ledger as files: the entries of BibTeX and the schema of the JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pybtex.database import parse_string

from book import cite, open_data
from book.records import FIELDS, Found, collect
from tests.page_rules import ROOT
from tests.test_book import coming_out
from tricks_lib import law

BASE = "https://owner.github.io/book/"
VERSIONS = {"python": "3.11", "torch": "2.15", "tricks_lib": "1.0.0"}
SENTENCE = "It pays 5 % of {x_1} & more, to $3 #1 ~ a\\b^2."


def found(**changes: object) -> Found:
    verdict = str(changes.pop("verdict", law.HOLDS))
    return Found(coming_out(verdict, **changes), "chapters/a/page")


@pytest.fixture(scope="module")
def book_claims() -> list[Found]:
    """All measurements of the book."""
    pages = {
        path.relative_to(ROOT).with_suffix("").as_posix(): path
        for path in sorted((ROOT / "chapters").glob("*/*.ipynb"))
    }
    claims, _ = collect(pages, ())
    return list(claims.values())


def test_an_entry_says_what_was_claimed_and_what_came_out() -> None:
    both = [found(), found(verdict=law.UNDECIDED, data="MNIST", scale="full")]
    text = cite.entry(both, BASE)
    (key, entry), *others = parse_string(text, "bibtex").entries.items()
    fields = entry.fields
    assert not others and key == f"tips_and_tricks_{fields['year']}_page_slug"
    assert fields["title"] == "{It pays}"
    assert fields["url"] == f"{BASE}chapters/a/page.html#claim-page-slug"
    version = cite.the_book()["version"]
    assert fields["note"] == f"Version {version}. Measured: holds (glyphs); undecided (MNIST)"
    assert r"claim page.slug" in fields["howpublished"]
    assert [str(person) for person in entry.persons["author"]]


def test_no_sign_of_a_sentence_is_a_command_of_latex() -> None:
    text = cite.entry([found(sentence=SENTENCE)], BASE)
    title = next(line for line in text.splitlines() if "title" in line)
    assert r"5 \% of \{x\_1\} \& more, to \$3 \#1 \textasciitilde{} a\textbackslash{}b" in title
    assert len(parse_string(text, "bibtex").entries) == 1


def test_every_claim_of_the_book_has_an_entry_of_its_own(book_claims: list[Found]) -> None:
    entries = parse_string(cite.as_bib(book_claims, BASE), "bibtex").entries
    assert len(entries) == len({one.id for one in book_claims}) > 200
    assert len({one.fields["url"] for one in entries.values()}) == len(entries)


def test_a_card_has_the_entry_once() -> None:
    claims = [found(), found(data="MNIST", scale="full")]
    cards = "".join(
        f'<div class="claim claim-holds" id="{one.anchor}"><p class="claim-verdict">holds</p>'
        '<p class="claim-conditions">64 units</p></div>'
        for one in claims
    )
    body = cite.on_cards(f"<h1>Page</h1>{cards}<p>end</p>", claims, BASE)
    first, second = body.split("</div></details></div>")
    assert 'class="cite-claim"' in first and "@misc{" in first and "@misc" not in second
    assert first.index("claim-conditions") < first.index("cite-claim")


# --- the schema ---------------------------------------------------------------------------------


def told(record: dict) -> list[str]:
    """What the schema has against a file with this record."""
    checker = Draft202012Validator(open_data.schema())
    return [error.message for error in checker.iter_errors([record])]


def whole(measured: Found) -> dict:
    return json.loads(open_data.as_json([measured], BASE))[0] | {"versions": VERSIONS}


def test_the_schema_is_one_and_knows_every_field() -> None:
    Draft202012Validator.check_schema(open_data.schema(BASE))
    fields = open_data.fields()
    assert list(fields) == [*FIELDS, "address", "lasting"]
    assert open_data.schema()["$defs"]["measurement"]["required"] == list(fields)
    assert all(field["description"] and open_data.kind(field) for field in fields.values())
    assert open_data.schema(BASE)["$id"] == f"{BASE}chapters/reference/claims.schema.json"


def test_the_words_of_the_schema_are_those_of_the_law() -> None:
    fields = open_data.fields()
    assert fields["verdict"]["enum"] == list(law.VERDICTS)


def test_every_record_of_the_book_fits_the_schema(book_claims: list[Found]) -> None:
    records = json.loads(open_data.as_json(book_claims, BASE))
    Draft202012Validator(open_data.schema()).validate(records)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"verdict": "maybe"}, "maybe"),
        ({"margin": 0}, "0"),
        ({"differences": ["a", "b"]}, "'a'"),
        ({"effect": None}, "None"),
        ({"recorded": {"date": "yesterday", "device": "cpu", "takes": "1 h"}}, "yesterday"),
        ({"arms": ["one"]}, "one"),
        ({"new": 1}, "new"),
        ({"id": "No Name"}, "No Name"),
        ({"sentence": ""}, "''"),
    ],
)
def test_what_does_not_fit_the_schema_is_named(changes: dict, word: str) -> None:
    good = whole(found())
    assert told(good) == []
    assert any(word in message for message in told({**good, **changes}))


@pytest.mark.parametrize("name", [*FIELDS, "address", "lasting"])
def test_the_schema_misses_every_field(name: str) -> None:
    record = whole(found())
    del record[name]
    assert told(record) == [f"{name!r} is a required property"]


def test_the_columns_of_the_table_are_explained() -> None:
    page = Path(ROOT, "chapters", "reference", "claims.md").read_text(encoding="utf-8")
    table = page.split("| column |")[1].split("\n\n")[0]
    assert [name for name in open_data.COLUMNS if f"`{name}`" not in table] == []
