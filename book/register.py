"""The register of claims: what the book has once claimed stays there, whatever becomes of it.

``chapters/reference/register.csv`` has a row for each claim id that a page has ever published or
declared. Nothing leaves it. The status of a row is one of four:

=========  ====================================================================================
stands     it is on a page today, with whatever verdict it has there
undecided  it left its page without a verdict: the numbers did not settle it
withdrawn  it left its page for another reason, which the row gives
merged     it went into another claim, which the row names under ``into``
=========  ====================================================================================

The columns from ``first_edition`` to ``num_seeds`` are history and never change: the verdict that
the claim had at the end of the book's first edition, its effect with a 95 % interval, and the
smallest effect that was to matter. ``earlier`` has sentences and verdicts that stood under the
same id before the last.

Whoever changes a page says so here, with one of these commands::

    python -m book.register                                     # new ids, changed sentences
    python -m book.register merge OLD_ID NEW_ID "why"           # OLD went into NEW
    python -m book.register twins                               # merge ids with one sentence
    python -m book.register undecided ID "why"                  # it left without a verdict
    python -m book.register withdrawn ID "why"                  # it left for another reason

A reason is one plain sentence. Editing a row by hand is just as good; ``tests/test_register.py``
and the build hold the register against the pages. This module knows files, not Sphinx.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path

from book.records import ID, stored_records

ROOT = Path(__file__).resolve().parent.parent
PATH = "chapters/reference/register.csv"
STANDS, UNDECIDED, WITHDRAWN, MERGED = STATUSES = ("stands", "undecided", "withdrawn", "merged")
TWIN = "A second measurement of the same sentence, which stands once today."
MEND = "python -m book.register"  # adds new ids and changed sentences


@dataclass(frozen=True)
class Entry:
    """A row of the register; every value is text, as in the file, and may be empty."""

    id: str
    page: str
    kind: str
    status: str
    into: str
    left: str
    reason: str
    sentence: str
    first_edition: str
    metric: str
    direction: str
    effect: str
    low: str
    high: str
    margin: str
    num_seeds: str
    earlier: str


COLUMNS = tuple(field.name for field in fields(Entry))
Register = dict[str, Entry]


# --- the file ---------------------------------------------------------------------------------


def parse(text: str) -> Register:
    """The rows of a register by id.

    Raises:
        ValueError: The text has other columns, a row of another length, or an id twice.
    """
    rows = csv.reader(io.StringIO(text))
    if tuple(next(rows, ())) != COLUMNS:
        raise ValueError(f"the first line of the register must be {','.join(COLUMNS)}")
    register: Register = {}
    for row in rows:
        if len(row) != len(COLUMNS):
            raise ValueError(
                f"line {rows.line_num} of the register has {len(row)} values where "
                f"{len(COLUMNS)} are needed; a value with a comma needs quotation marks"
            )
        entry = Entry(*row)
        if entry.id in register:
            raise ValueError(f"the register has {entry.id} twice; keep one row")
        register[entry.id] = entry
    return register


def read(root: Path = ROOT) -> Register:
    """The register of the book in the folder ``root``; empty when it has none."""
    path = root / PATH
    return parse(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(register: Register, root: Path = ROOT) -> None:
    """Store the register, a line an id, in the order of the ids, so that a diff is short."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name in sorted(register):
        writer.writerow(getattr(register[name], column) for column in COLUMNS)
    path = root / PATH
    draft = path.with_suffix(".tmp")
    draft.write_text(text.getvalue(), encoding="utf-8")
    os.replace(draft, path)  # at once: nobody ever reads half a register


# --- what the pages say -----------------------------------------------------------------------


def on_pages(root: Path = ROOT) -> dict[str, dict]:
    """The first record of each claim in the notebooks' stored outputs, with its ``page`` added.

    Whether a record is good is for ``book.records`` to say; here it counts that it is there.
    """
    found: dict[str, dict] = {}
    for path in sorted((root / "chapters").rglob("*.ipynb")):
        page = path.relative_to(root / "chapters").with_suffix("")
        if any(part[0] in "._" for part in page.parts):
            continue  # solutions and checkpoints are no pages
        for record in stored_records(json.loads(path.read_text(encoding="utf-8"))):
            if isinstance(record, dict) and {"id", "sentence", "kind"} <= set(record):
                found.setdefault(record["id"], {**record, "page": page.as_posix()})
    return found


# --- changes ----------------------------------------------------------------------------------


