"""Every *Use it* snippet runs the way its text says that a reader uses it.

A page runs its snippet once, on made-up numbers. A reader pastes it after a restart of the kernel,
and gives it pictures, bytes, one image, a short last batch or a run of two epochs. The tables below
hold these situations, page by page; a page without a table fails.
"""

from __future__ import annotations

import copy
import math
import os
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import URLError

import matplotlib
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, TensorDataset

import tricks_lib as tl
from book.notebooks import find_notebooks
from tests.page_rules import ROOT, Page

matplotlib.use("Agg")
PAGES = [Page.read(path.relative_to(ROOT)) for path in find_notebooks([ROOT / "chapters"])]
TRICKS = {page.path.stem: page for page in PAGES if page.teaches_a_trick}
# Cells whose text says that they go on from cells above them. All others stand alone.
GOES_ON_FROM: dict[tuple[str, int], tuple[int, ...]] = {
    ("augmentation", 2): (0, 1),
    ("bug_clinic", 1): (0,),
    ("defaults_that_travel", 1): (0,),
    ("sanity_checks", 1): (0,),
    ("hyperparameter_search", 1): (0,),
    ("early_stopping", 1): (0,),
    ("mixing", 1): (0,),
    ("weight_decay", 1): (0,),
    ("stacking_tricks", 2): (1,),
    ("transformers", 2): (0, 1),
    ("transfer_learning", 2): (0, 1),
    ("transfer_text", 1): (0,),
    ("transfer_text", 3): (2,),
}
Names = dict[str, Any]


class Snippet:
    """The code of a page's section *Use it*, to be run with a reader's changes."""

    def __init__(self, page: str, changes: dict[str, str] | None = None) -> None:
        self.page = page
        self.cells = list(_code(TRICKS[page]))
        self._changes = changes or {}

    def run(self, *numbers: int, given: Names | None = None, **changes: str) -> Names:
        """Run the cells of these numbers (all without any) in order, in a fresh namespace.

        ``given`` are names of the reader's. A change replaces the lines that set the name by the
        reader's own: ``num_epochs="num_epochs = 2"``.
        """
        names: Names = {"__name__": "reader", **(given or {})}
        for number in numbers or range(len(self.cells)):
            source = self.cells[number]
            for old, new in self._changes.items():
                source = source.replace(old, new)
            for name, line in changes.items():
                source = re.sub(
                    rf"^{name}\b.* = .*$(?:\n[ \t]+.*)*", line, source, flags=re.MULTILINE
                )
            exec(compile(source, f"{self.page}, Use it, cell {number}", "exec"), names)
        return names


def _code(page: Page) -> Iterator[str]:
    for cell in page.section(("use it",)):
        if cell.cell_type == "code":
            yield cell.source
        else:
            yield from re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)


Situation = Callable[[Snippet], None]
SITUATIONS: dict[str, dict[str, Situation]] = {}


def situation(page: str, name: str) -> Callable[[Situation], Situation]:
    """Enter a function into the table of its page."""

    def enter(function: Situation) -> Situation:
        SITUATIONS.setdefault(page, {})[name] = function
        return function

    return enter


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)


def short_loader(*shape: int, classes: int = 10) -> DataLoader:
    """Two batches of eight and a last one of two, which is what most data sets end in."""
    data = TensorDataset(torch.randn(18, *shape), torch.randint(classes, (18,)))
    return DataLoader(data, batch_size=8, shuffle=True)


def two_epochs(model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader) -> None:
    """Train as everybody does; every weight that has a gradient must move."""
    before = [p.detach().clone() for p in model.parameters()]
    model.train()
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    trained = [(p, old) for p, old in zip(model.parameters(), before, strict=True)]
    assert not [p for p, old in trained if p.requires_grad and torch.equal(p, old)]


