"""Self-checks of the page on label smoothing and mixup."""

from __future__ import annotations

import torch
from torch import nn

_TOLERANCE = dict(rtol=1e-4, atol=1e-6)


def smooth_targets(answer) -> str | None:
    """``answer(y, num_classes, smoothing)`` gives smoothed targets (batch, num_classes).

    y is int64 (batch,), num_classes an int, smoothing a float between 0 and 1.
    """
    batch, num_classes = 7, 5
    smoothing = float(torch.empty(1).uniform_(0.1, 0.4))
    y = torch.randint(num_classes, (batch,))
    found = torch.as_tensor(answer(y.clone(), num_classes, smoothing), dtype=torch.float32)
    if found.shape != (batch, num_classes):
        return (
            f"give back a row for each example and a column for each class, shape "
            f"{(batch, num_classes)}; yours has {tuple(found.shape)}."
        )
    hard = nn.functional.one_hot(y, num_classes).float()
    logits = 3 * torch.randn(batch, num_classes)
    wanted = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, y)
    right = (1 - smoothing) * hard + smoothing / num_classes
    near = torch.allclose
    if near(found, right, **_TOLERANCE):
        loss = nn.functional.cross_entropy(logits, found)
        return None if near(loss, wanted, rtol=1e-4, atol=1e-5) else "the loss is not PyTorch's."
    if near(found, hard, **_TOLERANCE):
        return "these are the hard targets still; smoothing has not entered."
    others = (1 - smoothing) * hard + smoothing / (num_classes - 1) * (1 - hard)
    if near(found, others, **_TOLERANCE):
        return "you share among the other classes alone; PyTorch's right class gets its part too."
    if near(found, smoothing * hard + (1 - smoothing) / num_classes, **_TOLERANCE):
        return "the two shares have changed places: smoothing is the part that is spread."
    if not near(found.sum(1), torch.ones(batch), **_TOLERANCE):
        return "a row of targets is a distribution; what must each row sum to?"
    return "each row sums to one, but the shares are not those of nn.CrossEntropyLoss."


def mix_each(answer) -> str | None:
    """``answer(x, y, shares, num_classes)`` gives mixed images and targets, a share for each image.

    x is (batch, channels, height, width), y int64 (batch,), shares floats (batch,) between 0 and
    1. The partner of an image is the one before it in the batch; that of the first is the last.
    """
    batch, num_classes = 5, 4
    # As high as wide and as the batch, so that shares on a wrong axis do not fail by themselves.
    x, shares = torch.rand(batch, 3, batch, batch), torch.empty(batch).uniform_(0.55, 0.95)
    y = torch.arange(batch) % num_classes
    given = x.clone()
    mixed, targets = answer(given, y.clone(), shares.clone(), num_classes)
    if not torch.equal(given, x):
        return "your function changed the images that it was given; give back new ones."
    mixed, targets = (torch.as_tensor(found).float() for found in (mixed, targets))
    if mixed.shape != x.shape:
        return f"the images must keep the shape {tuple(x.shape)}; yours have {tuple(mixed.shape)}."
    if targets.shape != (batch, num_classes):
        return (
            f"the targets need a row for each image and a column for each class, "
            f"{(batch, num_classes)}; yours have {tuple(targets.shape)}."
        )
    near, hard = torch.allclose, nn.functional.one_hot(y, num_classes).float()
    column, row = shares[:, None, None, None], shares[:, None]
    if near(mixed, shares * x + (1 - shares) * x.roll(1, 0), **_TOLERANCE):
        return "your shares run along the columns of an image; each image has one."
    if near(mixed, column * x + (1 - column) * x.roll(-1, 0), **_TOLERANCE):
        return "you mix with the image behind; the partner is the one before."
    if near(mixed, (1 - column) * x + column * x.roll(1, 0), **_TOLERANCE):
        return "the shares have changed places: an image keeps its share of itself."
    if not near(mixed, column * x + (1 - column) * x.roll(1, 0), **_TOLERANCE):
        return "the images are not blends of each image with the one before it."
    if near(targets, hard, **_TOLERANCE):
        return "the images are mixed, and the labels are still those of whole images."
    if not near(targets.sum(1), torch.ones(batch), **_TOLERANCE):
        return "a row of targets is a distribution; what must each row sum to?"
    if near(targets, row * hard + (1 - row) * hard.roll(1, 0), **_TOLERANCE):
        return None
    return "the images are right; the labels are not mixed by the shares of their images."
