"""Self-checks of the page on stacking tricks."""

from __future__ import annotations

import torch

_TOLERANCE = dict(rtol=1e-4, atol=1e-6)


def interaction(answer) -> str | None:
    """``answer(neither, a, b, both)`` gives the mean interaction and its standard error.

    Each argument is a tensor (seeds,) of scores, in the same order of seeds.
    """
    level = torch.rand(8)  # what a seed does to all four networks
    neither, a, b, both = (level + part + 0.05 * torch.randn(8) for part in (0.1, 0.3, 0.2, 0.35))
    found = answer(neither.clone(), a.clone(), b.clone(), both.clone())
    if not isinstance(found, tuple | list) or len(found) != 2:
        return "give back two numbers: the mean and its standard error."
    mean, error = (torch.as_tensor(part, dtype=torch.float32) for part in found)
    if mean.dim() or error.dim():
        return "each of the two must be one number, not one per seed."
    by_seed = both - a - b + neither
    if not torch.allclose(mean, by_seed.mean(), **_TOLERANCE):
        return _judge_mean(mean, neither, a, b, both)
    root = len(by_seed) ** 0.5
    if torch.allclose(error, by_seed.std() / root, **_TOLERANCE):
        return None
    if torch.allclose(error, by_seed.std(), **_TOLERANCE):
        return "that is the spread of single seeds; the mean of many is known better. By how much?"
    if torch.allclose(error, by_seed.std(unbiased=False) / root, **_TOLERANCE):
        return "for a sample, the standard deviation divides by one less than the number of seeds."
    parts = sum(part.var() for part in (neither, a, b, both))
    if torch.allclose(error, (parts / len(by_seed)).sqrt(), **_TOLERANCE):
        return "this treats the four networks as unpaired; take the difference seed by seed first."
    return "the mean is right; the standard error is not that of the differences seed by seed."


def _judge_mean(mean, neither, a, b, both) -> str:
    if torch.allclose(mean, -(both - a - b + neither).mean(), **_TOLERANCE):
        return "the sign is turned round: the gain in company comes first."
    if torch.allclose(mean, (both - neither).mean(), **_TOLERANCE):
        return "that is the gain of both tricks together, not what they do to each other."
    if any(torch.allclose(mean, (both - one).mean(), **_TOLERANCE) for one in (a, b)):
        return "that is a gain in company; the gain alone must still be taken off."
    return "the mean is not the difference of the two gains."


def losses(answer) -> str | None:
    """``answer(tricks, score)`` gives a dict: trick to what is lost when it alone is taken out.

    score takes a tuple of tricks and gives back a number.
    """
    tricks = ["red", "green", "blue"]
    worth = dict(zip(tricks, torch.rand(3).tolist(), strict=True))
    asked: list[tuple] = []

    def score(chosen):
        if not isinstance(chosen, tuple):
            raise TypeError("score() takes a tuple of tricks.")
        asked.append(chosen)
        # Red and green do the same work: together they are worth less than their sum.
        overlap = 0.5 * min(worth["red"], worth["green"]) if {"red", "green"} <= {*chosen} else 0
        return 1 + sum(worth[trick] for trick in chosen) - overlap

    found = answer(list(tricks), score)
    if not isinstance(found, dict):
        return f"give back a dict, not a {type(found).__name__}."
    if set(found) != set(tricks):
        return f"the dict must have one entry for each trick; yours has {sorted(map(str, found))}."
    if any(len(set(chosen)) != len(chosen) for chosen in asked):
        return "a trick was asked for twice in one stack."
    got = torch.tensor([float(found[trick]) for trick in tricks])
    full, plain = score(tuple(tricks)), score(())
    without = [score(tuple(t for t in tricks if t != trick)) for trick in tricks]
    wanted = torch.tensor([full - rest for rest in without])
    if torch.allclose(got, wanted, **_TOLERANCE):
        return None
    if torch.allclose(got, -wanted, **_TOLERANCE):
        return "the sign is turned round: a trick that is missed has a positive loss."
    if torch.allclose(got, torch.tensor(without), **_TOLERANCE):
        return "these are the scores without each trick; what is lost against the full stack?"
    if torch.allclose(got, torch.tensor([score((t,)) - plain for t in tricks]), **_TOLERANCE):
        return "these are the gains of each trick alone; take each out of the full stack instead."
    return "the losses are not those of taking out one trick at a time."
