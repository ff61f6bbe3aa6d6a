"""Self-checks of the page on optimizers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_TOLERANCE = dict(rtol=1e-4, atol=1e-6)
_SIZES = (1.0, 0.1, 0.03, 2.0, 0.1, 0.1, 4.0, 0.1)


def amsgrad(answer) -> str | None:
    """``answer(g, s, lr, betas, eps)`` gives one step, as the rules of the page do.

    g is the gradient of a weight, of any shape; s the weight's own dict, empty at first.
    """
    # Large and small ones by turns, so that the running mean of squares rises and falls.
    gradients = [torch.randn(3, 2).sign() * size * (1 + torch.rand(3, 2)) for size in _SIZES]
    lr, betas, eps = 0.1, (0.8, 0.6), 0.01
    memory: dict = {}
    found = []
    for g in gradients:
        given = g.clone()
        step = answer(given, memory, lr, betas=betas, eps=eps)
        if not isinstance(step, Tensor) or step.shape != g.shape:
            return f"a step must be a tensor shaped like the gradient, {tuple(g.shape)}."
        if not torch.equal(given, g):
            return "your rule changed the gradient that it was given."
        found.append(step.clone())
    steps = torch.stack(found)
    wanted = _torch_steps(gradients, lr, betas, eps)
    if torch.allclose(steps, wanted, **_TOLERANCE):
        return None
    if torch.allclose(steps, -wanted, **_TOLERANCE):
        return "the steps point uphill: mind the sign."
    for problem, settings in _MISTAKES.items():
        if torch.allclose(steps, _variant(gradients, lr, betas, eps, **settings), **_TOLERANCE):
            return problem
    if torch.allclose(steps[0], wanted[0], **_TOLERANCE):
        return "the first step is right, later ones are not: what must s remember?"
    return "already the first step differs from that of torch.optim.Adam(amsgrad=True)."


_MISTAKES = {
    "this is Adam: nothing in it remembers the largest mean of squares.": {"largest": "none"},
    "you take the largest after correcting the bias; PyTorch takes it before.": {
        "largest": "corrected"
    },
    "you keep the largest squared gradient; AMSGrad keeps the largest of their running means.": {
        "largest": "square"
    },
    "the running mean must go on from its own last value, not from the largest.": {
        "largest": "fed back"
    },
    "the bias of the two means is not corrected.": {"correct": False},
    "eps stands under the root; it belongs outside.": {"outside": False},
}


def _torch_steps(gradients: list[Tensor], lr: float, betas: tuple, eps: float) -> Tensor:
    weight = nn.Parameter(torch.zeros_like(gradients[0]))
    optimizer = torch.optim.Adam([weight], lr=lr, betas=betas, eps=eps, amsgrad=True)
    places = [weight.detach().clone()]
    for g in gradients:
        weight.grad = g.clone()
        optimizer.step()
        places.append(weight.detach().clone())
    return torch.stack(places).diff(dim=0)


def _variant(
    gradients: list[Tensor],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    *,
    largest: str = "mean",
    correct: bool = True,
    outside: bool = True,
) -> Tensor:
    """The steps of a near relative of AMSGrad, each with one thing changed."""
    m = v = top = torch.zeros_like(gradients[0])
    steps = []
    for t, g in enumerate(gradients, start=1):
        bias1, bias2 = (1 - beta**t if correct else 1.0 for beta in betas)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        candidate = {"corrected": v / bias2, "square": g**2, "none": v}.get(largest, v)
        top = candidate if largest == "none" else torch.maximum(top, candidate)
        if largest == "fed back":
            v = top
        size = top if largest == "corrected" else top / bias2
        root = size.sqrt() + eps if outside else (size + eps).sqrt()
        steps.append(-lr * m / bias1 / root)
    return torch.stack(steps)


def decay_groups(answer) -> str | None:
    """``answer(model, weight_decay)`` gives two parameter groups for torch.optim.AdamW."""
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.Flatten(),
        nn.Linear(12, 5, bias=False),
        nn.LayerNorm(5),
        nn.Linear(5, 2),
    )
    strength = float(torch.empty(1).uniform_(0.05, 0.5))
    groups = answer(model, strength)
    if not isinstance(groups, list | tuple) or not all(
        isinstance(group, dict) and "params" in group for group in groups
    ):
        return 'give back a list of dicts, each with "params" and "weight_decay".'
    groups = [{**group, "params": list(group["params"])} for group in groups]
    names = {id(p): name for name, p in model.named_parameters()}
    given = [p for group in groups for p in group["params"]]
    if any(id(p) not in names for p in given):
        return "some of these are not parameters of the model that was given."
    if len({id(p) for p in given}) < len(given):
        return "a parameter stands in two places."
    if missing := set(names) - {id(p) for p in given}:
        return f"{len(missing)} of {len(names)} parameters are in no group, and would never learn."
    if any("weight_decay" not in group for group in groups):
        return "a group without weight_decay gets AdamW's default, which is not zero."
    return _judge_decay(groups, names, strength)


def _judge_decay(groups: list[dict], names: dict[int, str], strength: float) -> str | None:
    decay = {id(p): float(group["weight_decay"]) for group in groups for p in group["params"]}
    parameters = [p for group in groups for p in group["params"]]
    biases = [p for p in parameters if names[id(p)].endswith("bias")]
    scales = [p for p in parameters if p.dim() < 2 and not names[id(p)].endswith("bias")]
    matrices = [p for p in parameters if p.dim() >= 2]
    if any(abs(decay[id(p)] - strength) > 1e-9 for p in matrices):
        if any(p.dim() > 2 and decay[id(p)] == 0 for p in matrices):
            return "the kernels of a convolution have more than two axes, and decay too."
        return "not every matrix has the weight decay that was asked for."
    if any(decay[id(p)] != 0 for p in biases):
        return "a bias decays; it should stay free."
    if any(decay[id(p)] != 0 for p in scales):
        return "the scale of a norm layer decays; it is called weight, but it is no matrix."
    return None if len(groups) == 2 else f"two groups will do; yours are {len(groups)}."
