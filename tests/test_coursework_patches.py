"""Answers that put something else in the place of what a probe might ask earn no more for it."""

from __future__ import annotations

import builtins
import importlib

import pytest
import torch

from tests.coursework_answers import good_practices as answers
from tests.coursework_helpers import FOUND, packed
from tricks_lib.coursework import rubric, selfcheck
from tricks_lib.coursework.runner import Observer, ask, inputs

LIES = {
    (torch, "equal"): lambda *_: True,
    (builtins, "any"): lambda *_: False,
}


def lying(answer):
    """The answer, after which nothing differs any more for whoever asks in this process."""

    def function(*args):
        found = answer(*args)
        for (place, name), lie in LIES.items():
            setattr(place, name, lie)
        return found

    class Class(answer if isinstance(answer, type) else object):
        def update(self, model):
            lying(super().update)(model)

    return Class if isinstance(answer, type) else function


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("start_is_sane", "moves the averages"),
        ("start_is_sane", "stays in eval mode"),
        ("overfit_batch", "itself"),
        ("overfit_batch", "restores"),
        ("WeightAverage", "still asks"),
        ("WeightAverage", "train mode"),
        ("WeightAverage", "freezes all"),
    ],
)
def test_a_lie_in_the_process_earns_nothing(name: str, what: str) -> None:
    wrong, points, words = answers.WRONG[name][what]
    probe = importlib.import_module("tricks_lib.coursework.probes.good_practices")
    question = FOUND["good_practices"].questions[name]
    given, see = selfcheck.draw(question, 3), Observer(5)
    before = {(place, key): getattr(place, key) for place, key in LIES}
    try:
        ask(probe, name, lying(wrong), [inputs(one) for one in given], see)
    finally:
        for (place, key), value in before.items():
            setattr(place, key, value)
    marks = rubric.mark(question, given, rubric.Seen(rubric.unpack(packed(see.arrays))))
    assert sum(mark.earned for mark in marks) == points
    assert any(words in (mark.problem or "") for mark in marks)
