"""Recorded studies: measured once, kept run by run, refused when the code has changed."""

from __future__ import annotations

import dataclasses
import json
import linecache
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

import tricks_lib as tl
from book import record
from tricks_lib.recorded import _plan_settings, _read, _run_key, fingerprint

ROOT = Path(__file__).parent.parent
RATES = [0.03, 0.1, 0.3]


def train(data, lr, momentum=0.0):
    torch.manual_seed(data.seed)
    make = partial(torch.optim.SGD, momentum=momentum)
    model = tl.mlp([64, 8, 10])
    return tl.fit(model, data, lr=lr, optimizer=make, num_steps=30, record_every=10)


ARMS = {"plain": train, "momentum": partial(train, momentum=0.9)}


def study(name: str = "tiny", **changes) -> tl.Recorded:
    settings = {
        "arms": ARMS,
        "data": partial(tl.digits, n_train=200),
        "grid": {"lr": RATES},
        "seeds": 2,
        "also": {"lr": [0.001]},
        "toy": partial(tl.digits, n_train=64, n_val=50, n_test=50),
        "workers": 1,
    }
    return tl.recorded(name, **settings | changes)


@pytest.fixture
def studies(tmp_path, monkeypatch) -> Path:
    """A folder of its own for the studies, and no wishes from outside."""
    for name in [name for name in os.environ if name.startswith("TRICKS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRICKS_STUDIES", str(tmp_path))
    return tmp_path


@pytest.fixture
def measured(studies, monkeypatch) -> tl.Recorded:
    """A study that has been recorded."""
    with monkeypatch.context() as patch:
        patch.setenv("TRICKS_RECORD", "tiny")
        study()
    return study()


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "tiny" / "rows.csv")


# ---- what is measured, and what is read ---------------------------------------------------------


def test_every_arm_setting_and_seed_is_a_row(measured, studies):
    found = rows(studies)
    assert len(found) == 2 * 4 * 2
    assert not found.duplicated(["arm", "lr", "seed"]).any()
    for column in ("val_accuracy", "test_accuracy", "train_loss", "steps", "diverged", "seconds"):
        assert found[column].notna().all()
    assert (found["steps"] == 30).all()


def test_a_row_is_what_compare_measures(measured):
    live = tl.compare(
        {name: partial(arm, lr=0.1) for name, arm in ARMS.items()},
        partial(tl.digits, n_train=200),
        seeds=2,
        workers=1,
    )
    for arm in ARMS:
        for metric in ("test_accuracy", "val_loss"):
            stored = measured.at(lr=0.1).values(arm, metric)
            np.testing.assert_allclose(stored, live.values(arm, metric), rtol=1e-5)
    assert measured.at(lr=0.1).conditions["plain"]["training examples"] == "200"
    assert measured.data == live.data


def test_tuning_inside_the_seed_is_that_of_the_library(measured):
    arms = {name: tl.tuned(arm, {"lr": RATES}, metric="val_loss") for name, arm in ARMS.items()}
    live = tl.compare(arms, partial(tl.digits, n_train=200), seeds=2, workers=1)
    stored = measured.tuned("val_loss")
    for arm in ARMS:
        mine, its = stored.values(arm), live.values(arm)
        np.testing.assert_allclose(mine, its, rtol=1e-5)
    both = [
        found.sort_values(["arm", "seed"])["lr"].tolist() for found in (stored.picks, live.picks)
    ]
    assert both[0] == both[1]
    assert "inside each seed by val_loss" in stored.conditions["plain"]["tuned"]


def test_tuning_leaves_out_the_settings_beside_the_grid(measured):
    assert set(measured.rows["lr"]) == {0.001, *RATES}
    assert set(measured.tuned().picks["lr"]) <= set(RATES)


