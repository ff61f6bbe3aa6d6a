"""Runs a student's functions, inside the sandbox, and sends back what they did as arrays.

This file is used in two ways. The grader copies it into a sandbox and runs it alone there, so it
imports nothing of the library. In a notebook, ``check`` uses its ``Observer`` to call a function
in the same way. It knows no expected value and gives no points.

    python runner.py JOB    JOB has job.json, notebook.ipynb, probe.py and <question>.npz
"""

from __future__ import annotations
import __future__

import ast
import builtins
import contextlib
import copy
import dis
import functools
import importlib
import importlib.util
import inspect
import io
import json
import linecache
import os
import random
import re
import shlex
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = b"seen"
MAX_TEXT = 300
MAX_READINGS = 4  # of one notebook, of which the best counts
SECONDS = 20.0  # of CPU time that the grader allows a question, if not told otherwise


# ----------------------------------------------------------------------- watching a function


class Observer:
    """Calls a function and notes what comes back; errors are notes too.

    What a call named ``"moved"`` leaves behind: ``moved`` (or ``moved.0``, ``moved.1`` for a
    tuple), or ``moved.error``; ``moved.type``; and ``moved.argument.0`` and so on, the tensors
    that it was given, as they are afterwards. Before each name stands the number of the round in
    which the question was asked, as in ``0/moved``.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.calls = 0
        self.round = ""  # "0/" in the first one
        self.arrays: dict[str, np.ndarray] = {}
        self.devices: set[str] = set()  # of the tensors that came back
        self.returned = 0  # calls that gave something back
        self.turns = False  # whether one said that it is still to be written

    @property
    def unanswered(self) -> bool:
        """Whether there was nothing but what is still to be written."""
        return self.turns and not self.returned

    def call(self, name: str, function: Callable, *args: Any, **options: Any) -> Any:
        """Call ``function`` on copies of the arguments and note it; its result, None if it raised.

        Random numbers begin anew, from a seed that differs from call to call.
        """
        import torch

        self.calls += 1
        _seed(self.seed + self.calls)
        args = tuple(arg.clone() if isinstance(arg, torch.Tensor) else arg for arg in args)
        try:
            result = function(*args, **options)
        except NotImplementedError as error:
            self.turns = self.turns or not str(error) or "your turn" in str(error)
            self._error(name, error)
            return None
        except (Exception, SystemExit) as error:
            self._error(name, error)
            return None
        finally:
            for position, arg in enumerate(args):
                if isinstance(arg, torch.Tensor):
                    self.note(f"{name}.argument.{position}", arg)
        self.returned += 1
        self.note(name, result)
        return result

    def note(self, name: str, value: Any) -> None:
        """Note a tensor, an array, a number, a text, or a tuple of these."""
        import torch

        place = f"{self.round}{name}"
        self.arrays[f"{place}.type"] = np.array(type(value).__name__[:MAX_TEXT])
        if isinstance(value, torch.Tensor):
            self.devices.add(value.device.type)
            problem = _no_numbers(value)
            if problem:
                self.arrays[f"{place}.error"] = np.array(f"give back {problem}.")
                return
            value = value.detach().cpu()
            value = value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
            self.arrays[place] = np.array(value.numpy())
        elif isinstance(value, str):
            self.arrays[place] = np.array(value[:MAX_TEXT])
        elif isinstance(value, bool | int | float | np.generic | np.ndarray):
            array = np.asarray(value)
            if array.dtype.kind in "biuf":
                self.arrays[place] = array
        elif isinstance(value, tuple | list):
            for position, part in enumerate(value[:100]):
                self.note(f"{name}.{position}", part)

    def _error(self, name: str, error: BaseException) -> None:
        place = f"{self.round}{name}.error"
        if _wants_gpu(str(error)):
            self.arrays[place] = np.array(WITHOUT_GPU)
            return
        where = ""
        frames = traceback.extract_tb(error.__traceback__)
        cells = [frame for frame in frames if frame.filename.startswith(("<cell", "<ipy"))]
        lines = [frame.lineno for frame in cells]
        if lines:
            where = f" (line {lines[-1]} of its cell)"
        kind = type(error).__name__
        self.arrays[place] = np.array(f"your code raised {kind}: {error}{where}"[:300])

    def failed(self, name: str) -> bool:
        """Whether a call of this name raised."""
        return f"{self.round}{name}.error" in self.arrays

    @contextlib.contextmanager
    def without(self, *places: tuple[Any, str]) -> Iterator[None]:
        """Make library functions unusable for a while, where using them would be the answer.

        Args:
            places: pairs such as ``(torch.nn.functional, "batch_norm")``. With a module's name, as
                in ``("tricks_lib.law", "verdict")``, it is closed when something imports it.
        """
        before: list[tuple[Any, str, Any]] = []
        closed: dict[int, Any] = {}  # what stands behind a refusal, which others may have imported

        def close(place: Any, name: str) -> None:
            what = f"{place.__name__}.{name}" if (place.__name__, name) in places else name

            def refused(*args: Any, **options: Any) -> None:
                raise RuntimeError(f"write it yourself: {what} is the answer, not a part of it")

            value = getattr(place, name)
            closed[id(refused)] = closed.get(id(value), value)
            before.append((place, name, closed[id(refused)]))
            setattr(place, name, refused)

        late: dict[str, list[str]] = {}
        for place, name in places:
            if isinstance(place, str) and place not in sys.modules:
                late.setdefault(place, []).append(name)
            else:
                close(sys.modules[place] if isinstance(place, str) else place, name)
        finder = _Closing(late, close)
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            for place, name, value in reversed(before):
                setattr(place, name, value)


def _seed(number: int) -> None:
    """As ``torch.manual_seed``, which formats a stack for each kind of device that is not used."""
    import torch

    if torch.cuda.is_initialized() or torch.backends.mps.is_available():
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


class _Closing:
    """Closes functions of modules as soon as these are imported."""

    def __init__(self, names: dict[str, list[str]], close: Callable[[Any, str], None]) -> None:
        self.names, self.close = names, close

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        names = self.names.pop(name, [])  # a module is found once, and then by the others
        spec = importlib.util.find_spec(name) if names else None
        if spec is None:
            return None
        load = spec.loader.exec_module

        def load_and_close(module: Any) -> None:
            load(module)
            for function in names:
                self.close(module, function)

        spec.loader.exec_module = load_and_close
        return spec


WITHOUT_GPU = (
    "your code needs a GPU, and the grader has none; name 'cuda' only where "
    "torch.cuda.is_available() says so."
)


def _wants_gpu(text: str) -> bool:
    """Whether an error's text says that there is no GPU."""
    none = r"NVIDIA driver|not compiled with CUDA|No CUDA GPUs|CUDA device|re-initialize CUDA"
    return bool(re.search(none, text))


def _no_numbers(value: Any) -> str:
    """What a tensor should be instead, if its numbers cannot be read."""
    if value.is_nested or str(value.layout) != "torch.strided":
        return "a dense tensor, not a sparse one"
    if value.is_complex():
        return "real numbers, not complex ones"
    if value.is_quantized:
        return "a tensor of plain numbers, not a quantized one"
    return "a tensor that holds numbers, not one on the device 'meta'" if value.is_meta else ""