def update(register: Register, pages: Mapping[str, Mapping], today: str) -> Register:
    """Enter new ids, and sentences that changed, as the pages have them now.

    Args:
        register: The rows so far.
        pages: The record of each claim, from ``on_pages``.
        today: The date, such as ``2026-11-28``.

    Returns:
        The new rows. A claim that came back onto a page stands again. A claim that is on no page
        is left as it is: only a person knows why it went.
    """
    empty = dict.fromkeys(COLUMNS, "")
    changed = dict(register)
    for name, record in pages.items():
        page, sentence, kind = record["page"], record["sentence"], record["kind"]
        entry = changed.get(name)
        if entry is None:
            entry = Entry(**{**empty, "id": name, "sentence": sentence})
        elif entry.sentence != sentence and f"to {today}: " not in entry.earlier:
            # What stood in the morning counts; what came between on one day was a draft.
            entry = _remember(entry, f"to {today}: {entry.sentence}")
        if entry.status not in ("", STANDS):
            text = f"{entry.status} from {entry.left}, back on {today}: {entry.reason}"
            entry = _remember(entry, text)
            entry = replace(entry, into="", left="", reason="")
        changed[name] = replace(entry, status=STANDS, page=page, sentence=sentence, kind=kind)
    return changed


def _remember(entry: Entry, text: str) -> Entry:
    """Add to what stood under this id before."""
    return replace(entry, earlier=f"{entry.earlier} | {text}".removeprefix(" | "))


def leave(register: Register, name: str, status: str, reason: str, today: str) -> Register:
    """Say that a claim left its page undecided or withdrawn, and why.

    Raises:
        ValueError: The register has no such id, or the status or the reason is missing.
    """
    if status not in (UNDECIDED, WITHDRAWN):
        raise ValueError(f"a claim leaves as {UNDECIDED} or {WITHDRAWN}, not as {status!r}")
    return _leave(register, name, today, status=status, into="", reason=reason)


def merge(register: Register, old: str, new: str, reason: str, today: str) -> Register:
    """Say that the claim ``old`` went into ``new``; what went into ``old`` before follows it.

    Raises:
        ValueError: The register lacks one of the ids, or ``new`` went into another itself.
    """
    if new not in register:
        raise ValueError(f"the register has no {new}; enter it first, with: {MEND}")
    if new == old or register[new].status == MERGED:
        raise ValueError(f"{new} is no claim of its own; name the one that it went into")
    changed = _leave(register, old, today, status=MERGED, into=new, reason=reason)
    for name, entry in register.items():
        if entry.into == old:
            changed[name] = replace(entry, into=new)
    return changed


def twins(register: Register, pages: Mapping[str, Mapping]) -> dict[str, str]:
    """Claims that left their page where another with the same sentence stayed.

    A sentence was once declared for each data set that it was measured on; today it stands once
    and has several measurements. Look at the pairs before you believe them: a measurement that was
    dropped looks the same.

    Returns:
        The id that stayed, for each id that left.
    """
    found = {}
    for old in register.values():
        if old.status != STANDS or old.id in pages:
            continue
        stayed = [
            name
            for name in pages
            if name in register
            and register[name].page == old.page
            and old.sentence in (register[name].sentence, *_earlier_sentences(register[name]))
        ]
        if stayed:
            found[old.id] = min(stayed, key=len)
    return found


def _earlier_sentences(entry: Entry) -> list[str]:
    return [part.partition(": ")[2] for part in entry.earlier.split(" | ")]


def _leave(register: Register, name: str, today: str, **values: str) -> Register:
    if name not in register:
        raise ValueError(f"the register has no {name}; its ids stand in {PATH}")
    if not values["reason"].strip():
        raise ValueError(f"say in one sentence why {name} left its page")
    left = register[name].left or today
    return {**register, name: replace(register[name], left=left, **values)}


# --- checks -----------------------------------------------------------------------------------


def problems(register: Register, sentences: Mapping[str, str]) -> list[str]:
    """What is wrong with the register, a sentence each; an empty list for a good one.

    Args:
        register: The rows by id.
        sentences: The sentence of each claim that is on a page today, by id.
    """
    wrong = []
    for name, sentence in sentences.items():
        entry = register.get(name)
        if entry is None:
            wrong.append(f"{name} is on a page and not in the register; enter it with: {MEND}")
        elif entry.status != STANDS:
            wrong.append(
                f"{name} is on a page, where the register calls it {entry.status}; "
                f"take it off the page, or let it stand again with: {MEND}"
            )
        elif entry.sentence != sentence:
            wrong.append(f"{name} has another sentence on its page; enter it with: {MEND}")
    for name, entry in register.items():
        wrong += [f"{name} {text}" for text in _wrong_values(entry)]
        if entry.status == STANDS and name not in sentences:
            wrong.append(
                f"{name} stands in the register and is on no page; say what became of it, "
                f"such as: {MEND} undecided {name} 'its verdict changed with fresh seeds'"
            )
        if entry.status == MERGED and entry.into:
            target = register.get(entry.into)
            if target is None:
                wrong.append(f"{name} is merged into {entry.into!r}, which is not in the register")
            elif target.status == MERGED:
                wrong.append(f"{name} is merged into {entry.into}, which is merged itself")
    return wrong