def test_ties_and_edges_are_told(measured):
    rows = measured.rows.assign(val_accuracy=0.5)
    tied = tl.Recorded(
        rows, measured.curves, "digits", "cpu", measured.about, measured._plan, measured._conditions
    ).tuned()
    assert tied.picks["tie"].all()
    assert set(tied.picks["lr"]) == {0.1}  # the middle one
    rows = measured.rows.assign(val_accuracy=measured.rows["lr"])
    edge = tl.Recorded(
        rows, measured.curves, "digits", "cpu", measured.about, measured._plan, measured._conditions
    ).tuned()
    assert edge.picks["edge"].all() and set(edge.picks["lr"]) == {0.3}


def test_a_test_metric_is_not_tuned_by(measured):
    with pytest.raises(ValueError, match="test set"):
        measured.tuned("test_accuracy")


def test_curves_belong_to_the_runs_that_were_picked(measured):
    chosen = measured.tuned()
    assert list(chosen.curves["step"].unique()) == [10, 20, 30]
    last = chosen.curves[chosen.curves["step"] == 30]
    for arm in ARMS:
        ends = last[last["arm"] == arm].sort_values("seed")["val_accuracy"]
        np.testing.assert_allclose(ends, chosen.values(arm, "val_accuracy"), atol=1e-4)


def test_its_card_says_recorded(measured, capsys):
    effect = measured.at(lr=0.1).effect("momentum", over="plain")
    assert effect.recorded["device"] == "cpu"
    assert effect.recorded["takes"].endswith("of one core")
    claim = tl.Claim("a.b", "Momentum helps here.", "sutskever2013importance")
    from tricks_lib.claims import card, record

    assert "<strong>Recorded</strong> on cpu" in card(record(claim, effect))


def test_an_arm_without_settings_keeps_its_rate(measured, monkeypatch):
    """Where a grid varies the rate, ``at`` and ``tuned`` say it; else the runs alone know it."""
    assert "learning rate" not in measured.at(lr=0.1).conditions["plain"]
    fixed = {name: partial(arm, lr=0.1) for name, arm in ARMS.items()}
    monkeypatch.setenv("TRICKS_RECORD", "fixed")
    conditions = study("fixed", arms=fixed, grid=None, also=None).at().conditions
    assert conditions["plain"]["learning rate"] == "0.1, not tuned here"
    assert "tuned" not in conditions["plain"]


def test_words_of_the_page_stand_beside_what_the_runs_used(measured):
    """An arm that tunes itself inside its own code: only the page knows how."""
    told = study(conditions={"tuned": "by hand", "paper": "white"}).at(lr=0.1).conditions["plain"]
    assert told["paper"] == "white" and told["training examples"] == "200"
    assert told["tuned"] == "not at all: lr 0.1 for every arm"  # what was picked is known better


def test_seeds_from_outside_do_not_change_a_long_recording(measured, monkeypatch):
    monkeypatch.setattr(sys.modules["tricks_lib.recorded"], "SHORT", -1)
    for name, value in {"TRICKS_SEED": "3", "TRICKS_SEEDS": "2", "TRICKS_BUDGET": "2"}.items():
        monkeypatch.setenv(name, value)
    assert study().rows.equals(measured.rows)
    monkeypatch.setenv("TRICKS_STUDY", "another")
    assert study().rows.equals(measured.rows)
    monkeypatch.setenv("TRICKS_STUDY", "another,tiny")  # asked for by name, however long
    assert set(study().rows["steps"]) == {60} and set(study().rows["seed"]) == {3000, 3001}


def test_a_short_one_is_measured_anew_with_other_seeds(measured, studies, monkeypatch):
    before = rows(studies)
    monkeypatch.setenv("TRICKS_SEED", "3")
    fresh = study()
    assert list(fresh.tuned().table["seed"].unique()) == [3000, 3001]
    assert fresh.tuned().effect("momentum", over="plain").recorded is None  # as good as live
    assert rows(studies).equals(before)