# ------------------------------------------------------------- what is taken from a notebook


def cells_of(text: str) -> list[str]:
    """The sources of a notebook's code cells; no metadata matter.

    Raises:
        ValueError: it is no notebook.
    """
    return _parts(text)[0]


def _parts(text: str) -> tuple[list[str], list[str], str, list[int]]:
    """The sources of a notebook's code cells and of its other cells; its Python's version; and
    when each code cell was run last, as the numbers beside them say: 0 for one that was not."""
    try:
        notebook = json.loads(text)
        code, texts, counts = [], [], []
        for cell in notebook["cells"]:
            source = cell.get("source", "")
            source = source if isinstance(source, str) else "".join(source)
            is_code, count = cell.get("cell_type") == "code", cell.get("execution_count")
            (code if is_code else texts).append(source)
            counts += [count if isinstance(count, int) else 0] if is_code else []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("this is not a notebook") from error
    info = notebook.get("metadata")
    info = info.get("language_info") if isinstance(info, dict) else None
    version = str(info.get("version", "")) if isinstance(info, dict) else ""
    return code, texts, version, counts


def plain(source: str) -> str:
    """A cell as Python, without its magics and shell commands, as IPython tells them from Python.

    A line is a magic only where a statement could begin: not inside of brackets, of a text or of
    a continued line. What was written above or after a magic keeps its line number.
    """
    lines, lost = _dedented(source).split("\n"), "pass"
    first = next((n for n, line in enumerate(lines) if line.strip()), 0)
    if lines and lines[first].startswith("%%"):
        if not re.match(r"%%(time|capture|prun)\b", lines[first]):
            return ""
        lines[first] = ""
    depth, quote, continued = 0, "", False
    magic = False
    for number, line in enumerate(lines):
        inside = depth > 0 or quote or continued
        if (magic and continued) or (not inside and _MAGIC.fullmatch(line.strip())):
            indent = line[: len(line) - len(line.lstrip())]
            timed = re.match(r"%time\s+(.+)", line.strip())
            folders = _mkdir(line.strip())
            lines[number] = indent + ("" if magic else timed[1] if timed else folders or lost)
            magic = continued = line.endswith("\\")
        else:
            magic = False
            depth, quote, continued = _after(line, depth, quote)
    return "\n".join(lines)


def _mkdir(line: str) -> str:
    """What ``!mkdir -p x`` does, as Python; empty if a line is anything else, or does more."""
    found = re.fullmatch(r"[!%]\s*mkdir\s+([^$*?;&|<>`\\\n]+)", line)
    try:
        words = shlex.split(found[1]) if found else []
    except ValueError:
        return ""
    places = [word for word in words if not word.startswith("-")]
    if not places or any(re.search(r"[{}]", re.sub(r"\{\w+\}", "", p)) for p in places):
        return ""
    return "; ".join(f"__import__('os').makedirs(f{p!r}, exist_ok=True)" for p in places)


# What no Python statement can look like: an escape at its beginning, a question, x = !ls.
_MAGIC = re.compile(r"""[%!?,;/].*|[^#'"]*\?{1,2}|[\w.,\s*\[\]'"()]+=\s*[%!].*""")


_PROMPT = re.compile(r"^(((\[nav\]|\[ins\])? )?In \[\d+\]: |\s*\.{3,}: ?)")


def _dedented(source: str) -> str:
    """A cell without the indent or the prompts that all of its lines have, as IPython does."""
    lines = source.replace("\r\n", "\n").split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first.startswith(">>> "):
        return "\n".join(re.sub(r"^(>>>|\.\.\.)( |$)", "", line) for line in lines)
    if any(map(_PROMPT.match, lines[:2])):
        return "\n".join(_PROMPT.sub("", line) for line in lines)
    indent = first[: len(first) - len(first.lstrip())]
    return "\n".join(line.removeprefix(indent) for line in lines)


def _after(line: str, depth: int, quote: str) -> tuple[int, str, bool]:
    """The brackets and the quote that are open after a line, and whether a backslash ends it."""
    at = 0
    while found := (_IN_TEXT[quote] if quote else _IN_CODE).search(line, at):
        at, mark = found.end(), found[0]
        if quote:
            quote = "" if mark == quote else quote
        elif mark == "#":
            line = line[: at - 1]
        elif mark[0] in "\"'":
            quote = mark
        else:
            depth += 1 if mark in "([{" else -1
    continued = line.endswith("\\")
    return max(depth, 0), quote if len(quote) == 3 or continued else "", continued


_QUOTES = ('"""', "'''", '"', "'")
_IN_CODE = re.compile(r"""[#()\[\]{}]|""" + "|".join(_QUOTES))
_IN_TEXT = {quote: re.compile(rf"\\.|{quote}", re.DOTALL) for quote in _QUOTES}


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """The statements of a cell that does not parse as a whole, each with its first line."""
    lines = text.split("\n")
    starts, depth, quote, continued, decorated = [], 0, "", False, False
    for number, line in enumerate(lines):
        again = re.match(r"(def|class|import|from)\s|@\w", line) and not quote
        inside = (depth > 0 or quote or continued) and not again
        if not inside and line.strip() and not line[0].isspace() and line[0] != "#":
            if not decorated and not re.match(r"(else|elif|except|finally)\b", line):
                starts.append(number)
            decorated = line[0] == "@"
        depth, quote, continued = _after(line, 0 if again else depth, quote)
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield start, "\n".join(lines[start:end])


def _parse(text: str, before: int = 0) -> list[ast.stmt]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse("\n" * before + text).body


# What only a newer Python may read: types with parameters, except*, and stars in x[*a].
_NEWER = re.compile(
    r"^[ \t]*(type \w|except[ \t]*\*)|(def|class) \w+\[|\w\[[ \t]*\*|\*\w+[ \t]*:[ \t]*\*", re.M
)
BUILTIN = {*dir(builtins), "display", "get_ipython"}
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass
class Block:
    """A statement at the top of a cell.

    Attributes:
        cell: the number of its cell, from 1.
        statement: what it says.
        binds: the names that it makes.
        loads: the names of the notebook that it, or a function in it, looks up.
        modules: what it imports, other than in a ``try``.
        changes: names whose values it changes where they stand.
        hints: names in its annotations, which may be texts: a dataclass reads them all the same.
    """

    cell: int
    statement: ast.stmt
    binds: set[str]
    loads: set[str]
    modules: set[str]
    changes: set[str] = field(default_factory=set)
    hints: set[str] = field(default_factory=set)

    @property
    def is_import(self) -> bool:
        """Whether it does nothing but import."""
        return isinstance(self.statement, ast.Import | ast.ImportFrom)

    @functools.cached_property
    def is_setting(self) -> bool:
        """Whether it makes folders, or sets how a library works, which nothing names."""
        return _is_setting(self.statement)

    @property
    def is_definition(self) -> bool:
        """Whether it defines something and calls nothing, so that running it is cheap."""
        return _is_definition(self.statement)


