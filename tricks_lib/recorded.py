"""Recorded studies: too long for a page, measured once, kept as a row for each run.

A page calls ``recorded`` as it calls ``compare``. Most often that only reads the rows that ship
with the book. ``make record`` measures what is missing, and the tests run the same code at a toy
size. Choosing a rate, effects, intervals and verdicts are computed from the rows, in the page.
"""

from __future__ import annotations

import ast
import builtins
import dis
import hashlib
import importlib.util
import inspect
import json
import os
import pickle
import platform
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import date
from functools import cached_property, lru_cache, partial
from importlib.metadata import packages_distributions
from numbers import Integral, Real
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import numpy as np
import pandas as pd
import torch
from joblib.externals.loky.backend.reduction import dumps

from ._version import __version__
from .data import Data
from .device import cpu_threads, describe, device
from .experiment import (
    Arm,
    MakeData,
    Study,
    _check,
    _conditions,
    _direction,
    _edges,
    _environment,
    _has_diverged,
    _in_parallel,
    _made,
    _packed,
    _Run,
    _run,
    _seeds,
    _settings,
    _shifted,
    _workers,
)

Grid = Mapping[str, Sequence]
Setting = Mapping[str, object]

#: What the tests run instead of a study: these seeds, and one setting of each arm's grid.
TOY_SEEDS = (0, 1)
#: Seconds of computing up to which a recorded study is measured again as if it were live.
SHORT = 600
#: How much of themselves the inputs change by, how often that is tried at most, and how many times
#: as far as it moves a toy run another machine's rounding may move it.
NUDGE, NUDGES, CHAOS = 1e-5, 16, 3
# These change what a run does; a recording must not depend on who has them set.
_CHANGES = (
    "TRICKS_SEED",
    "TRICKS_SEEDS",
    "TRICKS_BUDGET",
    "TRICKS_STUDY",
    "TRICKS_TOY",
    "TRICKS_RECORD",
)


def recorded(
    name: str,
    arms: Mapping[str, Arm],
    data: MakeData,
    grid: Grid | Mapping[str, Grid] | None = None,
    seeds: int | Sequence[int] = 10,
    *,
    toy: MakeData | None = None,
    toy_budget: float = 0.05,
    also: Grid | None = None,
    curves: Sequence[str] = ("val_accuracy",),
    needs: str | None = None,
    conditions: Mapping[str, str] | None = None,
    workers: int | None = None,
) -> Recorded:
    """A study that was measured once and whose runs ship with the book.

    It reads ``data/studies/<name>/``. With ``TRICKS_RECORD=<name>`` in the environment (several
    names with commas between them, or ``all``; ``make record`` sets it) it first measures the runs
    that are not there yet, on a GPU if there is one, and stores each as it ends: stopped half-way,
    it goes on where it was. With ``TRICKS_TOY=1`` it runs the same code on the toy data, with the
    middle setting of each grid, stores nothing, and compares the training losses with those of the
    toy runs at the time of the recording. With ``TRICKS_SEED`` or ``TRICKS_BUDGET`` (``make
    replicate``, ``make stress``) a study of at most ten minutes is measured anew, as a live one is;
    ``TRICKS_STUDY=<name>`` (several, or ``all``) has these measured, however long, and no others.

    Args:
        name: of the study and of its folder.
        arms: name to function of ``(data, **settings)``, as in ``compare``. Its code, and that of
            the page's functions it calls, has a fingerprint: rows of other code are refused.
        data: makes the data of one seed, as in ``compare``.
        grid: setting to values, such as ``{"lr": [0.01, 0.1]}``, for all arms; or a grid for each
            arm by name. Every combination is a run for every seed.
        seeds: how many, or which ones.
        toy: makes small stand-in data of one seed; default the data themselves.
        toy_budget: the share of the training that a toy run does.
        also: further settings of every arm, which ``tuned`` leaves out: one common rate, say.
        curves: which columns of a ``History``'s curve to keep.
        needs: a package that is not installed with the book and that only measuring needs. Where it
            is missing, ``make replicate`` and ``make stress`` read the rows as they are.
        conditions: what cannot be read off the runs, such as ``{"tuned": "in each run, by ..."}``
            for arms that tune themselves.
        workers: as in ``compare``.

    Returns:
        A ``Recorded``; its ``tuned()`` and ``at()`` give a ``Study`` as ``compare`` does.

    Raises:
        RuntimeError: the rows are missing, or of other code than this; or a toy run gave other
            numbers than at the time of the recording, so that the library has changed.
    """
    _check(arms, data)
    plan = _Plan(name, dict(arms), data, *_plan_settings(arms, grid, also), tuple(curves))
    chosen = list(range(seeds)) if isinstance(seeds, Integral) else [int(s) for s in seeds]
    toy = toy or data
    if os.environ.get("TRICKS_TOY"):
        small = plan.small(toy)
        found = _view(small, _toy_run(small, toy_budget, workers), list(TOY_SEEDS), workers)
    elif {name, "all"} & set(os.environ.get("TRICKS_RECORD", "").split(",")):
        _record(plan, chosen, toy, toy_budget, workers)
        found = _view(plan, _read_checked(plan, chosen), chosen, workers)
    elif _is_put_to_the_test(name, needs):
        stored = _view(plan, _read_checked(plan, chosen), chosen, workers)
        anew = _measured_anew(plan, _shifted(_seeds(seeds)), workers)
        found = replace(anew, _stored=stored)
    else:
        found = _view(plan, _read_checked(plan, chosen), chosen, workers)
    told = {arm: {**known, **(conditions or {})} for arm, known in found._conditions.items()}
    return replace(found, _conditions=told)