def test_a_short_one_is_measured_anew_with_longer_training(measured, monkeypatch):
    monkeypatch.setenv("TRICKS_BUDGET", "2")
    assert set(study().rows["steps"]) == {60} and set(measured.rows["steps"]) == {30}
    monkeypatch.setenv("TRICKS_STUDY", "another")  # only what is named is measured
    assert study().rows.equals(measured.rows)


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_measured_anew_does_not_meet_what_is_only_read(measured, monkeypatch, order):
    with monkeypatch.context() as patch:
        patch.setenv("TRICKS_RECORD", "partner")
        study("partner")
    for name, value in {"TRICKS_SEEDS": "2", "TRICKS_BUDGET": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRICKS_STUDY", "tiny")  # so that the partner counts as too long
    anew, read = study().tuned(), study("partner").tuned()
    assert anew.effect("momentum", "plain").recorded is None
    both = [anew.only({"plain": "new"}), read.only({"momentum": "old"})][::order]
    found = both[0].joined(both[1]).effect("new", over="old")
    old = measured.tuned()
    np.testing.assert_array_equal(found.values, old.values("plain") - old.values("momentum"))
    assert found.recorded
    gains = [each.effect("momentum", "plain") for each in (anew, read)]
    found = tl.interaction(dict(zip("ab", gains[::order], strict=True)))
    assert found.recorded and not found.values.any()


def test_two_that_are_measured_anew_meet_as_such(measured, monkeypatch):
    monkeypatch.setenv("TRICKS_BUDGET", "2")
    first, second = study().tuned().only({"plain": "new"}), study().at(lr=0.1).only(["momentum"])
    found = first.joined(second).effect("new", over="momentum")
    assert found.recorded is None
    assert found.stored().recorded
    # A page may add a metric, or give an effect another name: what is stored is not asked for it.
    more = dataclasses.replace(first, table=first.table.assign(extra_accuracy=[0.1, 0.3]))
    extra = more.joined(second).effect("new", "momentum")
    named = dataclasses.replace(more.effect("new", "new", "extra_accuracy"), metric="test_accuracy")
    assert tl.interaction({"a": extra, "b": named}).recorded is None
    assert tl.interaction({"a": found, "b": found}).recorded is None


def test_one_that_needs_a_missing_package_is_read_as_it_is(measured, monkeypatch):
    monkeypatch.setenv("TRICKS_SEED", "3")
    assert study(needs="no_such_package").rows.equals(measured.rows)
    assert not study(needs="torch").rows.equals(measured.rows)


def test_measuring_again_stands_beside_what_was_recorded(measured):
    table = measured.again(seeds=[100, 101], arms=["momentum"])
    assert list(table.index) == ["momentum"]
    assert list(table.columns) == ["mean", "lowest", "highest", "seed 100", "seed 101"]
    assert table.loc["momentum", "mean"] == measured.tuned().values("momentum").mean()
    same = measured.again(seeds=[0, 1])
    np.testing.assert_allclose(same["seed 0"], [measured.tuned().values(a)[0] for a in ARMS], 1e-4)


# ---- what is refused ----------------------------------------------------------------------------


def test_nothing_recorded_names_the_command(studies):
    with pytest.raises(RuntimeError, match="make record STUDY=tiny"):
        study()


def test_missing_runs_name_the_command(measured):
    with pytest.raises(RuntimeError, match=r"lacks 8 runs.*make record STUDY=tiny"):
        study(seeds=3)
    with pytest.raises(RuntimeError, match="lacks 4 runs"):
        study(grid={"lr": [*RATES, 1.0]})
    assert len(study(seeds=[1]).rows) == 8


def other_train(data, lr, momentum=0.0):
    torch.manual_seed(data.seed + 1)
    return tl.fit(tl.mlp([64, 8, 10]), data, lr=lr, num_steps=30)


@pytest.mark.parametrize(
    "changes",
    [
        {"arms": ARMS | {"plain": other_train}},
        {"arms": ARMS | {"plain": partial(train, momentum=0.1)}},
        {"data": partial(tl.digits, n_train=201)},
    ],
)
def test_rows_of_other_code_are_refused(measured, changes):
    with pytest.raises(RuntimeError, match=r"other code of arm 'plain'.*make record STUDY=tiny"):
        study(**changes)


def test_only_the_arm_that_changed_is_measured_anew(measured, studies, monkeypatch):
    before = rows(studies)
    monkeypatch.setenv("TRICKS_RECORD", "tiny")
    changed = study(arms=ARMS | {"plain": partial(train, momentum=0.5)})
    after = rows(studies)
    kept = [found[found["arm"] == "momentum"].reset_index(drop=True) for found in (before, after)]
    pd.testing.assert_frame_equal(*kept)
    assert not changed.at(lr=0.1).table.equals(measured.at(lr=0.1).table)


def spoil(data, lr):
    data.x_train.zero_()
    return tl.fit(tl.mlp([64, 10]), data, lr=lr, num_steps=2)


def test_an_arm_that_writes_into_the_shared_data_is_refused(studies, monkeypatch):
    monkeypatch.setenv("TRICKS_RECORD", "tiny")
    with pytest.raises(RuntimeError, match="writes into the data"):
        study(arms={"spoil": spoil})


# ---- fingerprints -------------------------------------------------------------------------------


def _function(source: str, **space):
    """A function as a notebook's cell defines it."""
    file = f"<cell {abs(hash((source, *space)))}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space["__name__"] = "__main__"
    exec(compile(source, file, "exec"), space)
    return space["arm"]


PLAIN = "def arm(data, lr):\n    return helper(data, lr) * WIDTH\n"
HELPER = "def arm(data, lr):\n    return data + lr\n"


def test_comments_layout_and_docstrings_do_not_count():
    space = {"helper": _function(HELPER), "WIDTH": 8}
    commented = (
        'def arm(data, lr):\n    """Train."""\n    # a comment\n'
        "    return (helper(data,\n                   lr) * WIDTH)\n"
    )
    assert fingerprint(_function(PLAIN, **space)) == fingerprint(_function(commented, **space))


@pytest.mark.parametrize(
    "changed",
    [
        {"source": PLAIN.replace("*", "+")},
        {"WIDTH": 9},
        {"helper": HELPER.replace("+", "-")},
    ],
)
def test_code_constants_and_helpers_count(changed):
    source, width = changed.get("source", PLAIN), changed.get("WIDTH", 8)
    helper = _function(changed.get("helper", HELPER))
    before = _function(PLAIN, helper=_function(HELPER), WIDTH=8)
    assert fingerprint(before) != fingerprint(_function(source, helper=helper, WIDTH=width))


def test_values_and_partials_count_and_names_unused_do_not():
    arm = _function(PLAIN, helper=_function(HELPER), WIDTH=8, unused=1)
    assert fingerprint(arm) == fingerprint(_function(PLAIN, helper=_function(HELPER), WIDTH=8))
    assert fingerprint(partial(arm, lr=0.1)) != fingerprint(partial(arm, lr=0.3))
    assert fingerprint({"a": torch.zeros(2)}) != fingerprint({"a": torch.ones(2)})
    assert fingerprint(torch.optim.SGD) != fingerprint(torch.optim.Adam)


def test_a_fingerprint_is_the_same_on_every_machine():
    """Stored ones must fit under every Python; a change of this number refuses all recordings."""
    arm = partial(_function(PLAIN, helper=_function(HELPER), WIDTH=8), lr=0.1)
    assert fingerprint(arm, partial(tl.mnist, n_train=55_000)) == "45a029d7989b58f0"


CLASS = """
class Rule:
    power = 2

    def __init__(self, lr):
        self.lr = lr

    @staticmethod
    def step(g):
        return g * WIDTH


def arm(data):
    return Rule(0.1).step(data)
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [("g * WIDTH", "g + WIDTH"), ("power = 2", "power = 3"), ("self.lr = lr", "pass")],
)
def test_the_classes_of_a_page_count(old, new):
    before = fingerprint(_function(CLASS, WIDTH=8))
    assert before == fingerprint(_function(CLASS, WIDTH=8))
    assert before != fingerprint(_function(CLASS, WIDTH=9))
    assert before != fingerprint(_function(CLASS.replace(old, new), WIDTH=8))


def test_what_has_no_lasting_value_is_refused():
    with pytest.raises(TypeError, match="write it as a def"):
        fingerprint(lambda data: data)
    with pytest.raises(TypeError, match="no fingerprint"):
        fingerprint(object())


def test_a_function_may_call_itself():
    source = "def arm(data, lr):\n    return arm(data, lr / 2) if lr > 1 else lr\n"
    assert fingerprint(_function(source)) == fingerprint(_function(source))


# ---- killed and resumed -------------------------------------------------------------------------

SCRIPT = """
import sys, time
sys.path.insert(0, {root!r})
from tests.test_recorded import study
if __name__ == "__main__":
    study()
"""


def _without_seconds(folder: Path) -> tuple[list[str], str, dict]:
    lines = (folder / "tiny" / "rows.csv").read_text().splitlines()
    assert lines[0].endswith(",seconds")
    manifest = json.loads((folder / "tiny" / "manifest.json").read_text())
    manifest.pop("seconds")
    return (
        [line.rpartition(",")[0] for line in lines],
        (folder / "tiny" / "curves.csv").read_text(),
        manifest,
    )


def test_killed_half_way_and_resumed_it_gives_the_same_table(studies, monkeypatch, tmp_path):
    """kill -9 in the middle; what was done is kept, and the end is the same to the last digit."""
    script = tmp_path / "record_it.py"
    script.write_text(SCRIPT.format(root=str(ROOT)))
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    environ = {**os.environ, "TRICKS_RECORD": "tiny", "TRICKS_STUDIES": str(broken)}
    process = subprocess.Popen(
        [sys.executable, str(script)], env=environ, cwd=ROOT, stderr=subprocess.DEVNULL
    )
    file = broken / "tiny" / "rows.csv"
    while process.poll() is None and not (file.exists() and 4 <= len(rows(broken)) < 14):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = rows(broken)
    assert 4 <= len(kept) < 16, "the study ended before it could be killed"

    monkeypatch.setenv("TRICKS_RECORD", "tiny")
    for folder in (broken, whole):
        monkeypatch.setenv("TRICKS_STUDIES", str(folder))
        study()
    assert _without_seconds(broken) == _without_seconds(whole)
    # What was measured before the kill was not measured again.
    after = rows(broken).set_index(["arm", "seed", "lr"])["seconds"]
    before = kept.set_index(["arm", "seed", "lr"])["seconds"]
    assert (after[before.index] == before).all()


# ---- toy runs -----------------------------------------------------------------------------------


def test_a_toy_run_measures_little_and_stores_nothing(studies, monkeypatch):
    monkeypatch.setenv("TRICKS_TOY", "1")
    toy = study()
    assert (toy.rows["steps"] == 2).all()  # of thirty
    assert set(toy.rows["seed"]) == {0, 1}
    assert set(toy.rows["lr"]) == {0.1, 0.001}  # the middle of the grid, and the one beside it
    assert not (studies / "tiny").exists()


def shift_a_toy_run(studies: Path) -> None:
    """As if it had given another number when the study was recorded."""
    path = studies / "tiny" / "manifest.json"
    manifest = json.loads(path.read_text())
    key = next(iter(manifest["toy"]))
    manifest["toy"][key] *= 1.1
    path.write_text(json.dumps(manifest))


def test_a_library_that_trains_differently_is_found(measured, studies, monkeypatch):
    monkeypatch.setenv("TRICKS_TOY", "1")
    study()
    shift_a_toy_run(studies)
    with pytest.raises(RuntimeError, match="library has changed"):
        study()


def chaotic(data, lr):
    """A loss in which the last digits of the inputs are everything."""
    return {"train_loss": 2 + np.sin(1e6 * data.x_train.double().sum().item())}


def test_another_machines_rounding_is_no_other_library(studies, monkeypatch):
    """A run that is chaotic may end elsewhere."""
    with monkeypatch.context() as patch:
        patch.setenv("TRICKS_RECORD", "tiny")
        study(arms={"chaos": chaotic})
    monkeypatch.setenv("TRICKS_TOY", "1")
    shift_a_toy_run(studies)
    study(arms={"chaos": chaotic})


# ---- the book's own studies ---------------------------------------------------------------------


PAGES = sorted(set(record.studies().values()))


def what_is_asked_for(arms, grid, seeds, also=None) -> set[tuple]:
    """The keys of all rows of a study: its arms, with all their settings, for every seed."""
    _, settings = _plan_settings(dict(arms), grid, also)
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    return {_run_key(arm, seed, s) for arm in arms for s in settings[arm] for seed in seeds}


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_recorded_studies_of_a_page_still_run(page, monkeypatch):
    """At a toy size they give what they gave, and they keep the rows that they ask for, no others.

    Whether the rows fit the code, the page asks.
    """
    for variable in [variable for variable in os.environ if variable.startswith("TRICKS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("TRICKS_TOY", "1")
    monkeypatch.setenv("TRICKS_SEEDS", "2")  # of the live studies that these stand on
    monkeypatch.setenv("TRICKS_WORKERS", "1")
    names = [name for name, where in record.studies().items() if where == page]
    asked = {}

    def heard(name, arms, data, grid=None, seeds=10, *, also=None, **settings):
        asked[name] = what_is_asked_for(arms, grid, seeds, also)
        return recorded(name, arms, data, grid, seeds, also=also, **settings)

    recorded = tl.recorded
    monkeypatch.setattr(tl, "recorded", heard)
    record.run(page, *names)
    assert set(asked) == set(names)
    for name, wanted in asked.items():
        stored = set(_read(name).rows)
        assert not wanted - stored, f"{name} lacks runs that the page asks for"
        assert not stored - wanted, f"{name} keeps runs that no page asks for"


@pytest.mark.parametrize("folder", sorted((ROOT / "data" / "studies").glob("*/")))
def test_the_files_of_a_study_are_small_whole_and_asked_for(folder):
    assert folder.name in record.studies(), "no page calls for this study"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    assert set(names) <= {"curves.csv", "manifest.json", "rows.csv"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    found = pd.read_csv(folder / "rows.csv")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["runs"] == len(found)
    assert manifest["seconds"] == round(float(found["seconds"].sum()))
    assert {"date", "device", "versions", "data_sha256", "fingerprints"} <= set(manifest)


def test_only_the_cells_that_a_study_needs_are_run():
    cells = [
        "import torch",
        "name = 'unused'\nprint(name)",
        "def helper(x):\n    return x + SHIFT",
        "SHIFT = 1",
        "SHIFT = 2",
        "arms = {name: helper for name in 'ab'}",
        "for name in arms:\n    print(name)",
        "found = tl.recorded('here', arms, helper)",
        "late = 1",
    ]
    assert record.needed(cells, "here") == [2, 4, 5, 7]


def test_the_studies_of_one_cell_are_measured_together(tmp_path):
    """None of them can be read before it is measured, and a cell runs as a whole."""
    sources = [
        "first = tl.recorded('first', arms, data)",
        "two = tl.recorded('a', arms, data), tl.recorded('b', arms, first)",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "page.ipynb")
    assert record.together(tmp_path / "page.ipynb", "a") == ["first", "a", "b"]
    assert record.together(tmp_path / "page.ipynb", "first") == ["first"]


def test_an_unknown_study_is_named(capsys):
    with pytest.raises(SystemExit, match="there is no study 'nonsense'"):
        record.main(["--study", "nonsense"])
