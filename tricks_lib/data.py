"""The data of the book: made sets that ship with it, and the classic sets through torchvision.

Every set comes back as a `Data`: tensors, split into training, validation and test by `seed`.
A seed always gives the same split, with the classes in their right shares. The training set of
100 is the first 100 of the training set of 1,600; validation and test do not change with it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import numbers
import os
import re
import string
import tempfile
from collections import Counter
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# The ranges that the colours of `glyphs` are drawn from; data/README.md says how they were chosen.
BACKGROUND, CONTRAST, TINT, NOISE = (0.0, 0.4), (0.25, 0.6), (0.8, 1.2), 0.08

# The unpacked files of MNIST and Fashion-MNIST: size in bytes, and MD5 of MNIST's.
_IDX_FILES = {
    "train-images-idx3-ubyte": (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10_008, "27ae3e4e09519cfbb04c329615203637"),
}


class DataUnavailable(ConnectionError):
    """A set is neither on this machine nor to be had; the message says what to do."""


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A data set in memory, split into training, validation and test.

    `x_*` are float32: images (N, C, H, W) in [0, 1], tables (N, F) in their own units. `Text` is
    the one exception.
    `y_*` are int64 (N,), indices into `class_names`. `feature_names` is empty for images.

    Raises:
        ValueError: x and y of a split differ in length.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    class_names: tuple[str, ...]
    seed: int = 0
    feature_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in ("train", "val", "test"):
            x, y = len(getattr(self, f"x_{part}")), len(getattr(self, f"y_{part}"))
            if x != y:
                raise ValueError(f"x_{part} has {x} rows, y_{part} {y}: give one label a row.")

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, (C, H, W) or (F,)."""
        return tuple(self.x_train.shape[1:])

    def to(self, device: torch.device | str) -> Data:
        """Return the same data with all tensors on `device`."""
        tensors = {k: v for k, v in vars(self).items() if isinstance(v, Tensor)}
        return self.replace(**{k: v.to(device) for k, v in tensors.items()})

    def standardised(self) -> Data:
        """Return the same data with x at mean 0 and standard deviation 1, by `x_train` alone.

        Images are shifted and scaled as a whole, a table column by column. ", standardised" is
        added to the name.

        Raises:
            ValueError: x_train, or one of its columns, does not vary.

        Source: LeCun et al. 1998, Efficient BackProp, section 4.3.
        """
        axes = tuple(range(self.x_train.ndim)) if self.x_train.ndim > 2 else (0,)
        mean, std = self.x_train.mean(axes), self.x_train.std(axes)
        if not (std > 0).all():
            raise ValueError("x_train has a column that does not vary: leave it out first.")
        parts = ("x_train", "x_val", "x_test")
        scaled = {part: (getattr(self, part) - mean) / std for part in parts}
        return self.replace(name=f"{self.name}, standardised", **scaled)

    def replace(self, **fields: object) -> Data:
        """Return a copy with some fields changed, as in `data.replace(x_train=x)`."""
        return dataclasses.replace(self, **fields)

    def __repr__(self) -> str:
        sizes = f"{len(self.x_train)} train, {len(self.x_val)} val, {len(self.x_test)} test"
        about = f"x {self.shape}, {self.num_classes} classes"
        return f"Data({self.name}, seed {self.seed}: {sizes}; {about})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Text(Data):
    """Text as word indices: a `Data` whose `x_*` are int64 (N, L), each an index into `words`.

    `words[0]` stands for every word that is not in the vocabulary. `x_unlabelled`, int64 (M, L),
    holds passages to pretrain on; none of them is in the validation or the test part.
    """

    words: tuple[str, ...] = ()
    x_unlabelled: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0, 0).long())

    def read(self, row: Tensor) -> str:
        """Turn the word indices (L,) of one passage back into words."""
        return " ".join(self.words[int(index)] for index in row)


