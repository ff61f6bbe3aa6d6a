"""The self-checks of the page on defaults: right answers pass, each wrong one hears why."""

from __future__ import annotations

import pytest
import torch

from tricks_lib.questions import defaults_that_travel


def joint_norm(gradients):
    return torch.sqrt(sum((g**2).sum() for g in gradients))


def right_clip(gradients, max_norm):
    factor = min(1.0, float(max_norm / joint_norm(gradients)))
    return [g * factor for g in gradients]


def in_place(gradients, max_norm):
    torch.nn.utils.clip_grads_with_norm_(gradients, max_norm, joint_norm(gradients))
    for gradient in gradients:
        gradient *= 0.5
    return gradients


@pytest.mark.parametrize("seed", range(5))
def test_clip_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert defaults_that_travel.clip(right_clip) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (in_place, "changed the gradients"),
        (lambda gradients, max_norm: gradients[:1], "a list of 3"),
        (lambda gs, m: [g * (m / joint_norm(gs)) for g in gs], "made longer"),
        (lambda gs, m: [g * min(1.0, float(m / g.norm())) for g in gs], "one factor"),
        (lambda gs, m: [g.clamp(-m, m) for g in gs], "single numbers"),
        (lambda gs, m: [g * min(1.0, float(m / joint_norm(gs) ** 2)) for g in gs], "root"),
        (lambda gs, m: [0 * g for g in gs], "clip_grad_norm_"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_clip_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (defaults_that_travel.clip(wrong) or "")


def running(weights, beta, start=0.0):
    mean = start * torch.ones(weights.shape[1])
    for row in weights:
        mean = beta * mean + (1 - beta) * row
    return mean


def right_average(weights, beta):
    return running(weights, beta) / (1 - beta ** len(weights))


@pytest.mark.parametrize("seed", range(5))
def test_average_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert defaults_that_travel.average(right_average) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (running, "still pulled"),
        (lambda weights, beta: right_average(weights, 1 - beta), "changed places"),
        (lambda weights, beta: running(weights, 1 - beta), "changed places"),
        (lambda weights, beta: running(weights, beta) / (1 - beta), "number of steps"),
        (lambda weights, beta: running(weights, beta, start=weights[0]), "first weights"),
        (lambda weights, beta: weights.mean(0), "plain mean"),
        (lambda weights, beta: weights, "after the last step"),
        (lambda weights, beta: 0 * weights[0], "not the corrected one"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_average_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (defaults_that_travel.average(wrong) or "")