@dataclass(frozen=True)
class Recorded:
    """The runs of a recorded study: every arm, every setting, every seed.

    Attributes:
        rows: a row per run: ``arm``, ``seed``, the settings, the metrics, ``steps``, ``diverged``
            and ``seconds`` of computing.
        curves: a row per record of each run, with the metrics that were kept.
        data, device: what the runs used, in words.
        about: ``device``, ``date`` and how long a repetition ``takes``, in words; None for runs
            that were measured here and now.
    """

    rows: pd.DataFrame
    curves: pd.DataFrame
    data: str
    device: str
    about: Mapping[str, str] | None
    _plan: _Plan = field(repr=False)
    _conditions: Mapping[str, Mapping[str, str]] = field(repr=False)
    _workers: int | None = field(default=None, repr=False)
    _stored: Recorded | None = field(default=None, repr=False)

    def at(self, **settings: object) -> Study:
        """The runs with these very settings, such as ``at(lr=0.001)``, as ``compare`` has them.

        Raises:
            KeyError: an arm has no such run.
        """
        words = ", ".join(f"{key} {value}" for key, value in settings.items())
        picked = {}
        for arm in self._plan.arms:
            found = [s for s in self._plan.settings[arm] if _key(s) == _key(settings)]
            if not found:
                raise KeyError(f"arm {arm!r} has no runs with {words or 'no settings'}.")
            picked[arm] = dict.fromkeys(self._seeds, found[0])
        tuning = {"tuned": f"not at all: {words} for every arm"} if words else {}
        study = self._study(picked, dict.fromkeys(picked, tuning))
        return replace(study, stored=self._stored and (lambda: self._stored.at(**settings)))

    def tuned(self, metric: str = "val_accuracy", higher_is_better: bool | None = None) -> Study:
        """The study with every arm tuned inside the seed, as ``tl.tuned`` does.

        For each seed each arm takes from its own grid the setting that its validation set likes
        best. Of equal ones it takes the middle one. ``picks`` tells ties and edges.

        Args:
            metric: what to choose by, a column of ``rows``.
            higher_is_better: must be said for whatever is neither an accuracy nor a loss.

        Raises:
            ValueError: a metric of the test set, an unclear direction, or an arm without a number.
        """
        sign = 1 if _direction(metric, higher_is_better) else -1
        picked, told, words = {}, [], {}
        for arm, grid in self._plan.grids.items():
            settings = _settings(grid)
            picked[arm] = {}
            for seed in self._seeds:
                scores = [sign * self._row(arm, seed, s)[metric] for s in settings]
                if not np.isfinite(scores).any():
                    raise ValueError(f"arm {arm!r}, seed {seed}: no setting has a {metric}.")
                best = [i for i, score in enumerate(scores) if score == np.nanmax(scores)]
                setting = settings[best[(len(best) - 1) // 2]]
                picked[arm][seed] = setting
                edge, tie = bool(_edges(grid, setting)), len(best) > 1
                told.append({"arm": arm, "seed": seed, **setting, "edge": edge, "tie": tie})
            mine = [pick for pick in told if pick["arm"] == arm]
            edges, ties = (sum(pick[what] for pick in mine) for what in ("edge", "tie"))
            words[arm] = {
                "tuned": f"inside each seed by {metric}, of {dict(grid)}; on the edge {edges} "
                f"times, tied {ties} times, of {len(mine)}"
            }
        study = self._study(picked, words, pd.DataFrame(told))
        stored = self._stored and (lambda: self._stored.tuned(metric, higher_is_better))
        return replace(study, stored=stored)

    def again(
        self,
        seeds: Sequence[int],
        arms: Sequence[str] | None = None,
        *,
        metric: str = "test_accuracy",
        by: str = "val_accuracy",
    ) -> pd.DataFrame:
        """Measure afresh, here and now, and put it beside what was recorded.

        Args:
            seeds: fresh ones, such as ``[100, 101]``.
            arms: which arms; default all.
            metric: what to show, of the arms tuned inside the seed.
            by: the validation metric to tune by.

        Returns:
            A table with a row for each arm, with the mean, lowest and highest of the recorded runs
            beside each new run.
        """
        plan = self._plan.only(arms or list(self._plan.arms))
        stored = _Stored({}, {}, {})
        for _ in _measure(plan, _jobs(plan, seeds, stored), stored, self._workers):
            pass
        new = _view(plan, stored, list(seeds), self._workers)
        old_study, new_study = (what.tuned(by) if plan.grids else what.at() for what in (self, new))
        table = {}
        for arm in plan.arms:
            old = old_study.values(arm, metric)
            table[arm] = {"mean": old.mean(), "lowest": old.min(), "highest": old.max()}
            fresh = zip(seeds, new_study.values(arm, metric), strict=True)
            table[arm] |= {f"seed {seed}": value for seed, value in fresh}
        return pd.DataFrame(table).T

    @property
    def settings(self) -> list[str]:
        """The names of what the grids vary, such as ``["lr"]``: columns of ``rows``."""
        return list(self._plan.names)

    @property
    def _seeds(self) -> list[int]:
        return list(dict.fromkeys(self.rows["seed"]))

    def _row(self, arm: str, seed: int, setting: Setting) -> Mapping[str, float]:
        return self._lookup[_run_key(arm, seed, setting)]

    @cached_property
    def _lookup(self) -> dict[tuple, dict[str, object]]:
        names = self._plan.names
        found = self.rows.to_dict("records")
        return {
            _run_key(row["arm"], row["seed"], {k: row[k] for k in names if row[k] == row[k]}): row
            for row in found
        }

    def _study(
        self,
        picked: Mapping[str, Mapping[int, Setting]],
        tuning: Mapping[str, Mapping[str, str]],
        picks: pd.DataFrame | None = None,
    ) -> Study:
        lookup = self._lookup
        keys = [_run_key(a, s, setting) for a in picked for s, setting in picked[a].items()]
        table = pd.DataFrame([lookup[key] for key in keys])
        settings = [name for name in self._plan.names if name in table]
        curves = self.curves
        if len(curves):
            wanted = table[["arm", "seed", *settings]]
            curves = wanted.merge(curves, how="inner")
        runs = {arm: table[table["arm"] == arm] for arm in picked}
        return Study(
            table=table.drop(columns=settings),
            curves=curves,
            data=self.data,
            device=self.device,
            conditions={arm: {**self._conditions[arm], **tuning[arm]} for arm in picked},
            diverged={
                arm: [int(s) for s in found.loc[found["diverged"] == 1, "seed"]]
                for arm, found in runs.items()
            },
            picks=picks if picks is not None else pd.DataFrame(),
            recorded=self.about,
        )


# ---- what is to be run --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """What a study is made of; ``settings`` are those of the grid and the further ones."""

    name: str
    arms: dict[str, Arm]
    data: MakeData
    grids: dict[str, Grid]
    settings: dict[str, list[dict[str, object]]]
    curves: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The names of all settings."""
        return list(dict.fromkeys(k for found in self.settings.values() for s in found for k in s))

    def only(self, arms: Sequence[str]) -> _Plan:
        """The same with some of the arms."""
        if strange := [arm for arm in arms if arm not in self.arms]:
            raise KeyError(f"no arm {strange[0]!r} in this study; it has {list(self.arms)}.")
        chosen = {arm: self.arms[arm] for arm in arms}
        grids = {arm: self.grids[arm] for arm in arms if arm in self.grids}
        # What a grid does not hold is not repeated.
        settings = {a: _settings(grids[a]) if grids else self.settings[a] for a in arms}
        return _Plan(self.name, chosen, self.data, grids, settings, self.curves)

    def small(self, toy: MakeData) -> _Plan:
        """The same on toy data, with the middle setting of each grid and the further ones."""
        grids = {a: {k: [v[len(v) // 2]] for k, v in g.items()} for a, g in self.grids.items()}
        settings = {}
        for arm, every in self.settings.items():
            beside = [s for s in every if not _in_grid(s, self.grids.get(arm, {}))]
            settings[arm] = (_settings(grids[arm]) if grids else []) + beside or every
        return _Plan(self.name, self.arms, toy, grids, settings, self.curves)

    def nudged(self, draw: int) -> _Plan:
        """The same on inputs that are changed in their last digits, each draw in its own way."""
        return replace(self, data=partial(_nudged, self.data, draw))

    def fingerprints(self) -> dict[str, str]:
        """Of each arm: its code with all that it calls in the page, and the data."""
        return {name: fingerprint(arm, self.data) for name, arm in self.arms.items()}


def _plan_settings(
    arms: Mapping[str, Arm], grid: Grid | Mapping[str, Grid] | None, also: Grid | None
) -> tuple[dict[str, Grid], dict[str, list[dict[str, object]]]]:
    """A grid for each arm, and all settings that it runs."""
    grids: dict[str, Grid] = {}
    if grid:
        own = all(isinstance(values, Mapping) for values in grid.values())
        if own and set(grid) != set(arms):
            raise ValueError(f"grid is for {list(grid)}, but the arms are {list(arms)}.")
        grids = {name: dict(grid[name] if own else grid) for name in arms}
    settings = {}
    for name in arms:
        found = _settings(grids[name]) if grids else ([] if also else [{}])
        more = [s for s in _settings(also) if _key(s) not in map(_key, found)] if also else []
        settings[name] = found + more
    return grids, settings


def _in_grid(setting: Setting, grid: Grid) -> bool:
    return bool(grid) and _key(setting) in map(_key, _settings(grid))


def _key(setting: Setting) -> tuple:
    """A setting that can be looked up, the same before and after it was stored as text."""
    return tuple(
        (k, float(v) if isinstance(v, Real) and not isinstance(v, bool) else str(v))
        for k, v in sorted(setting.items())
    )


def _run_key(arm: str, seed: int, setting: Setting) -> tuple:
    return arm, int(seed), _key(setting)


# ---- running ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """Runs by key: a row, and the kept curve; and what is known of them all."""

    rows: dict[tuple, dict[str, object]]
    curves: dict[tuple, pd.DataFrame]
    manifest: dict[str, object]


_Job = tuple[str, int, dict[str, object]]


def _jobs(plan: _Plan, seeds: Sequence[int], stored: _Stored) -> list[_Job]:
    """What is missing, seed by seed, so that half a recording is a whole look at fewer seeds."""
    jobs = [(arm, seed, s) for seed in seeds for arm in plan.arms for s in plan.settings[arm]]
    return [job for job in jobs if _run_key(*job) not in stored.rows]


def _measure(
    plan: _Plan,
    jobs: Sequence[_Job],
    stored: _Stored,
    workers: int | None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Run the jobs and put each into ``stored`` as it ends."""
    environ = {k: v for k, v in os.environ.items() if k.startswith("TRICKS_")}
    environ = {k: v for k, v in environ.items() if k not in _CHANGES} | dict(environment or {})
    make = bytes(dumps(plan.data))
    calls = [
        (job, _packed(job[0], partial(plan.arms[job[0]], **job[2])), make, environ) for job in jobs
    ]
    found = _in_parallel(_one, calls, _workers(workers, max(1, len(jobs))))
    for job, run, seconds, checksum in found:
        key = _run_key(*job)
        arm, seed, setting = job
        steps = next((note["steps"] for note in reversed(run.notes) if "steps" in note), 0)
        metrics = {k: v for k, v in run.row.items() if k not in ("arm", "seed", "diverged")}
        diverged = int(_has_diverged(run))
        stored.rows[key] = {"arm": arm, "seed": seed, **setting} | {
            **{name: float(f"{value:.6g}") for name, value in metrics.items()},
            "steps": int(steps),
            "diverged": diverged,
            "seconds": round(seconds, 1),
        }
        if run.curve is not None:
            kept = ["step", *(name for name in plan.curves if name in run.curve)]
            stored.curves[key] = run.curve[kept]
        about = stored.manifest
        about["data"] = run.data
        if about.setdefault("data_sha256", {}).setdefault(str(seed), checksum) != checksum:
            raise RuntimeError(
                f"study {plan.name!r}: the data of seed {seed} are others than those of the runs "
                "that are stored. Use the same copy of the data set, or delete the study's folder."
            )
        conditions = about.setdefault("conditions", {})
        if arm not in conditions:
            known = _conditions(plan.arms[arm], [run])
            if any(plan.settings[arm]):  # ``at`` and ``tuned`` say the rate of each run
                known.pop("learning rate", None)
            conditions[arm] = known
        yield


def _one(
    job: _Job, packed: bytes, make: bytes, environ: Mapping[str, str]
) -> tuple[_Job, _Run, float, str]:
    """One run in a worker, which keeps the data of its seed for the next one."""
    arm, seed, setting = job
    data, checksum, versions = _data_of(make, seed, tuple(sorted(environ.items())))
    # The processor's time: other programs on the machine do not count. A GPU's is on the clock.
    clock = time.process_time if device().type == "cpu" else time.perf_counter
    start = clock()
    run = _run(f"{arm}, {setting}", packed, partial(_same, data), seed, environ, shared=True)
    seconds = clock() - start
    if _versions(data) != versions:
        _data_of.cache_clear()
        raise RuntimeError(
            f"arm {arm!r} writes into the data, which the next run shares: copy them first, as in "
            "data.replace(x_train=data.x_train.clone())."
        )
    return job, run, seconds, checksum


def _same(data: Data, seed: int) -> Data:
    return data


@lru_cache(maxsize=1)
def _data_of(
    make: bytes, seed: int, environ: tuple[tuple[str, str], ...]
) -> tuple[Data, str, list[int]]:
    """The data of one seed, their checksum, and how often their tensors were written to."""
    with _environment(dict(environ)), torch.random.fork_rng(), cpu_threads():
        data = _made(pickle.loads(make), seed)
    digest = hashlib.sha256()
    for part in _tensors(data):
        digest.update(part.cpu().contiguous().numpy().tobytes())
    return data, digest.hexdigest()[:16], _versions(data)


def _tensors(data: Data) -> list[torch.Tensor]:
    return [getattr(data, f"{axis}_{part}") for part in ("train", "val", "test") for axis in "xy"]


def _versions(data: Data) -> list[int]:
    return [part._version for part in _tensors(data)]


# ---- fresh runs ---------------------------------------------------------------------------------


def _is_put_to_the_test(name: str, needs: str | None) -> bool:
    """Whether other seeds or another budget are asked for, and the study can and may be run."""
    if needs and importlib.util.find_spec(needs) is None:
        return False
    if not any(os.environ.get(wish) for wish in ("TRICKS_SEED", "TRICKS_BUDGET")):
        return False
    if named := os.environ.get("TRICKS_STUDY"):
        return bool({name, "all"} & set(named.split(",")))
    about = _read(name).manifest  # the seconds of a GPU say nothing of a CPU's
    return about.get("device") == "cpu" and about.get("seconds", np.inf) <= SHORT


def _measured_anew(plan: _Plan, seeds: Sequence[int], workers: int | None) -> Recorded:
    """The study as a live one: nothing is read and nothing stored."""
    stored = _Stored({}, {}, {})
    budget = {k: v for k, v in os.environ.items() if k == "TRICKS_BUDGET"}
    for _ in _measure(plan, _jobs(plan, seeds, stored), stored, workers, budget):
        pass
    return replace(_view(plan, stored, seeds, workers), about=None)


# ---- toy runs -----------------------------------------------------------------------------------


def _toy_run(plan: _Plan, share: float, workers: int | None) -> _Stored:
    """A small plan's runs; compared with the same at the time of the recording."""
    stored = _toy_measured(plan, share, workers)
    witness = _read(plan.name).manifest.get("toy")
    now = _witness(stored)
    if witness and not set(now) & set(witness):
        raise RuntimeError(
            f"study {plan.name!r}: none of these toy runs was made when it was recorded; "
            f"{_how(plan.name)} makes them."
        )
    far = {k: t for k, t in (witness or {}).items() if k in now and not _is_close(k, now[k], t)}
    # A chaotic run, such as one with batches of two, makes much of a machine's own rounding. How
    # much, the same run tells when its inputs are changed in their last digits, a few times: some
    # runs have two ends, and only one draw in eight leads to the other.
    for draw in range(NUDGES):
        if not far:
            break
        nudged = _witness(_toy_measured(plan.nudged(draw), share, workers))
        moved = {key: abs(nudged.get(key, now[key]) - now[key]) for key in far}
        far = {k: t for k, t in far.items() if not abs(now[k] - t) <= CHAOS * moved[k]}
    if far:
        key, then = next(iter(far.items()))
        raise RuntimeError(
            f"study {plan.name!r}: the toy run {key} now gives {now[key]:g}, and gave {then:g} "
            "when the study was recorded. The library has changed what the study does: measure "
            f"it anew with {_how(plan.name)}."
        )
    return stored


def _is_close(key: str, now: float, then: float) -> bool:
    """Losses differ in the last digits from machine to machine, the rest by an image or two."""
    close = {"rtol": 0.02, "atol": 0.03} if " of " in key else {"rtol": 2e-3, "atol": 1e-4}
    return bool(np.isclose(now, then, **close))


def _nudged(make: MakeData, draw: int, seed: int) -> Data:
    """The same data, but for the last digits of the training inputs, which are drawn anew."""
    data = make(seed)
    if not data.x_train.is_floating_point():
        return data
    noise = torch.randn(data.x_train.shape, generator=torch.Generator().manual_seed(draw))
    return data.replace(x_train=data.x_train * (1 + NUDGE * noise))


def _toy_measured(plan: _Plan, share: float, workers: int | None) -> _Stored:
    stored = _Stored({}, {}, {})
    budget = {"TRICKS_BUDGET": str(share)}
    for _ in _measure(plan, _jobs(plan, TOY_SEEDS, stored), stored, workers, budget):
        pass
    return stored


def _witness(stored: _Stored) -> dict[str, float]:
    """A number of each toy run: the training loss, or else its first finite metric."""
    found = {}
    for (arm, seed, key), row in stored.rows.items():
        name = _run_name(arm, seed, dict(key))
        skipped = {"arm", "seed", "steps", "diverged", "seconds", *(k for k, _ in key)}
        finite = [k for k, v in row.items() if k not in skipped and np.isfinite(v)]
        if "train_loss" in finite:
            found[name] = row["train_loss"]
        elif finite:
            found[f"{finite[0]} of {name}"] = row[finite[0]]
    return found


def _run_name(arm: str, seed: int, setting: Setting) -> str:
    values = [f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in _key(setting)]
    return ", ".join([arm, *values, f"seed {seed}"])


# ---- files --------------------------------------------------------------------------------------


def _record(
    plan: _Plan, seeds: Sequence[int], toy: MakeData, share: float, workers: int | None
) -> None:
    """Measure what is missing; the files are whole after every run."""
    stored, prints = _read(plan.name), plan.fingerprints()
    known = stored.manifest.get("fingerprints", {})
    for arm, mine in prints.items():
        if known.get(arm) != mine:  # rows of other code, or none yet
            for key in [key for key in stored.rows if key[0] == arm]:
                stored.rows.pop(key)
                stored.curves.pop(key, None)
            stored.manifest.get("conditions", {}).pop(arm, None)
    about = stored.manifest
    about["study"], about["fingerprints"] = plan.name, {**known, **prints}
    small = plan.small(toy)
    names = [_run_name(*job) for job in _jobs(small, TOY_SEEDS, _Stored({}, {}, {}))]
    there = about.get("toy", {})
    if known != prints or not all(any(k.endswith(name) for k in there) for name in names):
        about["toy"] = _witness(_toy_measured(small, share, workers))
    jobs = _jobs(plan, seeds, stored)
    if jobs:
        print(f"{plan.name}: {len(jobs)} runs to measure", file=sys.stderr, flush=True)
    for done, _ in enumerate(_measure(plan, jobs, stored, workers), start=1):
        used = {*str(about.get("device", "")).split(" and "), describe(device())} - {""}
        about["device"] = " and ".join(sorted(used))
        about["date"] = date.today().isoformat()
        about["versions"] = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "tricks_lib": __version__,
        }
        _write(plan, stored)
        print(f"{plan.name}: {done} of {len(jobs)}", file=sys.stderr, flush=True)
    _write(plan, stored)


def folder(name: str) -> Path:
    """Where a study's files are: ``TRICKS_STUDIES``, else inside the library or beside it."""
    here = Path(__file__).parent
    if chosen := os.environ.get("TRICKS_STUDIES"):
        return Path(chosen) / name
    inside = here / "_data" / "studies"
    return (inside if inside.is_dir() else here.parent / "data" / "studies") / name


def _read(name: str) -> _Stored:
    """All that is stored of a study; nothing when it was never recorded."""
    where = folder(name)
    if not (where / "manifest.json").is_file():
        return _Stored({}, {}, {})
    manifest = json.loads((where / "manifest.json").read_text(encoding="utf-8"))
    names = manifest["settings"]
    rows: dict[tuple, dict[str, object]] = {}
    curves: dict[tuple, pd.DataFrame] = {}
    for row in _records(where / "rows.csv"):
        setting = {k: row[k] for k in names if row[k] == row[k]}  # NaN: this arm has no such thing
        rows[_run_key(row["arm"], row["seed"], setting)] = row
    for line in _records(where / "curves.csv"):
        setting = {k: line[k] for k in names if line[k] == line[k]}
        key = _run_key(line["arm"], line["seed"], setting)
        points = {int(k): v for k, v in line.items() if k.isdigit() and v == v}
        curve = pd.DataFrame({"step": list(points), line["metric"]: list(points.values())})
        if key in rows:
            curves[key] = curves[key].merge(curve, how="outer") if key in curves else curve
    return _Stored(rows, curves, manifest)


def _records(path: Path) -> list[dict[str, object]]:
    if not path.is_file():
        return []
    # Python's own engine reads a number as it was written, to the last digit.
    return pd.read_csv(path, engine="python").to_dict("records")


def _write(plan: _Plan, stored: _Stored) -> None:
    """Write all files, each in one go; the manifest last, which says what the others hold."""
    where = folder(plan.name)
    where.mkdir(parents=True, exist_ok=True)
    place = {arm: i for i, arm in enumerate(plan.arms)}
    keys = sorted(stored.rows, key=lambda key: (key[1], place.get(key[0], len(place)), key))
    rows = pd.DataFrame([stored.rows[key] for key in keys])
    names = [name for name in plan.names if name in rows]
    ends = ["steps", "diverged", "seconds"]
    rest = [name for name in rows if name not in {"arm", "seed", *names, *ends}]
    rows = rows[["arm", "seed", *names, *rest, *ends]]
    lines = []
    for key in keys:
        start = {name: stored.rows[key].get(name) for name in ("arm", "seed", *names)}
        curve = stored.curves.get(key, pd.DataFrame())
        for metric in (name for name in curve if name != "step"):
            points = zip(curve["step"].astype(int), curve[metric], strict=True)
            lines.append({**start, "metric": metric} | {s: float(f"{v:.4g}") for s, v in points})
    seconds = float(rows["seconds"].sum())
    manifest = stored.manifest | {
        "settings": names,
        "runs": len(rows),
        "seconds": round(seconds),
        "data_sha256": dict(
            sorted(stored.manifest["data_sha256"].items(), key=lambda i: int(i[0]))
        ),
    }
    if lines:
        wide = pd.DataFrame(lines)
        first = ["arm", "seed", *names, "metric"]
        steps = sorted(name for name in wide if name not in first)
        _replace(where / "curves.csv", wide[first + steps].to_csv(index=False, lineterminator="\n"))
    _replace(where / "rows.csv", rows.to_csv(index=False, lineterminator="\n"))
    text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True)
    _replace(where / "manifest.json", text + "\n")