def picture(*shape: int) -> Image.Image:
    """A picture of random bytes, as torchvision's data sets give them."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


# ------------------------------------------------------------------------- augmentation


@situation("augmentation", "PIL images through a DataLoader")
def _(snippet: Snippet) -> None:
    names = snippet.run()
    for transform in (names["train_transform"], names["test_transform"]):
        data = torchvision.datasets.FakeData(6, (3, 20, 20), transform=transform)
        x, _ = next(iter(DataLoader(data, batch_size=6)))
        assert x.shape == (6, 3, 20, 20) and x.dtype == torch.float32
        assert -2 <= x.min() < -1 < 1 < x.max() <= 2


@situation("augmentation", "grey pictures stay grey")
def _(snippet: Snippet) -> None:
    names = snippet.run()
    assert names["train_transform"](picture(28, 28)).shape == (1, 28, 28)
    assert names["test_transform"](picture(28, 28)).shape == (1, 28, 28)


@situation("augmentation", "arrays and tensors")
def _(snippet: Snippet) -> None:
    names = snippet.run()
    for image in (np.zeros((9, 8, 3), np.uint8), torch.zeros(3, 9, 8, dtype=torch.uint8)):
        assert names["train_transform"](image).shape == (3, 9, 8)


@situation("augmentation", "training draws, testing does not")
def _(snippet: Snippet) -> None:
    names, image = snippet.run(), picture(20, 20, 3)
    assert torch.equal(names["test_transform"](image), names["test_transform"](image))
    assert not torch.equal(names["train_transform"](image), names["train_transform"](image))


@situation("augmentation", "TrivialAugmentWide in place of both")
def _(snippet: Snippet) -> None:
    v2, to_floats = torchvision.transforms.v2, snippet.run()["to_floats"]
    transform = v2.Compose([v2.ToImage(), v2.TrivialAugmentWide(), *to_floats])
    assert {transform(picture(28, 28)).shape for _ in range(30)} == {(1, 28, 28)}


@situation("augmentation", "a batch of bytes")
def _(snippet: Snippet) -> None:
    augment_batch = snippet.run()["augment_batch"]
    x = torch.randint(256, (4, 3, 12, 16), dtype=torch.uint8)
    still = augment_batch(x, degrees=0.0, shift=0.0)
    torch.testing.assert_close(still, x / 255, atol=1e-4, rtol=0)
    moved = augment_batch(x, flip=True)
    assert moved.min() >= 0 and moved.max() <= 1


@situation("augmentation", "one image, and a draw for each")
def _(snippet: Snippet) -> None:
    augment_batch, x = snippet.run()["augment_batch"], torch.rand(1, 1, 28, 28)
    assert augment_batch(x).shape == x.shape
    first, second = augment_batch(x.expand(2, -1, -1, -1))
    assert not torch.equal(first, second)


# ------------------------------------------------------------------------ normalization


@situation("normalization", "a table, and one row of it")
def _(snippet: Snippet) -> None:
    names, x = snippet.run(), torch.randn(50, 4) * 9 + 5
    x[:, 2] = 7  # a column that never changes
    scale = names["Standardise"](x)
    torch.testing.assert_close(scale(x).mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(scale(x).std(0, correction=0), torch.tensor([1.0, 1, 0, 1]))
    torch.testing.assert_close(scale(x[:1]), scale(x)[:1])


@situation("normalization", "float64 and whole numbers, as pandas gives them")
def _(snippet: Snippet) -> None:
    standardise = snippet.run()["Standardise"]
    seconds = 1_700_000_000 + torch.arange(40).view(20, 2)  # float32 would round these away
    for x in (seconds, seconds.double()):
        model = nn.Sequential(standardise(x), nn.Linear(2, 3))
        assert model(x).dtype == torch.float32
        torch.testing.assert_close(model[0](x).std(0, correction=0), torch.ones(2))


@situation("normalization", "pictures, in floats and in bytes")
def _(snippet: Snippet) -> None:
    standardise = snippet.run()["Standardise"]
    for x in (torch.rand(6, 3, 5, 5), torch.randint(256, (6, 3, 5, 5), dtype=torch.uint8)):
        z = standardise(x)(x)
        assert z.shape == x.shape and z.dtype == torch.float32
        torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)


@situation("normalization", "saved and loaded")
def _(snippet: Snippet) -> None:
    standardise, x = snippet.run()["Standardise"], torch.randn(30, 4) * 3 + 2
    saved, loaded = standardise(x), standardise(torch.randn(2, 4))
    loaded.load_state_dict(saved.state_dict())
    assert torch.equal(loaded(x), saved(x))


# --------------------------------------------------------------------------- batch norm


@situation("batch_norm", "two epochs with a short last batch, then one image")
def _(snippet: Snippet) -> None:
    model = snippet.run()["model"]
    two_epochs(model, torch.optim.SGD(model.parameters(), lr=0.1), short_loader(3, 16, 16))
    model.eval()
    x = torch.randn(8, 3, 16, 16)
    torch.testing.assert_close(model(x[:1]), model(x)[:1], atol=1e-5, rtol=1e-4)


@situation("batch_norm", "the block for batches under 16, with one image")
def _(snippet: Snippet) -> None:
    block, x = snippet.run()["small_batches"].train(), torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(block(x[:1]), block(x)[:1])


# ----------------------------------------------------------------------- initialization


@situation("initialization", "another activation")
def _(snippet: Snippet) -> None:
    initialise = snippet.run()["initialise"]
    for activation, layer in {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}.items():
        layers = [nn.Sequential(nn.Linear(64, 64), layer()) for _ in range(8)]
        model = initialise(nn.Sequential(*layers), activation)
        assert 0.01 < model(torch.randn(256, 64)).std(0).mean() < 100
        assert not layers[0][0].bias.any()


@situation("initialization", "convolutions, without a bias and with batch norm")
def _(snippet: Snippet) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 10)
    )
    snippet.run()["initialise"](model)
    assert torch.equal(model[1].weight, torch.ones(8))
    two_epochs(model, torch.optim.SGD(model.parameters(), lr=0.1), short_loader(3, 3, 3))


# -------------------------------------------------------------------- transfer learning


resnet18 = torchvision.models.resnet18


def offline(weights: object = None, progress: bool = True) -> nn.Module:
    """torchvision's ResNet-18 on a machine without a network."""
    if weights:
        raise URLError("no network")
    return resnet18()


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.models, "resnet18", offline)


