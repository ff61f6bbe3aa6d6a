"""Self-checks of the page on faults in training scripts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from .. import clinic
from . import unpacked


def __getattr__(name: str) -> Callable[[object], str | None]:
    """``patient_1``, ``patient_2``, ...: each patient of the clinic is a question."""
    kind, _, number = name.partition("_")
    if kind == "patient" and number.isdigit() and int(number) in clinic.PATIENTS:
        return partial(_diagnosis, int(number))
    raise AttributeError(name)


def _diagnosis(number: int, answer) -> str | None:
    """``answer`` is what the patient of this number has, as ``clinic.DIAGNOSES`` calls it."""
    if not isinstance(answer, str):
        return "give the diagnosis as text, such as 'no eval'."
    said, truth = answer.strip().lower(), clinic.PATIENTS[number]
    if said not in clinic.DIAGNOSES:
        return f"{answer!r} is not on the list; print tl.clinic.DIAGNOSES, and choose."
    if said == truth:
        return None
    signs = ((test, *(clinic.finding(test, who).sign for who in (said, truth))) for test in TESTS)
    telling = next(test for test, expected, found in signs if expected != found)
    return f"no; {telling}() gives something else than it would with this fault. Order it."


TESTS = tuple(clinic.TESTS)


def untrained(answer) -> str | None:
    """``answer(model, optimizer)`` is the set of names of parameters that training leaves alone."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4))
    model.append(nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    groups = [{"params": [*model[0].parameters(), *model[2].parameters()]}]
    optimizer = torch.optim.SGD([*groups, {"params": [*model[4].parameters()]}], lr=0.1)
    model[2] = nn.Linear(4, 4)  # made after the optimizer: the same shapes, other tensors
    frozen, unknown = {"0.weight"}, {f"{i}.{kind}" for i in (2, 3) for kind in ("weight", "bias")}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    found = answer(model, optimizer)
    if not isinstance(found, set | frozenset | list | tuple):
        return f"give back a set of names, not a {type(found).__name__}."
    if not all(isinstance(name, str) for name in found):
        return "give back the names of the parameters, not the parameters themselves."
    if any(not torch.equal(p, before[name]) for name, p in model.named_parameters()):
        return "your function trained the model; look, and do not step."
    if set(found) == frozen | unknown:
        return None
    if set(found) == frozen:
        return "you found what is frozen; what does the optimizer hold, and what does it not?"
    if set(found) == unknown:
        return "you found what the optimizer does not know; a frozen one it knows, and cannot move."
    if set(found) == frozen | {"3.weight", "3.bias"}:
        return "two tensors can have equal shapes or values and be different tensors; compare ids."
    if set(found) == {*before} - frozen - unknown:
        return "these are the parameters that do train."
    if {"4.weight", "4.bias"} & set(found):
        return "an optimizer can have several groups of parameters; look into all of them."
    return "these are not the parameters that training leaves alone."


def leaked(answer) -> str | None:
    """``answer(x_train, x_test)`` counts the test images that are in the training set too."""
    x_train, x_test = torch.rand(30, 1, 4, 4), torch.rand(20, 1, 4, 4)
    count = int(torch.randint(4, 7, ()))
    x_test[:count] = x_train[:count]
    x_train[10:13] = x_train[0]  # copies within the training set
    x_test[count] = x_test[0]  # and a test image that is there twice
    x_test[count + 1] = x_train[20] + 1e-3  # near, not equal
    x_test[count + 2, :, :2] = x_train[21, :, :2]  # the upper half alone
    x_train, x_test = x_train[torch.randperm(30)], x_test[torch.randperm(20)]
    found = unpacked(answer(x_train, x_test))
    if isinstance(found, bool) or not isinstance(found, int | float):
        return f"give back one number, not a {type(found).__name__}."
    near = {
        "you counted pairs; a test image counts once, however often the training set has it.": (
            count + 1 + 6
        ),
        "a test image that is there twice is two test images.": count,
        "you counted training images; how many of the test images are leaked?": count + 3,
        "that is a share; how many images is it?": (count + 1) / 20,
        "nearly equal is not equal: compare bit by bit.": count + 2,
    }
    if found == count + 1:
        return None
    for message, value in near.items():
        if abs(found - value) < 1e-6:
            return message
    if found > 20:
        return "more than there are test images: compare whole images, not pixels."
    return "this is not how many test images the training set has."
