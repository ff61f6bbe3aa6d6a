"""Calls the answers of the part on good practices; it imports torch and numpy alone.

Each function gets the student's answer, the inputs that the judge drew (tensors and numbers), and
an Observer that notes what comes back. After each case it yields, so that the rounds of a question
can take turns.
"""

from __future__ import annotations

import torch
from torch import nn, tensor  # bound before an answer can put something else in its place

CLIPS = [(nn.utils, "clip_grad_norm_"), (nn.utils.clip_grad, "clip_grad_norm_")]
CLIPS += [(nn.utils, "get_total_norm"), (nn.utils, "clip_grads_with_norm_")]
# Library functions that are the answer to a question, and closed while it is asked.
CLOSED = {"clip_together_": CLIPS}


def in_order(given, *cases):
    """The cases, in the order that was drawn."""
    return [cases[number] for number in given["order"].tolist()]


def _flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def baseline_loss(answer, given, see):
    for case in in_order(given, "plain", "unseen"):
        labels = given[f"{case}_train"], given[f"{case}_test"]
        see.call(case, answer, *labels, given["num_classes"])
        yield


def _state(see, call, model):
    """Notes all that a model is, for the judge to compare: what is said here could be forged."""
    for name, value in model.state_dict().items():
        see.note(f"{call}.{name}", value)
    see.note(f"{call}_modes", _modes(model))
    see.note(f"{call}_learns", _learns(model))


def _modes(model):
    return tensor([m.training for m in model.modules()])


def _learns(model):
    return tensor([p.requires_grad for p in model.parameters()])


def start_is_sane(answer, given, see):
    count = len(given["y"])
    for case in in_order(given, *range(count), "train", "eval"):
        if case in ("train", "eval"):
            _start_of_a_norm(answer, given, see, case)
            yield
            continue
        model = nn.Linear(4, given["weights"].shape[1])
        with torch.no_grad():
            model.weight.copy_(given["weights"][case])
            model.bias.copy_(given["biases"][case])
        batch = given["x"][case], given["y"][case]
        see.call(f"network_{case}", answer, model, *batch, given["tolerance"])
        yield


def _start_of_a_norm(answer, given, see, mode):
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    with torch.no_grad():
        nn.utils.vector_to_parameters(given["norm_weights"].clone(), model.parameters())
        model[1].running_mean.copy_(given["norm_buffers"][0])
        model[1].running_var.copy_(given["norm_buffers"][1])
    model.train(mode == "train")
    call = f"norm_{mode}"
    see.call(call, answer, model, given["x"][0], given["y"][0] % 3, given["tolerance"])
    _state(see, call, model)


def split_by_group(answer, given, see):
    groups, share = given["groups"], given["share"]
    seeds = given["seeds"].tolist()
    others = [f"other_{number}" for number in range(len(seeds) - 2)]
    for call, seed in in_order(given, *zip(["one", "again", *others], seeds, strict=True)):
        see.call(call, answer, groups, share, seed)
        yield


def clip_together_(answer, given, see):
    long, short = given["limits"].tolist()
    cases = {"long": (long, list), "short": (short, list), "stream": (long, iter)}
    for case in in_order(given, *cases):
        see.call(case, _clip, answer, given, *cases[case])
        yield


def _clip(answer, given, max_norm, kind):
    parameters = [nn.Parameter(torch.zeros_like(given[name])) for name in ("a", "b", "c")]
    for parameter, name in zip(parameters, ("a", "b", "c"), strict=True):
        parameter.grad = given[name].clone()
    given_on = list(parameters)
    if kind is iter:  # one that got no gradient, and a stream as from model.parameters()
        given_on.insert(1, nn.Parameter(torch.zeros(2)))
    found = answer(kind(given_on), max_norm)
    gradients = torch.cat([p.grad.flatten() for p in parameters])
    if found is None:
        return gradients, tensor(-1.0)
    return gradients, torch.as_tensor(found, dtype=torch.float64).detach()


def WeightAverage(answer, given, see):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    _fill(model, given["weights"][0], given["buffers"][0])
    average = see.call("made", answer, model, given["decay"])
    if average is None:
        return
    yield
    see.call("updated", _updates, average, model, given)
    yield
    see.call("left", _flat, model)
    see.call("parameters", lambda: _flat(average.model))
    see.call("buffers", lambda: _buffers(average.model))
    see.call("learns", lambda: _learns(average.model))
    see.call("trains", lambda: _modes(average.model))
    see.note("still_learns", _learns(model))
    see.note("still_trains", _modes(model))


def _buffers(model):
    norm = model[1]
    return torch.cat([norm.running_mean, norm.running_var, norm.num_batches_tracked.view(1)])


def _updates(average, model, given):
    for number in range(1, len(given["weights"])):
        _fill(model, given["weights"][number], given["buffers"][number])
        model[1].num_batches_tracked += 1
        average.update(model)
    return True


def _fill(model, weights, buffers):
    with torch.no_grad():
        nn.utils.vector_to_parameters(weights.clone(), model.parameters())
        model[1].running_mean.copy_(buffers[0])
        model[1].running_var.copy_(buffers[1])


def wrong_entries(answer, given, see):
    count = len(given["w"])
    cases = [(kind, number) for kind in ("case", "single") for number in range(count)]
    for kind, number in in_order(given, *cases):
        names = "mix", "weights", "turn", "slopes", "offset"
        parts = (given[name][number] for name in names)
        numbers = given["h"][number].item(), given["tolerance"][number].item()
        functions = _loss_and_gradient(*parts)
        w = given["w"][number]
        w = w.double() if kind == "case" else w
        see.call(f"{kind}_{number}", answer, *functions, w, *numbers)
        yield


def _loss_and_gradient(mix, weights, turn, slopes, offset):
    def loss_of(w):
        w = w.detach()
        cubes = (mix.to(w.dtype) @ w.flatten()) ** 3
        return (weights.to(w.dtype) * cubes).sum() + offset.to(w.dtype)

    def gradient_of(w):
        w = w.detach()
        squares = (turn.to(w.dtype) @ w.flatten()) ** 2
        return (slopes.to(w.dtype) @ squares).view(w.shape)

    return loss_of, gradient_of


def overfit_batch(answer, given, see):
    for number, (max_steps, goal) in enumerate(
        zip(given["max_steps"].tolist(), given["goal"].tolist(), strict=True)
    ):
        call = f"case_{number}"
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
        with torch.no_grad():
            weights = given["weights"][number].clone()
            nn.utils.vector_to_parameters(weights, model.parameters())
        batch = given["x"][number], given["y"][number]
        found = see.call(call, answer, model, *batch, given["lr"], max_steps, goal)
        see.note(f"{call}_none", found is None)
        see.note(f"{call}_after", _flat(model))
        gradients = [p.grad is not None for p in model.parameters()]
        see.note(f"{call}_grads", tensor(gradients))
        yield


def fit_clipped(answer, given, see):
    train, n = (given["x"], given["y"]), len(given["x"])
    runs = {
        "gentle": (n, 1e6),
        "steep": (n, given["max_norm"]),
        "all": (given["batch"], 1e6),
    }
    for run in in_order(given, *runs):
        batch_size, max_norm = runs[run]
        model = nn.Linear(3, 1)
        with torch.no_grad():
            model.weight.copy_(given["weight"])
            model.bias.zero_()
        num_epochs = given["num_epochs"] if run == "all" else 1
        numbers = num_epochs, batch_size, given["lr"], max_norm, given["seed"]
        see.call(run, answer, model, train, *numbers)
        see.note(f"{run}_after", _flat(model))
        yield
