"""The self-checks of the overfitting page: right answers pass, each wrong one hears why."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tricks_lib.questions import overfitting


def right_gap(train_logits, y_train, test_logits, y_test):
    def loss(logits, y):
        return -logits.log_softmax(1)[torch.arange(len(y)), y].mean()

    return loss(test_logits, y_test) - loss(train_logits, y_train)


def right_labels(y, share, num_classes):
    chosen = torch.randperm(len(y))[: round(share * len(y))]
    spoiled = y.clone()
    shift = torch.randint(1, num_classes, chosen.shape)
    spoiled[chosen] = (spoiled[chosen] + shift) % num_classes
    return spoiled


def coin_labels(y, share, num_classes):
    shift = torch.randint(1, num_classes, y.shape)
    return torch.where(torch.rand(y.shape) < share, (y + shift) % num_classes, y)


@pytest.mark.parametrize("seed", range(5))
def test_gap_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert overfitting.gap(right_gap) is None
    assert overfitting.gap(lambda *parts: right_gap(*parts).item()) is None


def accuracy(logits, y):
    return (logits.argmax(1) == y).float().mean()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda a, ya, b, yb: -right_gap(a, ya, b, yb), "the sign"),
        (lambda a, ya, b, yb: cross_entropy(b, yb), "test loss alone"),
        (
            lambda a, ya, b, yb: (
                cross_entropy(b, yb, reduction="sum") - cross_entropy(a, ya, reduction="sum")
            ),
            "sums",
        ),
        (lambda a, ya, b, yb: accuracy(a, ya) - accuracy(b, yb), "in accuracy"),
        (
            lambda a, ya, b, yb: (
                a.softmax(1)[torch.arange(len(ya)), ya].mean()
                - b.softmax(1)[torch.arange(len(yb)), yb].mean()
            ),
            "logarithms",
        ),
        (lambda a, ya, b, yb: b[:, 0], "one number"),
        (lambda a, ya, b, yb: 0.0, "not the difference"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_gap_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (overfitting.gap(wrong) or "")


@pytest.mark.parametrize("answer", [right_labels, coin_labels])
@pytest.mark.parametrize("seed", range(20))
def test_wrong_labels_accepts_right_answers(answer, seed: int) -> None:
    torch.manual_seed(seed)
    assert overfitting.wrong_labels(answer) is None


def redrawn(y, share, num_classes):
    return torch.where(torch.rand(y.shape) < share, torch.randint(num_classes, y.shape), y)


def in_place(y, share, num_classes):
    y[:] = right_labels(y, share, num_classes)
    return y


def at_the_front(y, share, num_classes):
    count = round(share * len(y))
    return torch.cat([right_labels(y[:count], 1.0, num_classes), y[count:]])


def at_the_end(y, share, num_classes):
    return at_the_front(y.flip(0), share, num_classes).flip(0)


def next_class(y, share, num_classes):
    return torch.where(torch.rand(y.shape) < share, (y + 1) % num_classes, y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (redrawn, "right all the same"),
        (in_place, "spoil a copy"),
        (at_the_front, "side by side"),
        (at_the_end, "side by side"),
        (next_class, "all other classes"),
        (lambda y, share, k: right_labels(y, 1 - share, k), "not the one asked for"),
        (lambda y, share, k: y.clone(), "no label is wrong"),
        (lambda y, share, k: y + 6, "no classes"),
        (lambda y, share, k: y[:5], "shape"),
    ],
)
@pytest.mark.parametrize("seed", range(10))
def test_wrong_labels_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (overfitting.wrong_labels(wrong) or "")
