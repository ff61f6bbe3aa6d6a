"""Makes the student's notebook from the one with the solutions, and exports it for nbgrader.

In a solution's code cell stand marked lines:

    def shift(x):
        ### BEGIN SOLUTION
        return x + 1                   goes away; "your turn" is raised in its place
        ### END SOLUTION

Code that is to be mended stands in a cell of its own that begins with ``### TO MEND``; the cell
after it is the mended code, between the two marks, and goes away as a whole. In the text,
``{rubric name}`` becomes the question's rubric, ``{points}`` and ``{minutes}`` the sums over all
questions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .parts import PACKAGE, Part
from .rubric import Question

BEGIN, END, MEND = "### BEGIN SOLUTION", "### END SOLUTION", "### TO MEND"
STUB = 'raise NotImplementedError("your turn")'
CHECK = re.compile(r'tl\.check\("(\w+)\.(\w+)", (\w+)\)')


Notebook = dict[str, Any]


class SourceError(Exception):
    """The notebook with the solutions does not fit its judge, or its marks do not match."""


def without_solution(source: str) -> str:
    """A code cell as a student gets it.

    Raises:
        SourceError: a mark without its partner.
    """
    lines: list[str] = []
    inside = False
    for line in source.splitlines():
        mark, indent = line.strip(), line[: len(line) - len(line.lstrip())]
        if mark in (BEGIN, END):
            if inside == (mark == BEGIN):
                raise SourceError(f"the mark {mark!r} stands where none belongs, in:\n{source}")
            inside = mark == BEGIN
            lines += [indent + STUB] if inside else []
        elif not inside:
            lines.append(line)
    if inside:
        raise SourceError(f"a solution does not end, in:\n{source}")
    return "\n".join(lines)


def without_mended(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells without those whose code students are to mend themselves.

    Raises:
        SourceError: code to mend that is not followed by the mended code.
    """
    kept: list[dict[str, Any]] = []
    mending = False
    for cell in cells:
        if mending and not _is_solution(cell["source"]):
            found = cell["source"]
            raise SourceError(f"{MEND!r} needs the mended code in the next cell, not:\n{found}")
        if not mending:
            kept.append(cell)
        mending = cell["cell_type"] == "code" and cell["source"].startswith(f"{MEND}\n")
    return [{**cell, "source": cell["source"].removeprefix(f"{MEND}\n")} for cell in kept]


def _is_solution(source: str) -> bool:
    return source.startswith(f"{BEGIN}\n") and source.endswith(f"\n{END}")


def rubric(question: Question) -> str:
    """A question's points and minutes, and what each point is for, in Markdown."""
    rows = [f"| {criterion.text} | {criterion.points} |" for criterion in question.rubric]
    head = f"**Points: {question.points}** · about {question.minutes} minutes"
    return "\n".join([head, "", "| For | Points |", "|---|---|", *rows])


def all_or_none(question: Question) -> str:
    """The same where a question earns all of its points or none."""
    rows = [f"- {criterion.text}" for criterion in question.rubric]
    head = f"**Points: {question.points}, all or none** · about {question.minutes} minutes"
    return "\n".join([head, "", "For them, all of this must hold:", "", *rows])


def with_rubrics(text: str, part: Part, rubric: Callable[[Question], str] = rubric) -> str:
    """A text cell with its rubrics and sums filled in.

    Raises:
        SourceError: a rubric of no question.
    """
    for name in re.findall(r"\{rubric (\w+)\}", text):
        if name not in part.questions:
            raise SourceError(f"{part.source} wants the rubric of {name!r}; its judge has none.")
        text = text.replace(f"{{rubric {name}}}", rubric(part.questions[name]))
    minutes = sum(question.minutes for question in part.questions.values())
    return text.replace("{points}", str(part.points)).replace("{minutes}", str(minutes))


