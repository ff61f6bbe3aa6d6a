"""The data: the same for the same seed, split cleanly, in range, clear when it is not to be had."""

import gzip
import hashlib
import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tricks_lib import data as td

ROOT = Path(__file__).parent.parent
LETTERS = partial(td.glyphs, task="letters")
SHIPPED = [td.glyphs, LETTERS, td.digits, td.drivers]
NAMES = ["glyphs", "letters", "digits", "drivers"]
FIELDS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")


def script(name):
    """Import one of the scripts in data/, which are no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "data" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def one_sentence(error):
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text and ". " not in text, text
    return text


# ---- every set that ships -----------------------------------------------------------------------


@pytest.mark.parametrize("make", SHIPPED, ids=NAMES)
def test_types_shapes_and_ranges(make):
    data = make(0)
    for part in ("train", "val", "test"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        assert x.dtype == torch.float32 and y.dtype == torch.int64
        assert x.shape == (len(y), *data.shape) and x.is_contiguous()
        assert y.min() == 0 and y.max() == data.num_classes - 1
        if len(data.shape) == 3:
            assert 0 <= x.min() < 0.01 and 0.99 < x.max() <= 1


@pytest.mark.parametrize("make", SHIPPED, ids=NAMES)
def test_the_seed_decides_everything(make):
    a, again, other = make(3), make(3), make(4)
    assert all(torch.equal(getattr(a, f), getattr(again, f)) for f in FIELDS)
    assert not any(torch.equal(getattr(a, f), getattr(other, f)) for f in FIELDS)
    assert a.seed == 3


@pytest.mark.parametrize("make", SHIPPED, ids=NAMES)
def test_parts_do_not_move_with_the_number_of_training_rows(make):
    few, many = make(1, n_train=50), make(1, n_train=400)
    assert all(torch.equal(getattr(few, f), getattr(many, f)) for f in FIELDS[2:])
    assert torch.equal(few.x_train, many.x_train[:50])
    assert torch.equal(few.y_train, many.y_train[:50])
    less_val = make(1, n_val=10)
    assert torch.equal(less_val.x_test, many.x_test)
    assert torch.equal(less_val.x_train[:400], many.x_train)


@pytest.mark.parametrize("make", SHIPPED, ids=NAMES)
def test_classes_keep_their_shares(make):
    data = make(2, n_train=520)
    share = torch.cat([data.y_train, data.y_val, data.y_test]).bincount() / (
        520 + len(data.y_val) + len(data.y_test)
    )
    for y in (data.y_train, data.y_val, data.y_test):
        assert (y.bincount(minlength=data.num_classes) / len(y) - share).abs().max() < 0.015


@pytest.mark.parametrize("always_train", [0, 2])
def test_parts_share_no_row(always_train):
    labels = np.arange(100) % 3
    parts = td._split("test", labels, 0, 50, 20, 30, always_train=always_train)
    assert [len(part) for part in parts] == [50, 20, 30]
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert list(parts[0][:always_train]) == list(range(always_train))


@pytest.mark.parametrize("make", SHIPPED, ids=NAMES)
def test_what_a_reader_changes_is_whole_again_at_the_next_call(make):
    before = make(3)
    kept = [before.x_train.clone(), before.y_train.clone()]
    before.x_train.zero_()
    before.y_train.zero_()
    after = make(3)
    assert torch.equal(after.x_train, kept[0])
    assert torch.equal(after.y_train, kept[1])


def test_every_glyph_is_dealt_once():
    # With all 5,000 asked for, the sharpest pixel of each mask must come back as often as it is.
    plain = pytest.MonkeyPatch()
    with plain.context() as patch:
        patch.setattr(td, "BACKGROUND", (0.0, 0.0))
        patch.setattr(td, "CONTRAST", (1.0, 1.0))
        patch.setattr(td, "TINT", (1.0, 1.0))
        patch.setattr(td, "NOISE", 0.0)
        data = td.glyphs(5, n_train=3600)
    dealt = torch.cat([data.x_train, data.x_val, data.x_test])[:, 0].mul(255).round().byte().numpy()
    shipped = td._shipped("glyphs.npz")["digits_masks"]
    assert sorted(m.tobytes() for m in dealt) == sorted(m.tobytes() for m in shipped)


def test_colours_and_noise_are_drawn_anew():
    # In the corner there is no ink: what stands there is background, tint and noise alone.
    a, b = td.glyphs(0), td.glyphs(1)
    corners = [x[:400, :, 0, 0] for x in (a.x_train, a.x_val, a.x_test, b.x_train, b.x_val)]
    for i, one in enumerate(corners):
        assert all((one == other).float().mean() < 0.1 for other in corners[:i])


def test_drivers_are_raw_and_the_famous_two_come_first():
    for seed in (0, 7):
        data = td.drivers(seed)
        assert len(data.feature_names) == 7 == data.shape[0]
        assert data.x_train[:2, :2].tolist() == [[50, 10_000], [25, 1_000]]
    assert data.x_train.std(0).max() / data.x_train.std(0).min() > 1e4, "scales must be unlike"
    assert 0.35 < data.y_test.float().mean() < 0.5
    assert td.glyphs(n_train=10).feature_names == ()


def test_photo():
    for name in ("flower", "china"):
        image = td.photo(name)
        assert image.shape == (3, 427, 640) and image.dtype == torch.float32
        assert image.min() >= 0 and 0.9 < image.max() <= 1
    small = td.photo("china", size=61)
    assert small.shape == (3, 61, 61)
    assert abs(small.mean() - image[:, :, 106:533].mean()) < 0.01


def test_data_behaves():
    data = td.digits(0, n_train=30)
    assert repr(data) == (
        "Data(digits, seed 0: 30 train, 300 val, 497 test; x (1, 8, 8), 10 classes)"
    )
    assert data.to("cpu").x_test.device.type == "cpu"
    assert data.to("meta").y_train.device.type == "meta"
    half = data.replace(x_train=data.x_train / 2)
    assert torch.equal(half.x_train * 2, data.x_train) and half.class_names == data.class_names
    with pytest.raises(AttributeError):
        data.seed = 1
    with pytest.raises(ValueError, match="one label a row"):
        data.replace(x_train=data.x_train[:5])


def test_standardised_goes_by_the_training_data_alone():
    images = td.glyphs(2, n_train=200)
    scaled = images.standardised()
    assert scaled.name == "glyphs, standardised" and scaled.seed == 2
    assert scaled.x_train.mean().abs() < 1e-5 and abs(scaled.x_train.std() - 1) < 1e-5
    mean, std = images.x_train.mean(), images.x_train.std()
    assert torch.allclose(scaled.x_test * std + mean, images.x_test, atol=1e-6)
    outlier = images.replace(x_test=images.x_test * 100)
    assert torch.equal(outlier.standardised().x_train, scaled.x_train)

    table = td.drivers(0).standardised()  # unlike units: every column by itself
    assert torch.allclose(table.x_train.mean(0), torch.zeros(7), atol=1e-4)
    assert torch.allclose(table.x_train.std(0), torch.ones(7), atol=1e-4)
    constant = td.drivers(0).replace(x_train=torch.ones(2400, 7))
    with pytest.raises(ValueError, match="does not vary"):
        constant.standardised()


def test_loaded_tensors_are_the_readers_own():
    # A reader may write into a tensor; the next one must not see it.
    for make in SHIPPED:
        first = make(0, n_train=20)
        kept = first.x_train.clone()
        first.x_train.zero_()
        first.y_train.zero_()
        assert torch.equal(make(0, n_train=20).x_train, kept)


# ---- text ---------------------------------------------------------------------------------------


def test_text_has_types_and_shapes():
    data = td.text(0)
    assert [len(data.y_train), len(data.y_val), len(data.y_test)] == [200, 150, 400]
    for part in ("train", "val", "test"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        assert x.dtype == y.dtype == torch.int64 and x.shape == (len(y), 32)
        assert x.min() >= 0 and x.max() < len(data.words)
        assert (y.bincount(minlength=5) / len(y) - 0.2).abs().max() < 0.015
    assert data.num_classes == 5 and data.shape == (32,) and data.seed == 0
    assert data.x_unlabelled.shape == (1480 - 150 - 400, 32)
    assert data.words[0] == "?" and data.words[1] == "the"
    assert len(set(data.words)) == len(data.words)


def test_text_depends_on_the_seed_alone():
    tensors = (*FIELDS, "x_unlabelled")
    a, again, other = td.text(3), td.text(3), td.text(4)
    assert all(torch.equal(getattr(a, f), getattr(again, f)) for f in tensors)
    assert a.words == again.words != other.words
    few, many = td.text(3, n_train=25), td.text(3, n_train=400)
    assert torch.equal(few.x_train, many.x_train[:25]) and few.words == many.words
    assert all(torch.equal(getattr(few, f), getattr(many, f)) for f in tensors[2:])


def test_what_is_pretrained_on_is_not_tested():
    data = td.text(5, n_train=400)
    held = torch.cat([data.x_val, data.x_test]).tolist()
    free = data.x_unlabelled.tolist()
    assert not {tuple(row) for row in held} & {tuple(row) for row in free}
    assert {tuple(row) for row in data.x_train.tolist()} <= {tuple(row) for row in free}
    counts = data.x_unlabelled.flatten().bincount(minlength=len(data.words))[1:]
    assert counts.min() == 2 and (counts.diff() <= 0).all(), "frequent words come first"


def test_text_can_be_read_and_trained_on():
    data = td.text(0)
    words = data.read(data.x_train[0]).split()
    assert len(words) == 32 and set(words) <= set(data.words)
    assert data.to("meta").x_unlabelled.device.type == "meta"
    assert repr(data) == "Data(text, seed 0: 200 train, 150 val, 400 test; x (32,), 5 classes)"
    data.x_train.zero_()
    assert td.text(0).x_train.any(), "a reader may write into a tensor"


def test_the_script_makes_the_shipped_text():
    make = script("make_text")
    arrays = td._shipped("text.npz")
    assert tuple(arrays["chapters"]) == tuple(make.CHAPTERS)
    lines = arrays["lines"].tobytes().decode().split("\n")
    assert len(lines) == len(set(lines)) == len(arrays["labels"]) == 1480
    assert all(len(make.words(line)) == make.WORDS for line in lines)
    assert np.bincount(arrays["labels"])[:5].tolist() == [make.PASSAGES] * 5
    assert (ROOT / "data" / "text.npz").stat().st_size < 250_000
    if sys.version_info[:3] == (3, 11, 7):
        texts, labels = make.make()
        assert texts == lines and np.array_equal(labels, arrays["labels"])


def test_shakespeare_asks_for_the_next_character():
    data = td.shakespeare(0, n_train=40, n_val=8, n_test=20)
    assert data.x_train.shape == data.y_train.shape == (40, 64) and data.num_classes == 65
    assert torch.equal(data.x_train[:, 1:], data.y_train[:, :-1])
    text = td._shipped("shakespeare.npz")["characters"].tobytes().decode()
    assert data.read(data.x_train[3]) in text and data.read(data.y_test[-1]) in text
    assert hashlib.sha256(text.encode()).hexdigest() == script("make_shakespeare").SHA256


def test_parts_of_shakespeare_do_not_quote_each_other():
    data, other = td.shakespeare(0), td.shakespeare(1)
    windows = {part: {*map(data.read, getattr(data, f"x_{part}"))} for part in td.PARTS}
    assert [len(windows[part]) for part in td.PARTS] == [8000, 400, 1600]
    assert not windows["train"] & windows["test"] and not windows["val"] & windows["test"]
    assert not torch.equal(data.x_test, other.x_test)
    assert torch.equal(td.shakespeare(0, n_train=500).x_test, data.x_test)


# ---- wrong arguments ----------------------------------------------------------------------------


CHECKED = [*SHIPPED, td.text, td.shakespeare, td.mnist, td.cifar10]


@pytest.mark.parametrize("make", CHECKED, ids=[*NAMES, "text", "shakespeare", "mnist", "cifar10"])
@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        ({"seed": -1}, ValueError, "seed must be a whole number, 0 or more"),
        ({"seed": 1.5}, TypeError, "seed must be a whole number"),
        ({"seed": True}, TypeError, "seed must be a whole number"),
        ({"seed": "1"}, TypeError, "seed must be a whole number"),
        ({"n_train": 0}, ValueError, "n_train must be a whole number, 1 or more"),
        ({"n_val": -3}, ValueError, "n_val must be a whole number, 1 or more"),
        ({"n_test": 10.0}, TypeError, "n_test must be a whole number"),
    ],
)
def test_wrong_numbers(make, wrong, kind, says):
    with pytest.raises(kind) as error:
        make(**wrong)
    assert says in one_sentence(error)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (partial(td.glyphs, n_train=9000), "5000 examples, too few .* take n_train=3600"),
        (partial(td.glyphs, n_val=9000, n_train=9000), "take fewer"),
        (partial(td.digits, n_test=1797), "1797 examples, too few .* take n_test=497"),
        (partial(td.drivers, n_train=4000), "take n_train=2400"),
        (partial(td.text, n_train=500), "950 examples, too few .* take n_train=400"),
        (partial(td.glyphs, task="words"), "choose 'digits' or 'letters'"),
        (partial(td.photo, "cat"), "choose 'flower' or 'china'"),
        (partial(td.photo, size=0), "size must be a whole number, 1 or more"),
    ],
)
def test_what_cannot_be_had(call, says):
    with pytest.raises(ValueError, match=says) as error:
        call()
    one_sentence(error)


def test_numpy_numbers_are_numbers():
    data = td.digits(np.int64(1), n_train=np.int32(5))
    assert type(data.seed) is int and len(data.x_train) == 5


# ---- torchvision's sets -------------------------------------------------------------------------


def idx(array):
    """Write an array of bytes as an IDX file, the format of MNIST."""
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def small_mnist(monkeypatch):
    """A made MNIST of 60 and 20 images: its files, known to the library by size and sum."""
    rng = np.random.default_rng(0)
    files = {}
    for part, n in (("train", 60), ("t10k", 20)):
        files[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (n, 28, 28), np.uint8))
        files[f"{part}-labels-idx1-ubyte"] = idx(np.arange(n, dtype=np.uint8) % 10)
    known = {f: (len(b), hashlib.md5(b).hexdigest()) for f, b in files.items()}
    monkeypatch.setattr(td, "_IDX_FILES", known)
    return files


@pytest.fixture
def no_network(monkeypatch):
    """Every attempt at the network fails at once, as on a machine without one."""
    tried = []

    def refuse(request, *args, **kwargs):
        tried.append(getattr(request, "full_url", request))
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    return tried


@pytest.fixture
def server(small_mnist, monkeypatch):
    """Stand in for the network: serve the made MNIST, packed, with the sums that belong to it."""
    from torchvision.datasets import MNIST, utils

    packed = {f"{name}.gz": gzip.compress(content) for name, content in small_mnist.items()}
    served = []

    def serve(url, filename, *args, **kwargs):
        served.append(url.rpartition("/")[2])
        Path(filename).write_bytes(packed[served[-1]])

    monkeypatch.setattr(utils, "_get_redirect_url", lambda url, **kwargs: url)
    monkeypatch.setattr(utils, "_urlretrieve", serve)
    sums = [(name, hashlib.md5(content).hexdigest()) for name, content in packed.items()]
    monkeypatch.setattr(MNIST, "resources", sums)
    return packed, served


FEW = {"n_train": 40, "n_val": 10, "n_test": 20}


def put(files, root):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in files.items():
        (raw / name).write_bytes(content)
    return raw


def test_files_already_there_need_no_network(small_mnist, no_network, tmp_path):
    put(small_mnist, tmp_path)
    data = td.mnist(1, root=tmp_path, **FEW)
    assert data.shape == (1, 28, 28) and data.x_train.dtype == torch.float32
    assert data.y_train.dtype == torch.int64 and data.x_train.max() == 1
    assert data.class_names == tuple("0123456789") and no_network == []
    # Training and validation come out of one part, the test out of the other.
    rows = {row.numpy().tobytes() for row in torch.cat([data.x_train, data.x_val])}
    assert len(rows) == 50
    assert not rows & {row.numpy().tobytes() for row in data.x_test}
    with pytest.raises(ValueError, match=r"test part of mnist has 20 .* take n_test=20"):
        td.mnist(root=tmp_path, n_train=40, n_val=10, n_test=21)


def test_the_environment_names_the_folder(small_mnist, no_network, tmp_path, monkeypatch):
    put(small_mnist, tmp_path)
    monkeypatch.setenv("TRICKS_DATA", str(tmp_path))
    assert len(td.mnist(**FEW).x_test) == 20


@pytest.mark.parametrize("make", [td.mnist, td.fashion_mnist, td.cifar10])
def test_without_a_network_there_is_one_clear_error(make, no_network, tmp_path):
    with pytest.raises(td.DataUnavailable) as error:
        make(root=tmp_path)
    text = one_sentence(error)
    for mend in ("connect to the network", str(tmp_path), "tl.glyphs()", "no network"):
        assert mend in text
    assert no_network, "it should have tried"
    assert error.value.__cause__ is None and error.value.__suppress_context__
    assert list(tmp_path.iterdir()) == [], "nothing may be half-kept"


def test_download_false_tries_no_network(no_network, tmp_path):
    with pytest.raises(td.DataUnavailable, match="download=False"):
        td.mnist(root=tmp_path / "none", download=False)
    assert no_network == [] and not (tmp_path / "none").exists()


def test_download(small_mnist, server, tmp_path):
    data = td.mnist(root=tmp_path, **FEW)
    assert len(data.x_train) == 40 and len(server[1]) == 4
    raw = tmp_path / "MNIST" / "raw"
    assert sorted(p.name for p in raw.iterdir()) == sorted(small_mnist), "unpacked files, no more"
    assert [p.name for p in tmp_path.iterdir()] == ["MNIST"]
    td.mnist(root=tmp_path, **FEW)
    assert len(server[1]) == 4, "the second time nothing is fetched"


def half(content):
    return content[: len(content) // 2]


def flipped(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [half, flipped])
def test_a_damaged_file_is_seen(small_mnist, no_network, tmp_path, damage):
    name = "train-images-idx3-ubyte"
    put(small_mnist | {name: damage(small_mnist[name])}, tmp_path)
    with pytest.raises(td.DataUnavailable, match=rf"{name} \(broken\)") as error:
        td.mnist(root=tmp_path, **FEW)
    assert "t10k" not in one_sentence(error), "only the damaged file is to be replaced"
    assert [p.name for p in tmp_path.iterdir()] == ["MNIST"]


@pytest.mark.parametrize("damage", [half, flipped])
def test_a_damaged_file_is_replaced(small_mnist, server, tmp_path, damage):
    name = "t10k-labels-idx1-ubyte"
    raw = put(small_mnist | {name: damage(small_mnist[name])}, tmp_path)
    td.mnist(root=tmp_path, **FEW)
    assert (raw / name).read_bytes() == small_mnist[name]


def test_a_download_that_breaks_off_leaves_nothing(small_mnist, server, tmp_path):
    name = "t10k-images-idx3-ubyte.gz"  # the third of four
    server[0][name] = half(server[0][name])
    with pytest.raises(td.DataUnavailable) as error:
        td.mnist(root=tmp_path, **FEW)
    one_sentence(error)
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_fashion_file_is_seen(small_mnist, no_network, tmp_path):
    raw = put(small_mnist, tmp_path)
    shutil.move(raw.parent, tmp_path / "FashionMNIST")
    assert td.fashion_mnist(root=tmp_path, **FEW).class_names[9] == "Ankle boot"
    file = tmp_path / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte"
    file.write_bytes(half(file.read_bytes()))
    with pytest.raises(td.DataUnavailable, match=r"t10k-images-idx3-ubyte \(broken\)"):
        td.fashion_mnist(root=tmp_path, **FEW)


@pytest.fixture
def small_cifar(no_network, tmp_path, monkeypatch):
    """A made CIFAR-10 of 40 and 20 images in its own layout, known to the library by its sums."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(name):
        labels = list(range(10)) * 2
        return write(name, {"data": rng.integers(0, 256, (20, 3072), np.uint8), "labels": labels})

    monkeypatch.setattr(CIFAR10, "train_list", [batch("data_batch_1"), batch("data_batch_2")])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    meta = write("batches.meta", {"label_names": [f"kind {k}" for k in range(10)]})
    known = {"filename": meta[0], "key": "label_names", "md5": meta[1]}
    monkeypatch.setattr(CIFAR10, "meta", known)
    return partial(td.cifar10, root=tmp_path, n_train=30, n_val=10, n_test=20), folder


