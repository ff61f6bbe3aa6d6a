"""Calls the answers of the part on data processing; it imports torch and numpy alone.

Each function gets the student's answer, the inputs that the judge drew (tensors and numbers), and
an Observer that notes what comes back. After each case it yields, so that the rounds of a question
can take turns.
"""

from __future__ import annotations

import torch
from torch import nn

BATCH_NORMS = [(nn.functional, "batch_norm"), (torch, "batch_norm"), (torch, "native_batch_norm")]
# By name, so that nothing of it is imported here.
RULE = [("tricks_lib.law", name) for name in ("verdict", "interval", "p_value")]
RULE += [("tricks_lib", "verdict")]
# Library functions that are the answer to a question, and closed while it is asked.
CLOSED = {"norm_two_steps": BATCH_NORMS, "CumulativeNorm": BATCH_NORMS, "decide": RULE}


def in_order(given, *cases):
    """The cases, in the order that was drawn."""
    return [cases[number] for number in given["order"].tolist()]


def shift_images(answer, given, see):
    for number, (right, down) in enumerate(given["steps"].tolist()):
        see.call(f"case_{number}", answer, given["x"], right, down)
        yield


def random_flip(answer, given, see):
    for number in range(given["calls"]):
        see.call(f"call_{number}", answer, given["x"], given["y"], tuple(given["safe"].tolist()))
        yield


def min_max(answer, given, see):
    see.call("scaled", answer, given["train"], given["test"])


def standardise_channels(answer, given, see):
    for case in in_order(given, "", "constant_"):
        tables = given[f"{case}train"], given[f"{case}test"]
        see.call("constant" if case else "scaled", answer, *tables)
        yield


def norm_two_steps(answer, given, see):
    x = given["x"].requires_grad_()
    y = see.call("y", answer, x, given["gamma"], given["beta"], given["eps"])

    def gradient():
        return torch.autograd.grad((y * given["weights"]).sum(), x)[0]

    if isinstance(y, torch.Tensor):
        see.call("gradient", gradient)


def CumulativeNorm(answer, given, see):
    units = given["batches"].shape[-1]
    layer = see.call("layer", answer, units)
    if not isinstance(layer, nn.Module):
        return
    layer.train()
    for number, batch in enumerate(given["batches"]):
        see.call(f"train_{number}", layer, batch)
        yield
    fresh = see.call("fresh", answer, units)
    see.call("loaded", lambda: fresh.load_state_dict(layer.state_dict()))
    layer.eval()
    for name in ("eval", "again"):
        see.call(name, layer, given["test"])
        yield
    see.call("alone", layer, given["test"][:1])
    if not see.failed("loaded"):
        see.call("from_file", fresh.eval(), given["test"])


def decide(answer, given, see):
    for number, size in enumerate(given["sizes"].tolist()):
        with_trick, without = given["with_trick"][number, :size], given["without"][number, :size]
        see.call(f"study_{number}", answer, with_trick, without, given["margins"][number].item())
        yield


def train_and_validate(answer, given, see):
    sizes = []

    def augment(x):  # no chance in it, so that all loops can be compared
        sizes.append(len(x))
        return x + given["nudge"]

    train, val = (given["x_train"], given["y_train"]), (given["x_val"], given["y_val"])
    for run in in_order(given, "one", "all"):
        num_epochs = 1 if run == "one" else given["num_epochs"]
        sizes.clear()
        model = _small_network(given)
        steps = num_epochs, given["batch_size"], given["lr"]
        accuracies = see.call(run, answer, model, train, val, augment, *steps)
        for name, value in model.state_dict().items():
            see.note(f"{run}.{name}", value)
        see.note(f"{run}_augmented", sum(sizes))
        if isinstance(accuracies, list | tuple) and accuracies:
            name = "first" if run == "one" else "curve"
            see.call(name, lambda a=accuracies: torch.tensor([float(x) for x in a]))
        yield


def _small_network(given):
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 3))
    with torch.no_grad():
        model[0].weight.copy_(given["first"])
        model[2].weight.copy_(given["last"])
        model[2].bias.zero_()
    return model
