"""Many runs, compared fairly: the same seeds for every arm, and the paired differences."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import joblib
import numpy as np
import pandas as pd
import torch
from scipy import stats
from tqdm import tqdm

from .data import Data
from .device import cpu_threads, describe, device
from .train import History

Arm = Callable[..., "History | Mapping[str, float]"]
MakeData = Callable[..., Data]

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
    """

    values: np.ndarray
    seeds: tuple[int, ...]
    arm: str
    over: str
    metric: str
    data: str
    device: str

    @property
    def mean(self) -> float:
        """The mean difference."""
        return float(self.values.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean difference, from Student's t."""
        if np.ptp(self.values) == 0:  # every seed says the same; t would divide by zero
            return self.mean, self.mean
        found = stats.ttest_1samp(self.values, 0.0).confidence_interval(0.95)
        return float(found.low), float(found.high)

    @property
    def low(self) -> float:
        return self.interval[0]

    @property
    def high(self) -> float:
        return self.interval[1]

    @property
    def detectable(self) -> float:
        """The smallest effect that so many seeds find in 80 % of all studies (Bloom 1995)."""
        n = len(self.values)
        error = self.values.std(ddof=1) / np.sqrt(n)
        return float((stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.80, n - 1)) * error)

    def __sub__(self, other: Effect) -> Effect:
        """The difference of two gains, seed by seed: does the trick gain more here than there?"""
        if self.seeds != other.seeds or self.metric != other.metric:
            raise ValueError("these effects differ in seeds or metric; measure both alike.")
        data = self.data if self.data == other.data else f"{self.data}, {other.data}"
        return Effect(
            self.values - other.values,
            self.seeds,
            f"{self.arm} over {self.over}",
            f"{other.arm} over {other.over}",
            self.metric,
            data,
            self.device,
        )

    def __repr__(self) -> str:
        return (
            f"{self.arm} over {self.over}: {self.mean:+.3f} {self.metric} "
            f"[{self.low:+.3f}, {self.high:+.3f}], {len(self.values)} seeds"
        )


@dataclass(frozen=True)
class Study:
    """The runs of ``compare``.

    Attributes:
        table: a row per run: ``arm``, ``seed`` and a column per metric.
        curves: a row per record of each run: ``arm``, ``seed``, ``step``, ``epoch``, losses and
            metrics. Empty when the arms gave back plain numbers.
        data, device: what the runs used, in words.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    data: str
    device: str

    @property
    def arms(self) -> list[str]:
        """The names of the arms, in the order in which they were given."""
        return list(self.table["arm"].unique())

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics."""
        return [name for name in self.table.columns if name not in ("arm", "seed")]

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
        values = self.values(arm, metric) - self.values(over, metric)
        if len(values) < 2:
            raise ValueError("an interval needs at least two seeds; ten are the rule here.")
        if not np.isfinite(values).all():
            raise ValueError(
                f"some runs have no {metric}; give those runs a value, such as the whole budget."
            )
        seeds = tuple(int(s) for s in self.table.loc[self.table["arm"] == arm, "seed"])
        return Effect(values, seeds, arm, over, metric, self.data, self.device)

    def summary(self, metric: str = "test_accuracy") -> pd.DataFrame:
        """Mean, standard deviation, lowest and highest run of each arm; arms are the rows."""
        rows = pd.DataFrame({arm: self.values(arm, metric) for arm in self.arms})
        return rows.agg(["mean", "std", "min", "max"]).T


