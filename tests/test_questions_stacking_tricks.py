"""The self-checks of the stacking page: right answers pass, each wrong one hears why."""

from __future__ import annotations

import pytest
import torch

from tricks_lib.questions import stacking_tricks


def right_interaction(neither, a, b, both):
    by_seed = (both - a) - (b - neither)
    return by_seed.mean(), by_seed.std() / len(by_seed) ** 0.5


def unpaired(neither, a, b, both):
    parts = sum(part.var() for part in (neither, a, b, both))
    return right_interaction(neither, a, b, both)[0], (parts / len(a)).sqrt()


def with_error(change):
    def answer(neither, a, b, both):
        return right_interaction(neither, a, b, both)[0], change(both - a - b + neither)

    return answer


@pytest.mark.parametrize("seed", range(5))
def test_interaction_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert stacking_tricks.interaction(right_interaction) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda neither, a, b, both: ((b - neither) - (both - a)).mean(), "two numbers"),
        (lambda neither, a, b, both: (both - a - b + neither, both), "one number"),
        (lambda neither, a, b, both: ((b + a - both - neither).mean(), a.std()), "sign"),
        (lambda neither, a, b, both: ((both - neither).mean(), a.std()), "both tricks together"),
        (lambda neither, a, b, both: ((both - a).mean(), a.std()), "gain in company"),
        (lambda neither, a, b, both: (a.mean(), a.std()), "difference of the two gains"),
        (with_error(lambda by_seed: by_seed.std()), "single seeds"),
        (with_error(lambda by_seed: by_seed.std(unbiased=False) / 8**0.5), "one less"),
        (unpaired, "unpaired"),
        (with_error(lambda by_seed: by_seed.var()), "standard error is not"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_interaction_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (stacking_tricks.interaction(wrong) or "")


def right_losses(tricks, score):
    full = score(tuple(tricks))
    return {trick: full - score(tuple(t for t in tricks if t != trick)) for trick in tricks}


def gains_alone(tricks, score):
    return {trick: score((trick,)) - score(()) for trick in tricks}


def scores_without(tricks, score):
    return {trick: score(tuple(t for t in tricks if t != trick)) for trick in tricks}


def twice(tricks, score):
    return {trick: score((*tricks, trick)) for trick in tricks}


@pytest.mark.parametrize("seed", range(5))
def test_losses_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert stacking_tricks.losses(right_losses) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda tricks, score: [1.0], "a dict"),
        (lambda tricks, score: {"red": 1.0}, "one entry for each trick"),
        (lambda tricks, score: {k: -v for k, v in right_losses(tricks, score).items()}, "sign"),
        (scores_without, "scores without"),
        (gains_alone, "gains of each trick alone"),
        (twice, "twice"),
        (lambda tricks, score: dict.fromkeys(tricks, 0.0), "one trick at a time"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_losses_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (stacking_tricks.losses(wrong) or "")
