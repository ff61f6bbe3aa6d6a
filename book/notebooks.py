"""Run the book's notebooks: store clean outputs, or put every live claim to the test again.

    python -m book.notebooks run [paths]                  execute, clean, write what changed
    python -m book.notebooks replicate --seed 3 [paths]   same code, fresh seeds
    python -m book.notebooks stress --budget 2 [paths]    same seeds, twice the training

Recorded studies of a few minutes are measured anew with the live ones; longer ones are left out.
The last two fail where two decided verdicts contradict each other. A replication fails as well
where the two effects lie 3.3 standard errors apart: of 150 honest claims, about one in seven
replications has such a pair. Moves to and from *undecided* are told, and are no failure.

Without paths, every notebook under chapters/ takes part.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipykernel.kernelspec
import nbformat
import numpy as np
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from PIL import Image, ImageChops

from book.record import studies
from book.records import stored_records
from tricks_lib import law

CHAPTERS = Path("chapters")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
KEPT_METADATA = ("tags", "mystnb")
CELL_TIMEOUT = 3600  # seconds; a busy machine may take its time
Record = dict[str, Any]

# The same numbers on every machine: one thread a process, no random hashes, no progress bars.
FIXED_ENV = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "TQDM_DISABLE": "1",
}


# What makes a run another one than the stored: it comes from the command, never from the shell.
CHANGES = ("TRICKS_SEED", "TRICKS_SEEDS", "TRICKS_BUDGET", "TRICKS_STUDY")
FAR = 3.3  # standard errors
UNSEEN = 8  # of 255, the largest change of a colour that a figure may suffer to weigh less


class NotebookError(Exception):
    """A notebook could not be run to its end; the message names the cell and the error."""


class _Kernels(KernelSpecManager):
    """Whatever kernel a notebook names, run it with the Python that runs this program."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(**ipykernel.kernelspec.get_kernel_dict())


