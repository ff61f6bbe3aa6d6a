"""The self-checks of the batch norm page: right answers pass, each wrong one hears why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tricks_lib.questions import batch_norm

AXES = (0, 2, 3)


def right_running(mean, var, x, momentum):
    new_mean = (1 - momentum) * mean + momentum * x.mean(AXES)
    return new_mean, (1 - momentum) * var + momentum * x.var(AXES, unbiased=True)


def swapped(mean, var, x, momentum):
    return right_running(mean, var, x, 1 - momentum)


def biased(mean, var, x, momentum):
    return right_running(mean, var, x, momentum)[0], torch.lerp(
        var, x.var(AXES, unbiased=False), momentum
    )


def forgetful(mean, var, x, momentum):
    return x.mean(AXES), x.var(AXES)


def over_the_batch_alone(mean, var, x, momentum):
    return torch.lerp(mean.view(-1, 1, 1), x.mean(0), momentum), x.var(0)


def deviations(mean, var, x, momentum):
    return right_running(mean, var, x, momentum)[0], torch.lerp(var, x.std(AXES), momentum)


def old_variance(mean, var, x, momentum):
    return right_running(mean, var, x, momentum)[0], var


@pytest.mark.parametrize("seed", range(5))
def test_running_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert batch_norm.running(right_running) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (swapped, "changed places"),
        (biased, "one less"),
        (forgetful, "forgets"),
        (over_the_batch_alone, "one number per channel"),
        (deviations, "standard deviations"),
        (old_variance, "the mean is right; the running variance"),
        (lambda mean, var, x, momentum: (0 * mean, var), "running mean is not the one"),
        (lambda mean, var, x, momentum: mean, "two tensors"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_running_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (batch_norm.running(wrong) or "")


def right_fold(linear, norm, *, power=0.5, eps=None, constants=True):
    eps = norm.eps if eps is None else eps
    scale = norm.weight / (norm.running_var + eps) ** power
    folded = nn.Linear(linear.in_features, linear.out_features)
    with torch.no_grad():
        folded.weight.copy_(linear.weight * scale.view(-1, 1))
        bias = 0 if linear.bias is None else linear.bias
        folded.bias.copy_(norm.bias + ((bias - norm.running_mean) * scale if constants else 0))
    return folded


def without_the_layers_own_bias(linear, norm):
    return right_fold(nn.Linear(5, 3, bias=False).requires_grad_(False), norm)


def ignores_bias(linear, norm):
    bare = nn.Linear(5, 3, bias=False)
    bare.weight.data.copy_(linear.weight)
    return right_fold(bare, norm)


def in_place(linear, norm):
    folded = right_fold(linear, norm)
    linear.weight.data.mul_(2)
    return folded


@pytest.mark.parametrize("seed", range(5))
def test_fold_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert batch_norm.fold(right_fold) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda linear, norm: right_fold(linear, norm, eps=0.0), "eps"),
        (lambda linear, norm: right_fold(linear, norm, power=1.0), "variance"),
        (lambda linear, norm: right_fold(linear, norm, constants=False), "bias is not"),
        (ignores_bias, "bias is not"),
        (without_the_layers_own_bias, "by what does batch norm multiply"),
        (lambda linear, norm: nn.Linear(3, 5), "shape"),
        (lambda linear, norm: nn.Sequential(linear, norm), "one nn.Linear"),
        (in_place, "changed the layers"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_fold_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (batch_norm.fold(wrong) or "")
