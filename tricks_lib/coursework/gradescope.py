"""A Gradescope autograder from the same grader, as a zip file to upload.

Gradescope runs each submission in a container of its own, as root and without bubblewrap. Student
code runs there as another user, who can read neither the judges nor the solution, nor write the
results; a filter of system calls keeps it from the network.

    python start.py /autograder    what the container runs
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import zipfile
from pathlib import Path

from . import parts
from .grade import BatchError, Grader, Result
from .parts import NOTEBOOK, PACKAGE, Part
from .release import is_private
from .sandbox import OPEN, Limits
from .submissions import read_one

NEEDED = 1.2 * 2**30  # bytes of memory, for the grader, the runner and an answer
ROOM = 0.9  # GB of these that no answer can have
SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, when it builds the image.
set -e
apt-get update -qq
apt-get install -y -qq python3 python3-venv util-linux
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "ERROR: the grader needs Python 3.10. Choose Ubuntu 22.04 or later as the base image." >&2
    exit 1
fi
python3 -m venv /opt/grader
# The wheels for CPUs: the usual ones bring some GB of CUDA, which no container here can use.
/opt/grader/bin/python -m pip install --quiet --index-url https://download.pytorch.org/whl/cpu \\
    torch torchvision
/opt/grader/bin/python -m pip install --quiet joblib matplotlib numpy pandas scikit-learn \\
    scipy tqdm
"""
README = """\
# An autograder for Gradescope

1. In the assignment's settings (*Configure Autograder*), upload this zip file as it is, for an
   image of **Ubuntu 22.04 or later**.
2. Under *Container Specifications* choose at least **1.5 GB of memory**. The smallest container,
   0.75 GB, is too small for two processes with PyTorch: the grader then says so and stops.
3. Build the image; it installs PyTorch for CPUs, and takes some minutes.
4. Test it with the solution, `%s`: it must get all points.

Students upload one notebook (.ipynb). Of several the one counts that answers most of the questions,
of these the newest. Keep this file to yourself: it holds the solution and the seed.
"""
START = """\
# Starts the grader with as little in memory as can be: without the library's plots and data.
import sys
import types
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
sys.modules["tricks_lib"] = package = types.ModuleType("tricks_lib")
package.__path__ = [str(here / "tricks_lib")]

from tricks_lib.coursework.gradescope import run

run(Path(sys.argv[1]), *sys.argv[2:])
"""
RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for each submission. Whatever happens, results.json is there at the end.
mkdir -p /autograder/results
# Colab's own folder, in which notebooks save.
mkdir -p /content && chmod 1777 /content
chmod -R go-rwx /autograder/source /autograder/results
# Students' code may read the library, and nothing else here.
chmod go+x /autograder/source
chmod -R go+rX /autograder/source/open
cd /autograder/source
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
/opt/grader/bin/python start.py /autograder
if [ ! -s /autograder/results/results.json ]; then
    cp /autograder/source/error.json /autograder/results/results.json
fi
exit 0
"""
ERROR = (
    "ERROR: the autograder failed. This is no grade. Tell your instructor, who can run it again."
)


def write(part: Part, seed: int | None, output: Path) -> None:
    """Write the zip file; keep it to yourself, it has the solution and the seed.

    Args:
        part: which questions.
        seed: draws the inputs, together with what is handed in: others for each attempt. By
            default a secret one.
        output: the zip file.
    """
    private = is_private(part)
    seed = secrets.randbits(62) if seed is None else seed
    solution = f"private/{NOTEBOOK}" if private else f"chapters/{part.name}/_solutions/{NOTEBOOK}"
    config = {"part": part.name, "seed": seed, "private": private}
    files: dict[str, bytes] = {
        "setup.sh": SETUP.encode(),
        "run_autograder": RUN.encode(),
        "config.json": json.dumps(config).encode(),
        "start.py": START.encode(),
        "README.md": (README % solution).encode(),
        "error.json": json.dumps(failure(part.points)).encode(),
    }
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        files[f"tricks_lib/{name}"] = path.read_bytes()
        if not name.startswith("coursework/judges/"):  # what answers may import
            files[f"{OPEN}/tricks_lib/{name}"] = path.read_bytes()
    if private:
        files |= {"private/probe.py": part.probe.read_bytes()}
        files |= {"private/judge.py": part.judge.read_bytes()}
    else:  # the layout of the book, so that its parts are found there
        files |= {"_toc.yml": b""}
    files |= {solution: part.source.read_bytes()}
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            about = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            about.external_attr = (0o755 if data.startswith(b"#!") else 0o644) << 16
            about.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about, data)


def failure(points: int, why: str = "") -> dict:
    """The results when our side failed: no score could be told from a zero, so the name says it."""
    test = {"name": ERROR, "score": 0, "max_score": points, "status": "failed"}
    output = f"{ERROR} {why}".strip()
    return {"tests": [test], "output": output, "stdout_visibility": "hidden"}


def memory() -> float:
    """The bytes of memory that this container has."""
    bounds = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            bounds.append(int(Path("/sys/fs/cgroup", name).read_text()))
    return min(bounds)


def results(part: Part, result: Result) -> dict:
    """The results as Gradescope reads them: a test for each line of each rubric."""
    if result.error:
        return failure(part.points)
    tests = []
    for name, marks in result.marks.items():
        for number, found in enumerate(marks, start=1):
            tests.append(
                {
                    "name": f"{name}: {found.criterion}",
                    "number": f"{list(result.marks).index(name) + 1}.{number}",
                    "score": found.earned,
                    "max_score": found.points,
                    "status": "failed" if found.problem else "passed",
                    "output": found.problem or "",
                }
            )
    said = [] if result.status == "ok" else [f"{result.status}. Hand in one notebook (.ipynb)."]
    output = "\n".join([*said, *result.notes])
    return {"tests": tests, "output": output, "stdout_visibility": "hidden"}


def attempt_seed(seed: int, data: bytes, again: int = 0) -> int:
    """The seed of an attempt: whoever learns its inputs knows nothing of the next one's."""
    digest = hashlib.sha256(f"{seed} {again} ".encode() + data)
    return int(digest.hexdigest()[:12], 16)


def _grader(part: Part, seed: int, data: bytes, limits: Limits, kind: str) -> Grader:
    """A grader that has graded the solution, on inputs of this attempt alone."""
    for again in range(3):
        grader = Grader(part, attempt_seed(seed, data, again), limits, kind)
        try:
            grader.check_itself()
            return grader
        except BatchError:
            if again == 2:
                raise
    raise AssertionError


def run(autograder: Path, kind: str = "setpriv") -> dict:
    """Grade what was handed in, and write results.json; an error of ours is written as one."""
    place = autograder / "results" / "results.json"
    place.parent.mkdir(exist_ok=True)
    source = autograder / "source"
    place.write_bytes((source / "error.json").read_bytes())
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    part = parts.find(config["part"], source / "private" if config["private"] else None)
    has = memory()
    if has < NEEDED:
        why = (
            f"This container has {has / 2**30:.2f} GB of memory. Instructor: choose one with at "
            "least 1.5 GB, under Container Specifications in the settings of the autograder."
        )
        written = failure(part.points, why)
    else:
        limits = Limits(memory=max(0.25, min(4.0, has / 2**30 - ROOM)))
        chosen = read_one(autograder / "submission", part.questions)
        grader = _grader(part, config["seed"], chosen.data or b"", limits, kind)
        written = results(part, grader.grade(chosen))
    place.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return written
