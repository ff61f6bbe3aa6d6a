"""The self-checks of the page on smoothing and mixup: right answers pass, wrong ones hear why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tricks_lib.questions import mixing


def hard(y, num_classes):
    return nn.functional.one_hot(y, num_classes).float()


def right_targets(y, num_classes, smoothing):
    return (1 - smoothing) * hard(y, num_classes) + smoothing / num_classes


def among_the_others(y, num_classes, smoothing):
    spread = smoothing / (num_classes - 1) * (1 - hard(y, num_classes))
    return (1 - smoothing) * hard(y, num_classes) + spread


@pytest.mark.parametrize("seed", range(5))
def test_smooth_targets_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert mixing.smooth_targets(right_targets) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda y, n, s: hard(y, n), "hard targets"),
        (among_the_others, "other classes alone"),
        (lambda y, n, s: right_targets(y, n, 1 - s), "changed places"),
        (lambda y, n, s: hard(y, n) + s / n, "sum to"),
        (lambda y, n, s: right_targets(y, n, s / 2), "shares are not"),
        (lambda y, n, s: right_targets(y, n, s).T, "shape"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_smooth_targets_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (mixing.smooth_targets(wrong) or "")


def mixed_with(x, y, shares, num_classes, by=1):
    column, row, labels = shares[:, None, None, None], shares[:, None], hard(y, num_classes)
    images = column * x + (1 - column) * x.roll(by, 0)
    return images, row * labels + (1 - row) * labels.roll(by, 0)


def image_by_image(x, y, shares, num_classes):
    images, labels = torch.empty_like(x), torch.zeros(len(x), num_classes)
    for i, share in enumerate(shares):
        images[i] = share * x[i] + (1 - share) * x[i - 1]
        labels[i, y[i]] += share
        labels[i, y[i - 1]] += 1 - share
    return images, labels


def along_the_columns(x, y, shares, num_classes):
    return shares * x + (1 - shares) * x.roll(1, 0), hard(y, num_classes)


def in_place(x, y, shares, num_classes):
    images, labels = mixed_with(x, y, shares, num_classes)
    return x.copy_(images), labels


def swapped_labels(x, y, shares, num_classes):
    return mixed_with(x, y, shares, num_classes)[0], mixed_with(x, y, 1 - shares, num_classes)[1]


def unmixed_labels(x, y, shares, num_classes):
    return mixed_with(x, y, shares, num_classes)[0], hard(y, num_classes)


def both_labels(x, y, shares, num_classes):
    labels = hard(y, num_classes)
    return mixed_with(x, y, shares, num_classes)[0], labels + labels.roll(1, 0)


@pytest.mark.parametrize("right", [mixed_with, image_by_image])
@pytest.mark.parametrize("seed", range(5))
def test_mix_each_accepts_right_answers(right, seed: int) -> None:
    torch.manual_seed(seed)
    assert mixing.mix_each(right) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (along_the_columns, "along the columns"),
        (in_place, "changed the images"),
        (swapped_labels, "not mixed by the shares"),
        (unmixed_labels, "still those of whole images"),
        (both_labels, "sum to"),
        (lambda x, y, s, n: mixed_with(x, y, s, n, by=-1), "image behind"),
        (lambda x, y, s, n: mixed_with(x, y, 1 - s, n), "changed places"),
        (lambda x, y, s, n: (x.clone(), hard(y, n)), "not blends"),
        (lambda x, y, s, n: (x[:1].clone(), hard(y, n)), "keep the shape"),
        (lambda x, y, s, n: (mixed_with(x, y, s, n)[0], y), "a row for each image"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_mix_each_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (mixing.mix_each(wrong) or "")
