"""Finds the submissions in a folder, or in a zip file as a learning platform exports it.

Files are read, never unpacked to disk; links are not followed, and nothing in them is trusted.
Every student of the export gets a submission, whatever was handed in: one without a notebook says
so in its ``problem``.
"""

from __future__ import annotations

import calendar
import codecs
import contextlib
import io
import os
import re
import stat
import subprocess
import sys
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from .runner import cells_of

MAX_NOTEBOOK = 20 * 2**20  # of sources; outputs are taken out first
MAX_RAW = 400 * 2**20  # with its outputs
MAX_ZIP = 200 * 2**20
MAX_NAMES = 10_000  # in a student's zip file
MAX_EXPORT_NAMES = 200_000  # in the platform's
MAX_NAME = 1000  # characters of a path in it
MAX_CODE = 2**20  # characters in which answers are looked for
MAX_NOTEBOOKS = 20  # of one student, of which one counts
SMALL = 4 * 2**20  # a notebook that needs no stripping
NO_NOTEBOOK = "no notebook"
# What file systems and platforms put beside the hand-ins.
LITTER_FOLDERS = {"__MACOSX", ".ipynb_checkpoints", "__pycache__"}
LITTER_FILES = {"desktop.ini", "thumbs.db", "submission_metadata.yml"}

# Moodle: "Ada L_12_assignsubmission_file_/work.ipynb", or all of it in the file's name.
MOODLE = re.compile(r"(.+?)_(\d+)_assignsubmission_[a-z]+(?:_.*)?", re.DOTALL)
# Canvas: "lovelaceada_LATE_12_345_work.ipynb"; without a file: "lovelaceada_12_text.html".
CANVAS = re.compile(
    r"(.+?)(_late)?_(\d+)_(?:(\d+)_(.+)|(?:text|link)(?: ?\(\d+\))?\.html?)",
    re.IGNORECASE | re.DOTALL,
)
GRADESCOPE = re.compile(r"submission_(\d+)")