@situation("transfer_learning", "no network: random weights, and every stage is trained")
def _(snippet: Snippet) -> None:
    names = snippet.run()
    held = {id(p) for group in names["optimizer"].param_groups for p in group["params"]}
    assert held == {id(p) for p in names["model"].parameters()}
    rates = [group["lr"] for group in names["optimizer"].param_groups]
    assert rates == sorted(rates) and rates[-1] == 0.001


@situation("transfer_learning", "a download: the last layer alone, and one image")
def _(snippet: Snippet) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.models, "resnet18", lambda weights: resnet18())
        names = snippet.run(0, 1)
    model = names["model"]
    names["freeze_all_but_head"](model)
    names["new_head"](model, 10)
    before = copy.deepcopy(model.state_dict())
    names["train_mode"](model)
    optimizer = torch.optim.Adam(model.fc.parameters())
    nn.functional.cross_entropy(model(torch.rand(1, 3, 32, 32)), torch.tensor([3])).backward()
    optimizer.step()
    moved = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    assert moved == ["fc.weight", "fc.bias"]  # batch norm's statistics stay, too


# ------------------------------------------------------------------- transfer for text

OWN_TEXTS = {
    "texts": 'texts = [f"{w} {w} again {i}" for i in range(6) for w in ("sea", "hill", "town")]',
    "labels": 'labels = ["water", "land", "land"] * 6',
}


@pytest.fixture(autouse=True)
def _no_encoder_from_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Encoder:
        def __init__(self, name: str) -> None:
            assert name == "all-MiniLM-L6-v2"

        def encode(self, texts: list[str]) -> np.ndarray:
            return tl.sentence_vectors(texts, stand_in=True).numpy()

    library = types.ModuleType("sentence_transformers")
    library.SentenceTransformer = Encoder
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)


@situation("transfer_text", "own texts, with labels in words")
def _(snippet: Snippet) -> None:
    names = snippet.run(0, 1, **OWN_TEXTS)
    assert names["cross_val_score"](names["counts"], names["texts"], names["labels"]).mean() > 0.9
    assert names["vectors"].shape == (18, 16)


@situation("transfer_text", "LoRA in a network of one's own, two epochs, and merged")
def _(snippet: Snippet) -> None:
    names = snippet.run(2, 3)
    model = tl.transformer(20, length=8, width=16)
    x = torch.randint(20, (18, 8))
    before, old = copy.deepcopy(model.state_dict()), model(x)
    names["add_lora"](model, endings=("queries_keys_values", "out"), r=2, alpha=4)
    torch.testing.assert_close(model(x), old)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert len(trained) == 2 * 2 * len(model.blocks)
    loader = DataLoader(TensorDataset(x, torch.randint(20, (18, 8))), batch_size=8)
    two_epochs(model, torch.optim.AdamW(trained, lr=0.1), loader)
    found = model.eval()(x)
    assert not torch.allclose(found, old, atol=0.1)
    names["merge"](model)
    torch.testing.assert_close(model(x), found, rtol=1e-4, atol=1e-4)
    after = model.state_dict()
    moved = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"queries_keys_values", "out"} and after.keys() == before.keys()