def glyphs(
    seed: int = 0,
    *,
    task: str = "digits",
    n_train: int = 1600,
    n_val: int = 400,
    n_test: int = 1000,
) -> Data:
    """Rendered characters: x (N, 3, 16, 16) in [0, 1]; 5,000 digits or 6,240 letters A-Z.

    The shipped masks differ in face, size, shift and rotation. Background, contrast, a tint for
    each channel and pixel noise are drawn here for each image, and anew for each seed.

    Args:
        task: "digits" (the target task) or "letters" (the source task of transfer learning).

    Raises:
        TypeError, ValueError: an argument is wrong; the message names the mend.

    Source: made for this book, see data/README.md.
    """
    counts = _check(seed, n_train, n_val, n_test)
    if task not in ("digits", "letters"):
        raise ValueError(f"glyphs has no task {task!r}: choose 'digits' or 'letters'.")
    x, y = _glyphs(task, int(seed), *counts)
    name = "glyphs" if task == "digits" else "glyphs (letters)"
    names = string.digits if task == "digits" else string.ascii_uppercase
    return _pack(name, x, y, names, seed)


def digits(seed: int = 0, *, n_train: int = 1000, n_val: int = 300, n_test: int = 497) -> Data:
    """Real handwritten digits: x (N, 1, 8, 8) in [0, 1], 1,797 in all.

    They were centred and scaled when they were made, so their position does not vary.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names the mend.

    Source: Alpaydin & Kaynak 1998, Cascading classifiers; the copy inside scikit-learn.
    """
    counts = _check(seed, n_train, n_val, n_test)
    x, labels = _handwriting()
    rows = _split("digits", labels, seed, *counts)
    return _pack("digits", [x[r] for r in rows], [labels[r] for r in rows], string.digits, seed)


def drivers(seed: int = 0, *, n_train: int = 2400, n_val: int = 600, n_test: int = 1000) -> Data:
    """A made table of 4,000 drivers: x (N, 7), not normalised; y is 1 for a claim this year.

    The columns stand in `feature_names` and have unlike units: years, km a year, kW, euros, a
    share. The first two training rows are always the same two drivers: one aged 50 with 10,000
    km, one aged 25 with 1,000 km.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names the mend.

    Source: made for this book by data/make_drivers.py; no real drivers, see data/README.md.
    """
    counts = _check(seed, n_train, n_val, n_test)
    *features, target = table = _shipped("drivers.csv")
    x, labels = np.stack([table[name] for name in features], axis=1), table[target]
    rows = _split("drivers", labels, seed, *counts, always_train=2)
    data = _pack("drivers", [x[r] for r in rows], [labels[r] for r in rows], ("no", "yes"), seed)
    return data.replace(feature_names=tuple(features))


def photo(name: str = "flower", *, size: int | None = None) -> Tensor:
    """A real photograph, "flower" or "china": float32 (3, 427, 640) in [0, 1].

    Args:
        size: cut the largest square out of the middle and scale it to (3, size, size).

    Raises:
        TypeError, ValueError: an argument is wrong; the message names the mend.

    Source: `load_sample_image` of scikit-learn; CC BY 2.0, see data/README.md.
    """
    if name not in ("flower", "china"):
        raise ValueError(f"There is no photo {name!r}: choose 'flower' or 'china'.")
    from sklearn.datasets import load_sample_image

    image = torch.tensor(load_sample_image(f"{name}.jpg")).permute(2, 0, 1).contiguous() / 255
    if size is None:
        return image
    size, side = _whole("size", size, least=1), min(image.shape[1:])
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    square = image[None, :, top : top + side, left : left + side]
    scale = functools.partial(torch.nn.functional.interpolate, mode="bilinear", antialias=True)
    return scale(square, size=(size, size))[0].clamp(0, 1)


