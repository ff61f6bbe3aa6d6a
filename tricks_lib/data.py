"""The data of the book: made sets that ship with it, and the classic sets through torchvision.

Every set comes back as a `Data`: tensors, split into training, validation and test by `seed`.
A seed always gives the same split, with the classes in their right shares. The training set of
100 is the first 100 of the training set of 1,600; validation and test do not change with it.
"""

from __future__ import annotations

import copy as copying
import dataclasses
import functools
import hashlib
import numbers
import os
import pickle
import re
import string
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

PARTS = ("train", "val", "test")

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
    """A data set in memory, split into training, validation and test, that keeps this contract.

    - `x_*` are float32 and finite, every example of one shape: images (N, C, H, W) in [0, 1],
      tables (N, F) in their own units. `Text` alone holds word indices instead.
    - `y_*` are int64, indices into `class_names`: (N,), or (N, ...) with one for each place of an
      example. Or they are float32 and finite, the targets of a regression, (N,) or (N, ...);
      `class_names` may then be empty.
    - No part is empty.

    What is safe is converted: NumPy and pandas to tensors, other floats, whole numbers and
    booleans to the types above. Bytes (uint8) of three or more dimensions are pictures: they are
    divided by 255, and (N, H, W) or (N, H, W, C) becomes (N, C, H, W). All else is refused with
    its mend. The check stands where a `Data` is made. An experiment on broken data writes into
    the tensors inside its arm: `data.x_train[0] = torch.nan`.

    `seed` is the seed that dealt the parts. `pool` says in words what is dealt anew for each
    seed, such as "1,797 images"; it is empty when the parts are fixed. `feature_names` is empty
    for images.

    Raises:
        TypeError, ValueError: the contract is broken; the message names the part and the mend.
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
    pool: str = ""

    def __post_init__(self) -> None:
        x = {part: _tensor(getattr(self, f"x_{part}"), f"x_{part}") for part in PARTS}
        y = {part: _tensor(getattr(self, f"y_{part}"), f"y_{part}") for part in PARTS}
        names = tuple(str(name) for name in self.class_names)
        _check_parts(x, y)
        keep = {f"x_{part}": self._inputs(value, f"x_{part}") for part, value in x.items()}
        keep |= {f"y_{part}": _targets(value, f"y_{part}", names) for part, value in y.items()}
        _check_shapes([keep[f"x_{part}"] for part in PARTS])
        _check_not_classes([keep[f"y_{part}"] for part in PARTS], names)
        keep |= {"class_names": names, "seed": _whole("seed", self.seed, least=0)}
        for field, value in keep.items():
            object.__setattr__(self, field, value)  # the class is frozen for everyone else

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        *,
        seed: int,
        name: str = "own data",
        val: float | int | tuple[Any, Any] = 0.2,
        test: float | int | tuple[Any, Any] = 0.2,
        class_names: Sequence[str] | None = None,
        groups: Any = None,
    ) -> Data:
        """Make a `Data` of your own NumPy arrays, pandas tables or tensors.

        The rows are dealt to the three parts by `seed`, each class in its right share. For
        `compare`, `functools.partial(tl.Data.from_arrays, x, y, name="mine")` makes the data of
        any seed.

        Args:
            x: inputs, (N, F) or (N, C, H, W) or any type that `Data` converts. The columns of a
                pandas table become `feature_names`. Pictures as bytes become shares of 255 with
                their channels first; floats are taken as they are, in any range and order.
            y: labels (N,): text, categories, booleans or whole numbers of any kind are numbered
                in their order. Floats are the targets of a regression, (N,) or (N, ...).
            seed: of the split; kept as the data's own seed.
            name: how records and figures name the data.
            val, test: a share of the rows (0.2), a number of rows (100), or a part that is fixed
                already, `(x_val, y_val)`. `x` and `y` are then the rows that are left to deal.
            class_names: the names of the labels 0, 1, ...; or the order of labels that are text.
                Default: the labels themselves. `class_names=()` asks for a regression.
            groups: (N,), whose each row is (a patient, say): no group is cut in two. `val` and
                `test` then count groups.

        Raises:
            TypeError, ValueError: what is given breaks the contract of `Data`, or is too little.
        """
        seed, fixed = _whole("seed", seed, least=0), (tuple, list)
        given = {k: v for k, v in (("val", val), ("test", test)) if isinstance(v, fixed)}
        raw = {"": (x, y), **given}
        feature_names = tuple(map(str, x.columns)) if isinstance(x, pd.DataFrame) else ()
        # "x" and "y" name the rows that are yet to be dealt, "x_val" a part that is given.
        ends = {part: f"_{part}" if part else "" for part in raw}
        xs = {p: cls._inputs(_tensor(v[0], f"x{ends[p]}"), f"x{ends[p]}") for p, v in raw.items()}
        labels, class_names = _number({p: v[1] for p, v in raw.items()}, class_names)
        ys = {p: _targets(v, f"y{ends[p]}", class_names) for p, v in labels.items()}
        for part, end in ends.items():
            _check_rows(len(xs[part]), len(ys[part]), f"x{end}", f"y{end}")
        rows = _deal(name, ys[""], seed, None if "val" in given else val, test, groups, given)
        parts = [(xs[p], ys[p]) if p in given else (xs[""][r], ys[""][r]) for p, r in rows.items()]
        pool = "" if len(given) == 2 else f"{len(ys['']):,} rows"
        fields = [tensor for pair in parts for tensor in pair]
        return cls(name, *fields, class_names, seed, feature_names=feature_names, pool=pool)

    @staticmethod
    def _inputs(x: Tensor, name: str) -> Tensor:
        """Bring x to float32, or say what is wrong with it."""
        if x.ndim < 2:
            raise ValueError(
                f"{name} has the shape {tuple(x.shape)}: give a row for each example, "
                f"{name}[:, None] if there is one number each."
            )
        if x.is_complex():
            raise TypeError(f"{name} is complex: give real and imaginary parts as columns.")
        if x.dtype == torch.uint8 and x.ndim > 2:
            x = _shares(x)
        x = x.to(torch.float32)
        _check_finite(x, name)
        return x

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
        moved = copying.copy(self)  # without another check: the numbers are the same
        for field, value in vars(self).items():
            if isinstance(value, Tensor):
                object.__setattr__(moved, field, value.to(device))
        return moved

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
        classes = not self.y_train.is_floating_point()
        about = f"x {self.shape}, {f'{self.num_classes} classes' if classes else 'regression'}"
        return f"Data({self.name}, seed {self.seed}: {sizes}; {about})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Text(Data):
    """Text as word indices: a `Data` whose `x_*` are int64 (N, L), each an index into `words`.

    Of `text()`, `words[0]` stands for every word that is not in the vocabulary, and `x_unlabelled`,
    int64 (M, L), holds passages to pretrain on; none of them is in the validation or the test
    part. Of `shakespeare()`, the words are single characters.
    """

    words: tuple[str, ...] = ()
    x_unlabelled: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0, 0).long())

    @staticmethod
    def _inputs(x: Tensor, name: str) -> Tensor:
        """Keep word indices whole numbers; whatever else stands for a text is as in `Data`."""
        return Data._inputs(x, name) if x.is_floating_point() or x.ndim < 2 else x.long()

    def read(self, row: Tensor) -> str:
        """Turn the word indices (L,) of one passage back into text."""
        between = " " if max(map(len, self.words)) > 1 else ""
        return between.join(self.words[int(index)] for index in row)


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
    pool = f"{len(_shipped('glyphs.npz')[f'{task}_labels']):,} images"
    return _pack(name, x, y, names, seed, pool)


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
    x, y = [x[r] for r in rows], [labels[r] for r in rows]
    return _pack("digits", x, y, string.digits, seed, f"{len(labels):,} images")


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
    x, y = [x[r] for r in rows], [labels[r] for r in rows]
    data = _pack("drivers", x, y, ("no", "yes"), seed, f"{len(labels):,} rows")
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
    return Text(
        "text",
        *parts,
        chapters,
        int(seed),
        pool=f"{np.count_nonzero(labels < len(chapters)):,} passages",
        words=words,
        x_unlabelled=encode(free),
    )


def shakespeare(
    seed: int = 0, *, length: int = 64, n_train: int = 8000, n_val: int = 400, n_test: int = 1600
) -> Text:
    """Shakespeare's plays, character by character: x (N, length), and y (N, length) one further.

    For each character the task is the next one, of 65. 1,115,394 characters are cut into windows,
    and sixteen neighbours are a page; `seed` deals the pages to the three parts, so that no part
    quotes another.

    Args:
        length: characters in a window.
        n_train, n_val, n_test: windows in each part.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names the mend.

    Source: Karpathy 2015, char-rnn, "tiny shakespeare"; public domain, see data/README.md.
    """
    counts, length = _check(seed, n_train, n_val, n_test), _whole("length", length, least=2)
    characters, indices = _characters()
    windows = torch.from_numpy(indices).unfold(0, length + 1, length)
    pages = len(windows) // 16
    on_pages = [-(-count // 16) for count in counts]
    if (over := sum(on_pages) - pages) > 0:
        raise ValueError(
            f"shakespeare has {pages} pages of 16 windows of {length} characters, {over} too few "
            f"for n_train={n_train}, n_val={n_val} and n_test={n_test}: take fewer."
        )
    rows = _split("shakespeare", np.zeros(pages, np.int64), seed, *on_pages)
    parts = []
    for page, count in zip(rows, counts, strict=True):
        found = windows[(16 * page[:, None] + np.arange(16)).reshape(-1)[:count]]
        parts += [found[:, :-1].clone(), found[:, 1:].clone()]
    pool = f"{pages:,} pages"
    return Text("Shakespeare", *parts, characters, int(seed), pool=pool, words=characters)


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
    copy: bool | str = False,
) -> Data:
    """CIFAR-10: x (N, 3, 32, 32) in [0, 1], else as in `mnist` (about 170 MB to fetch).

    Args:
        copy: read files whose checksums differ from the published ones, which are refused
            otherwise. The data are then named "CIFAR-10 (copy that differs)", or by the words
            that are given, such as `copy="CIFAR-10 (JPEG copy)"`. Genuine files stay "cifar10".

    Raises:
        ValueError: `copy` is a name that does not say that it is a copy.

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    counts = _check(seed, n_train, n_val, n_test)
    if isinstance(copy, str) and "copy" not in copy.lower():
        raise ValueError(f"copy={copy!r} must say that it is one: 'CIFAR-10 (JPEG copy)', say.")
    words = "CIFAR-10 (copy that differs)" if copy is True else copy or ""
    return _classic("cifar10", "CIFAR10", seed, counts, root, download, words)