# Takes the outputs out of a notebook, in a process of its own: a stranger's JSON may be a bomb.
STRIP = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
book = json.loads(sys.stdin.buffer.read().decode("utf-8", "replace"))
keep = ("cell_type", "source", "execution_count")
cells = [{k: c[k] for k in keep if k in c} for c in book["cells"]]
keep = {"cells": cells, "nbformat": 4, "nbformat_minor": 4, "metadata": book.get("metadata", {})}
sys.stdout.write(json.dumps(keep))
"""


@dataclass
class Submission:
    """One student's notebook.

    Attributes:
        student: a name from the platform's folder or file.
        file: where it was found.
        data: the notebook, without its outputs if it was large; None if it cannot be graded.
        problem: why not.
        notes: what else to know, such as a second notebook.
        id: the platform's own number or address of the student; empty in a plain folder.
    """

    student: str
    file: str
    data: bytes | None
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    id: str = ""


@dataclass(frozen=True)
class _Who:
    """A student as the platform names them; those with the same key are one."""

    key: str
    name: str
    id: str = ""
    late: bool = False
    order: int = 0  # a later attachment has a higher number


@dataclass
class _Entry:
    path: PurePosixPath
    time: float
    size: int
    read: Callable[[], bytes]
    problem: str = ""
    empty: bool = False  # a folder with nothing in it
    order: int = 0
    instead: bool = False  # a zip file that cannot be read stands for its notebook

    @property
    def is_notebook(self) -> bool:
        return self.instead or (self.path.suffix.lower() == ".ipynb" and not self.empty)

    @property
    def is_zip(self) -> bool:
        return self.path.suffix.lower() == ".zip" and not self.empty


def read(place: Path, questions: Iterable[str] = ()) -> list[Submission]:
    """All submissions, one a student, by name.

    Of several notebooks of a student the one counts that answers most of the questions, of these
    the newest, and of these the last in the alphabet; the notes name those that were left out.

    Args:
        place: a folder or a zip file.
        questions: the names that the notebooks should define.

    Raises:
        FileNotFoundError: there is no such folder or zip file, or nothing in it.
    """
    if place.is_dir():
        entries = list(_in_folder(place))
        inner = _export_within(place, entries)
        if inner is not None:
            place, entries = inner, _in_export(inner)
    elif place.is_file() and zipfile.is_zipfile(place):
        entries = _in_export(place)
    else:
        raise FileNotFoundError(f"{place} is neither a folder nor a zip file of submissions.")
    metadata = {e.path.parent: e for e in entries if e.path.name == "submission_metadata.yml"}
    entries = [e for e in map(_without_litter, entries) if e.path.parent.name or not e.empty]
    groups: dict[str, list[_Entry]] = {}
    who: dict[str, _Who] = {}
    for entry, owner in zip(entries, _owners(place, entries), strict=True):
        if owner is None:
            continue
        entry.order = owner.order
        groups.setdefault(owner.key, []).append(entry)
        who[owner.key] = owner if owner.late or owner.key not in who else who[owner.key]
    if not groups:
        raise FileNotFoundError(f"{place} has no submissions in it: no notebooks, no files at all.")
    names = tuple(questions)
    found = []
    for key, group in groups.items():
        for student in _submitters(who[key], group[0].path, metadata):
            one = _choose(group, names)
            one.student, one.id = student.name, student.id
            if student.late:
                one.notes.append("handed in late, says the platform")
            found.append(one)
    taken = Counter(one.student for one in found)
    for one in found:
        if taken[one.student] > 1 and one.id:
            one.student = f"{one.student} ({one.id})"
    return sorted(found, key=lambda one: (one.student.casefold(), one.id, one.file))


def read_one(folder: Path, questions: Iterable[str] = ()) -> Submission:
    """What one student handed in, all of the folder; chosen as by :func:`read`."""
    entries = [_without_litter(entry) for entry in _in_folder(folder)]
    entries = entries or [_Entry(PurePosixPath("nothing"), 0.0, 0, bytes, empty=True)]
    return _choose(entries, tuple(questions))


def _choose(group: list[_Entry], questions: tuple[str, ...]) -> Submission:
    """The one notebook of a student that counts, or what was handed in instead."""
    entries: list[_Entry] = []
    room = MAX_ZIP  # all zip files of one student together
    for entry in group:
        if entry.is_zip and not entry.problem:
            entries += _in_students_zip(entry, room)
            room -= entry.size
        else:
            entries.append(entry)
    notebooks = [entry for entry in entries if entry.is_notebook]
    if not notebooks:
        return _without_notebook(entries)
    notebooks.sort(key=lambda entry: (entry.order, entry.time), reverse=True)
    skipped = notebooks[MAX_NOTEBOOKS:]
    candidates, room = [], 2 * MAX_RAW
    for entry in notebooks[:MAX_NOTEBOOKS]:
        candidates.append((entry, *_load(entry, room)))
        room -= entry.size
    several = len(candidates) > 1
    answered = {id(c[0]): _answers(c[1], questions) if several else 0 for c in candidates}
    ranked = sorted(
        candidates,
        key=lambda c: (
            not c[2],
            answered[id(c[0])],
            c[0].order,
            c[0].time,
            c[0].path.as_posix(),
        ),
    )
    *others, (best, data, problem) = ranked
    notes = []
    for other, _, trouble in others:
        if trouble:
            why = f"it {trouble}"
        elif answered[id(other)] < answered[id(best)]:
            why = f"{best.path} answers more of the questions"
        elif (other.order, other.time) < (best.order, best.time):
            why = f"{best.path} is newer"
        else:
            why = f"{best.path} is as new and comes later in the alphabet"
        notes.append(f"{other.path} was left out; {why}")
    if skipped:
        notes.append(f"{len(skipped)} more notebooks were not even looked at")
    return Submission("", best.path.as_posix(), data, problem, notes)


def _without_notebook(entries: list[_Entry]) -> Submission:
    real = [entry for entry in entries if not entry.empty]
    problems = [entry.problem for entry in real if entry.problem]
    shown = ", ".join(entry.path.name for entry in real[:5]) + (" …" if len(real) > 5 else "")
    problem = f"{NO_NOTEBOOK}: {shown or 'nothing'} was handed in"
    if len(problems) == len(real) == 1:
        problem = f"{NO_NOTEBOOK}: {shown} {problems[0]}"
    elif any(re.search(r"\.ipynb\.\w+$", entry.path.name, re.IGNORECASE) for entry in real):
        problem += "; its name must end in .ipynb, without another ending after it"
    elif any(entry.path.suffix.lower() == ".zip" for entry in real):
        problem += "; a zip file inside of a zip file is not opened"
    file = (real or entries)[0].path
    return Submission("", (file.parent if not real else file).as_posix(), None, problem)


def _load(entry: _Entry, room: int) -> tuple[bytes | None, str]:
    """A notebook's bytes, or why there are none."""
    if entry.problem:
        return None, entry.problem
    if entry.size > min(MAX_RAW, room):
        return None, "is too large for a notebook"
    try:
        data = entry.read()
    except Exception as error:  # zipfile and zlib raise kinds of their own
        return None, f"cannot be read: {type(error).__name__}"
    data = _as_utf8(data)
    if len(data) > SMALL:
        data = _stripped(data)
    if len(data) > MAX_NOTEBOOK:
        return None, "is too large for a notebook, even without its outputs"
    return data, ""