@situation("transfer_text", "LoRA in half the bits")
def _(snippet: Snippet) -> None:
    names = snippet.run(2, 3)
    model = nn.Sequential(nn.Linear(4, 4, dtype=torch.bfloat16))
    names["add_lora"](model, endings=("0",))
    assert model(torch.ones(1, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


# -------------------------------------------------------- learning rate and optimizers


def rates_of(snippet: Snippet, **changes: str) -> tuple[list[float], Names]:
    """The rate at each step of a snippet that trains."""
    rates: list[float] = []
    handle = register_optimizer_step_post_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    try:
        return rates, snippet.run(**changes)
    finally:
        handle.remove()


def check_schedule(rates: list[float], names: Names) -> None:
    """Up to the peak once, down from there, and at zero when the last step is done."""
    assert len(rates) == names["num_steps"]
    top = rates.index(max(rates))
    assert rates[top] == pytest.approx(0.1)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert names["scheduler"].get_last_lr()[0] == pytest.approx(0, abs=1e-9)


@situation("learning_rate", "a last batch that is short")
def _(snippet: Snippet) -> None:
    rates, names = rates_of(snippet)
    assert len(names["data"]) % 32, "the page's own data should end in a short batch"
    check_schedule(rates, names)


@situation("learning_rate", "two epochs of a short DataLoader")
def _(snippet: Snippet) -> None:
    data = "data = TensorDataset(torch.randn(70, 20), torch.randint(2, (70,)))"
    check_schedule(*rates_of(snippet, data=data, num_epochs="num_epochs = 2"))


@situation("optimizers", "each with each of its rates, two epochs of a short DataLoader")
def _(snippet: Snippet) -> None:
    names = snippet.run()
    for make, rates in names["rates"].items():
        for lr in rates:
            model = nn.Sequential(nn.Flatten(), nn.Linear(12, 10))
            two_epochs(model, make(model, lr=lr), short_loader(3, 2, 2))


@situation("optimizers", "weight decay on and off")
def _(snippet: Snippet) -> None:
    for make in snippet.run()["rates"]:
        model = nn.Linear(3, 2)
        assert make(model, weight_decay=0.3).param_groups[0]["weight_decay"] == 0.3


# ---------------------------------------------------------------- hyperparameter search


def search(
    snippet: Snippet, folder: str, changes: dict[str, str] | None = None, **given: object
) -> Names:
    """Paste both cells into a new process, the first one of its container."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "mkdtemp", lambda: folder)
        patch.setattr(os, "getpid", lambda: 1)
        names = snippet.run(0)
        return snippet.run(1, given={**names, **given}, **(changes or {}))


@situation("hyperparameter_search", "two processes try different settings, in one study")
def _(snippet: Snippet) -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as another:
        first, second = search(snippet, folder), search(snippet, another)
        trials = search(snippet, folder)["study"].trials
        assert first["study"].trials[0].params != second["study"].trials[0].params
    assert len(trials) == 20
    assert len({trial.params["lr"] for trial in trials}) == 20


@situation("hyperparameter_search", "again after a crash")
def _(snippet: Snippet) -> None:
    def crash(trial: Any) -> float:
        trial.suggest_float("lr", 1e-4, 1.0, log=True)
        raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(KeyboardInterrupt):
            search(snippet, folder, train_and_score=crash)
        names = search(snippet, folder)
        assert len(names["study"].trials) == 11
    assert set(names["best"]) == {"lr", "weight_decay"}


@situation("hyperparameter_search", "a trial that was killed is tried again")
def _(snippet: Snippet) -> None:
    with tempfile.TemporaryDirectory() as folder:
        killed = search(snippet, folder)["study"].ask()  # asked for, and never told
        params = {"lr": killed.suggest_float("lr", 1e-4, 1.0, log=True)}
        again = search(snippet, folder, {"after_a_kill": "after_a_kill = True"})
        trials = again["study"].trials
        assert [trial.state.name for trial in trials].count("RUNNING") == 0
    assert trials[killed.number].state.name == "FAIL"
    assert trials[killed.number + 1].params["lr"] == params["lr"]


# ----------------------------------------------------------------------- regularization


def in_batches(x: torch.Tensor, y: torch.Tensor, size: int = 16) -> DataLoader:
    return DataLoader(TensorDataset(x, y), size)


@situation("overfitting", "a network with dropout and batch norm, and one image")
def _(snippet: Snippet) -> None:
    names, x, y = snippet.run(), torch.randn(40, 8), torch.randint(3, (40,))
    model = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 3))
    before, score = copy.deepcopy(model.state_dict()), names["score"]
    whole = score(model, in_batches(x, y, 40))
    assert score(model, in_batches(x, y)) == pytest.approx(whole, rel=1e-5)  # a short last batch
    assert set(score(model, in_batches(x[:1], y[:1]))) == {"loss", "accuracy"}
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@situation("overfitting", "a network that knows its images: both gaps are positive")
def _(snippet: Snippet) -> None:
    names, x, y = snippet.run(), torch.randn(20, 100), torch.randint(3, (20,))
    model = nn.Linear(100, 3)
    with torch.no_grad():
        model.weight.copy_(nn.functional.one_hot(y, 3).float().T @ x)
    new = in_batches(torch.randn(99, 100), torch.randint(3, (99,)))
    assert min(names["gaps"](model, in_batches(x, y), new).values()) > 0


@situation("dropout", "two epochs with a short last batch, then one image")
def _(snippet: Snippet) -> None:
    model, x = snippet.run()["model"], torch.randn(4, 1, 28, 28)
    two_epochs(model, torch.optim.SGD(model.parameters(), lr=0.1), short_loader(1, 28, 28))
    assert not torch.equal(model(x), model(x))
    model.eval()
    torch.testing.assert_close(model(x[:1]), model(x)[:1], atol=1e-5, rtol=1e-4)


@situation("dropout", "masks in training alone")
def _(snippet: Snippet) -> None:
    names = snippet.run()
    assert not names["model"].training and 0 <= names["accuracy"] <= 1


@situation("weight_decay", "norms, biases, embeddings and a frozen layer")
def _(snippet: Snippet) -> None:
    names = snippet.run(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
    groups = names["decay_groups"](model, 0.1)
    assert [len(group["params"]) for group in groups] == [2, 4]
    model[0].requires_grad_(False)
    frozen = model[0].weight.clone()
    two_epochs(model, torch.optim.AdamW(groups, lr=0.01), short_loader(12))
    names["soft_threshold"](model, lr=0.1, l1=0.5)
    assert torch.equal(model[0].weight, frozen)
    assert (model[3].weight == 0).any() and model[3].bias.all()
    reader = nn.Sequential(nn.Embedding(9, 4), nn.LayerNorm((5, 4)), nn.Linear(4, 9, bias=False))
    decayed, others = (group["params"] for group in names["decay_groups"](reader, 0.1))
    assert decayed == [reader[2].weight] and len(others) == 3
    reader[2].weight = reader[0].weight  # tied: one matrix, in one group
    decayed, others = (group["params"] for group in names["decay_groups"](reader, 0.1))
    assert not decayed and len(others) == 3


@situation("weight_decay", "either optimizer, and a rate that falls to zero")
def _(snippet: Snippet) -> None:
    old, new = "AdamW(decay_groups(model, 0.05), lr=1e-3)", "SGD(decay_groups(model, 5e-4), lr=0.1)"
    for changes in ({}, {old: new}):
        groups = Snippet("weight_decay", changes).run()["optimizer"].param_groups
        assert [len(group["params"]) for group in groups] == [2, 3]
        assert groups[0]["weight_decay"] > 0 == groups[1]["weight_decay"]
        assert all(group["lr"] < 1e-6 for group in groups)


@situation("mixing", "mixed labels to train on, whole ones to validate")
def _(snippet: Snippet) -> None:
    names = snippet.run(mixing="mixing, smoothing = True, 0.0")
    x, y = next(iter(names["train_loader"]))
    assert y.shape == (len(x), 10) and not torch.equal(y, y.round())
    torch.testing.assert_close(y.sum(1), torch.ones(len(x)))
    assert next(iter(names["val_loader"]))[1].dtype == torch.int64
    assert names["train_loss"].label_smoothing == 0 == names["val_loss"].label_smoothing


@situation("mixing", "one of the two tricks as it stands, and only in training")
def _(snippet: Snippet) -> None:
    names = snippet.run()
    assert next(iter(names["train_loader"]))[1].dtype == torch.int64
    assert names["train_loss"].label_smoothing > 0 == names["val_loss"].label_smoothing
    trained, judged = (set(names[part].indices) for part in ("train_data", "val_data"))
    assert trained and judged and not trained & judged


@situation("mixing", "the temperature leaves the answers as they were, and lowers the loss")
def _(snippet: Snippet) -> None:
    names = snippet.run()
    logits, y, found = (names[name] for name in ("logits", "y", "temperature"))
    assert torch.equal(names["probabilities"].argmax(1), logits.argmax(1))
    assert names["val_loss"](logits / found, y) <= names["val_loss"](logits, y)
    assert 1 / 31 < found < 32


@situation("mixing", "grey pictures, a short last batch, a batch of one")
def _(snippet: Snippet) -> None:
    y = "torch.randint(num_classes, (21,))"
    for mixing in ("mixing = False", "mixing = True"):
        small = Snippet("mixing", {"Conv2d(3,": "Conv2d(1,", "batch_size=64": "batch_size=8"})
        data = f"data = TensorDataset(torch.rand(21, 1, 28, 28), {y})"
        names = small.run(data=data, mixing=mixing)
        assert [len(x) for x, _ in names["train_loader"]] == [8, 8, 1]
        assert len(names["logits"]) == 4


@situation("early_stopping", "the best weights come back")
def _(snippet: Snippet) -> None:
    names = snippet.run()
    x, y = names["val_loader"].dataset.tensors
    loss = nn.functional.cross_entropy(names["model"](x), y)
    assert loss.item() == pytest.approx(names["lowest"]) and names["since"] == 10


@situation("early_stopping", "a short last batch of validation images")
def _(snippet: Snippet) -> None:
    loader = "val_loader = DataLoader(TensorDataset(x[256:], y[256:]), 50)"
    names = snippet.run(val_loader=loader)
    x, y = names["val_loader"].dataset.tensors
    loss = nn.functional.cross_entropy(names["model"](x), y)
    assert loss.item() == pytest.approx(names["lowest"], rel=1e-5)


@situation("early_stopping", "two epochs")
def _(snippet: Snippet) -> None:
    snippet = Snippet(snippet.page, {**snippet._changes, "range(100)": "range(2)"})
    assert math.isfinite(snippet.run()["lowest"])


@situation("early_stopping", "the losses are NaN from the first epoch on")
def _(snippet: Snippet) -> None:
    nothing = "TensorDataset(torch.full((8, 64), float('nan')), torch.randint(10, (8,)))"
    names = snippet.run(val_loader=f"val_loader = DataLoader({nothing}, 8)")
    assert names["lowest"] == math.inf and names["since"] == 10


# ----------------------------------------------------------------------- good practices


def check_a_model(snippet: Snippet, model: nn.Module, kind: type = torch.optim.Adam) -> list[str]:
    """What the check before training says of a model; it must leave all as it was."""
    optimizer = kind(model.parameters(), lr=0.01)
    x, y = torch.randn(32, 20), torch.randint(10, (32,))
    before = copy.deepcopy(model.state_dict())
    said: list[object] = []
    names = snippet.run(0, given={"print": lambda *words: said.append(words[-1])})
    names["check_before_training"](model, nn.CrossEntropyLoss(), optimizer, x, y, 10, num_steps=99)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not optimizer.state and all(p.grad is None for p in model.parameters())
    return said


@situation("sanity_checks", "a sound network, with each optimizer")
def _(snippet: Snippet) -> None:
    for optimizer in (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
        model = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
        assert check_a_model(snippet, model, optimizer) == [True, True]


@situation("sanity_checks", "a gradient of zero, and decay that moves the weights all the same")
def _(snippet: Snippet) -> None:
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    nn.init.constant_(model[0].bias, -1000.0)  # no unit ever fires
    _, _, *said = check_a_model(snippet, model, torch.optim.AdamW)
    assert said == ["0.weight", "0.bias", "2.weight"]


@situation("sanity_checks", "a frozen layer, and a start that is far off")
def _(snippet: Snippet) -> None:
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    model[0].requires_grad_(False)
    nn.init.normal_(model[2].weight, std=30)
    near, _, *stuck = check_a_model(snippet, model)
    assert not near and stuck == ["0.weight", "0.bias"]


def audit(snippet: Snippet, model: nn.Module, change: Callable | None = None) -> list[str]:
    """What the audit says of a script; it must leave gradients and statistics as they were."""

    def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
        model.eval()
        return (model(x).argmax(1) == y).float().mean().item()

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if change:
        change(model)
    before = copy.deepcopy(model.state_dict())
    said: list[str] = []
    names = snippet.run(0, given={"print": lambda *words: said.append(" ".join(words))})
    x, y = torch.randn(64, 20), torch.randint(10, (64,))
    names["audit"](model, optimizer, accuracy, x, y, num_classes=10)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training and all(p.grad is None for p in model.parameters())
    return said


def deep() -> nn.Sequential:
    """A network with all that an audit could disturb."""
    layers = [nn.Linear(20, 16), nn.ReLU(), nn.LayerNorm(16), nn.Dropout(0.5), nn.Linear(16, 10)]
    return nn.Sequential(nn.BatchNorm1d(20), *layers)


class Cut(nn.Module):
    """A graph that is cut by accident."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach()


@situation("bug_clinic", "a healthy script")
def _(snippet: Snippet) -> None:
    assert audit(snippet, deep()) == []


@situation("bug_clinic", "a layer that is cut off, and one that is never used")
def _(snippet: Snippet) -> None:
    cut = nn.Sequential(nn.Linear(20, 16), Cut(), nn.ReLU(), nn.Linear(16, 10))
    cut[3].spare = nn.Linear(2, 2)
    said = audit(snippet, cut)
    lost = ["0.weight", "0.bias", "3.spare.weight", "3.spare.bias"]
    assert said == [f"no gradient reaches {name}" for name in lost]


@situation("bug_clinic", "a frozen layer, and one that came too late")
def _(snippet: Snippet) -> None:
    def change(model: nn.Sequential) -> None:
        model[1].requires_grad_(False)
        model[5] = nn.Linear(16, 10)

    said = audit(snippet, deep(), change)
    assert said[:2] == ["frozen: 1.weight", "frozen: 1.bias"]
    assert [line for line in said if "does not know 5." in line] == said[2:]


@situation("defaults_that_travel", "convolutions, and a loader of one's own")
def _(snippet: Snippet) -> None:
    model = "model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))"
    mine = short_loader(3, 8, 8)
    names = snippet.run(
        model=model, loader="loader = mine", parts="parts = 1", given={"mine": mine}
    )
    for mean, now in zip(names["averaged"].parameters(), names["model"].parameters(), strict=True):
        assert mean.requires_grad and not torch.equal(mean, now)


@situation("defaults_that_travel", "a step for each group of batches, and none in between")
def _(snippet: Snippet) -> None:
    steps: list[float] = []

    class Counting(torch.optim.Adam):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            steps.append(max(p.grad.norm().item() for p in self.param_groups[0]["params"]))
            super().step(closure)

    mine = short_loader(64)
    optimizer = "optimizer = Counting(model.parameters(), lr=0.01)"
    for parts, wanted in ((1, 3), (3, 1), (2, 1)):
        steps.clear()
        given = {"mine": mine, "Counting": Counting}
        snippet.run(
            loader="loader = mine", optimizer=optimizer, parts=f"parts = {parts}", given=given
        )
        assert len(steps) == wanted and all(norm <= 1.001 for norm in steps)


@situation("transformers", "a text of one's own, for two epochs")
def _(snippet: Snippet) -> None:
    started = snippet.run(0)["Reader"](tokens=256)
    fresh = {name: weights.std() for name, weights in started.named_parameters()}
    assert 0.015 < fresh["token.weight"] < 0.025
    last = [std for name, std in fresh.items() if name.endswith("linear2.weight")]
    assert len(last) == 4 and all(abs(std - 0.02 / math.sqrt(8)) < 0.001 for std in last)
    mine = "The quick brown fox jumps over the lazy dog; "  # ä is two bytes, and both are below 256
    names = snippet.run(
        text="text = mine", length="length, num_epochs = 8, 2", given={"mine": mine * 40 + "ä" * 9}
    )
    schedule, num_steps = names["schedule"], names["num_steps"]
    assert schedule.last_epoch == num_steps  # once a step, and the last one reaches zero
    assert all(math.isclose(rate, 0, abs_tol=1e-12) for rate in schedule.get_last_lr())
    model = names["model"].eval()
    x = torch.randint(256, (3, 8))
    with torch.no_grad():
        first = model(x)
        x[:, -1] = 0
        torch.testing.assert_close(model(x)[..., :-1], first[..., :-1])  # no look ahead


@situation("transformers", "decay: matrices alone, and embeddings that are tied")
def _(snippet: Snippet) -> None:
    names = snippet.run(0, 1)
    model = names["Reader"](tokens=50)
    model.logits.weight = model.token.weight
    decayed, free = names["adamw"](model, lr=0.01).param_groups
    assert decayed["weight_decay"] == 0.1 and free["weight_decay"] == 0.0
    name_of = {id(weights): name for name, weights in model.named_parameters()}
    kept = {name_of[id(weights)] for weights in free["params"]}
    shrunk = {name_of[id(weights)] for weights in decayed["params"]}
    assert {"token.weight", "place.weight", "logits.bias"} <= kept
    assert shrunk == {
        n for n, w in model.named_parameters() if n.startswith("blocks") and w.dim() > 1
    }
    assert not kept & shrunk and kept | shrunk == set(name_of.values())


@situation("stacking_tricks", "grey and coloured images, a short last batch, then one image")
def _(snippet: Snippet) -> None:
    good_network = snippet.run()["good_network"]
    for shape in ((1, 28, 28), (3, 32, 32)):
        model = good_network(channels=shape[0], classes=10, dropout=0.2)
        two_epochs(model, torch.optim.Adam(model.parameters(), lr=0.01), short_loader(*shape))
        assert model.eval()(torch.randn(1, *shape)).shape == (1, 10)


@situation("stacking_tricks", "each image: PIL and bytes")
def _(snippet: Snippet) -> None:
    augment = snippet.run()["augment"]
    assert augment(picture(28, 28)).size == (28, 28)
    assert augment(torch.zeros(3, 32, 32, dtype=torch.uint8)).dtype == torch.uint8


@situation("stacking_tricks", "the mean over networks and views")
def _(snippet: Snippet) -> None:
    names = snippet.run()
    models, x = [names["good_network"](3, 10) for _ in range(3)], torch.rand(5, 3, 32, 32)
    mean = names["mean_answer"](models, x)
    torch.testing.assert_close(mean.sum(1), torch.ones(5))
    assert not torch.allclose(mean, names["mean_answer"](models, x.flip(-1)))
    both, mirrored = (names["mean_answer"](models, one, flips=True) for one in (x, x.flip(-1)))
    torch.testing.assert_close(both, mirrored)
    assert not any(model.training for model in models)


@situation("stacking_tricks", "leaving one out")
def _(snippet: Snippet) -> None:
    scores = snippet.run(0)["leave_one_out"](["norm", "dropout"], len)
    assert scores == {"plain": 0, "all": 2, "all but norm": 1, "all but dropout": 1}


# ------------------------------------------------------------------------------- tests


def test_every_trick_page_has_a_table() -> None:
    assert set(SITUATIONS) == set(TRICKS)


CELLS = [(page, number) for page in sorted(TRICKS) for number in range(len(Snippet(page).cells))]


@pytest.mark.parametrize(("page", "number"), CELLS)
def test_cell_runs_after_a_restart(page: str, number: int) -> None:
    """Each cell brings its own imports; one that goes on from others has them named above."""
    snippet, before = Snippet(page), GOES_ON_FROM.get((page, number), ())
    snippet.run(*before, number)
    if before:
        imports = {"torch": torch, "nn": nn, "math": math, "copy": copy, "os": os}
        with pytest.raises(NameError):  # else the entry in the table is stale
            snippet.run(number, given=imports)


@pytest.mark.parametrize(
    ("page", "name"), [(page, name) for page, table in SITUATIONS.items() for name in table]
)
def test_situation(page: str, name: str) -> None:
    SITUATIONS[page][name](Snippet(page))


# Faults that stood in the book once: (page, situation, what is right, what stood there).
FAULTS = [
    ("augmentation", "PIL images through a DataLoader", "v2.ToImage(), *to", "*to"),
    ("augmentation", "grey pictures stay grey", "v2.Normalize([0.5]", "v2.Normalize([0.5] * 3"),
    ("augmentation", "a batch of bytes", "x = v2.functional", "v2.functional"),
    ("normalization", "float64 and whole numbers, as pandas gives them", ".float()", ""),
    ("learning_rate", "a last batch that is short", "len(loader)", "(len(data) // 32)"),
    (
        "hyperparameter_search",
        "two processes try different settings, in one study",
        "TPESampler(",
        "TPESampler(seed=os.getpid(), ",
    ),
    (
        "early_stopping",
        "the losses are NaN from the first epoch on",
        'float("inf"), 0, copy.deepcopy(model.state_dict())',
        'float("inf"), 0, None',
    ),
    (
        "bug_clinic",
        "a layer that is cut off, and one that is never used",
        "copied.grad is None or not",
        "copied.grad is not None and not",
    ),
    ("bug_clinic", "a healthy script", "copy.deepcopy(model)", "model"),
    (
        "weight_decay",
        "norms, biases, embeddings and a frozen layer",
        "if w.requires_grad",
        "if True",
    ),
    (
        "weight_decay",
        "norms, biases, embeddings and a frozen layer",
        "(nn.Embedding, nn.LayerNorm)",
        "nn.LayerNorm",
    ),
]


@pytest.mark.parametrize(("page", "name", "right", "wrong"), FAULTS)
def test_faults_of_old_are_caught(page: str, name: str, right: str, wrong: str) -> None:
    assert any(right in cell for cell in Snippet(page).cells)
    with pytest.raises(Exception):  # noqa: B017 - whatever a reader would meet
        SITUATIONS[page][name](Snippet(page, {right: wrong}))