def text(seed: int = 0, *, n_train: int = 200, n_val: int = 150, n_test: int = 400) -> Text:
    """Passages of Python's manual: x (N, 32) word indices; which of 5 chapters is each from?

    950 passages of 32 words have a label. `x_unlabelled` holds all passages outside validation
    and test, labels left off: 1,480 minus `n_val` and `n_test`, with 530 from the rest of the
    manual. `words` are those that stand in `x_unlabelled` twice or more, the most frequent first.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names the mend.

    Source: the Python documentation, PSF-2.0; cut up by data/make_text.py, see data/README.md.
    """
    counts = _check(seed, n_train, n_val, n_test)
    passages, labels, chapters = _passages()
    rows = _split("text", labels[labels < len(chapters)], seed, *counts)
    held_out = set(np.concatenate(rows[1:]).tolist())
    free = [row for row in range(len(passages)) if row not in held_out]
    found = Counter(word for row in free for word in passages[row])
    # Equally frequent words stand in the order of the alphabet.
    ranked = sorted((-count, word) for word, count in found.items() if count > 1)
    words = ("?", *(word for _, word in ranked))
    index = {word: i for i, word in enumerate(words)}

    def encode(rows: Iterable[int]) -> Tensor:
        return torch.tensor([[index.get(word, 0) for word in passages[row]] for row in rows])

    x = [encode(part) for part in rows]
    y = [torch.tensor(labels[part], dtype=torch.int64) for part in rows]
    parts = (x[0], y[0], x[1], y[1], x[2], y[2])
    return Text("text", *parts, chapters, int(seed), words=words, x_unlabelled=encode(free))


def mnist(
    seed: int = 0,
    *,
    root: str | Path | None = None,
    n_train: int = 55_000,
    n_val: int = 5_000,
    n_test: int = 10_000,
    download: bool = True,
) -> Data:
    """MNIST: x (N, 1, 28, 28) in [0, 1]; 60,000 images to train and validate on, 10,000 to test.

    Args:
        root: the folder of the files; without it that of the environment variable TRICKS_DATA,
            else ~/.cache/tricks_lib.
        download: fetch what is missing or broken (about 12 MB).

    Raises:
        DataUnavailable: a file is missing or broken and could not be fetched.
        TypeError, ValueError: another argument is wrong; the message names the mend.

    Source: LeCun et al. 1998, Gradient-based learning applied to document recognition.
    """
    counts = _check(seed, n_train, n_val, n_test)
    return _classic("mnist", "MNIST", seed, counts, root, download)


def fashion_mnist(
    seed: int = 0,
    *,
    root: str | Path | None = None,
    n_train: int = 55_000,
    n_val: int = 5_000,
    n_test: int = 10_000,
    download: bool = True,
) -> Data:
    """Fashion-MNIST, ten kinds of clothing: all as in `mnist` (about 31 MB to fetch).

    Source: Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747.
    """
    counts = _check(seed, n_train, n_val, n_test)
    return _classic("fashion_mnist", "FashionMNIST", seed, counts, root, download)


def cifar10(
    seed: int = 0,
    *,
    root: str | Path | None = None,
    n_train: int = 45_000,
    n_val: int = 5_000,
    n_test: int = 10_000,
    download: bool = True,
) -> Data:
    """CIFAR-10: x (N, 3, 32, 32) in [0, 1], else as in `mnist` (about 170 MB to fetch).

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    counts = _check(seed, n_train, n_val, n_test)
    return _classic("cifar10", "CIFAR10", seed, counts, root, download)


# ---- torchvision's sets -------------------------------------------------------------------------


def _classic(
    name: str,
    kind: str,
    seed: int,
    counts: tuple[int, int, int],
    root: str | Path | None,
    download: bool,
) -> Data:
    """Read a set of torchvision's, fetching what is missing; validation is part of its training."""
    from torchvision import datasets  # here, because torchvision is slow to import

    maker, n_test = getattr(datasets, kind), counts[2]
    folder = Path(root or os.environ.get("TRICKS_DATA") or "~/.cache/tricks_lib").expanduser()
    if bad := _bad_files(maker, folder):
        _fetch(maker, folder, bad, name, download)
    sources = [maker(folder, train=True), maker(folder, train=False)]
    y = [np.asarray(source.targets) for source in sources]
    train, val, _ = _split(f"The training part of {name}", y[0], seed, *counts[:2], 0)
    *_, test = _split(f"The test part of {name}", y[1], seed, 0, 0, n_test)
    rows = [(0, train), (0, val), (1, test)]
    x = [np.asarray(sources[part].data)[row] for part, row in rows]
    # Bytes (N, H, W) or (N, H, W, C) become shares (N, C, H, W).
    x = [torch.tensor(a[:, None] if a.ndim == 3 else a.transpose(0, 3, 1, 2)) / 255 for a in x]
    names = string.digits if kind == "MNIST" else sources[0].classes
    return _pack(name, x, [y[part][row] for part, row in rows], names, seed)