def _as_utf8(data: bytes) -> bytes:
    """Without the marks, and from the encodings, that some editors on Windows write."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace").encode()
    return data.removeprefix(codecs.BOM_UTF8)


def _stripped(data: bytes) -> bytes:
    """A large notebook without outputs and pictures; as it is if it is no notebook."""
    command = [sys.executable, "-I", "-c", STRIP]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=120)
    except (subprocess.TimeoutExpired, OSError):
        return data
    return done.stdout if done.returncode == 0 else data


def _answers(data: bytes | None, questions: tuple[str, ...]) -> int:
    """How many of the questions a notebook seems to answer: it makes the name, in a cell where
    nothing is left to do. The blank notebook answers none."""
    if data is None:
        return -1
    try:
        cells = cells_of(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return 0
    room, made = MAX_CODE, set()
    for cell in cells:
        found, left, returned = set(), False, False
        for line in filter(str.strip, cell[:room].split("\n")):
            name = _MADE.match(line)
            found |= {name[1]} if name else set()
            word = line.lstrip()[:40]
            if word.startswith("def "):
                returned = False
            elif word.startswith("return"):
                returned = True
            elif word.startswith("raise NotImplementedError(") and "your turn" in word:
                left = left or not returned  # below a return it says nothing
        made |= set() if left else found
        room = max(0, room - len(cell))
    return len(made & set(questions))


_MADE = re.compile(r"(?:async def |def |class |)(\w+)\b[ \t]*[(:=]")


# ------------------------------------------------------------------------- whose is it


def _owners(place: Path, entries: list[_Entry]) -> Iterator[_Who | None]:
    """Who handed in each entry, by the rules of the platform that the names speak of.

    An empty folder that is nobody's, such as the export's own, is None.
    """
    parts = [[_plain_name(part) for part in entry.path.parts] for entry in entries]
    canvas = _canvas(parts)
    depth = _common_folders(place, entries)
    for number, path in enumerate(parts):
        if canvas[number] is not None:
            yield canvas[number]
            continue
        found = next((m for m in map(MOODLE.fullmatch, path) if m), None)
        if found is not None:
            yield _Who(f"moodle {found[2]}", found[1], found[2])
            continue
        found = next((m for m in map(GRADESCOPE.fullmatch, path[:-1]) if m), None)
        if found is not None:
            yield _Who(f"gradescope {found[1]}", found[0], found[1])
            continue
        rest = path[depth:]
        if len(rest) < 2 and entries[number].empty:
            yield None
            continue
        name = rest[0] if len(rest) > 1 else _stem(rest[0])
        yield _Who(f"plain {'/'.join(path[:depth])}/{name}", name)


def _canvas(parts: list[list[str]]) -> list[_Who | None]:
    """Canvas's students, if the files' names can be Canvas's: each file has a number of its own,
    and each user one name. ``hw_1_2_ada.ipynb`` and ``hw_1_2_bob.ipynb`` are not."""
    found: list[_Who | None] = []
    numbers: dict[str, set[tuple[str, str]]] = {}
    names: dict[str, set[str]] = {}
    for path in parts:
        # A student's zip stands for its name; a Moodle name may hold the same marks.
        match = CANVAS.fullmatch(path[-1])
        if match is None or any(map(MOODLE.fullmatch, path)):
            found.append(None)
            continue
        name, late, user, file = match[1], match[2], match[3], match[4]
        # A browser calls its second copy of the same file "work (1).ipynb".
        same = re.sub(r" ?\(\d+\)(?=\.|$)", "", match[5] or "")
        numbers.setdefault(file or f"user {user}", set()).add((user, same))
        names.setdefault(user, set()).add(name)
        found.append(_Who(f"canvas {user}", name, user, bool(late), int((file or "0")[:18])))
    ids = [who for who in found if who is not None]
    # They lie side by side, and are what the export is made of.
    folders = {tuple(path[:-1]) for path, who in zip(parts, found, strict=True) if who is not None}
    alien = len(folders) != 1 or 2 * len(ids) <= len(parts)
    odd = any(len(several) > 1 for several in (*numbers.values(), *names.values()))
    one_of_many = len(names) == 1 and len(ids) > 1 and any(who.order < 1000 for who in ids)
    shared = len({who.name for who in ids}) == 1 and len(names) > 1
    return [None] * len(parts) if alien or odd or one_of_many or shared else found


def _submitters(
    who: _Who, path: PurePosixPath, metadata: dict[PurePosixPath, _Entry]
) -> Iterator[_Who]:
    """Those who handed in: one, but for groups on Gradescope, whose names stand in a file."""
    if not who.key.startswith("gradescope "):
        yield who
        return
    # The platform's own lies beside the folders of the hand-ins; one inside of them is a student's.
    depth = next(n for n, part in enumerate(path.parts) if GRADESCOPE.fullmatch(_plain_name(part)))
    entry, text = metadata.get(PurePosixPath(*path.parts[:depth])), ""
    if entry is not None and entry.size < MAX_NOTEBOOK:
        text = entry.read().decode("utf-8", "replace")
    people: list[dict[str, str]] = []
    inside, among = False, -1  # whether this submission; the indent of its submitters
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if not line.startswith((" ", "-")):
            inside, among = line.strip().strip(":'\"") == who.name, -1
        elif not people and re.match(r"\s*:submitters:", line):  # not those of an earlier hand-in
            among = indent
        elif indent < among or (indent == among and not line.lstrip().startswith("-")):
            among = -1  # the next field of the submission, such as its results
        elif (
            inside
            and among >= 0
            and (match := re.match(r"\s*(-?)\s*:?(name|sid|email):\s*(.*)", line))
        ):
            if match[1] or not people:
                people.append({})
            people[-1].setdefault(match[2], match[3].strip().strip("'\""))
    for person in people:
        number = person.get("sid") or person.get("email") or who.id
        yield _Who(who.key, _plain_name(person.get("name") or who.name), number)
    if not people:
        yield who


def _plain_name(text: str) -> str:
    """One spelling of a name: a composed u with dots, as most programs write it."""
    return unicodedata.normalize("NFC", text)


def _stem(name: str) -> str:
    """A file's name without its endings: ``ada`` for ada.ipynb.txt and ada.tar.gz."""
    path = PurePosixPath(name)
    stem = PurePosixPath(path.stem)
    while stem.suffix.lower() in (".ipynb", ".tar", ".zip", ".py"):
        stem = PurePosixPath(stem.stem)
    return stem.name or name