class Definitions:
    """What a notebook defines, and how its answers are found in it.

    To find an answer, the statements are run that make its name, the last one last; and those
    that make or change what it needs: imports, helpers, constants, and values made by calls. All
    else, such as a training, is passed over. So is a stub beside an answer of the same name.

    Args:
        cells: the sources of the code cells, in order.
        texts: those of the other cells, in which a lost answer may stand.
        version: of the Python that the notebook was written for, if known.
        counts: when each code cell was run last, in any numbers; 0 for one that was not.

    Attributes:
        blocks: the statements, in order.
        notes: what a student should know, such as a cell with a syntax error.
    """

    def __init__(
        self,
        cells: list[str],
        texts: list[str] | None = None,
        version: str = "",
        counts: list[int] | None = None,
    ) -> None:
        self.blocks: list[Block] = []
        self.counts = counts or [0] * len(cells)
        self.frozen = True  # whether a check ends what counts for its answer
        self.notes: list[str] = []
        self.texts, self.version = texts or [], version
        self.is_main = False  # whether to be the process's module __main__, as in a kernel
        self.files: dict[str, str] = {}  # what %%writefile wrote, by the name of its module
        self.flags = 0
        self._unread: list[tuple[str, str]] = []  # text that is no Python, and what to say of it
        self._failed: dict[str, tuple[Block, BaseException]] = {}
        self._magic: set[str] = set()
        self._shown: set[int] = set()
        self._sources: dict[int, str] = {}  # of each cell, as it is run
        for number, source in enumerate(cells, start=1):
            for statement in self._statements(number, source):
                with contextlib.suppress(*UNREADABLE):
                    self.blocks.append(self._block(number, statement))
        # A stub that was left behind, or copied, does not replace an answer.
        stubs = [b for b in self.blocks if _has_stub(b.statement)]
        answered = {name for b in self.blocks if b not in stubs for name in b.binds}
        self.stubs = {b.statement.name for b in stubs if is_stub(b.statement)} - answered
        self.blocks = [b for b in self.blocks if b not in stubs or b.statement.name not in answered]
        named = {b.statement.name for b in self.blocks if _is_named(b.statement)}
        values = {n for b in self.blocks if not b.is_import for n in b.binds} - named
        self._imported = {n for b in self.blocks if b.is_import for n in b.binds}
        self._containers = {n for b in self.blocks if _is_container(b.statement) for n in b.binds}
        for block in self.blocks:
            block.changes = self._changes(block.statement, values)
            self.stubs -= block.changes  # such as a class whose methods are set below it
        self._every = self.blocks  # in the order of the file

    @classmethod
    def of(cls, text: str) -> Definitions:
        """What a notebook's file defines.

        Raises:
            ValueError: it is no notebook.
        """
        return cls(*_parts(text))

    def source(self, block: Block) -> str:
        """The text of a statement."""
        lines = self._sources[block.cell].split("\n")
        marks = [d.lineno for d in getattr(block.statement, "decorator_list", ())]
        first = min([block.statement.lineno, *marks])
        return "\n".join(lines[first - 1 : block.statement.end_lineno])

    def _statements(self, number: int, source: str) -> list[ast.stmt]:
        """The statements of a cell; of one that does not parse, those that do."""
        written = re.match(r"\s*%%writefile\s+(?:-a\s+)?(\w+)\.py\s*\n", source)
        if written:
            self.files[written[1]] = source[written.end() :]
        self._sources[number] = _dedented(source)
        with contextlib.suppress(*UNREADABLE):
            return _parse(self._sources[number])
        text = self._sources[number] = plain(source)
        self._magic |= set(re.findall(r"^[ \t]*(\w+)[ \t]*=[ \t]*[%!]", source, re.M))
        with contextlib.suppress(*UNREADABLE):
            return _parse(text)
        found: list[ast.stmt] = []
        said = False
        for line, chunk in _chunks(text):
            try:
                found += _parse(chunk, before=line)
            except UNREADABLE as error:
                what = self._syntax(number, error, chunk)
                self._unread.append((chunk, what))
                self.notes += [] if said else [what]
                said = True
        return found

    def _syntax(self, number: int, error: BaseException, text: str) -> str:
        line = getattr(error, "lineno", None)
        what = f"{type(error).__name__}" + (f" in its line {line}" if line else "")
        here = sys.version_info[:2]
        used = tuple(int(n) for n in re.findall(r"\d+", self.version)[:2])
        if used > here:
            what += f"; it was written for Python {used[0]}.{used[1]}"
        elif "f-string" in str(error) or _NEWER.search(text):
            what += "; it may need a newer Python"
        else:
            return f"part of code cell {number} was left out: {what}"
        what += f", and is read by {here[0]}.{here[1]}"
        return f"part of code cell {number} was left out: {what}"

    def _block(self, cell: int, statement: ast.stmt) -> Block:
        code = _compiled(statement, "<names>", self.flags)
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            for alias in statement.names:
                self.flags |= getattr(__future__, alias.name).compiler_flag
        block = Block(cell, statement, set(), set(), set())
        codes = [code]
        while codes:
            inner = codes.pop()
            codes += [c for c in inner.co_consts if isinstance(c, types.CodeType)]
            own: set[str] = set()  # made by the statement, or in a class's body, before it is used
            for step in dis.get_instructions(inner):
                if step.opname in ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"):
                    block.loads |= {step.argval} - own
                elif step.opname in ("STORE_NAME", "STORE_GLOBAL"):
                    own |= {step.argval} if step.opname == "STORE_NAME" else set()
                    if inner is code or step.opname == "STORE_GLOBAL":
                        block.binds.add(step.argval)
        block.binds |= set(_named_by_text(statement))
        block.loads |= set(_queried(statement))
        block.hints = set(_hinted(statement)) - block.loads
        tried = {id(n) for t in ast.walk(statement) if isinstance(t, ast.Try) for n in ast.walk(t)}
        for node in ast.walk(statement):
            if id(node) in tried:
                continue
            if isinstance(node, ast.Import):
                block.modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                block.modules.add(node.module.partition(".")[0])
        return block

    def needed(self, *names: str, hints: bool = True) -> list[Block]:
        """The statements that make these names and what they need, in order.

        Where a cell checks a name after it was made, later cells change nothing of it: what the
        check saw is what counts. They only add what was not there.

        Args:
            names: that are needed.
            hints: whether what only annotations name is needed too.
        """
        blocks, end = self.blocks, len(self.blocks)
        last = end  # below it, a name that Python has by itself is used for something else
        if len(names) == 1 and self.frozen:
            end = self._checked(names[0])
            last = end if end < len(blocks) else self._made(names[0])
        known = {name for block in blocks[:end] for name in block.binds}
        # An answer that calls "min" does not mean a list of this name further down; nor does one
        # mean a later "pi" where all of math was imported above.
        above = {name for block in blocks[:last] for name in block.binds}
        common = (BUILTIN | _starred(blocks[:last])) - above
        bound = common.union(*(block.binds for block in blocks))
        needed, chosen, stars = set(names), set(), last
        more = True
        while more:
            more = False
            for number, block in enumerate(blocks):
                makes = block.binds & needed
                makes = makes - common if number >= last else makes
                if number >= end:
                    makes = makes - known
                elif not makes:
                    makes = block.changes & needed
                always = _is_star(block.statement) and number < stars
                always = always or (block.is_setting and number < end)
                if number not in chosen and (makes or always):
                    chosen.add(number)
                    needed |= block.loads | (block.hints if hints else set())
                    if block.loads & {"eval", "exec", "globals", "vars"}:
                        needed |= {n for b in blocks if b.is_definition for n in b.binds}
                    more = True
            if not more and stars < len(blocks) and needed - bound:
                stars, more = len(blocks), True  # a name that nothing else can have brought
        return [blocks[number] for number in sorted(chosen)]

    def readings(self, name: str) -> list[Definitions]:
        """The ways to read an answer that differ, the usual one first.

        In the order of the file, up to the last check of the answer; all of the file; in the order
        in which the cells were run, if the file tells it; and with an earlier version of the
        answer instead of the last. What a student saw the check call right is one of these.
        """
        by_run = sorted(self.blocks, key=lambda block: self.counts[block.cell - 1])
        ways = [(self.blocks, True), (self.blocks, False), (by_run, True)]
        whole = [b for b in self.blocks if name in b.binds and not _has_stub(b.statement)]
        for number in range(len(whole) - 2, -1, -1):
            later = {id(block) for block in whole[number + 1 :]}
            ways.append(([b for b in self.blocks if id(b) not in later], True))
        found: dict[tuple, Definitions] = {}
        for blocks, frozen in ways:
            other = copy.copy(self)
            other.blocks, other.frozen = blocks, frozen
            needed = other.needed(name)
            makes = [n for block in needed for n in block.binds | block.changes]
            same = sorted if len(makes) == len(set(makes)) else list  # then their order is nothing
            found.setdefault(tuple(same(id(block) for block in needed)), other)
        return list(found.values())[:MAX_READINGS]

    def _checked(self, name: str) -> int:
        """How many statements stand above the last check of an answer; all, if it is older."""
        checks = [
            n for n, block in enumerate(self.blocks) if name in checked_questions(block.statement)
        ]
        return checks[-1] if checks and checks[-1] >= self._made(name) else len(self.blocks)

    def _made(self, name: str) -> int:
        """How many statements there are down to the last that makes a name; all, if none does."""
        made = [n for n, block in enumerate(self.blocks) if name in block.binds]
        return made[-1] + 1 if made else len(self.blocks)

    def versions(self, name: str) -> str:
        """What to say where several code cells make an answer; empty if there is one."""
        whole = [b for b in self._every if name in b.binds and not _has_stub(b.statement)]
        cells = list(dict.fromkeys(block.cell for block in whole))
        if len(cells) < 2:
            return ""
        shown = ", ".join(map(str, cells[:-1]))
        return f"{name!r} is made in code cells {shown} and {cells[-1]}; the best of them counts."

    def _changes(self, statement: ast.stmt, values: set[str]) -> set[str]:
        """The names whose values a statement changes where they stand."""
        found: set[str] = set()
        if _is_named(statement):  # such as @scale.register, or @rule, which fills a list
            for decorator in statement.decorator_list:
                call = decorator.func if isinstance(decorator, ast.Call) else decorator
                if isinstance(call, ast.Attribute):
                    found |= {_root(call)} - self._imported
                else:
                    found |= self._filled_by(_root(call)) | self._patched_by(decorator)
            for keeper in self._keepers(statement):
                found |= {keeper} | self._filled_by(keeper)
            return found
        for line in ast.walk(statement):
            if isinstance(line, ast.Name) and isinstance(line.ctx, ast.Del):
                found |= {line.id} & BUILTIN  # it is Python's own again
            elif isinstance(line, ast.Attribute | ast.Subscript):
                found |= {_root(line)} if isinstance(line.ctx, ast.Store | ast.Del) else set()
            elif isinstance(line, ast.Call):  # such as last = table.pop()
                method = line.func.attr if isinstance(line.func, ast.Attribute) else ""
                found |= {_root(line.func)} & self._containers if method in _FILLS else set()
                found |= {_root(value) for value in _changed_arguments(line)} & values
            if isinstance(line, ast.Expr) and isinstance(line.value, ast.Call):
                call = line.value
                if not isinstance(call.func, ast.Name):
                    found |= {_root(call.func)} & values  # such as table.append(3)
                elif call.func.id in ("setattr", "delattr") and call.args:
                    found.add(_root(call.args[0]))
                else:
                    found |= self._filled_by(call.func.id) | self._patched_by(call)
        for loop in ast.walk(statement):  # whose values are changed one by one
            if isinstance(loop, ast.For | ast.comprehension) and found & _names(loop.target):
                found |= _names(loop.iter) & values
        return found

    def _patched_by(self, call: ast.expr) -> set[str]:
        """The notebook's classes that a call hands to a function which sets attributes."""
        if not isinstance(call, ast.Call):
            return set()
        made = [b.statement for b in self.blocks if _is_named(b.statement)]
        code = [node for m in made if m.name == _root(call.func) for node in ast.walk(m)]
        if not any(_called(node) == "setattr" for node in code):
            return set()
        given = {_root(value) for value in [*call.args, *(word.value for word in call.keywords)]}
        return given & {m.name for m in made if isinstance(m, ast.ClassDef)}

    def _keepers(self, statement: ast.stmt) -> set[str]:
        """The notebook's classes that hear of a new class, and may keep it in a table."""
        if not isinstance(statement, ast.ClassDef):
            return set()
        named = {_root(base) for base in statement.bases}
        metas = {_root(word.value) for word in statement.keywords if word.arg == "metaclass"}
        others = [b.statement for b in self.blocks if isinstance(b.statement, ast.ClassDef)]
        hear = {c.name for c in others if c.name in named and _makes(c, "__init_subclass__")}
        return hear | {c.name for c in others if c.name in metas}

    def _filled_by(self, function: str) -> set[str]:
        """The globals that a function of the notebook makes, and the lists and tables it knows."""
        made = [b for b in self.blocks if getattr(b.statement, "name", "") == function]
        fills = {name for block in made for name in block.loads & self._containers}
        return fills | {name for block in made for name in block.binds - {function}}

    def run(self, *names: str, seconds: float = 8.0) -> dict[str, Any]:
        """Run what makes these names, or all definitions; the names that are there afterwards.

        Args:
            names: wanted; without them, all that is defined without a call.
            seconds: of CPU time that all calls may take together.
        """
        if not names:
            names = tuple(n for b in self.blocks if b.is_definition for n in b.binds)
        module = types.ModuleType("__main__")
        if self.is_main:
            sys.modules["__main__"] = module
        space = module.__dict__
        space["input"] = _no_input
        # What a notebook has, and a file of Python has not; both only show something.
        space["display"] = lambda *values, **options: None
        space["get_ipython"] = lambda: None
        clock = _Clock(seconds)
        self._shown.clear()
        last: dict[str, tuple[int, Any]] = {}
        blocks = self.needed(*names)
        chains = [chain for block in blocks for chain in _chains(block.statement)]
        todo, done, lost = list(enumerate(blocks)), [], []
        while todo:
            lost, before = [], len(done)
            for number, block in todo:
                # What was made below it meanwhile stays: the last one in the notebook counts.
                later = {n for other in done if other > number for n in blocks[other].binds}
                kept = {n: space[n] for n in block.binds & later if n in space}
                error = self._try(block, space, clock)
                space.update(kept)
                if isinstance(error, NameError):
                    lost.append((number, block, error))
                elif error is not None and not block.is_import:
                    self._note_failure(block, error)
                if error is not None:
                    continue
                done.append(number)
                _load_inner(block, chains, space)
                for name in block.binds & set(names):
                    if callable(space.get(name)) and number >= last.get(name, (0,))[0]:
                        last[name] = number, space[name]
            # Cells that stand in another order than that in which they were run: once more.
            if len(done) == before or not lost:
                break
            todo = [(number, block) for number, block, _ in lost]
        for _, block, error in lost:
            self._note_failure(block, error)
        last = {name: value for name, (_, value) in last.items()}
        # A name may have been used again, for what its function gave back.
        return space | last

    def _try(self, block: Block, space: dict, clock: _Clock) -> BaseException | None:
        """Run a statement; what it raised."""
        try:
            code = self._prepare(block)
            with contextlib.nullcontext() if block.is_import else clock:
                self._execute(code, space)
        except FileExistsError as error:
            return None if block.is_setting else self._fail(block, error, space)
        except (Exception, SystemExit, _TooLong) as error:  # the next one may be all right
            return self._fail(block, error, space)
        for name in block.binds:
            self._failed.pop(name, None)
        return None

    def _fail(self, block: Block, error: BaseException, space: dict) -> BaseException:
        for name in block.binds:
            self._failed[name] = block, error
            if isinstance(error, _TooLong):  # half of a loop is worse than none of it
                space.pop(name, None)
        return error

    def _prepare(self, block: Block) -> types.CodeType:
        name = f"<cell {block.cell}>"
        if block.cell not in self._shown:  # torch.jit.script reads the source
            self._shown.add(block.cell)
            lines = [f"{line}\n" for line in self._sources[block.cell].split("\n")]
            linecache.cache[name] = len(lines), None, lines, name
        statement = block.statement
        if any(map(_is_check, ast.walk(statement))):
            statement = _Unchecked().visit(copy.deepcopy(statement))
        return _compiled(statement, name, self.flags)

    def _execute(self, code: types.CodeType, space: dict[str, Any]) -> None:
        try:
            exec(code, space)
        except ModuleNotFoundError as error:
            if error.name not in self.files:
                raise
            module = sys.modules[error.name] = types.ModuleType(error.name)
            exec(self.files[error.name], module.__dict__)
            exec(code, space)

    def _note_failure(self, block: Block, error: BaseException) -> None:
        text = f"code cell {block.cell}, line {block.statement.lineno}: {_named(error)}"
        if text[:MAX_TEXT] not in self.notes:
            self.notes.append(text[:MAX_TEXT])

    def why(self, name: str, depth: int = 0, used: int | None = None) -> str:
        """Why a name is not there, in one sentence; ``used`` is the code cell that asked for it."""
        if name in self._failed:
            block, error = self._failed[name]
            if isinstance(error, ModuleNotFoundError):
                return without_package(error.name or "")
            lost = lost_name(str(error)) if isinstance(error, NameError) else ""
            if lost and lost != name and depth < 5:
                return self.why(lost, depth + 1, block.cell)
            made = f"{name!r} is made in code cell {block.cell}, which "
            if _wants_gpu(str(error)):
                return f"{made}needs a GPU. The grader has none: {WITHOUT_GPU}"
            if isinstance(error, _TooLong):
                return made + "takes too long to be run again; make it inside of the function."
            if isinstance(error, OSError):
                made += "needs a file or a network that the grader does not have: "
                return f"{made}{_named(error)}."
            return f"{made}fails when it is run again: {_named(error)}."
        makes = re.compile(
            rf"^[ \t]*((async[ \t]+)?def|class)[ \t]+{re.escape(name)}\b"
            rf"|^[ \t]*{re.escape(name)}[ \t]*=[^=]",
            re.MULTILINE,
        )
        for text, what in self._unread:
            if makes.search(text):
                return f"{name!r} is lost, because {what}."
        if any(makes.search(text) for text in self.texts):
            return f"{name!r} stands in a text cell of the notebook; turn it into a code cell."
        if name in self._magic:
            return f"{name!r} is made by a magic or a shell command, which the grader does not run."
        below = [b.cell for b in self.blocks if name in b.binds and used and b.cell > used]
        if below:
            return f"{name!r} is made in code cell {below[0]}, below cell {used}, which uses it."
        return f"no code cell of the notebook makes {name!r}; was its cell deleted, or renamed?"


