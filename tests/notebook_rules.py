"""How nbval compares a notebook's stored outputs with fresh ones, and how tests share workers.

nbval compares every text output character by character. Three things need more sense than that:

- A claim is compared on its record: words and verdict exactly, measured numbers within the
  claim's own margin or their statistical error, versions and device not at all. On other
  arithmetic some studies are as good as run with other seeds: training magnifies rounding. Two
  effects then agree when they are no further apart than their two intervals reach together, and
  two widths when neither is three times the other: of two samples of ten with the same spread,
  about three pairs in a thousand differ by more. The card is made from the record, so the card
  itself is not compared.
- A cell tagged ``nbval-atol=0.02`` or ``nbval-rtol=0.01`` may differ by so much in its decimal
  numbers. Its words and whole numbers must still be the same.
- A cell that has code but no execution count was stripped of its outputs. nbval would run it and
  compare nothing; here it fails.
"""

from __future__ import annotations

import copy
import gc
import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from nbval.plugin import IPyNbCell
from xdist.scheduler import LoadFileScheduling

from book.notebooks import FIXED_ENV
from book.records import MIME as CLAIM_MIME

MEASURED = ("effect", "interval")
# The differences of single seeds move with rounding; effect and interval are computed from them.
NOT_COMPARED = ("versions", "device", "differences", "diverged")
LONGEST = ("tests/test_site.py", "tests/test_coursework_zoo.py", "tests/test_coursework.py")
TEXT_MIMES = ("text/plain", "text/html", "text/markdown")
TOLERANCE_TAG = re.compile(r"nbval-([ar]tol)=(.+)")
# A number with a decimal point or an exponent, and not a part of a version such as 2.15.0.
FLOAT = re.compile(r"(?<![\w.])([-+\u2212]?(?:\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+))(?!\.?\w)")


