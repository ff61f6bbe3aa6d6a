"""Calls the answers of the part on regularization; it imports torch and numpy alone.

Each function gets the student's answer, the inputs that the judge drew (tensors and numbers), and
an Observer that notes what comes back. After each case it yields, so that the rounds of a question
can take turns.
"""

from __future__ import annotations

import torch
from torch import nn

DROPOUTS = [(nn.functional, "dropout"), (torch, "dropout"), (torch, "native_dropout")]
ENTROPIES = [(nn.functional, "cross_entropy"), (torch._C._nn, "cross_entropy_loss")]
# Library functions that are the answer to a question, and closed while it is asked.
CLOSED = {"InvertedDropout": DROPOUTS, "smoothed_loss": ENTROPIES}


def in_order(given, *cases):
    """The cases, in the order that was drawn."""
    return [cases[number] for number in given["order"].tolist()]


def read_history(answer, given, see):
    for number, size in enumerate(given["sizes"].tolist()):
        losses = (given[part][number, :size].tolist() for part in ("train", "val"))
        see.call(f"history_{number}", answer, *losses)
        yield


def InvertedDropout(answer, given, see):
    for case in in_order(given, "", "none", "all"):
        yield
        if case:
            edge = see.call(f"{case}_layer", answer, float(case == "all"))
            if isinstance(edge, nn.Module):
                see.call(case, edge.train(), given["x"])
            continue
        layer = see.call("layer", answer, given["p"])
        if isinstance(layer, nn.Module):
            layer.train()
            see.call("train", layer, given["x"])
            see.call("again", layer, given["x"])
            layer.eval()
            see.call("eval", layer, given["x"])


def smoothed_loss(answer, given, see):
    logits = given["logits"].requires_grad_()
    found = {}
    for case, values in in_order(given, ("loss", logits), ("large", given["large"])):
        found[case] = see.call(case, answer, values, given["y"], given["smoothing"])
        yield
    loss = found["loss"]

    def gradient():
        return torch.autograd.grad(loss, logits)[0]

    if isinstance(loss, torch.Tensor) and loss.numel() == 1:
        see.call("gradient", gradient)


def elastic_step(answer, given, see):
    numbers = given["lr"], given["l1"], given["l2"]
    see.call("step", answer, given["w"], given["grad"], *numbers)


def decay_both_ways(answer, given, see):
    tensors = given["w"], given["grad"], given["s"]
    numbers = given["lr"], given["beta"], given["eps"], given["decay"]
    see.call("both", answer, *tensors, *numbers)


def quotient_stop(answer, given, see):
    numbers = (given[name].tolist() for name in ("sizes", "k", "alpha"))
    cases = {
        f"study_{number}": (
            given["train"][number, :size].tolist(),
            given["val"][number, :size].tolist(),
            k,
            alpha,
        )
        for number, (size, k, alpha) in enumerate(zip(*numbers, strict=True))
    }
    falling = given["falling"].tolist()
    for number, k in enumerate(given["edge_k"].tolist()):
        still, size = given["still"][number], given["still_sizes"][number]
        losses = still[0, :size].tolist(), still[1, :size].tolist()
        alpha = given["edge_alpha"][number].item()
        cases[f"never_{number}"] = falling[number:], falling[number:], k, alpha
        cases[f"still_{number}"] = *losses, k, alpha
    for case in in_order(given, *cases):
        see.call(case, answer, *cases[case])
        yield


def EarlyStopping(answer, given, see):
    runs = range(len(given["sizes"]))
    last = runs[-1]
    for number in in_order(given, *runs):
        losses = given["losses"][number, : given["sizes"][number]].tolist()
        name = "restored" if number == last else f"run_{number}"
        states = given["weights"], given["buffers"], given["counts"]
        patience = int(given["patience"][number])
        see.call(name, _run, answer, patience, losses, states, number == last)
        yield


def _run(answer, patience, losses, states, restore=False):
    stopping = answer(patience)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    stops = []
    for number, loss in enumerate(losses):
        _fill(model, states, number)
        stops.append(bool(stopping.update(loss, model)))
        if stops[-1] and restore:
            break
    if not restore:
        return torch.tensor(stops)
    _fill(model, states, -1)
    stopping.restore(model)
    parameters = torch.cat([p.detach().flatten() for p in model.parameters()])
    norm = model[1]
    count = norm.num_batches_tracked.view(1).float()
    return parameters, torch.cat([norm.running_mean, norm.running_var, count])


def _fill(model, states, number):
    weights, buffers, counts = (values[number].clone() for values in states)
    with torch.no_grad():
        sizes = [p.numel() for p in model.parameters()]
        for p, values in zip(model.parameters(), weights.split(sizes), strict=True):
            p.copy_(values.view_as(p))  # in place, as an optimizer steps
        model[1].running_mean.copy_(buffers[:3])
        model[1].running_var.copy_(buffers[3:])
        model[1].num_batches_tracked.copy_(counts)


def finished_verdict(answer, given, see):
    sizes = zip(given["budgets"].tolist(), given["seeds"].tolist(), strict=True)
    for number, (budgets, seeds) in enumerate(sizes):
        arms = (given[arm][number, :budgets, :seeds] for arm in ("with_trick", "without"))
        see.call(f"study_{number}", answer, *arms, given["margins"][number].item())
        yield


def train_and_keep_best(answer, given, see):
    train, val = (given["x_train"], given["y_train"]), (given["x_val"], given["y_val"])
    losses = None
    for run in in_order(given, "one", "all"):
        num_epochs = 1 if run == "one" else given["num_epochs"]
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
        with torch.no_grad():
            model[0].weight.copy_(given["first"])
            model[3].weight.copy_(given["last"])
            model[0].bias.fill_(0.5)
            model[1].bias.fill_(-0.7)
            model[3].bias.copy_(given["bias"])
        numbers = num_epochs, given["batch_size"], given["lr"], given["decay"]
        found = see.call(run, answer, model, train, val, *numbers)
        losses = found if run == "all" else losses
        for name, value in model.state_dict().items():
            see.note(f"{run}.{name}", value)
        yield
    if isinstance(losses, list | tuple):
        see.call("curve", torch.tensor, [float(a) for a in losses], dtype=torch.float64)
