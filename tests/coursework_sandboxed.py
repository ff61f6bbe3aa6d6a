"""Every style of an answer through the real sandbox: whole notebooks, as they are handed in.

The tests read the styles without a sandbox, which is quicker. Here, as root and as a user:

    python -m tests.coursework_sandboxed
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.coursework_helpers import FOUND, as_user, notebook_of
from tests.test_coursework_styles import HEAD, QUESTIONS, STYLES, TOLD, ordered
from tricks_lib.coursework import sandbox
from tricks_lib.coursework.grade import Grader
from tricks_lib.coursework.submissions import Submission


def written(cells: list[str]) -> bytes:
    """A style as a notebook's file, with the counts of execution that it names."""
    cells, order, _ = ordered(cells)
    notebook = json.loads(notebook_of(HEAD, *cells))
    for count, number in enumerate((0, *order) if order else (), start=1):
        notebook["cells"][number]["execution_count"] = count
    return json.dumps(notebook).encode()


# The tests give a value less time than a sandbox does, where it is made in time.
IN_TIME = {"a value that takes long"}


def wrong(jobs: int) -> Iterator[str]:
    """The right styles that lost a point, and the wrong ones that lost none."""
    for name, part in FOUND.items():
        grader = Grader(part, 7, sandbox.Limits(), sandbox.find(), jobs)
        own = {
            style: (question, written(cells))
            for style, (question, cells, *_) in (STYLES | TOLD).items()
            if QUESTIONS[question] == name and style not in IN_TIME
        }
        handed_in = [Submission(style, "x.ipynb", text) for style, (_, text) in own.items()]
        for submission, result in grader.grade_all(handed_in):
            question = own[submission.student][0]
            full = not result.error and (result.earned(question) == part.questions[question].points)
            if full != (submission.student in STYLES):
                said = [mark.problem for mark in result.marks.get(question, ())]
                yield f"{submission.student} ({question}): {result.status}; {said}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--once", action="store_true", help="as whoever runs it, and nobody else")
    options = parser.parse_args()
    begin, lost = time.monotonic(), list(wrong(options.jobs))
    print(*lost, sep="\n")
    told = f"{len(STYLES)} right styles and {len(TOLD)} wrong ones, {len(lost)} graded otherwise"
    print(f"{told}, {(time.monotonic() - begin) / 60:.1f} minutes", flush=True)
    found = bool(lost)
    user = [] if options.once else as_user()
    if user is None:
        print("not run as a user: an ordinary user cannot run this Python")
        found = True
    elif user:
        command = [*user, sys.executable, "-m", "tests.coursework_sandboxed", "--once"]
        found |= subprocess.run([*command, "--jobs", str(options.jobs)]).returncode != 0
    sys.exit(found)


if __name__ == "__main__":
    main()