def _replace(path: Path, text: str) -> None:
    """Write a file so that whoever is killed in the middle leaves the old one."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def _read_checked(plan: _Plan, seeds: Sequence[int]) -> _Stored:
    """The stored rows, if they are those of this code and all there."""
    stored = _read(plan.name)
    if not stored.rows:
        raise RuntimeError(f"study {plan.name!r} has not been recorded: run {_how(plan.name)}.")
    known = stored.manifest.get("fingerprints", {})
    for arm, mine in plan.fingerprints().items():
        if known.get(arm, mine) != mine:
            raise RuntimeError(
                f"study {plan.name!r} was recorded with other code of arm {arm!r} or its data than "
                f"stands here: measure it anew with {_how(plan.name)}, or take the change back."
            )
    if missing := _jobs(plan, seeds, stored):
        arm, seed, setting = missing[0]
        raise RuntimeError(
            f"study {plan.name!r} lacks {len(missing)} runs, the first of them {arm!r} with seed "
            f"{seed} and {setting}: go on with {_how(plan.name)}, or ask for fewer seeds."
        )
    return stored


def _how(name: str) -> str:
    return f"`make record STUDY={name}` (anywhere: set TRICKS_RECORD={name} and run the cell)"


def _view(plan: _Plan, stored: _Stored, seeds: Sequence[int], workers: int | None) -> Recorded:
    """The runs that are asked for, in the order of arms, settings and seeds."""
    jobs = [(arm, seed, s) for arm in plan.arms for s in plan.settings[arm] for seed in seeds]
    keys = [_run_key(*job) for job in jobs]
    rows = pd.DataFrame([stored.rows[key] for key in keys])
    curves = [
        stored.curves[key].assign(arm=job[0], seed=job[1], **job[2])
        for job, key in zip(jobs, keys, strict=True)
        if key in stored.curves
    ]
    about = stored.manifest
    where = str(about.get("device", describe(device())))
    seconds = float(rows["seconds"].sum())
    return Recorded(
        rows=rows,
        curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(),
        data=str(about["data"]),
        device=where,
        about={
            "device": where,
            "date": str(about.get("date", date.today().isoformat())),
            "takes": _words(seconds) + (" of one core" if where == "cpu" else ""),
        },
        _plan=plan,
        _conditions=about["conditions"],
        _workers=workers,
    )


def _words(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes >= 120:
        return f"{minutes / 60:.1f} hours"
    return f"{minutes} minute{'s' * (minutes > 1)}"


# ---- fingerprints -------------------------------------------------------------------------------


def fingerprint(*things: object) -> str:
    """A short sum over functions and values that changes when what they do may have changed.

    Functions of a page go in as their syntax, with whatever they use from the page: comments,
    layout and docstrings do not count, nor does the version of Python. Functions and classes of
    libraries go in by name. Numbers, texts, lists, dicts, tensors and ``functools.partial`` go in
    by value.

    Raises:
        TypeError: something that has no lasting value: a lambda, an open file.
    """
    text = json.dumps([_plain(thing, []) for thing in things])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object, inside: list[int]) -> object:
    """A value as nested lists of text, the same on every machine."""
    if value is None or isinstance(value, bool | str | bytes | Integral):
        return [type(value).__name__, str(value)]
    if isinstance(value, Real):
        return ["number", repr(float(value))]
    if isinstance(value, torch.Tensor | np.ndarray):
        array = np.ascontiguousarray(torch.as_tensor(value).detach().cpu().numpy())
        return ["array", str(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(value, ModuleType):
        return ["module", value.__name__]
    if id(value) in inside:  # a function that calls itself, say
        return ["again", inside.index(id(value))]
    return _made_of(value, [*inside, id(value)])


def _made_of(value: object, inside: list[int]) -> object:
    """``_plain`` for what is made of other things; ``inside`` are those that it is part of."""
    if isinstance(value, Mapping):
        items = [[_plain(k, inside), _plain(v, inside)] for k, v in value.items()]
        return ["mapping", *items]
    if isinstance(value, list | tuple):
        return ["list", *(_plain(item, inside) for item in value)]
    if isinstance(value, partial):
        parts = (value.func, value.args, dict(sorted(value.keywords.items())))
        return ["partial", *(_plain(part, inside) for part in parts)]
    if isinstance(value, FunctionType | type) and _is_own(value):
        return _code(value, inside)
    if hasattr(value, "__qualname__"):
        return ["name", f"{value.__module__}.{value.__qualname__}"]
    if is_dataclass(value):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
        return ["instance", _plain(type(value), inside), _plain(parts, inside)]
    if isinstance(value, torch.device | torch.dtype | torch.Size | range):
        return ["value", str(value)]
    raise TypeError(
        f"a {type(value).__name__} has no fingerprint: give recorded studies functions made with "
        "def, functools.partial, numbers, text, lists and dicts."
    )


def _is_own(value: FunctionType | type) -> bool:
    """Whether the page defines it, rather than an installed library."""
    name = value.__module__ or "__main__"
    top = name.partition(".")[0]
    if name == "__main__":
        return True
    return top not in {"tricks_lib", "builtins", *sys.stdlib_module_names, *_installed()}


@lru_cache(maxsize=1)
def _installed() -> frozenset[str]:
    """The names by which installed libraries are imported, wherever they lie."""
    return frozenset(packages_distributions())


def _code(value: FunctionType | type, inside: list[int]) -> list[object]:
    """The syntax of a function or class of the page, and all of the page that it uses."""
    if isinstance(value, type):
        # Not its source: Python finds that of functions in a notebook, and not that of classes.
        parts = sorted((k, v) for k, v in vars(value).items() if k not in _NO_PART)
        return [
            "class",
            value.__name__,
            *(_plain(base, inside) for base in value.__bases__),
            *([name, _plain(_unwrapped(part), inside)] for name, part in parts),
        ]
    if value.__name__ == "<lambda>":
        raise TypeError("a lambda has no fingerprint of its own: write it as a def with a name.")
    tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    used: dict[str, object] = {}
    for name in sorted(_global_names(value.__code__)):
        if name in value.__globals__ and not hasattr(builtins, name):
            used[name] = value.__globals__[name]
    cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
    used |= {name: cell.cell_contents for name, cell in cells if name != "__class__"}
    defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    return [
        "code",
        _syntax(tree),
        ["defaults", *(_plain(item, inside) for item in defaults)],
        *([name, _plain(item, inside)] for name, item in used.items()),
    ]


# What Python puts into every class.
_NO_PART = frozenset(
    (
        "__module__",
        "__doc__",
        "__dict__",
        "__weakref__",
        "__annotations__",
        "__annotate_func__",
        "__annotations_cache__",
        "__static_attributes__",
        "__firstlineno__",
        "__parameters__",
        "__orig_bases__",
        "__type_params__",
        "__abstractmethods__",
        "_abc_impl",
    )
)


def _unwrapped(part: object) -> object:
    """The function in a static method, a class method or a property, or below its decorators.

    PyTorch decorates an optimizer's step when the first one is made.
    """
    if isinstance(part, FunctionType):
        return inspect.unwrap(part)
    if isinstance(part, staticmethod | classmethod):
        return part.__func__
    return [part.fget, part.fset, part.fdel] if isinstance(part, property) else part


def _global_names(code: CodeType) -> set[str]:
    """What a function looks up in its module, nested functions too."""
    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _global_names(constant)
    return names


def _syntax(node: object) -> object:
    """A syntax tree as lists, without what differs between versions of Python, and docstrings."""
    if isinstance(node, list):
        return [_syntax(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node):
        node.body = node.body[1:]
    kept = [
        [name, _syntax(item)]
        for name, item in ast.iter_fields(node)
        if name not in ("ctx", "kind", "type_comment", "type_params")
        and item is not None
        and item != []
    ]
    return [type(node).__name__, *kept]
