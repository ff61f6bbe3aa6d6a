"""Read the claim records that the notebooks store in their outputs, and check each of them.

A record is the JSON that ``tricks_lib.claim`` leaves in a cell's output. This module knows
notebooks, not Sphinx, so that tests and other tools can use it as well.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIME = "application/vnd.tricks-lib.claim+json"
HOLDS, NONE, OPPOSITE = VERDICTS = ("holds", "no detectable effect", "opposite")
KINDS = ("claim", "placebo", "control")
ID = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")

# What every record must have, and of which type.
FIELDS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "sentence": str,
    "source": str,
    "tested_by": list,
    "kind": str,
    "data": str,
    "metric": str,
    "direction": str,
    "arms": list,
    "margin": (int, float),
    "effect": (int, float),
    "interval": list,
    "detectable": (int, float),
    "num_seeds": int,
    "seeds": list,
    "verdict": str,
    "versions": dict,
    "device": str,
}


@dataclass(frozen=True)
class Found:
    """A valid record and the page that it was found on, such as ``chapters/start/evidence``."""

    record: Mapping[str, Any]
    docname: str

    def __getattr__(self, name: str) -> Any:
        # found.sentence reads better than found.record["sentence"].
        if name in FIELDS:
            return self.record[name]
        raise AttributeError(name)

    @property
    def part(self) -> str:
        """The folder of the page: ``data_processing``."""
        return Path(self.docname).parent.name

    @property
    def page(self) -> str:
        """The name of the page without its folder: ``augmentation``."""
        return Path(self.docname).name

    @property
    def anchor(self) -> str:
        """The ``id`` of the card in the page."""
        return "claim-" + self.id.replace(".", "-")

    @property
    def css(self) -> str:
        """The style class of the verdict: ``claim-no-detectable-effect``."""
        return "claim-" + self.verdict.replace(" ", "-")

    @property
    def scaled(self) -> tuple[float, float, float]:
        """Low, mean and high in multiples of the margin; positive where the sentence points."""
        unit = self.margin if self.direction == "higher" else -self.margin
        low, high = sorted(value / unit for value in self.interval)
        return low, self.effect / unit, high


@dataclass(frozen=True)
class Problem:
    """What is wrong, and on which page."""

    docname: str
    message: str


def verdict(effect: float, interval: Iterable[float], margin: float, direction: str) -> str:
    """The law of the book: an interval clear of zero, and an effect large enough to matter."""
    sign = 1 if direction == "higher" else -1
    low, high = sorted(sign * value for value in interval)
    if low > 0 and sign * effect >= margin:
        return HOLDS
    if high < 0 and -sign * effect >= margin:
        return OPPOSITE
    return NONE


def check_record(record: Any) -> list[str]:
    """Say what is wrong with a record, a sentence each; an empty list for a good one."""
    if not isinstance(record, dict):
        return ["the record is not a JSON object"]
    wrong = [f"it has no {name!r}" for name in FIELDS if name not in record]
    wrong += [f"it has an unknown field {name!r}" for name in record if name not in FIELDS]
    wrong += [
        f"{name!r} has the wrong type, {type(record[name]).__name__}"
        for name, kind in FIELDS.items()
        if name in record and (not isinstance(record[name], kind) or record[name] is True)
    ]
    return wrong or _check_values(record)


def _check_values(record: dict[str, Any]) -> list[str]:
    """Check what the fields say, given that all of them exist with the right types."""
    wrong = []
    for name in ("sentence", "source", "data", "metric"):
        if not record[name].strip():
            wrong.append(f"{name!r} is empty")
    if not ID.fullmatch(record["id"]):
        wrong.append(f"the id {record['id']!r} must look like 'page.slug', in lower case")
    for name, allowed in (
        ("kind", KINDS),
        ("direction", ("higher", "lower")),
        ("verdict", VERDICTS),
    ):
        if record[name] not in allowed:
            wrong.append(f"{name!r} is {record[name]!r}, not one of {', '.join(allowed)}")
    for name in ("arms", "tested_by"):
        if not all(isinstance(item, str) and item for item in record[name]):
            wrong.append(f"{name!r} must be a list of names")
    if len(record["arms"]) != 2:
        wrong.append("'arms' must name two: the trick and its baseline")
    if len(set(map(str, record["seeds"]))) != record["num_seeds"] or record["num_seeds"] < 2:
        wrong.append("'num_seeds' must count the seeds, all different, two at least")
    numbers = [record["margin"], record["effect"], record["detectable"], *record["interval"]]
    if len(record["interval"]) != 2 or not all(_finite(number) for number in numbers):
        wrong.append("margin, effect, detectable and the two ends of interval must be finite")
    if wrong:
        return wrong
    low, high = record["interval"]
    if not low <= record["effect"] <= high:
        wrong.append("the effect lies outside of its interval")
    if record["margin"] <= 0:
        wrong.append("the margin must be above zero")
    # The stored effect is rounded: right at the margin either verdict may follow from it.
    allowed_verdicts = {
        verdict(record["effect"] * scale, (low, high), record["margin"], record["direction"])
        for scale in (0.999, 1.0, 1.001)
    }
    if not wrong and record["verdict"] not in allowed_verdicts:
        wrong.append(f"the verdict {record['verdict']!r} does not follow from its numbers")
    return wrong


def _finite(number: Any) -> bool:
    return isinstance(number, int | float) and number is not True and math.isfinite(number)


def stored_records(notebook: Mapping[str, Any]) -> Iterator[Any]:
    """All claim records in the outputs of a notebook, in order."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if MIME in output.get("data", {}):
                yield output["data"][MIME]


