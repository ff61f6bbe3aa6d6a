"""What ``check`` does for a question of the coursework: the grader's own probe and judge, at once.

The inputs are drawn from a seed that everybody knows; the grader draws others. An answer that is
right is then read once more out of the cells that were run in this notebook, as the grader reads
them out of the file that is handed in, so that what counts here counts there.
"""

from __future__ import annotations

import ast
import contextlib
import decimal
import importlib
import inspect
import io
import os
import random
import re
import sys
import tempfile
import tokenize
import types
from collections.abc import Iterable, Iterator
from types import ModuleType

import numpy as np
import torch

from ..check import outdated
from . import runner
from .rubric import Given, Question, Seen, mark
from .runner import WITHOUT_GPU, Block, Definitions, Observer, ask, inputs, probe_notebook

PUBLIC_SEED = 0
SECONDS = 2.0  # for what a notebook calls outside of functions; the grader allows more
MADE = (torch.Tensor, torch.nn.Module, torch.optim.Optimizer, torch.Generator, torch.device)
MADE += (np.ndarray, np.generic, np.random.Generator)
# What the grader certainly has, besides Python's own modules.
PACKAGES = {"torch", "torchvision", "numpy", "scipy", "pandas", "matplotlib", "mpl_toolkits"}
PACKAGES |= {"sklearn", "joblib", "tqdm", "PIL", "tricks_lib", "IPython"} | sys.stdlib_module_names
START_DEPTH = 1000  # how deep functions may call each other when Python starts
OLDEST = (3, 10)  # the Python that the grader may have


def find(part: str, name: str):
    """The self-check of a question: a function of an answer that says what is wrong, or None.

    Raises:
        ImportError: the part has no coursework.
        AttributeError: the part has no such question.
    """
    judge = importlib.import_module(f"{__package__}.judges.{part}")
    probe = importlib.import_module(f"{__package__}.probes.{part}")
    if name not in judge.QUESTIONS:
        raise AttributeError(name)
    question = judge.QUESTIONS[name]
    return lambda answer: check_answer(question, probe, name, answer, PUBLIC_SEED)


def draw(question: Question, seed: int) -> list[Given]:
    """The inputs of a question for a seed, those of each of its rounds."""
    rng = np.random.default_rng(seed)
    rounds = range(rng.integers(*question.rounds, endpoint=True))
    return [{k: np.asarray(v) for k, v in question.given(rng).items()} for _ in rounds]


def check_answer(
    question: Question, probe: ModuleType, name: str, answer: object, seed: int
) -> str | None:
    """The first thing that is wrong with an answer, or None.

    Raises:
        NotImplementedError: the answer is a stub.
    """
    with _same_chances():
        given, see = draw(question, seed), Observer(seed)
        begin = _cpu()
        with see.without(*getattr(probe, "CLOSED", {}).get(name, ())):
            ask(probe, name, answer, [inputs(one) for one in given], see)
        if see.unanswered:
            raise NotImplementedError
        # As long as it would take in as many rounds as the grader may draw.
        took = (_cpu() - begin) * question.rounds[1] / len(given)
        if took > runner.SECONDS / 4:
            print(
                f"{name} may compute for {took:.0f} seconds; the grader stops an answer after "
                f"{runner.SECONDS:g}, and its computer may be slower than yours."
            )
        if problem := _problem(question, given, see):
            return problem
        cells = cells_run()
        if cells is not None and name not in _being_read:
            problem = read_problem(question, probe, name, Definitions(cells), given, seed)
            return problem and f"right here, but not as the grader reads this notebook: {problem}"
    for value in _notebook_values(answer):
        return (
            f"right here, but your code uses the notebook's variable {value!r}, which the grader "
            "may not have; make it inside the function, or pass it in."
        )
    return None


def _cpu() -> float:
    """CPU seconds of this process so far, and of those that it has started and that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _problem(question: Question, given: list[Given], see: Observer) -> str | None:
    return next((m.problem for m in mark(question, given, Seen(see.arrays)) if m.problem), None)


@contextlib.contextmanager
def _same_chances() -> Iterator[None]:
    """The caller's random numbers go on afterwards as if nothing had happened."""
    ours, numpys = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)


# ------------------------------------------------------------------- as the grader reads it


