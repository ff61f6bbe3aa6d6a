"""A stored output that was tampered with is caught; a difference within tolerance is not.

One notebook is run once. Then each of its cells is changed in the file, in one way each, and
nbval compares the file with a second run: a cell fails or passes on its own.
"""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from book.notebooks import clean, execute
from book.records import MIME as CLAIM_MIME
from tests.notebook_rules import claim_difference, same_text, tolerances

ROOT = Path(__file__).parent.parent

CLAIM = f"""
import numpy as np
from IPython.display import display
from tricks_lib import Claim, Effect
from tricks_lib.claims import record
values = 0.05 + 0.0039 * np.array([-1.5, -1, -1, -0.5, 0, 0, 0.5, 1, 1, 1.5])
effect = Effect(values, tuple(range(10)), "with", "without", "test_accuracy", "made", "cpu")
found = record(Claim("rules.demo", "It helps.", "who2020", margin=0.01), effect)
line = "HOLDS · It helps. [rules.demo: made]"
display({{"text/plain": line, "text/html": "<div>+0.05</div>", "{CLAIM_MIME}": found}}, raw=True)
"""
TABLE = "import pandas as pd; pd.DataFrame({'arm': ['a', 'b'], 'n': [3, 4], 'loss': [0.51, 0.73]})"
MARKDOWN = "from IPython.display import Markdown; Markdown('The gain is **0.12** with 5 seeds.')"
FIGURE = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
PRINT = "print('loss 0.512 after 3 epochs')"
TOLERANT = ["nbval-atol=0.02"]


def record(cell: NotebookNode) -> dict[str, Any]:
    return cell.outputs[0].data[CLAIM_MIME]


def replace(old: str, new: str):
    """A mutation: other text in every text of the stored output."""

    def mutate(cell: NotebookNode) -> None:
        output = cell.outputs[0]
        before = output.copy()
        if output.output_type == "stream":
            output.text = output.text.replace(old, new)
            assert output.text != before["text"]
        else:
            for mime in ("text/plain", "text/html", "text/markdown"):
                if mime in output.data:
                    output.data[mime] = output.data[mime].replace(old, new)

    return mutate


def set_record(**fields: Any):
    """A mutation: other fields in the stored claim record."""
    return lambda cell: record(cell).update(fields)


def strip(cell: NotebookNode) -> None:
    cell.outputs, cell.execution_count = [], None


def keep(cell: NotebookNode) -> None:
    pass