def pytest_configure(config: pytest.Config) -> None:
    """Give the notebooks' kernels the environment that the stored outputs were made in."""
    if config.option.nbval or config.option.nbval_lax:
        os.environ.update(FIXED_ENV)
        os.environ.setdefault("TRICKS_DEVICE", "cpu")
        for name in ("TRICKS_SEED", "TRICKS_SEEDS", "TRICKS_BUDGET"):
            os.environ.pop(name, None)
        if "PYTEST_XDIST_WORKER" in os.environ:  # the workers keep the cores busy already
            os.environ.setdefault("TRICKS_WORKERS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that no worker is left alone with one at the end."""
    longest = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: longest.get(item.nodeid.split("::", 1)[0], len(LONGEST)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was collected stays to the end: nobody need look through it for garbage again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """A file's tests stay on one worker, as a notebook's cells must, whatever ``--dist`` says."""
    config.option.loadscopereorder = False  # that would put files with many tests first
    return LoadFileScheduling(config, log)


# ------------------------------------------------------------------------------- claims


def claim_difference(stored: dict[str, Any], fresh: dict[str, Any]) -> str:
    """What differs between two records of a claim, in words; empty when nothing does."""
    name = stored.get("id", "?")
    for key in sorted(stored.keys() | fresh.keys()):
        if key in NOT_COMPARED:
            continue
        if key not in stored or key not in fresh:
            return f"claim {name}: {key!r} is in one of the two records alone"
        old, new = stored[key], fresh[key]
        if key in MEASURED and not _agree(key, stored, fresh):
            return f"claim {name}: {key} was {old}, is {new}; more than its statistical error"
        if key == "conditions":
            old, new = _without_tuning(old), _without_tuning(new)
        if key not in MEASURED and old != new:
            return f"claim {name}: {key} was {old!r}, is {new!r}"
    return ""


def _without_tuning(conditions: dict[str, str]) -> dict[str, str]:
    """Conditions but for the settings that tuning picked: between tied ones rounding may choose."""
    return {name: text for name, text in conditions.items() if name != "tuned"}


def _agree(key: str, stored: dict[str, Any], fresh: dict[str, Any]) -> bool:
    """Whether a measured number of two records is the same within its statistical error."""
    margin, old, new = stored.get("margin", 0), stored[key], fresh[key]
    # Half of each interval, but of the narrower one: who widens a stored interval gains nothing.
    reach = max(margin, min(_width(stored), _width(fresh)))
    if key == "effect":
        return _near(old, new, reach, 0)
    widths = _width(stored), _width(fresh)
    return _near(sum(old) / 2, sum(new) / 2, reach, 0) and (
        _near(*widths, 2 * margin, 0) or _alike(*widths)
    )


def _width(record: dict[str, Any]) -> float:
    """The width of a record's interval: twice its statistical error."""
    low, high = record.get("interval") or (0, 0)
    return high - low


def _alike(old: Any, new: Any) -> bool:
    """Whether neither of two spreads is more than three times the other."""
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    return numbers and max(old, new) <= 3 * min(old, new)


def _near(old: Any, new: Any, atol: float, rtol: float) -> bool:
    if not isinstance(old, int | float) or not isinstance(new, int | float):
        return bool(old == new)
    if not (math.isfinite(old) and math.isfinite(new)):
        return old == new or (math.isnan(old) and math.isnan(new))
    return abs(old - new) <= atol + rtol * abs(old) + 1e-12


def _records(outputs: list[Any]) -> list[dict[str, Any]]:
    return [o["data"][CLAIM_MIME] for o in outputs if CLAIM_MIME in o.get("data", {})]


def _without_claims(outputs: list[Any]) -> list[Any]:
    """A copy in which a claim's output keeps its verdict line alone."""
    outputs = copy.deepcopy(outputs)
    for output in outputs:
        if CLAIM_MIME in output.get("data", {}):
            del output["data"][CLAIM_MIME]
            output["data"].pop("text/html", None)
    return outputs


# --------------------------------------------------------------------------- tolerances


def tolerances(tags: Sequence[str]) -> dict[str, float]:
    """The tolerances among a cell's tags, e.g. ``{"atol": 0.02}``.

    Raises:
        ValueError: a tolerance that is no number.
    """
    found = {}
    for tag in tags:
        if match := TOLERANCE_TAG.fullmatch(tag):
            found[match[1]] = float(match[2])
    return found


def same_text(stored: str, fresh: str, atol: float = 0.0, rtol: float = 0.0) -> bool:
    """Whether two texts are the same but for decimal numbers within the tolerance.

    Runs of spaces count as one, because a longer number moves a table's columns.
    """
    old, new = FLOAT.split(stored), FLOAT.split(fresh)  # words at even places, numbers at odd
    if len(old) != len(new):
        return False
    words = all(a.split() == b.split() for a, b in zip(old[::2], new[::2], strict=True))
    return words and all(
        _near(_number(a), _number(b), atol, rtol) for a, b in zip(old[1::2], new[1::2], strict=True)
    )


def _number(text: str) -> float:
    return float(text.replace("\u2212", "-"))


def _texts(outputs: list[Any], kind: str) -> Iterator[tuple[Any, str]]:
    """Where the outputs keep their text of one kind, as (mapping, key)."""
    for output in outputs:
        if kind in output.get("data", {}):
            yield output["data"], kind
        elif kind == output.get("name"):
            yield output, "text"


def _snap(fresh: list[Any], stored: list[Any], tolerance: dict[str, float]) -> None:
    """Put the stored text in place of a fresh one that is the same within the tolerance."""
    for kind in (*TEXT_MIMES, "stdout"):
        pairs = zip(_texts(fresh, kind), _texts(stored, kind), strict=False)
        for (new, key), (old, _) in pairs:
            if same_text(old[key], new[key], **tolerance):
                new[key] = old[key]


# ------------------------------------------------------------------------ nbval, wrapped

_compare_exactly = IPyNbCell.compare_outputs
_run_cell = IPyNbCell.runtest


def _compare(self: IPyNbCell, test: list[Any], ref: list[Any], skip_compare: Any = None) -> bool:
    fresh, stored = _records(test), _records(ref)
    differences = [claim_difference(old, new) for old, new in zip(stored, fresh, strict=False)]
    if len(fresh) != len(stored):
        differences.append(f"{len(stored)} claims were stored, {len(fresh)} came out")
    if any(differences):
        self.comparison_traceback = [difference for difference in differences if difference]
        return False
    test, ref = _without_claims(test), _without_claims(ref)
    if tolerance := tolerances(self.cell.metadata.get("tags", [])):
        _snap(test, ref, tolerance)
    return _compare_exactly(self, test, ref, skip_compare)


def _run(self: IPyNbCell) -> None:
    if self.cell.execution_count is None and self.cell.source.strip():
        self.raise_cell_error("The stored outputs were stripped: run `make notebooks`")
    _run_cell(self)


IPyNbCell.compare_outputs = _compare
IPyNbCell.runtest = _run
