"""The self-checks of the page on normalisation: right answers pass, wrong ones are told apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tricks_lib.questions import normalization as questions


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    deviation = x.std(dim=0)
    return x.mean(dim=0), deviation.where(deviation > 0, torch.ones(()))


def right(x_train: Tensor, x_test: Tensor, correction: int = 1) -> tuple[Tensor, Tensor]:
    mean, deviation = x_train.mean(dim=0), x_train.std(dim=0, correction=correction)
    deviation = deviation.where(deviation > 0, torch.ones(()))
    return (x_train - mean) / deviation, (x_test - mean) / deviation


def with_correction_off(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    return right(x_train, x_test, correction=0)


def with_small_floor(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    mean, deviation = x_train.mean(dim=0), x_train.std(dim=0) + 1e-8
    return (x_train - mean) / deviation, (x_test - mean) / deviation


def test_own_statistics(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    mean, deviation = _statistics(x_test)
    return right(x_train, x_test)[0], (x_test - mean) / deviation


test_own_statistics.__test__ = False


def batch_of_test_rows(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    scaled = right(x_train, x_test)
    return scaled[0], scaled[1] - scaled[1].mean(dim=0)


def pooled(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    mean, deviation = _statistics(torch.cat([x_train, x_test]))
    return (x_train - mean) / deviation, (x_test - mean) / deviation


def divide_by_zero(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    mean, deviation = x_train.mean(dim=0), x_train.std(dim=0)
    return (x_train - mean) / deviation, (x_test - mean) / deviation


def one_number_for_all_columns(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    mean, deviation = x_train.mean(), x_train.std()
    return (x_train - mean) / deviation, (x_test - mean) / deviation


def not_centred(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    deviation = _statistics(x_train)[1]
    return x_train / deviation, x_test / deviation


def not_scaled(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    return x_train - x_train.mean(dim=0), x_test - x_train.mean(dim=0)


def by_variance(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    mean, deviation = _statistics(x_train)
    return (x_train - mean) / deviation**2, (x_test - mean) / deviation**2


def in_place(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    scaled = right(x_train, x_test)
    return x_train.copy_(scaled[0]), x_test.copy_(scaled[1])


def test_left_raw(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    return right(x_train, x_test)[0], x_test


test_left_raw.__test__ = False


def training_alone(x_train: Tensor, x_test: Tensor) -> Tensor:
    return right(x_train, x_test)[0]


def test_rows_first(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    return right(x_train, x_test)[::-1]


test_rows_first.__test__ = False


@pytest.mark.parametrize("answer", [right, with_correction_off, with_small_floor])
def test_standardise_accepts_right_answers(answer: Callable) -> None:
    for _ in range(20):
        assert questions.standardise(answer) is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (test_own_statistics, "depend on the other test rows"),
        (batch_of_test_rows, "depend on the other test rows"),
        (pooled, "training columns do not all have mean 0"),
        (divide_by_zero, "NaN or infinity"),
        (one_number_for_all_columns, "do not all have mean 0"),
        (not_centred, "do not all have mean 0"),
        (not_scaled, "standard deviation 1"),
        (by_variance, "standard deviation 1"),
        (in_place, "were changed"),
        (test_left_raw, "the same driver comes out different"),
        (training_alone, "two tables"),
        (test_rows_first, "same shape"),
    ],
)
def test_standardise_tells_wrong_answers_apart(answer: Callable, message: str) -> None:
    for _ in range(20):
        assert message in (questions.standardise(answer) or "")


def fold(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    new = nn.Linear(layer.in_features, layer.out_features, dtype=layer.weight.dtype)
    with torch.no_grad():
        new.weight.copy_(layer.weight / deviation)
        bias = 0 if layer.bias is None else layer.bias
        new.bias.copy_(bias - layer.weight @ (mean / deviation))
    return new


def fold_multiplied(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    return fold(layer, mean, 1 / deviation)


def fold_without_bias(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    return fold(layer, torch.zeros_like(mean), deviation)


def fold_plus_mean(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    return fold(layer, -mean, deviation)


def fold_unscaled_mean(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    return fold(layer, mean * deviation, deviation)


def fold_in_place(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    layer.load_state_dict(fold(layer, mean, deviation).state_dict(), strict=False)
    return layer


def fold_needs_bias(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    new = fold(layer, mean, deviation)
    if layer.bias is None:
        new.bias.data.zero_()
    return new


def fold_single_precision(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    return fold(layer, mean, deviation).float()


def fold_as_sequence(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Sequential:
    return nn.Sequential(fold(layer, mean, deviation))


def fold_flat(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> nn.Linear:
    return nn.Linear(layer.out_features, layer.in_features).double()


def test_fold_accepts_the_right_answer() -> None:
    for _ in range(20):
        assert questions.fold(fold) is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (fold_multiplied, "a step of one deviation"),
        (fold_without_bias, "off by a constant"),
        (fold_plus_mean, "off by a constant"),
        (fold_unscaled_mean, "off by a constant"),
        (fold_in_place, "old layer was changed"),
        (fold_needs_bias, "for a layer without bias: the slopes are right"),
        (fold_single_precision, "another dtype"),
        (fold_as_sequence, "give back an nn.Linear"),
        (fold_flat, "other numbers of inputs or outputs"),
    ],
)
def test_fold_tells_wrong_answers_apart(answer: Callable, message: str) -> None:
    for _ in range(20):
        assert message in (questions.fold(answer) or "")