def cells_run() -> list[str] | None:
    """The cells that were run in this notebook; None where there is no notebook.

    However a check is called, in a loop or by a function: its answer is read out of them.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    cells = list(getattr(getattr(shell, "history_manager", None), "input_hist_raw", []))
    # A cell that was run again stands once in the notebook, and counts as it was run last.
    gone = outdated()
    cells = [c for n, c in enumerate(cells) if c not in cells[n + 1 :] and c not in gone]
    return cells if any(cell.strip() for cell in cells) else None


_being_read: set[str] = set()  # answers: a check inside of them asks nothing again


def read_problem(
    question: Question,
    probe: ModuleType,
    name: str,
    definitions: Definitions,
    given: list[Given],
    seed: int,
) -> str | None:
    """What the grader would find wrong with the answer in these cells, or None."""
    main = sys.modules["__main__"]
    definitions.is_main = True
    _being_read.add(name)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            _as_at_first(),
            _elsewhere(),
        ):
            rounds = [inputs(one) for one in given]
            see = probe_notebook(definitions, probe, name, rounds, seed, SECONDS)
    finally:
        _being_read.discard(name)
        sys.modules["__main__"] = main
    if see.unanswered:
        return f"{name!r} is not answered in it; your answer must have this name."
    if "_missing" in see.arrays:
        return str(see.arrays["_missing"])
    if problem := _problem(question, given, see):
        return problem
    needed = definitions.needed(name, hints=False)
    for module in sorted(set().union(*(block.modules for block in needed))):
        if module not in PACKAGES and module not in definitions.files:
            return f"your code uses {module!r}, which the grader may not have; do without it."
    for block in needed:
        if what := newer_syntax(definitions.source(block)):
            return (
                f"code cell {block.cell} uses {what}, which Python {OLDEST[0]}.{OLDEST[1]} does "
                "not have, and the grader may be that old; write it the older way."
            )
    if see.devices - {"cpu"} or _names_gpu(needed):
        return WITHOUT_GPU
    return None


def _names_gpu(needed: list[Block]) -> bool:
    """Whether code asks for a GPU, and never whether there is one."""
    nodes = [node for block in needed for node in ast.walk(block.statement)]
    if any(getattr(n, "attr", getattr(n, "id", "")) in _GUARDS for n in nodes):
        return False
    calls = [n.func.attr for n in nodes if isinstance(n, ast.Call) and hasattr(n.func, "attr")]
    values = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return "cuda" in calls or any(re.fullmatch(r"cuda(:\d+)?", value) for value in values)


_GUARDS = {"is_available", "device_count", "is_cuda", "get_device", "current_accelerator"}


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """In an empty folder, and as if there were no GPU, as it is for the grader."""
    here, available = os.getcwd(), torch.cuda.is_available
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        torch.cuda.is_available = lambda: False
        try:
            yield
        finally:
            torch.cuda.is_available = available
            os.chdir(here)


@contextlib.contextmanager
def _as_at_first() -> Iterator[None]:
    """With the libraries' settings as they are when Python starts; afterwards as they were."""
    kind, grad, errors = torch.get_default_dtype(), torch.is_grad_enabled(), np.geterr()
    decimals, deep = decimal.getcontext(), sys.getrecursionlimit()
    strict = torch.are_deterministic_algorithms_enabled()
    device = getattr(torch, "get_default_device", lambda: torch.device("cpu"))()
    try:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(False)
        np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")
        decimal.setcontext(decimal.Context())
        # A kernel stands on a stack of its own, beneath what the grader has.
        sys.setrecursionlimit(min(deep, START_DEPTH + len(inspect.stack(0))))
        yield
    finally:
        sys.setrecursionlimit(deep)
        decimal.setcontext(decimals)
        np.seterr(**errors)
        torch.use_deterministic_algorithms(strict)
        torch.set_grad_enabled(grad)
        torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_default_dtype(kind)


def newer_syntax(source: str) -> str:
    """What in Python code needs a newer Python than the grader may have; empty if nothing does."""
    try:
        tree = ast.parse(source, feature_version=OLDEST)
    except SyntaxError:
        return "syntax"
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _bare_star(source, node.slice):
            return "a star in square brackets"
        if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Starred):
            return "a star in an annotation"
    if not hasattr(tokenize, "FSTRING_START"):  # an older Python would not have parsed it
        return ""
    return newer_f_string(tokenize.generate_tokens(io.StringIO(source).readline))


def _bare_star(source: str, tree: ast.expr) -> bool:
    """Whether a star stands between square brackets without round ones around it."""
    if not isinstance(tree, ast.Tuple) or not any(isinstance(e, ast.Starred) for e in tree.elts):
        return False
    try:
        call = ast.parse(f"f({ast.get_source_segment(source, tree)})", mode="eval").body
    except SyntaxError:  # a slice beside it
        return True
    return len(call.args) != 1 or isinstance(call.args[0], ast.Starred)


def newer_f_string(tokens: Iterable[tokenize.TokenInfo]) -> str:
    """What in f-strings, as Python 3.12 parts them, an older one refuses; empty if nothing."""
    quotes: list[str] = []  # of the f-strings that are open
    row = 0
    for token in tokens:
        kind = tokenize.tok_name[token.type]
        if kind.startswith("TSTRING"):
            return "a t-string"
        texts = quotes if kind in ("FSTRING_START", "STRING") else []
        if any(quote in token.string for quote in texts):
            return "the same quotes inside of an f-string"
        inside = len(quotes) > (kind in ("FSTRING_MIDDLE", "FSTRING_END"))
        if inside and "\\" in token.string:
            return "a backslash between the braces of an f-string"
        if inside and kind != "FSTRING_MIDDLE" and row and token.start[0] > row:
            return "a backslash between the braces of an f-string"  # a continued line
        if kind == "FSTRING_START":
            quotes.append(token.string.lstrip("rRfFbBuU"))
        elif kind == "FSTRING_END":
            quotes.pop()
        elif quotes and kind in ("COMMENT", "NL") and len(quotes[-1]) == 1:
            return "an f-string with a new line between its braces"
        continued = quotes and kind not in ("NL", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
        row = token.end[0] if continued else 0
    return ""


# --------------------------------------------------------------- where there is no notebook


def _notebook_values(answer: object) -> Iterator[str]:
    """Names of computed values around an answer that its code looks up."""
    space = getattr(answer, "__globals__", None)
    codes = [answer.__code__] if isinstance(answer, types.FunctionType) else []
    if isinstance(answer, type):
        methods = [m for m in vars(answer).values() if isinstance(m, types.FunctionType)]
        codes = [method.__code__ for method in methods]
        space = methods[0].__globals__ if methods else None
    while codes and space is not None:
        code = codes.pop()
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
        for name in code.co_names:
            if name in space and _made(space[name]):
                yield name


def _made(value: object) -> bool:
    """Whether only a call can have made a value."""
    if isinstance(value, list | tuple | set):
        return any(map(_made, value))
    if isinstance(value, dict):
        return any(map(_made, value.values()))
    return isinstance(value, MADE) or type(value).__module__.startswith(("pandas.", "tricks_lib."))