class _TooLong(BaseException):
    """A call at the top of a notebook takes longer than it may."""

    def __str__(self) -> str:
        return "this takes too long to be run again"


class _Clock:
    """Ends a block of code when all blocks together took more than so many seconds of CPU time.

    A block that only sleeps ends after some more on the clock; time in which it waits for a core
    does not count.
    """

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        main = threading.current_thread() is threading.main_thread()
        self.works = main and hasattr(signal, "setitimer")

    def __enter__(self) -> None:
        self.start = time.process_time()
        if self.works:
            ends = {signal.SIGPROF: self._end, signal.SIGALRM: self._end_on_the_clock}
            self.before = [signal.signal(number, end) for number, end in ends.items()]
            self.queued = _queued()
            signal.setitimer(signal.ITIMER_PROF, max(self.left, 0.05))
            signal.setitimer(signal.ITIMER_REAL, max(4 * self.left, 1.0))

    def __exit__(self, *error: object) -> None:
        if self.works:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in zip((signal.SIGPROF, signal.SIGALRM), self.before, strict=True):
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self.left -= time.process_time() - self.start

    def _end(self, *_: object) -> None:
        raise _TooLong

    def _end_on_the_clock(self, *_: object) -> None:
        waited = _queued() - self.queued
        if waited < 0.05:
            raise _TooLong
        self.queued += waited
        signal.setitimer(signal.ITIMER_REAL, waited)


