"""A Gradescope autograder from the same grader, as a zip file to upload.

Gradescope runs each submission in a container of its own, as root and without bubblewrap. Student
code runs there as another user, ``setpriv`` sees to it, who can read neither the judges nor the
solution, nor write the results. The network is not cut off there.

    python -m tricks_lib.coursework.gradescope /autograder    what the container runs
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

from . import parts
from .grade import Grader, Result
from .parts import NOTEBOOK, PACKAGE, Part
from .sandbox import Limits
from .submissions import read

SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, when it builds the image.
set -e
apt-get update -qq
apt-get install -y -qq python3 python3-venv util-linux
python3 -m venv /opt/grader
/opt/grader/bin/python -m pip install --quiet joblib matplotlib numpy pandas scikit-learn \\
    scipy torch torchvision tqdm
"""
RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for each submission. Whatever happens, results.json is there at the end.
mkdir -p /autograder/results
chmod -R go-rwx /autograder/source /autograder/results
cd /autograder/source
/opt/grader/bin/python -m tricks_lib.coursework.gradescope /autograder
if [ ! -s /autograder/results/results.json ]; then
    cp /autograder/source/error.json /autograder/results/results.json
fi
exit 0
"""
ERROR = (
    "ERROR: the autograder failed. This is no grade. Tell your instructor, who can run it again."
)


def write(part: Part, seed: int, output: Path) -> None:
    """Write the zip file; keep it to yourself, it has the solution and the seed.

    Args:
        part: which questions.
        seed: draws the inputs, the same for all students and all their attempts.
        output: the zip file.
    """
    private = not part.judge.is_relative_to(PACKAGE)
    config = {"part": part.name, "seed": seed, "private": private}
    files: dict[str, bytes] = {
        "setup.sh": SETUP.encode(),
        "run_autograder": RUN.encode(),
        "config.json": json.dumps(config).encode(),
        "error.json": json.dumps(failure(part.points)).encode(),
    }
    for path in sorted(PACKAGE.rglob("*.py")):
        files[f"tricks_lib/{path.relative_to(PACKAGE).as_posix()}"] = path.read_bytes()
    if private:
        files |= {f"private/{NOTEBOOK}": part.source.read_bytes()}
        files |= {"private/probe.py": part.probe.read_bytes()}
        files |= {"private/judge.py": part.judge.read_bytes()}
    else:  # the layout of the book, so that its parts are found there
        files |= {"_toc.yml": b""}
        files |= {f"chapters/{part.name}/_solutions/{NOTEBOOK}": part.source.read_bytes()}
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            about = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            about.external_attr = (0o755 if data.startswith(b"#!") else 0o644) << 16
            about.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about, data)


def failure(points: int) -> dict:
    """The results when our side failed: no score could be told from a zero, so the name says it."""
    test = {"name": ERROR, "score": 0, "max_score": points, "status": "failed"}
    return {"tests": [test], "output": ERROR, "stdout_visibility": "hidden"}


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
    said = [] if result.status == "ok" else [f"{result.file}: {result.status}."]
    output = "\n".join([*said, *result.notes])
    return {"tests": tests, "output": output, "stdout_visibility": "hidden"}


def run(autograder: Path, kind: str = "setpriv") -> dict:
    """Grade what was handed in, and write results.json; an error of ours is written as one."""
    place = autograder / "results" / "results.json"
    place.parent.mkdir(exist_ok=True)
    source = autograder / "source"
    place.write_bytes((source / "error.json").read_bytes())
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    part = parts.find(config["part"], source / "private" if config["private"] else None)
    grader = Grader(part, config["seed"], Limits(), kind)
    grader.check_itself()
    found = read(autograder / "submission")
    usual = [s for s in found if Path(s.file).name == NOTEBOOK]
    chosen, *others = usual + [s for s in found if s not in usual]
    chosen.notes += [f"{other.file} was left out." for other in others]
    written = results(part, grader.grade(chosen))
    place.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return written


if __name__ == "__main__":
    run(Path(sys.argv[1]))
