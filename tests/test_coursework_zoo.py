"""A zoo of submissions for each part, graded in the real sandbox by the command line.

Each animal misbehaves in many questions at once, a way in each; it must get the points of the
questions that it left alone, and no others.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.coursework_helpers import (
    FOUND,
    PARTS,
    answers,
    defined,
    marks,
    need_sandbox,
    notebook_of,
    rows,
    zip_of,
)
from tests.page_rules import ROOT
from tricks_lib.coursework import release, selfcheck
from tricks_lib.coursework.runner import cells_of

# What each does, it does when it is called. In the order of the part's questions.
DISASTERS = (
    "def {name}(*a, **k):\n    while True:\n        pass",
    "import os\ndef {name}(*a, **k):\n    os._exit(0)",
    "import ctypes\ndef {name}(*a, **k):\n    ctypes.string_at(0)",
    "def {name}(*a, **k):\n    hoard = []\n    while True:\n        hoard.append(bytes(2**28))",
    "def {name}(*a, **k):\n    n = 0\n    while True:\n"
    "        for place in ('/tmp', '/dev/shm', '/job', '.', '/'):\n            try:\n"
    "                with open(f'{{place}}/{{n}}', 'wb') as f:\n"
    "                    while True: f.write(bytes(2**20))\n"
    "            except OSError: pass\n        n += 1\n"
    "        if n > 20: raise OSError('disk is full')",
    # as many sleepers as it can get
    "import os, time\nclass {name}:\n    def __init__(self, *a, **k):\n"
    "        while os.fork(): pass\n        time.sleep(1000)",
)
MISCHIEF = (
    "import socket\ndef {name}(*a, **k):\n    socket.create_connection(('1.1.1.1', 53), 2)",
    # looks for what would give it the answers
    """
import glob, importlib, os
import tricks_lib
def {name}(*a, **k):
    library = tricks_lib.__path__[0]
    found = glob.glob(library + '/../**/_solutions/**', recursive=True)
    found += glob.glob(library + '/coursework/judges/*') + glob.glob(library + '/../chapters/*')
    found += [key for key in os.environ if 'TRICKS_SECRET' in key]
    try:
        found.append(importlib.import_module('tricks_lib.coursework.judges.{part}'))
    except ImportError:
        raise ValueError(f'{{len(found)}} secrets, root {{os.getuid() == 0}}')
