"""Self-checks of the page on transfer learning."""

from __future__ import annotations

import copy

import torch
from torch import nn


def _network() -> nn.Sequential:
    """A small network with batch norm that has been trained a little, in train mode."""
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 5, bias=False),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Linear(5, 4),
    )
    for layer in model:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2.0)
    return model


def freeze(answer) -> str | None:
    """``answer(model)`` gives a network in which only the last layer can be trained.

    model is an nn.Sequential of convolutions, batch norms and linear layers, the last one linear.
    """
    model = _network()
    old = copy.deepcopy(model).eval()
    found = answer(model)
    if not isinstance(found, nn.Module):
        return f"give back a network, not a {type(found).__name__}."
    x = torch.randn(6, 2, 4, 4)
    with torch.no_grad():
        if not torch.allclose(found.eval()(x), old(x), rtol=1e-4, atol=1e-5):
            return "in eval mode the network must compute the same as before."
    trained = [p for p in found.parameters() if p.requires_grad]
    if not trained:
        return "nothing is left to train; the last layer needs its gradients."
    if sorted(p.shape for p in trained) != sorted(p.shape for p in old[-1].parameters()):
        return "the wrong parameters can be trained; it should be those of the last layer, all."
    return _judge_training(found, trained, old, x)


def _judge_training(
    found: nn.Module, trained: list[nn.Parameter], old: nn.Sequential, x: torch.Tensor
) -> str | None:
    """Train one step as a training loop would, and see what moved."""
    for _ in range(2):  # a loop calls eval() to validate, then train() again
        found.eval()
        found.train()
    before = {name: value.clone() for name, value in found.state_dict().items()}
    logits = found(x)
    if not torch.allclose(logits, old(x), rtol=1e-4, atol=1e-5):
        return "after train() a batch norm uses the batch's statistics; who puts it back into eval?"
    nn.functional.cross_entropy(logits, torch.randint(4, (6,))).backward()
    torch.optim.SGD(trained, lr=0.5).step()
    moved = {name for name, value in found.state_dict().items() if (value != before[name]).any()}
    own = {name for name, p in found.named_parameters() if any(p is other for other in trained)}
    if moved - own:
        return f"a step of training changed {sorted(moved - own)[0]}, which should be frozen."
    if moved != own:
        return "the last layer does not learn: does a gradient reach it?"
    return None


def parameter_groups(answer) -> str | None:
    """``answer(model, lr, factor)`` gives a list of groups for an optimizer, as dicts.

    model is an nn.Sequential; its last layer with parameters gets lr, each one before lr / factor,
    lr / factor ** 2, and so on.
    """
    model = _network()
    lr, factor = (float(torch.empty(1).uniform_(*range_)) for range_ in ((0.05, 0.2), (1.5, 4.0)))
    layers = [layer for layer in model if list(layer.parameters())]
    found = answer(model, lr, factor)
    if not isinstance(found, list | tuple) or not all(isinstance(group, dict) for group in found):
        return "give back a list of dicts, one for each layer, as an optimizer takes them."
    try:
        groups = torch.optim.SGD(list(found), lr=123.0).param_groups
    except (TypeError, ValueError, KeyError) as error:
        return f"torch.optim.SGD does not take these groups: {error}"
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    if len(rates) < len(list(model.parameters())):
        return "some parameters are in no group, so they would never be trained."
    if 123.0 in rates.values():
        return "a group without its own lr gets the optimizer's; give each group one."
    got = [[rates[id(p)] for p in layer.parameters()] for layer in layers]
    if any(max(of_layer) - min(of_layer) > 1e-9 for of_layer in got):
        return "the parameters of one layer must share one rate."
    return _judge_rates([of_layer[0] for of_layer in got], lr, factor, model, layers)


def _judge_rates(
    got: list[float], lr: float, factor: float, model: nn.Sequential, layers: list[nn.Module]
) -> str | None:
    def equal(wanted: list[float]) -> bool:
        return all(
            abs(a - b) <= 1e-6 * max(abs(a), abs(b)) for a, b in zip(got, wanted, strict=True)
        )

    depth = len(layers) - 1
    if equal([lr / factor ** (depth - i) for i in range(depth + 1)]):
        return None
    if equal([lr / factor**i for i in range(depth + 1)]):
        return "the order is upside down: which layer should make the largest steps?"
    if equal([lr * factor ** (depth - i) for i in range(depth + 1)]):
        return "earlier layers get larger rates here; they should get smaller ones."
    if equal([lr] * (depth + 1)):
        return "all layers have the same rate."
    if equal([lr / factor ** (depth - i + 1) for i in range(depth + 1)]):
        return "the last layer should have lr itself; yours starts one power too low."
    if equal([lr / factor ** min(depth - i, 1) for i in range(depth + 1)]):
        return "the rates should go on falling with every layer towards the input."
    places = [list(model).index(layer) for layer in layers]
    if equal([lr / factor ** (len(model) - 1 - place) for place in places]):
        return "layers without parameters, such as ReLU, must not count."
    if equal([lr / (factor * (depth - i)) if i < depth else lr for i in range(depth + 1)]):
        return "each layer's rate is the next one's divided by the factor: that is a power of it."
    return "the rates are not lr, lr / factor, lr / factor ** 2, ... from the last layer back."
