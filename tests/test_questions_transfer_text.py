"""The self-checks of the page on transfer for text: right answers pass, wrong ones hear why."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tricks_lib.check import check
from tricks_lib.questions import transfer_text

unit = nn.functional.normalize


def made(weight, bias):
    """A new linear layer with these weights."""
    new = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        new.weight.copy_(weight)
        if bias is not None:
            new.bias.copy_(bias)
    return new


def merged(layer, A, B, alpha):
    return made(layer.weight + alpha / len(A) * B @ A, layer.bias)


def merged_in_a_copy(layer, A, B, alpha):
    new = copy.deepcopy(layer)
    new.weight.data += alpha / A.shape[0] * (B @ A).detach()
    return new


def merged_with_a_graph(layer, A, B, alpha):
    new = copy.deepcopy(layer)
    new.weight.data += alpha / A.shape[0] * B @ A
    return new


def merged_as_parameters(layer, A, B, alpha):
    new = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    new.weight = nn.Parameter(layer.weight + (A.T @ B.T).T * (alpha / B.shape[1]))
    if layer.bias is not None:
        new.bias = nn.Parameter(layer.bias.clone())
    return new


def merged_from_outputs(layer, A, B, alpha):
    """What the two give for each unit vector are the columns; a bias of zeros where none was."""
    x = torch.eye(layer.in_features)
    offset = layer(torch.zeros(layer.in_features))
    return made((layer(x) - offset + alpha / len(A) * (x @ A.T @ B.T)).T, offset)


def scaled(factor):
    return lambda layer, A, B, alpha: made(layer.weight + factor(A, B, alpha) * B @ A, layer.bias)


def with_product(product):
    """A and B multiplied in another way, where the shapes allow it."""

    def answer(layer, A, B, alpha):
        return made(layer.weight + alpha / len(A) * product(A, B), layer.bias)

    return answer


def with_bias(bias):
    def answer(layer, A, B, alpha):
        return made(merged(layer, A, B, alpha).weight, bias(layer))

    return answer


def in_place(layer, A, B, alpha):
    with torch.no_grad():
        layer.weight += alpha / len(A) * B @ A
    return layer


def scales_in_place(layer, A, B, alpha):
    new = merged(layer, A, B, alpha)
    with torch.no_grad():
        B *= alpha / len(A)
    return new


def shares_the_bias(layer, A, B, alpha):
    new = merged(layer, A, B, alpha)
    new.bias = layer.bias
    return new


def shares_the_memory(layer, A, B, alpha):
    new = merged(layer, A, B, alpha)
    if layer.bias is not None:
        new.bias.data = layer.bias.data
    return new


def no_parameter(layer, A, B, alpha):
    new = merged(layer, A, B, alpha)
    del new.weight
    new.weight = layer.weight + alpha / len(A) * B @ A
    return new


class Beside(nn.Linear):
    """Computes the right sum, with A and B still beside the weights."""

    def __init__(self, layer, A, B, alpha):
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None)
        self.load_state_dict(layer.state_dict())
        self.A, self.B, self.scale = nn.Parameter(A), nn.Parameter(B), alpha / len(A)

    def forward(self, x):
        return super().forward(x) + self.scale * (x @ self.A.T @ self.B.T)


def together(layer, A, B, alpha):
    return lambda x: layer(x) + alpha / len(A) * (x @ A.T @ B.T)


@pytest.mark.parametrize(
    "right",
    [
        merged,
        merged_in_a_copy,
        merged_with_a_graph,
        merged_as_parameters,
        merged_from_outputs,
        lambda *given: merged(*given).requires_grad_(False),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_merge_accepts_right_answers(right, seed: int) -> None:
    torch.manual_seed(seed)
    assert transfer_text.merge(right) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (scaled(lambda A, B, alpha: 1), "without alpha / r"),
        (scaled(lambda A, B, alpha: alpha), "who divides by r"),
        (scaled(lambda A, B, alpha: 1 / len(A)), "where is alpha"),
        (scaled(lambda A, B, alpha: -alpha / len(A)), "taken away"),
        (scaled(lambda A, B, alpha: alpha * len(A)), "the change is multiplied by"),
        (scaled(lambda A, B, alpha: alpha / A.shape[1]), "how many rows A has"),
        (scaled(lambda A, B, alpha: alpha / B.shape[0]), "how many rows A has"),
        (scaled(lambda A, B, alpha: 0), "have not entered"),
        (with_product(lambda A, B: A.T @ B.T), "transposed"),
        (with_product(lambda A, B: A @ B), "changed places"),
        (with_product(lambda A, B: B.T @ A.T), "changed places"),
        (with_product(lambda A, B: B.T @ A), "changed places"),
        (with_product(lambda A, B: B @ A + 1), "is not alpha / r times"),
        (lambda layer, A, B, alpha: made(alpha / len(A) * B @ A, layer.bias), "in place of"),
        (lambda layer, A, B, alpha: made(B @ A, layer.bias), "in place of"),
        (with_bias(lambda layer: None), "bias is lost"),
        (with_bias(lambda layer: torch.zeros(layer.out_features)), "bias is lost"),
        (with_bias(lambda layer: 2 * layer.bias if layer.bias is not None else None), "twice"),
        (
            with_bias(lambda layer: layer.bias + 1 if layer.bias is not None else None),
            "bias is not",
        ),
        (
            with_bias(
                lambda layer: torch.ones(layer.out_features) if layer.bias is None else layer.bias
            ),
            "old layer has no bias",
        ),
        (in_place, "changed what it was given"),
        (scales_in_place, "changed what it was given"),
        (lambda layer, A, B, alpha: layer, "make a new one"),
        (shares_the_bias, "one and the same bias"),
        (shares_the_memory, "one and the same bias"),
        (no_parameter, "no parameters"),
        (Beside, "keeps A as well"),
        (together, "not a function"),
        (lambda layer, A, B, alpha: merged(layer, A, B, alpha).weight, "not a Parameter"),
        (lambda layer, A, B, alpha: nn.Linear(3, 2), "must be (4, 4)"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_merge_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (transfer_text.merge(wrong) or "")


def means_of(rows, labels):
    classes = labels.unique()
    return classes, torch.stack([rows[labels == c].mean(0) for c in classes])


def by_cosine(features, labels, new):
    classes, means = means_of(features, labels)
    return classes[nn.functional.cosine_similarity(new[:, None], means, dim=2).argmax(1)]


def by_units(features, labels, new):
    """All rows have length 1 before the means are taken, and the means after."""
    classes, means = means_of(unit(features), labels)
    return classes[(unit(new) @ unit(means).T).argmax(1)]


def by_distance_of_units(features, labels, new):
    classes, means = means_of(features, labels)
    return classes[torch.cdist(unit(new), unit(means)).argmin(1)]


def by_sums(features, labels, new):
    """A row for each number up to the largest label; a class without rows has a sum of zeros."""
    members = nn.functional.one_hot(labels).float()
    cosines = unit(new) @ unit(members.T @ features).T
    return cosines.masked_fill(members.sum(0) == 0, -2.0).argmax(1)


def one_by_one(features, labels, new):
    found = []
    for row in new.numpy():
        best = {}
        for label in set(labels.tolist()):
            mean = features[labels == label].mean(0).numpy()
            best[label] = row @ mean / np.linalg.norm(row) / np.linalg.norm(mean)
        found.append(max(best, key=best.get))
    return found


def as_small_numbers(features, labels, new):
    return by_cosine(features, labels, new).int()


def picked(score, rows=lambda x: x):
    """The classes whose means have the largest score, labels given back."""

    def answer(features, labels, new):
        classes, means = means_of(rows(features), labels)
        return classes[score(new, means).argmax(1)]

    return answer


def of_neighbours(score):
    return lambda features, labels, new: labels[score(new, features).argmax(1)]


def cosine(a, b):
    return unit(a) @ unit(b).T


def places(features, labels, new):
    return cosine(new, means_of(features, labels)[1]).argmax(1)


def places_in_order(features, labels, new):
    seen = list(dict.fromkeys(labels.tolist()))
    return torch.tensor([seen.index(int(label)) for label in by_cosine(features, labels, new)])


def normalised_in_place(features, labels, new):
    features /= features.norm(dim=1, keepdim=True)
    return by_cosine(features, labels, new)


@pytest.mark.parametrize(
    "right", [by_cosine, by_units, by_distance_of_units, by_sums, one_by_one, as_small_numbers]
)
@pytest.mark.parametrize("seed", range(5))
def test_nearest_mean_accepts_right_answers(right, seed: int) -> None:
    torch.manual_seed(seed)
    assert transfer_text.nearest_mean(right) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (picked(lambda new, means: -torch.cdist(new, means)), "plain distance"),
        (picked(lambda new, means: -torch.cdist(unit(new), means)), "plain distance"),
        (picked(lambda new, means: new @ means.T), "a long mean wins"),
        (picked(lambda new, means: unit(new) @ means.T), "a long mean wins"),
        (picked(lambda new, means: unit(new) @ means.T, rows=unit), "shorter than 1"),
        (picked(lambda new, means: -torch.cdist(unit(new), means), rows=unit), "shorter than 1"),
        (picked(lambda new, means: -cosine(new, means)), "farthest"),
        (of_neighbours(cosine), "nearest single rows"),
        (of_neighbours(lambda new, rows: -torch.cdist(new, rows)), "nearest single rows"),
        (places, "places in a list of the classes"),
        (places_in_order, "places in a list of the classes"),
        (lambda features, labels, new: cosine(new, features).argmax(1), "places of rows"),
        (lambda features, labels, new: cosine(new, means_of(features, labels)[1]), "shape"),
        (lambda *given: by_cosine(*given)[:, None], "shape"),
        (lambda *given: by_cosine(*given).float(), "whole numbers"),
        (lambda *given: by_cosine(*given) + 100, "no labelled row has"),
        (lambda *given: by_cosine(*given).flip(0), "get a wrong label"),
        (normalised_in_place, "changed the tensors"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_nearest_mean_tells_a_wrong_answer_why(wrong, message: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert message in (transfer_text.nearest_mean(wrong) or "")


def test_both_questions_are_found_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    check("transfer_text.merge", merged)
    check("transfer_text.nearest_mean", by_cosine)
    assert capsys.readouterr().out.split("\n")[:2] == [
        "transfer_text.merge: right.",
        "transfer_text.nearest_mean: right.",
    ]
