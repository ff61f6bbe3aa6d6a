"""`pytest --nbval --alone` is content with a good notebook, and with no bad one.

That every notebook of the book is good is asked by `make test`, which runs them that way.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.page_rules import ROOT, expected_setup

pytestmark = pytest.mark.skipif(os.name == "nt", reason="--alone needs Linux or macOS")

ANOTHER_TORCH = """
import pathlib, sysconfig
folder = pathlib.Path(sysconfig.get_path("purelib"), "torch-0.1.dist-info")
folder.mkdir()
(folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: torch\\nVersion: 0.1\\n")
"""
# The data travels in the wheel, so that a notebook alone can load it.
DATA = "import tricks_lib as tl\nassert len(tl.glyphs(0, n_train=20).x_train) == 20"
WORKERS = """
import joblib, tricks_lib as tl
assert joblib.Parallel(2)(joblib.delayed(len)(s) for s in "ab") == [1, 1]
"""
EMPTY = "import pathlib\nassert not list(pathlib.Path().iterdir())"

# name: (sources of the cells, what the report must say; nothing where all is well)
CASES = {
    "good": ([expected_setup(), DATA, WORKERS, EMPTY], ""),
    "no_setup": (["pass", "import tricks_lib"], "No module named 'tricks_lib'"),
    "no_network": (
        [expected_setup().replace("git+https://", "git+file:///nowhere/")],
        "could not be installed; pip says why",
    ),
    "nothing_used": (["pass"], "tricks_lib was not installed"),
    "reads_the_repository": ([expected_setup(), "open('../../data/README.md')"], "No such file"),
    "installs_a_torch": ([expected_setup(), ANOTHER_TORCH], "the notebook changed a package"),
    "output_differs": ([expected_setup(), "print(1)"], "Unexpected output"),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What was found wrong with each notebook; empty where nothing was."""
    folder = tmp_path_factory.mktemp("alone")
    for name, (sources, _) in CASES.items():
        cells = [new_code_cell(source, execution_count=1) for source in sources]
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    report = folder / "report.xml"
    plugins = "-p tests.notebook_rules -p tests.alone -p no:xdist -p no:cacheprovider"
    command = f"-m pytest -c pyproject.toml {plugins} --nbval --alone".split()
    done = subprocess.run(
        [sys.executable, *command, f"--junitxml={report}", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    found = dict.fromkeys(CASES, "")
    cells = list(ET.parse(report).iter("testcase"))
    assert len(cells) >= sum(len(sources) for sources, _ in CASES.values()), done.stdout
    for cell in cells:
        (name,) = (name for name in CASES if name in cell.get("classname", ""))
        found[name] += "".join(ET.tostring(trouble, encoding="unicode") for trouble in cell)
    return found


@pytest.mark.parametrize("name", CASES)
def test_alone(name: str, reports: dict[str, str]) -> None:
    expected = CASES[name][1]
    assert (expected in reports[name]) if expected else not reports[name], reports[name]


def test_make_test_runs_the_notebooks_alone() -> None:
    assert "--nbval --alone" in (ROOT / "Makefile").read_text(encoding="utf-8")