# ---- the contract of Data -----------------------------------------------------------------------


def _tensor(value: Any, name: str) -> Tensor:
    """Make a tensor of what a reader hands over, type and shape as they are."""
    if isinstance(value, torch.utils.data.Dataset | torch.utils.data.DataLoader):
        raise TypeError(
            f"{name} is a {type(value).__name__}: stack what it gives first, torch.stack([x for x, "
            "_ in dataset]) for the inputs."
        )
    if isinstance(value, Tensor) and value.layout is not torch.strided:
        raise TypeError(f"{name} is sparse: give {name}.to_dense().")
    if hasattr(value, "toarray"):  # SciPy's
        raise TypeError(f"{name} is sparse: give {name}.toarray().")
    if isinstance(value, Tensor):
        return value.detach() if value.requires_grad else value
    if isinstance(value, list | tuple) and value and all(isinstance(v, Tensor) for v in value):
        value = [v.detach().cpu().numpy() for v in value]
    if isinstance(value, pd.DataFrame | pd.Series):
        table = value.to_frame(name) if isinstance(value, pd.Series) else value
        if wrong := list(table.select_dtypes(exclude=["number", "bool"]).columns):
            raise TypeError(_no_numbers(name, ", ".join(map(repr, wrong))))
        value = value.to_numpy() if len(set(table.dtypes)) == 1 else table.to_numpy(np.float64)
        if value.dtype == object:  # pandas' own types, with pandas.NA for what is missing
            value = table.to_numpy(np.float64, na_value=np.nan).reshape(value.shape)
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(
            f"{name} holds examples of different shapes: bring them to one shape first, pictures "
            "with torchvision.transforms.v2.Resize."
        ) from None
    if array.dtype.kind not in "buifc":
        raise TypeError(_no_numbers(name))
    native = np.float64 if array.dtype == np.longdouble else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, native, ["C", "W"]))


