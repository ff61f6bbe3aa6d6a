"""Repeating a recorded study: what is listed, what is measured, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from book import record, repeat

STUDY = "memorise_glyphs"  # a second or two for a seed


def test_every_study_is_listed_with_its_minutes() -> None:
    table = repeat.overview()
    assert set(table.index) == set(record.studies())
    assert (table["runs"] > 0).all() and (table["T4 minutes"] >= 0).all()


def test_a_study_is_measured_anew_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRICKS_WORKERS", "1")
    repeat.main([STUDY, "--seeds", "100", "--out", str(tmp_path / "mine.json")])
    shown = capsys.readouterr().out
    assert "seed 100" in shown and "mean" in shown and "HOLDS" not in shown
    found = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    assert (found["study"], found["seeds"]) == (STUDY, [100])
    for scores in found["arms"].values():
        assert scores["lowest"] <= scores["mean"] <= scores["highest"]
        assert 0 <= scores["seed 100"] <= 1


def test_an_unknown_study_says_so() -> None:
    with pytest.raises(SystemExit, match="no study 'nonsense'"):
        repeat.main(["nonsense"])


@pytest.mark.parametrize(
    ("names", "shown", "by"),
    [
        (
            ["val_loss", "val_accuracy", "test_loss", "test_accuracy"],
            "test_accuracy",
            "val_accuracy",
        ),
        (["train_loss", "val_loss", "test_loss"], "test_loss", "val_loss"),
        (["smoothness"], "smoothness", "smoothness"),
        (["test_75_accuracy", "val_75_accuracy", "kept"], "test_75_accuracy", "val_75_accuracy"),
    ],
)
def test_what_is_shown_and_what_is_tuned_by(names: list[str], shown: str, by: str) -> None:
    rows = pd.DataFrame({name: [0.5] for name in ["lr", *names, "steps", "seconds"]})
    assert repeat.metrics(rows.assign(arm="plain", seed=0, diverged=0), ["lr"]) == (shown, by)