def find_notebooks(paths: Sequence[Path | str] = ()) -> list[Path]:
    """Every notebook among ``paths`` (files or folders), sorted; by default all of chapters/.

    Raises:
        FileNotFoundError: a path that does not exist, or is no notebook and no folder.
    """
    found: set[Path] = set()
    for path in map(Path, paths or [CHAPTERS]):
        if path.is_dir():
            found.update(p for p in path.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
        elif path.is_file() and path.suffix == ".ipynb":
            found.add(path)
        else:
            raise FileNotFoundError(f"{path} is neither a notebook nor a folder of notebooks.")
    return sorted(found)


def execute(path: Path, extra_env: Mapping[str, str], *, keep_going: bool = False) -> NotebookNode:
    """Run one notebook in a fresh kernel, in its own folder, and give it back with its outputs.

    ``keep_going`` runs the cells after an error too and leaves the error among the outputs.

    Raises:
        NotebookError: a cell raised, took too long, or the kernel died.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=_Kernels()),
        resources={"metadata": {"path": str(path.parent)}},
        timeout=CELL_TIMEOUT,
        startup_timeout=600,  # as busy as the machine may be
        record_timing=False,
        coalesce_streams=True,
        allow_errors=keep_going,
        extra_arguments=["--log-level=ERROR"],
    )
    # Stored outputs are the CPU's; seeds come from extra_env alone, never from the caller's shell.
    env = {"TRICKS_DEVICE": "cpu", **os.environ, **FIXED_ENV}
    env = {k: v for k, v in env.items() if k not in CHANGES}
    try:
        client.execute(env={**env, **extra_env}, cleanup_kc=True)
    except CellExecutionError as error:
        raise NotebookError(f"{path}: {next(iter(_failed_cells(notebook).values()))}") from error
    except (DeadKernelError, TimeoutError) as error:
        raise NotebookError(f"{path}: {type(error).__name__}: {error}") from error
    return notebook


def _failed_cells(notebook: NotebookNode) -> dict[str, str]:
    """A paragraph for each cell that raised, by the cell's id, unless its tag says it should."""
    failures = {}
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or "raises-exception" in cell.metadata.get("tags", []):
            continue
        for output in cell.outputs:
            if output.output_type == "error":
                source = "\n".join(f"    {line}" for line in cell.source.splitlines())
                reason = f"{output.ename}: {output.evalue}"
                failures[cell.id] = f"cell {number} ({cell.id}) raised {reason}\n{source}"
    return failures


def clean(notebook: NotebookNode) -> None:
    """Drop, in place, all that differs from run to run or from machine to machine."""
    notebook.nbformat_minor = 5
    notebook.metadata = NotebookNode(
        kernelspec=NotebookNode(KERNEL), language_info=NotebookNode(name="python")
    )
    # An id stays with its cell for good; new cells take the lowest free numbers. (nbformat makes
    # random ids of eight letters, some of which are a c and seven digits.)
    seen: set[str] = set()
    taken = {cell.get("id", "") for cell in notebook.cells}
    free = (f"c{n:02d}" for n in range(10**6) if f"c{n:02d}" not in taken)
    for cell in notebook.cells:
        if not re.fullmatch(r"c\d{2,5}", cell.get("id", "")) or cell.id in seen:
            cell.id = next(free)
        seen.add(cell.id)
        kept = {key: cell.metadata[key] for key in KEPT_METADATA if cell.metadata.get(key)}
        cell.metadata = NotebookNode(kept)
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            if "image/png" in output.get("data", {}):
                png = base64.b64decode(output.data["image/png"])
                output.data["image/png"] = base64.b64encode(strip_png(packed(png))).decode()


def packed(png: bytes) -> bytes:
    """A PNG file with a palette of 256 colours, a third as large, where nobody sees the difference.

    A plot has few colours, and the shades between them; a photograph stays as it is.
    """
    with Image.open(io.BytesIO(png)) as picture:
        if picture.mode == "P" or picture.convert("RGBA").getextrema()[3][0] < 255:
            return png
        drawn, dots = picture.convert("RGB"), picture.info.get("dpi")
    few = drawn.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    apart = ImageChops.difference(drawn, few.convert("RGB"))
    if max(most for _, most in apart.getextrema()) > UNSEEN:
        return png
    file = io.BytesIO()
    few.save(file, "png", optimize=True, **({"dpi": dots} if dots else {}))
    return min(png, file.getvalue(), key=len)


def strip_png(png: bytes) -> bytes:
    """A PNG file without its text and time chunks, which name the version that drew it."""
    kept, at = [png[:8]], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        chunk, at = png[at : at + 12 + length], at + 12 + length
        if chunk[4:8] not in (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"):
            kept.append(chunk)
    return b"".join(kept)


def run(paths: Sequence[Path]) -> int:
    """Execute and store every notebook; how many of them failed."""
    failures = []
    for path in paths:
        start = time.perf_counter()
        try:
            notebook = execute(path, {})
        except NotebookError as error:
            failures.append(str(error))
            state = "FAILED, left as it was"
        else:
            clean(notebook)
            text = nbformat.writes(notebook, indent=1).rstrip("\n") + "\n"
            changed = text != path.read_text(encoding="utf-8")
            if changed:
                path.write_text(text, encoding="utf-8", newline="\n")
            state = "written" if changed else "unchanged"
        print(f"{time.perf_counter() - start:6.1f} s  {path}  {state}", flush=True)
    for failure in failures:
        print(f"\n{failure}", file=sys.stderr)
    return len(failures)


def replicate(
    paths: Sequence[Path], seed: int, most: int | None = None, study: str | None = None
) -> int:
    """Run every live claim with other seeds, ``most`` at most; how many problems there are.

    ``study`` names recorded studies that are measured again too, however long, and no others.
    """

    def compare(old: Record, new: Record) -> tuple[str, str]:
        if old["seeds"] == new["seeds"]:
            return "same seeds, so nothing was replicated", ""
        z = distance(old, new)
        values = [*old["differences"], *new["differences"]]
        low, high = law.interval(values, rate=old["rate"])
        pooled = law.verdict((low, high), old["margin"], old["direction"])
        note = f"z {z:+.1f}, pooled {sum(values) / len(values):+.4g} {pooled}"
        trouble = contradiction(old, new)
        if not trouble and abs(z) > FAR:
            trouble = f"the two effects lie {abs(z):.1f} standard errors apart"
        return trouble, note

    return _again(paths, {"TRICKS_SEED": str(seed), **_asked(most, study)}, f"seed {seed}", compare)


def stress(
    paths: Sequence[Path], budget: float, most: int | None = None, study: str | None = None
) -> int:
    """Run every live claim with the training multiplied, sweeps too; how many problems.

    ``most`` caps the seeds of each claim: wider intervals, so more moves to *undecided*.
    ``study`` is as in ``replicate``.
    """

    def compare(old: Record, new: Record) -> tuple[str, str]:
        return contradiction(old, new), ""

    env = {"TRICKS_BUDGET": f"{budget:g}", **_asked(most, study)}
    return _again(paths, env, f"budget x {budget:g}", compare)


def _pages(study: str | None) -> list[Path]:
    """The notebooks that the named studies are on; none where none or all are named."""
    if study in (None, "all"):
        return []
    known = studies()
    if strange := [name for name in study.split(",") if name not in known]:
        raise KeyError(f"there is no study {strange[0]!r}; `python -m book.repeat` lists them.")
    return list(dict.fromkeys(known[name] for name in study.split(",")))


def _asked(most: int | None, study: str | None) -> dict[str, str]:
    asked = {"TRICKS_SEEDS": most, "TRICKS_STUDY": study}
    return {name: str(value) for name, value in asked.items() if value}


def _again(
    paths: Sequence[Path],
    env: Mapping[str, str],
    what: str,
    compare: Callable[[Record, Record], tuple[str, str]],
) -> int:
    """Run the notebooks with another environment and hold their live claims to the stored ones."""
    problems, moved, held = [], 0, 0
    print(f"{'claim':<58} {'stored':<32} {what:<32} verdict")
    for path in paths:
        as_stored = nbformat.read(path, as_version=4)
        stored = _records(as_stored)
        if not stored:
            continue
        try:
            notebook = execute(path, env, keep_going=True)
        except NotebookError as error:
            problems.append(str(error))
            continue
        # A failed assert may be prose that only the stored runs bear out: it counts as a failure.
        # Runs that are all the same tell neither way: what their cell did not get to is undecided.
        failures = _failed_cells(notebook)
        tied = [cell for cell in as_stored.cells if "raised NoSpread:" in failures.get(cell.id, "")]
        for cell in tied:
            del failures[cell.id]
        undecided = _records(NotebookNode(cells=tied))
        problems += [f"{path}: {failure}" for failure in failures.values()]
        fresh = _records(notebook)
        for name in stored | fresh:
            old, new = stored.get(name), fresh.get(name)
            if new and new["recorded"]:  # too long to measure again: it was only read
                continue
            if new is None and name in undecided:
                trouble, note = "", "its cell stopped at runs that are all the same"
            elif old is None or new is None:
                trouble, note = ("no stored record" if old is None else "vanished"), ""
            else:
                trouble, note = compare(old, new)
            same = bool(old and new and old["verdict"] == new["verdict"])
            held += same
            moved += not same and not trouble
            mark = "TURNED: " + trouble if trouble else ("same" if same else "moved")
            line = f"{name:<58} {_short(old):<32} {_short(new):<32} {mark} {note}".rstrip()
            print(line, flush=True)
            problems += [f"{path}: {name}: {trouble}"] if trouble else []
    for problem in problems:
        print(f"\n{problem}", file=sys.stderr)
    print(
        f"\n{len(paths)} notebooks: {held} verdicts the same, {moved} moved to or from "
        f"undecided, {len(problems)} problems"
    )
    return len(problems)


def _records(notebook: NotebookNode) -> dict[str, Record]:
    """The records by claim, data and what else tells measurements apart.

    A copy of a data set and the set itself are one: who measures again may have the other.
    """
    return {
        " ".join(filter(None, [r["id"], f"({_genuine(r['data'])})", r["at"]])): r
        for r in stored_records(notebook)
    }


def _genuine(data: str) -> str:
    """The name of a data set, also where it was a copy: "CIFAR-10 (JPEG copy)" is "cifar10"."""
    name = re.sub(r" \([^)]*copy[^)]*\)", "", data)
    return name.lower().replace("-", "") if name != data else data


def contradiction(old: Record, new: Record) -> str:
    """Two decided verdicts that differ, in words; empty when they do not contradict."""
    both = {old["verdict"], new["verdict"]}
    if len(both) == 1 or law.UNDECIDED in both:
        return ""
    return f"was {old['verdict']!r}, is {new['verdict']!r}"


def distance(old: Record, new: Record) -> float:
    """How many standard errors lie between two effects."""
    errors = [np.std(r["differences"], ddof=1) / np.sqrt(r["num_seeds"]) for r in (old, new)]
    apart, error = new["effect"] - old["effect"], float(np.hypot(*errors))
    return apart / error if error else float(np.sign(apart)) * np.inf if apart else 0.0


def _short(record: Record | None) -> str:
    return f"{record['verdict']} ({record['effect']:+.4g})" if record else "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when all is well."""
    parser = argparse.ArgumentParser(prog="python -m book.notebooks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "replicate", "stress"):
        command = commands.add_parser(name)
        command.add_argument("paths", nargs="*", type=Path)
        if name == "replicate":
            command.add_argument("--seed", type=int, required=True, help="any number but 0")
        if name == "stress":
            command.add_argument("--budget", type=float, required=True, help="2 for twice as long")
        if name != "run":
            command.add_argument("--seeds", type=int, help="at most so many, for a quicker look")
            command.add_argument("--study", help="recorded studies to measure again, by name")
    options = parser.parse_args(arguments)
    if options.command != "run" and options.seeds is not None and options.seeds < 2:
        parser.error("an interval needs two seeds or more.")
    study = getattr(options, "study", None)
    try:
        paths = find_notebooks(options.paths or _pages(study))
    except (FileNotFoundError, KeyError) as error:
        parser.error(str(error.args[-1]))
    if options.command == "run":
        return int(run(paths) > 0)
    if options.command == "stress":
        if options.budget in (0, 1) or options.budget < 0:
            parser.error("a budget of 1 gives the stored runs again; choose another, such as 2.")
        return int(stress(paths, options.budget, options.seeds, study) > 0)
    if options.seed == 0:
        parser.error("seed 0 gives the stored seeds again; choose another number.")
    return int(replicate(paths, options.seed, options.seeds, study) > 0)


if __name__ == "__main__":
    sys.exit(main())