def _wrong_values(entry: Entry) -> list[str]:
    """What is wrong with a row by itself."""
    wrong = []
    if not ID.fullmatch(entry.id):
        wrong.append("is no id such as 'page.slug', in lower case")
    if entry.page.rpartition("/")[2] != entry.id.partition(".")[0]:
        wrong.append(f"does not belong to its page, {entry.page!r}")
    if entry.status not in STATUSES:
        wrong.append(f"has the status {entry.status!r}, not one of {', '.join(STATUSES)}")
    if not entry.sentence.strip():
        wrong.append("has no sentence")
    if any("\n" in getattr(entry, column) for column in COLUMNS):
        wrong.append("has a line break in a value")
    if entry.status == STANDS:
        if entry.into or entry.left or entry.reason:
            wrong.append("stands, so it has no 'into', no 'left' and no 'reason'")
        return wrong
    if len(entry.reason.split()) < 3:
        wrong.append(f"is {entry.status} without a reason; say it in one sentence")
    try:
        date.fromisoformat(entry.left)
    except ValueError:
        wrong.append("needs the date on which it left, such as 2026-11-25")
    if bool(entry.into) != (entry.status == MERGED):
        wrong.append(f"is {entry.status}; 'into' is for merged claims, and they need it")
    return wrong


def past_ids(root: Path = ROOT) -> set[str] | None:
    """All ids that any committed version of the register had.

    Returns:
        None where the history cannot be read: no git, no repository, or a shallow clone.
    """
    shallow = _git(root, "rev-parse", "--is-shallow-repository")
    if shallow is None or shallow.strip() != "false":
        return None
    versions = _git(root, "log", "--format=%H", "--", PATH)
    if versions is None:
        return None
    ids: set[str] = set()
    for version in versions.split():
        text = _git(root, "show", f"{version}:{PATH}") or ""
        # Columns may come and go; the id has always been the first value of a line.
        names = {line.partition(",")[0] for line in text.splitlines()}
        ids |= {name for name in names if ID.fullmatch(name)}
    return ids


def _git(root: Path, *words: str) -> str | None:
    """What git prints, or None when it is missing or fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, encoding="utf-8"
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def vanished(register: Register, past: Iterable[str]) -> list[str]:
    """A sentence for each id that was in the register once and is not any more."""
    return [
        f"{name} was in the register and is gone; put its row back and say what became of it"
        for name in sorted(set(past) - set(register))
    ]


# --- what the page shows ----------------------------------------------------------------------


def rows(register: Register, status: str | None = None) -> list[Entry]:
    """The rows with a status, or all of them, in the order of pages and ids."""
    chosen = (entry for entry in register.values() if status in (None, entry.status))
    return sorted(chosen, key=lambda entry: (entry.page, entry.id))


# --- the command ------------------------------------------------------------------------------


def main(words: list[str], root: Path = ROOT, today: str | None = None) -> int:
    """``python -m book.register``: see the top of this file."""
    today = today or date.today().isoformat()
    register, pages = read(root), on_pages(root)
    try:
        match words:
            case []:
                changed = update(register, pages, today)
            case ["merge", old, new, reason]:
                changed = merge(update(register, pages, today), old, new, reason, today)
            case ["twins"]:
                changed = update(register, pages, today)
                for old, new in twins(changed, pages).items():
                    print(f"{old} into {new}")
                    changed = merge(changed, old, new, TWIN, today)
            case ["undecided" | "withdrawn" as status, name, reason]:
                changed = leave(register, name, status, reason, today)
            case _:
                print(__doc__)
                return 2
    except ValueError as error:
        print(error)
        return 1
    write(changed, root)
    different = [name for name in changed if changed[name] != register.get(name)]
    print(f"{len(different)} rows changed: {', '.join(different) or 'none'}")
    left = problems(changed, {name: record["sentence"] for name, record in pages.items()})
    print("\n".join(left) or "The register and the pages fit together.")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
