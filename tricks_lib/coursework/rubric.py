"""What a judge is made of: questions, their criteria, and a safe view of what was observed.

A judge runs in the grader's own process. It never runs a student's code: it gets what was given to
the student's function and the arrays that came back, and says for each criterion what is wrong.
"""

from __future__ import annotations

import io
import math
import re
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps

import numpy as np
import torch
from torch import Tensor

Given = dict[str, np.ndarray]
MAX_ARRAYS = 2000
MAX_BYTES = 64 * 2**20  # of one question's observations, unpacked
ONE_OR_TWO = (1, 2)  # rounds, for a question that draws many cases in each


class Wrong(Exception):
    """What is wrong with an answer, in one sentence that does not give the answer away."""


@dataclass(frozen=True)
class Criterion:
    """One line of a rubric.

    Attributes:
        points: what it is worth.
        text: what is asked, as the rubric in the notebook says it.
        judge: a function of (given, seen) that raises Wrong, or gives back what is wrong, or None.
    """

    points: int
    text: str
    judge: Callable[[Given, Seen], str | None]


@dataclass(frozen=True)
class Question:
    """A question: what its function is given, and how what it does is judged.

    The first criterion is the core: while it fails, the others earn nothing, so that an answer
    which does nothing cannot win the point for, say, leaving its input alone.

    Attributes:
        minutes: how long a student may need.
        given: draws the inputs of a round from a numpy Generator, a dict of arrays.
        rubric: the criteria, the core first; each must hold in every round.
        rounds: how often it is asked at least and at most, with other inputs each time. The number
            is drawn too, so that nobody who counts the calls knows which comes last.
    """

    minutes: int
    given: Callable[[np.random.Generator], Given]
    rubric: Sequence[Criterion]
    rounds: tuple[int, int] = (2, 4)

    @property
    def points(self) -> int:
        """The most that the question can earn."""
        return sum(criterion.points for criterion in self.rubric)


@dataclass(frozen=True)
class Mark:
    """What a criterion earned, and what was wrong; ``problem`` is None where nothing was."""

    criterion: str
    earned: int
    points: int
    problem: str | None


class Seen:
    """The observations of one question, as arrays. Whoever made them is not to be trusted."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = dict(arrays)

    def text(self, name: str) -> str:
        """A short text; empty when there is none of this name."""
        found = self._arrays.get(name)
        if found is None or found.dtype.kind != "U" or found.shape != ():
            return ""
        return brief(shown(str(found)))

    def array(self, name: str) -> np.ndarray:
        """An array as it came.

        Raises:
            Wrong: the call was never reached, raised, or gave back no numbers.
        """
        if error := self.text(f"{name}.error"):
            raise Wrong(error)
        if name in self._arrays:
            return self._arrays[name]
        count = sum(key.startswith(f"{name}.") and key[len(name) + 1 :].isdigit() for key in self)
        if count:
            raise Wrong(f"give back one tensor, not {count} of them.")
        if kind := self.text(f"{name}.type"):
            raise Wrong(f"give back a tensor, not {_a(kind)}.")
        raise Wrong("your code stopped before this could be seen.")

    def tensor(self, name: str, shape: Sequence[int], what: str = "the result") -> Tensor:
        """A float64 tensor of the shape that is asked for, all finite.

        Args:
            name: what the probe called it.
            shape: the shape that it must have.
            what: how to speak of it, such as ``"the new mean"``.

        Raises:
            Wrong: with a sentence on what came instead.
        """
        found = self.array(name)
        if found.dtype.kind not in "biuf":
            raise Wrong(f"{what} must be numbers, not {found.dtype.name}.")
        if tuple(found.shape) != tuple(shape):
            raise Wrong(f"{what} must have the shape {_t(shape)}; yours has {_t(found.shape)}.")
        if not np.isfinite(found).all():
            raise Wrong(f"{what} has values that are NaN or infinite.")
        return torch.from_numpy(found.astype(np.float64))

    def pair(self, name: str) -> tuple[str, str]:
        """The names of the two parts of a pair.

        Raises:
            Wrong: something else than two tensors came back.
        """
        if error := self.text(f"{name}.error"):
            raise Wrong(error)
        if f"{name}.1" not in self._arrays or f"{name}.2" in self._arrays:
            raise Wrong("give back two tensors, as a tuple.")
        return f"{name}.0", f"{name}.1"

    def round(self, number: int) -> Seen:
        """The observations of one round of a question."""
        start = f"{number}/"
        found = ((k.removeprefix(start), a) for k, a in self._arrays.items() if k.startswith(start))
        return Seen(dict(found))

    def argument(self, name: str, position: int) -> np.ndarray | None:
        """An argument of a call as it was afterwards, or None when it was no tensor."""
        return self._arrays.get(f"{name}.argument.{position}")

    def __iter__(self):
        return iter(self._arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays


def shown(text: str) -> str:
    """The beginning of a stranger's text, in one line; however long it is, no more is looked at."""
    return "".join(c if c.isprintable() else " " for c in text[:300])