def _no_numbers(name: str, columns: str = "") -> str:
    """Say what to do about text where numbers are wanted."""
    if name.startswith("y"):
        return f"{name} holds no numbers: tl.Data.from_arrays(...) turns labels into numbers."
    what = f"{name} holds no numbers" + (f" in {columns}" if columns else "")
    return f"{what}: turn text into columns of numbers first, with pandas.get_dummies say."


def _shares(pixels: Tensor) -> Tensor:
    """Turn bytes (N, H, W), (N, H, W, C) or (N, C, H, W) into shares of 255, (N, C, H, W)."""
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    elif pixels.ndim == 4 and pixels.shape[1] not in (1, 3, 4) and pixels.shape[3] in (1, 3, 4):
        pixels = pixels.permute(0, 3, 1, 2)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _targets(y: Tensor, name: str, class_names: tuple[str, ...]) -> Tensor:
    """Bring y to int64 for classes, or float32 for a regression, or say what is wrong with it."""
    if y.is_complex():
        raise TypeError(f"{name} is complex: give whole numbers for classes, or real targets.")
    if y.ndim == 2 and y.shape[1] > 1 and not y.is_meta and y.numel():
        rows = (y == 0).sum(1) == y.shape[1] - 1
        if rows.all() and (y.sum(1) == 1).all():
            raise ValueError(f"{name} is one-hot: give the numbers of the classes, y.argmax(1).")
    if y.is_floating_point():
        y = y.to(torch.float32)
        _check_finite(y, name)
        return y
    if y.ndim == 2 and y.shape[1] == 1:
        raise ValueError(f"{name} has the shape {tuple(y.shape)}: give (N,), y.squeeze(1).")
    y = y.to(torch.int64)
    if y.is_meta or not y.numel():
        return y
    low, high = (int(value) for value in y.aminmax())
    if not class_names:
        raise ValueError(
            f"{name} holds whole numbers and class_names is empty: name the classes, or give "
            "floats for a regression."
        )
    if low < 0 or high >= len(class_names):
        if low < 0:
            mend = "number the classes from 0, -1 and 1 by (y > 0).long()"
        elif low > 0 and high == len(class_names):
            mend = "count from 0, y - 1"
        else:
            mend = "name every class, or number them anew with tl.Data.from_arrays(...)"
        raise ValueError(
            f"{name} has labels from {low} to {high}, but {len(class_names)} class_names stand for "
            f"0 to {len(class_names) - 1}: {mend}."
        )
    return y


