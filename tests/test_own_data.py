"""A reader's own data: what `Data` promises, what it converts, and what it refuses, in one line."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from torch.utils.data import TensorDataset

import tricks_lib as tl

RNG = np.random.default_rng(0)
X = RNG.random((100, 3))
Y = np.arange(100) % 3
PICTURES = RNG.integers(0, 256, (100, 6, 5, 3), dtype=np.uint8)
WORDS = np.array(["cat", "dog", "ant"])[Y]
PARTS = ("train", "val", "test")
SIZES = {"train": 60, "val": 20, "test": 20}
own = tl.Data.from_arrays


def made(**changes):
    return own(X, Y, seed=0).replace(**changes)


def one_sentence(error):
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text and ". " not in text, text
    return text


# ---- the contract ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (X, X),
        (X.astype(np.float16), X.astype(np.float16)),
        (X.astype(">f8"), X),
        (X[::-1][::-1], X),
        (torch.tensor(X, requires_grad=True), X),
        (X > 0.5, X > 0.5),
        ((X * 9).astype(np.int32), (X * 9).astype(int)),
        ((X * 255).astype(np.uint8), (X * 255).astype(int)),  # a table of bytes is no picture
        (X.tolist(), X),
        (pd.DataFrame(X), X),
        (pd.DataFrame(X).assign(a=X[:, 0] > 0.5), np.column_stack([X, X[:, 0] > 0.5])),
        (pd.DataFrame({"a": pd.array(Y, dtype="Int64")}), Y[:, None]),
    ],
)
def test_inputs_become_float32(x, expected):
    data = own(x, X[:, 0], seed=0, val=(x, X[:, 0]), test=(x, X[:, 0]))
    assert data.x_val.dtype == torch.float32 and not data.x_val.requires_grad
    assert torch.equal(data.x_val, torch.tensor(np.array(expected), dtype=torch.float32))
    direct = made(**{f"x_{p}": x for p in PARTS}, **{f"y_{p}": [0] * 100 for p in PARTS})
    assert torch.equal(direct.x_val, data.x_val)


def test_a_frozen_array_stays_the_readers_own():
    x = X.astype(np.float32)
    x.flags.writeable = False
    data = own(x, Y, seed=0)
    data.x_train.zero_()
    assert x.all()


@pytest.mark.parametrize(
    ("pixels", "shape"),
    [
        (PICTURES, (3, 6, 5)),
        (PICTURES[..., 0], (1, 6, 5)),
        (PICTURES.transpose(0, 3, 1, 2), (3, 6, 5)),
        (list(PICTURES), (3, 6, 5)),
        ([torch.from_numpy(p) for p in PICTURES], (3, 6, 5)),
    ],
)
def test_bytes_of_pictures_become_shares_with_the_channels_first(pixels, shape):
    data = own(pixels, Y, seed=0, val=(pixels, Y))
    assert data.shape == shape and data.x_val.min() >= 0 and data.x_val.max() <= 1
    first = torch.from_numpy(PICTURES.copy()).permute(0, 3, 1, 2)[:, : shape[0]] / 255
    assert torch.equal(data.x_val, first)


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        (Y.astype(np.uint8), torch.int64),
        (Y.astype(np.int32), torch.int64),
        (Y > 1, torch.int64),
        (pd.Series(Y), torch.int64),
        (X[:, 0], torch.float32),
        (torch.tensor(X), torch.float32),
        (np.tile(Y[:, None], 4), torch.int64),  # a class for each place, as in text
    ],
)
def test_targets_become_int64_or_float32(y, dtype):
    data = made(**{f"y_{p}": y for p in PARTS}, **{f"x_{p}": X for p in PARTS})
    assert data.y_train.dtype == dtype
    assert torch.equal(
        data.y_train, torch.as_tensor(y if dtype != torch.int64 else np.array(y)).to(dtype)
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"x_val": np.where(X[:20] > 0.9, np.nan, X[:20])},
            "x_val has NaN .* of 20 rows",
        ),
        ({"x_test": np.full((20, 3), np.inf)}, "x_test has NaN or infinity in 20 of 20 rows"),
        ({"x_train": np.full((60, 3), 1e300)}, "x_train has NaN or infinity in 60 of 60 rows"),
        ({"x_val": X[:0], "y_val": Y[:0]}, "x_val has no rows"),
        ({"x_test": X[:0], "y_test": Y[:0]}, "x_test has no rows"),
        ({"y_val": Y[:3]}, "x_val has 20 rows, y_val 3"),
        ({"x_val": X[:20, :2]}, r"\(3,\) in x_train and \(2,\) in x_val"),
        ({"x_train": (X[:60] * 255).astype(np.uint8)}, "x_train holds bytes and x_test float32"),
        ({"x_train": X[:60, 0]}, r"x_train has the shape \(60,\).*\[:, None\]"),
        ({"x_train": X[:60] + 1j}, "x_train is complex"),
        ({"x_train": WORDS[:60, None]}, "x_train holds no numbers.*get_dummies"),
        ({"x_train": pd.DataFrame({"pet": WORDS[:60]})}, "no numbers in 'pet'"),
        ({"x_train": torch.eye(60, 3).to_sparse()}, r"x_train is sparse.*to_dense\(\)"),
        ({"x_train": csr_matrix(X[:60])}, r"x_train is sparse.*toarray\(\)"),
        ({"x_train": TensorDataset(torch.eye(60, 3))}, "x_train is a TensorDataset: stack"),
        ({"x_train": [X[:2], X[:3]]}, "different shapes: bring them to one shape"),
        ({"y_train": WORDS[:60]}, "y_train holds no numbers.*from_arrays"),
        ({"y_train": Y[:60] + 1}, "labels from 1 to 3.*count from 0, y - 1"),
        ({"y_train": np.where(Y[:60] > 0, 1, -1)}, r"labels from -1 to 1.*\(y > 0\)"),
        ({"y_train": np.arange(60)}, "labels from 0 to 59.*name every class"),
        ({"y_train": np.eye(3, dtype=int)[Y[:60]]}, r"y_train is one-hot.*y.argmax\(1\)"),
        ({f"y_{p}": np.eye(3)[Y[:n]] for p, n in SIZES.items()}, "one-hot"),
        ({"y_train": Y[:60, None]}, r"\(60, 1\).*y.squeeze\(1\)"),
        ({"y_train": X[:60, 0]}, "y_train holds floats and y_test whole numbers"),
        ({"y_train": 1}, "y_train is a single number"),
        (
            {f"y_{p}": Y[:n] * 1.0 for p, n in SIZES.items()},
            "as floats.*y.l",
        ),
        ({"y_val": np.where(X[:20, 0] > 0.5, np.nan, 0.5)}, "y_val"),
        ({"class_names": ()}, "class_names is empty"),
        ({"seed": 1.5}, "seed must be a whole number"),
    ],
)
def test_what_breaks_the_contract_is_refused_with_its_mend(change, says):
    with pytest.raises((TypeError, ValueError), match=says) as error:
        made(**change)
    one_sentence(error)


def test_finite_numbers_whose_sum_overflows_are_no_infinity():
    assert made(x_train=np.full((60, 3), 3e38)).x_train.isfinite().all()


def test_the_contract_leaves_room_for_what_pages_do():
    flat = {f"y_{p}": getattr(made(), f"x_{p}") for p in PARTS}  # an autoencoder
    assert made(**flat).y_train.shape == (60, 3)
    data = made()
    data.x_train[0] = torch.nan  # broken on purpose, inside an arm
    assert data.to("cpu").x_train.isnan().any()
    with pytest.raises(ValueError, match="x_train has NaN"):
        data.replace(name="again")
    assert repr(made(**flat)).endswith("x (3,), regression)")


def test_text_keeps_its_word_indices():
    text = tl.text(0, n_train=20)
    assert text.replace(name="mine").x_train.dtype == torch.int64
    shares = text.replace(**{f"x_{p}": getattr(text, f"x_{p}") / 10 for p in PARTS})
    assert shares.x_train.dtype == torch.float32
    with pytest.raises(ValueError, match="x_train has NaN"):
        text.replace(x_train=torch.full((20, 32), torch.nan))


# ---- from_arrays -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "names", "numbers"),
    [
        (Y, ("0", "1", "2"), Y),
        (Y + 1, ("1", "2", "3"), Y),
        (np.where(Y > 0, 1, -1), ("-1", "1"), Y > 0),
        (Y > 0, ("False", "True"), Y > 0),
        (WORDS, ("ant", "cat", "dog"), (Y + 1) % 3),
        (WORDS.tolist(), ("ant", "cat", "dog"), (Y + 1) % 3),
        (pd.Series(WORDS, index=range(100, 0, -1)), ("ant", "cat", "dog"), (Y + 1) % 3),
        (pd.Series(WORDS, dtype="string"), ("ant", "cat", "dog"), (Y + 1) % 3),
        (pd.Series(WORDS).astype("category"), ("ant", "cat", "dog"), (Y + 1) % 3),
        (pd.Categorical(WORDS, ["cat", "dog", "cow", "ant"]), ("cat", "dog", "ant"), Y),
        (pd.Series(Y + 5, dtype="Int64"), ("5", "6", "7"), Y),
        (pd.DataFrame({"pet": WORDS}), ("ant", "cat", "dog"), (Y + 1) % 3),
        (torch.tensor(Y, dtype=torch.uint8), ("0", "1", "2"), Y),
    ],
)
def test_labels_of_any_kind_are_numbered_in_order(y, names, numbers):
    data = own(X, y, seed=0, val=(X, y))
    assert data.class_names == names and data.y_val.tolist() == np.array(numbers).tolist()
    assert data.y_train.dtype == data.y_val.dtype == torch.int64


def test_class_names_name_the_numbers_or_order_the_labels():
    assert own(X, Y, seed=0, class_names="abc", val=(X, Y)).y_val.tolist() == Y.tolist()
    assert own(X, Y * 1.0, seed=0, class_names="abc").y_val.dtype == torch.int64
    ordered = own(X, WORDS, seed=0, class_names=["cat", "dog", "ant"], val=(X, WORDS))
    assert ordered.y_val.tolist() == Y.tolist()


def test_floats_are_a_regression_that_keeps_its_numbers():
    for y in (X[:, 0], X, torch.tensor(X[:, :1])):
        data = own(X, y, seed=0, test=(X, y))
        assert data.class_names == () and torch.equal(data.y_test, torch.as_tensor(y).float())
    counts = own(X, Y * 7, seed=0, class_names=(), test=(X, Y * 7))
    assert counts.y_test.dtype == torch.float32 and counts.y_test.max() == 14


@pytest.mark.parametrize(
    ("y", "options", "says"),
    [
        (Y * 1.0, {}, r"whole numbers as floats.*y.astype\(int\)"),
        (np.eye(3)[Y], {}, "one-hot"),
        (np.eye(3, dtype=int)[Y], {}, "one-hot"),
        (Y[:, None], {}, r"y.squeeze\(1\)"),
        (np.arange(100), {}, "nearly as many labels as rows"),
        (X[:, 0], {"class_names": "ab"}, "y holds fractions"),
        (WORDS, {"class_names": ()}, "y holds text"),
        (WORDS, {"class_names": ("cat", "dog")}, "'ant', which is not in class_names"),
        (Y + 1, {"class_names": "abc"}, "labels from 1 to 3"),
        (np.where(Y > 1, None, WORDS), {}, "no label in 33 of 100 rows"),
        (pd.Series(np.where(Y > 1, np.nan, Y)), {}, "no label in 33 of 100 rows"),
        (np.stack([WORDS, WORDS], 1), {}, "several texts a row"),
        (Y[:50], {}, "x has 100 rows, y 50"),
        (Y, {"seed": -1}, "seed must be a whole number"),
        (Y, {"val": 0}, "val must be a whole number, 1 or more"),
        (Y, {"val": 1.5}, "val=1.5 must be a share between 0 and 1"),
        (Y, {"test": True}, "test=True must be a share"),
        (Y, {"val": 0.6, "test": 0.5}, "100 rows, too few for 60 of validation and 50 of test"),
        (Y, {"groups": Y[:3]}, "x has 100 rows, groups 3"),
        (Y, {"test": (X[:0], Y[:0])}, "x_test has no rows"),
        (Y, {"test": (X[:5, :2], Y[:5])}, "in x_test"),
        (Y, {"val": (np.full((9, 3), np.nan), Y[:9])}, "x_val has NaN or infinity in 9 of 9"),
    ],
)
def test_from_arrays_refuses_with_a_mend(y, options, says):
    with pytest.raises((TypeError, ValueError), match=says) as error:
        own(X, y, **{"seed": 0} | options)
    one_sentence(error)


def test_nan_is_counted_over_the_whole_pool():
    x = X.copy()
    x[[3, 50, 99], 1] = np.nan
    with pytest.raises(ValueError, match="x has NaN or infinity in 3 of 100 rows"):
        own(x, Y, seed=0)


def test_the_seed_deals_every_row_once_with_the_classes_in_their_shares():
    rows = np.arange(1000.0)[:, None]
    y = np.repeat(["a", "b"], [800, 200])
    one, again, other = (own(rows, y, seed=s, val=0.1, test=150) for s in (3, 3, 4))
    assert [len(d.y_train) for d in (one, again, other)] == [750] * 3
    assert len(one.x_val) == 100 and len(one.x_test) == 150
    dealt = torch.cat([one.x_train, one.x_val, one.x_test]).flatten()
    assert sorted(dealt.tolist()) == rows.flatten().tolist()
    assert torch.equal(one.x_test, again.x_test) and not torch.equal(one.x_test, other.x_test)
    for part in PARTS:
        assert getattr(one, f"y_{part}").double().mean() == pytest.approx(0.2, abs=0.01)
    assert (one.seed, other.seed) == (3, 4)


def test_a_part_that_is_given_stays_and_the_pool_is_named():
    test = (X[:7] + 1, Y[:7])
    half, whole = own(X, Y, seed=5, test=test), own(X, Y, seed=5, val=(X[:4], Y[:4]), test=test)
    assert torch.equal(half.x_test, torch.tensor(test[0], dtype=torch.float32))
    assert (len(half.x_train), len(half.x_val)) == (80, 20) and half.pool == "100 rows"
    assert len(whole.x_train) == 100 and whole.pool == ""
    assert not torch.equal(half.x_train, own(X, Y, seed=6, test=test).x_train)
    assert tl.digits(0).pool == "1,797 images" and tl.text(0).pool == "950 passages"
    assert (tl.glyphs(0).pool, tl.drivers(0).pool) == ("5,000 images", "4,000 rows")


def test_no_group_is_cut_in_two():
    patient = np.repeat(np.arange(40), 5)
    x = patient[:, None] * 1.0
    for seed in range(3):
        data = own(x, patient % 2, seed=seed, groups=[f"patient {p}" for p in patient])
        seen = [set(getattr(data, f"x_{p}").flatten().tolist()) for p in PARTS]
        assert [len(group) for group in seen] == [24, 8, 8]
        assert not (seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2])


def test_columns_are_named_and_numbers_can_be_trained_on():
    table = pd.DataFrame(X, columns=["age", "km", "kW"])
    make = partial(own, table, WORDS, name="pets")
    data = make(seed=2)
    assert data.feature_names == ("age", "km", "kW")
    assert repr(data) == "Data(pets, seed 2: 60 train, 20 val, 20 test; x (3,), 3 classes)"
    assert tl.fit(tl.mlp([3, 3]), data.standardised(), num_steps=5).test_accuracy > 0