def _bad_files(maker: type, folder: Path) -> list[str]:
    """List the files of one of torchvision's sets that are missing, half-written or changed."""
    if maker.__name__ == "CIFAR10":
        listed = [*maker.train_list, *maker.test_list, (maker.meta["filename"], maker.meta["md5"])]
        expected = {f"{maker.base_folder}/{file}": (None, md5) for file, md5 in listed}
    else:
        # Of Fashion-MNIST only the packed files have published sums; torchvision checks those.
        summed = maker.__name__ == "MNIST"
        expected = {
            f"{maker.__name__}/raw/{file}": (size, md5 if summed else None)
            for file, (size, md5) in _IDX_FILES.items()
        }
    return [file for file, known in expected.items() if not _is_whole(folder / file, *known)]


def _is_whole(path: Path, size: int | None, md5: str | None) -> bool:
    """Say whether a file is there with this size and this sum (None: not asked)."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    return md5 is None or hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5


def _fetch(maker: type, folder: Path, bad: list[str], name: str, download: bool) -> None:
    """Download a set beside its place and move in the bad files, once all of it is whole."""
    try:
        if not download:
            raise OSError("download=False was asked for")
        folder.mkdir(parents=True, exist_ok=True)
        # It lies within the folder, so that a move is a rename, and goes away whatever happens.
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
            maker(partial, download=True)
            if broken := _bad_files(maker, Path(partial)):
                raise OSError(f"{broken[0]} came in broken")
            for file in bad:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(partial, file), folder / file)
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        state = ", ".join(f"{f} ({'broken' if (folder / f).exists() else 'missing'})" for f in bad)
        reason = str(error).strip().rpartition("\n")[2] or type(error).__name__
        raise DataUnavailable(
            f"{name} could not be fetched ({reason}): connect to the network and try again, or put "
            f"these files, unpacked, into {folder}: {state}; or use tl.glyphs() or tl.digits(), "
            "which need no network."
        ) from None


# ---- small helpers ------------------------------------------------------------------------------


@functools.cache
def _shipped(file: str) -> dict[str, np.ndarray]:
    """Read a shipped .npz or .csv once: its arrays or columns by name, not to be changed."""
    here = Path(__file__).parent
    # An installed library carries the folder data/ inside itself, a checkout beside itself.
    places = (here / "_data" / file, here.parent / "data" / file)
    path = next((place for place in places if place.exists()), None)
    if path is None:
        raise FileNotFoundError(f"{file} is missing from tricks_lib: install the library again.")
    if file.endswith(".npz"):
        with np.load(path) as arrays:
            return dict(arrays)
    with path.open(encoding="utf-8") as lines:
        names = next(lines).strip().split(",")
        return dict(zip(names, np.loadtxt(lines, delimiter=",").T, strict=True))


@functools.lru_cache(maxsize=2)  # the arms of a study ask for the same seed, one after another
def _glyphs(task: str, seed: int, *counts: int) -> tuple[list[Tensor], list[np.ndarray]]:
    """Images and labels of the three parts of glyphs, not to be changed."""
    arrays = _shipped("glyphs.npz")
    masks, labels = arrays[f"{task}_masks"], arrays[f"{task}_labels"]
    rows = _split(f"glyphs ({task})", labels, seed, *counts)
    x = [_colour(masks[r], [seed, part, len(masks)]) for part, r in enumerate(rows)]
    return x, [labels[r] for r in rows]


@functools.cache
def _handwriting() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 1, 8, 8) in [0, 1] and labels, read once, not to be changed."""
    from sklearn.datasets import load_digits  # here, because scikit-learn is slow to import

    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).reshape(-1, 1, 8, 8), labels


