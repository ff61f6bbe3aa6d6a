"""`pytest --nbval --alone`: every notebook on a machine of its own, such as Colab gives it.

The machine is an empty folder and an environment with Colab's packages, without tricks_lib and
without the book's tools. The notebook installs the library by its own setup cell, as it does in
Colab; it must find its data there, and must leave every other package as it was.

No network is used: git is told, for these kernels alone, that the repository's address is one on
this machine. It holds the working tree, and the wheel that pip has built from a fresh commit of it:
all notebooks install the same one, because building takes longer than most of their studies.

Linux and macOS only: links need a right that Windows seldom gives.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

import pytest
from ipykernel.kernelspec import get_kernel_dict
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

from tests.page_rules import CONFIG, ROOT, expected_setup

KERNEL = "alone"
# What our environment has and Colab lacks, or what would give the library away.
HIDDEN = ("tricks_lib", "__editable__", "myst_nb", "jupyter_book", "nbval", "sphinx", "__pycache__")
# The build backend of a repository that holds a wheel: it gives the wheel away.
BACKEND = """
import pathlib, shutil
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    (wheel,) = pathlib.Path(__file__).parent.glob("*.whl")
    return pathlib.Path(shutil.copy(wheel, wheel_directory)).name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "given_away"
backend-path = ["."]
"""
PROBE = """
import importlib.metadata, importlib.util, json
found = importlib.util.find_spec("tricks_lib")
packages = [f"{d.name}=={d.version}" for d in importlib.metadata.distributions()]
print(json.dumps([found.origin if found else None, sorted(packages)]))
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "with --nbval: each notebook in an empty folder, with Colab's packages, no tricks_lib"
    parser.getgroup("nbval").addoption("--alone", action="store_true", help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What pip says while it installs is nothing that a page stores."""
    for item in items if config.option.alone else []:
        if isinstance(item, IPyNbCell) and item.cell.source == expected_setup():
            item.options["check"] = False


def git(*arguments: str, cwd: Path) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "core.hooksPath="]
    command = ["git", *who, *arguments]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    """Make ``folder`` a repository, if it is none yet, and commit all that is in it."""
    git("init", "--quiet", f"--initial-branch={CONFIG['repository']['branch']}", cwd=folder)
    git("add", "--all", "--force", cwd=folder)
    git("commit", "--quiet", "--no-verify", "--message=the working tree", cwd=folder)


def copy_working_tree(folder: Path) -> None:
    """Copy the working tree as it is now, without what git ignores."""
    files = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():  # a deleted file is still in the index
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def build_wheel(repository: Path) -> None:
    """Let pip build the wheel of a repository, as it does when it installs from one, into it."""
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(repository)]
    subprocess.run([*command, f"git+{repository.as_uri()}"], check=True)


def link_packages(folder: Path) -> None:
    """Links to our installed packages, without tricks_lib and without the book's tools."""
    folder.mkdir()
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith(HIDDEN):
            (folder / package.name).symlink_to(package)


class Machine:
    """An environment, an empty folder beside it, and a kernel that starts there.

    Args:
        folder: where the machine is made; it must exist.
        shared: what all machines of this run share: the repository and the packages.
    """

    def __init__(self, folder: Path, shared: Path) -> None:
        self.env, self.content = folder / "env", folder / "content"
        self.content.mkdir()
        venv.create(self.env, with_pip=False, symlinks=True)
        paths = {"base": str(self.env), "platbase": str(self.env)}
        site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
        (site / "packages.pth").write_text(str(shared / "packages"), encoding="utf-8")
        self.python = self.env / "bin" / "python"
        library, self.packages = self._probe()
        assert library is None, "the library is there before the notebook installs it"
        assert any(package.startswith("torch==") for package in self.packages)
        self.jupyter_path = folder / "jupyter"
        self._write_kernel(shared / "clone")

    def _write_kernel(self, clone: Path) -> None:
        spec = get_kernel_dict()
        spec["argv"] = [str(self.python), *spec["argv"][1:]]
        spec["env"] = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{clone.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": CONFIG["repository"]["url"],
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it the wrong way round: 0 is no isolation
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONPATH": "",
        }
        folder = self.jupyter_path / "kernels" / KERNEL
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")

    def _probe(self) -> tuple[str | None, list[str]]:
        """Where tricks_lib would be imported from, and all other packages, as pip freeze does."""
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        command = [str(self.python), "-c", PROBE]
        done = subprocess.run(
            command, env=env, cwd=self.env, check=True, capture_output=True, text=True
        )
        library, packages = json.loads(done.stdout)
        return library, [package for package in packages if not package.startswith("tricks")]

    def start(self, timeout: float) -> RunningKernel:
        """A kernel in the empty folder."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JUPYTER_PATH", str(self.jupyter_path))
            return RunningKernel(KERNEL, cwd=str(self.content), startup_timeout=timeout)

    def check(self) -> None:
        """After the notebook: the library came from its setup cell, and nothing else changed."""
        library, packages = self._probe()
        assert packages == self.packages, "the notebook changed a package that Colab brought"
        assert library and Path(library).is_relative_to(self.env), "tricks_lib was not installed"


# ------------------------------------------------------------------------ nbval, wrapped

_setup, _teardown = IPyNbFile.setup, IPyNbFile.teardown
SHARED = pytest.StashKey[Path]()


def _shared(config: pytest.Config) -> Path:
    """The folder of what all machines share, made once in each process."""
    if SHARED not in config.stash:
        temporary = tempfile.TemporaryDirectory(prefix="alone-")
        config.add_cleanup(temporary.cleanup)
        folder = Path(temporary.name)
        link_packages(folder / "packages")
        clone = folder / "clone"
        copy_working_tree(clone)
        commit(clone)
        build_wheel(clone)
        (clone / "given_away.py").write_text(BACKEND, encoding="utf-8")
        (clone / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
        commit(clone)
        config.stash[SHARED] = folder
    return config.stash[SHARED]


def _set_up(self: IPyNbFile) -> None:
    if not self.config.option.alone:
        return _setup(self)
    self.place = tempfile.TemporaryDirectory(prefix="alone-")
    self.machine = Machine(Path(self.place.name), _shared(self.config))
    self.kernel = self.machine.start(self.config.option.nbval_kernel_startup_timeout)
    return self.setup_sanitize_files()


def _tear_down(self: IPyNbFile) -> None:
    _teardown(self)
    if self.config.option.alone:
        with self.place:
            self.machine.check()


IPyNbFile.setup, IPyNbFile.teardown = _set_up, _tear_down