""",
    # forges the frames of a question, on whatever is open
    "import os, json, struct\ndef {name}(*a, **k):\n"
    "    head = json.dumps(['{name}', 'ok', 4])\n"
    "    frame = b'seen' + struct.pack('>I', len(head)) + head.encode() + b'full'\n"
    "    for fd in range(3, 50):\n        try: os.write(fd, frame)\n"
    "        except OSError: pass\n"
    "    return a",
    # makes every comparison come out true, where it can reach
    "import torch, numpy as np\ndef {name}(*a, **k):\n"
    "    torch.allclose = torch.equal = np.allclose = np.array_equal = lambda *x, **y: True\n"
    "    torch.Tensor.__eq__ = torch.Tensor.__le__ = lambda *x: torch.ones(()).bool()\n"
    "    np.isclose = lambda *x, **y: np.array(True)\n    return a",
    "import os, signal\ndef {name}(*a, **k):\n    os.kill(os.getppid(), signal.SIGKILL)",
    "import sys\ndef {name}(*a, **k):\n    sys.exit()",
)
# Answers that learnt the public case by heart: all are wrong on the inputs drawn for grading.
BY_HEART = {
    "data_processing": "norm_two_steps",
    "parameter_tuning": "warmup_cosine",
    "regularization": "smoothed_loss",
    "good_practices": "baseline_loss",
}
# Those that misbehave do it in their own code, before any part's questions count; so two parts meet
# them at each commit, and all parts in the weekly run (TRICKS_ALL_PARTS=1). The others say the same
# of any part: each part's solution goes through the sandbox in any case, before a batch.
MET = PARTS if os.environ.get("TRICKS_ALL_PARTS") else PARTS[:2]
ALWAYS = ["disasters", "mischief"]
IN_TURN = (["honest_colab", "text", "link"], ["honest_messy"])
ANIMALS = [(part, who) for n, part in enumerate(MET) for who in [*ALWAYS, *IN_TURN[n % 2]]]


def by_heart(part: str) -> str:
    """An answer that says what the right one said to `check`, call by call."""
    name, said = BY_HEART[part], []
    right = defined(FOUND[part].source)[name]

    def listen(*a: object, **k: object) -> object:
        answer = right(*a, **k)
        said.append(answer.detach() if isinstance(answer, torch.Tensor) else answer)
        return answer

    found = marks(part, name, listen, selfcheck.PUBLIC_SEED)
    assert said and not any(mark.problem for mark in found)
    words = base64.b64encode(pickle.dumps(said)).decode()
    return (
        f"import base64, pickle\ndef {name}(*a, **k):\n"
        f"    said = pickle.loads(base64.b64decode('{words}'))\n"
        f"    {name}.calls = getattr({name}, 'calls', -1) + 1\n"
        f"    return said[min({name}.calls, len(said) - 1)]"
    )


def given_cells(part: str) -> list[str]:
    """What the notebook gives besides the questions: imports and helpers."""
    cells = cells_of(FOUND[part].source.read_text(encoding="utf-8"))
    return [c for c in cells if release.BEGIN not in c and not release.CHECK.search(c)]


def zoo(part: str, folder: Path) -> dict[str, list[int]]:
    """Write every kind of submission; the points that each must get, question by question."""
    head, right, questions = given_cells(part), answers(part), FOUND[part].questions
    points = {name: question.points for name, question in questions.items()}
    names = [name for name in questions if name != BY_HEART[part]]
    blank = cells_of(FOUND[part].release.read_text(encoding="utf-8"))
    stubs = [cell for cell in blank if release.STUB in cell]
    colab = {"colab": {"provenance": []}, "accelerator": "GPU"}
    folder.mkdir(parents=True)

    def write(name: str, *sources: str, **metadata: object) -> None:
        (folder / f"{name}.ipynb").write_bytes(notebook_of(*sources, **metadata))

    def misbehave(ways: tuple[str, ...], among: list[str]) -> dict[str, str]:
        return {
            name: way.format(name=name, part=part) for name, way in zip(among, ways, strict=False)
        }

    write(
        "honest_colab",
        "from google.colab import drive\ndrive.mount('/content/drive')",
        "!pip install -q einops\n%matplotlib inline",
        *head,
        *right.values(),  # all checks deleted
        metadata=colab,
    )
    cells = [*head, *right.values()]
    twice = [{"cell_type": "code", "source": c.splitlines(True)} for c in cells for _ in range(2)]
    checks = [f'tl.check("{part}.{name}", {name})' for name in questions]
    extra = ["def broken(:", "while True:\n    pass", "x = input()", *stubs, *checks[:2]]
    extra.append("assert False, 'an edited check'")
    twice += [{"cell_type": "code", "source": source} for source in extra]
    (folder / "honest_messy.ipynb").write_text(json.dumps({"cells": twice}))
    disasters = misbehave(DISASTERS, list(questions))
    write("disasters", *head, *(right | disasters).values())
    mischief = misbehave(MISCHIEF, names) | {BY_HEART[part]: by_heart(part)}
    write("mischief", *head, *(right | mischief).values())
    (folder / "text.ipynb").write_text("I could not save it, sorry.")
    (folder / "link.ipynb").symlink_to(FOUND[part].source)
    expected = {
        "honest_colab": list(points.values()),
        "honest_messy": list(points.values()),
        "disasters": [0 if name in disasters else points[name] for name in questions],
        "mischief": [0 if name in mischief else points[name] for name in questions],
        "text": [0] * len(points),
        "link": [0] * len(points),
    }
    for who in set(expected) - {who for of, who in ANIMALS if of == part}:
        (folder / f"{who}.ipynb").unlink()
        del expected[who]
    return expected


Graded = Callable[[str], tuple[Path, dict[str, list[int]]]]


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    """The zoo of a part, graded once by the command line."""
    need_sandbox()
    done: dict[str, tuple[Path, dict[str, list[int]]]] = {}

    def grade(part: str) -> tuple[Path, dict[str, list[int]]]:
        if part not in done:
            folder = tmp_path_factory.mktemp(part)
            expected = zoo(part, folder / "submissions")
            run_grader(part, folder, export(folder, FOUND[part].source))
            done[part] = folder, expected
        return done[part]

    return grade


def export(folder: Path, target: Path) -> Path:
    """The submissions as a zip, in which link.ipynb is a link to ``target``."""
    place = zip_of(folder / "submissions", folder / "export.zip")
    with zipfile.ZipFile(place) as archive:
        names = archive.namelist()
        keep = {n: archive.read(n) for n in names if n != "link.ipynb"}
    with zipfile.ZipFile(place, "w") as archive:
        for name, data in keep.items():
            archive.writestr(f"export/{name}", data)
        if "link.ipynb" in names:
            link = zipfile.ZipInfo("export/link.ipynb")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, str(target))
    return place


def run_grader(part: str, folder: Path, place: Path) -> None:
    command = [sys.executable, "-m", "tricks_lib.coursework", "grade", part, str(place)]
    command += ["-o", str(folder / "grades.csv"), "--seed", "11", "--limit", "5", "--mem", "1"]
    environment = {**os.environ, "TRICKS_SECRET": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("part", "who"), ANIMALS)
def test_zoo_in_the_sandbox(graded: Graded, part: str, who: str) -> None:
    folder, expected = graded(part)
    row = rows(folder / "grades.csv")[who]
    found = [int(row[name]) for name in FOUND[part].questions]
    told = (folder / "grades_feedback" / f"{who}.md").read_text(encoding="utf-8")
    assert found == expected[who], told
    assert int(row["total"]) == sum(found)
    status = {"text": "unreadable: is not a notebook", "link": "unreadable: is a link"}
    assert row["status"].startswith(status.get(who, "ok"))


@pytest.mark.parametrize("part", MET)
def test_feedback_says_what_happened(graded: Graded, part: str) -> None:
    folder, _ = graded(part)
    said = {path.stem: path.read_text(encoding="utf-8") for path in folder.rglob("*.md")}
    for words in (
        "took more than 5 seconds",
        "ended Python itself",
        "crashed Python itself (SIGSEGV)",
        "MemoryError",
        "disk is full",
        "Resource temporarily unavailable",
    ):
        assert words in said["disasters"], said["disasters"]
    for words in ("Network is unreachable", "SystemExit"):
        assert words in said["mischief"], said["mischief"]
    assert "ended the sandbox" not in said["mischief"]  # its parent is out of reach
    assert "ValueError: 0 secrets, root False" in said["mischief"], said["mischief"]
    if messy := said.get("honest_messy"):
        assert "code cell" in messy and "SyntaxError" in messy


@pytest.mark.parametrize("part", MET)
def test_summary(graded: Graded, part: str) -> None:
    folder, expected = graded(part)
    text = (folder / "grades_summary.txt").read_text(encoding="utf-8")
    assert f"{len(expected)} submissions, seed 11" in text and "Distribution" in text
    assert "Questions, those that most failed first" in text
