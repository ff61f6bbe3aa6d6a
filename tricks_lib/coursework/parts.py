"""Where a part's coursework lies: its notebook with the solutions, its probe and its judge."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .rubric import Question

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent
NOTEBOOK = "exercises.ipynb"


class NotFound(Exception):
    """A part, a folder or a file that is not there; the message says what to do."""


@dataclass(frozen=True)
class Part:
    """The files of a part, and its questions.

    Attributes:
        name: the part's folder in chapters/, or the name of a private assignment.
        source: the notebook with the solutions.
        release: the student's notebook that is made from it.
        probe: the file that calls answers; it is copied into the sandbox.
        judge: the file that judges them; it never is.
        questions: by name, in the order of the rubric.
    """

    name: str
    source: Path
    release: Path
    probe: Path
    judge: Path
    questions: Mapping[str, Question]

    @property
    def points(self) -> int:
        """What all questions together can earn."""
        return sum(question.points for question in self.questions.values())


def book_folder() -> Path:
    """The folder of the book: the checkout that this library lies in, or the present one.

    Raises:
        NotFound: neither has a folder chapters/.
    """
    for folder in (PACKAGE.parent, Path.cwd()):
        if (folder / "chapters").is_dir() and (folder / "_toc.yml").is_file():
            return folder
    raise NotFound("run this from a checkout of the book, or name a folder with --source DIR.")


def find(name: str, source: Path | None = None) -> Part:
    """A part of the book, or a private assignment in a folder of its own.

    Args:
        name: such as ``"data_processing"``.
        source: a folder with exercises.ipynb (with solutions), probe.py and judge.py.

    Raises:
        NotFound: a file is missing, or the judge has no table of questions.
    """
    if source is not None:
        files = source / NOTEBOOK, source / "release" / NOTEBOOK
        files += source / "probe.py", source / "judge.py"
    else:
        folder = book_folder() / "chapters" / name
        files = folder / "_solutions" / NOTEBOOK, folder / NOTEBOOK
        files += HERE / "probes" / f"{name}.py", HERE / "judges" / f"{name}.py"
    for path in (files[0], *files[2:]):
        if not path.is_file():
            raise NotFound(f"there is no coursework {name!r}: {path} does not exist.")
    questions = getattr(_load_judge(files[3], name, private=source is not None), "QUESTIONS", None)
    if not isinstance(questions, Mapping) or not questions:
        raise NotFound(f"{files[3]} has no table QUESTIONS.")
    return Part(name, *files, questions)


def names() -> list[str]:
    """The parts of the book that have coursework."""
    folder = book_folder() / "chapters"
    return sorted(path.parent.parent.name for path in folder.glob(f"*/_solutions/{NOTEBOOK}"))


def _load_judge(path: Path, name: str, private: bool):
    if not private:
        return importlib.import_module(f"{__package__}.judges.{name}")
    spec = importlib.util.spec_from_file_location(f"private_judge_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
