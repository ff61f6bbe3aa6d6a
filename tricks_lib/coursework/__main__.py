"""The commands of the coursework; see ``python -m tricks_lib.coursework --help``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import parts
from .release import SourceError


def release(options: argparse.Namespace) -> int:
    """Write the students' notebooks, or check that they are in step with their sources."""
    from . import release as maker

    names = parts.names() if options.all else options.parts
    if not names:
        raise parts.NotFound("name a part, or --all.")
    wrong = 0
    for name in names:
        part = parts.find(name, options.source)
        if options.check:
            problem = maker.in_step(part)
            print(f"{name}: {problem or 'in step'}")
            wrong += bool(problem)
        else:
            changed = maker.write(part)
            print(f"{part.release}: {'written' if changed else 'unchanged'}")
    if not options.check and options.source is None:
        print("`make notebooks NB=...` stores the outputs of what changed.")
    return int(wrong > 0)


def grade(options: argparse.Namespace) -> int:
    """Grade a folder or a zip file of submissions."""
    from . import sandbox, submissions
    from .grade import BatchError, grade_batch

    part = parts.find(options.part, options.source)
    try:
        kind = sandbox.find(options.unsafe)
        for text in sandbox.missing(kind):
            print(f"CAREFUL: {text}", file=sys.stderr)
        found = submissions.read(options.submissions, part.questions)
        limits = sandbox.Limits(options.limit, options.mem)
        results = grade_batch(part, found, options.output, options.seed, limits, kind, options.jobs)
    except (sandbox.SandboxError, BatchError, FileNotFoundError, SourceError) as error:
        print(f"ERROR: nothing was graded: {error}", file=sys.stderr)
        return 2
    stem = options.output.with_suffix("")
    print(Path(f"{stem}_summary.txt").read_text(encoding="utf-8"))
    print(f"Wrote {options.output}, {stem}_feedback/ and {stem}_summary.txt")
    errors = [result for result in results if result.error]
    for result in errors:
        print(ascii(result.student), result.status, file=sys.stderr)
    return int(bool(errors))


def _positive(kind: type) -> Callable[[str], float]:
    """A number of the command line that must be above zero."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < 10**6:
            raise argparse.ArgumentTypeError(f"{text} is not a number above zero.")
        return value

    return read


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from zero on.")
    return int(text)


def gradescope(options: argparse.Namespace) -> int:
    """Write the zip file of a Gradescope autograder."""
    from . import gradescope as maker

    part = parts.find(options.part, options.source)
    maker.write(part, options.seed, options.output)
    print(f"Wrote {options.output}. Whoever has it knows the seed and the solution.")
    return 0


def nbgrader(options: argparse.Namespace) -> int:
    """Write a part as the source of an nbgrader assignment."""
    from . import release as maker

    print(f"Wrote {maker.nbgrader(parts.find(options.part, options.source), options.output)}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when all is well."""
    parser = argparse.ArgumentParser(
        prog="python -m tricks_lib.coursework", description="Hand out, check and grade exercises."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    folder = "a private assignment: a folder with exercises.ipynb, probe.py and judge.py"

    command = commands.add_parser("release", help=release.__doc__)
    command.add_argument("parts", nargs="*")
    command.add_argument("--all", action="store_true", help="every part of the book")
    command.add_argument("--check", action="store_true", help="write nothing; 1 if out of step")
    command.add_argument("--source", type=Path, help=folder)

    command = commands.add_parser("grade", help=grade.__doc__)
    command.add_argument("part")
    command.add_argument("submissions", type=Path, help="a folder, or a zip file")
    command.add_argument("-o", "--output", type=Path, required=True, help="the table, a CSV file")
    command.add_argument("--seed", type=_seed, help="draws the inputs; by default a secret one")
    jobs = os.cpu_count() or 1
    command.add_argument("--jobs", type=_positive(int), default=jobs, help="at a time")
    command.add_argument(
        "--limit", type=_positive(float), default=20.0, help="CPU seconds a question"
    )
    command.add_argument("--mem", type=_positive(float), default=4.0, help="GB of memory a process")
    command.add_argument("--source", type=Path, help=folder)
    command.add_argument(
        "--unsafe", action="store_true", help="run students' code without a sandbox"
    )

    command = commands.add_parser("gradescope", help=gradescope.__doc__)
    command.add_argument("part")
    command.add_argument("--seed", type=_seed, help="draws the inputs; by default a secret one")
    command.add_argument("-o", "--output", type=Path, required=True, help="a zip file")
    command.add_argument("--source", type=Path, help=folder)

    command = commands.add_parser("nbgrader", help=nbgrader.__doc__)
    command.add_argument("part")
    command.add_argument("-o", "--output", type=Path, required=True, help="the course's folder")
    command.add_argument("--source", type=Path, help=folder)

    options = parser.parse_args(arguments)
    try:
        return globals()[options.command](options)
    except (parts.NotFound, SourceError) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