def _check_finite(values: Tensor, name: str) -> None:
    # A NaN or an infinity anywhere reaches the sum, which costs one quick pass.
    if values.is_meta or bool(values.sum().isfinite()):
        return
    broken = int((~values.isfinite()).reshape(len(values), -1).any(1).sum())
    if broken:
        raise ValueError(
            f"{name} has NaN or infinity in {broken:,} of {len(values):,} rows: drop or fill them."
        )


def _check_rows(n_x: int, n_y: int, x: str, y: str) -> None:
    if n_x != n_y:
        raise ValueError(f"{x} has {n_x} rows, {y} {n_y}: give one label a row.")
    if not n_x:
        raise ValueError(f"{x} has no rows: every part needs at least one example.")


def _check_parts(x: dict[str, Tensor], y: dict[str, Tensor]) -> None:
    """No part is empty, and the parts come in types that mean the same."""
    for part in PARTS:
        if not y[part].ndim:
            raise ValueError(f"y_{part} is a single number: give one label a row.")
        _check_rows(len(x[part]) if x[part].ndim else 1, len(y[part]), f"x_{part}", f"y_{part}")
    if len(bytes_in := {part for part in PARTS if x[part].dtype == torch.uint8}) not in (0, 3):
        some, other = min(bytes_in), min(set(PARTS) - bytes_in)
        raise TypeError(
            f"x_{some} holds bytes and x_{other} {str(x[other].dtype)[6:]}: convert all parts "
            "alike, pictures by x / 255."
        )
    if len(floats := {part for part in PARTS if y[part].is_floating_point()}) not in (0, 3):
        some, other = min(floats), min(set(PARTS) - floats)
        raise TypeError(
            f"y_{some} holds floats and y_{other} whole numbers: give classes as whole numbers "
            "in all parts, or the targets of a regression as floats."
        )


