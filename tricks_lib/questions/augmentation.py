"""The self-checks of the page on augmentation."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import torch
from torch import Tensor


def _images(count: int, side: int) -> Tensor:
    """Fresh images (count, 3, side, side) without zeros, each unlike its mirror image."""
    dice = torch.Generator().manual_seed(secrets.randbits(32))
    return torch.rand(count, 3, side, side, generator=dice) + 0.5


def _shape_problem(new: object, x: Tensor) -> str | None:
    if not isinstance(new, Tensor):
        return f"it gives back a {type(new).__name__}, not a tensor."
    if new.shape != x.shape or new.dtype != x.dtype:
        return "the shape or the dtype of the batch has changed."
    return None


def flip_some(answer: Callable[[Tensor, float], Tensor]) -> str | None:
    """A function of (x, p) that mirrors each image left to right with probability p."""
    x = _images(64, 8)
    before = x.clone()
    new = answer(x, 0.5)
    if problem := _shape_problem(new, x):
        return problem
    if not torch.equal(x, before):
        return "the batch that was handed in has changed; make a new tensor."
    if not torch.equal(answer(x.clone(), 0.0), x):
        return "with p=0 no image may change."
    always = answer(x.clone(), 1.0)
    if torch.equal(always, x.flip(-2)):
        return "the images stand on their heads; mirror them left to right."
    if not torch.equal(always, x.flip(-1)):
        return "with p=1 every image must be its mirror image, left to right."
    same = (new == x).flatten(1).all(1)
    mirrored = (new == x.flip(-1)).flatten(1).all(1)
    if not (same | mirrored).all():
        return "with p=0.5 some image is neither itself nor its mirror image."
    if same.all() or mirrored.all():
        return "with p=0.5 all images of the batch share one fate; give each its own coin."
    again = (answer(x.clone(), 0.5) == x).flatten(1).all(1)
    if torch.equal(again, same):
        return "two calls mirror the very same images; each call needs new coins."
    many = _images(2000, 2)
    share = (answer(many.clone(), 0.2) == many.flip(-1)).flatten(1).all(1).double().mean().item()
    if abs(share - 0.2) > 0.06:  # more than six standard deviations from what p says
        return "the share of mirrored images does not follow p."
    return None


def erase(answer: Callable[[Tensor, int], Tensor]) -> str | None:
    """A function of (x, side) that sets a square of each image to zero, each at its own place."""
    x = _images(400, 7)
    before = x.clone()
    new = answer(x, 3)
    if problem := _shape_problem(new, x):
        return problem
    if not torch.equal(x, before):
        return "the batch that was handed in has changed; make a new tensor."
    holes = new != x
    if not holes.any():
        return "nothing was erased."
    if (new[holes] != 0).any():
        return "what is erased must be zero, and the rest must stay as it was."
    if not (holes == holes[:, :1]).all():
        return "the channels of an image have different holes; the square goes through all."
    first = holes[:, 0]
    rows, columns = first.any(2), first.any(1)
    if (
        not (first == rows[:, :, None] & columns[:, None, :]).all()
        or not (_stretch(rows) & _stretch(columns)).all()
    ):
        return "a hole is not one square."
    if (rows.sum(1) != 3).any() or (columns.sum(1) != 3).any():
        return "a hole does not measure side by side pixels; near the edge it may not be cut off."
    corners = torch.stack([rows.int().argmax(1), columns.int().argmax(1)], 1)
    if len(corners.unique(dim=0)) == 1:
        return "all images have their hole at one place; draw a place for each."
    # 400 draws miss one of the five rows or columns with a chance of 1e-38.
    if any(len(corners[:, axis].unique()) < 5 for axis in (0, 1)):
        return "the hole does not reach every place; look at the range that you draw from."
    if (corners[:, 0] == corners[:, 1]).all():
        return "row and column of the hole are always the same; draw them apart."
    return None


def _stretch(marks: Tensor) -> Tensor:
    """Whether the marked places of each row of (n, places) follow each other without a gap."""
    steps = torch.diff(marks.int(), dim=1, prepend=torch.zeros(len(marks), 1, dtype=torch.int))
    return (steps == 1).sum(1) == 1
