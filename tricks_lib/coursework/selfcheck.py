"""What ``check`` does for a question of the coursework: the grader's probe and judge, at once.

The inputs are drawn from a seed that everybody knows; the grader draws others.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Iterator

import numpy as np
import torch

from .rubric import Question, Seen, mark
from .runner import Observer, inputs

PUBLIC_SEED = 0
MADE = (torch.Tensor, torch.nn.Module, torch.optim.Optimizer, torch.Generator, torch.device)
MADE += (np.ndarray, np.generic, np.random.Generator)


def find(part: str, name: str) -> Callable[[object], str | None]:
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
    return lambda answer: check_answer(question, getattr(probe, name), answer, PUBLIC_SEED)


def observe(question: Question, probe: Callable, answer: object, seed: int) -> tuple[dict, Seen]:
    """Draw inputs and call an answer in this process, as the runner does in its sandbox.

    Raises:
        NotImplementedError: the answer is a stub.
    """
    given = draw(question, seed)
    see = Observer(seed)
    probe(answer, inputs(given), see)
    if see.unanswered:
        raise NotImplementedError
    return given, Seen(see.arrays)


def draw(question: Question, seed: int) -> dict[str, np.ndarray]:
    """The inputs of a question for a seed."""
    return {k: np.asarray(v) for k, v in question.given(np.random.default_rng(seed)).items()}


def check_answer(question: Question, probe: Callable, answer: object, seed: int) -> str | None:
    """The first thing that is wrong with an answer, or None."""
    # The caller's random numbers go on as if nothing had happened.
    with torch.random.fork_rng(devices=[]):
        given, seen = observe(question, probe, answer, seed)
        marks = mark(question, given, seen)
    for found in marks:
        if found.problem:
            return found.problem
    for name in _notebook_values(answer):
        return (
            f"right here, but your code uses the notebook's variable {name!r}, which the grader "
            "does not have; make it inside the function, or pass it in."
        )
    return None


def _notebook_values(answer: object) -> Iterator[str]:
    """Names of the notebook's own computed values that an answer's code looks up."""
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
    """Whether only a call can have made a value, so that the grader will not have it."""
    if isinstance(value, list | tuple | set):
        return any(map(_made, value))
    if isinstance(value, dict):
        return any(map(_made, value.values()))
    return isinstance(value, MADE) or type(value).__module__.startswith(("pandas.", "tricks_lib."))