def _without_litter(entry: _Entry) -> _Entry:
    """The entry; where it is litter, an empty folder instead, so that its owner has a row."""
    parts = entry.path.parts
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        hidden = part.startswith(".") and not (last and part.lower().endswith(".ipynb"))
        odd = part.lower() in LITTER_FILES or part.startswith(("._", "~$"))
        if (part in LITTER_FOLDERS and not last) or (last and (hidden or odd)):
            folder = PurePosixPath(*parts[:number])
            return _Entry(folder / "nothing", entry.time, 0, bytes, empty=True)
    return entry


def _common_folders(place: Path, entries: list[_Entry]) -> int:
    """How many folders all submissions share, such as the export's own."""
    real = [entry for entry in entries if not entry.empty]
    paths = [entry.path.parts for entry in real or entries]
    notebooks = [entry for entry in real if entry.is_notebook or entry.is_zip]
    depth = 0
    while all(len(p) > depth + 1 for p in paths) and len({p[depth] for p in paths}) == 1:
        wrapper = paths[0][depth] == place.stem or re.search(
            r"submission|export|download|hand.?in", paths[0][depth], re.IGNORECASE
        )
        folders = {p[depth + 1] for p in paths if len(p) > depth + 2}
        alone = len(paths) == 1 or (len(notebooks) == 1 and len(folders) < 2)
        if alone and not wrapper:
            break  # one student, with what else was handed in: the folder is the name
        depth += 1
    return depth


# ------------------------------------------------------------------------- what is there


def _in_folder(root: Path) -> Iterator[_Entry]:
    for folder, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        if not files and not folders and Path(folder) != root:
            place = PurePosixPath(Path(folder).relative_to(root).as_posix())
            yield _Entry(place / "nothing", 0.0, 0, bytes, empty=True)
        for name in sorted([*files, *(f for f in folders if Path(folder, f).is_symlink())]):
            path = Path(folder, name)
            place = PurePosixPath(path.relative_to(root).as_posix())
            try:
                about = path.lstat()
            except OSError:
                continue
            size, time = about.st_size, about.st_mtime
            if stat.S_ISLNK(about.st_mode):
                # A linked folder may hide a notebook: whoever sent it should hear of it.
                if path.is_dir() and place.suffix != ".ipynb":
                    place = place / "link.ipynb"
                yield _Entry(place, time, 0, bytes, "is a link, which is not followed")
            elif not stat.S_ISREG(about.st_mode):
                yield _Entry(place, time, 0, bytes, "is not a plain file")
            else:
                yield _Entry(place, time, size, path.read_bytes)


