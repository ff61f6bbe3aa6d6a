"""Self-checks for the exercises: ``check("batch_norm.forward", my_function)``.

The questions of a page stand in ``tricks_lib/questions/<page>.py``, one function each. It gets
the reader's answer and gives back what is wrong with it, in one sentence, or None when all is
right. It must not give the answer away.

The questions of a part's exercises, such as ``check("data_processing.min_max", min_max)``, are
those of the coursework: the grader's own probe and judge, on inputs that everybody knows.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable

# The parts that have exercises of their own, in tricks_lib/coursework.
PARTS = ("data_processing", "parameter_tuning", "regularization", "good_practices")


class WrongAnswer(AssertionError):
    """Raised instead of printed when ``TRICKS_STRICT=1``, so that a test can see it."""


def check(question: str, answer: object) -> None:
    """Say whether an answer is right, and if not, what is wrong with it.

    Args:
        question: ``"page.question"``, as printed in the exercise.
        answer: what the exercise asks for; mostly a function.

    Raises:
        ValueError: there is no such question.
    """
    judge = _find(question)
    problem = _judge(judge, answer)
    print(f"{question}: {problem or 'right.'}")
    if problem and os.environ.get("TRICKS_STRICT") == "1":
        raise WrongAnswer(f"{question}: {problem}")


def _find(question: str) -> Callable[[object], str | None]:
    page, _, name = question.partition(".")
    try:
        if page in PARTS:
            from .coursework import selfcheck  # late: a page's own checks need nothing of it

            return selfcheck.find(page, name)
        return getattr(importlib.import_module(f"tricks_lib.questions.{page}"), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"there is no question {question!r}; copy its name from the exercise."
        ) from error


def _judge(judge, answer: object) -> str | None:
    if answer is None or answer is ...:
        return "not answered yet."
    try:
        return judge(answer)
    except NotImplementedError:
        return "not answered yet."
    except Exception as error:  # whatever a reader's code may raise is told, never thrown
        return f"your code raised {type(error).__name__}: {error}"


# ----------------------------------------------------------------- cells that are no more

# A kernel remembers what was run; the file that is handed in has cells as they are in the end.
_newest: dict[str, str] = {}  # what each cell was when it was run last, by its id
_outdated: set[str] = set()  # what cells were before, or before they were deleted


def outdated() -> set[str]:
    """The sources of cells that were run in this notebook and have been changed or deleted since.

    Known where the notebook tells its kernel which cell it runs; otherwise the set is empty.
    """
    return _outdated - set(_newest.values())


def _remember(info: object) -> None:
    with contextlib.suppress(Exception):  # whatever a notebook's software sends along
        message = sys.modules["IPython"].get_ipython().get_parent()["metadata"]
        for cell in message.get("deletedCells") or ():
            if cell in _newest:
                _outdated.add(_newest.pop(cell))
    cell, source = getattr(info, "cell_id", None), getattr(info, "raw_cell", None)
    if isinstance(cell, str) and isinstance(source, str):
        _outdated.add(_newest.get(cell, source).rstrip("\n"))
        _newest[cell] = source.rstrip("\n")


def _listen() -> None:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and hasattr(shell, "events"):
        shell.events.register("pre_run_cell", _remember)


_listen()
