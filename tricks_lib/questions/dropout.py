"""Self-checks of the page on dropout."""

from __future__ import annotations

import torch

_TOLERANCE = dict(rtol=1e-4, atol=1e-5)


def inverted(answer) -> str | None:
    """``answer(x, keep, p)`` gives the output of dropout in train mode for this mask.

    x and keep are shaped alike, keep holds zeros and ones, p is the share that is dropped.
    """
    p = float(torch.empty(1).uniform_(0.15, 0.4))
    x, keep = torch.randn(6, 50), torch.empty(6, 50).bernoulli_(1 - p)
    found = torch.as_tensor(answer(x.clone(), keep.clone(), p), dtype=torch.float32)
    if found.shape != x.shape:
        return f"the output must have the shape {tuple(x.shape)} of x, not {tuple(found.shape)}."
    near = torch.allclose
    if near(found, x * keep / (1 - p), **_TOLERANCE):
        return None
    if near(found, x * keep, **_TOLERANCE):
        return "the right units go, but the mean of the output shrinks; what makes up for it?"
    if near(found, x * keep * (1 - p), **_TOLERANCE):
        return "you scale the wrong way: what is kept must stand in for what is dropped."
    if near(found, x * keep / p, **_TOLERANCE):
        return "you divide by the share that is dropped; which share is left?"
    if near(found * keep, torch.zeros_like(x), **_TOLERANCE):
        return "the kept and the dropped units have changed places."
    return "this is not what nn.Dropout gives for this mask."


def spatial(answer) -> str | None:
    """``answer(x, p)`` drops whole channels of x, as in train mode.

    x is (batch, channels, height, width), p the share that is dropped.
    """
    p = float(torch.empty(1).uniform_(0.25, 0.4))
    x = torch.rand(64, 32, 4, 3) + 0.5
    found = torch.as_tensor(answer(x.clone(), p), dtype=torch.float32)
    if found.shape != x.shape:
        return f"the output must have the shape {tuple(x.shape)} of x, not {tuple(found.shape)}."
    gone = found == 0
    whole = gone.flatten(2).all(2)
    if not gone.any():
        return "nothing was dropped."
    if not torch.equal(gone.flatten(2).any(2), whole):
        return "some channels are dropped in part; a channel stays or goes as a whole."
    if torch.equal(whole, whole[:1].expand_as(whole)):
        return "all images lose the same channels; each image has its own throw."
    if torch.equal(whole, whole[:, :1].expand_as(whole)):
        return "an image keeps or loses all of its channels; each channel has its own throw."
    share = whole.float().mean().item()
    # 2,048 throws: five standard errors are about 0.055.
    if abs(share - (1 - p)) < 0.055:
        return "you drop the share that should be kept."
    if abs(share - p) > 0.055:
        return "the share of dropped channels is not p."
    kept = ~gone
    if torch.allclose(found[kept], x[kept], **_TOLERANCE):
        return "the right channels go, but the mean of the output shrinks."
    if not torch.allclose(found[kept], x[kept] / (1 - p), **_TOLERANCE):
        return "the kept channels are not scaled as nn.Dropout2d scales them."
    return None