def _queued() -> float:
    """For how many seconds this process could have worked and had no core, if the system tells."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def _chains(tree: ast.AST) -> Iterator[list[str]]:
    """Names such as ``matplotlib.pyplot``, each as a list of its parts."""
    for node in ast.walk(tree):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if parts and isinstance(node, ast.Name):
            yield [node.id, *reversed(parts)]


def _load_inner(block: Block, chains: list[list[str]], space: dict[str, Any]) -> None:
    """Import the modules inside of those that a statement imports, where the notebook uses them.

    In a kernel something else has mostly loaded them: ``import matplotlib`` is then enough.
    """
    tops = {n: space.get(n) for n in block.binds if isinstance(space.get(n), types.ModuleType)}
    used = {chain[0] for chain in chains}
    for node in ast.walk(block.statement):  # in functions
        for alias in node.names if isinstance(node, ast.Import) else ():
            if not alias.asname and alias.name in used and alias.name not in tops:
                tops[alias.name] = alias.name
    for chain in chains:
        found = tops.get(chain[0])
        if isinstance(found, str) and found != "tricks_lib":
            with contextlib.suppress(Exception):
                found = tops[chain[0]] = importlib.import_module(found)
        for part in chain[1:]:
            # A late library loads itself when it is looked into.
            if not isinstance(found, types.ModuleType) or found.__name__ == "tricks_lib":
                break
            if not hasattr(found, part):
                with contextlib.suppress(Exception):
                    importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part, None)


def _no_input(*_: object) -> None:
    raise RuntimeError("nobody can answer input() here")


def _named(error: BaseException) -> str:
    if isinstance(error, _TooLong):
        return str(error)
    return f"{type(error).__name__}: {error}"


def lost_name(text: str) -> str:
    """The name that a NameError's text speaks of."""
    found = re.search(r"name '(\w+)' is not defined", text)
    return found[1] if found else ""