def read(path: Path) -> Notebook:
    """A notebook as plain JSON, with each cell's source in one piece."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def text_of(notebook: Notebook) -> str:
    """A notebook as the book stores it."""
    cells = [
        {**cell, "source": cell["source"].splitlines(keepends=True)} for cell in notebook["cells"]
    ]
    text = json.dumps({**notebook, "cells": cells}, ensure_ascii=False, indent=1, sort_keys=True)
    return text + "\n"


def make(part: Part) -> Notebook:
    """The student's notebook; cells that are as they were in the present one keep their outputs.

    Raises:
        SourceError: the source and its judge do not fit together.
    """
    notebook = read(part.source)
    asked = [match[2] for cell in notebook["cells"] for match in CHECK.finditer(cell["source"])]
    if asked != list(part.questions):
        raise SourceError(f"{part.source} checks {asked}, its judge has {list(part.questions)}.")
    notebook["cells"] = without_mended(notebook["cells"])
    stored = {}
    if part.release.is_file():
        stored = {_same(cell): cell for cell in read(part.release)["cells"]}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = without_solution(cell["source"])
            before = stored.get(_same(cell), {})
            same = before.get("source") == cell["source"]
            cell["outputs"] = before.get("outputs", []) if same else []
            cell["execution_count"] = before.get("execution_count") if same else None
        else:
            cell["source"] = with_rubrics(cell["source"], part)
    return notebook


def _same(cell: dict[str, Any]) -> str:
    """What a cell is known by: its id, or where Colab saved none, its text."""
    return cell.get("id") or cell["source"]


def write(part: Part) -> bool:
    """Write the student's notebook; whether it changed."""
    text = text_of(make(part))
    if part.release.is_file() and part.release.read_text(encoding="utf-8") == text:
        return False
    part.release.parent.mkdir(parents=True, exist_ok=True)
    part.release.write_text(text, encoding="utf-8", newline="\n")
    return True


def in_step(part: Part) -> str:
    """What is wrong with the student's notebook, in words; empty when it is in step."""
    if not part.release.is_file():
        return f"{part.release} does not exist."
    if part.release.read_text(encoding="utf-8") != text_of(make(part)):
        return f"{part.release} is not what {part.source} makes."
    if is_private(part):
        return ""  # nobody runs it before it is handed out
    code = [cell for cell in make(part)["cells"] if cell["cell_type"] == "code"]
    stripped = [cell for cell in code if not cell["execution_count"]]
    return f"{part.release} has cells without outputs." if stripped else ""


def is_private(part: Part) -> bool:
    """Whether a part is an instructor's own, and none of the book's."""
    return not part.judge.is_relative_to(PACKAGE)


# ----------------------------------------------------------------------------- nbgrader

NBGRADER_RULES = """\
## How this works

- Put your code in place of `raise NotImplementedError()`. Keep the names.
- Run the cell below your answer. `tl.check` tries it on a few inputs and says what is wrong. Ask it
  as often as you like; when the notebook is graded, the same cell runs again.
- **Keep every cell where it is.** Do not delete, copy, split or retype any: the points hang on the
  cells themselves, and a question whose cells are lost cannot be graded.
- Write helper functions in the answer's own cell, or in new cells above it.
- A question earns all of its points or none.
"""
NBGRADER_END = """\
## Hand it in

Save the notebook and submit it where you got it. When it is graded, its checks run again.
"""
# In place of the badge, which opens the book's own notebook: nbgrader cannot grade that one.
BADGE = re.compile(r"^\[!\[Open in Colab\]\([^\n]*\n+", re.MULTILINE)


def nbgrader(part: Part, folder: Path) -> Path:
    """Write the source of an nbgrader assignment, from which nbgrader makes its own release.

    The answer cells are its solution cells. Each check becomes a locked test cell with the
    question's points, all or nothing; nbgrader runs it beside the student's code.

    Args:
        part: whose questions.
        folder: the course's folder; ``source/<part>/exercises.ipynb`` is written into it.

    Raises:
        SourceError: a question has no check that students can run.
    """
    notebook = read(part.source)
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            text = BADGE.sub("", cell["source"])
            for own in (NBGRADER_RULES, NBGRADER_END):
                if text.startswith(own.partition("\n")[0]):
                    text = own.strip()
            cell["source"] = with_rubrics(text, part, all_or_none)
            continue
        cell.setdefault("metadata", {})
        cell["outputs"], cell["execution_count"] = [], None
        if match := CHECK.search(cell["source"]):
            if cell["source"].lstrip().startswith("#"):
                raise SourceError(f"nbgrader needs a check that runs, not {cell['source']!r}.")
            strict = 'import os\n\nos.environ["TRICKS_STRICT"] = "1"  # a wrong answer raises'
            cell["source"] = f"{strict}\n{cell['source']}"
            about = _about(f"check_{match[2]}", grade=True)
            cell["metadata"]["nbgrader"] = about | {"points": part.questions[match[2]].points}
        elif cell["source"].startswith(MEND):
            cell["source"] = cell["source"].replace(MEND, "# Mend it in the cell below.", 1)
        elif BEGIN in cell["source"]:
            name = re.search(r"^(?:def|class) (\w+)", cell["source"], re.MULTILINE)[1]
            cell["metadata"]["nbgrader"] = _about(f"answer_{name}", solution=True)
    target = folder / "source" / part.name / "exercises.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text_of(notebook), encoding="utf-8", newline="\n")
    return target


def _about(name: str, grade: bool = False, solution: bool = False) -> dict:
    return {
        "grade": grade,
        "grade_id": name,
        "locked": grade,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