def test_cifar10(small_cifar):
    make, folder = small_cifar
    data = make()
    assert data.name == "cifar10" and data.pool == "40 images"
    assert data.shape == (3, 32, 32) and data.class_names == tuple(f"kind {k}" for k in range(10))
    with (folder / "test_batch").open("rb") as file:
        first = pickle.load(file)["data"][0].reshape(3, 32, 32)
    assert any(np.allclose(x * 255, first, atol=1e-3) for x in data.x_test.numpy())
    assert make(copy=True).name == "cifar10", "genuine files are no copy"
    (folder / "test_batch").write_bytes(half((folder / "test_batch").read_bytes()))
    with pytest.raises(td.DataUnavailable, match=r"test_batch \(broken\)"):
        make()
    with pytest.raises(td.DataUnavailable, match="test_batch is no file of CIFAR-10"):
        make(copy=True)


def test_a_copy_that_differs_is_read_only_in_so_many_words_and_named_so(small_cifar):
    make, folder = small_cifar
    before = make().x_test
    content = pickle.loads((folder / "test_batch").read_bytes())
    content["data"] = content["data"] // 2
    (folder / "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(td.DataUnavailable, match=r"test_batch \(broken\).*copy=True") as error:
        make(download=False)
    one_sentence(error)
    assert make(copy=True).name == "CIFAR-10 (copy that differs)"
    data = make(copy="CIFAR-10 (JPEG copy)")
    assert data.name == "CIFAR-10 (JPEG copy)"
    assert data.x_test.mean() == pytest.approx(before.mean().item() / 2, abs=0.01)
    with pytest.raises(ValueError, match="must say that it is one"):
        make(copy="CIFAR-10")
    (folder / "test_batch").unlink()
    with pytest.raises(td.DataUnavailable, match=r"test_batch \(missing\)"):
        make(copy=True)


def test_a_copy_cannot_run_code(small_cifar):
    make, folder = small_cifar

    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(folder / "harm"),)

    (folder / "test_batch").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(td.DataUnavailable, match="it asks for posix"):
        make(copy=True)
    assert not (folder / "harm").exists()


