"""Every notebook runs alone: an empty folder, Colab's packages, no tricks_lib, a git clone.

No network is used: git is told, for these processes alone, that the repository's address is a
fresh commit of the working tree. The notebook itself is run as it stands.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from book.notebooks import NotebookError, execute, find_notebooks
from tests.page_rules import CONFIG, ROOT, expected_setup

# Solutions are nowhere to be opened in Colab: they stay with the instructor.
PATHS = [
    path.relative_to(ROOT)
    for path in find_notebooks([ROOT / "chapters"])
    if "_solutions" not in path.parts
]
# What our environment has and Colab lacks, or what would give the library away.
HIDDEN = ("tricks_lib", "__editable__", "myst_nb", "jupyter_book", "nbval", "sphinx", "__pycache__")


def git(*arguments: str, cwd: Path) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "core.hooksPath="]
    command = ["git", *who, *arguments]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose only commit is the working tree as it is now."""
    folder = tmp_path_factory.mktemp("clone")
    files = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():  # a deleted file is still in the index
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    branch = CONFIG["repository"]["branch"]
    git("init", "--quiet", f"--initial-branch={branch}", cwd=folder)
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--no-verify", "--message=the working tree", cwd=folder)
    return folder


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to our installed packages, without tricks_lib and without the book's tools."""
    folder = tmp_path_factory.mktemp("packages")
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith(HIDDEN):
            (folder / package.name).symlink_to(package)
    return folder


@pytest.fixture
def colab(tmp_path: Path, packages: Path) -> Path:
    """The Python of a fresh environment that has the packages."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    paths = {"base": str(home), "platbase": str(home)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    (site / "colab.pth").write_text(str(packages), encoding="utf-8")
    return home / ("Scripts" if os.name == "nt" else "bin") / "python"


PROBE = """
import importlib.metadata, importlib.util, json
found = importlib.util.find_spec("tricks_lib")
packages = [f"{d.name}=={d.version}" for d in importlib.metadata.distributions()]
print(json.dumps([found.origin if found else None, sorted(packages)]))
"""


def probe(interpreter: Path) -> tuple[str | None, list[str]]:
    """Where tricks_lib would be imported from, and all other packages, as pip freeze has them."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    command = [str(interpreter), "-c", PROBE]
    done = subprocess.run(
        command, env=env, cwd=interpreter.parent, check=True, capture_output=True, text=True
    )
    origin, packages = json.loads(done.stdout)
    return origin, [package for package in packages if not package.startswith("tricks")]


def run_alone(notebook: Path, interpreter: Path, clone: Path) -> None:
    """Copy a notebook to an empty folder and run it there, as Colab would."""
    folder = interpreter.parents[2] / "content"
    folder.mkdir()
    alone = Path(shutil.copy2(notebook, folder))
    env = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{clone.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": CONFIG["repository"]["url"],
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it the wrong way round: 0 means no isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONPATH": "",
        "TRICKS_SEEDS": "2",  # that it runs is asked here; what it measures, nbval asks
        "TRICKS_WORKERS": "1",
    }
    execute(alone, env, python=str(interpreter))


def check_alone(notebook: Path, colab: Path, clone: Path) -> None:
    library, before = probe(colab)
    assert library is None, "the library is there before the notebook installs it"
    assert any(package.startswith("torch==") for package in before)
    run_alone(notebook, colab, clone)
    library, after = probe(colab)
    assert after == before, "the notebook changed a package that Colab brought"
    assert library and Path(library).is_relative_to(colab.parents[1])


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.as_posix())
def test_notebook_runs_alone(path: Path, colab: Path, clone: Path) -> None:
    check_alone(ROOT / path, colab, clone)


def small_notebook(folder: Path, *sources: str) -> Path:
    path = folder / "small.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    return path


def test_setup_cell_alone(tmp_path: Path, colab: Path, clone: Path) -> None:
    # The data travels in the wheel, so that a notebook alone can load it.
    use = "import tricks_lib as tl\nassert len(tl.glyphs(0, n_train=20).x_train) == 20"
    check_alone(small_notebook(tmp_path, expected_setup(), use), colab, clone)


def test_a_setup_cell_that_does_nothing_fails(tmp_path: Path, colab: Path, clone: Path) -> None:
    with pytest.raises(NotebookError, match="No module named 'tricks_lib'"):
        run_alone(small_notebook(tmp_path, "pass", "import tricks_lib"), colab, clone)


def test_a_notebook_that_reads_the_repository_fails(
    tmp_path: Path, colab: Path, clone: Path
) -> None:
    use = "open('../../data/README.md')"
    with pytest.raises(NotebookError, match="No such file"):
        run_alone(small_notebook(tmp_path, use), colab, clone)


def test_a_notebook_that_installs_another_torch_fails(
    tmp_path: Path, colab: Path, clone: Path
) -> None:
    use = """
import pathlib, sysconfig
folder = pathlib.Path(sysconfig.get_path("purelib"), "torch-0.1.dist-info")
folder.mkdir()
(folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: torch\\nVersion: 0.1\\n")
"""
    with pytest.raises(AssertionError, match="changed a package"):
        check_alone(small_notebook(tmp_path, expected_setup(), use), colab, clone)
