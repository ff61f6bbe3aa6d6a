"""Self-checks of the page on weight decay."""

from __future__ import annotations

import torch
from torch import nn

_TOLERANCE = dict(rtol=1e-4, atol=1e-6)


def soft_threshold(answer) -> str | None:
    """``answer(w, lr, l1)`` gives the weights after one soft-threshold step of size lr * l1.

    w is a tensor of any shape, lr and l1 are positive floats. w itself must stay as it is.
    """
    lr, l1 = (float(torch.empty(1).uniform_(0.3, 0.6)) for _ in range(2))
    step = lr * l1
    # Small and large weights of both signs, so that every case occurs, and one that is zero.
    sizes = torch.tensor([0.2, 0.6, 1.5, 3.0, 0.0]) * step
    w = torch.stack([sizes, -sizes]) * torch.empty(2, 5).uniform_(0.9, 1.1)
    given = w.clone()
    found = torch.as_tensor(answer(given, lr, l1), dtype=torch.float32)
    if not torch.equal(given, w):
        return "your function changed the weights that it was given; give back new ones."
    if found.shape != w.shape:
        return f"the result must keep the shape {tuple(w.shape)}; yours has {tuple(found.shape)}."
    near = torch.allclose
    if near(found, nn.functional.softshrink(w, step), **_TOLERANCE):
        return None
    if near(found, w - step * w.sign(), **_TOLERANCE):
        return "small weights jump over zero and change their sign; where should they stop?"
    if near(found, nn.functional.hardshrink(w, step), **_TOLERANCE):
        return "the small weights are right, but what does the penalty do to the large ones?"
    if near(found, (w - step).clamp(min=0), **_TOLERANCE):
        return "the positive weights are right; look at the negative ones."
    if near(found, nn.functional.softshrink(w, l1), **_TOLERANCE):
        return "the step is too long; how does the learning rate enter?"
    if near(found, w * (1 - step), **_TOLERANCE):
        return "this shrinks each weight by a share of its size, which is L2's way, not L1's."
    return "this is not the soft-threshold step; draw its output against w by hand first."


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
