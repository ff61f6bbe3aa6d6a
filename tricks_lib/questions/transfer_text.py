"""Self-checks of the page on transfer learning for text."""

from __future__ import annotations

import math

import torch
from torch import nn

_TOLERANCE = dict(rtol=1e-4, atol=1e-5)


def merge(answer) -> str | None:
    """``answer(layer, A, B, alpha)`` gives one nn.Linear that does a layer's work and LoRA's.

    layer is an nn.Linear, A is (r, in_features), B (out_features, r), alpha a float. The new layer
    computes layer(x) + alpha / r * (x @ A.T @ B.T).
    """
    # First all sizes are the same, so that A and B in a wrong order do not fail by themselves.
    for inputs, outputs, r, bias in ((4, 4, 4, True), (7, 5, 2, False), (5, 6, 3, True)):
        layer = nn.Linear(inputs, outputs, bias=bias)
        with torch.no_grad():
            for p in layer.parameters():
                p.normal_()
        pair = nn.Parameter(torch.randn(r, inputs)), nn.Parameter(torch.randn(outputs, r))
        alpha = float(torch.empty(1).uniform_(1.2, 1.9))
        given = [p.detach().clone() for p in (*layer.parameters(), *pair)]
        found = answer(layer, *pair, alpha)
        now = [*layer.parameters(), *pair]
        if len(now) != len(given) or any(
            not torch.equal(p, old) for p, old in zip(now, given, strict=True)
        ):
            return "your function changed what it was given; make a new layer."
        if not isinstance(found, nn.Linear):
            return f"give back a new nn.Linear, not a {type(found).__name__}."
        with torch.no_grad():
            if problem := _judge_layer(found, layer) or _judge_merged(found, layer, *pair, alpha):
                return problem
    return None


def _judge_layer(found: nn.Linear, layer: nn.Linear) -> str | None:
    """See that it is one new layer, of the same form, that owns its weights."""
    if found is layer:
        return "this is the layer that was given, as it was; make a new one."
    if found.weight.shape != layer.weight.shape:
        return f"the new weights must be {(*layer.weight.shape,)}, not {(*found.weight.shape,)}."
    own = dict(found.named_parameters())
    if more := sorted(set(own) - {"weight", "bias"}):
        return f"one nn.Linear has a weight and a bias; yours keeps {more[0]} as well."
    if "weight" not in own or (found.bias is not None and "bias" not in own):
        return "the new weights are no parameters of the layer; nn.Parameter makes them so."
    places = {p.untyped_storage().data_ptr() for p in layer.parameters()}
    for name, p in own.items():
        if p.untyped_storage().data_ptr() in places:
            return f"both layers hold one and the same {name}; give the new one a copy."
    return None


def _judge_merged(
    found: nn.Linear, layer: nn.Linear, A: torch.Tensor, B: torch.Tensor, alpha: float
) -> str | None:
    r, change, added = len(A), B @ A, found.weight - layer.weight
    if torch.allclose(added, alpha / r * change, **_TOLERANCE):
        return _judge_bias(found.bias, layer.bias)
    if torch.allclose(found.weight, layer.weight, **_TOLERANCE):
        return "the weights are those of the old layer; A and B have not entered."
    if _multiple(found.weight, change) is not None:
        return "A and B stand in place of the old weights; they should be added to them."
    factor = _multiple(added, change)
    if factor is not None:
        return _judge_factor(factor, alpha, r, found.in_features, found.out_features)
    if len({*A.shape, *B.shape}) == 1:  # every order of A and B gives a matrix of this shape
        if _multiple(added.T, change) is not None:
            return "what you add is transposed: a weight of nn.Linear has a row for each output."
        orders = [product for a in (A, A.T) for b in (B, B.T) for product in (a @ b, b @ a)]
        if any(_multiple(added, product) is not None for product in orders):
            return "A and B have changed places, or one is transposed: which of them meets x first?"
    return "what was added to the weights is not alpha / r times the change that A and B make."


def _multiple(found: torch.Tensor, of: torch.Tensor) -> float | None:
    """The factor that makes one matrix of the other, or None when no factor does."""
    factor = (found * of).sum() / of.square().sum()
    return float(factor) if torch.allclose(found, factor * of, **_TOLERANCE) else None


def _judge_factor(factor: float, alpha: float, r: int, inputs: int, outputs: int) -> str:
    def near(wanted: float) -> bool:
        return math.isclose(factor, wanted, rel_tol=1e-3)

    if factor < 0:
        return "the change is taken away from the weights; it should be added."
    if near(alpha):
        return "the change is multiplied by alpha; who divides by r?"
    if near(1.0):
        return "the change is added as it is, without alpha / r."
    if near(1 / r):
        return "the change is divided by r, but where is alpha?"
    if near(alpha / inputs) or near(alpha / outputs):
        return "r is the rank: how many rows A has."
    return f"the change is multiplied by {factor:.3g}; alpha / r is {alpha / r:.3g} here."


def _judge_bias(found: torch.Tensor | None, old: torch.Tensor | None) -> str | None:
    if old is None:
        if found is None or not found.any():
            return None
        return "the old layer has no bias; the new one adds one to each output."
    if found is None or not found.any():
        return "the weights are right, but the old layer's bias is lost."
    if torch.allclose(found, old, **_TOLERANCE):
        return None
    if torch.allclose(found, 2 * old, **_TOLERANCE):
        return "the weights are right, but the bias is in it twice."
    return "the weights are right, the bias is not: it should be what it was."


