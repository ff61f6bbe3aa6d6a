"""`make notebooks` and `make replicate`, on a small notebook whose claims misbehave on purpose."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from book import notebooks
from book.records import MIME

SETUP = f"""
import os, sys
from IPython.display import display
seed = int(os.environ.get("TRICKS_SEED", 0))
def claim(name, verdict, seeds):
    record = dict(id=name, verdict=verdict, effect=0.1 + seed, seeds=seeds)
    display({{"text/plain": verdict, "{MIME}": record}}, raw=True)
"""
CLAIMS = """
claim("demo.steady", "holds", [seed])
claim("demo.flips", "opposite" if seed else "holds", [seed])
claim("demo.fixed", "holds", [7])
if seed == 0:
    claim("demo.vanishes", "holds", [seed])
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
    monkeypatch.setenv("TRICKS_SEED", "5")  # a forgotten setting must not reach the outputs
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
    assert "demo.flips: was 'holds', is 'opposite'" in shown.err
    assert "demo.vanishes: vanished" in shown.err
    assert "demo.fixed: same seeds" in shown.err
    assert "AssertionError: the prose says so" in shown.err
    assert "demo.steady:" not in shown.err
    assert "1 notebooks, 4 problems" in shown.out
    assert stored.read_bytes() == before, "replicating must not store anything"


def test_replicate_is_content_when_verdicts_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "demo.ipynb", SETUP, 'claim("demo.steady", "holds", [seed])')
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
    ],
)
def test_bad_arguments(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        notebooks.main(arguments)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
