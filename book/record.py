"""``make record``: run the cells of the notebooks that recorded studies need, and no others.

    python -m book.record                       measure all recorded studies, where they stopped
    python -m book.record --study NAME          this one, and those that the cells it needs call for
    python -m book.record --list                name them, and the pages that they are on

A cell of a notebook needs the cells that define what it uses. So a study can be recorded, or run
at a toy size by the tests, without the minutes that the rest of its page takes.
"""

from __future__ import annotations

import argparse
import ast
import dis
import linecache
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parents[1]


def studies(root: Path = ROOT) -> dict[str, Path]:
    """Each recorded study's name, and the notebook that calls for it.

    Raises:
        ValueError: two calls have one name, or a name is not written out in the call.
    """
    found: dict[str, Path] = {}
    for path in sorted((root / "chapters").rglob("*.ipynb")):
        if path.name.startswith("."):
            continue  # a copy that an editor left
        for cell in _code_cells(path):
            for name in _names_in(cell):
                if name in found:
                    raise ValueError(f"study {name!r} is called for twice: {found[name]}, {path}.")
                found[name] = path
    return found


def needed(cells: Sequence[str], name: str) -> list[int]:
    """The cells that the study's cell needs, itself last, as places in ``cells``."""
    (last,) = (i for i, cell in enumerate(cells) if name in _names_in(cell))
    names = [_names_of(cell) for cell in cells]
    wanted: set[int] = set()
    to_see = [last]
    while to_see:
        at = to_see.pop()
        if at in wanted:
            continue
        wanted.add(at)
        # A cell needs what stood before it; a function finds what is there when it is called.
        wishes = [(wish, at) for wish in names[at].now | names[at].later]
        for wish, before in [*wishes, *((wish, last) for wish in names[at].later)]:
            to_see += [i for i in range(before) if wish in names[i].gives][-1:]
    return sorted(wanted)


def together(path: Path, name: str) -> list[str]:
    """This study and all others that the cells it needs call for.

    Those cells run before it, or with it, and a study that is not there yet cannot be read.
    """
    cells = _code_cells(path)
    return [found for i in needed(cells, name) for found in _names_in(cells[i])]


def run(path: Path, *studies: str) -> dict[str, object]:
    """Run the cells that these studies need, in this process; gives back what they defined."""
    cells = _code_cells(path)
    wanted = sorted({i for name in studies for i in needed(cells, name)})
    # Functions of __main__ travel to other processes by value, as those of a notebook do.
    space: dict[str, object] = {"__name__": "__main__"}
    for i in wanted:
        file = f"<{path.name}, cell {i}>"
        # So that a function finds its own source: None says that there is no file to look at.
        linecache.cache[file] = (len(cells[i]), None, cells[i].splitlines(True), file)
        exec(compile(cells[i], file, "exec"), space)
    return space


def _code_cells(path: Path) -> list[str]:
    book = nbformat.read(path, as_version=4)
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def _parsed(cell: str) -> ast.Module | None:
    """The syntax of a cell; None for one with IPython's own commands."""
    try:
        return ast.parse(cell)
    except SyntaxError:
        return None


def _names_in(cell: str) -> list[str]:
    """The names of the studies that a cell calls ``recorded`` for."""
    if "recorded(" not in cell or (tree := _parsed(cell)) is None:
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("recorded", "tl.recorded"):
            if not node.args or not isinstance(node.args[0], ast.Constant):
                raise ValueError(f"write the study's name out in: {ast.unparse(node)[:60]}")
            found.append(str(node.args[0].value))
    return found


class _Names(NamedTuple):
    """The names that a cell needs as it runs, that its functions need later, and that it gives."""

    now: set[str]
    later: set[str]
    gives: set[str]


def _names_of(cell: str) -> _Names:
    found = _Names(set(), set(), set())
    if _parsed(cell) is None:
        return found
    code = compile(cell, "cell", "exec")
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_NAME", "LOAD_GLOBAL") and step.argval not in found.gives:
            found.now.add(step.argval)
        elif step.opname in ("STORE_NAME", "STORE_GLOBAL"):
            found.gives.add(step.argval)
    found.later.update(_inside(code) - found.gives)
    return found


def _inside(code: CodeType) -> set[str]:
    """What the functions of a cell look up outside of themselves."""
    found: set[str] = set()
    for part in (const for const in code.co_consts if isinstance(const, CodeType)):
        for step in dis.get_instructions(part):
            if step.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
                found.add(step.argval)
        found |= _inside(part)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--study", default="", help="the name of one study; default all")
    parser.add_argument("--list", action="store_true", help="name the studies and their pages")
    chosen = parser.parse_args(arguments)
    known = studies()
    if chosen.list:
        for name, path in known.items():
            print(f"{name}: {path.relative_to(ROOT)}")
        return
    if chosen.study and chosen.study not in known:
        sys.exit(f"there is no study {chosen.study!r}; there are {', '.join(known) or 'none'}.")
    for name in [chosen.study] if chosen.study else known:
        os.environ["TRICKS_RECORD"] = ",".join(together(known[name], name))
        run(known[name], name)


if __name__ == "__main__":
    main()
