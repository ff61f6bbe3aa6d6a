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
from functools import cached_property
from pathlib import Path
from typing import Any

from tricks_lib import law
from tricks_lib.claims import KINDS, anchor
from tricks_lib.claims import RECORD_TYPE as MIME

ID = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")

# What every record must have, and of which type.
NUMBER = (int, float)
FIELDS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "sentence": str,
    "source": str,
    "place": str,
    "tested_by": list,
    "kind": str,
    "headline": bool,
    "data": str,
    "at": str,
    "scale": str,
    "conditions": dict,
    "metric": str,
    "direction": str,
    "arms": list,
    "of": str,
    "rate": bool,
    "margin": NUMBER,
    "reason": str,
    "differences": list,
    "effect": NUMBER,
    "interval": list,
    "confidence": NUMBER,
    "num_seeds": int,
    "seeds": list,
    "diverged": list,
    "verdict": str,
    "amended": str,
    "recorded": (dict, type(None)),
    "versions": dict,
    "device": str,
}


@dataclass(frozen=True)
class Found:
    """One measurement of a claim, and the page that it was found on.

    Attributes:
        record: the valid record.
        docname: the page, such as ``chapters/start/evidence``.
    """

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
    def key(self) -> str:
        """What tells this measurement from all others: claim, data and what else differs."""
        return " ".join(filter(None, [f"{self.id} on {self.data}", self.at]))

    @property
    def anchor(self) -> str:
        """The ``id`` of the card in the page."""
        return anchor(self.record)

    @property
    def css(self) -> str:
        """The style class of the verdict: ``claim-too-small-to-matter``."""
        return "claim-" + self.verdict.replace(" ", "-")

    @cached_property
    def p_value(self) -> float | None:
        """How easily chance would have given this verdict; None for an undecided claim."""
        if self.verdict == law.UNDECIDED:
            return None
        r = self.record
        return law.p_value(
            r["differences"], r["margin"], r["direction"], r["verdict"], rate=r["rate"]
        )

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


def check_record(record: Any) -> list[str]:
    """Say what is wrong with a record, a sentence each; an empty list for a good one."""
    if not isinstance(record, dict):
        return ["the record is not a JSON object"]
    wrong = [f"it has no {name!r}" for name in FIELDS if name not in record]
    wrong += [f"it has an unknown field {name!r}" for name in record if name not in FIELDS]
    wrong += [
        f"{name!r} has the wrong type, {type(record[name]).__name__}"
        for name, kind in FIELDS.items()
        if name in record and not _is(record[name], kind)
    ]
    return wrong or _check_values(record)


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    # To Python True is a number.
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


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
        ("verdict", law.VERDICTS),
        ("scale", ("made", "real", "full")),
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
    if len(record["differences"]) != record["num_seeds"]:
        wrong.append("'differences' must hold one number a seed")
    numbers = [record["margin"], record["effect"], *record["interval"], *record["differences"]]
    if len(record["interval"]) != 2 or not all(_finite(number) for number in numbers):
        wrong.append("margin, effect, differences and the two ends of interval must be finite")
    elif record["margin"] <= 0:
        wrong.append("the margin must be above zero")
    return wrong or _check_judgement(record)


def _check_judgement(record: dict[str, Any]) -> list[str]:
    """Judge the raw differences again, by the library's own law."""
    wrong = []
    if record["confidence"] != law.CONFIDENCE:
        wrong.append(f"its interval is one of {record['confidence']}, not of {law.CONFIDENCE}")
    try:
        found = law.interval(record["differences"], rate=record["rate"])
    except ValueError as error:
        return [*wrong, str(error)]
    mean = sum(record["differences"]) / record["num_seeds"]
    stored = [record["effect"], *record["interval"]]
    if not all(
        math.isclose(a, b, rel_tol=1e-3) for a, b in zip(stored, [mean, *found], strict=True)
    ):
        wrong.append("effect and interval do not follow from its differences")
    if record["verdict"] != law.verdict(found, record["margin"], record["direction"]):
        wrong.append(f"the verdict {record['verdict']!r} does not follow from its numbers")
    try:
        own = law.margin(record["metric"], record["data"]).value
    except KeyError:
        own = None
    if record["margin"] != own:
        wrong.append(
            f"its margin, {record['margin']}, is not that of the table for {record['metric']} "
            f"on {record['data']}"
        )
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
    """The ids of all claims that the code cells of a notebook declare.

    They stand in ``Claim("page.slug", ...)``, or in ``say("slug", ...)`` where the notebook has
    ``say = Claims("page", ...)`` or ``other = say.but(...)``.
    """
    makers: dict[str, str] = {}  # name of a Claims -> its page
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
        yield from ids_in(tree, makers)


