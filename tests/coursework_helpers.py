"""What the tests of coursework share: the parts, their answers, and notebooks made for a test."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from tricks_lib.coursework import parts, rubric, runner, sandbox, selfcheck
from tricks_lib.coursework.runner import Definitions, Observer, cells_of

PARTS = parts.names()
FOUND = {name: parts.find(name) for name in PARTS}


def defined(path: Path) -> dict:
    """The functions and classes of a notebook, taken from it as the grader takes them."""
    return Definitions(cells_of(path.read_text(encoding="utf-8"))).run()


@lru_cache(maxsize=500)
def drawn(part: str, name: str, seed: int) -> list[rubric.Given]:
    """The inputs of a question, drawn once: judges then train once for all answers, too."""
    return selfcheck.draw(FOUND[part].questions[name], seed)


def marks(part: str, name: str, answer: object, seed: int) -> list[rubric.Mark]:
    """Probe and judge one answer in this process, as the grader does across its sandbox."""
    question = FOUND[part].questions[name]
    probe = importlib.import_module(f"tricks_lib.coursework.probes.{part}")
    given = drawn(part, name, seed)
    see = Observer(1000 + seed)
    with see.without(*probe.CLOSED.get(name, ())):
        runner.ask(probe, name, answer, [runner.inputs(one) for one in given], see)
    if see.unanswered:
        return [rubric.Mark(c.text, 0, c.points, "not answered.") for c in question.rubric]
    arrays = {k: v for k, v in see.arrays.items() if v.dtype.kind in "biufU"}
    if seed % 8 == 0:  # there and back is slow, and the same for all numbers
        arrays = rubric.unpack(packed(arrays))
    return rubric.mark(question, given, rubric.Seen(arrays))


def packed(arrays: dict) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{k: v for k, v in arrays.items() if v.dtype.kind in "biufU"})
    return buffer.getvalue()


def notebook_of(*sources: str, **metadata: object) -> bytes:
    cells = [
        {"cell_type": "code", "source": s, "metadata": {}, "outputs": [], "execution_count": None}
        for s in sources
    ]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, **metadata}).encode()


def zip_of(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return target


def answers(part: str) -> dict[str, str]:
    """The source of each right answer."""
    cells = cells_of(FOUND[part].source.read_text(encoding="utf-8"))
    found = {}
    for cell in cells:
        if match := re.search(r"^(?:def|class) (\w+)", cell, re.MULTILINE):
            found[match[1]] = cell
    return found


def rows(table: Path) -> dict[str, dict[str, str]]:
    with table.open(newline="", encoding="utf-8-sig") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]


def as_user() -> list[str] | None:
    """What makes a command an ordinary user's; None where such a one cannot run our Python.

    It must be our very Python for that user as well, outside of a sandbox and in the plainest one.
    """
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None or shutil.which("bwrap") is None:
        return None
    ours = "import sys, torch; sys.exit(sys.prefix != sys.argv[1])"
    run = [sys.executable, "-c", ours, sys.prefix]
    plainest = ["bwrap", "--unshare-user", "--ro-bind", "/", "/", "--dev", "/dev"]
    for command in ([*USER, *run], [*USER, *plainest, *run]):
        if subprocess.run(command, capture_output=True).returncode:
            return None
    return USER


def need_sandbox() -> None:
    """Skip, or fail where it is required, if the sandbox does not work here."""
    try:
        sandbox.find()
    except sandbox.SandboxError as error:
        required = os.environ.get("TRICKS_REQUIRE_SANDBOX")
        (pytest.fail if required else pytest.skip)(str(error))
