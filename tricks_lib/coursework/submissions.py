"""Finds the submissions in a folder, or in a zip file as a learning platform exports it.

Files are read, never unpacked to disk; links are not followed, and nothing in them is trusted.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

MAX_NOTEBOOK = 20 * 2**20
MAX_ZIP = 200 * 2**20
MOODLE = re.compile(r"_\d+_assignsubmission_\w*?_?$")
CANVAS = re.compile(r"^([^\W_]+)(?:_LATE)?_\d+_\d+_.*$")


@dataclass
class Submission:
    """One student's notebook.

    Attributes:
        student: a name from the platform's folder or file.
        file: where it was found.
        data: the notebook as it came; None if it cannot be graded.
        problem: why not.
        notes: what else to know, such as a second notebook.
    """

    student: str
    file: str
    data: bytes | None
    problem: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass
class _Entry:
    path: PurePosixPath
    time: tuple
    read: Callable[[], bytes]
    problem: str = ""


def read(place: Path) -> list[Submission]:
    """All submissions, one a student, by name.

    Raises:
        FileNotFoundError: there is no such folder or zip file, or no notebook in it.
    """
    if place.is_dir():
        entries = list(_in_folder(place))
    elif place.is_file() and zipfile.is_zipfile(place):
        entries = list(_in_zip(zipfile.ZipFile(place), nested=True))
    else:
        raise FileNotFoundError(f"{place} is neither a folder nor a zip file of submissions.")
    entries = [entry for entry in entries if not _is_litter(entry.path)]
    if not entries:
        raise FileNotFoundError(f"{place} has no notebooks (.ipynb).")
    groups: dict[str, list[_Entry]] = {}
    depth = _common_folders([entry.path for entry in entries])
    for entry in entries:
        parts = entry.path.parts[depth:]
        groups.setdefault(parts[0] if len(parts) > 1 else entry.path.stem, []).append(entry)
    names = {raw: _student(raw) for raw in groups}
    taken = list(names.values())
    found = []
    for raw, group in groups.items():
        group.sort(key=lambda entry: (entry.problem == "", entry.time, entry.path.as_posix()))
        *others, last = group
        name = names[raw] if taken.count(names[raw]) == 1 else raw
        notes = [f"{other.path} was left out; {last.path} is newer" for other in others]
        data, problem = None, last.problem
        if not problem:
            try:
                data = last.read()
            except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
                problem = f"cannot be read: {type(error).__name__}"
            except Exception as error:  # zipfile and zlib raise kinds of their own
                problem = f"cannot be read: {type(error).__name__}"
        found.append(Submission(name, last.path.as_posix(), data, problem, notes))
    return sorted(found, key=lambda submission: submission.student.lower())


def _student(raw: str) -> str:
    if match := CANVAS.match(raw):
        return match[1]
    return MOODLE.sub("", raw) or raw


def _is_litter(path: PurePosixPath) -> bool:
    litter = {"__MACOSX", ".ipynb_checkpoints"} & set(path.parts)
    return bool(litter) or path.name.startswith("._") or path.suffix.lower() != ".ipynb"


def _common_folders(paths: list[PurePosixPath]) -> int:
    """How many folders all submissions share, such as the export's own."""
    if len(paths) < 2:
        return max(0, len(paths[0].parts) - 2)
    depth = 0
    while all(len(p.parts) > depth + 1 for p in paths) and len({p.parts[depth] for p in paths}) < 2:
        depth += 1
    return depth


def _in_folder(root: Path) -> Iterator[_Entry]:
    for folder, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        for name in sorted([*files, *(f for f in folders if Path(folder, f).is_symlink())]):
            path = Path(folder, name)
            place = PurePosixPath(path.relative_to(root).as_posix())
            about = path.lstat()
            if stat.S_ISLNK(about.st_mode):
                # A linked folder may hide a notebook: whoever sent it should hear of it.
                if path.is_dir() and place.suffix != ".ipynb":
                    place = place / "link.ipynb"
                yield _Entry(place, (about.st_mtime,), bytes, "is a link, which is not followed")
            elif not stat.S_ISREG(about.st_mode):
                yield _Entry(place, (about.st_mtime,), bytes, "is not a plain file")
            elif place.suffix.lower() == ".zip" and about.st_size <= MAX_ZIP:
                yield from _inner_zip(place, path.read_bytes)
            else:
                problem = "is too large for a notebook" if about.st_size > MAX_NOTEBOOK else ""
                yield _Entry(place, (about.st_mtime,), path.read_bytes, problem)


def _in_zip(archive: zipfile.ZipFile, nested: bool) -> Iterator[_Entry]:
    for member in archive.infolist():
        # An absolute path or one with ".." is only a name here.
        parts = [p for p in PurePosixPath(member.filename.replace("\\", "/")).parts]
        parts = [p for p in parts if p not in ("/", "..", ".")]
        if member.is_dir() or not parts:
            continue
        place, problem = PurePosixPath(*parts), ""
        if stat.S_ISLNK(member.external_attr >> 16):
            problem = "is a link, which is not followed"
        elif member.flag_bits & 1:
            problem = "is encrypted"
        elif place.suffix.lower() == ".zip" and nested and member.file_size <= MAX_ZIP:
            yield from _inner_zip(place, lambda m=member: archive.read(m))
            continue
        elif member.file_size > MAX_NOTEBOOK:
            problem = "is too large for a notebook"
        yield _Entry(place, member.date_time, lambda m=member: archive.read(m), problem)


def _inner_zip(place: PurePosixPath, read_bytes: Callable[[], bytes]) -> Iterator[_Entry]:
    """A student's own zip file stands for a folder of its name."""
    folder = place.with_suffix("")
    try:
        for entry in _in_zip(zipfile.ZipFile(io.BytesIO(read_bytes())), nested=False):
            entry.path = folder / entry.path
            yield entry
    except Exception as error:  # zipfile raises many kinds on a broken or hostile file
        problem = f"is a broken zip file: {type(error).__name__}"
        yield _Entry(folder / "broken.ipynb", (), bytes, problem)
