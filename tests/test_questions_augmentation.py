"""The self-checks of the page on augmentation know right answers from wrong ones."""

import pytest
import torch

from tricks_lib.check import WrongAnswer, check
from tricks_lib.questions import augmentation


def right_flip(x, p):
    heads = torch.rand(len(x), 1, 1, 1, device=x.device) < p
    return torch.where(heads, x.flip(-1), x)


def flip_in_place(x, p):
    heads = torch.rand(len(x)) < p
    x[heads] = x[heads].flip(-1)
    return x


def flip_wrong_odds(x, p):
    return right_flip(x, p if p in (0, 0.5, 1) else 1 - p)


WRONG_FLIPS = {
    "not a tensor": lambda x, p: None,
    "shape": lambda x, p: right_flip(x, p)[:, :1],
    "handed in": flip_in_place,
    "with p=0 ": lambda x, p: x.flip(-1),
    "on their heads": lambda x, p: torch.where(torch.rand(len(x), 1, 1, 1) < p, x.flip(-2), x),
    "with p=1": lambda x, p: x,
    "neither": lambda x, p: (1 - p) * x + p * x.flip(-1),
    "one fate": lambda x, p: x.flip(-1) if torch.rand(()) < p else x,
    "very same images": lambda x, p: torch.where(
        (torch.arange(len(x)) * 37 % 100 < 100 * p).view(-1, 1, 1, 1), x.flip(-1), x
    ),
    "follow p": flip_wrong_odds,
}


def holes(x, side, *, apart=1, reach=0):
    """A right answer; ``apart=0`` ties column to row, ``reach`` shortens the range."""
    count, _, height, width = x.shape
    top = torch.randint(0, height - side + 1 - reach, (count, 1, 1, 1))
    left = torch.randint(0, width - side + 1 - reach, (count, 1, 1, 1)) if apart else top
    row, column = torch.arange(height).view(1, 1, -1, 1), torch.arange(width)
    return (row >= top) & (row < top + side) & (column >= left) & (column < left + side)


def right_erase(x, side):
    return x.masked_fill(holes(x, side), 0)


def erase_in_place(x, side):
    return x.masked_fill_(holes(x, side), 0)


def erase_by_channel(x, side):
    return torch.cat([right_erase(x[:, c : c + 1], side) for c in range(x.shape[1])], 1)


def erase_one_place(x, side):
    new = x.clone()
    new[:, :, 1 : 1 + side, 2 : 2 + side] = 0
    return new


def erase_beyond_the_edge(x, side):
    """The middle of the hole may lie anywhere, so the edge cuts holes off (as Cutout does)."""
    padded = torch.nn.functional.pad(x, (side // 2,) * 4)
    return right_erase(padded, side)[..., side // 2 : -(side // 2), side // 2 : -(side // 2)]


WRONG_ERASURES = {
    "not a tensor": lambda x, side: [right_erase(x, side)],
    "shape": lambda x, side: right_erase(x, side).double(),
    "handed in": erase_in_place,
    "nothing": lambda x, side: x.clone(),
    "must be zero": lambda x, side: x.masked_fill(holes(x, side), 0.25),
    "channels": erase_by_channel,
    "one square": lambda x, side: x * (torch.rand(len(x), 1, *x.shape[2:]) < 0.8),
    "side by side": lambda x, side: right_erase(x, side - 1),
    "cut off": erase_beyond_the_edge,
    "at one place": erase_one_place,
    "every place": lambda x, side: x.masked_fill(holes(x, side, reach=1), 0),
    "always the same": lambda x, side: x.masked_fill(holes(x, side, apart=0), 0),
}


@pytest.mark.parametrize("_", range(5))  # the checks draw their inputs anew each time
def test_right_answers_pass(_):
    assert augmentation.flip_some(right_flip) is None
    assert augmentation.erase(right_erase) is None


@pytest.mark.parametrize("about", WRONG_FLIPS)
def test_a_wrong_flip_is_told_what_is_wrong(about):
    assert about in augmentation.flip_some(WRONG_FLIPS[about])


@pytest.mark.parametrize("about", WRONG_ERASURES)
def test_a_wrong_erasure_is_told_what_is_wrong(about):
    assert about in augmentation.erase(WRONG_ERASURES[about])


def test_the_messages_differ():
    for judge, wrong in (
        (augmentation.flip_some, WRONG_FLIPS),
        (augmentation.erase, WRONG_ERASURES),
    ):
        # "cut off" and "side by side" are the two halves of one message.
        assert len({judge(answer) for answer in wrong.values()}) >= len(wrong) - 1


def test_strict_mode_raises(monkeypatch):
    monkeypatch.setenv("TRICKS_STRICT", "1")
    check("augmentation.erase", right_erase)
    with pytest.raises(WrongAnswer, match="nothing"):
        check("augmentation.erase", lambda x, side: x)
