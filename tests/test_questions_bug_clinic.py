"""The self-checks of the bug clinic: right answers pass, each wrong one hears why."""

from __future__ import annotations

import pytest
import torch

from tricks_lib.questions import bug_clinic


def known(optimizer, groups=slice(None)):
    return {id(p) for group in optimizer.param_groups[groups] for p in group["params"]}


def frozen(model, optimizer=None):
    return {name for name, p in model.named_parameters() if not p.requires_grad}


def unknown(model, optimizer, groups=slice(None)):
    ids = known(optimizer, groups)
    return {name for name, p in model.named_parameters() if id(p) not in ids}


def right_untrained(model, optimizer):
    return frozen(model) | unknown(model, optimizer)


def by_shape(model, optimizer):
    held = [p for group in optimizer.param_groups for p in group["params"]]
    last = {"3.weight", "3.bias"}  # what a comparison of shapes and counts would miss to hold
    return frozen(model) | last if held else set()


def by_a_step(model, optimizer):
    before = {name: p.clone() for name, p in model.named_parameters()}
    model(torch.randn(8, 3)).pow(2).mean().backward()
    optimizer.step()
    return {name for name, p in model.named_parameters() if torch.equal(p, before[name])}


def trained(model, optimizer):
    return {name for name, _ in model.named_parameters()} - right_untrained(model, optimizer)


@pytest.mark.parametrize("seed", range(3))
def test_untrained_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert bug_clinic.untrained(right_untrained) is None
    assert bug_clinic.untrained(lambda m, o: sorted(right_untrained(m, o))) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (frozen, "what does the optimizer hold"),
        (unknown, "a frozen one it knows"),
        (by_shape, "different tensors"),
        (by_a_step, "do not step"),
        (trained, "do train"),
        (lambda m, o: frozen(m) | unknown(m, o, slice(1)), "several groups"),
        (lambda m, o: set(), "not the parameters that training"),
        (lambda m, o: list(m.parameters()), "names of the parameters"),
        (lambda m, o: 5, "a set of names"),
    ],
)
def test_untrained_tells_a_wrong_answer_why(wrong, message: str) -> None:
    assert message in (bug_clinic.untrained(wrong) or "")


def right_leaked(x_train, x_test):
    seen = {image.numpy().tobytes() for image in x_train}
    return sum(image.numpy().tobytes() in seen for image in x_test)


def pairs(x_train, x_test, tolerance=0.0):
    return torch.cdist(x_test.flatten(1).double(), x_train.flatten(1).double()) <= tolerance


def unique_images(x_train, x_test):
    seen = {image.numpy().tobytes() for image in x_train}
    return len(seen & {image.numpy().tobytes() for image in x_test})


@pytest.mark.parametrize("seed", range(5))
def test_leaked_accepts_the_right_answer(seed: int) -> None:
    torch.manual_seed(seed)
    assert bug_clinic.leaked(right_leaked) is None
    same = lambda a, b: (b[:, None] == a[None]).flatten(2).all(2).any(1).sum()  # noqa: E731
    assert bug_clinic.leaked(same) is None


def all_pairs(a, b):
    return (b[:, None] == a[None]).flatten(2).all(2).sum()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (all_pairs, "counted pairs"),
        (unique_images, "two test images"),
        (lambda a, b: right_leaked(b, a), "counted training images"),
        (lambda a, b: right_leaked(a, b) / len(b), "a share"),
        (lambda a, b: pairs(a, b, 0.01).any(1).sum(), "bit by bit"),
        (lambda a, b: torch.isin(b, a).sum(), "more than there are"),
        (lambda a, b: 0, "not how many"),
        (lambda a, b: "many", "one number"),
        (lambda a, b: pairs(a, b).any(1), "one number"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_leaked_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (bug_clinic.leaked(wrong) or "")
