"""Self-checks of the page on overfitting."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

_TOLERANCE = dict(rtol=1e-4, atol=1e-5)


def gap(answer) -> str | None:
    """``answer(train_logits, y_train, test_logits, y_test)`` gives test minus training loss.

    Logits are (examples, classes), labels (examples,); the two parts differ in length.
    """
    seen, new = 5 * torch.randn(30, 4), 5 * torch.randn(50, 4)
    y_seen = seen.argmax(1)  # a network that has learned its training part by heart
    y_new = torch.randint(4, (50,))
    found = torch.as_tensor(
        answer(seen.clone(), y_seen.clone(), new.clone(), y_new.clone())
    ).float()
    if found.numel() != 1:
        return f"the gap is one number; you give back the shape {tuple(found.shape)}."
    found = found.reshape(())
    losses = [cross_entropy(seen, y_seen), cross_entropy(new, y_new)]
    sums = [
        cross_entropy(seen, y_seen, reduction="sum"),
        cross_entropy(new, y_new, reduction="sum"),
    ]
    right = [(seen.argmax(1) == y_seen).float().mean(), (new.argmax(1) == y_new).float().mean()]
    probs = [
        -seen.softmax(1)[torch.arange(30), y_seen].mean(),
        -new.softmax(1)[torch.arange(50), y_new].mean(),
    ]

    def is_near(value: torch.Tensor) -> bool:
        return torch.allclose(found, value, **_TOLERANCE)

    if is_near(losses[1] - losses[0]):
        return None
    if is_near(losses[0] - losses[1]):
        return "the sign: a network that overfits has the higher loss on the test part."
    if is_near(losses[1]):
        return "this is the test loss alone; what did the network reach on its training part?"
    if is_near(sums[1] - sums[0]):
        return "you compare sums, and the parts differ in length; compare means."
    if is_near(right[0] - right[1]) or is_near(right[1] - right[0]):
        return "this is the gap in accuracy; the gap in cross-entropy was asked for."
    if is_near(probs[1] - probs[0]):
        return "you average probabilities; cross-entropy averages minus their logarithms."
    return "this is not the difference of the mean cross-entropies."


def wrong_labels(answer) -> str | None:
    """``answer(y, share, num_classes)`` gives a copy of y with that share of wrong labels.

    y is (examples,), int64; the wrong ones are drawn from all other classes.
    """
    share = float(torch.empty(1).uniform_(0.25, 0.4))
    y = torch.randint(6, (3000,))
    given = y.clone()
    found = answer(given, share, 6)
    if not isinstance(found, torch.Tensor) or found.shape != y.shape:
        return f"give back a tensor of the shape {tuple(y.shape)}, as y has."
    if not torch.equal(given, y):
        return "you changed the labels that you were given; spoil a copy."
    if found.is_floating_point() or found.min() < 0 or found.max() >= 6:
        return "some labels are no classes any more; they are whole numbers from 0 up."
    changed = found != y
    wrong = changed.float().mean().item()
    # 3,000 throws: five standard errors are about 0.045. Of those that are drawn from all six
    # classes one in six stays right.
    if wrong == 0:
        return "no label is wrong."
    if abs(wrong - share) > 0.045:
        if abs(wrong - share * 5 / 6) < 0.04:
            return "some labels were redrawn and are right all the same; draw another class."
        return "the share of wrong labels is not the one asked for."
    if abs(wrong - share * 5 / 6) < abs(wrong - share):
        return "some labels were redrawn and are right all the same; draw another class."
    first = changed[: int(share * len(y))].float().mean().item()
    if first > 0.9 or changed[: len(y) // 2].float().mean().item() < 0.1:
        return "the wrong labels stand side by side; draw their places at random."
    jumps = (found - y)[changed] % 6
    counts = torch.bincount(jumps, minlength=6)[1:]
    if (counts == 0).any():
        return "the wrong labels are not drawn from all other classes."
    return None