def _export_within(place: Path, entries: list[_Entry]) -> Path | None:
    """The platform's zip file, when a folder has nothing else in it."""
    files = [entry for entry in map(_without_litter, entries) if not entry.empty]
    if len(files) != 1 or not files[0].is_zip:
        return None
    path = place / files[0].path
    try:
        inside = _in_export(path)
    except Exception:
        return None
    parts = [[_plain_name(part) for part in entry.path.parts] for entry in inside]
    known = any(MOODLE.fullmatch(part) for path in parts for part in path)
    return path if known or any(_canvas(parts)) else None


def _in_export(place: Path) -> list[_Entry]:
    """The platform's own zip file."""
    with place.open("rb") as file:
        count, tail = 0, b""
        while block := file.read(2**22):
            count += (tail + block).count(b"PK\x01\x02")
            tail = block[-3:]
    if count > MAX_EXPORT_NAMES:
        raise FileNotFoundError(f"{place} has {count} files in it, too many for a class.")
    return list(_members(zipfile.ZipFile(place)))


def _members(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    members = archive.infolist()
    full: set[str] = set()  # the folders that hold something
    for member in members:
        folder = _name(member).rstrip("/")[:MAX_NAME]
        while "/" in folder and (folder := folder.rpartition("/")[0]) not in full:
            full.add(folder)
    for member in members:
        # An absolute path or one with ".." is only a name here.
        name = _name(member).replace("\\", "/")
        parts = [part for part in name[-MAX_NAME:].split("/") if part not in ("", "..", ".")]
        if not parts:
            continue
        place, problem = PurePosixPath(*parts), ""
        if member.is_dir():
            if _name(member).rstrip("/")[:MAX_NAME] not in full:
                yield _Entry(place / "nothing", 0.0, 0, bytes, empty=True)
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            problem = "is a link, which is not followed"
        elif member.flag_bits & 1:
            problem = "is encrypted"
        elif _is_bomb(member, packed=place.suffix.lower() == ".zip"):
            problem = "holds far more than it should"
        yield _Entry(
            place,
            _time(member),
            member.file_size,
            lambda m=member: _read_member(archive, m),
            problem,
        )


def _name(member: zipfile.ZipInfo) -> str:
    """A path as it was meant: many programs write UTF-8 and do not say so."""
    if not member.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            return member.filename.encode("cp437").decode("utf-8")
    return member.filename


def _is_bomb(member: zipfile.ZipInfo, packed: bool) -> bool:
    """Packed files hardly shrink when they are packed again, and pictures in notebooks neither."""
    small, ratio = (2**20, 20) if packed else (MAX_NOTEBOOK, 100)
    return member.file_size > max(small, ratio * member.compress_size)


def _time(member: zipfile.ZipInfo) -> float:
    try:
        return float(calendar.timegm(member.date_time))
    except ValueError:
        return 0.0


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A file of an archive, never more of it than it says or than is allowed."""
    with archive.open(member) as file:
        data = file.read(min(member.file_size, max(MAX_RAW, MAX_ZIP)) + 1)
    if len(data) > member.file_size:
        raise ValueError("larger than it says")
    return data


def _in_students_zip(zipped: _Entry, room: int) -> Iterator[_Entry]:
    """A student's own zip file stands for a folder of its name."""
    folder = zipped.path.with_suffix("")

    def trouble(problem: str) -> _Entry:
        return replace(zipped, problem=problem, instead=True)

    if zipped.size > min(MAX_ZIP, room):
        yield trouble("is a zip file that is too large; hand in the notebook alone")
        return
    try:
        data = zipped.read()
        if data.count(b"PK\x01\x02") > MAX_NAMES:  # each file in it has such a mark
            yield trouble(f"is a zip file with more than {MAX_NAMES} files")
            return
        entries = list(_members(zipfile.ZipFile(io.BytesIO(data))))
    except Exception as error:  # zipfile raises many kinds on a broken or hostile file
        yield trouble(f"is a broken zip file: {type(error).__name__}")
        return
    real = [entry for entry in map(_without_litter, entries) if not entry.empty]
    if not real:
        yield replace(zipped, problem="has no files in it")
    for entry in real:
        entry.path, entry.order = folder / entry.path, zipped.order
        yield entry
