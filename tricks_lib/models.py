"""The networks of the book: small, plain and written the same way.

A normalisation layer is asked for by name, so that two arms of a study differ in that name alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

Norm = str | Callable[[int], nn.Module] | None

_NORMS_1D: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}
_NORMS_2D: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(max(1, channels // 4), channels),
    # One group over all channels is layer normalisation of an image's features.
    "layer": lambda channels: nn.GroupNorm(1, channels),
}


def _make_norm(norm: Norm, known: dict[str, Callable[[int], nn.Module]], size: int) -> nn.Module:
    if callable(norm):
        return norm(size)
    if norm not in known:
        raise ValueError(f"norm={norm!r} is unknown here; use None or one of {sorted(known)}.")
    return known[norm](size)


def mlp(
    sizes: Sequence[int],
    *,
    activation: Callable[[], nn.Module] = nn.ReLU,
    norm: Norm = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A multi-layer perceptron: flatten, then linear layers with an activation between them.

    Args:
        sizes: units per layer, inputs first and logits last, such as ``[768, 128, 10]``.
        activation: makes the activation that follows each hidden layer.
        norm: None, ``"batch"``, ``"layer"``, or a function from the number of units to a layer;
            it stands before the activation, as in Ioffe & Szegedy (2015). The linear layer
            before it has no bias: batch norm would subtract it again. Layer norm subtracts a
            mean over units, so there the network has a bias less than it could have.
        dropout: the share of hidden units that are dropped after each activation.

    Returns:
        A network from ``(batch, *shape)`` with ``prod(shape) == sizes[0]`` to logits
        ``(batch, sizes[-1])``.

    Raises:
        ValueError: fewer than two sizes, or an unknown norm.
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes={list(sizes)} needs inputs and outputs at least: [64, 10].")
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes[:-1]):
        layers.append(nn.Linear(fan_in, fan_out, bias=norm is None))
        if norm is not None:
            layers.append(_make_norm(norm, _NORMS_1D, fan_out))
        layers.append(activation())
        if dropout:
            layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(sizes[-2], sizes[-1]))
    return nn.Sequential(*layers)


def cnn(
    in_channels: int = 3,
    num_classes: int = 10,
    *,
    width: int = 16,
    norm: Norm = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A small convolutional network: three strided 3x3 convolutions, an average, a linear layer.

    Args:
        in_channels: 3 for colour, 1 for grey.
        num_classes: how many logits.
        width: channels of the first convolution; the next ones have twice and four times as many.
        norm: None, ``"batch"``, ``"layer"``, ``"group"``, or a function from the number of
            channels to a layer. Convolutions before a norm have no bias.
        dropout: the share of features that are dropped before the last layer.

    Returns:
        A network from ``(batch, in_channels, height, width)`` to logits ``(batch, num_classes)``.

    Raises:
        ValueError: an unknown norm.
    """
    channels = [in_channels, width, 2 * width, 4 * width]
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=norm is None))
        if norm is not None:
            layers.append(_make_norm(norm, _NORMS_2D, after))
        layers.append(nn.ReLU())
    # A 16x16 image is 2x2 by now; other sizes are pooled to it, so that the last layer fits.
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(4 * channels[-1], num_classes))
    return nn.Sequential(*layers)
