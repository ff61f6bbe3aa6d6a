"""The library's behaviour: training, comparing, judging, probing, drawing."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import pkgutil
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

import tricks_lib as tl
from tricks_lib import claims, probes
from tricks_lib import questions as question_pages

PARTS = ("train", "val", "test")
SMALL = partial(tl.digits, n_train=128, n_val=50, n_test=100)


def train(data, lr=0.1, **options):
    return tl.fit(tl.mlp([64, 16, 10]), data, lr=lr, num_steps=20, record_every=5, **options)


@pytest.fixture(scope="module")
def study():
    arms = {"slow": partial(train, lr=0.01), "fast": partial(train, lr=0.5)}
    return tl.compare(arms, SMALL, seeds=6, workers=1)


# ---- fit ---------------------------------------------------------------------------------------


def test_fit_takes_the_same_steps_as_a_loop_written_by_hand():
    data = SMALL(seed=0)
    torch.manual_seed(0)
    mine, theirs = tl.mlp([64, 16, 10]), tl.mlp([64, 16, 10])
    theirs.load_state_dict(mine.state_dict())
    tl.fit(theirs, data, lr=0.1, num_epochs=2, batch_size=32, device="cpu")
    optimizer = torch.optim.SGD(mine.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(data.seed)
    for _ in range(2):
        for index in torch.randperm(128, generator=generator).split(32):
            loss = nn.functional.cross_entropy(mine(data.x_train[index]), data.y_train[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_history_has_a_row_per_record_and_scores_that_match_evaluate():
    data = SMALL(seed=1)
    model = tl.mlp([64, 16, 10])
    history = tl.fit(model, data, num_epochs=3)
    assert list(history.curve["epoch"]) == [1, 2, 3]
    assert history.test_accuracy == tl.evaluate(model, data.x_test, data.y_test)["accuracy"]
    assert history.val_loss == pytest.approx(tl.evaluate(model, data.x_val, data.y_val)["loss"])
    assert not history.diverged and history.seconds > 0 and history.device
    with pytest.raises(AttributeError, match=r"test_f1.*test_accuracy"):
        _ = history.test_f1


def test_num_steps_is_exact_and_the_last_step_is_recorded():
    history = tl.fit(tl.mlp([64, 10]), SMALL(seed=0), num_steps=7, record_every=3)
    assert list(history.curve["step"]) == [3, 6, 7]


def test_a_run_that_diverges_is_recorded_with_the_scores_of_a_blind_guess():
    history = train(SMALL(seed=0), lr=1e30)
    assert history.diverged
    assert history.test_accuracy == history.val_accuracy == 0.1
    assert history.test_loss == pytest.approx(math.log(10))
    assert history.curve["step"].iloc[-1] < 20


def test_augment_sees_training_batches_only_and_schedule_scales_the_rate():
    seen, rates = [], []

    def augment(x):
        seen.append(tuple(x.shape))
        return x

    class Spy(torch.optim.SGD):
        def step(self):
            rates.append(self.param_groups[0]["lr"])
            super().step()

    train(SMALL(seed=0), augment=augment, optimizer=Spy, schedule=lambda done: 1 - done)
    assert seen == [(64, 1, 8, 8)] * 20
    assert rates[0] == 0.1 and rates[10] == pytest.approx(0.05)


def test_fit_learns_a_regression_and_reports_no_accuracy():
    data = tl.digits(seed=0, n_train=200, n_val=50, n_test=50)
    middle = {f"y_{p}": getattr(data, f"x_{p}")[:, 0, 3:5].sum((1, 2)) for p in PARTS}
    data = data.replace(**middle)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    history = tl.fit(model, data, lr=0.05, num_epochs=200)
    assert set(history.test) == {"loss"}
    assert history.test_loss < 0.1 * data.y_test.var()


def test_mixed_precision_trains_and_gives_full_precision_weights():
    model = tl.mlp([64, 16, 10])
    history = tl.fit(model, SMALL(seed=0), num_epochs=2, mixed_precision=True, device="cpu")
    assert not history.diverged
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_evaluate_puts_the_mode_back_and_does_not_depend_on_the_batch_size():
    data, model = SMALL(seed=0), tl.mlp([64, 16, 10], norm="batch", dropout=0.5)
    model.train()
    whole = tl.evaluate(model, data.x_test, data.y_test)
    parts = tl.evaluate(model, data.x_test, data.y_test, batch_size=7)
    assert model.training
    assert whole == pytest.approx(parts)


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"lr": 0}, "greater than 0"),
        ({"lr": float("nan")}, "greater than 0"),
        ({"num_epochs": 0}, "num_epochs=0 must be a whole number"),
        ({"batch_size": 2.5}, "batch_size=2.5 must be a whole number"),
        ({"num_steps": -1}, "num_steps=-1 must be a whole number"),
        ({"optimizer": "adam"}, "torch.optim.SGD"),
        ({"model": "cnn"}, "torch.nn.Module"),
        ({"data": [1, 2]}, "tl.glyphs"),
        ({"model": nn.Flatten()}, "no parameters"),
    ],
)
def test_fit_names_the_mend_of_a_bad_argument(change, mend):
    arguments = {"model": tl.mlp([64, 10]), "data": SMALL(seed=0)} | change
    with pytest.raises((ValueError, TypeError), match=mend):
        tl.fit(arguments.pop("model"), arguments.pop("data"), **arguments)


# ---- device ------------------------------------------------------------------------------------


def test_device_can_be_chosen_and_a_wrong_one_is_named(monkeypatch):
    monkeypatch.setenv("TRICKS_DEVICE", "cpu")
    assert tl.device() == torch.device("cpu")
    monkeypatch.setenv("TRICKS_DEVICE", "abacus")
    with pytest.raises(ValueError, match=r"abacus.*use 'cpu'"):
        tl.device()


def test_cpu_threads_are_put_back(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("TRICKS_THREADS", "2")
    with tl.cpu_threads():
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


# ---- models ------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "batch", "layer", "group"])
def test_networks_give_logits_and_drop_the_bias_before_a_norm(norm):
    model = tl.cnn(3, 7, norm=norm)
    assert model(torch.rand(4, 3, 16, 16)).shape == (4, 7)
    convs = [m for m in model if isinstance(m, nn.Conv2d)]
    assert all((conv.bias is None) == (norm is not None) for conv in convs)
    if norm != "group":
        assert tl.mlp([12, 5, 3], norm=norm)(torch.rand(4, 3, 2, 2)).shape == (4, 3)


def test_layer_norm_of_the_cnn_is_one_group_and_group_norm_several():
    groups = {
        n: next(m for m in tl.cnn(norm=n) if isinstance(m, nn.GroupNorm)).num_groups
        for n in ("layer", "group")
    }
    assert groups["layer"] == 1 < groups["group"]


def test_models_name_the_mend_of_a_bad_argument():
    with pytest.raises(ValueError, match=r"None or one of \['batch', 'group', 'layer'\]"):
        tl.cnn(norm="btach")
    with pytest.raises(ValueError, match="inputs and outputs"):
        tl.mlp([64])


# ---- compare and sweep -------------------------------------------------------------------------


def test_the_numbers_do_not_depend_on_the_number_of_workers(study):
    arms = {"slow": partial(train, lr=0.01), "fast": partial(train, lr=0.5)}
    two = tl.compare(arms, SMALL, seeds=6, workers=2)
    pd.testing.assert_frame_equal(study.table, two.table)
    pd.testing.assert_frame_equal(study.curves, two.curves)


def test_compare_is_tidy_and_leaves_the_callers_random_numbers_alone(study):
    assert study.arms == ["slow", "fast"]
    assert len(study.table) == 12 and {"arm", "seed", "test_accuracy"} <= set(study.table)
    assert len(study.curves) == 12 * 4
    assert study.data == "digits"
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    tl.compare({"a": train}, SMALL, seeds=1, workers=1)
    assert torch.equal(torch.rand(1), expected)


def test_arms_of_one_seed_share_start_and_data(study):
    again = tl.compare({"a": train, "b": train}, SMALL, seeds=3, workers=1)
    assert np.all(again.effect("a", over="b").values == 0)
    assert again.effect("a", over="b").interval == (0, 0)
    assert len(set(again.values("a", "train_loss"))) == 3


def test_effect_agrees_with_scipy_and_subtracts(study):
    effect = study.effect("fast", over="slow")
    found = stats.ttest_rel(study.values("fast"), study.values("slow")).confidence_interval()
    assert effect.interval == pytest.approx((found.low, found.high))
    nothing = effect - effect
    assert nothing.mean == 0 and "over" in nothing.arm
    with pytest.raises(ValueError, match="measure both alike"):
        effect - study.effect("fast", over="slow", metric="val_loss")


def test_the_detectable_effect_is_found_in_four_of_five_studies():
    rng = np.random.default_rng(0)
    n, sd = 10, 0.3
    size = tl.Effect(rng.normal(0, sd, 5000), tuple(range(5000)), "a", "b", "m", "d", "cpu")
    # the formula for n seeds, from a long series whose spread is known
    detectable = size.detectable * np.sqrt(5000 / n)
    detectable *= (stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) / (
        stats.t.ppf(0.975, 4999) + stats.t.ppf(0.8, 4999)
    )
    studies = rng.normal(detectable, sd, (4000, n))
    found = stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.03)


def test_environment_variables_shift_and_cap_the_seeds(monkeypatch):
    monkeypatch.setenv("TRICKS_SEED", "2")
    monkeypatch.setenv("TRICKS_SEEDS", "3")
    table = tl.compare({"a": train}, SMALL, seeds=10, workers=1).table
    assert list(table["seed"]) == [2000, 2001, 2002]


def test_a_quick_look_tunes_on_one_seed(monkeypatch):
    seen = []

    def note(data, lr):
        seen.append((lr, data.seed))
        return {"val_accuracy": lr}

    monkeypatch.setenv("TRICKS_SEEDS", "2")
    found = tl.sweep({"a": note}, SMALL, {"lr": [0.1, 0.2]}, seeds=3, workers=1)
    assert len(seen) == 2 and len({seed for _, seed in seen}) == 1
    assert found.best == {"a": {"lr": 0.2}}


def test_a_diverged_arm_does_not_stop_the_study():
    arms = {"calm": train, "wild": partial(train, lr=1e30)}
    table = tl.compare(arms, SMALL, seeds=2, workers=1).table
    assert list(table["diverged"]) == [0, 0, 1, 1]


def test_arms_may_give_back_plain_numbers():
    study = tl.compare({"a": lambda data: {"size": len(data.x_train)}}, SMALL, seeds=2, workers=2)
    assert list(study.values("a", "size")) == [128, 128]


def test_sweep_tunes_each_arm_on_validation_data_and_hands_on_the_winner():
    arms = {"a": train, "b": partial(train, batch_size=32)}
    found = tl.sweep(arms, SMALL, {"lr": [1e-6, 0.3]}, seeds=2, workers=1)
    assert found.best == {"a": {"lr": 0.3}, "b": {"lr": 0.3}}
    assert list(found.table.columns) == ["arm", "lr", "val_accuracy"]
    assert found.arms["a"](SMALL(seed=0)).test_accuracy > 0.2
    lowest = tl.sweep(
        arms, SMALL, {"lr": [1e-6, 0.3]}, 2, metric="val_loss", higher_is_better=False
    )
    assert lowest.best["a"] == {"lr": 0.3}


@pytest.mark.parametrize(
    ("call", "mend"),
    [
        (lambda: tl.compare({}, SMALL), "no arms"),
        (lambda: tl.compare({"a": train}, SMALL, seeds=0), "ten seeds"),
        (lambda: tl.compare({"a": train}, SMALL(seed=0)), "without brackets"),
        (lambda: tl.compare({"a": 3}, SMALL), "must be a function"),
        (lambda: tl.compare({"a": lambda d: 3.0}, SMALL, 1, workers=1), "dict of numbers"),
        (lambda: tl.compare({"a": lambda d: 1 / 0}, SMALL, 1, workers=1), "arm 'a'.*seed 0"),
        (lambda: tl.sweep({"a": train}, SMALL, {}), "grid is empty"),
        (lambda: tl.sweep({"a": train}, SMALL, {"lr": [1]}, metric="test_loss"), "test set"),
    ],
)
def test_studies_name_the_mend_of_a_bad_argument(call, mend):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=mend):
        call()


def test_a_study_names_the_mend_of_a_wrong_name(study):
    with pytest.raises(KeyError, match=r"no arm 'fats'.*\['slow', 'fast'\]"):
        study.effect("fats", over="slow")
    with pytest.raises(KeyError, match=r"no metric 'acc'.*test_accuracy"):
        study.effect("fast", over="slow", metric="acc")
    one = tl.compare({"a": train, "b": train}, SMALL, seeds=1, workers=1)
    with pytest.raises(ValueError, match="two seeds"):
        one.effect("a", over="b")
    holes = dataclasses.replace(study, table=study.table.assign(steps=np.nan))
    with pytest.raises(ValueError, match="whole budget"):
        holes.effect("fast", over="slow", metric="steps")


# ---- claims ------------------------------------------------------------------------------------

DECLARED = tl.Claim("page.slug", "It helps.", "someone2000paper", "test_accuracy", margin=0.01)


def effect_of(values):
    values = np.asarray(values, dtype=float)
    seeds = tuple(range(len(values)))
    return tl.Effect(values, seeds, "trick", "plain", "test_accuracy", "digits", "cpu")


@pytest.mark.parametrize(
    ("values", "higher", "lower"),
    [
        ([0.02, 0.03, 0.04], "holds", "opposite"),
        ([-0.02, -0.03, -0.04], "opposite", "holds"),
        ([0.2, -0.1, 0.05], "no detectable effect", "no detectable effect"),
        ([0.004, 0.005, 0.006], "no detectable effect", "no detectable effect"),
        ([0.0, 0.0, 0.0], "no detectable effect", "no detectable effect"),
        ([0.02, 0.02, 0.02], "holds", "opposite"),
    ],
)
def test_the_verdict_needs_a_clear_interval_and_an_effect_that_matters(values, higher, lower):
    assert claims.verdict(DECLARED, effect_of(values)) == higher
    turned = dataclasses.replace(DECLARED, direction="lower")
    assert claims.verdict(turned, effect_of(values)) == lower


def test_the_record_is_plain_json_and_the_card_shows_it():
    import json

    found = claims.record(DECLARED, effect_of([0.02, 0.03, 0.04]))
    assert json.loads(json.dumps(found)) == found
    assert found["verdict"] == "holds" and found["num_seeds"] == 3
    assert found["versions"]["torch"] == torch.__version__
    card = claims.card(found)
    assert 'class="claim claim-holds" id="claim-page-slug"' in card
    assert "+3.0" in card and "points" in card


def test_a_claim_prints_its_verdict_without_digits(capsys):
    tl.claim(DECLARED, effect_of([0.02, 0.03, 0.04]))
    assert capsys.readouterr().out == "HOLDS · It helps. [page.slug]\n"


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"id": "Slug"}, "augmentation.few_images"),
        ({"direction": "up"}, "'higher' or 'lower'"),
        ({"kind": "guess"}, "placebo"),
        ({"margin": 0}, "smallest effect that matters"),
        ({"sentence": " "}, "needs a sentence"),
    ],
)
def test_a_claim_names_the_mend_of_a_bad_field(change, mend):
    with pytest.raises(ValueError, match=mend):
        dataclasses.replace(DECLARED, **change)


def test_a_claim_judged_by_another_metric_is_refused():
    other = dataclasses.replace(effect_of([1, 2]), metric="val_loss")
    with pytest.raises(ValueError, match="declare the one that you measure"):
        tl.claim(DECLARED, other)


# ---- probes, plots, check ----------------------------------------------------------------------


def test_probes_see_activations_gradients_and_dead_units():
    torch.manual_seed(0)
    model = tl.mlp([4, 8, 8, 3])
    x, y = torch.rand(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    seen = probes.activations(model, x)
    assert list(seen) == ["1 ReLU", "2 ReLU"] and seen["1 ReLU"].shape == (6, 8)
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    torch.testing.assert_close(probes.gradients(model, x, y)["1.weight"], model[1].weight.grad)
    norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.dim() > 1]).norm()
    assert probes.gradient_norm(model, x, y) == pytest.approx(norm.item(), rel=1e-5)
    with torch.no_grad():
        model[1].bias.fill_(-100)
    assert probes.saturation(model, x)["1 ReLU"] == 1.0
    tanh = nn.Sequential(nn.Linear(4, 2), nn.Tanh())
    assert probes.saturation(tanh, 0 * x)["1 Tanh"] == 0.0


def test_plots_draw_what_they_are_given(study, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    effect = study.effect("fast", over="slow")
    tl.plots.curves(study, baseline="slow")
    tl.plots.runs(study)
    tl.plots.effects({"a": effect, "b": effect}, margin=0.01)
    tl.plots.gains({"a": {10: effect, 100: effect}}, xlabel="images")
    tl.plots.show_images(torch.rand(5, 3, 4, 4), columns=3)
    tl.plots.histograms({"1 ReLU": torch.rand(4, 4), "2 ReLU": torch.rand(4, 4)})
    assert [len(figure.axes) for figure in shown] == [1, 1, 1, 1, 6, 2]
    assert shown[0].axes[0].get_legend_handles_labels()[1] == ["slow", "fast"]
    axes = plt.subplots()[1]
    tl.plots.curves(study, ax=axes)
    assert len(shown) == 6 and axes.lines
    plt.close("all")


def questions():
    """Every question of every page, as ``page.question``."""
    for module in pkgutil.iter_modules(question_pages.__path__):
        page = importlib.import_module(f"tricks_lib.questions.{module.name}")
        for name, function in inspect.getmembers(page, inspect.isfunction):
            if function.__module__ == page.__name__ and not name.startswith("_"):
                yield f"{module.name}.{name}"


@pytest.mark.parametrize("question", questions())
def test_a_stub_is_not_answered_yet(question, capsys):
    def stub(*_, **__):
        raise NotImplementedError("your turn")

    tl.check(question, stub)
    assert capsys.readouterr().out == f"{question}: not answered yet.\n"


def test_check_tells_right_wrong_and_unanswered_apart(capsys, monkeypatch):
    def stub(*_):
        raise NotImplementedError

    def crash(*_):
        return {}["x"]

    for answer in (None, stub, crash, lambda v: (v.mean(), 0, 0)):
        tl.check("evidence.mean_and_interval", answer)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(lines[1]) and "not answered yet" in lines[0]
    assert "KeyError" in lines[2] and "right" not in lines[3]
    monkeypatch.setenv("TRICKS_STRICT", "1")
    with pytest.raises(AssertionError, match="not answered"):
        tl.check("evidence.mean_and_interval", None)
    for name in ("evidence.none", "nowhere.none", "evidence"):
        with pytest.raises(ValueError, match="no question"):
            tl.check(name, 1)
