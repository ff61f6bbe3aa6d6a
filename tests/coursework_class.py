"""A class with hostile students in it, through the real grader: no honest one may lose a point.

The tests run it small. In full, with the time and the memory that it took:

    python -m tests.coursework_class data_processing --students 200 --hostile 20
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.coursework_helpers import notebook_of, rows, zip_of
from tests.page_rules import ROOT
from tests.test_coursework_sandbox import STUBBORN
from tests.test_coursework_zoo import DISASTERS, MISCHIEF
from tricks_lib.coursework import parts, release, sandbox
from tricks_lib.coursework.runner import cells_of

# Twenty processes that share what they take, so that no one's own memory is large.
HOARD = """
import mmap, os
def {name}(*a, **k):
    for _ in range(20):
        if os.fork() == 0:
            hoard = []
            while True:
                hoard.append(mmap.mmap(-1, 2**26))
                hoard[-1].write(bytes(2**26))
    os.wait()
"""
SOCKETS = """
import socket
def {name}(*a, **k):
    hoard = []
    try:
        while True:
            pair = socket.socketpair()
            hoard.append(pair)
            for end in pair:
                end.setblocking(False)
                try:
                    while True: end.send(bytes(2**16))
                except BlockingIOError: pass
    except OSError:
        while True: pass
"""
FLOOD = "import torch\ndef {name}(*a, **k):\n    return [torch.rand(2**20) for _ in range(100)]"
SLOW = "def {name}(*a, **k):\n    x = 1\n"
WAYS = [SLOW + body for body in STUBBORN.values()] + [HOARD, SOCKETS, FLOOD]
WAYS += [*DISASTERS, *(way for way in MISCHIEF if "{part}" not in way)]


@dataclass
class Report:
    """What a class took, and what its honest students lost."""

    lost: dict[str, list[int]]
    rows: int
    errors: list[str]
    seconds: float
    memory: float  # GB at the most, of the grader and all sandboxes
    said: str


def write(part: parts.Part, folder: Path, honest: int, hostile: int) -> None:
    """A Moodle export of the class; the hostile ones are spread among the others by name too."""
    cells = cells_of(part.source.read_text(encoding="utf-8"))
    answers = [c for c in cells if not release.CHECK.search(c) and not c.startswith(release.MEND)]
    colab = {"metadata": {"colab": {"provenance": []}}}
    picture = {"output_type": "display_data", "data": {"image/png": "A" * 10**6}, "metadata": {}}
    number, bad = 0, 0
    for student in range(honest + hostile):
        is_hostile = bad * (honest + hostile) < student * hostile or student == 0 < hostile
        sources, more = list(answers), {}
        if is_hostile and bad < hostile:
            bad += 1
            name = f"{student:03} Hostile"
            # Without the right answers, which would count: the best version does.
            made = re.compile(rf"^(def|class) ({'|'.join(part.questions)})\b", re.MULTILINE)
            sources = [cell for cell in answers if not made.search(cell)]
            for question in part.questions:
                sources.append(WAYS[number % len(WAYS)].format(name=question, part=part.name))
                number += 1
        else:
            name = f"{student:03} Honest"
            if student % 3 == 1:
                sources, more = ["!pip install -q einops\n%matplotlib inline", *answers], colab
            if student % 3 == 2:
                sources = [*answers, "def broken(:", "while True:\n    pass", "x = input()"]
        notebook = json.loads(notebook_of(*sources, **more))
        notebook["cells"][0]["outputs"] = [picture]
        place = folder / f"{name}_{1000 + student}_assignsubmission_file_"
        place.mkdir(parents=True)
        (place / "exercises.ipynb").write_text(json.dumps(notebook), encoding="utf-8")


def grade(name: str, honest: int, hostile: int, source: Path | None, *options: str) -> Report:
    """Grade a class by the command line, and watch what it takes."""
    part = parts.find(name, source)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(part, folder / "subs", honest, hostile)
        export = zip_of(folder / "subs", folder / "export.zip")
        command = [sys.executable, "-m", "tricks_lib.coursework", "grade", name, str(export)]
        command += ["-o", str(folder / "grades.csv"), *options]
        command += [] if source is None else ["--source", str(source)]
        begin, most, over = time.monotonic(), [0.0], threading.Event()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

        def watch() -> None:
            while not over.wait(1.0):
                held = sum(map(sandbox._share, sandbox._family(process.pid)))
                most[0] = max(most[0], held / 2**30)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        said = process.communicate()[0]
        over.set()
        watcher.join()
        found = rows(folder / "grades.csv") if (folder / "grades.csv").exists() else {}
        full = {question: about.points for question, about in part.questions.items()}
        lost = {
            who: [full[q] - int(row[q] or 0) for q in full]
            for who, row in found.items()
            if who.endswith("Honest") and row["total"] != str(part.points)
        }
        for who in lost:
            said += (folder / "grades_feedback" / f"{who.replace(' ', '_')}.md").read_text("utf-8")
        errors = [f"{who}: {r['status']}" for who, r in found.items() if "ERROR" in r["status"]]
        return Report(lost, len(found), errors, time.monotonic() - begin, most[0], said)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part")
    parser.add_argument("--students", type=int, default=200)
    parser.add_argument("--hostile", type=int, default=20)
    parser.add_argument("--limit", default="20")
    parser.add_argument("--mem", default="4")
    parser.add_argument("--jobs", default="2")
    options = parser.parse_args()
    more = ["--limit", options.limit, "--mem", options.mem, "--jobs", options.jobs]
    honest = options.students - options.hostile
    found = grade(options.part, honest, options.hostile, None, *more)
    print(found.said)
    print(f"{found.rows} rows, {len(found.errors)} errors {found.errors}")
    print(f"{len(found.lost)} honest students lost points: {found.lost}")
    print(f"{found.seconds / 60:.1f} minutes, {found.memory:.1f} GB at the most")
    sys.exit(bool(found.lost or found.errors or found.rows != options.students))


if __name__ == "__main__":
    main()