def declared_ids(notebook: Mapping[str, Any]) -> Iterator[str]:
    """The ids of all ``Claim(id="...")`` in the code cells of a notebook."""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        # Python cannot read lines such as "%pip install": we blank them out.
        lines = [re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in source.splitlines()]
        try:
            tree = ast.parse("\n".join(lines))
        except SyntaxError:
            continue  # a cell that shows a syntax error; it declares nothing
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) == "Claim":
                named = [word.value for word in node.keywords if word.arg == "id"]
                for value in named or node.args[:1]:
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield value.value


def _name(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def collect(
    notebooks: Mapping[str, Path], citation_keys: Iterable[str]
) -> tuple[dict[str, Found], list[Problem]]:
    """Read every notebook and judge what it stores.

    Args:
        notebooks: The file of each page, in the order of the book.
        citation_keys: All keys of the bibliography.

    Returns:
        The good records by id, and everything that is wrong.
    """
    keys = set(citation_keys)
    found: dict[str, Found] = {}
    problems: list[Problem] = []
    for docname, path in notebooks.items():
        notebook = json.loads(path.read_text(encoding="utf-8"))
        here = set()
        for record in stored_records(notebook):
            name = record.get("id", "without an id") if isinstance(record, dict) else "?"
            here.add(name)
            wrong = check_record(record)
            if not wrong and name.split(".")[0] != path.stem:
                wrong.append(f"its id must begin with the name of its page, '{path.stem}.'")
            if not wrong and name in found:
                wrong.append(f"its id was used before, in {found[name].docname}")
            if not wrong:
                wrong += [
                    f"it cites {key!r}, which is not in references.bib"
                    for key in (record["source"], *record["tested_by"])
                    if key not in keys
                ]
                found[name] = Found(record, docname)
            problems += [Problem(docname, f"claim {name}: {text}") for text in wrong]
        problems += [
            Problem(docname, f"claim {name} is declared, but no output has its record")
            for name in dict.fromkeys(declared_ids(notebook))
            if name not in here
        ]
    return found, problems


def format_value(metric: str, value: float, sign: str = "+") -> str:
    """A number as the cards write it: accuracies in points, other metrics as they are."""
    if metric.endswith("accuracy"):
        text = f"{100 * value:{sign}.1f}"
    elif abs(value) >= 100:
        text = f"{value:{sign},.0f}"
    else:
        text = f"{value:{sign}.3g}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")  # "-0.0" would only puzzle
    return text.replace("-", "\N{MINUS SIGN}")


def unit(metric: str) -> str:
    """What stands behind the number: ``points`` for an accuracy, else the metric's own name."""
    return "points" if metric.endswith("accuracy") else metric.replace("_", " ")
