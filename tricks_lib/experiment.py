"""Many runs, compared fairly: the same seeds for every arm, and the paired differences."""

from __future__ import annotations

import os
import pickle
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from numbers import Integral, Real
from types import CodeType, FunctionType
from typing import TypeVar

import joblib
import numpy as np
import pandas as pd
import torch
from joblib.externals.loky.backend.reduction import dumps
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from . import law
from .data import Data
from .device import cpu_threads, describe, device
from .train import History, noted, noting

Arm = Callable[..., "History | Mapping[str, float]"]
MakeData = Callable[..., Data]
Pair = TypeVar("Pair", "Study", "Effect")

# Tuning must not see the seeds that the comparison uses afterwards.
_TUNING_OFFSET = 500


@dataclass(frozen=True)
class Effect:
    """Paired differences between two arms, one per seed.

    Attributes:
        values: metric of ``arm`` minus metric of ``over``, shape (seeds,), in the metric's unit.
        seeds: the seeds, in the same order.
        arm, over: the names of the two arms.
        metric, data, device: what was measured, on what, and where.
        rate: both arms gave 0 or 1, so that the mean is a difference of two rates.
        conditions: what the runs used, in words: images, steps, network, optimizer, tuning.
        diverged: how many runs diverged, with ``arm`` and with ``over``.
        recorded: when and where, for a recorded study; None for a live one.
        of: for an interaction, the gain that differs between ``arm`` and ``over``.
        stored: as in ``Study``.
    """

    values: np.ndarray
    seeds: tuple[int, ...]
    arm: str
    over: str
    metric: str
    data: str
    device: str
    rate: bool = False
    conditions: Mapping[str, str] = field(default_factory=dict)
    diverged: tuple[int, int] = (0, 0)
    recorded: Mapping[str, str] | None = None
    of: str = ""
    stored: Callable[[], Effect] | None = field(default=None, repr=False)

    @property
    def mean(self) -> float:
        """The mean difference."""
        return float(self.values.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 99 % interval of the mean difference, from ``law.interval``.

        Runs that do not vary with the seed have none: both ends are then the mean, for a figure,
        and ``tl.claim`` refuses them.
        """
        if not self.rate and np.ptp(self.values) == 0:
            return self.mean, self.mean
        return law.interval(self.values, rate=self.rate)

    @property
    def low(self) -> float:
        return self.interval[0]

    @property
    def high(self) -> float:
        return self.interval[1]

    def __repr__(self) -> str:
        of = f"gain of {self.of}, " if self.of else ""
        return (
            f"{of}{self.arm} over {self.over}: {self.mean:+.3f} {self.metric} "
            f"[{self.low:+.3f}, {self.high:+.3f}], {len(self.values)} seeds"
        )


def interaction(gains: Mapping[str, Effect]) -> Effect:
    """Does a trick gain more here than there? The difference of two gains, seed by seed.

    ``tl.interaction({"900 steps": longer, "300 steps": short})`` is the gain with 900 steps minus
    the gain with 300, with an interval of its own. That one gain holds and another does not would
    not show that they differ.

    Args:
        gains: two names to two effects of the same metric, on the same seeds.

    Raises:
        ValueError: not two effects, or effects that differ in seeds or metric.
    """
    if len(gains) != 2:
        raise ValueError(f"an interaction has two gains, not {len(gains)}: here and there.")
    (here, there), (first, second) = gains, _alike(*gains.values())
    if first.seeds != second.seeds or first.metric != second.metric:
        raise ValueError("these effects differ in seeds or metric; measure both alike.")
    names = dict.fromkeys([f"{first.arm} over {first.over}", f"{second.arm} over {second.over}"])
    return Effect(
        first.values - second.values,
        first.seeds,
        here,
        there,
        first.metric,
        first.data if first.data == second.data else f"{first.data}, {second.data}",
        first.device,
        conditions=_joined(first.conditions, second.conditions),
        diverged=(sum(first.diverged), sum(second.diverged)),
        recorded=first.recorded or second.recorded,
        of=" and ".join(names),
        stored=first.stored
        and second.stored
        and (lambda: interaction({here: first.stored(), there: second.stored()})),
    )


def _alike(first: Pair, second: Pair) -> tuple[Pair, Pair]:
    """Two studies or effects, both measured again or both as they were recorded.

    One that was measured again, with other seeds or a longer training, and one that is only read
    would say nothing of each other.
    """
    if first.stored and second.recorded:
        return first.stored(), second
    if second.stored and first.recorded:
        return first, second.stored()
    return first, second


@dataclass(frozen=True)
class Study:
    """The runs of ``compare``.

    Attributes:
        table: a row per run: ``arm``, ``seed`` and a column per metric.
        curves: a row per record of each run: ``arm``, ``seed``, ``step``, ``epoch``, losses and
            metrics. Empty when the arms gave back plain numbers.
        data, device: what the runs used, in words.
        conditions: for each arm what its runs used: images, steps, network, optimizer, tuning.
        diverged: for each arm the seeds whose run diverged: what the arm itself gave back under
            this name, as the ``metrics`` of a ``History`` do, or else what its last training did.
        picks: a row per run of an arm that was tuned inside the seed: ``arm``, ``seed``, the
            setting that it picked, and whether that lies on the grid's ``edge``.
        recorded: when and where, for a recorded study; None for a live one.
        stored: of a recorded study that ``make replicate`` or ``make stress`` measured again, a
            function that gives the same study as it was recorded; None otherwise.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    data: str
    device: str
    conditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    diverged: Mapping[str, Sequence[int]] = field(default_factory=dict)
    picks: pd.DataFrame = field(default_factory=pd.DataFrame)
    recorded: Mapping[str, str] | None = None
    stored: Callable[[], Study] | None = field(default=None, repr=False)

    @property
    def arms(self) -> list[str]:
        """The names of the arms, in the order in which they were given."""
        return list(self.table["arm"].unique())

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics."""
        return [name for name in self.table.columns if name not in ("arm", "seed")]

    def only(self, arms: Sequence[str] | Mapping[str, str]) -> Study:
        """The same study with some of its arms, in this order; a mapping also renames them.

        Raises:
            KeyError: no such arm.
        """
        names = dict(arms) if isinstance(arms, Mapping) else {arm: arm for arm in arms}
        for arm in names:
            self.values(arm, self.metrics[0])

        def chosen(rows: pd.DataFrame) -> pd.DataFrame:
            if "arm" not in rows:
                return rows
            parts = [rows[rows["arm"] == arm].assign(arm=name) for arm, name in names.items()]
            return pd.concat(parts, ignore_index=True)

        return replace(
            self,
            table=chosen(self.table),
            curves=chosen(self.curves),
            picks=chosen(self.picks),
            conditions={
                n: self.conditions[arm] for arm, n in names.items() if arm in self.conditions
            },
            diverged={n: self.diverged[arm] for arm, n in names.items() if arm in self.diverged},
            stored=self.stored and (lambda: self.stored().only(arms)),
        )

    def joined(self, other: Study) -> Study:
        """This study with the arms of another one, measured on the same data and seeds.

        Arms of both can then be compared. When and where it was recorded is told of this one. A
        study that was measured again, with other seeds or a longer training, joins one that is
        only read as it was recorded: arms with unlike budgets say nothing of each other.

        Raises:
            ValueError: other data, other seeds or their order, or an arm that stands in both.
        """
        self, other = _alike(self, other)
        if both := [arm for arm in other.arms if arm in self.arms]:
            raise ValueError(f"both studies have an arm {both[0]!r}: rename one with only().")
        # Effects are paired by place, so the order counts.
        seeds, others = (list(study.table["seed"].unique()) for study in (self, other))
        if self.data != other.data or seeds != others:
            raise ValueError("these studies differ in data or seeds; measure both alike.")

        def stacked(*tables: pd.DataFrame) -> pd.DataFrame:
            filled = [table for table in tables if len(table)]
            return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()

        return replace(
            self,
            table=stacked(self.table, other.table),
            curves=stacked(self.curves, other.curves),
            picks=stacked(self.picks, other.picks),
            conditions={**self.conditions, **other.conditions},
            diverged={**self.diverged, **other.diverged},
            stored=self.stored and other.stored and (lambda: self.stored().joined(other.stored())),
        )

    def values(self, arm: str, metric: str = "test_accuracy") -> np.ndarray:
        """One arm's metric, in the order of the seeds, shape (seeds,).

        Raises:
            KeyError: no such arm, or no such metric.
        """
        if arm not in self.arms:
            raise KeyError(f"no arm {arm!r} in this study; it has {self.arms}.")
        if metric not in self.metrics:
            raise KeyError(f"no metric {metric!r} in this study; it has {self.metrics}.")
        return self.table.loc[self.table["arm"] == arm, metric].to_numpy(dtype=float)

    def effect(self, arm: str, over: str, metric: str = "test_accuracy") -> Effect:
        """Paired differences ``arm - over``.

        Raises:
            KeyError: no such arm, or no such metric.
            ValueError: fewer than two seeds, or runs without a value.
        """
        both = self.values(arm, metric), self.values(over, metric)
        values = both[0] - both[1]
        if len(values) < 2:
            raise ValueError("an interval needs two seeds at least; five are the first look here.")
        if not np.isfinite(values).all():
            raise ValueError(
                f"some runs have no {metric}; give those runs a value, such as the whole budget."
            )
        seeds = tuple(int(s) for s in self.table.loc[self.table["arm"] == arm, "seed"])
        return Effect(
            values,
            seeds,
            arm,
            over,
            metric,
            self.data,
            self.device,
            rate=bool(np.isin(both, (0.0, 1.0)).all()),
            conditions=_joined(self.conditions.get(arm, {}), self.conditions.get(over, {})),
            diverged=(len(self.diverged.get(arm, ())), len(self.diverged.get(over, ()))),
            recorded=self.recorded,
            stored=self.stored and (lambda: self.stored().effect(arm, over, metric)),
        )

    def summary(self, metric: str = "test_accuracy") -> pd.DataFrame:
        """Mean, standard deviation, lowest and highest run of each arm; arms are the rows."""
        rows = pd.DataFrame({arm: self.values(arm, metric) for arm in self.arms})
        return rows.agg(["mean", "std", "min", "max"]).T


@dataclass(frozen=True)
class Sweep:
    """What ``sweep`` found.

    Attributes:
        table: a row per arm and setting: the settings and the mean validation metric.
        best: for each arm the setting that it takes, such as ``{"plain": {"lr": 0.1}}``.
        arms: the arms with that setting filled in, ready for ``compare``.
        ties: for each arm the settings within one standard error of its best.
        edges: for each arm the names of settings that it takes from an end of their values; the
            best may lie beyond, so widen the grid before a claim rests on it.
    """

    table: pd.DataFrame
    best: dict[str, dict[str, object]]
    arms: dict[str, Arm]
    ties: dict[str, list[dict[str, object]]]
    edges: dict[str, list[str]]

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {self._words(name)}" for name in self.best)

    def _words(self, name: str) -> str:
        text = _setting(self.best[name])
        if len(self.ties[name]) > 1:
            text += f", the middle of a tie of {len(self.ties[name])} settings"
        if self.edges[name]:
            text += f", on the grid's edge in {' and '.join(self.edges[name])}: widen it"
        return text


@dataclass(frozen=True)
class Tuned:
    """An arm with tuned settings; ``compare`` puts into the record how they were found."""

    arm: Arm
    settings: Mapping[str, object]
    how: str
    tuned_at: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, data: Data, **changes: object) -> History | Mapping[str, float]:
        return self.arm(data, **{**self.settings, **changes})


@dataclass(frozen=True)
class TunedInside:
    """An arm that tunes itself for each seed; ``tuned`` makes it."""

    arm: Arm
    grid: Mapping[str, Sequence]
    metric: str
    higher_is_better: bool

    def __call__(self, data: Data, **changes: object) -> History | Mapping[str, float]:
        state = torch.get_rng_state()
        best, best_score = [], -np.inf
        for setting in _settings(self.grid):
            torch.set_rng_state(state)  # every setting starts alike
            random.seed(data.seed)
            np.random.seed(data.seed % 2**32)
            with noting() as notes:
                result = self.arm(_copied(data), **{**setting, **changes})
            score = _metrics(result, "a tuned arm").get(self.metric, np.nan)
            score = score if self.higher_is_better else -score
            if np.isfinite(score) and score > best_score:
                best, best_score = [], score
            if score == best_score:
                best.append((result, setting, notes))
        if not best:
            raise ValueError(f"no setting of {dict(self.grid)} gave a finite {self.metric}.")
        result, picked, kept = best[(len(best) - 1) // 2]  # of equals the middle one, as everywhere
        _pass_on(kept, {**picked, "edge": bool(_edges(self.grid, picked)), "tie": len(best) > 1})
        return result


def tuned(
    arm: Arm,
    grid: Mapping[str, Sequence],
    *,
    metric: str = "val_loss",
    higher_is_better: bool | None = None,
) -> Arm:
    """An arm that tunes itself inside the seed, so that its interval holds the luck of tuning.

    For each seed it trains every setting of the grid, from the same start, and keeps the run that
    its own validation set likes best. The test scores of the others are thrown away unseen.

    Args:
        arm: a function of ``(data, **settings)``.
        grid: setting to values, such as ``{"lr": [0.01, 0.1, 1.0]}``; all combinations are tried.
        metric: what to choose by. The loss is finer than the accuracy; of equal ones it takes the
            middle one.
        higher_is_better: must be said for whatever is neither an accuracy nor a loss.

    Returns:
        A function of the data, for ``compare``.

    Raises:
        ValueError, TypeError: an empty grid, a metric of the test set, or an unclear direction.
    """
    _settings(grid)
    return TunedInside(arm, dict(grid), metric, _direction(metric, higher_is_better))


def once(function: Callable, *arguments: object) -> object:
    """``function(*arguments)``, worked out once in a process: a pretrained network, say.

    The runs of a seed share it, each as a copy of its own. The function gets fresh random numbers,
    best seeded by itself; those of the run that asks first go on as if nothing had happened.

    Args:
        function: a function of the page or of a library.
        arguments: what it is called with, such as a seed; they must be hashable.

    Returns:
        What the function gave; the eight that were made last are kept.
    """
    key = (_codes(function), arguments, os.environ.get("TRICKS_BUDGET"), device())
    if key not in _ONCE:
        states = random.getstate(), np.random.get_state()
        with torch.random.fork_rng(), noting():
            _seed_all(0)  # for whoever does not seed anything: the same in every process
            _ONCE[key] = function(*arguments)
        random.setstate(states[0])
        np.random.set_state(states[1])
        for old in list(_ONCE)[:-8]:
            del _ONCE[old]
    return deepcopy(_ONCE[key])


_ONCE: dict[tuple, object] = {}


def _codes(function: object, found: tuple = ()) -> tuple:
    """A function's code, and what it names: runs get copies, which are no longer the function."""
    while isinstance(function, partial):
        found, function = (*found, str(function.args), str(function.keywords)), function.func
    code = getattr(function, "__code__", None)
    if code is None or code in found:
        return found if code else (*found, function)
    found = (*found, code)
    for name in _names(code):
        used = function.__globals__.get(name)
        if isinstance(used, FunctionType | partial):
            found = _codes(used, found)
        elif isinstance(used, str | int | float | tuple):
            found = (*found, name, repr(used))
    return found


def _names(code: CodeType) -> list[str]:
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return [*code.co_names, *(name for part in inner for name in _names(part))]


def compare(
    arms: Mapping[str, Arm],
    data: MakeData,
    seeds: int | Sequence[int] = 10,
    *,
    workers: int | None = None,
) -> Study:
    """Run every arm with every seed and put the results side by side.

    A seed fixes the split of the data, the random initialisation and the order of the batches
    alike for all arms, so that arms differ in the trick alone and can be compared in pairs.
    On a CPU the runs go to parallel processes, one thread each; on a GPU they follow each other
    in this process. Every run gets its own copy of its arm and of the data, so the numbers do not
    depend on the number of workers.

    Args:
        arms: name to function. It is called with a ``Data`` and gives back a ``History``, or a
            dict of numbers. One that trains many networks and keeps one gives back ``diverged`` of
            that one; without it, the last training tells.
        data: makes the data of one seed; called as ``data(seed=3)``. ``tl.glyphs``, say, or
            ``functools.partial(tl.glyphs, n_train=100)``.
        seeds: how many, or which ones. ``TRICKS_SEED=k`` in the environment shifts the seeds (a
            fresh replication), ``TRICKS_SEEDS=n`` caps how many there are (a quick look).
        workers: parallel processes. Default ``TRICKS_WORKERS``, or the number of cores; on a GPU
            one, and several where its memory holds as many runs. Inside
            ``joblib.parallel_config(backend=...)`` that backend carries the runs, a cluster's too,
            if it uses processes of one thread each.

    Returns:
        A ``Study``. Runs that diverged are in it, with the scores of a blind guess.

    Raises:
        ValueError, TypeError: no arms, no seeds or one twice, or data that are not a function or
            do not follow the seed.
        RuntimeError: an arm failed, and the message names the arm and the seed; or a worker died,
            or would share its memory with others.
    """
    _check(arms, data)
    return _compare(arms, data, _shifted(_seeds(seeds)), workers)


def _compare(
    arms: Mapping[str, Arm], data: MakeData, seeds: Sequence[int], workers: int | None
) -> Study:
    """``compare`` with the very seeds that are given."""
    packed = {name: _packed(name, arm) for name, arm in arms.items()}
    settings = {k: v for k, v in os.environ.items() if k.startswith("TRICKS_")}
    jobs = [(name, packed[name], data, seed, settings) for seed in seeds for name in arms]
    results = list(_in_parallel(_run, jobs, _workers(workers, len(jobs))))
    order = {name: i for i, name in enumerate(arms)}
    results.sort(key=lambda run: (order[run.row["arm"]], seeds.index(run.row["seed"])))
    curves = [run.curve for run in results if run.curve is not None]
    diverged = {name: [] for name in arms}
    for run in results:
        if _has_diverged(run):
            diverged[run.row["arm"]].append(run.row["seed"])
    picks = [
        {"arm": run.row["arm"], "seed": run.row["seed"], **note["picked"]}
        for run in results
        for note in run.notes
        if "picked" in note
    ]
    return Study(
        table=pd.DataFrame([run.row for run in results]),
        curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(),
        data=results[0].data,
        device=describe(device()),
        conditions={
            name: _conditions(arm, [run for run in results if run.row["arm"] == name])
            for name, arm in arms.items()
        },
        diverged=diverged,
        picks=pd.DataFrame(picks),
    )


def _in_parallel(function: Callable, jobs: Sequence[tuple], workers: int) -> Iterator:
    """What ``function`` gives for each job, in whatever order they end."""
    backend = joblib.parallel.get_active_backend()[0]
    name = type(backend).__name__
    if getattr(backend, "uses_threads", False) and name != "SequentialBackend":
        raise RuntimeError(
            f"joblib's {name} runs several trainings in one process, where they draw each other's "
            "random numbers; choose backend='loky', or leave the choice to tricks_lib."
        )
    # Dask and loky hand back each run as it ends; multiprocessing can only give them all at last.
    as_they_end = getattr(backend, "supports_return_generator", False)
    try:
        with warnings.catch_warnings():
            # joblib replaces a worker whose memory grew; the numbers are the same.
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
            parallel = joblib.Parallel(
                n_jobs=workers, return_as="generator_unordered" if as_they_end else "list"
            )
            found = parallel(joblib.delayed(function)(*job) for job in jobs)
            yield from tqdm(found, total=len(jobs), leave=False, unit="run")
    except TerminatedWorkerError as error:
        raise RuntimeError(
            "a worker process was killed, most often because memory ran out: give fewer "
            "workers=..., or smaller data."
        ) from error


def sweep(
    arms: Mapping[str, Arm],
    data: MakeData,
    grid: Mapping[str, Sequence],
    seeds: int = 3,
    *,
    metric: str = "val_accuracy",
    higher_is_better: bool | None = None,
    workers: int | None = None,
) -> Sweep:
    """Tune every arm once on validation data with the same budget: each setting of ``grid``.

    The seeds are others than those of ``compare``, and test scores are thrown away unseen. All
    runs of ``compare`` then share the setting, so its interval leaves out the luck of tuning:
    ``tuned`` holds it. Settings within one standard error of the best are a tie, of which the
    middle one is taken. Tune with the data, the budget and the metric of the comparison.

    Args:
        arms: name to function of ``(data, **settings)``.
        data: makes the data of one seed, as in ``compare``.
        grid: setting to values, such as ``{"lr": [0.01, 0.1, 1.0]}``; all combinations are tried.
        seeds: runs per setting; one if ``TRICKS_SEEDS`` asks for a quick look.
        metric: what to choose by; ``val_accuracy`` or another validation metric.
        higher_is_better: must be said for whatever is neither an accuracy nor a loss.
        workers: as in ``compare``.

    Returns:
        A ``Sweep``; printing it tells ties and values on an edge of the grid.

    Raises:
        ValueError, TypeError: an empty grid, a metric of the test set, an unclear direction, or
            an arm of which no setting gave a number.
    """
    higher = _direction(metric, higher_is_better)
    settings = _settings(grid)
    _check(arms, data)
    trials = {
        f"{name} {i}": partial(arm, **setting)
        for name, arm in arms.items()
        for i, setting in enumerate(settings)
    }
    tuning = [_TUNING_OFFSET + s for s in _seeds(seeds)]
    if os.environ.get("TRICKS_SEEDS"):
        tuning = tuning[:1]  # for a quick look one will do
    study = _compare(trials, data, _shifted(tuning), workers)
    scores = {
        name: np.stack([study.values(f"{name} {i}", metric) for i in range(len(settings))])
        for name in arms
    }
    rows = [
        {"arm": name, **setting, metric: scores[name][i].mean()}
        for name in arms
        for i, setting in enumerate(settings)
    ]
    tied = {name: _tied(name, found if higher else -found) for name, found in scores.items()}
    best = {name: settings[places[(len(places) - 1) // 2]] for name, places in tied.items()}
    found = Sweep(
        table=pd.DataFrame(rows),
        best=best,
        arms={},
        ties={name: [settings[i] for i in places] for name, places in tied.items()},
        edges={name: _edges(grid, best[name]) for name in arms},
    )
    for name, arm in arms.items():
        how = f"{found._words(name)}; by {metric} on {len(tuning)} other seeds, of {dict(grid)}"
        found.arms[name] = Tuned(arm, best[name], how, study.conditions[f"{name} 0"])
    return found


def _tied(name: str, scores: np.ndarray) -> list[int]:
    """The settings within one standard error of the best; ``scores`` is (settings, seeds)."""
    means = scores.mean(axis=1)
    if not np.isfinite(means).any():
        raise ValueError(f"no setting of arm {name!r} gave a number on all seeds; widen the grid.")
    top = int(np.nanargmax(means))
    behind = scores[top] - scores  # paired, so that an easy seed is easy for all settings
    seeds = scores.shape[1]
    error = behind.std(axis=1, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.zeros(len(means))
    return [i for i in range(len(means)) if behind[i].mean() <= error[i]]


@dataclass(frozen=True)
class _Run:
    """What one run left: a row of numbers, a curve, the data's name and what ``fit`` noted."""

    row: dict[str, object]
    curve: pd.DataFrame | None
    data: str
    notes: list[dict[str, object]]


def _has_diverged(run: _Run) -> bool:
    """Whether the run that counts diverged: an arm that trains many networks says of which."""
    if "diverged" in run.row:
        return bool(run.row["diverged"])
    return bool(run.notes and run.notes[-1]["diverged"])


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _copied(data: Data) -> Data:
    """The same data in tensors of their own: what one run writes there, no other one sees."""
    if not isinstance(data, Data):
        return data
    copied = copy(data)  # without another check: the numbers are the same
    for name, value in vars(data).items():
        if isinstance(value, torch.Tensor):
            object.__setattr__(copied, name, value.clone())
    return copied


def _run(
    name: str,
    packed: bytes,
    make_data: MakeData,
    seed: int,
    settings: Mapping[str, str],
    shared: bool = False,
) -> _Run:
    """One run, in whatever process: seed everything, make the data, train.

    ``shared`` data go in as they are; whoever asks for that sees to it that nobody writes to them.
    """
    _refuse_threads()
    arm = pickle.loads(packed)  # a copy of its own: what one run changes, no other one sees
    with _environment(settings), torch.random.fork_rng(), cpu_threads(), noting() as notes:
        data = _made(make_data, seed)
        data = data if shared else _copied(data)
        _seed_all(seed)
        try:
            result = arm(data)
        except Exception as error:
            raise RuntimeError(f"arm {name!r} failed with seed {seed}: {error}") from error
    row = {"arm": name, "seed": seed, **_metrics(result, f"arm {name!r}")}
    is_history = isinstance(result, History)
    curve = result.curve.assign(arm=name, seed=seed) if is_history else None
    return _Run(row, curve, data.name, list(notes))


def _metrics(result: object, who: str) -> dict[str, float]:
    """The numbers that an arm gave back."""
    if isinstance(result, History):
        return result.metrics
    if not isinstance(result, Mapping):
        raise TypeError(
            f"{who} gave back a {type(result).__name__}; give back the History of tl.fit, "
            "or a dict of numbers."
        )
    try:
        return {key: float(value) for key, value in result.items()}
    except (TypeError, ValueError) as error:
        raise TypeError(f"{who} gave back {dict(result)}, where all values must be numbers.") from (
            error
        )


def _made(make_data: MakeData, seed: int) -> Data:
    """The data of one seed, if they follow it."""
    try:
        data = make_data(seed=seed)
    except TypeError as error:
        if "seed" not in str(error):
            raise
        raise TypeError(
            f"data must be a function of seed, called as data(seed={seed}): {error}"
        ) from error
    if isinstance(data, Data) and data.seed != seed:
        raise ValueError(
            f"data(seed={seed}) gave data of seed {data.seed}: the same data for every seed make "
            "every run the same. Split your own data anew for each seed with "
            "tl.Data.from_arrays(x, y, seed=seed)."
        )
    return data


def _packed(name: str, arm: Arm) -> bytes:
    try:
        return bytes(dumps(arm))
    except Exception as error:
        raise TypeError(
            f"arm {name!r} cannot be copied to another process ({error}): open files, locks and "
            "connections inside the arm, not outside of it."
        ) from error


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Give a worker the caller's ``TRICKS_...``, however long it has been alive."""
    before = {k: v for k, v in os.environ.items() if k.startswith("TRICKS_")}
    try:
        for name in before.keys() - settings.keys():
            del os.environ[name]
        os.environ.update(settings)
        yield
    finally:
        for name in settings.keys() - before.keys():
            os.environ.pop(name, None)
        os.environ.update(before)


def _refuse_threads() -> None:
    """A dask worker with several threads would mix the random numbers of its runs."""
    if "distributed" not in sys.modules:
        return
    try:
        threads = sys.modules["distributed"].get_worker().state.nthreads
    except ValueError:  # this process is no worker
        return
    if threads > 1:
        raise RuntimeError(
            f"this dask worker has {threads} threads, which draw each other's random numbers: "
            "start the workers with one thread each, as in LocalCluster(threads_per_worker=1)."
        )


def _pass_on(notes: Sequence[dict[str, object]], picked: dict[str, object]) -> None:
    """Hand the notes of the setting that was picked to whoever collects them outside."""
    outside = noted()
    if outside is not None:
        outside += notes or [{"diverged": False}]
        outside[-1]["picked"] = picked


# What `fit` notes, and the words that a record has for it.
_WORDS = {
    "images": "training examples",
    "steps": "steps",
    "batch_size": "batch size",
    "optimizer": "optimizer",
    "network": "network",
}

# How many learning rates of one run are told one by one.
_FEW_RATES = 4


def _conditions(arm: Arm, runs: Sequence[_Run]) -> dict[str, str]:
    """What an arm's runs used, in words, from the notes of its first seed."""
    notes = runs[0].notes
    found = {}
    for key, words in _WORDS.items():
        values = dict.fromkeys(str(note[key]) for note in notes if key in note)
        if values:
            found[words] = " then ".join(values)
    how = arm
    while isinstance(how, partial):
        how = how.func
    if isinstance(how, TunedInside):
        picked = [note["picked"] for run in runs for note in run.notes if "picked" in note]
        edges = sum(setting["edge"] for setting in picked)
        found["tuned"] = (
            f"inside each seed by {how.metric}, of {dict(how.grid)}; "
            f"on the grid's edge in {edges} of {len(runs)} runs"
        )
    elif isinstance(how, Tuned):
        same = {"training examples", "steps"}
        other = [
            f"{how.tuned_at[k]} {k}" for k in sorted(same) if how.tuned_at.get(k) != found.get(k)
        ]
        found["tuned"] = how.how + (f", with {' and '.join(other)}" if any(other) else "")
    elif rates := list(dict.fromkeys(float(note["lr"]) for note in notes if "lr" in note)):
        found["learning rate"] = _rates(rates)
    return found


def _rates(rates: Sequence[float]) -> str:
    """The learning rates of one run in words; of several the run may have chosen one itself."""
    if len(rates) == 1:
        return f"{rates[0]:g}, not tuned here"
    if len(rates) <= _FEW_RATES:
        return " then ".join(f"{rate:.3g}" for rate in rates) + " within the first run"
    return f"{min(rates):.3g} to {max(rates):.3g}, {len(rates)} of them within the first run"


def _joined(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """The conditions of two arms: one value where they agree, else both."""
    found = {}
    for key in dict.fromkeys([*first, *second]):
        both = first.get(key, "-"), second.get(key, "-")
        found[key] = both[0] if both[0] == both[1] else f"{both[0]} against {both[1]}"
    return found


def _settings(grid: Mapping[str, Sequence]) -> list[dict[str, object]]:
    """All combinations of a grid's values."""
    for name, values in grid.items():
        if isinstance(values, str) or not hasattr(values, "__iter__"):
            raise TypeError(f"grid[{name!r}]={values!r} must be a list of values to try.")
    settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    if not grid or not settings:
        raise ValueError("grid is empty; name a setting and its values: {'lr': [0.01, 0.1]}.")
    return settings


def _setting(setting: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in setting.items())


def _edges(grid: Mapping[str, Sequence], best: Mapping[str, object]) -> list[str]:
    """The settings whose best value is the lowest or the highest of three numbers or more."""
    found = []
    for name, values in grid.items():
        numbers = [getattr(v, "item", lambda v=v: v)() for v in values]  # NumPy's and tensors' too
        if len(numbers) < 3 or not all(_is_number(v) for v in numbers):
            continue
        if best[name] in (min(numbers), max(numbers)):
            found.append(name)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _direction(metric: str, higher_is_better: bool | None) -> bool:
    if metric.startswith("test"):
        raise ValueError(f"metric={metric!r} would tune on the test set; use 'val_accuracy'.")
    if higher_is_better is not None:
        return higher_is_better
    if metric.endswith("accuracy"):
        return True
    if metric.endswith("loss"):
        return False
    raise ValueError(f"say whether more {metric} is better: higher_is_better=True or False.")


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    """The seeds that are asked for, capped by ``TRICKS_SEEDS`` for a quick look."""
    if isinstance(seeds, Integral) and not isinstance(seeds, bool):
        chosen = list(range(int(seeds)))
    elif isinstance(seeds, str | float | bool):
        raise TypeError(f"seeds={seeds!r} must be how many seeds, or a list of them.")
    else:
        if strange := [s for s in seeds if s != int(s)]:
            raise TypeError(f"seeds has {strange[0]!r} in it; a seed is a whole number.")
        chosen = [int(s) for s in seeds]
    if not chosen:
        raise ValueError(f"seeds={seeds!r} leaves nothing to run; five seeds are the first look.")
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"seeds={chosen} has a seed twice; a second run of it adds nothing new.")
    return chosen[: _number_from("TRICKS_SEEDS", len(chosen), least=2)]


def _shifted(seeds: Sequence[int]) -> list[int]:
    """Fresh seeds for a replication: all are shifted alike, so that none meets another."""
    shift = 1000 * _number_from("TRICKS_SEED", 0, least=0)
    return [s + shift for s in seeds]


def _number_from(name: str, default: int, least: int) -> int:
    """A whole number from the environment."""
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdigit() or int(text) < least:
        raise ValueError(f"{name}={text!r} must be a whole number from {least} up, or unset.")
    return int(text)


def _workers(workers: int | None, jobs: int) -> int:
    # How many runs fit on a GPU side by side, only who knows its memory can say.
    usual = joblib.cpu_count() if device().type == "cpu" else 1
    wanted = workers or _number_from("TRICKS_WORKERS", usual, least=1)
    return max(1, min(wanted, jobs))


def _check(arms: Mapping[str, Arm], data: MakeData) -> None:
    if not isinstance(arms, Mapping):
        raise TypeError(
            f"arms is a {type(arms).__name__}; give names to functions: "
            "{'plain': train, 'trick': train_it}."
        )
    if not arms:
        raise ValueError("there are no arms to compare; give {'plain': train, 'trick': train_it}.")
    for name, arm in arms.items():
        if not callable(arm):
            raise TypeError(f"arm {name!r} must be a function of the data, not {arm!r}.")
    if not callable(data):
        raise TypeError(
            "data must be a function of the seed, such as tl.glyphs (without brackets) or "
            "functools.partial(tl.glyphs, n_train=100)."
        )
