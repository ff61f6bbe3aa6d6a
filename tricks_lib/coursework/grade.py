"""Grades a folder of submissions: a table, a feedback file for each student, and a summary.

Before a batch, the solution must get all points and the blank release none; otherwise nothing is
graded. Whatever goes wrong on our side is an ERROR in the table, never a zero.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import logging
import os
import queue
import re
import secrets
import statistics
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from . import release, sandbox
from .parts import Part
from .rubric import Given, Mark, Seen, brief, mark, shown, unpack
from .sandbox import Limits, Sent
from .selfcheck import draw
from .submissions import NO_NOTEBOOK, Submission

LOG = logging.getLogger(__name__)
UNJUDGED = "what came back cannot be judged."


class BatchError(Exception):
    """The grader is not to be trusted as it stands; nothing was graded."""


@dataclass
class Result:
    """What one student got.

    Attributes:
        student, file: who, and which file was graded.
        marks: the marks of each question; without it if our side failed.
        status: ``"ok"``, ``"no notebook: ..."``, ``"unreadable: ..."`` or ``"ERROR: ..."``.
        notes: what the student should know.
        id: the platform's own number or address of the student.
    """

    student: str
    file: str
    marks: dict[str, list[Mark]]
    status: str = "ok"
    notes: list[str] = field(default_factory=list)
    id: str = ""

    @property
    def error(self) -> bool:
        """Whether our side failed, so that there is no score."""
        return self.status.startswith("ERROR")

    def earned(self, question: str) -> int:
        """The points of one question."""
        return sum(mark.earned for mark in self.marks[question])

    @property
    def total(self) -> int:
        """The points of all questions."""
        return sum(map(self.earned, self.marks))


class Grader:
    """Grades notebooks of one part with one seed.

    Args:
        part: its questions, probe and judge.
        seed: for the inputs; students must not know it.
        limits: for each question.
        kind: of sandbox; see :func:`sandbox.find`.
        jobs: how many submissions at a time.
    """

    def __init__(self, part: Part, seed: int, limits: Limits, kind: str, jobs: int = 1) -> None:
        self.part, self.seed, self.limits, self.kind, self.jobs = part, seed, limits, kind, jobs
        self.given = {name: draw(question, seed) for name, question in part.questions.items()}
        self._packed = {name: _pack(given) for name, given in self.given.items()}
        self._slots: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(jobs):
            self._slots.put(slot)
        self._alone = threading.Lock()

    def grade(self, submission: Submission) -> Result:
        """Grade one submission; whatever happens, there is a result."""
        try:
            return self._grade(submission)
        except Exception as error:  # one bad submission never stops the others
            status = f"ERROR: {type(error).__name__}: {error}"[:500]
            about = submission.student, submission.file
            return Result(*about, {}, status, submission.notes, submission.id)

    def _grade(self, submission: Submission) -> Result:
        about, notes = (submission.student, submission.file), list(submission.notes)
        if submission.data is None:
            marks = {name: self._lost(name, submission.problem) for name in self.part.questions}
            status = submission.problem
            if not status.startswith(NO_NOTEBOOK):
                status = f"unreadable: {status}"
            return Result(*about, marks, status, notes, submission.id)
        sent = self._seen(submission)
        judged = {name: self._judge(name, sent[name], submission) for name in self.part.questions}
        late = {name: [found.status].count("time") for name, found in sent.items()}
        # The cells may have been run in another order than that of the file: the best way counts.
        for reading in range(1, max(found.readings for found in sent.values())):
            names = [
                name
                for name, (marks, _) in judged.items()
                if sent[name].readings > reading and any(m.problem for m in marks)
                if late[name] < 2
            ]
            more = self._seen(submission, names, reading) if names else {}
            for name, found in more.items():
                late[name] += found.status == "time"
                other = self._judge(name, found, submission)
                judged[name] = max(judged[name], other, key=_earned)
        for _, found in judged.values():
            notes += [note for note in found if note not in notes]
        status = "ok"
        if all(s.status == "exit 70" for s in sent.values()):
            status = "unreadable: is not a notebook"
        marks = {name: marks for name, (marks, _) in judged.items()}
        return Result(*about, marks, status, notes, submission.id)

    def _seen(
        self, submission: Submission, questions: list[str] | None = None, reading: int = 0
    ) -> dict[str, Sent]:
        """What is seen of some questions; once more, alone, where the machine may have failed."""
        slot = self._slots.get()
        try:
            sent = self._observe(submission, slot, questions, reading)
        finally:
            self._slots.put(slot)
        # Whoever else was at work may have taken the time or the memory.
        again = [name for name, found in sent.items() if found.status in ("busy", "killed")]
        if again and (self.jobs > 1 or "busy" in {sent[name].status for name in again}):
            with self._nobody_else():
                once_more = self._observe(submission, None, again, reading)
            for name, found in once_more.items():  # nobody else was there to be waited for
                status = "time" if found.status == "busy" else found.status
                sent[name] = replace(found, status=status, readings=sent[name].readings)
        return sent

    def _observe(
        self,
        submission: Submission,
        slot: int | None,
        questions: list[str] | None,
        reading: int,
    ) -> dict[str, Sent]:
        more = {} if questions is None else {"questions": questions}
        more |= {"reading": reading} if reading else {}
        return sandbox.observe(
            self.kind,
            self.part,
            submission.data,
            self._packed,
            # Not the seed of the inputs, which a student's code could draw again from it.
            int(hashlib.sha256(f"student {self.seed}".encode()).hexdigest()[:8], 16),
            self.limits,
            slot if self.jobs > 1 else None,  # one alone may have every core
            **more,
        )

    @contextlib.contextmanager
    def _nobody_else(self) -> Iterator[None]:
        """Wait until every other sandbox has ended, and let none begin meanwhile."""
        with self._alone:
            slots = [self._slots.get() for _ in range(self.jobs)]
            try:
                yield
            finally:
                for slot in slots:
                    self._slots.put(slot)

    def _judge(self, name: str, sent: Sent, submission: Submission) -> tuple[list[Mark], list[str]]:
        """The marks of what was observed of one question, and what else a student should know.

        A student may send what no judge foresaw. If one raises, the question is lost, and the log
        says where.
        """
        notes: list[str] = []
        if sent.status != "ok":
            return self._lost(name, self._ending(sent.status)), notes
        try:
            arrays = unpack(sent.data)
        except ValueError as error:
            return self._lost(name, f"what came back could not be read: {error}."), notes
        try:
            return self._judge_arrays(name, Seen(arrays), arrays, notes), notes
        except Exception:
            LOG.exception("%s of %s (%s)", name, submission.student, submission.file)
            return self._lost(name, UNJUDGED), notes

    def _judge_arrays(
        self, name: str, seen: Seen, arrays: dict[str, np.ndarray], notes: list[str]
    ) -> list[Mark]:
        found = arrays.get("_notes")
        if found is not None and found.dtype.kind == "U" and found.ndim == 1:
            for note in found[:20]:
                text = brief(shown(str(note)))
                if text not in notes:
                    notes.append(text)
        if "_missing" in seen:
            return self._lost(
                name, seen.text("_missing") or f"the notebook does not make {name!r}."
            )
        if "_unanswered" in seen:
            return self._lost(name, "not answered.")
        marks = mark(self.part.questions[name], self.given[name], seen)
        if any(found.problem for found in marks) and (versions := seen.text("_versions")):
            notes.append(versions)
        return marks

    def _lost(self, name: str, problem: str) -> list[Mark]:
        return [Mark(c.text, 0, c.points, problem) for c in self.part.questions[name].rubric]

    def _ending(self, status: str) -> str:
        known = {
            "time": f"your code was stopped: it took more than {self.limits.seconds:g} seconds.",
            "busy": f"your code was stopped: it took more than {self.limits.seconds:g} seconds.",
            "killed": "your code was stopped: it took too much memory, or ended the sandbox.",
            "output": "your code was stopped: it gave back too much.",
            "exit 70": "this is not a notebook, or one from before 2015: open and save it again.",
            "exit 71": f"your code was stopped: it took more than {self.limits.memory:g} GB.",
        }
        if status.startswith("signal "):
            return f"your code crashed Python itself ({status.split()[1]})."
        return known.get(status, "your code ended Python itself.")

    def check_itself(self) -> None:
        """Grade the solution and the blank release.

        Raises:
            BatchError: the solution does not get all points, or the blank release gets any.
        """
        solution = self.part.source.read_bytes()
        blank = release.text_of(release.make(self.part)).encode()
        pair = [Submission("solution", "", solution), Submission("blank", "", blank)]
        found = {submission.student: result for submission, result in self.grade_all(pair)}
        full, zero = found["solution"], found["blank"]
        for result in (full, zero):
            if result.status != "ok":
                raise BatchError(f"the {result.student} could not be graded: {result.status}")
        for name, question in self.part.questions.items():
            if full.earned(name) != question.points:
                problem = next(m.problem for m in full.marks[name] if m.problem)
                raise BatchError(f"the solution loses points in {name}: {problem}")
            if zero.earned(name):
                raise BatchError(f"the blank release gets points in {name}.")

    def grade_all(self, submissions: Iterable[Submission]) -> Iterator[tuple[Submission, Result]]:
        """Grade many, several at a time; each as soon as it is done. Stopping it stops the rest."""
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {pool.submit(self.grade, one): one for one in submissions}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _earned(judged: tuple[list[Mark], list[str]]) -> int:
    return sum(found.earned for found in judged[0])


def _pack(rounds: Sequence[Given]) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer, **{f"{n}/{key}": a for n, given in enumerate(rounds) for key, a in given.items()}
    )
    return buffer.getvalue()


# -------------------------------------------------------------------------- a whole batch


def grade_batch(
    part: Part,
    submissions: list[Submission],
    table: Path,
    seed: int | None,
    limits: Limits,
    kind: str,
    jobs: int,
) -> list[Result]:
    """Grade all submissions and write the table, the feedback and the summary.

    A run that was killed goes on where it stopped: what is graded already stands in a file beside
    the table, and counts as long as the submission, the seed, the limits and the questions are
    the same.

    Raises:
        BatchError: the solution or the blank release is not graded as it must be.
    """
    torch.set_num_threads(1)  # several threads of the grader judge at a time
    state = table.with_name(f"{table.stem}_state.jsonl")
    remembered, old_seed = _remembered(state)
    if seed is None:
        seed = old_seed if old_seed is not None else secrets.randbelow(2**31)
    grader = Grader(part, seed, limits, kind, jobs)
    grader.check_itself()
    about = _fingerprint(part, seed, limits)
    table.parent.mkdir(parents=True, exist_ok=True)
    keys = [_key(about, submission) for submission in submissions]
    results = {key: remembered[key] for key in keys if key in remembered}
    key_of = {id(s): key for key, s in zip(keys, submissions, strict=True) if key not in results}
    waiting = [submission for submission in submissions if id(submission) in key_of]
    with (
        state.open("a", encoding="utf-8") as file,
        tqdm(total=len(keys), initial=len(results), unit="submission", disable=None) as bar,
    ):
        file.write("\n" + json.dumps({"seed": seed}) + "\n")
        for submission, result in grader.grade_all(waiting):
            key = key_of[id(submission)]
            results[key] = result
            if not result.error:
                file.write(json.dumps({"key": key, "result": asdict(result)}) + "\n")
                file.flush()
            bar.update()
    ordered = [results[key] for key in keys]
    _write(table, _table(part, ordered))
    folder = table.with_name(f"{table.stem}_feedback")
    folder.mkdir(exist_ok=True)
    for name, result in zip(_file_names(ordered), ordered, strict=True):
        _write(folder / name, feedback(part, result))
    _write(
        table.with_name(f"{table.stem}_summary.txt"),
        summary(part, ordered, seed, sandbox.missing(kind)),
    )
    return ordered


def _fingerprint(part: Part, seed: int, limits: Limits) -> bytes:
    digest = hashlib.sha256(f"{part.name} {seed} {limits}".encode())
    for path in (part.probe, part.judge, *sorted(Path(__file__).parent.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.digest()


def _key(about: bytes, submission: Submission) -> str:
    digest = hashlib.sha256(about)
    who = [submission.student, submission.id, submission.file, submission.problem]
    who += submission.notes
    digest.update(json.dumps(who).encode())
    digest.update(submission.data or b"")
    return digest.hexdigest()


def _remembered(state: Path) -> tuple[dict[str, Result], int | None]:
    found: dict[str, Result] = {}
    seed = None
    if not state.is_file():
        return found, seed
    for line in state.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            if "seed" in entry:
                seed = int(entry["seed"])
                continue
            fields = entry["result"]
            marks = {n: [Mark(**m) for m in marks] for n, marks in fields.pop("marks").items()}
            found[entry["key"]] = Result(**fields, marks=marks)
        except (ValueError, KeyError, TypeError):
            continue  # the line that was being written when the run was killed
    return found, seed


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", newline="")
    os.replace(part, path)


def _table(part: Part, results: list[Result]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["student", "id", "total", "out_of", *part.questions, "status", "file"])
    for result in results:
        points = ["" for _ in part.questions]
        if not result.error:
            points = [result.earned(name) for name in part.questions]
        total = "" if result.error else result.total
        who = result.student, result.id
        row = [*who, total, part.points, *points, result.status, result.file]
        writer.writerow([_harmless(cell) for cell in row])
    # Excel reads a table as UTF-8 when it begins with this mark.
    return "\ufeff" + stream.getvalue()


def _harmless(cell: object) -> object:
    """No spreadsheet should take a student's file name for a formula, nor for two cells."""
    if not isinstance(cell, str):
        return cell
    shown = "".join(c if c.isprintable() else " " for c in cell).replace(";", ",").strip()
    # Some programs take the wide forms of these signs for the signs.
    first = unicodedata.normalize("NFKC", shown.lstrip("\"' "))[:1]
    return f"'{shown}" if first and first in "=+-@|%" else shown


