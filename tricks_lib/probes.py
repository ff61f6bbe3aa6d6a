"""Looking inside a network: activations, gradients and saturation, layer by layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


def activations(
    model: nn.Module, x: Tensor, kinds: tuple[type[nn.Module], ...] = ACTIVATIONS
) -> dict[str, Tensor]:
    """The outputs of every layer of the given kinds for one batch, in the order of the network.

    Args:
        model: any network; its mode is left as it is, its weights are not changed.
        x: a batch (batch, ...), on the model's device.
        kinds: the classes of layer to look at; default the activation functions.

    Returns:
        Name, such as ``"1 ReLU"``, to output (batch, ...), detached and on the CPU.
    """
    found: dict[str, Tensor] = {}
    layers = [layer for layer in model.modules() if isinstance(layer, kinds)]

    def keep(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def hook(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
            # A recurrent layer gives its outputs first, its last state second.
            found[name] = (output[0] if isinstance(output, tuple) else output).detach().cpu()

        return hook

    handles = [
        layer.register_forward_hook(keep(f"{i} {type(layer).__name__}"))
        for i, layer in enumerate(layers, start=1)
    ]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def gradients(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
) -> dict[str, Tensor]:
    """The gradient of the loss on one batch for every weight matrix; no update is made.

    Args:
        model: any network, in the mode that you want to look at.
        x, y: a batch (batch, ...) and its targets (batch,).
        loss: a function of (logits, y).

    Returns:
        Parameter name to gradient, shaped like the parameter; biases, norms and what is frozen
        are left out. A matrix that the network does not use has the gradient zero.

    Raises:
        ValueError: there is no weight matrix, or all are frozen.
    """
    weights = {n: p for n, p in model.named_parameters() if p.requires_grad and p.dim() > 1}
    if not weights:
        raise ValueError(
            "no weight matrix can have a gradient here: give a model with layers such as "
            "nn.Linear, and call requires_grad_(True) on those that are frozen."
        )
    total = loss(model(x), y)
    found = torch.autograd.grad(total, list(weights.values()), materialize_grads=True)
    return {name: g.detach().cpu() for name, g in zip(weights, found, strict=True)}


def gradient_norm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
) -> float:
    """The Euclidean norm of the gradient over all weight matrices, for one batch."""
    parts = gradients(model, x, y, loss).values()
    return torch.cat([part.flatten() for part in parts]).norm().item()


def saturation(model: nn.Module, x: Tensor) -> dict[str, float]:
    """The share of outputs, layer by layer, that pass hardly any gradient back.

    For ReLU these are zeros, for tanh outputs beyond 0.97, for sigmoid outputs within 0.03 of
    0 or 1: there the slope is below a tenth of its largest value. Glorot & Bengio (2010).

    Returns:
        Name, such as ``"1 Tanh"``, to a share from 0 to 1.
    """
    flat = {
        "ReLU": lambda out: out == 0,
        "Tanh": lambda out: out.abs() > 0.97,
        "Sigmoid": lambda out: (out < 0.03) | (out > 0.97),
    }
    found = activations(model, x, (nn.ReLU, nn.Tanh, nn.Sigmoid))
    return {name: flat[name.split()[-1]](out).double().mean().item() for name, out in found.items()}
