"""The self-checks of the transfer learning page: right answers pass, wrong ones hear why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tricks_lib.questions import transfer_learning


class Frozen(nn.Sequential):
    def train(self, mode=True):
        return super().train(False)


def right_freeze(model):
    front = Frozen(*model[:-1]).requires_grad_(False)
    return nn.Sequential(front, model[-1])


def freeze_in_place(model):
    model[:-1].requires_grad_(False)
    for layer in model[:-1]:
        layer.train = lambda mode=True, layer=layer: layer
        layer.training = False
    return model


def no_eval(model):
    model[:-1].requires_grad_(False)
    return model


def eval_once(model):
    model[:-1].requires_grad_(False)
    model.eval()
    return model


def eval_alone(model):
    return nn.Sequential(Frozen(*model[:-1]), model[-1])


def without_gradient(model):
    return right_freeze(model).requires_grad_(False)


def head_frozen(model):
    model[-1].requires_grad_(False)
    return model


def fresh_head(model):
    return right_freeze(nn.Sequential(*model[:-1], nn.Linear(5, 4)))


def bias_forgotten(model):
    found = right_freeze(model)
    model[-1].bias.requires_grad_(False)
    return found


class DriftingMean(nn.Module):
    """Computes what the frozen network does, but lets the running statistics drift."""

    def __init__(self, model):
        super().__init__()
        self.inner = right_freeze(model)

    def forward(self, x):
        if self.training:
            self.inner[0][1].running_mean.mul_(1.0)
            out = self.inner(x)
            with torch.no_grad():
                self.inner[0][1].running_mean.add_(0.1)
            return out
        return self.inner(x)


class Detached(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.inner = right_freeze(model)

    def forward(self, x):
        return self.inner(x).detach().requires_grad_()


@pytest.mark.parametrize("right", [right_freeze, freeze_in_place])
@pytest.mark.parametrize("seed", range(5))
def test_freeze_accepts_right_answers(right, seed: int) -> None:
    torch.manual_seed(seed)
    assert transfer_learning.freeze(right) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (no_eval, "batch's statistics"),
        (eval_once, "batch's statistics"),
        (eval_alone, "wrong parameters"),
        (without_gradient, "nothing is left"),
        (head_frozen, "wrong parameters"),
        (bias_forgotten, "wrong parameters"),
        (fresh_head, "compute the same"),
        (DriftingMean, "should be frozen"),
        (Detached, "does not learn"),
        (lambda model: None, "give back a network"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_freeze_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (transfer_learning.freeze(wrong) or "")


def groups(model, rate, *, layers=None):
    layers = [layer for layer in model if list(layer.parameters())] if layers is None else layers
    depth = len(layers) - 1
    return [{"params": list(layer.parameters()), "lr": rate(depth - i)}
            for i, layer in enumerate(layers)]  # fmt: skip


def right_groups(model, lr, factor):
    return groups(model, lambda back: lr / factor**back)


def by_place(model, lr, factor):
    last = len(model) - 1
    return [
        {"params": list(layer.parameters()), "lr": lr / factor ** (last - i)}
        for i, layer in enumerate(model)
        if list(layer.parameters())
    ]


def weights_alone(model, lr, factor):
    return [{**group, "params": group["params"][:1]} for group in right_groups(model, lr, factor)]


def one_per_parameter(model, lr, factor):
    parameters = list(model.parameters())[::-1]
    return [{"params": [p], "lr": lr / factor**i} for i, p in enumerate(parameters)]


@pytest.mark.parametrize("right", [right_groups, lambda *a: right_groups(*a)[::-1]])
@pytest.mark.parametrize("seed", range(5))
def test_groups_accept_right_answers(right, seed: int) -> None:
    torch.manual_seed(seed)
    assert transfer_learning.parameter_groups(right) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda m, lr, f: groups(m, lambda back: lr / f ** (4 - back)), "upside down"),
        (lambda m, lr, f: groups(m, lambda back: lr * f**back), "larger rates"),
        (lambda m, lr, f: groups(m, lambda back: lr), "same rate"),
        (lambda m, lr, f: groups(m, lambda back: lr / f ** (back + 1)), "one power too low"),
        (lambda m, lr, f: groups(m, lambda back: lr / f ** min(back, 1)), "go on falling"),
        (lambda m, lr, f: groups(m, lambda back: lr / (f * back) if back else lr), "a power of it"),
        (lambda m, lr, f: groups(m, lambda back: lr - back), "the rates are not"),
        (by_place, "must not count"),
        (weights_alone, "in no group"),
        (one_per_parameter, "share one rate"),
        (lambda m, lr, f: [{"params": list(m.parameters())}], "its own lr"),
        (lambda m, lr, f: right_groups(m, lr, f) * 2, "does not take"),
        (lambda m, lr, f: lr, "list of dicts"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_groups_tell_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (transfer_learning.parameter_groups(wrong) or "")