# name: (source, tags, mutation, whether nbval must be content)
CASES = {
    "claim as stored": (CLAIM, [], keep, True),
    "another verdict": (CLAIM, [], set_record(verdict="opposite"), False),
    "another sentence": (CLAIM, [], set_record(sentence="It hurts."), False),
    "another margin": (CLAIM, [], set_record(margin=0.02), False),
    "fewer seeds": (CLAIM, [], set_record(num_seeds=9), False),
    "arms exchanged": (CLAIM, [], set_record(arms=["without", "with"]), False),
    "effect within the margin": (CLAIM, [], set_record(effect=0.055), True),
    "effect beyond the margin": (CLAIM, [], set_record(effect=0.062), False),
    "interval within the margin": (CLAIM, [], set_record(interval=[0.045, 0.055]), True),
    "interval beyond the margin": (CLAIM, [], set_record(interval=[0.046, 0.08]), False),
    "other conditions": (CLAIM, [], set_record(conditions={"steps": "300"}), False),
    "another pick": (CLAIM, [], set_record(conditions={"tuned": "lr 0.1"}), True),
    "other single seeds": (CLAIM, [], set_record(differences=[0.05] * 10), True),
    "another machine": (CLAIM, [], set_record(versions={"torch": "9"}, device="cuda"), True),
    "another verdict line": (CLAIM, [], replace("HOLDS", "OPPOSITE"), False),
    "another card": (CLAIM, [], lambda c: c.outputs[0].data.update({"text/html": "-"}), True),
    "record removed": (CLAIM, [], lambda c: c.outputs[0].data.pop(CLAIM_MIME), False),
    "claim removed": (CLAIM, [], lambda c: c.update(outputs=[]), False),
    "claim stored twice": (CLAIM, [], lambda c: c.outputs.append(c.outputs[0]), False),
    "claim stripped": (CLAIM, [], strip, False),
    "table number": (TABLE, [], replace("0.51", "0.52"), False),
    "table number within tolerance": (TABLE, TOLERANT, replace("0.51", "0.52"), True),
    "table number beyond tolerance": (TABLE, TOLERANT, replace("0.51", "0.55"), False),
    "table count": (TABLE, TOLERANT, replace("3", "2"), False),
    "table word": (TABLE, TOLERANT, replace("b", "c"), False),
    "markdown number": (MARKDOWN, [], replace("0.12", "0.13"), False),
    "markdown within tolerance": (MARKDOWN, TOLERANT, replace("0.12", "0.13"), True),
    "markdown count": (MARKDOWN, TOLERANT, replace("5 seeds", "6 seeds"), False),
    "figure removed": (FIGURE, [], lambda c: c.update(outputs=[]), False),
    "figure stripped": (FIGURE, [], strip, False),
    "print number": (PRINT, [], replace("0.512", "0.513"), False),
    "print within relative tolerance": (PRINT, ["nbval-rtol=0.01"], replace("512", "515"), True),
    "print beyond relative tolerance": (PRINT, ["nbval-rtol=0.001"], replace("512", "515"), False),
}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """For each case, whether nbval was content with the mutated cell."""
    path = tmp_path_factory.mktemp("rules") / "mutated.ipynb"
    cells = [new_code_cell(case[0], metadata={"tags": case[1]}) for case in CASES.values()]
    nbformat.write(new_notebook(cells=cells), path)
    notebook = execute(path, {})
    clean(notebook)
    for cell, (_, _, mutate, _) in zip(notebook.cells, CASES.values(), strict=True):
        mutate(cell)
    nbformat.write(notebook, path)

    report = path.with_suffix(".xml")
    command = "-m pytest -c pyproject.toml -p tests.notebook_rules -p no:xdist -p no:cacheprovider"
    nbval = ["--nbval", "--nbval-current-env", f"--junitxml={report}", str(path)]
    done = subprocess.run(
        [sys.executable, *command.split(), *nbval], cwd=ROOT, capture_output=True, text=True
    )
    results = [not list(case) for case in ET.parse(report).iter("testcase")]
    assert len(results) == len(CASES), done.stdout + done.stderr
    return dict(zip(CASES, results, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_nbval_catches_what_matters(name: str, content: dict[str, bool]) -> None:
    assert content[name] == CASES[name][-1]


def test_rules_are_loaded_everywhere(pytestconfig: pytest.Config) -> None:
    # `pytest --nbval chapters` must compare by the same rules as the tests here.
    assert 'pytest_plugins = ["tests.notebook_rules", ' in (ROOT / "conftest.py").read_text()
    assert pytestconfig.pluginmanager.has_plugin("tests.notebook_rules")


@pytest.mark.parametrize(
    ("stored", "fresh", "same"),
    [
        ("loss 0.50", "loss 0.51", True),
        ("loss 0.50", "loss 0.53", False),
        ("gain -0.005", "gain  0.005", True),
        ("gain \u22120.005", "gain +0.005", True),
        ("1e-3 a", "2e-3 a", True),
        ("torch 2.15.0", "torch 2.16.0", False),
        ("0.5 of 10", "0.5 of 11", False),
        ("nan", "0.5", False),
        ("0.5", "0.5 0.5", False),
        ("ends with 0.50.", "ends with 0.51.", True),
    ],
)
def test_same_text(stored: str, fresh: str, same: bool) -> None:
    assert same_text(stored, fresh, atol=0.02) is same


def test_bad_tolerance_is_an_error() -> None:
    assert tolerances(["hide-input", "nbval-atol=0.5"]) == {"atol": 0.5}
    with pytest.raises(ValueError, match="much"):
        tolerances(["nbval-rtol=much"])


def test_claims_that_differ_in_a_field_are_named() -> None:
    stored = {"id": "a.b", "margin": 0.01, "effect": float("nan")}
    assert claim_difference(stored, dict(stored)) == ""
    assert "a.b" in claim_difference(stored, {**stored, "effect": 0.0})
    assert "kind" in claim_difference(stored, {**stored, "kind": "placebo"})


def test_a_claim_may_move_by_its_statistical_error_and_no_further() -> None:
    stored = {"id": "a.b", "margin": 0.01, "effect": 0.2, "interval": [0.1, 0.3]}
    assert claim_difference(stored, {**stored, "effect": 0.39}) == ""  # the intervals overlap
    assert "effect" in claim_difference(stored, {**stored, "effect": 0.41})
    # A stored interval that someone widened buys nothing: the narrower of the two counts.
    wide = {**stored, "interval": [-0.4, 0.8]}
    assert "effect" in claim_difference(wide, {**stored, "effect": 0.41, "interval": [0.31, 0.51]})


def test_an_interval_may_move_with_its_effect_and_vary_in_width_by_a_factor_of_three() -> None:
    stored = {"id": "a.b", "margin": 0.01, "effect": 0.2, "interval": [0.1, 0.3]}
    moved = {**stored, "effect": 0.15, "interval": [0.11, 0.19]}
    assert claim_difference(stored, moved) == ""
    assert "interval" in claim_difference(stored, {**stored, "interval": [0.17, 0.23]})
    assert "interval" in claim_difference(stored, {**stored, "interval": [0.35, 0.5]})
    # Below the margin nothing matters: a placebo of no spread may have a little elsewhere.
    flat = {"id": "a.b", "margin": 0.01, "effect": 0.0, "interval": [0.0, 0.0]}
    little = {**flat, "effect": 0.002, "interval": [-0.003, 0.007]}
    assert claim_difference(flat, little) == ""