def without_package(name: str) -> str:
    """What to say where a package is missing."""
    name = name.partition(".")[0]
    return f"your code needs the package {name!r}, which the grader does not have; do without it."


def _compiled(statement: ast.stmt, name: str, flags: int) -> types.CodeType:
    tree = ast.fix_missing_locations(ast.Module([statement], type_ignores=[]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compile(tree, name, "exec", flags, dont_inherit=True)


def _decorated(statement: ast.stmt) -> bool:
    return any(_is_named(n) and n.decorator_list for n in ast.walk(statement))


def is_stub(statement: ast.stmt) -> bool:
    """Whether a function or class has only a text, pass, ... or NotImplementedError in it.

    A class that inherits from another one of the notebook's has more in it, and so has a function
    whose decorator may be its answer.
    """
    if not _is_named(statement):
        return False
    raises = False
    for line in statement.body:
        if isinstance(line, ast.Pass) or (
            isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
        ):
            continue
        raised = line.exc if isinstance(line, ast.Raise) else None
        raised = raised.func if isinstance(raised, ast.Call) else raised
        if isinstance(raised, ast.Name) and raised.id == "NotImplementedError":
            raises = True
            continue
        if isinstance(statement, ast.ClassDef) and is_stub(line):
            raises = True
            continue
        return False
    if isinstance(statement, ast.ClassDef):
        bases = {ast.unparse(base).rpartition(".")[2] for base in statement.bases}
        return raises or not (bases - {"Module", "object"} or statement.decorator_list)
    return raises or not statement.decorator_list


def _has_stub(statement: ast.stmt) -> bool:
    """Whether a function or class is a stub, or comes to a raise that says "your turn".

    Below a return such a raise is left over, and says nothing.
    """
    if not _is_named(statement):
        return False
    if is_stub(statement):
        return True
    for line in statement.body:
        if isinstance(statement, ast.ClassDef):
            if _has_stub(line):
                return True
        elif any(isinstance(node, ast.Return | ast.Yield) for node in _own(line)):
            return False
        elif isinstance(line, ast.Raise):
            return any(getattr(node, "value", "") == "your turn" for node in ast.walk(line))
    return False


def _own(tree: ast.AST) -> Iterator[ast.AST]:
    """What is run where it stands: all but the insides of functions, classes and lambdas."""
    left = [tree]
    while left:
        node = left.pop()
        yield node
        if not (_is_named(node) or isinstance(node, ast.Lambda)):
            left += ast.iter_child_nodes(node)


def _is_named(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)


def _makes(statement: ast.ClassDef, method: str) -> bool:
    return any(_is_named(line) and line.name == method for line in statement.body)


def _is_star(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*"


def _starred(blocks: list[Block]) -> set[str]:
    """The names that star imports bring."""
    found: set[str] = set()
    for block in blocks:
        if _is_star(block.statement):
            with contextlib.suppress(Exception):
                module = importlib.import_module(block.statement.module)
                public = [name for name in vars(module) if not name.startswith("_")]
                found |= set(getattr(module, "__all__", public))
    return found


def checked_questions(statement: ast.stmt) -> set[str]:
    """The questions whose checks a statement runs, such as {"min_max"}, as far as it names them."""
    if not any(map(_is_check, _own(statement))):
        return set()
    texts = {n.value for n in _own(statement) if isinstance(n, ast.Constant)}
    texts = {text for text in texts if isinstance(text, str)}
    return {text.rpartition(".")[2] for text in texts if re.fullmatch(r"\w+\.\w+", text)}


def _is_check(tree: ast.AST) -> bool:
    called = tree.func if isinstance(tree, ast.Call) else None
    return getattr(called, "attr", getattr(called, "id", "")) == "check"


class _Unchecked(ast.NodeTransformer):
    """Takes the checks out of a statement that is run again."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if _is_check(node) and checked_questions(ast.Expr(node)):
            return ast.copy_location(ast.Constant(None), node)
        return self.generic_visit(node)


def _root(tree: ast.expr) -> str:
    """The name that an expression such as ``a.b[0].c`` begins with."""
    while isinstance(tree, ast.Attribute | ast.Subscript | ast.Starred):
        tree = tree.value
    return tree.id if isinstance(tree, ast.Name) else ""


def _names(tree: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _hinted(statement: ast.stmt) -> Iterator[str]:
    """The names in a statement's annotations, and in those of them that are texts."""
    for node in ast.walk(statement):
        left = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for hint in filter(None, left):
            for part in ast.walk(hint):
                text = getattr(part, "value", None) if isinstance(part, ast.Constant) else None
                if isinstance(text, str):
                    with contextlib.suppress(*UNREADABLE):
                        yield from _names(ast.parse(text.strip(), mode="eval").body)
                elif isinstance(part, ast.Name):
                    yield part.id


def _queried(statement: ast.stmt) -> Iterator[str]:
    """The names that the texts of pandas speak of, as in table.query("loss < @limit")."""
    for call in ast.walk(statement):
        if isinstance(call, ast.Call) and _called(call) in ("query", "eval"):
            texts = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant)]
            yield from re.findall(r"@(\w+)", " ".join(t for t in texts if isinstance(t, str)))


def _changed_arguments(call: ast.Call) -> list[ast.expr]:
    """What a library's function changes where it stands, as far as its name tells it."""
    name = _called(call)
    # PyTorch's own have an underscore at their end, as in nn.init.zeros_(weight).
    in_place = name.endswith("_") and not name.endswith("__")
    return [*call.args, *(w.value for w in call.keywords)] if in_place or name in _REORDERS else []


def _is_container(statement: ast.stmt) -> bool:
    """Whether a list, a table or a set is made."""
    value = getattr(statement, "value", None)
    kinds = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    made = _root(value.func) if isinstance(value, ast.Call) else ""
    return isinstance(value, kinds) or made in ("list", "dict", "set", "defaultdict", "OrderedDict")


# The methods that change a list, a table or a set; and functions that change what they are given.
_FILLS = {"append", "extend", "insert", "pop", "popitem", "remove", "clear", "sort", "reverse"}
_FILLS |= {"add", "discard", "update", "setdefault", "appendleft", "popleft", "fill"}
_REORDERS = {"shuffle", "heapify", "heappush", "heappop", "heapreplace", "heappushpop", "insort"}
_REORDERS |= {"insort_left", "insort_right", "fill_diagonal", "copyto", "putmask"}

# Of libraries, what sets how they work; and what makes folders. Both are cheap.
_SETS = {"setrecursionlimit", "seterr", "setcontext", "use_deterministic_algorithms"}
_SETS |= {"set_default_dtype", "set_default_device", "set_grad_enabled", "makedirs", "mkdir"}
_SET_ON = (["getcontext"], ["Tensor"], ["Module"])  # the classes get methods by an assignment
# What they may call to say with what: anything else could be a training.
_HELPS = {"Path", "PurePath", "join", "exists", "isdir", "is_dir", "isfile", "expanduser", "getcwd"}
_HELPS |= {"cwd", "home", "str", "resolve", "absolute", "abspath", "dirname", "basename", "format"}
_HELPS |= {"device", "is_available", "Context", "getcontext", "int", "float", "__import__"}


def _sets(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name == "system" and call.args and isinstance(call.args[0], ast.Constant):
        return str(call.args[0].value).lstrip().startswith("mkdir ")
    of_torch = name.startswith("set_") and _root(call.func) == "torch"
    return of_torch or name in _SETS


def _named_last(tree: ast.expr) -> str:
    """The last name of such as ``torch.Tensor``."""
    return getattr(tree, "attr", getattr(tree, "id", ""))


def _is_setting(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.If | ast.With | ast.Try):
        lines = [*statement.body, *getattr(statement, "orelse", ())]
        lines += getattr(statement, "finalbody", ())
        lines += [line for h in getattr(statement, "handlers", ()) for line in h.body]
        inner = [line for line in lines if not isinstance(line, ast.Pass)]
        calls = [node for node in _own(statement) if isinstance(node, ast.Call)]
        return bool(inner) and all(map(_is_setting, inner)) and all(map(_is_cheap, calls))
    if isinstance(statement, ast.For):  # over names that stand there
        listed = isinstance(statement.iter, ast.List | ast.Tuple) and not _calls(statement.iter)
        return listed and all(map(_is_setting, statement.body))
    if isinstance(statement, ast.Assign):  # such as getcontext().prec = 50, Tensor.half = half
        owners = [t.value for t in statement.targets if isinstance(t, ast.Attribute)]
        left = [_called(owner) or _named_last(owner) for owner in owners]
        calls = [node for node in _own(statement.value) if isinstance(node, ast.Call)]
        return left in _SET_ON and all(_called(call) == "property" for call in calls)
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    if _called(statement.value) == "setattr" and statement.value.args:
        owner, *values = statement.value.args
        return [_named_last(owner)] in _SET_ON and not any(map(_calls, values))
    calls = [node for node in _own(statement) if isinstance(node, ast.Call)]
    return _sets(statement.value) and all(map(_is_cheap, calls))


def _named_by_text(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement makes as ``globals()["name"] = ...`` does."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            key, space = getattr(node.slice, "value", None), node.value
            if _called(space) in ("globals", "locals", "vars") and not space.args:
                yield from [key] if isinstance(key, str) else []


def _called(tree: ast.AST) -> str:
    function = getattr(tree, "func", None)
    return getattr(function, "attr", getattr(function, "id", ""))


def _is_cheap(call: ast.Call) -> bool:
    return _sets(call) or _called(call) in _HELPS


def _is_definition(statement: ast.stmt) -> bool:
    if _is_named(statement) or isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return statement.value is not None and not _calls(statement)
    if isinstance(statement, ast.With):
        return all(_is_definition(line) for line in statement.body)
    if isinstance(statement, ast.Try):
        bodies = [*statement.body, *statement.orelse, *statement.finalbody]
        bodies += [line for handler in statement.handlers for line in handler.body]
        return all(_is_definition(line) or isinstance(line, ast.Pass) for line in bodies)
    if isinstance(statement, ast.If):
        return all(map(_is_definition, [*statement.body, *statement.orelse]))
    return False


def _calls(tree: ast.AST) -> bool:
    """Whether anything is called, other than inside of a lambda."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.Call | ast.Await):
            return True
        if not isinstance(node, ast.Lambda):
            left += ast.iter_child_nodes(node)
    return False


# ------------------------------------------------------------------------- in the sandbox


def load_probe(path: Path) -> Any:
    """A file of probes as a module; it imports torch and numpy alone."""
    return load_module("probe", path)


def load_module(name: str, path: Path) -> Any:
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _LateLibrary:
    """Lets a notebook say ``import tricks_lib``, which costs seconds only if it is then used."""

    def __init__(self, path: str) -> None:
        self.path = path

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "tricks_lib":
            return None
        file = os.path.join(self.path, "__init__.py")
        if not os.path.exists(file):
            return None
        spec = importlib.util.spec_from_file_location(
            name, file, submodule_search_locations=[self.path]
        )
        spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


def rounds_of(arrays: Any) -> list[dict[str, Any]]:
    """What a probe is given in each round, from arrays that are called ``0/x`` and so on."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for key in arrays:
        number, _, name = key.partition("/")
        found.setdefault(number, {})[name] = arrays[key]
    return [inputs(given) for given in found.values()]


def inputs(arrays: Any) -> dict[str, Any]:
    """What a probe is given: a tensor for each array, a Python value for each single number."""
    import torch

    return {
        key: torch.from_numpy(np.array(arrays[key])) if arrays[key].ndim else arrays[key].item()
        for key in arrays
    }


def ask(probe: Any, name: str, answer: Any, rounds: list[dict[str, Any]], see: Observer) -> None:
    """Ask an answer a question in several rounds, each with inputs of its own.

    A probe of many cases is a generator that yields after each: then the rounds take turns, by
    chance. Whoever counts the calls knows neither which case comes next nor which is the last.
    """

    def cases(given: dict[str, Any]) -> Iterator[None]:
        found = getattr(probe, name)(answer, given, see)
        if inspect.isgenerator(found):
            yield from found

    chance = random.Random(see.seed)
    going = [(f"{number}/", cases(given)) for number, given in enumerate(rounds)]
    while going:
        place = chance.randrange(len(going))
        see.round, asking = going[place]
        try:
            next(asking)
        except StopIteration:
            del going[place]
        except (Exception, SystemExit) as error:
            see._error("probe", error)
            del going[place]
    see.round = ""


def probe_notebook(
    definitions: Definitions,
    probe: Any,
    name: str,
    given: list[dict[str, Any]],
    seed: int,
    seconds: float = 8.0,
) -> Observer:
    """Read an answer out of a notebook and probe it; the grader and ``check`` both do this.

    Where there is no answer, an array ``_missing`` says why, or ``_unanswered`` is there.

    Args:
        definitions: of the notebook.
        probe: a module of probes; its CLOSED lists what is closed for which answer.
        name: of the question.
        given: its inputs in each round, as from :func:`rounds_of`.
        seed: for random numbers in the answer's code, and for the turns of the rounds.
        seconds: that calls outside of functions may take.
    """
    see = Observer(seed)
    # Closed before the notebook's imports take hold of it. That is a hint and no wall: a library
    # has many doors, and who takes another one has at least understood what the question asks.
    with see.without(*getattr(probe, "CLOSED", {}).get(name, ())):
        stub = name in definitions.stubs
        answer = None if stub else definitions.run(name, seconds=seconds).get(name)
        if stub:
            see.turns = True
        elif answer is None:
            see.arrays["_missing"] = np.array(definitions.why(name)[:MAX_TEXT])
        else:
            ask(probe, name, answer, given, see)
    if see.unanswered:
        see.arrays["_unanswered"] = np.array(1)
    if versions := definitions.versions(name):
        see.arrays["_versions"] = np.array(versions[:MAX_TEXT])
    for key, value in list(see.arrays.items()):
        if key.endswith(".error"):
            lost, package = lost_name(str(value)), re.search("No module named '(\\w+)", str(value))
            if "NameError" in str(value) and lost:
                why = definitions.why(lost)
                own = why.startswith(("your code", repr(lost)))
                text = why if own else f"your code uses {lost!r}: {why}"
                see.arrays[key] = np.array(text[:MAX_TEXT])
            elif "ModuleNotFoundError" in str(value) and package:
                see.arrays[key] = np.array(without_package(package[1]))
    return see


def answer_question(job: dict, folder: Path, name: str, definitions: Definitions, probe: Any):
    """In a process of its own: define what the notebook defines, and probe one function."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        given = rounds_of(file)
    definitions = definitions.readings(name)[job.get("reading", 0)]
    definitions.is_main = True
    _stand_in()
    see = probe_notebook(definitions, probe, name, given, job["seed"], 0.5 * job["limit"])
    if definitions.notes:
        see.arrays["_notes"] = np.array(definitions.notes[:20])
    buffer = io.BytesIO()
    np.savez(buffer, **{k: v for k, v in see.arrays.items() if v.dtype.kind in "biufU"})
    return buffer.getvalue()


class _Shown(types.ModuleType):
    """A module of IPython where there is none: whatever it shows is not seen."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *values, **options: None


def _stand_in() -> None:
    """What a notebook has around it and the grader has not: nothing that an answer rests on."""
    with contextlib.suppress(ImportError):  # its bars need a browser
        bars = importlib.import_module("tqdm.std")
        notebook = sys.modules["tqdm.notebook"] = types.ModuleType("tqdm.notebook")
        notebook.tqdm = notebook.tqdm_notebook = bars.tqdm
        notebook.trange = notebook.tnrange = bars.trange
        sys.modules["tqdm"].notebook = notebook
    if "IPython" not in sys.modules and importlib.util.find_spec("IPython") is None:
        shown = sys.modules["IPython"] = _Shown("IPython")
        shown.__path__ = []
        shown.display = sys.modules["IPython.display"] = _Shown("IPython.display")
    # What torch.compile keeps: the runner's own place, which another user made, is closed.
    place = tempfile.mkdtemp(prefix="compiled-")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.environ["TRITON_CACHE_DIR"] = place
    if not os.access(".", os.W_OK):  # where no sandbox gives a place for files
        os.chdir(tempfile.mkdtemp(prefix="place-"))


def _limit(job: dict) -> None:
    import resource

    cpu = max(1, int(job["limit"]))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    # Addresses, of which torch takes some GB by itself; the limit is for what comes on top.
    pages = 0
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = int(job["memory"] * 2**30) + pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**24, 2**24))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    if job["processes"]:
        resource.setrlimit(resource.RLIMIT_NPROC, (job["processes"], job["processes"]))


def _send(out: int, name: str, status: str, data: bytes) -> None:
    head = json.dumps([name, status, len(data)]).encode()
    frame = MAGIC + struct.pack(">I", len(head)) + head + data
    while frame:
        frame = frame[os.write(out, frame) :]


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGXCPU, signal.SIGKILL):
            return "time" if number == signal.SIGXCPU else "killed"
        return f"signal {signal.Signals(number).name}"
    return f"exit {os.WEXITSTATUS(status)}"


