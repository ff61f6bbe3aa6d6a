"""Calls the answers of the part on good practices; it imports torch and numpy alone.

Each function gets the student's answer, the inputs that the judge drew (tensors and numbers), and
an Observer that notes what comes back.
"""

from __future__ import annotations

import torch
from torch import nn

CLIPS = [(nn.utils, "clip_grad_norm_"), (nn.utils.clip_grad, "clip_grad_norm_")]
CLIPS += [(nn.utils, "get_total_norm"), (nn.utils, "clip_grads_with_norm_")]
# Library functions that are the answer to a question, and closed while it is asked.
CLOSED = {"clip_together_": CLIPS}


def _flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def baseline_loss(answer, given, see):
    for case in ("plain", "unseen"):
        labels = given[f"{case}_train"], given[f"{case}_test"]
        see.call(case, answer, *labels, given["num_classes"])


def start_is_sane(answer, given, see):
    for case in ("calm", "sure", "knows"):
        model = nn.Linear(4, given["weight"].shape[0])
        with torch.no_grad():
            model.weight.copy_(given["weight"] * (20.0 if case == "sure" else 0.02))
            model.bias.zero_()
            if case == "knows":
                model.bias[int(given["y"][0])] = 4.0
        y = torch.full_like(given["y"], int(given["y"][0])) if case == "knows" else given["y"]
        see.call(case, answer, model, given["x"], y, given["tolerance"])
    for mode in ("train", "eval"):
        model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
        model.train(mode == "train")
        before = {key: value.clone() for key, value in model.state_dict().items()}
        see.call(f"norm_{mode}", answer, model, given["x"], given["y"] % 3, given["tolerance"])
        after = model.state_dict()
        see.note(f"{mode}_same", all(torch.equal(before[key], after[key]) for key in before))
        modes = [module.training == (mode == "train") for module in model.modules()]
        see.note(f"{mode}_mode", all(modes))


def split_by_group(answer, given, see):
    groups, share = given["groups"], given["share"]
    for call, seed in (("one", 1), ("again", 1), ("other", 2)):
        see.call(call, answer, groups, share, seed)


def clip_together_(answer, given, see):
    norms = {"long": 0.3 * given["norm"], "short": 1.7 * given["norm"]}
    with see.without(*CLIPS):
        for case, max_norm in norms.items():
            see.call(case, _clip, answer, given, max_norm, list)
        see.call("stream", _clip, answer, given, norms["long"], iter)


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
        return gradients, torch.tensor(-1.0)
    return gradients, torch.as_tensor(found, dtype=torch.float64).detach()


def WeightAverage(answer, given, see):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    _fill(model, given["weights"][0], given["buffers"][0])
    average = see.call("made", answer, model, given["decay"])
    if average is None:
        return
    see.call("updated", _updates, average, model, given)
    see.call("left", _flat, model)
    see.call("parameters", lambda: _flat(average.model))
    see.call("buffers", lambda: _buffers(average.model))
    see.call("learns", lambda: any(p.requires_grad for p in average.model.parameters()))
    see.call("trains", lambda: any(m.training for m in average.model.modules()))
    see.note("still_learns", all(p.requires_grad for p in model.parameters()))
    see.note("still_trains", all(m.training for m in model.modules()))


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
    scale, factor, offset = given["scale"], given["factor"], given["offset"]

    def loss_of(w):
        return (scale.to(w.dtype) * w**3).sum() + w[0, 0] * w[1, 1] + offset

    def exact(w):
        gradient = 3 * scale.to(w.dtype) * w**2
        gradient[0, 0] += w[1, 1]
        gradient[1, 1] += w[0, 0]
        return gradient

    def mistaken(w):
        return exact(w) * factor.to(w.dtype)

    numbers = given["h"], given["tolerance"]
    see.call("mistaken", answer, loss_of, mistaken, given["w"].double(), *numbers)
    see.call("exact", answer, loss_of, exact, given["w"].double(), *numbers)
    see.call("single", answer, loss_of, mistaken, given["w"], *numbers)


def overfit_batch(answer, given, see):
    limits = {"reached": given["max_steps"], "hopeless": 3, "done": given["max_steps"]}
    for case, max_steps in limits.items():
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
        with torch.no_grad():
            nn.utils.vector_to_parameters(given["weights"].clone(), model.parameters())
        before = _flat(model)
        goal = 100.0 if case == "done" else given["goal"]
        batch = given["x"], given["y"]
        found = see.call(case, answer, model, *batch, given["lr"], max_steps, goal)
        see.note(f"{case}_none", found is None)
        see.note(f"{case}_same", torch.equal(before, _flat(model)))
        see.note(f"{case}_grads", any(p.grad is not None for p in model.parameters()))


def fit_clipped(answer, given, see):
    train, n = (given["x"], given["y"]), len(given["x"])
    runs = {
        "gentle": (n, 1e6),
        "steep": (n, given["max_norm"]),
        "all": (given["batch"], 1e6),
    }
    for run, (batch_size, max_norm) in runs.items():
        model = nn.Linear(3, 1)
        with torch.no_grad():
            model.weight.copy_(given["weight"])
            model.bias.zero_()
        numbers = 1, batch_size, given["lr"], max_norm, given["seed"]
        see.call(run, answer, model, train, *numbers)
        see.note(f"{run}_after", _flat(model))