def _file_names(results: list[Result]) -> list[str]:
    names: list[str] = []
    taken: set[str] = set()
    for result in results:
        kept = "".join(c if c in ".-" or _is_letter(c) else "_" for c in result.student)
        name = re.sub("_+", "_", kept).encode()[:200].decode("utf-8", "ignore").strip(".")
        name = name or "student"
        while f"{name}.md".casefold() in taken:
            name += "_"
        taken.add(f"{name}.md".casefold())
        names.append(f"{name}.md")
    return names


def _is_letter(character: str) -> bool:
    """Of any script, with the marks that are parts of its letters."""
    return unicodedata.category(character)[0] in "LMN"


def feedback(part: Part, result: Result) -> str:
    """What a student reads: each question, each line of its rubric, and what was wrong."""
    lines = [f"# {part.name.replace('_', ' ').capitalize()}: {_plain(result.student)}", ""]
    if result.error:
        return "\n".join([*lines, "Not graded yet, for a reason on our side.", ""])
    lines += [f"**{result.total} of {part.points} points.**", ""]
    if result.status != "ok":
        where = "" if result.status.startswith(NO_NOTEBOOK) else f"{_plain(result.file)}: "
        lines += [f"{where}{_plain(result.status)}.", ""]
    for name, marks in result.marks.items():
        lines += [f"## {name}: {result.earned(name)} of {part.questions[name].points}", ""]
        # What ended a whole question, or a whole notebook, is said once.
        told = result.status if result.status.startswith(NO_NOTEBOOK) else None
        for found in marks:
            problem = f" {_plain(found.problem)}" if found.problem not in (None, told) else ""
            told = found.problem
            lines.append(f"- {found.earned} of {found.points}: {found.criterion}.{problem}")
        lines.append("")
    if result.notes:
        lines += ["## Notes", "", *(f"- {_plain(note)}" for note in result.notes), ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A text of a student's as text, not as markup."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return text.replace("<", "&lt;").replace("`", "'").replace("](", "] (")


def summary(part: Part, results: list[Result], seed: int, lacks: Sequence[str] = ()) -> str:
    """The distribution of the totals, and where points were lost most."""
    graded = [result for result in results if not result.error]
    lines = [f"{part.name}: {len(results)} submissions, seed {seed}, {part.points} points"]
    without = [result for result in graded if result.status.startswith(NO_NOTEBOOK)]
    unread = [result for result in graded if result.status.startswith("unreadable")]
    for group, what in ((without, "handed in no notebook"), (unread, "could not be read")):
        if group:
            some = ", ".join(_plain(result.student) for result in group[:10])
            more = f" and {len(group) - 10} more" if len(group) > 10 else ""
            lines.append(f"{len(group)} {what}, and count as 0: {some}{more}")
    lines += [f"CAREFUL: {text}" for text in lacks]
    unjudged = [
        f"{_plain(result.student)} ({name})"
        for result in graded
        for name, marks in result.marks.items()
        if any(found.problem == UNJUDGED for found in marks)
    ]
    if unjudged:
        some = ", ".join(unjudged[:10]) + (" ..." if len(unjudged) > 10 else "")
        lines.append(f"CAREFUL: a judge failed on what these sent, and gave 0; see the log: {some}")
    errors = len(results) - len(graded)
    if errors:
        lines.append(f"ERRORS: {errors} could not be graded, for a reason on our side. Run again.")
    if not graded:
        return "\n".join([*lines, ""])
    totals = sorted(result.total for result in graded)
    lines += [
        f"mean {statistics.mean(totals):.1f}, median {statistics.median(totals):g}, "
        f"lowest {totals[0]}, highest {totals[-1]}",
        "",
        "Distribution of the totals",
    ]
    width = max(1, -(-(part.points + 1) // 10))
    counts = Counter(total // width for total in totals)
    for group in range(part.points // width + 1):
        low, high = group * width, min(part.points, group * width + width - 1)
        stars = "#" * round(40 * counts[group] / len(totals))
        lines.append(f"{low:>4} to {high:<4} {counts[group]:>5}  {stars}".rstrip())
    lines += ["", "Questions, those that most failed first"]
    share = {
        name: statistics.mean(r.earned(name) for r in graded) / question.points
        for name, question in part.questions.items()
    }
    for name in sorted(share, key=share.get):
        problems = Counter(
            next((m.problem for m in r.marks[name] if m.problem), None) for r in graded
        )
        right = problems.pop(None, 0)
        lines.append(f"{name}: {share[name]:.0%} of the points, {right} of {len(graded)} all right")
        lines += [f"    {count:>4}  {_plain(text)}" for text, count in problems.most_common(3)]
    return "\n".join([*lines, ""])