def main(folder: Path) -> None:
    """Probe every question of a job, each in a process of its own; frames go to stdout."""
    out = os.dup(1)
    job = json.loads((folder / "job.json").read_text())
    cage = load_module("cage", folder / "cage.py")
    cage.settle(job)
    import torch

    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # its first use imports much: once, and here
    probe = load_probe(folder / "probe.py")
    if job["library"]:
        sys.meta_path.insert(0, _LateLibrary(job["library"]))
    # Parsing a stranger's text can crash Python itself, so even that is done in the child.
    text = (folder / "notebook.ipynb").read_text(encoding="utf-8", errors="replace")
    builtins.input = None
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    _send(out, "", "ready", b"")

    def count() -> bytes:
        definitions = Definitions.of(text)
        counts = {name: len(definitions.readings(name)) for name in job["questions"]}
        return json.dumps(counts).encode()

    if job["reading"] == 0:
        _, data = _shut_in({**job, "limit": min(job["limit"], 5.0)}, cage, out, count)
        _send(out, "", "readings", data)
    for name in job["questions"]:

        def answer(name: str = name) -> bytes:
            return answer_question(job, folder, name, Definitions.of(text), probe)

        _send(out, name, *_shut_in(job, cage, out, answer))


def _shut_in(job: dict, cage: Any, out: int, work: Callable[[], bytes]) -> tuple[str, bytes]:
    """Do some work in a process of its own, within its limits: how it ended, and what it gave."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        os.close(out)
        os.setpgid(0, 0)
        try:
            cage.enter(job)
        except OSError:
            os._exit(1)
        try:
            _limit(job)
            data = work()
            with os.fdopen(send, "wb") as stream:
                stream.write(data)
            os._exit(0)
        except MemoryError:
            os._exit(71)
        except ValueError as error:
            os._exit(70 if "not a notebook" in str(error) else 1)
        except BaseException:
            os._exit(1)
    os.close(send)
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    status, data = cage.watch(job, child, receive)
    os.close(receive)
    if status:
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    else:
        _, ended, usage = os.wait4(child, 0)
        status = "ok" if ended == 0 and data else _ending(ended)
        if status == "killed" and usage.ru_utime + usage.ru_stime >= job["limit"]:
            status = "time"
    cage.kill_the_rest(job, child)
    return status, data if status == "ok" else b""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
