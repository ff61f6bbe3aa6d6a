"""What ``check`` does for a question of the coursework: the grader's own probe and judge, at once.

The inputs are drawn from a seed that everybody knows; the grader draws others. An answer that is
right is then read once more out of the cells that were run in this notebook, as the grader reads
them out of the file that is handed in, so that what counts here counts there.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import random
import sys
import tokenize
import types
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import torch

from ..check import outdated
from .rubric import Question, Seen, mark
from .runner import Definitions, Observer, checked_question, inputs, probe_notebook

PUBLIC_SEED = 0
SECONDS = 2.0  # for what a notebook calls outside of functions; the grader allows more
MADE = (torch.Tensor, torch.nn.Module, torch.optim.Optimizer, torch.Generator, torch.device)
MADE += (np.ndarray, np.generic, np.random.Generator)
# What the grader certainly has, besides Python's own modules.
PACKAGES = {"torch", "torchvision", "numpy", "scipy", "pandas", "matplotlib", "mpl_toolkits"}
PACKAGES |= {"sklearn", "joblib", "tqdm", "PIL", "tricks_lib"} | sys.stdlib_module_names
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


def draw(question: Question, seed: int) -> dict[str, np.ndarray]:
    """The inputs of a question for a seed."""
    return {k: np.asarray(v) for k, v in question.given(np.random.default_rng(seed)).items()}


def check_answer(
    question: Question, probe: ModuleType, name: str, answer: object, seed: int
) -> str | None:
    """The first thing that is wrong with an answer, or None.

    Raises:
        NotImplementedError: the answer is a stub.
    """
    with _same_chances():
        given, see = draw(question, seed), Observer(seed)
        with see.without(*getattr(probe, "CLOSED", {}).get(name, ())):
            getattr(probe, name)(answer, inputs(given), see)
        if see.unanswered:
            raise NotImplementedError
        if problem := _problem(question, given, see):
            return problem
        cells = cells_run(name)
        if cells is not None:
            problem = read_problem(question, probe, name, Definitions(cells), seed)
            return problem and f"right here, but not as the grader reads this notebook: {problem}"
    for value in _notebook_values(answer):
        return (
            f"right here, but your code uses the notebook's variable {value!r}, which the grader "
            "may not have; make it inside the function, or pass it in."
        )
    return None


def _problem(question: Question, given: dict[str, np.ndarray], see: Observer) -> str | None:
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


def cells_run(name: str) -> list[str] | None:
    """The cells that were run in this notebook, or None where none of them checks ``name``.

    Without a notebook, and where nothing remembers the cells, there is nothing to read.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    cells = list(getattr(getattr(shell, "history_manager", None), "input_hist_raw", []))
    # A cell that was run again stands once in the notebook, and counts as it was run last.
    gone = outdated()
    cells = [c for n, c in enumerate(cells) if c not in cells[n + 1 :] and c not in gone]
    blocks = Definitions(cells[-1:]).blocks
    return cells if any(checked_question(block.statement) == name for block in blocks) else None


def read_problem(
    question: Question, probe: ModuleType, name: str, definitions: Definitions, seed: int
) -> str | None:
    """What the grader would find wrong with the answer in these cells, or None."""
    given, main = draw(question, seed), sys.modules["__main__"]
    definitions.is_main = True
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            see = probe_notebook(definitions, probe, name, inputs(given), seed, SECONDS)
    finally:
        sys.modules["__main__"] = main
    if see.unanswered:
        return f"{name!r} is not answered in it; your answer must have this name."
    if "_missing" in see.arrays:
        return str(see.arrays["_missing"])
    if problem := _problem(question, given, see):
        return problem
    needed = definitions.needed(name)
    for module in sorted(set().union(*(block.modules for block in needed))):
        if module not in PACKAGES and module not in definitions.files:
            return f"your code uses {module!r}, which the grader may not have; do without it."
    for block in needed:
        if newer_syntax(definitions.source(block)):
            return (
                f"code cell {block.cell} uses syntax that Python {OLDEST[0]}.{OLDEST[1]} does not "
                "have, and the grader may be that old; write it the older way."
            )
    return None


def newer_syntax(source: str) -> bool:
    """Whether Python code needs a newer Python than the grader may have."""
    try:
        ast.parse(source, feature_version=OLDEST)
    except SyntaxError:
        return True
    if not hasattr(tokenize, "FSTRING_START"):  # an older Python would not have parsed it
        return False
    quotes: list[str] = []  # of the f-strings that are open
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        inner = token.type in (tokenize.FSTRING_START, tokenize.STRING)
        if inner and any(quote in token.string for quote in quotes):
            return True
        if token.type == tokenize.FSTRING_START:
            quotes.append(token.string.lstrip("rRfFbBuU"))
        elif token.type == tokenize.FSTRING_END:
            quotes.pop()
        elif quotes and token.type in (tokenize.COMMENT, tokenize.NL) and len(quotes[-1]) == 1:
            return True
    return False


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
