"""Repeat a recorded study: fresh seeds, measured here and now, beside what the book recorded.

    python -m book.repeat                          list the studies, and how long each takes
    python -m book.repeat NAME --seeds 100 101     measure one again, print old and new
    python -m book.repeat NAME --out mine.json     and write a small file that can be sent in

It runs on a GPU if there is one. Only the cells of the page that the study needs are run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import tricks_lib as tl
from book import record
from tricks_lib.device import describe
from tricks_lib.recorded import Recorded, folder

# What a GPU of the T4 class is taken to need for a step of a small network, whose time goes into
# starting kernels; and how many times one core's arithmetic it does in the same time.
SECONDS_A_STEP, TIMES_A_CORE = 0.0006, 60
NO_METRICS = {"arm", "seed", "steps", "diverged", "seconds"}


def overview(root: Path = record.ROOT) -> pd.DataFrame:
    """A row for each recorded study: its page, runs, and minutes on one core and on a T4.

    The minutes on a core were measured; those on a T4 are estimated from steps and arithmetic.
    """
    made = []
    for name, page in record.studies(root).items():
        manifest = json.loads((folder(name) / "manifest.json").read_text(encoding="utf-8"))
        steps = pd.read_csv(folder(name) / "rows.csv", usecols=["steps"])["steps"].sum()
        seconds = manifest["seconds"]
        gpu = steps * SECONDS_A_STEP + seconds / TIMES_A_CORE
        made.append(
            {
                "study": name,
                "page": page.stem,
                "runs": manifest["runs"],
                "core minutes": round(seconds / 60, 1),
                "T4 minutes": round(gpu / 60, 1),
            }
        )
    return pd.DataFrame(made).set_index("study")


def read(name: str, root: Path = record.ROOT) -> Recorded:
    """The study as its page has it, from running the cells that it needs and no others.

    Raises:
        KeyError: the book has no such study.
    """
    known = record.studies(root)
    if name not in known:
        raise KeyError(f"there is no study {name!r}; `python -m book.repeat` lists them.")
    seen: dict[str, Recorded] = {}
    original = tl.recorded

    def noting(called: str, *arguments: Any, **settings: Any) -> Recorded:
        seen[called] = original(called, *arguments, **settings)
        return seen[called]

    tl.recorded = noting
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the page's own verdicts
            record.run(known[name], name)
    finally:
        tl.recorded = original
    return seen[name]


def metrics(rows: pd.DataFrame, settings: Sequence[str]) -> tuple[str, str]:
    """What to show of a study, and what to tune by: a score of the test set, and one that is not.

    Accuracies come first, then losses, then whatever else was measured.
    """
    names = [name for name in rows if name not in {*NO_METRICS, *settings}]
    names = [name for name in names if pd.api.types.is_numeric_dtype(rows[name])]

    def first(candidates: list[str]) -> str:
        return min(candidates, key=lambda name: ("accuracy" not in name, "loss" not in name))

    unseen = [name for name in names if not name.startswith("test")]
    shown = first([name for name in names if name.startswith("test")] or names)
    return shown, first([name for name in unseen if name.startswith("val")] or unseen or names)


def repeat(study: Recorded, seeds: Sequence[int], arms: Sequence[str] | None = None) -> dict:
    """Old and new, as plain JSON: for each arm the recorded mean and range, and each fresh seed."""
    shown, by = metrics(study.rows, study.settings)
    table = study.again(list(seeds), arms, metric=shown, by=by)
    return {
        "metric": shown,
        "tuned by": by,
        "seeds": list(seeds),
        "arms": {arm: row.round(5).to_dict() for arm, row in table.iterrows()},
        "data": study.data,
        "device": describe(tl.device()),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "tricks_lib": tl.__version__,
        },
        "date": date.today().isoformat(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m book.repeat", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("study", nargs="?", help="its name; without one, all are listed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[100, 101])
    parser.add_argument("--arms", nargs="+", help="default all")
    parser.add_argument("--out", type=Path, help="the file to write")
    chosen = parser.parse_args(arguments)
    if not chosen.study:
        print(overview().to_string())
        return
    try:
        study = read(chosen.study)
    except KeyError as error:
        sys.exit(error.args[0])
    found = {"study": chosen.study, **repeat(study, chosen.seeds, chosen.arms)}
    print(pd.DataFrame(found["arms"]).T.round(4).to_string())
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
