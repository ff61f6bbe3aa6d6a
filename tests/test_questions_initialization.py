"""The self-checks of the initialisation page: right answers pass, each wrong one hears why."""

from __future__ import annotations

import pytest
import torch

from tricks_lib.questions import initialization


def draw(variance: float, fan_out: int, fan_in: int) -> torch.Tensor:
    return variance**0.5 * torch.randn(fan_out, fan_in)


def right_leaky(fan_out, fan_in, slope):
    return draw(2 / ((1 + slope**2) * fan_in), fan_out, fan_in)


def right_but_uniform(fan_out, fan_in, slope):
    bound = (6 / ((1 + slope**2) * fan_in)) ** 0.5
    return torch.empty(fan_out, fan_in).uniform_(-bound, bound)


def by_pytorch(fan_out, fan_in, slope):
    weight = torch.nn.Parameter(torch.empty(fan_out, fan_in))
    return torch.nn.init.kaiming_normal_(weight, a=slope, nonlinearity="leaky_relu")


@pytest.mark.parametrize("right", [right_leaky, right_but_uniform, by_pytorch])
@pytest.mark.parametrize("seed", range(5))
def test_leaky_accepts_the_right_answer(right, seed: int) -> None:
    torch.manual_seed(seed)
    assert initialization.leaky(right) is None


def bound_is_deviation(out, fan_in, slope):
    bound = (2 / ((1 + slope**2) * fan_in)) ** 0.5
    return torch.empty(out, fan_in).uniform_(-bound, bound)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda out, n, a: draw(2 / n, out, n), "plain ReLU"),
        (lambda out, n, a: draw(1 / n, out, n), "linear units"),
        (lambda out, n, a: draw(2 / ((1 + a) * n), out, n), "which power"),
        (lambda out, n, a: draw(2 / ((1 + a**2) * out), out, n), "which fan"),
        (lambda out, n, a: draw((2 / ((1 + a**2) * n)) ** 2, out, n), "standard deviation belongs"),
        (bound_is_deviation, "uniform"),
        (lambda out, n, a: right_leaky(out, n, a).T, "shape"),
        (lambda out, n, a: right_leaky(out, n, a).abs(), "not centred"),
        (lambda out, n, a: draw(1.0, out, n), "not the one that keeps"),
        (lambda out, n, a: 0.05, "a tensor of weights"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_leaky_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (initialization.leaky(wrong) or "")


def outputs(activation) -> torch.Tensor:
    return activation(torch.randn(200_000))


def right_gain(activation):
    return outputs(activation).pow(2).mean().rsqrt().item()


@pytest.mark.parametrize("seed", range(5))
def test_gain_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert initialization.gain(right_gain) is None
    # A tensor with one number in it is a number too.
    assert initialization.gain(lambda f: outputs(f).pow(2).mean().rsqrt()) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda f: 1 / outputs(f).pow(2).mean().item(), "for variances"),
        (lambda f: outputs(f).pow(2).mean().sqrt().item(), "upside down"),
        (lambda f: 1 / outputs(f).std().item(), "mean included"),
        (lambda f: 2**0.5, "do not have variance one"),
        (lambda f: torch.nn.init.calculate_gain("tanh"), "do not have variance one"),
        (lambda f: outputs(f), "one number"),
        (lambda f: "large", "one number"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_gain_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (initialization.gain(wrong) or "")
