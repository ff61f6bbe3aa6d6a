"""The self-checks of the early stopping page: right answers pass, each wrong one hears why."""

from __future__ import annotations

import pytest
import torch

from tricks_lib.questions import early_stopping


def right_patient(losses, wait, min_delta):
    best, kept = losses[0], 0
    for t in range(1, len(losses)):
        if best - losses[t] > min_delta:
            best, kept = losses[t], t
        elif t - kept == wait:
            return t, kept
    return len(losses) - 1, kept


def waits_too_long(losses, wait, min_delta):
    return right_patient(losses, wait + 1, min_delta)


def too_soon(losses, wait, min_delta):
    return right_patient(losses, wait - 1, min_delta)


def counts_all(losses, wait, min_delta):
    best, kept, bad = losses[0], 0, 0
    for t in range(1, len(losses)):
        if best - losses[t] > min_delta:
            best, kept = losses[t], t
        else:
            bad += 1
        if bad == wait:
            return t, kept
    return len(losses) - 1, kept


def ignores_delta(losses, wait, min_delta):
    return right_patient(losses, wait, 0.0)


def creeps(losses, wait, min_delta):
    best, kept, since = losses[0], 0, 0
    for t in range(1, len(losses)):
        if best - losses[t] > min_delta:
            kept, since = t, 0
        else:
            since += 1
        best = min(best, losses[t])
        if since == wait:
            return t, kept
    return len(losses) - 1, kept


def keeps_the_last(losses, wait, min_delta):
    stop, _ = right_patient(losses, wait, min_delta)
    return stop, stop


def keeps_the_first(losses, wait, min_delta):
    return right_patient(losses, wait, min_delta)[0], 0


@pytest.mark.parametrize("seed", range(5))
def test_patient_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert early_stopping.patient(right_patient) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (waits_too_long, "too many"),
        (too_soon, "too soon"),
        (counts_all, "anew"),
        (ignores_delta, "makes no difference"),
        (creeps, "crumb"),
        (keeps_the_last, "not the best ones"),
        (keeps_the_first, "restored index is not"),
        (lambda losses, wait, min_delta: (0, 0), "does not stop where"),
        (lambda losses, wait, min_delta: 3, "two indices"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_patient_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (early_stopping.patient(wrong) or "")


def right_loss(losses):
    return 100 * (losses / losses.cummin(0).values - 1)


def in_place(losses):
    found = right_loss(losses)
    losses.mul_(2)
    return found


def with_the_record_before(losses):
    return 100 * (losses / torch.cat([losses[:1], losses[:-1]]) - 1)


@pytest.mark.parametrize("seed", range(5))
def test_generalisation_loss_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert early_stopping.generalisation_loss(right_loss) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda losses: right_loss(losses) / 100, "share"),
        (lambda losses: 100 * (losses / losses.min() - 1), "future"),
        (lambda losses: 100 * (losses - losses.cummin(0).values), "unit"),
        (lambda losses: 100 * losses / losses.cummin(0).values, "new lowest"),
        (with_the_record_before, "record before"),
        (lambda losses: right_loss(losses)[-1], "one number per record"),
        (lambda losses: 0 * losses, "not the values"),
        (in_place, "changed the curve"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_generalisation_loss_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (early_stopping.generalisation_loss(wrong) or "")