def test_a_file_that_changes_is_read_again(small_mnist, no_network, tmp_path):
    raw = put(small_mnist, tmp_path)
    td.mnist(root=tmp_path, **FEW)
    name = "t10k-images-idx3-ubyte"
    (raw / name).write_bytes(flipped(small_mnist[name]))
    os.utime(raw / name, (1, 1))
    with pytest.raises(td.DataUnavailable, match="broken"):
        td.mnist(root=tmp_path, **FEW)


def test_a_place_that_cannot_be_used_is_named(no_network, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("TRICKS_DATA", str(file))
    with pytest.raises(td.DataUnavailable, match="is a file: set TRICKS_DATA to a folder") as error:
        td.mnist()
    one_sentence(error)
    monkeypatch.setenv("TRICKS_DATA", str(file / "below"))
    with pytest.raises(td.DataUnavailable, match="may not be written to: set TRICKS_DATA") as error:
        td.mnist()
    one_sentence(error)

    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setenv("TRICKS_DATA", str(tmp_path / "other"))
    with pytest.raises(td.DataUnavailable, match="may not be written to: set TRICKS_DATA"):
        td.mnist()


def test_without_a_home_folder_the_mend_is_named(no_network, monkeypatch):
    def homeless(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TRICKS_DATA", raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(td.DataUnavailable, match="no home folder here: set TRICKS_DATA") as error:
        td.mnist()
    one_sentence(error)


@pytest.mark.skipif("TRICKS_MNIST_ROOT" not in os.environ, reason="TRICKS_MNIST_ROOT is not set")
def test_the_real_mnist(no_network):
    data = td.mnist(root=os.environ["TRICKS_MNIST_ROOT"])
    assert [len(data.x_train), len(data.x_val), len(data.x_test)] == [55_000, 5_000, 10_000]
    assert abs(torch.cat([data.x_train, data.x_val]).mean() - 0.1307) < 1e-4
    assert data.y_test.bincount().tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert no_network == []


# ---- the files and their scripts ----------------------------------------------------------------


def test_the_script_draws_the_shipped_glyphs():
    make = script("make_glyphs")
    arrays = td._shipped("glyphs.npz")
    assert tuple(arrays["faces"]) == make.FACES
    for number, (task, (chars, each)) in enumerate(make.TASKS.items()):
        labels = arrays[f"{task}_labels"]
        drawn = make.draw_parameters(np.random.default_rng([0, number]), len(labels))
        assert np.bincount(labels).tolist() == [each] * len(chars)
        for name in make.PARAMETERS:
            assert np.array_equal(arrays[f"{task}_{name}"], drawn[name])
        for k in range(0, len(labels), 501):
            row = [int(drawn[name][k]) for name in make.PARAMETERS]
            mask = make.render(chars[labels[k]], *row).astype(float)
            # Other versions of FreeType move a few grey levels at the edges.
            assert abs(mask - arrays[f"{task}_masks"][k]).mean() < 4


def test_the_script_makes_the_shipped_drivers():
    make = script("make_drivers")
    x, claims, chance = make.make()
    table = td._shipped("drivers.csv")
    assert tuple(table) == (*make.COLUMNS, make.TARGET)
    assert np.allclose(x, np.stack([table[name] for name in make.COLUMNS], axis=1))
    assert np.array_equal(claims, table[make.TARGET])
    age, _, licence, *_, night = x.T
    assert (licence <= age - 18).all() and ((night >= 0) & (night <= 1)).all()
    # What data/README.md says: 40 % claims, and right 86 % of the time at best.
    assert round(claims.mean(), 2) == 0.40
    assert round(np.maximum(chance, 1 - chance).mean(), 2) == 0.86


def test_every_file_has_its_provenance():
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    listed = {
        line.split("`")[1]: line.split("|")[1:-1]
        for line in readme.split("## ")[0].splitlines()
        if line.startswith("| `")
    }
    kept = (path for path in (ROOT / "data").iterdir() if path.name != "__pycache__")
    there = {path.name + "/" * path.is_dir() for path in kept}
    assert set(listed) == there
    assert all(len(cells) == 4 and all(map(str.strip, cells)) for cells in listed.values())
    for name in td._shipped("drivers.csv"):
        assert f"`{name}`" in readme


def test_the_wheel_holds_its_data(tmp_path):
    # A copy, because a build leaves folders in the place where it runs.
    source = tmp_path / "source"
    skip = shutil.ignore_patterns("__pycache__")
    for folder in ("tricks_lib", "data"):
        shutil.copytree(ROOT / folder, source / folder, ignore=skip)
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*pip, "--wheel-dir", tmp_path, source], check=True, capture_output=True, text=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    for name in ("glyphs.npz", "drivers.csv", "text.npz", "shakespeare.npz", "README.md"):
        assert f"tricks_lib/_data/{name}" in held
    code = (
        "from tricks_lib import data; import sys; print(data.__file__); "
        "print(data.glyphs(n_train=5)); print(data.drivers(n_train=5)); "
        "print(data.text(n_train=5)); "
        "print('torchvision' in sys.modules)"
    )
    env = os.environ | {"PYTHONPATH": str(tmp_path / "installed"), "PYTHONSAFEPATH": "1"}
    run = partial(subprocess.run, cwd=tmp_path, env=env, capture_output=True, text=True)
    lines = run([sys.executable, "-c", code], check=True).stdout.splitlines()
    assert Path(lines[0]).is_relative_to(tmp_path / "installed")
    assert lines[1].startswith("Data(glyphs, seed 0: 5 train")
    assert lines[2].startswith("Data(drivers, seed 0: 5 train")
    assert lines[3].startswith("Data(text, seed 0: 5 train")
    assert lines[4] == "False", "torchvision must be imported only where it is needed"