@functools.cache
def _passages() -> tuple[list[list[str]], np.ndarray, tuple[str, ...]]:
    """Read the passages once: their words, their labels (255: none) and the chapters' names."""
    arrays = _shipped("text.npz")
    lines = arrays["lines"].tobytes().decode().split("\n")
    words = [re.findall(r"[a-z_]+", line.lower()) for line in lines]
    return words, arrays["labels"], tuple(arrays["chapters"].tolist())


def _colour(masks: np.ndarray, key: list[int]) -> Tensor:
    """Colour masks (N, H, W) of bytes: (N, 3, H, W) float32 in [0, 1].

    Colours and noise come image after image out of two streams, so that the first hundred images
    are the same however many follow.
    """
    shape = (len(masks), 3, *masks.shape[1:])
    unit = torch.from_numpy(np.random.default_rng([0, *key]).random((len(masks), 5), np.float32))
    noise = np.random.default_rng([1, *key]).standard_normal(shape, np.float32)
    background, contrast, *tint = (
        low + (high - low) * u.view(-1, 1, 1)
        for (low, high), u in zip((BACKGROUND, CONTRAST, TINT, TINT, TINT), unit.T, strict=True)
    )
    grey = background + contrast * (torch.from_numpy(masks) / 255)
    return (
        torch.from_numpy(noise)
        .mul_(NOISE)
        .add_(torch.stack(tint, dim=1) * grey.unsqueeze(1))
        .clamp_(0, 1)
    )


def _split(
    name: str,
    labels: np.ndarray,
    seed: int,
    n_train: int,
    n_val: int,
    n_test: int,
    always_train: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deal the rows of one pool to training, validation and test.

    The rows are shuffled so that every stretch holds the classes in their right shares. Test and
    validation are dealt from the front, training from the back: so none depends on its size. The
    first `always_train` rows of the pool come first in training.
    """
    counts = {"n_train": n_train, "n_val": n_val, "n_test": n_test}
    if (over := sum(counts.values()) - len(labels)) > 0:
        asked = ", ".join(f"{k}={n}" for k, n in counts.items() if n)
        most = max(counts, key=counts.__getitem__)
        mend = f"take {most}={counts[most] - over}" if counts[most] > over else "take fewer"
        raise ValueError(f"{name} has {len(labels)} examples, too few for {asked}: {mend}.")
    rng = np.random.default_rng(seed)
    pool = rng.permutation(np.arange(always_train, len(labels)))
    place = np.empty(len(pool))
    for label in np.unique(labels):
        (members,) = np.nonzero(labels[pool] == label)
        place[members] = (np.arange(len(members)) + rng.random(len(members))) / len(members)
    order = pool[np.argsort(place)]
    train = np.concatenate([np.arange(always_train), order[::-1]])[:n_train]
    return train, order[n_test : n_test + n_val], order[:n_test]


def _pack(name: str, x: list, y: list, class_names: tuple[str, ...] | str, seed: int) -> Data:
    """Make a Data of copies of the three x and the three y: training, validation, test."""
    x = [torch.as_tensor(part, dtype=torch.float32).clone() for part in x]
    y = [torch.as_tensor(part, dtype=torch.int64).clone() for part in y]
    return Data(name, x[0], y[0], x[1], y[1], x[2], y[2], tuple(class_names), int(seed))


def _check(seed: int, n_train: int, n_val: int, n_test: int) -> tuple[int, int, int]:
    """Judge the arguments that all sets share, before anything is read or fetched."""
    _whole("seed", seed, least=0)
    counts = {"n_train": n_train, "n_val": n_val, "n_test": n_test}
    return tuple(_whole(name, count, least=1) for name, count in counts.items())


def _whole(name: str, value: int, least: int) -> int:
    """Return a whole number of at least `least`, or say what to give instead."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, {least} or more, not {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more, not {value}.")
    return int(value)
