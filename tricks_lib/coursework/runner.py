"""Runs a student's functions, inside the sandbox, and sends back what they did as arrays.

This file is used in two ways. The grader copies it into a sandbox and runs it alone there, so it
imports nothing of the library. In a notebook, ``check`` uses its ``Observer`` to call a function
in the same way. It knows no expected value and gives no points.

    python runner.py JOB    JOB has job.json, notebook.ipynb, probe.py and <question>.npz
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import importlib.util
import io
import json
import os
import re
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = b"seen"
MAX_TEXT = 300


# ----------------------------------------------------------------------- watching a function


class Observer:
    """Calls a function and notes what comes back; errors are notes too.

    What a call named ``"moved"`` leaves behind: ``moved`` (or ``moved.0``, ``moved.1`` for a
    tuple), or ``moved.error``; ``moved.type``; and ``moved.argument.0`` and so on, the tensors
    that it was given, as they are afterwards.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.calls = 0
        self.arrays: dict[str, np.ndarray] = {}
        self.unanswered = False

    def call(self, name: str, function: Callable, *args: Any, **options: Any) -> Any:
        """Call ``function`` on copies of the arguments and note it; its result, None if it raised.

        Random numbers begin anew, from a seed that differs from call to call.
        """
        import torch

        self.calls += 1
        torch.manual_seed(self.seed + self.calls)
        args = tuple(arg.clone() if isinstance(arg, torch.Tensor) else arg for arg in args)
        try:
            result = function(*args, **options)
        except NotImplementedError as error:
            self.unanswered = self.unanswered or not str(error) or "your turn" in str(error)
            self._error(name, error)
            return None
        except (Exception, SystemExit) as error:
            self._error(name, error)
            return None
        finally:
            for position, arg in enumerate(args):
                if isinstance(arg, torch.Tensor):
                    self.note(f"{name}.argument.{position}", arg)
        self.note(name, result)
        return result

    def note(self, name: str, value: Any) -> None:
        """Note a tensor, an array, a number, a text, or a tuple of these."""
        import torch

        self.arrays[f"{name}.type"] = np.array(type(value).__name__[:MAX_TEXT])
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            value = value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
            self.arrays[name] = np.array(value.numpy())
        elif isinstance(value, str):
            self.arrays[name] = np.array(value[:MAX_TEXT])
        elif isinstance(value, bool | int | float | np.number | np.ndarray):
            array = np.asarray(value)
            if array.dtype.kind in "biuf":
                self.arrays[name] = array
        elif isinstance(value, tuple | list):
            for position, part in enumerate(value[:100]):
                self.note(f"{name}.{position}", part)

    def _error(self, name: str, error: BaseException) -> None:
        where = ""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename.startswith(("<cell", "<ipy"))]
        if lines:
            where = f" (line {lines[-1]} of its cell)"
        kind = type(error).__name__
        self.arrays[f"{name}.error"] = np.array(f"your code raised {kind}: {error}{where}"[:300])

    @contextlib.contextmanager
    def without(self, *places: tuple[Any, str]) -> Iterator[None]:
        """Make library functions unusable for a while, where using them would be the answer.

        Args:
            places: pairs such as ``(torch.nn.functional, "batch_norm")``.
        """

        def refuse(name: str) -> Callable:
            def refused(*args: Any, **options: Any) -> None:
                raise RuntimeError(f"write it yourself: {name} is the answer, not a part of it")

            return refused

        before = [(place, name, getattr(place, name)) for place, name in places]
        for place, name, _ in before:
            setattr(place, name, refuse(name))
        try:
            yield
        finally:
            for place, name, value in before:
                setattr(place, name, value)


# ------------------------------------------------------------- what is taken from a notebook


