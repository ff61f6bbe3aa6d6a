"""The register of claims: nothing leaves it, and it says what the pages say."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import tricks_lib as tl
from book import register
from book.records import MIME
from tests.test_book import build, settings_of_the_book
from tricks_lib import claims

ROOT = Path(__file__).resolve().parent.parent
TODAY = "2026-12-01"
EMPTY = dict.fromkeys(register.COLUMNS, "")


def entry(name: str, **values: str) -> register.Entry:
    """A good row of a claim that stands, with some values changed."""
    made = {"id": name, "page": "a/page", "kind": "claim", "status": "stands"}
    return register.Entry(**{**EMPTY, **made, "sentence": "It pays.", **values})


def gone(name: str, status: str, **values: str) -> register.Entry:
    """A good row of a claim that left its page."""
    return entry(
        name, **{"status": status, "left": TODAY, "reason": "Nobody could tell.", **values}
    )


def record(name: str = "page.slug", sentence: str = "It pays.") -> dict:
    """As much of a claim's record as the register reads."""
    return {"id": name, "sentence": sentence, "kind": "claim"}


def write_notebook(path: Path, *records: dict) -> None:
    """A notebook whose stored outputs hold these records."""
    cells = [
        {"cell_type": "code", "source": "", "outputs": [{"data": {MIME: one}}]} for one in records
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown"}, *cells]}), encoding="utf-8")


def book(*entries: register.Entry) -> register.Register:
    return {one.id: one for one in entries}


GOOD = book(
    entry("page.first"),
    gone("page.open", "undecided"),
    gone("page.old", "withdrawn"),
    gone("page.twin", "merged", into="page.first"),
)
SHOWN = {"page.first": "It pays."}

# The measured claims that left the pages of the first edition, as its history has them.
DELETED = [
    "bug_clinic.cut_logits",
    "bug_clinic.late_layer",
    "defaults_that_travel.clip_good",
    "defaults_that_travel.first_layer_near",
    "dropout.clearer_features",
    "dropout.few_images",
    "dropout.loss_gap",
    "dropout.whole_channels",
    "early_stopping.right_labels",
    "hyperparameter_search.tpe",
    "initialization.xavier_tanh_he",
    "stacking_tricks.cnn_beats_svm",
    "stacking_tricks.dropout_batch_norm",
    "stacking_tricks.l2_adam",
    "stacking_tricks.less_than_sum",
    "stacking_tricks.needs_adam",
    "stacking_tricks.needs_augment_handwriting",
    "stacking_tricks.needs_cosine",
    "stacking_tricks.needs_dropout",
    "stacking_tricks.needs_normalise",
    "stacking_tricks.only_what_gained",
    "stacking_tricks.svm_copies",
    "transfer_learning.discriminative_rates",
    "transfer_learning.ends_better",
    "transfer_learning.first_layer_general_handwriting",
    "transfer_learning.gradual_unfreezing",
]


# --- the real register ------------------------------------------------------------------------


def test_the_register_fits_the_pages():
    shown = {name: found["sentence"] for name, found in register.on_pages(ROOT).items()}
    assert shown, "no page has a claim"
    assert register.problems(register.read(ROOT), shown) == []


def test_no_id_ever_vanishes_from_the_register():
    past = register.past_ids(ROOT)
    if past is None:
        pytest.skip("the history of the register is not here: no git, or a shallow clone")
    assert register.vanished(register.read(ROOT), past) == []


def test_the_register_holds_what_the_first_edition_deleted():
    rows = register.read(ROOT)
    assert [name for name in DELETED if name not in rows or not rows[name].first_edition] == []


def test_reasons_name_only_claims_of_the_register():
    rows = register.read(ROOT)
    named = {name for one in rows.values() for name in re.findall(r"`(.+?)`", one.reason)}
    assert named and named <= set(rows)


def test_history_is_kept_in_numbers_that_can_be_read():
    for one in register.read(ROOT).values():
        if one.first_edition:
            low, effect, high = map(float, (one.low, one.effect, one.high))
            assert low <= effect <= high and float(one.margin) > 0 and int(one.num_seeds) > 1


def test_the_file_is_as_the_program_writes_it(tmp_path: Path):
    """So that a change by the program or by hand is a diff of the lines that it is about."""
    (tmp_path / register.PATH).parent.mkdir(parents=True)
    register.write(register.read(ROOT), tmp_path)
    assert (tmp_path / register.PATH).read_bytes() == (ROOT / register.PATH).read_bytes()


# --- each check -------------------------------------------------------------------------------


def test_a_good_register_has_no_problems():
    assert register.problems(GOOD, SHOWN) == []


@pytest.mark.parametrize(
    ("changed", "shown", "words"),
    [
        (
            entry("page.first"),
            {"page.new": "New."},
            "page.new is on a page and not in the register",
        ),
        (entry("page.first"), {"page.open": "It pays."}, "where the register calls it undecided"),
        (entry("page.first"), {"page.first": "It costs."}, "has another sentence"),
        (entry("page.more"), {}, "page.more stands in the register and is on no page"),
        (gone("page.twin", "merged", into="page.none"), {}, "'page.none', which is not in the"),
        (gone("page.old", "merged", into="page.twin"), {}, "which is merged itself"),
        (gone("page.old", "merged"), {}, "'into' is for merged claims"),
        (gone("page.old", "withdrawn", into="page.first"), {}, "'into' is for merged claims"),
        (gone("page.old", "withdrawn", reason=" "), {}, "without a reason"),
        (gone("page.old", "withdrawn", reason="dropped"), {}, "without a reason"),
        (gone("page.old", "withdrawn", left=""), {}, "needs the date"),
        (gone("page.old", "withdrawn", left="last week"), {}, "needs the date"),
        (gone("page.old", "lost"), {}, "has the status 'lost'"),
        (gone("page.old", "withdrawn", sentence=""), {}, "has no sentence"),
        (gone("page.old", "withdrawn", sentence="It\npays."), {}, "line break"),
        (gone("page.old", "withdrawn", page="a/other"), {}, "does not belong to its page"),
        (gone("Page", "withdrawn", page="a/Page"), {}, "is no id"),
        (entry("page.first", reason="It is fine here."), {}, "it has no 'into'"),
    ],
)
def test_each_fault_is_named(changed: register.Entry, shown: dict, words: str):
    found = register.problems({**GOOD, changed.id: changed}, {**SHOWN, **shown})
    assert len(found) == 1 and words in found[0]


def test_a_row_that_is_gone_is_missed():
    fewer = {name: one for name, one in GOOD.items() if name != "page.old"}
    (found,) = register.vanished(fewer, GOOD)
    assert found.startswith("page.old was in the register and is gone")
    assert register.vanished(GOOD, fewer) == []


# --- the file ---------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path: Path):
    (tmp_path / register.PATH).parent.mkdir(parents=True)
    hard = gone(
        "page.hard", "withdrawn", reason='Commas, "quotes" and 20 % of \N{GREEK SMALL LETTER MU}.'
    )
    register.write({**GOOD, hard.id: hard}, tmp_path)
    assert register.read(tmp_path) == {**GOOD, hard.id: hard}
    lines = (tmp_path / register.PATH).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6 and lines[1:] == sorted(lines[1:])


def test_a_book_without_a_register_has_no_rows(tmp_path: Path):
    assert register.read(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the first line"),
        ("id,page\n", "the first line"),
        (",".join(register.COLUMNS) + "\npage.a,a/page\n", "line 2 of the register has 2 values"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(text: str, words: str):
    with pytest.raises(ValueError, match=words):
        register.parse(text)


def test_an_id_stands_once(tmp_path: Path):
    (tmp_path / register.PATH).parent.mkdir(parents=True)
    register.write(GOOD, tmp_path)
    text = (tmp_path / register.PATH).read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.twin twice"):
        register.parse(text + text.splitlines()[-1] + "\n")


# --- history ----------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose register had two rows more in its first commit."""
    folder = tmp_path / "book"
    (folder / register.PATH).parent.mkdir(parents=True)
    git(tmp_path, "init", "-q", "book")
    for rows in (GOOD, {name: GOOD[name] for name in ("page.first", "page.twin")}):
        register.write(rows, folder)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", "The register")
    return folder


def test_the_history_knows_ids_that_were_deleted(repository: Path):
    past = register.past_ids(repository)
    assert past == set(GOOD)
    missed = register.vanished(register.read(repository), past)
    assert [text.split()[0] for text in missed] == ["page.old", "page.open"]


def test_no_history_is_no_fault(repository: Path, tmp_path: Path):
    (tmp_path / "bare").mkdir()
    assert register.past_ids(tmp_path / "bare") is None  # no repository
    git(tmp_path, "clone", "-q", "--depth", "1", repository.as_uri(), "shallow")
    assert register.past_ids(tmp_path / "shallow") is None


def test_no_git_is_no_fault(monkeypatch: pytest.MonkeyPatch, repository: Path):
    monkeypatch.setenv("PATH", "")
    assert register.past_ids(repository) is None


# --- changes ----------------------------------------------------------------------------------


def found(name: str, sentence: str = "It pays.") -> dict:
    return {**record(name, sentence), "page": "a/page"}


def test_a_new_claim_is_entered():
    changed = register.update(GOOD, {"page.new": found("page.new", "New.")}, TODAY)
    assert changed["page.new"] == entry("page.new", sentence="New.")
    assert {name: changed[name] for name in GOOD} == GOOD  # and nothing else is touched


def test_a_changed_sentence_keeps_the_old_one_once_a_day():
    changed = register.update(GOOD, {"page.first": found("page.first", "It costs.")}, TODAY)
    changed = register.update(changed, {"page.first": found("page.first", "It may cost.")}, TODAY)
    assert changed["page.first"].sentence == "It may cost."
    assert changed["page.first"].earlier == f"to {TODAY}: It pays."
    pages = {"page.first": found("page.first", "It helps.")}
    later = register.update(changed, pages, "2026-12-02")["page.first"].earlier
    assert later == f"to {TODAY}: It pays. | to 2026-12-02: It may cost."


def test_a_claim_that_comes_back_stands_and_remembers():
    pages = {name: found(name) for name in ("page.first", "page.open")}
    back = register.update(GOOD, pages, "2026-12-24")
    assert back["page.open"].status == "stands"
    assert back["page.open"].earlier == (
        f"undecided from {TODAY}, back on 2026-12-24: Nobody could tell."
    )
    assert register.problems(back, dict.fromkeys(pages, "It pays.")) == []


def test_a_merge_takes_along_what_was_merged_before():
    rows = {**GOOD, "page.whole": entry("page.whole")}
    changed = register.merge(rows, "page.first", "page.whole", "It says the same.", TODAY)
    assert changed["page.first"] == gone(
        "page.first", "merged", into="page.whole", reason="It says the same."
    )
    assert changed["page.twin"].into == "page.whole"
    assert register.problems(changed, {"page.whole": "It pays."}) == []


def test_leaving_keeps_the_first_date_and_the_history():
    rows = book(replace(entry("page.first"), first_edition="holds", effect="0.1"))
    once = register.leave(rows, "page.first", "undecided", "It changed with seeds.", TODAY)
    twice = register.leave(once, "page.first", "withdrawn", "The data were wrong.", "2027-01-01")
    assert twice["page.first"].left == TODAY
    assert twice["page.first"].first_edition == "holds" and twice["page.first"].effect == "0.1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: register.merge(GOOD, "page.open", "page.none", "Same as it.", TODAY), "enter it"),
        (lambda: register.merge(GOOD, "page.none", "page.first", "Same as it.", TODAY), "no page"),
        (lambda: register.merge(GOOD, "page.open", "page.twin", "Same as it.", TODAY), "its own"),
        (lambda: register.merge(GOOD, "page.first", "page.first", "Same it.", TODAY), "its own"),
        (lambda: register.merge(GOOD, "page.open", "page.first", " ", TODAY), "why page.open"),
        (lambda: register.leave(GOOD, "page.first", "undecided", "", TODAY), "why page.first"),
        (lambda: register.leave(GOOD, "page.first", "lost", "It is lost.", TODAY), "not as 'lost'"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(change, words: str):
    with pytest.raises(ValueError, match=words):
        change()


def test_twins_are_ids_with_one_sentence_of_which_one_left():
    rows = book(
        replace(entry("page.first"), sentence="It pays by day.", earlier=f"to {TODAY}: It pays."),
        entry("page.first_handwriting"),
        entry("page.second", sentence="It costs."),
        entry("page.second_digits", sentence="It costs."),
        entry("page.third", sentence="It is fun."),
        entry("else.first", page="a/else"),
    )
    pages = {name: found(name) for name in ("page.first", "page.second")}
    assert register.twins(rows, pages) == {
        "page.first_handwriting": "page.first",
        "page.second_digits": "page.second",
    }
    both = {name: found(name) for name in rows}
    assert register.twins(rows, both) == {}


# --- the command ------------------------------------------------------------------------------


def test_the_command_enters_merges_and_says_what_is_left(tmp_path: Path, capsys):
    page = tmp_path / "chapters" / "a" / "page.ipynb"
    write_notebook(page, record(), record("page.twin"))
    hidden = tmp_path / "chapters" / "a" / "_solutions" / "page.ipynb"
    write_notebook(hidden, record("page.secret"))
    (tmp_path / register.PATH).parent.mkdir(parents=True)
    assert register.main([], tmp_path, TODAY) == 0
    assert set(register.read(tmp_path)) == {"page.slug", "page.twin"}

    write_notebook(page, record())
    assert register.main([], tmp_path, TODAY) == 1  # it is gone, and nobody has said why
    assert "page.twin stands in the register and is on no page" in capsys.readouterr().out

    command = ["merge", "page.twin", "page.slug", "A second measurement of it."]
    assert register.main(command, tmp_path, TODAY) == 0
    assert register.read(tmp_path)["page.twin"].into == "page.slug"

    write_notebook(page, record("page.slug", "It pays here."))
    register.write({**register.read(tmp_path), "page.more": entry("page.more")}, tmp_path)
    assert register.main(["twins"], tmp_path, TODAY) == 0
    assert "page.more into page.slug" in capsys.readouterr().out
    assert register.read(tmp_path)["page.more"].into == "page.slug"

    before = (tmp_path / register.PATH).read_bytes()
    assert register.main(["merge", "page.twin", "page.lost", "No such claim."], tmp_path) == 1
    assert register.main(["merge", "page.twin"], tmp_path) == 2
    assert (tmp_path / register.PATH).read_bytes() == before


def test_a_claim_is_read_once_a_page(tmp_path: Path):
    page = tmp_path / "chapters" / "a" / "page.ipynb"
    write_notebook(page, record(), record(sentence="It pays elsewhere."))
    shown = register.on_pages(tmp_path)
    assert {name: one["sentence"] for name, one in shown.items()} == {"page.slug": "It pays."}
    assert shown["page.slug"]["page"] == "a/page"


# --- the rows of the page ---------------------------------------------------------------------


def test_rows_come_by_page_and_by_status():
    rows = {**GOOD, "other.first": entry("other.first", page="0/other")}
    assert [one.id for one in register.rows(rows)] == ["other.first", *sorted(GOOD)]
    assert [one.id for one in register.rows(rows, "undecided")] == ["page.open"]


# --- a small book, built ----------------------------------------------------------------------


def small_book(folder: Path) -> None:
    """A book of one page with the claim ``page.slug``, and a page of the register."""
    settings_of_the_book(folder)
    pages = ("chapters/a/page", "chapters/reference/register", "chapters/bibliography")
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": one} for one in pages]}
    declared = tl.Claim("page.slug", "It pays.", "ioffe2015batch, section 3")
    gains = np.array([0.09, 0.1, 0.11, 0.1, 0.12])
    effect = tl.Effect(gains, range(5), "with", "without", "test_accuracy", "glyphs", "cpu")
    found = claims.record(declared, effect)
    output = {"output_type": "display_data", "metadata": {}}
    output["data"] = {MIME: found, "text/html": claims.card(found), "text/plain": "HOLDS"}
    cell = {"cell_type": "code", "id": "c01", "metadata": {}, "execution_count": 1}
    cell |= {"source": "tl.claim(declared, effect)", "outputs": [output]}
    heading = {"cell_type": "markdown", "id": "c00", "metadata": {}, "source": "# Page"}
    notebook = {"cells": [heading, cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
    texts = {
        "_toc.yml": yaml.safe_dump(toc),
        "index.md": "# Small\n",
        f"{pages[0]}.ipynb": json.dumps(notebook),
        f"{pages[1]}.md": "# Register\n\n```{claims-register}\n```\n\n"
        "```{claims-register}\n:status: merged\n```\n",
        f"{pages[2]}.md": "# Bibliography\n\n```{bibliography}\n:all:\n```\n",
    }
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


@pytest.mark.site
def test_the_page_shows_what_became_of_each_claim(tmp_path: Path):
    small_book(tmp_path)
    twin = replace(
        gone("page.twin", "merged", into="page.slug", reason="See `page.slug`, which says it."),
        first_edition="holds",
        metric="test_accuracy",
        effect="0.1",
        low="0.08",
        high="0.12",
        margin="0.02",
        num_seeds="10",
        earlier="to 2026-11-25, opposite: It pays much.",
    )
    register.write(book(entry("page.slug"), twin), tmp_path)
    done = build(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "_build/html/chapters/reference/register.html").read_text(encoding="utf-8")
    # The claim's own row links to it once; its twin's row does so twice, and is shown twice.
    assert page.count('href="../a/page.html#claim-') == 1 + 2 * 2
    assert page.count("Before: to 2026-11-25, opposite: It pays much.") == 2
    assert "+10.0 [+8.0, +12.0] points, 10 seeds; mattered from 2.0 on" in page
    assert "2 claims." in page and "1 claim." in page

    register.write(book(twin), tmp_path)
    done = build(tmp_path)
    assert done.returncode != 0
    assert "page.slug is on a page and not in the register" in done.stdout + done.stderr
