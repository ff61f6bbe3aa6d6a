"""The runner of notebooks, on a small one whose claims misbehave on purpose."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from book import notebooks
from book.records import MIME

SETUP = f"""
import os
import numpy as np
from IPython.display import display
from tricks_lib import Claim, Effect, budget
from tricks_lib.claims import record
seed, long = int(os.environ.get("TRICKS_SEED", 0)), budget(100) > 100
EFFECT = {{"holds": 0.2, "opposite": -0.2, "too small to matter": 0.0, "undecided": 0.11}}
def claim(name, verdict, seeds=(), recorded=None, more=0.0, spread=None, data="made"):
    most = int(os.environ.get("TRICKS_SEEDS", 5))
    seeds = (tuple(seeds) or tuple(range(100 * seed, 100 * seed + 5)))[:most]
    if spread is None:
        spread = 0.3 if verdict == "undecided" else 0.01
    values = EFFECT[verdict] + more + spread * np.linspace(-1, 1, len(seeds))
    effect = Effect(
        values, seeds, "with", "without", "test_accuracy", data, "cpu", recorded=recorded
    )
    found = record(Claim(name, "It helps.", "who2020", margin=0.1), effect)
    display({{"text/plain": found["verdict"], "{MIME}": found}}, raw=True)
"""
CLAIMS = """
claim("demo.steady", "holds")
claim("demo.flips", "opposite" if seed else "holds")
claim("demo.moves", "undecided" if seed else "holds")
claim("demo.far", "holds", more=0.1 if seed else 0.0)
claim("demo.fixed", "holds", seeds=range(5))
claim("demo.recorded", "opposite" if seed or long else "holds", recorded={"date": "then",
      "device": "a GPU", "takes": "an hour"})
claim("demo.budget", "opposite" if long else "holds")
claim("demo.copy", "holds", data="cifar10, standardised" if seed else
      "CIFAR-10 (JPEG copy), standardised")
if seed == 0:
    claim("demo.vanishes", "holds")
"""
FIGURE = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
PROSE = "assert seed == 0, 'the prose says so'"


def write(path: Path, *sources: str) -> Path:
    cells = [new_code_cell(source) for source in sources]
    kernel = {"kernelspec": {"name": "absent", "display_name": "Another Python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook, run and stored once, although its own kernel does not exist."""
    path = write(tmp_path_factory.mktemp("part") / "demo.ipynb", SETUP, CLAIMS, FIGURE, PROSE)
    assert notebooks.main(["run", str(path)]) == 0
    return path


def test_a_second_run_writes_nothing(
    stored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRICKS_SEED", "5")  # forgotten settings must not reach the outputs
    monkeypatch.setenv("TRICKS_BUDGET", "3")
    before, written = stored.read_bytes(), stored.stat().st_mtime_ns
    assert notebooks.main(["run", str(stored.parent)]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert (stored.read_bytes(), stored.stat().st_mtime_ns) == (before, written)
    assert before.endswith(b"}\n")
    assert b"Another Python" not in before and b'"id": "c00"' in before, "it is stored as it came"


def test_replicate_names_what_changed(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stored.read_bytes()
    assert notebooks.main(["replicate", "--seed", "3", str(stored)]) == 1
    shown = capsys.readouterr()
    assert "demo.flips (made): was 'holds', is 'opposite'" in shown.err
    assert "demo.vanishes (made): vanished" in shown.err
    assert "demo.fixed (made): same seeds" in shown.err
    assert "demo.far (made): the two effects lie" in shown.err, "agreeing verdicts, far apart"
    assert "AssertionError: the prose says so" in shown.err
    assert "demo.copy (cifar10, standardised)" in shown.out and "demo.copy" not in shown.err
    for content in ("demo.steady", "demo.moves", "demo.recorded", "demo.budget"):
        assert f"{content} (made):" not in shown.err
    assert "1 moved to or from undecided, 5 problems" in shown.out
    assert "pooled +0.2 holds" in shown.out
    assert stored.read_bytes() == before, "replicating must not store anything"


def test_stress_names_the_verdicts_that_turn_around(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stored.read_bytes()
    assert notebooks.main(["stress", "--budget", "2", str(stored)]) == 1
    shown = capsys.readouterr()
    assert "demo.budget (made): was 'holds', is 'opposite'" in shown.err
    assert "0 moved to or from undecided, 1 problems" in shown.out
    assert stored.read_bytes() == before, "a stress run must not store anything"


def test_runs_that_are_all_the_same_move_a_verdict_to_undecided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tied = 'claim("demo.one", "holds", spread=0 if long else None)'
    path = write(tmp_path / "demo.ipynb", SETUP, f'{tied}\nclaim("demo.two", "holds")', CLAIMS)
    notebooks.main(["run", str(path)])
    assert notebooks.main(["stress", "--budget", "2", str(path)]) == 1
    shown = capsys.readouterr()
    assert "2 moved to or from undecided, 1 problems" in shown.out
    assert shown.out.count("moved its cell stopped at runs that are all the same") == 2
    assert "demo.budget" in shown.err and "NoSpread" not in shown.err


def test_a_quick_look_takes_fewer_seeds(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert notebooks.main(["stress", "--budget", "2", "--seeds", "2", str(stored)]) == 0
    assert "8 moved to or from undecided" in capsys.readouterr().out, "two seeds decide nothing"


def test_replicate_is_content_when_verdicts_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "demo.ipynb", SETUP, 'claim("demo.steady", "holds")')
    notebooks.main(["run", str(path)])
    assert notebooks.main(["replicate", "--seed", "1", str(path)]) == 0


def test_an_error_names_its_cell_and_leaves_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "demo.ipynb", "x = 1", "x / 0")
    before = path.read_bytes()
    assert notebooks.main(["run", str(path)]) == 1
    shown = capsys.readouterr()
    assert "cell 1" in shown.err and "ZeroDivisionError" in shown.err and "x / 0" in shown.err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "nowhere"], "nowhere is neither a notebook nor a folder"),
        (["run", "README.md"], "README.md is neither a notebook nor a folder"),
        (["replicate", "--seed", "0"], "seed 0 gives the stored seeds again"),
        (["replicate", "--seed", "1", "--seeds", "1"], "an interval needs two seeds or more"),
        (["stress", "--budget", "1"], "a budget of 1 gives the stored runs again"),
        (["stress", "--budget", "2", "--study", "mine"], "there is no study 'mine'"),
    ],
)
def test_bad_arguments(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        notebooks.main(arguments)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