@dataclass(frozen=True)
class Sweep:
    """What ``sweep`` found.

    Attributes:
        table: a row per arm and setting: the settings and the mean validation metric.
        best: for each arm its best setting, such as ``{"plain": {"lr": 0.1}}``.
        arms: the arms with their best setting filled in, ready for ``compare``.
    """

    table: pd.DataFrame
    best: dict[str, dict[str, object]]
    arms: dict[str, Arm]


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
    in this process. The numbers do not depend on the number of workers.

    Args:
        arms: name to function. It is called with a ``Data`` and gives back a ``History``, or a
            dict of numbers.
        data: makes the data of one seed; called as ``data(seed=3)``. ``tl.glyphs``, say, or
            ``functools.partial(tl.glyphs, n_train=100)``.
        seeds: how many, or which ones. ``TRICKS_SEED=k`` in the environment shifts the seeds (a
            fresh replication), ``TRICKS_SEEDS=n`` caps how many there are (a quick look).
        workers: parallel processes. Default ``TRICKS_WORKERS``, or the number of cores. Inside
            ``joblib.parallel_config(backend=...)`` that backend carries the runs.

    Returns:
        A ``Study``. Runs that diverged are in it, with the scores of a blind guess.

    Raises:
        ValueError, TypeError: no arms, no seeds, or data that are not a function.
        RuntimeError: an arm failed; the message names the arm and the seed.
    """
    _check(arms, data)
    chosen = _seeds(seeds)
    jobs = [(name, arm, seed) for seed in chosen for name, arm in arms.items()]
    with warnings.catch_warnings():
        # joblib replaces a worker whose memory grew; the numbers are the same.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        parallel = joblib.Parallel(n_jobs=_workers(workers, len(jobs)), return_as="generator")
        found = parallel(joblib.delayed(_run)(name, arm, data, seed) for name, arm, seed in jobs)
        results = list(tqdm(found, total=len(jobs), leave=False, unit="run"))
    order = {name: i for i, name in enumerate(arms)}
    results.sort(key=lambda result: (order[result[0]["arm"]], chosen.index(result[0]["seed"])))
    curves = [curve for _, curve, _ in results if curve is not None]
    return Study(
        table=pd.DataFrame([row for row, _, _ in results]),
        curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(),
        data=results[0][2],
        device=describe(device()),
    )


def sweep(
    arms: Mapping[str, Arm],
    data: MakeData,
    grid: Mapping[str, Sequence],
    seeds: int = 3,
    *,
    metric: str = "val_accuracy",
    higher_is_better: bool = True,
    workers: int | None = None,
) -> Sweep:
    """Tune every arm on validation data with the same budget: each setting of ``grid``.

    The seeds are others than those of ``compare``, and test scores are thrown away unseen.

    Args:
        arms: name to function of ``(data, **settings)``.
        data: makes the data of one seed, as in ``compare``.
        grid: setting to values, such as ``{"lr": [0.01, 0.1, 1.0]}``; all combinations are tried.
        seeds: runs per setting; one if ``TRICKS_SEEDS`` asks for a quick look.
        metric: what to choose by; ``val_accuracy`` or another validation metric.
        higher_is_better: False for a loss.
        workers: as in ``compare``.

    Raises:
        ValueError: an empty grid, or a metric of the test set.
    """
    if metric.startswith("test"):
        raise ValueError(f"metric={metric!r} would tune on the test set; use 'val_accuracy'.")
    settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    if not grid or not settings:
        raise ValueError("grid is empty; name a setting and its values: {'lr': [0.01, 0.1]}.")
    trials = {
        f"{name} {i}": partial(arm, **setting)
        for name, arm in arms.items()
        for i, setting in enumerate(settings)
    }
    tuning = [_TUNING_OFFSET + s for s in _seeds(seeds)]
    if "TRICKS_SEEDS" in os.environ:
        tuning = tuning[:1]  # for a quick look one will do
    study = compare(trials, data, tuning, workers=workers)
    rows = [
        {"arm": name, **setting, metric: study.values(f"{name} {i}", metric).mean()}
        for name in arms
        for i, setting in enumerate(settings)
    ]
    table = pd.DataFrame(rows)
    best = {}
    for name in arms:
        scores = table.loc[table["arm"] == name, metric].to_numpy()
        best[name] = settings[int(np.nanargmax(scores if higher_is_better else -scores))]
    return Sweep(table, best, {name: partial(arm, **best[name]) for name, arm in arms.items()})


def _run(name: str, arm: Arm, make_data: MakeData, seed: int):
    """One run, in whatever process: seed everything, make the data, train."""
    with torch.random.fork_rng(), cpu_threads():
        data = make_data(seed=seed)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            result = arm(data)
        except Exception as error:
            raise RuntimeError(f"arm {name!r} failed with seed {seed}: {error}") from error
    row: dict[str, object] = {"arm": name, "seed": seed}
    if isinstance(result, History):
        curve = result.curve.assign(arm=name, seed=seed)
        return row | result.metrics, curve, data.name
    if isinstance(result, Mapping):
        return row | {key: float(value) for key, value in result.items()}, None, data.name
    raise TypeError(
        f"arm {name!r} gave back a {type(result).__name__}; give back the History of tl.fit, "
        "or a dict of numbers."
    )


def _seeds(seeds: int | Iterable[int]) -> list[int]:
    chosen = list(range(seeds)) if isinstance(seeds, int) else [int(s) for s in seeds]
    if not chosen:
        raise ValueError(f"seeds={seeds!r} leaves nothing to run; ten seeds are the rule here.")
    cap = int(os.environ.get("TRICKS_SEEDS", len(chosen)))
    shift = 1000 * int(os.environ.get("TRICKS_SEED", "0"))
    # A list that was shifted already (by sweep) is not shifted again.
    return [s + shift if s < 1000 else s for s in chosen[:cap]]


def _workers(workers: int | None, jobs: int) -> int:
    if device().type != "cpu":
        return 1
    wanted = workers or int(os.environ.get("TRICKS_WORKERS", joblib.cpu_count()))
    return max(1, min(wanted, jobs))


def _check(arms: Mapping[str, Arm], data: MakeData) -> None:
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