def cells_of(text: str) -> list[str]:
    """The sources of a notebook's code cells; no metadata matter.

    Raises:
        ValueError: it is no notebook.
    """
    try:
        notebook = json.loads(text)
        cells = notebook["cells"]
        return [
            source if isinstance(source, str) else "".join(source)
            for cell in cells
            if cell.get("cell_type") == "code"
            for source in [cell.get("source", "")]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("this is not a notebook") from error


def plain(source: str) -> str:
    """A cell without its magics and shell commands; its lines keep their numbers."""
    lines = source.splitlines()
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("%%") and not re.match(r"%%(time|timeit|capture|prun)\b", first):
        return ""
    magic = re.compile(r"(\s*)(?:[%!?].*|[\w.]+\?{1,2}\s*|[\w., ]+=\s*[%!].*)")
    return "\n".join(
        magic.sub(r"\1pass", line) if magic.fullmatch(line) else line for line in lines
    )


class Definitions:
    """A notebook's imports, functions, classes and assignments that call nothing.

    Attributes:
        blocks: (number of the cell, statement) in order.
        dropped: names that the notebook makes by a call, which are left out.
        notes: what a student should know, such as a cell with a syntax error.
    """

    def __init__(self, cells: list[str]) -> None:
        self.blocks: list[tuple[int, ast.stmt]] = []
        self.dropped: set[str] = set()
        self.notes: list[str] = []
        for number, source in enumerate(cells, start=1):
            try:
                body = ast.parse(plain(source)).body
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                line = getattr(error, "lineno", None)
                self.notes.append(
                    f"code cell {number} was left out: {type(error).__name__}"
                    + (f" in its line {line}" if line else "")
                )
                continue
            for statement in body:
                if _is_definition(statement):
                    self.blocks.append((number, statement))
                else:
                    self.dropped |= _assigned(statement)
        # A stub that was left behind, or copied, does not replace an answer.
        answered = {s.name for _, s in self.blocks if _is_named(s) and not _has_stub(s)}
        self.blocks = [
            (n, s)
            for n, s in self.blocks
            if not (_is_named(s) and s.name in answered and _has_stub(s))
        ]

    def run(self) -> dict[str, Any]:
        """The names that they define, in a module of their own."""
        module = type(sys)("notebook")
        sys.modules["notebook"] = module
        space = module.__dict__
        for number, statement in self.blocks:
            code = ast.fix_missing_locations(ast.Module([statement], type_ignores=[]))
            try:
                exec(compile(code, f"<cell {number}>", "exec"), space)
            except Exception as error:  # the next cell may be all right
                name = getattr(statement, "name", None)
                if name or not isinstance(statement, ast.Import | ast.ImportFrom):
                    self.notes.append(
                        f"code cell {number}, line {statement.lineno}: "
                        f"{type(error).__name__}: {error}"[:MAX_TEXT]
                    )
        return space


def is_stub(statement: ast.stmt) -> bool:
    """Whether a function or class has only a text, pass, ... or NotImplementedError in it."""
    if not _is_named(statement):
        return False
    for line in statement.body:
        if isinstance(line, ast.Pass) or (
            isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
        ):
            continue
        raised = line.exc if isinstance(line, ast.Raise) else None
        raised = raised.func if isinstance(raised, ast.Call) else raised
        if isinstance(raised, ast.Name) and raised.id == "NotImplementedError":
            continue
        if isinstance(statement, ast.ClassDef) and is_stub(line):
            continue
        return False
    return True


def _has_stub(statement: ast.stmt) -> bool:
    """Whether a function or class is a stub, or still says "your turn" somewhere."""
    turns = (n for n in ast.walk(statement) if isinstance(n, ast.Constant))
    return is_stub(statement) or any(turn.value == "your turn" for turn in turns)


def _is_named(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)


def _is_definition(statement: ast.stmt) -> bool:
    if _is_named(statement) or isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return statement.value is not None and not _calls(statement)
    if isinstance(statement, ast.Try):
        bodies = [*statement.body, *statement.orelse, *statement.finalbody]
        bodies += [line for handler in statement.handlers for line in handler.body]
        return all(_is_definition(line) or isinstance(line, ast.Pass) for line in bodies)
    if isinstance(statement, ast.If):
        inner = [*statement.body, *statement.orelse]
        return not _calls(statement.test) and all(map(_is_definition, inner))
    return False


def _calls(tree: ast.AST) -> bool:
    """Whether anything is called, other than inside of a lambda."""
    if isinstance(tree, ast.Lambda):
        return False
    if isinstance(tree, ast.Call | ast.Await):
        return True
    return any(_calls(child) for child in ast.iter_child_nodes(tree))


def _assigned(statement: ast.stmt) -> set[str]:
    return {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


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


def inputs(arrays: Any) -> dict[str, Any]:
    """What a probe is given: a tensor for each array, a Python value for each single number."""
    import torch

    return {
        key: torch.from_numpy(np.array(arrays[key])) if arrays[key].ndim else arrays[key].item()
        for key in arrays
    }


def answer_question(job: dict, folder: Path, name: str, definitions: Definitions, probe: Any):
    """In a process of its own: define what the notebook defines, and probe one function."""
    see = Observer(job["seed"])
    space = definitions.run()
    answer = space.get(name)
    if answer is None:
        see.arrays["_missing"] = np.array(1)
    elif any(_is_named(s) and s.name == name and is_stub(s) for _, s in definitions.blocks):
        see.unanswered = True
    else:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
            given = inputs(file)
        try:
            getattr(probe, name)(answer, given, see)
        except (Exception, SystemExit) as error:
            see._error("probe", error)
    if see.unanswered:
        see.arrays["_unanswered"] = np.array(1)
    for key, value in list(see.arrays.items()):
        if key.endswith(".error") and "NameError" in str(value):
            lost = re.search(r"name '(\w+)' is not defined", str(value))
            if lost and lost[1] in definitions.dropped:
                text = (
                    f"your code uses the notebook's variable {lost[1]!r}, which is made by a call "
                    "outside of it; make it inside the function, or pass it in."
                )
                see.arrays[key] = np.array(text)
    if definitions.notes:
        see.arrays["_notes"] = np.array(definitions.notes[:20])
    buffer = io.BytesIO()
    np.savez(buffer, **{k: v for k, v in see.arrays.items() if v.dtype.kind in "biufU"})
    return buffer.getvalue()


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
    for name in job["questions"]:
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
                definitions = Definitions(cells_of(text))
                data = answer_question(job, folder, name, definitions, probe)
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
        _send(out, name, status, data if status == "ok" else b"")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
