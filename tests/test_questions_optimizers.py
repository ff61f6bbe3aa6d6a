"""The self-checks of the page on optimizers: right answers pass, each wrong one hears why."""

from __future__ import annotations

import pytest
import torch

from tricks_lib.questions import optimizers


def right_amsgrad(g, s, lr, betas=(0.9, 0.999), eps=1e-8, *, sign=-1, keep="mean", correct=True):
    t = s["t"] = s.get("t", 0) + 1
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    bias1, bias2 = (1 - beta**t if correct else 1 for beta in betas)
    candidate = {"mean": s["v"], "corrected": s["v"] / bias2, "square": g**2}[keep]
    s["top"] = torch.maximum(s.get("top", torch.zeros_like(g)), candidate)
    size = s["top"] if keep == "corrected" else s["top"] / bias2
    return sign * lr * s["m"] / bias1 / (size.sqrt() + eps)


def plain_adam(g, s, lr, betas, eps):
    s.pop("top", None)
    return right_amsgrad(g, s, lr, betas, eps)


def fed_back(g, s, lr, betas, eps):
    step = right_amsgrad(g, s, lr, betas, eps)
    s["v"] = s["top"]
    return step


def eps_under_the_root(g, s, lr, betas, eps):
    step = right_amsgrad(g, s, lr, betas, 0.0)
    size = s["top"] / (1 - betas[1] ** s["t"])
    return step * size.sqrt() / (size + eps).sqrt()


def forgets_its_means(g, s, lr, betas, eps):
    return right_amsgrad(g, {}, lr, betas, eps)


def in_place(g, s, lr, betas, eps):
    step = right_amsgrad(g, s, lr, betas, eps)
    g.mul_(2)
    return step


@pytest.mark.parametrize("seed", range(5))
def test_amsgrad_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert optimizers.amsgrad(right_amsgrad) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (plain_adam, "this is Adam"),
        (lambda *a, **k: right_amsgrad(*a, **k, keep="corrected"), "after correcting"),
        (lambda *a, **k: right_amsgrad(*a, **k, keep="square"), "largest squared gradient"),
        (lambda *a, **k: right_amsgrad(*a, **k, correct=False), "not corrected"),
        (lambda *a, **k: right_amsgrad(*a, **k, sign=1), "uphill"),
        (fed_back, "its own last value"),
        (eps_under_the_root, "under the root"),
        (forgets_its_means, "must s remember"),
        (in_place, "changed the gradient"),
        (lambda g, s, lr, betas, eps: -lr * g, "already the first step"),
        (lambda g, s, lr, betas, eps: g.sum(), "shaped like the gradient"),
        (lambda g, s, lr, betas, eps: None, "must be a tensor"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_amsgrad_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (optimizers.amsgrad(wrong) or "")


def split(model, strength, decays, rest=0.0):
    named = list(model.named_parameters())
    return [
        {"params": [p for name, p in named if decays(name, p)], "weight_decay": strength},
        {"params": [p for name, p in named if not decays(name, p)], "weight_decay": rest},
    ]


def is_matrix(name, p):
    return p.dim() >= 2


def right_groups(model, weight_decay):
    return split(model, weight_decay, is_matrix)


def generators(model, weight_decay):
    return tuple({**g, "params": iter(g["params"])} for g in right_groups(model, weight_decay))


@pytest.mark.parametrize("right", [right_groups, generators])
def test_decay_groups_accepts_right_answers(right) -> None:
    assert optimizers.decay_groups(right) is None


def by_name(model, strength):
    return split(model, strength, lambda name, p: name.endswith("weight"))


def linear_alone(model, strength):
    return split(model, strength, lambda name, p: p.dim() == 2)


def all_of_them(model, strength):
    return split(model, strength, lambda name, p: True)


def swapped(model, strength):
    return split(model, 0.0, is_matrix, rest=strength)


def losing_the_rest(model, strength):
    return right_groups(model, strength)[:1]


def twice(model, strength):
    groups = right_groups(model, strength)
    groups[1]["params"] += groups[0]["params"][:1]
    return groups


def default_for_the_rest(model, strength):
    groups = right_groups(model, strength)
    del groups[1]["weight_decay"]
    return groups


def copies(model, strength):
    groups = right_groups(model, strength)
    return [{**g, "params": [p.detach().clone() for p in g["params"]]} for g in groups]


def one_group_each(model, strength):
    return [
        {"params": [p], "weight_decay": strength if p.dim() >= 2 else 0.0}
        for p in model.parameters()
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (by_name, "scale of a norm layer"),
        (linear_alone, "more than two axes"),
        (all_of_them, "a bias decays"),
        (swapped, "more than two axes"),
        (lambda model, strength: right_groups(model, 2 * strength), "that was asked for"),
        (losing_the_rest, "in no group"),
        (twice, "two places"),
        (default_for_the_rest, "default"),
        (copies, "not parameters of the model"),
        (one_group_each, "two groups will do"),
        (lambda model, strength: list(model.parameters()), "list of dicts"),
    ],
)
def test_decay_groups_tells_a_wrong_answer_why(wrong, message: str) -> None:
    assert message in (optimizers.decay_groups(wrong) or "")