def nearest_mean(answer) -> str | None:
    """``answer(features, labels, new)`` gives for each new row the class with the nearest mean.

    features is float (n, d), labels int64 (n,), new float (m, d). Near means a large cosine: all
    rows and means are brought to length 1 to be compared. The answer is int64 (m,).
    """
    features, labels, new = _texts()
    given = features.clone(), labels.clone(), new.clone()
    found = answer(*given)
    if not all(map(torch.equal, given, (features, labels, new))):
        return "your function changed the tensors that it was given; make new ones."
    found = torch.as_tensor(found)
    if found.shape != (len(new),):
        return (
            f"give back one label for each new row, shape {(len(new),)}; "
            f"yours has {tuple(found.shape)}."
        )
    if found.is_floating_point():
        return f"labels are whole numbers; yours are of type {found.dtype}."
    found = found.long()
    right, wrong = _ways(features, labels, new)
    if torch.equal(found, right):
        return None
    for message, guesses in wrong:
        if torch.equal(found, guesses):
            return message
    if not torch.isin(found, labels).all():
        return "you give a label that no labelled row has."
    return f"{int((found != right).sum())} of the {len(new)} new rows get a wrong label."


def _ways(
    features: torch.Tensor, labels: torch.Tensor, new: torch.Tensor
) -> tuple[torch.Tensor, list[tuple[str, torch.Tensor]]]:
    """The right labels, and what is said of each wrong way with the labels that it gives."""
    classes, unit = labels.unique(), nn.functional.normalize
    by_class = [labels == c for c in classes]
    means = torch.stack([features[own].mean(0) for own in by_class])
    means_of_units = torch.stack([unit(features)[own].mean(0) for own in by_class])
    cosines = unit(new) @ unit(means).T
    neighbours = unit(new) @ unit(features).T
    in_order = torch.tensor(list(dict.fromkeys(labels.tolist())))
    right = classes[cosines.argmax(1)]
    distance = "long and short rows are compared by plain distance; bring them to one length first."
    product = "in a product a long mean wins too often; bring the means to one length first."
    shorter = "the mean of rows of length 1 is shorter than 1: bring the means to length 1 too."
    neighbour = "these are the labels of the nearest single rows; a class is judged by its mean."
    place = "these are places in a list of the classes; give back the labels themselves."
    return right, [
        (distance, classes[torch.cdist(new, means).argmin(1)]),
        (distance, classes[torch.cdist(unit(new), means).argmin(1)]),
        (product, classes[(new @ means.T).argmax(1)]),
        (shorter, classes[torch.cdist(unit(new), means_of_units).argmin(1)]),
        (shorter, classes[(new @ means_of_units.T).argmax(1)]),
        (neighbour, labels[neighbours.argmax(1)]),
        (neighbour, labels[torch.cdist(new, features).argmin(1)]),
        ("these classes are farthest away: near means a large cosine.", classes[cosines.argmin(1)]),
        (place, cosines.argmax(1)),
        (place, (right[:, None] == in_order).int().argmax(1)),
        ("these are places of rows; give back the labels.", neighbours.argmax(1)),
    ]


def _texts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, labels and new rows for which each wrong way gives wrong labels of its own."""
    sizes = torch.tensor([3, 5, 8, 12])
    while True:
        labels = (torch.randperm(6)[:4] + 4).repeat_interleave(sizes)
        # A class has its direction, its own length, and is more or less spread out.
        centres = nn.functional.normalize(torch.randn(4, 6), dim=1).repeat_interleave(sizes, 0)
        spread = torch.empty(4).uniform_(0.1, 0.8)[torch.randperm(4)].repeat_interleave(sizes)
        lengths = torch.empty(4).uniform_(0.5, 3.0).repeat_interleave(sizes)
        features = centres + spread[:, None] * torch.randn(len(labels), 6)
        features = lengths[:, None] * nn.functional.normalize(features, dim=1)
        order = torch.randperm(len(labels))
        features, labels = features[order], labels[order]
        new = torch.empty(60, 1).uniform_(0.5, 3.0) * torch.randn(60, 6)
        right, wrong = _ways(features, labels, new)
        ways = torch.stack([right, *(guesses for _, guesses in wrong)])
        differ = (ways[:, None] != ways).sum(2) + len(new) * torch.eye(len(ways))
        if differ.min() >= 2 and _is_clear(features, labels, new):
            return features, labels, new


def _is_clear(features: torch.Tensor, labels: torch.Tensor, new: torch.Tensor) -> bool:
    """No new row lies between two classes, nor does it matter whether rows or means come first.

    A mean of the rows as they are points almost where that of the rows of length 1 points.
    """
    unit, best = nn.functional.normalize, []
    for rows in (features, unit(features)):
        means = torch.stack([rows[labels == c].mean(0) for c in labels.unique()])
        near = (unit(new) @ unit(means).T).topk(2)
        if (near.values[:, 0] - near.values[:, 1]).min() < 1e-3:
            return False
        best.append(near.indices[:, 0])
    return torch.equal(*best)