def _check_shapes(x: list[Tensor]) -> None:
    for part, other in zip(PARTS[1:], x[1:], strict=True):
        if other.shape[1:] != x[0].shape[1:]:
            raise ValueError(
                f"One example is {tuple(x[0].shape[1:])} in x_train and {tuple(other.shape[1:])} "
                f"in x_{part}: bring all parts to one shape."
            )


def _check_not_classes(y: list[Tensor], class_names: tuple[str, ...]) -> None:
    """Class numbers as floats would quietly be fitted as a regression."""
    single = all(t.is_floating_point() and t[0].numel() == 1 and not t.is_meta for t in y)
    if not (single and class_names):
        return
    most = len(class_names) - 1
    if all(bool(((t == t.round()) & (t >= 0) & (t <= most)).all()) for t in y):
        raise ValueError(
            f"y holds whole numbers from 0 to {most} as floats: give y.long() for the classes, or "
            "class_names=() for a regression."
        )


def _number(
    labels: dict[str, Any], class_names: Sequence[str] | None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Number labels of any kind, over all parts alike, and name the classes (none: regression)."""
    arrays = {part: _labels(y) for part, y in labels.items()}
    flat = np.concatenate([array.reshape(-1) for array in arrays.values()])
    if missing := int(pd.isna(flat).sum()):
        raise ValueError(f"y has no label in {missing:,} of {len(flat):,} rows: drop those rows.")
    floats, one_each = flat.dtype.kind == "f", all(array.ndim == 1 for array in arrays.values())
    whole = flat.dtype.kind in "biu" or (floats and bool((flat == flat.round()).all()))
    many = len(set(flat.tolist())) > max(2, len(flat) / 2)
    if floats and whole and one_each and not many and class_names is None:
        raise ValueError(
            "y holds whole numbers as floats: give y.astype(int) for classes, or class_names=() "
            "for a regression."
        )
    if (floats and class_names is None) or (class_names is not None and not len(class_names)):
        if not (whole or floats):
            raise TypeError("y holds text: leave class_names out, or give numbers to regress on.")
        return {p: _tensor(a.astype(np.float64), f"y_{p}") for p, a in arrays.items()}, ()
    if floats and not whole:
        raise ValueError("y holds fractions: leave class_names out for a regression.")
    if whole and (class_names is not None or not one_each):
        names = range(int(flat.max()) + 1) if class_names is None else class_names
        numbered = {p: _tensor(a.astype(np.int64), f"y_{p}") for p, a in arrays.items()}
        return numbered, tuple(map(str, names))
    if not one_each:
        raise ValueError("y holds several texts a row: give one label for each row.")
    if many and class_names is None:
        raise ValueError(
            "y holds nearly as many labels as rows, too many for classes: for a regression give "
            "floats, y.astype(float)."
        )
    order = _in_order(flat, next(iter(labels.values()))) if class_names is None else class_names
    index = {label: i for i, label in enumerate(order)}
    if strange := sorted({str(label) for label in flat.tolist() if label not in index}):
        raise ValueError(f"y holds {strange[0]!r}, which is not in class_names: name every class.")
    return {p: torch.tensor([index[v] for v in a.tolist()]) for p, a in arrays.items()}, tuple(
        map(str, order)
    )


def _labels(y: Any) -> np.ndarray:
    """Labels as an array: numbers as numbers, all else as objects."""
    if isinstance(y, Tensor):
        y = y.detach().cpu().numpy()
    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        y = y.iloc[:, 0]
    array = np.asarray(y)
    if array.dtype == object and isinstance(y, pd.Series) and pd.api.types.is_numeric_dtype(y):
        array = y.to_numpy(np.float64, na_value=np.nan)  # pandas' own whole numbers
        known = array[~np.isnan(array)]
        if pd.api.types.is_integer_dtype(y) and len(known) == len(array):
            array = array.astype(np.int64)
    return array if array.dtype.kind in "buif" else array.astype(object)


def _in_order(labels: np.ndarray, first: Any) -> list[Any]:
    """The different labels: categories in their own order, all else from low to high."""
    found = set(labels.tolist())
    dtype = getattr(first, "dtype", None)
    if isinstance(dtype, pd.CategoricalDtype):
        return [label for label in dtype.categories.tolist() if label in found]
    try:
        return sorted(found)
    except TypeError:  # text and numbers side by side
        return sorted(found, key=str)


def _deal(
    name: str,
    y: Tensor,
    seed: int,
    val: Any,
    test: Any,
    groups: Any,
    given: dict[str, Any],
) -> dict[str, np.ndarray]:
    """The rows of training, validation and test, dealt by the seed; none for a given part."""
    # Classes keep their shares; a regression has none to keep.
    classes = not y.is_floating_point() and y.ndim == 1
    labels = y.cpu().numpy() if classes else np.zeros(len(y), dtype=np.int64)
    pool, unit = labels, "rows"
    if groups is not None:
        _check_rows(len(labels), len(groups), "x", "groups")
        _, member = np.unique(np.asarray(groups), return_inverse=True)
        counts = np.zeros((member.max() + 1, labels.max() + 1), dtype=np.int64)
        np.add.at(counts, (member, labels), 1)
        pool, unit = counts.argmax(1), "groups"  # a group goes by its most frequent class
    n_val, n_test = (
        0 if part in given else _count(part, wanted, len(pool))
        for part, wanted in (("val", val), ("test", test))
    )
    n_train = len(pool) - n_val - n_test
    if n_train < 1:
        raise ValueError(
            f"{name} has {len(pool)} {unit}, too few for {n_val} of validation and {n_test} of "
            "test: take fewer, or bring more data."
        )
    rows = _split(name, pool, seed, n_train, n_val, n_test)
    if groups is not None:
        rows = tuple(np.flatnonzero(np.isin(member, part)) for part in rows)
    return dict(zip(PARTS, rows, strict=True))


def _count(part: str, wanted: Any, n: int) -> int:
    """How many of n rows a part gets: a share, or a number of rows."""
    if isinstance(wanted, numbers.Integral) and not isinstance(wanted, bool):
        return _whole(part, wanted, least=1)
    if not isinstance(wanted, numbers.Real) or isinstance(wanted, bool) or not 0 < wanted < 1:
        raise ValueError(
            f"{part}={wanted!r} must be a share between 0 and 1, a number of rows, or a pair "
            f"(x_{part}, y_{part})."
        )
    return max(1, round(wanted * n))


# ---- torchvision's sets -------------------------------------------------------------------------


def _classic(
    name: str,
    kind: str,
    seed: int,
    counts: tuple[int, int, int],
    root: str | Path | None,
    download: bool,
    copy: str = "",
) -> Data:
    """Read a set of torchvision's, fetching what is missing; validation is part of its training.

    With `copy`, files that differ from the published ones are read, and the set is so named.
    """
    from torchvision import datasets  # here, because torchvision is slow to import

    maker, n_test = getattr(datasets, kind), counts[2]
    folder = _folder(root)
    bad = _bad_files(maker, folder)
    if copy and all((folder / file).is_file() for file in bad):
        name, bad = (copy if bad else name), []
    if bad:
        _fetch(maker, folder, bad, name, download)
    (x_train, y_train), (x_test, y_test), names = _pixels(maker, folder, _stamp(maker, folder))
    train, val, _ = _split(f"The training part of {name}", y_train, seed, *counts[:2], 0)
    *_, test = _split(f"The test part of {name}", y_test, seed, 0, 0, n_test)
    parts = ((x_train, y_train, train), (x_train, y_train, val), (x_test, y_test, test))
    fields = [torch.from_numpy(array[rows]) for *pair, rows in parts for array in pair]
    # The official test images stay the test images when all of them are asked for.
    apart = n_test == len(y_test)
    pool = f"{len(y_train) + (0 if apart else len(y_test)):,} images"
    return Data(name, *fields, names, int(seed), pool=pool)


def _folder(root: str | Path | None) -> Path:
    """The folder of the sets: what is asked for, else TRICKS_DATA, else one in the home folder."""
    asked = root or os.environ.get("TRICKS_DATA")
    try:
        folder = Path(asked or "~/.cache/tricks_lib").expanduser()
    except RuntimeError:
        raise DataUnavailable(
            "There is no home folder here: set TRICKS_DATA to a folder for the data."
        ) from None
    if folder.exists() and not folder.is_dir():
        raise DataUnavailable(
            f"{folder} is a file: set {'root' if root else 'TRICKS_DATA'} to a folder for the data."
        )
    return folder


def _files(maker: type) -> dict[str, tuple[int | None, str | None]]:
    """The files of one of torchvision's sets, each with its size and its MD5 (None: not known)."""
    if maker.__name__ == "CIFAR10":
        listed = [*maker.train_list, *maker.test_list, (maker.meta["filename"], maker.meta["md5"])]
        return {f"{maker.base_folder}/{file}": (None, md5) for file, md5 in listed}
    # Of Fashion-MNIST only the packed files have published sums; torchvision checks those.
    summed = maker.__name__ == "MNIST"
    return {
        f"{maker.__name__}/raw/{file}": (size, md5 if summed else None)
        for file, (size, md5) in _IDX_FILES.items()
    }


def _bad_files(maker: type, folder: Path) -> list[str]:
    """List the files of one of torchvision's sets that are missing, half-written or changed."""
    return [file for file, known in _files(maker).items() if not _is_whole(folder / file, *known)]


def _is_whole(path: Path, size: int | None, md5: str | None) -> bool:
    """Say whether a file is there with this size and this sum (None: not asked)."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    return md5 is None or _md5(path, path.stat().st_size, path.stat().st_mtime_ns) == md5


@functools.cache  # a study asks for the same files again and again
def _md5(path: Path, size: int, changed: int) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _stamp(maker: type, folder: Path) -> tuple[int, ...]:
    """When the files of a set were written: what was read of older ones is read again."""
    return tuple((folder / file).stat().st_mtime_ns for file in _files(maker))


@functools.lru_cache(maxsize=1)  # a study asks for the same set with one seed after another
def _pixels(maker: type, folder: Path, stamp: tuple[int, ...]) -> tuple[Any, Any, tuple[str, ...]]:
    """Bytes and labels of the training and the test part, not to be changed, and class names."""
    if maker.__name__ != "CIFAR10":
        both = [maker(folder, train=train) for train in (True, False)]
        names = string.digits if maker.__name__ == "MNIST" else both[0].classes
        train, test = ((b.data.numpy()[:, None], b.targets.numpy()) for b in both)
        return train, test, tuple(names)
    base = folder / maker.base_folder
    train, test = (
        [_unpickled(base / file) for file, _ in files]
        for files in (maker.train_list, maker.test_list)
    )
    names = _unpickled(base / maker.meta["filename"])[maker.meta["key"]]
    pairs = [
        (
            np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32),
            np.concatenate([part["labels"] for part in parts]),
        )
        for parts in (train, test)
    ]
    return *pairs, tuple(names)


class _NumbersAlone(pickle.Unpickler):
    """Reads a pickle of numbers and text; a file from a stranger cannot run code of its own."""

    def find_class(self, module: str, name: str) -> Any:
        arrays = ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer")
        if (module.partition(".")[0] == "numpy" and name in arrays) or (
            (module, name) == ("_codecs", "encode")
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _unpickled(path: Path) -> dict[str, Any]:
    """What one file of CIFAR-10 holds."""
    try:
        with path.open("rb") as file:
            return _NumbersAlone(file, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        raise DataUnavailable(
            f"{path.name} is no file of CIFAR-10 ({error}): delete it and fetch the set again."
        ) from None


def _fetch(maker: type, folder: Path, bad: list[str], name: str, download: bool) -> None:
    """Download a set beside its place and move in the bad files, once all of it is whole."""
    try:
        if not download:
            raise OSError("download=False was asked for")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:  # a disk that may only be read raises no PermissionError
            raise PermissionError from None
        # It lies within the folder, so that a move is a rename, and goes away whatever happens.
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
            maker(partial, download=True)
            if broken := _bad_files(maker, Path(partial)):
                raise OSError(f"{broken[0]} came in broken")
            for file in bad:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(partial, file), folder / file)
    except (PermissionError, NotADirectoryError):
        raise DataUnavailable(
            f"{name} cannot be stored, because {folder} may not be written to: set TRICKS_DATA to "
            "a folder that may."
        ) from None
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        state = ", ".join(f"{f} ({'broken' if (folder / f).exists() else 'missing'})" for f in bad)
        whole = maker.__name__ == "CIFAR10" and all((folder / f).is_file() for f in bad)
        copies = "; or give copy=True to read a copy that differs" if whole else ""
        reason = str(error).strip().rpartition("\n")[2] or type(error).__name__
        raise DataUnavailable(
            f"{name} could not be fetched ({reason}): connect to the network and try again, or put "
            f"these files, unpacked, into {folder}: {state}{copies}; or use "
            "tl.glyphs() or tl.digits(), which need no network."
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


@functools.cache
def _characters() -> tuple[tuple[str, ...], np.ndarray]:
    """Read the plays once: the 65 characters in order, and the text as indices into them."""
    found, indices = np.unique(_shipped("shakespeare.npz")["characters"], return_inverse=True)
    return tuple(map(chr, found)), indices.astype(np.int64)


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


def _pack(
    name: str, x: list, y: list, class_names: tuple[str, ...] | str, seed: int, pool: str
) -> Data:
    """Make a Data of copies of the three x and the three y: training, validation, test."""
    x = [torch.as_tensor(part, dtype=torch.float32).clone() for part in x]
    y = [torch.as_tensor(part, dtype=torch.int64).clone() for part in y]
    parts = (x[0], y[0], x[1], y[1], x[2], y[2])
    return Data(name, *parts, tuple(class_names), int(seed), pool=pool)


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