def ids_in(tree: ast.AST, makers: dict[str, str]) -> Iterator[str]:
    """The ids that a piece of code declares; ``makers`` remembers the ``Claims`` found so far."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            page = _page_of(node.value, makers)
            if page:
                makers.update({t.id: page for t in node.targets if isinstance(t, ast.Name)})
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        slug = _first_text(node, "id")
        if _name(node.func) == "Claim" and slug:
            yield slug
        elif _name(node.func) in makers and isinstance(node.func, ast.Name) and slug:
            yield f"{makers[node.func.id]}.{slug}"


def _page_of(call: ast.Call, makers: Mapping[str, str]) -> str:
    """The page of ``Claims("page", ...)`` or of ``say.but(...)``; empty for other calls."""
    if _name(call.func) == "Claims":
        return _first_text(call, "page")
    if _name(call.func) == "but" and isinstance(call.func.value, ast.Name):
        return makers.get(call.func.value.id, "")
    return ""


def _first_text(call: ast.Call, keyword: str) -> str:
    values = [word.value for word in call.keywords if word.arg == keyword] + call.args[:1]
    text = values[0].value if values and isinstance(values[0], ast.Constant) else ""
    return text if isinstance(text, str) else ""


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
        The good records by their key (claim, data and what else tells measurements apart), and
        everything that is wrong.
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
            if not wrong:
                measured = Found(record, docname)
                wrong += _against_others(measured, found.values())
                wrong += [
                    f"it cites {key!r}, which is not in references.bib"
                    for key in (record["source"], *record["tested_by"])
                    if key not in keys
                ]
                found.setdefault(measured.key, measured)
            problems += [Problem(docname, f"claim {name}: {text}") for text in wrong]
        problems += [
            Problem(docname, f"claim {name} is declared, but no output has its record")
            for name in dict.fromkeys(declared_ids(notebook))
            if name not in here
        ]
    return found, problems


def _against_others(measured: Found, others: Iterable[Found]) -> list[str]:
    """What one measurement must share with the others of its claim, and what it must not."""
    wrong = []
    for other in others:
        same_claim = other.id == measured.id
        if same_claim and other.key == measured.key:
            wrong.append(
                f"it is measured twice on {measured.data}: say what differs, with at='900 steps'"
            )
        for name in ("sentence", "source", "place", "kind", "headline", "metric", "direction"):
            if same_claim and other.record[name] != measured.record[name]:
                wrong.append(f"two of its measurements differ in {name!r}; it is one claim")
        if other.sentence == measured.sentence and not same_claim:
            wrong.append(f"its sentence is that of {other.id}: measure one claim twice instead")
    return wrong


def stable_anchor(claim: str) -> str:
    """The address of a claim, whatever it was measured on: ``claim-dropout-few-images``."""
    return "claim-" + re.sub(r"[^a-z0-9]+", "-", claim)


def format_value(metric: str, value: float, sign: str = "+") -> str:
    """A number as the cards write it: accuracies in points, other metrics as they are."""
    if metric.endswith("accuracy"):
        # MNIST is judged at a fifth of a point: one digit more for what is small.
        text = f"{100 * value:{sign}.{1 if abs(value) >= 0.01 else 2}f}"
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