def brief(text: str) -> str:
    """A student's text without what could be its inputs: long numbers, and more than a few.

    Shapes and line numbers stay, so that an error of PyTorch's can still be understood.
    """
    kept = 0

    def short(match: re.Match) -> str:
        nonlocal kept
        kept += 1
        return match[0] if kept <= 8 and len(match[0]) <= 4 else "…"

    text = re.sub(r"\d+(?:\.\d*)?(?:e[-+]?\d+)?", short, text)
    return re.sub(r"…(?:[\s,;:\[\](){}+-]*…)+", "…", re.sub(r"\w{60,}", "…", text))


def unchanged(seen: Seen, name: str, *given: np.ndarray) -> str | None:
    """A criterion's answer to whether a call left its first arguments as they were."""
    for position, before in enumerate(given):
        after = seen.argument(name, position)
        if after is None or after.shape != before.shape or not np.array_equal(after, before):
            return "your function changed a tensor that it was given; make a new one."
    return None


def near(found: Tensor, wanted: Tensor | np.ndarray, tolerance: float = 1e-4) -> bool:
    """Whether two results are the same but for rounding, relative to the size of the second."""
    wanted = torch.as_tensor(wanted, dtype=torch.float64)
    room = tolerance * (1.0 + wanted.abs().max().item()) if wanted.numel() else 0.0
    return found.shape == wanted.shape and bool(((found - wanted).abs() <= room).all())


def same_state(seen: Seen, run: str, state: Mapping[str, Tensor]) -> bool:
    """Whether the probe noted these weights, each as ``run.name``; whole numbers are passed over.

    Raises:
        Wrong: a weight is missing, or has another shape.
    """
    return all(
        near(seen.tensor(f"{run}.{name}", value.shape, f"the model's {name}"), value, 1e-3)
        for name, value in state.items()
        if value.is_floating_point()
    )


class _Same:
    """One very set of inputs, however much another one is like it."""

    def __init__(self, given: Given) -> None:
        self.given = given

    def __hash__(self) -> int:
        return id(self.given)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.given is self.given


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Numbers in single precision from a normal distribution around zero."""
    return rng.normal(0, scale, shape).astype(np.float32)


def once(function: Callable) -> Callable:
    """Remember what a judge's slow function, such as a right training, makes of the same inputs.

    All students of a batch are asked the same. Nobody may change what it gives back.
    """

    @lru_cache(maxsize=64)
    def remembered(same: _Same, *more: object, **options: object) -> object:
        return function(same.given, *more, **options)

    @wraps(function)
    def call(given: Given, *more: object, **options: object) -> object:
        return remembered(_Same(given), *more, **options)

    return call


def mark(question: Question, given: Sequence[Given], seen: Seen) -> list[Mark]:
    """Judge one question, criterion by criterion, by what it was given in each of its rounds.

    Raises:
        Exception: whatever the judge itself may raise, which is a fault of the judge.
    """
    marks: list[Mark] = []
    rounds = [(inputs, seen.round(number)) for number, inputs in enumerate(given)]
    for criterion in question.rubric:
        problems = (_problem(criterion, inputs, found) for inputs, found in rounds)
        problem = next(filter(None, problems), None)
        if marks and marks[0].problem:
            problem = problem or "does not count until the first line holds."
        earned = 0 if problem else criterion.points
        marks.append(Mark(criterion.text, earned, criterion.points, problem))
    return marks


def _problem(criterion: Criterion, given: Given, seen: Seen) -> str | None:
    try:
        return criterion.judge(given, seen)
    except Wrong as wrong:
        return str(wrong)


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """Read an npz file that a stranger wrote: no pickles, no bombs, nothing larger than it says.

    Raises:
        ValueError: it is anything else than a small npz of numbers and texts.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MAX_ARRAYS or sum(m.file_size for m in members) > MAX_BYTES:
                raise ValueError("too much was sent back")
            for member in members:
                arrays[member.filename.removesuffix(".npy")] = _read_array(archive.read(member))
    except ValueError:
        raise
    except Exception as error:  # zipfile raises many kinds on a broken or hostile file
        raise ValueError(f"not an npz file: {type(error).__name__}") from error
    return arrays


def _read_array(data: bytes) -> np.ndarray:
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array in a version of the format that we do not write")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in "biufU" or dtype.hasobject:
        raise ValueError(f"an array of {dtype.kind!r}")
    rest = data[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(rest) or min(shape, default=0) < 0:
        raise ValueError("an array of another size than it says")
    if dtype.itemsize == 0 or not dtype.isnative:
        raise ValueError(f"an array of {dtype.str!r}, which we do not write")
    if dtype.kind == "U" and rest and np.frombuffer(rest, np.uint32).max() > sys.maxunicode:
        raise ValueError("a text with a character that does not exist")
    if len(rest) == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")


def _t(shape: Sequence[int]) -> str:
    return str(tuple(int(n) for n in shape))


def _a(kind: str) -> str:
    if kind == "NoneType":
        return "None (is there a return?)"
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"
