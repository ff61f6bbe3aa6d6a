"""Answers that learnt by heart what was right for the public inputs earn nothing for others.

A tape records all that a right answer did when `check` asked: what each call gave back, and what
it left in the tensors and models that it was given. Replayed to the grader's questions, call by
call or by the arguments, it must not win a single point, in any question.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.coursework_helpers import FOUND, PARTS, defined, drawn, marks
from tricks_lib.coursework import selfcheck
from tricks_lib.coursework.judges import regularization
from tricks_lib.coursework.runner import Observer, ask, inputs

QUESTIONS = [(part, name) for part in PARTS for name in FOUND[part].questions]
SEEDS = range(1, 4)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: more threads would only get into each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Call:
    """One call as it was heard: the arguments, what came back, and what was left behind."""

    def __init__(self, function: Callable, args: tuple) -> None:
        args = tuple(list(arg) if isinstance(arg, Iterator) else arg for arg in args)
        self.heard = [_key(arg) for arg in args]
        self.asked: list[list[tuple]] = [[] for _ in args]
        given = [
            _listening(arg, asked) if _is_function(arg) else iter(arg) if _is_stream(arg) else arg
            for arg, asked in zip(args, self.asked, strict=True)
        ]
        self.result = function(*given)
        self.placed = [
            (holder, place, next(n for n, other in enumerate(args) if other is child))
            for holder, arg in enumerate(args)
            if isinstance(arg, nn.Sequential)
            for place, child in enumerate(arg)
            if any(child is other for other in args)
        ]
        self.after = [_state(arg) for arg in args]
        self.said = _said(self.result, args)

    def again(self, args: tuple) -> Any:
        """Do to other arguments what was done to those that were heard."""
        args = tuple(list(arg) if isinstance(arg, Iterator) else arg for arg in args)
        for holder, place, child in self.placed:  # a model that was put into another one
            args[holder][place] = args[child]
        for arg, after, asked in zip(args, self.after, self.asked, strict=False):
            _restore(arg, after)
            for question in asked:
                arg(*question)
        return _repeated(self.said, args)

    def like(self, args: tuple) -> float:
        """How much these arguments are like those that were heard."""
        heard = [_key(arg) for arg in args]
        return sum(one == two for one, two in zip(heard, self.heard, strict=False))


def _is_function(arg: object) -> bool:
    return callable(arg) and not isinstance(arg, nn.Module)


def _is_stream(arg: object) -> bool:
    return isinstance(arg, list) and bool(arg) and isinstance(arg[0], nn.Parameter)


def _listening(function: Callable, asked: list[tuple]) -> Callable:
    def listen(*args: Any) -> Any:
        asked.append(copy.deepcopy(args))
        return function(*args)

    return listen


def _key(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return value.detach().double().flatten().tolist()
    if isinstance(value, nn.Module):
        return [_key(tensor) for tensor in value.state_dict().values()]
    if isinstance(value, list | tuple):
        return [_key(part) for part in value]
    return None if callable(value) else value


def _state(value: object) -> object:
    """What can be changed where it stands: a tensor's numbers, a model's weights and modes."""
    if isinstance(value, torch.Tensor):
        grad = value.grad.clone() if value.is_leaf and value.grad is not None else None
        return value.detach().clone(), grad, value.requires_grad
    if isinstance(value, nn.Module):
        return [_state(t) for t in _tensors(value)], [m.training for m in value.modules()]
    if isinstance(value, list | tuple):
        return [_state(part) for part in value]
    return None


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def _restore(value: object, state: Any) -> None:
    if isinstance(value, torch.Tensor) and isinstance(state, tuple):
        with torch.no_grad():
            if value.shape == state[0].shape:
                value.copy_(state[0])
                value.grad = None if state[1] is None else state[1].clone()
        if value.is_leaf and value.is_floating_point():
            value.requires_grad_(state[2])
    elif isinstance(value, nn.Module) and isinstance(state, tuple):
        for tensor, old in zip(_tensors(value), state[0], strict=False):
            _restore(tensor, old)
        for module, mode in zip(value.modules(), state[1], strict=False):
            module.training = mode
    elif isinstance(value, list | tuple) and isinstance(state, list):
        for part, old in zip(value, state, strict=False):
            _restore(part, old)


def _said(result: object, args: tuple) -> object:
    if isinstance(result, torch.optim.Optimizer):
        held = {id(p) for group in result.param_groups for p in group["params"]}
        places = [n for n, p in enumerate(args[0].parameters()) if id(p) in held]
        return "optimizer", places, result.defaults["lr"]
    if isinstance(result, torch.Tensor):
        return result.detach().clone()
    return (
        copy.deepcopy(result)
        if not isinstance(result, tuple)
        else tuple(_said(part, args) for part in result)
    )


def _repeated(said: Any, args: tuple) -> object:
    if isinstance(said, tuple) and said and said[0] == "optimizer":
        parameters = list(args[0].parameters())
        return torch.optim.SGD([parameters[n] for n in said[1]], lr=said[2])
    return copy.deepcopy(said)


# ---------------------------------------------------------------------- functions and classes


def record(part: str, name: str) -> list[Any]:
    """The public questions, answered rightly: a tape of calls, or a tape for each object."""
    right, tape = defined(FOUND[part].source)[name], []

    def listen(*args: Any) -> Any:
        call = Call(right, args)
        tape.append(call)
        return call.result

    class Listening(right if isinstance(right, type) else object):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.__dict__["tape"] = []
            tape.append(self)

    def method(key: str) -> Callable:
        def heard(self: Any, *args: Any) -> Any:
            call = Call(lambda *given: getattr(super(Listening, self), key)(*given), args)
            self.__dict__["tape"].append((key, call))
            return call.result

        return heard

    if isinstance(right, type):
        for key in vars(right):
            if not key.startswith("__"):
                setattr(Listening, key, method(key))
    found = marks(part, name, Listening if isinstance(right, type) else listen, 0)
    assert tape and not any(mark.problem for mark in found), found
    return tape


def replay(tape: list[Any], by: str) -> Callable:
    """An answer that knows nothing but the tape."""
    if isinstance(tape[0], Call):
        number = iter(range(10**9))

        def answer(*args: Any) -> Any:
            place = next(number)
            if by == "value":
                return max(tape, key=lambda call: call.like(args)).again(args)
            if by == "first":
                return tape[0].again(args)
            return tape[place % len(tape) if by == "round" else min(place, len(tape) - 1)].again(
                args
            )

        return answer
    objects = iter(range(10**9))

    class Replay(nn.Module if isinstance(tape[0], nn.Module) else object):
        def __init__(self, *args: Any) -> None:
            super().__init__()
            place = next(objects)
            old = tape[place % len(tape) if by == "round" else min(place, len(tape) - 1)]
            self.__dict__.update({k: copy.deepcopy(v) for k, v in vars(old).items() if k != "tape"})
            self.__dict__["calls"] = list(old.tape)

    def method(key: str) -> Callable:
        def repeat(self: Any, *args: Any) -> Any:
            calls = [call for name, call in self.calls if name == key]
            if by == "value":
                return max(calls, key=lambda call: call.like(args)).again(args)
            call = calls[0]
            if by != "first" and len(calls) > 1:
                self.calls.remove((key, call))
            return call.again(args)

        return repeat

    for key in {key for thing in tape for key, _ in thing.tape}:
        setattr(Replay, key, method(key))
    return Replay


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_the_public_answers_are_no_answers_to_others(part: str, name: str) -> None:
    tape = record(part, name)
    for by in ("order", "round", "value", "first"):
        for seed in SEEDS:
            found = marks(part, name, replay(tape, by), seed)
            assert sum(mark.earned for mark in found) == 0, f"{by}, seed {seed}: {found}"


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_a_replay_is_right_where_it_was_heard(part: str, name: str) -> None:
    """So that the test above fails for the right reason."""
    tape = record(part, name)
    core = marks(part, name, replay(tape, "order"), selfcheck.PUBLIC_SEED)[0]
    assert core.problem is None, core


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_cases_are_drawn(part: str, name: str) -> None:
    """Numbers, and the order of cases in a round; and the most rounds are public already."""
    question = FOUND[part].questions[name]
    rounds = [given for seed in range(4) for given in drawn(part, name, seed)]
    texts = {key: {str(given[key].tolist()) for given in rounds} for key in rounds[0]}
    assert sum(len(different) > 1 for different in texts.values()) >= len(texts) - 3
    assert "order" not in texts or len(texts["order"]) > 1
    public = drawn(part, name, selfcheck.PUBLIC_SEED)
    assert len(public) == question.rounds[1] > question.rounds[0]


def counted(function: Callable, calls: Iterator[int], most: int = 10**9) -> Callable:
    """A function that is right for so many calls, and then does nothing."""
    return lambda *args: function(*args) if next(calls) < most else None


# Where a round is a single call, there is nothing to mix with another round.
ONE_CASE = {"min_max", "norm_two_steps", "momentum_step", "elastic_step", "decay_both_ways"}


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_who_counts_the_calls_knows_nothing(part: str, name: str, monkeypatch) -> None:
    """Other seeds ask in another number of calls; the same inputs come in another order.

    Who is right for as many calls as there are at least, and then gives up, loses points.
    """
    right, asked, call = defined(FOUND[part].source)[name], [], Observer.call

    def heard(see: Observer, what: str, *given: Any, **options: Any) -> Any:
        asked.append(f"{see.round}{what}")
        return call(see, what, *given, **options)

    monkeypatch.setattr(Observer, "call", heard)
    calls = iter(range(10**9))
    fewest = most = 0, 0
    for seed in range(1, 20):
        asked.clear()
        marks(part, name, right if isinstance(right, type) else counted(right, calls), seed)
        here = len(asked) if isinstance(right, type) else next(calls), seed
        calls = iter(range(10**9))
        fewest, most = min(fewest, here) if fewest[0] else here, max(most, here)
        if most[0] > fewest[0] and seed > 3:
            break
    assert most[0] > fewest[0]
    if not isinstance(right, type):
        found = marks(part, name, counted(right, calls, fewest[0]), most[1])
        assert any(mark.problem for mark in found), found
    probe = importlib.import_module(f"tricks_lib.coursework.probes.{part}")
    rounds, orders = drawn(part, name, selfcheck.PUBLIC_SEED), set()
    for seed in range(3):
        asked.clear()
        ask(probe, name, right, [inputs(given) for given in rounds], Observer(seed))
        orders.add(tuple(asked))
        assert len(set(asked)) == len(asked) > 1  # each case has a name of its own
    assert len(orders) > 1 and len({tuple(sorted(order)) for order in orders}) == 1
    turns = max(sum(1 for _ in groupby(order, lambda one: one[:2])) for order in orders)
    assert (turns > len(rounds)) == (name not in ONE_CASE)


def test_the_best_epoch_is_drawn() -> None:
    """Nobody who gives back the weights of one and the same epoch is right by chance for long."""
    found = []
    for seed in range(8):
        for given in drawn("regularization", "train_and_keep_best", seed):
            found.append(int(np.argmin(regularization._kept(given)[1])))
            assert found[-1] < given["num_epochs"] - 1
    assert all(found.count(epoch) > len(found) / 8 for epoch in range(3)), found
