"""Calls the answers of the part on parameter tuning; it imports torch and numpy alone.

Each function gets the student's answer, the inputs that the judge drew (tensors and numbers), and
an Observer that notes what comes back. After each case it yields, so that the rounds of a question
can take turns.
"""

from __future__ import annotations

from builtins import id  # bound before an answer can put something else in its place

import torch
from torch import nn

INITS = [
    (nn.init, "kaiming_normal_"),
    (nn.init, "kaiming_uniform_"),
    (nn.init, "_calculate_fan_in_and_fan_out"),
    (nn.init, "_calculate_correct_fan"),
]
# Library functions that are the answer to a question, and closed while it is asked.
CLOSED = {"he_init_": INITS}


def in_order(given, *cases):
    """The cases, in the order that was drawn."""
    return [cases[number] for number in given["order"].tolist()]


def momentum_step(answer, given, see):
    w, grad, velocity = given["w"], given["grad"], given["velocity"]
    see.call("step", answer, w, grad, velocity, given["lr"], given["momentum"])


def he_init_(answer, given, see):
    for kind in in_order(given, "conv", "again", "linear", "parameter"):
        shape = given["linear" if kind == "linear" else "conv"].tolist()
        if kind == "parameter":
            see.call(kind, _fill_parameter, answer, shape)
        else:
            see.call(kind, answer, torch.ones(shape))
        yield


def _fill_parameter(answer, shape):
    weight = nn.Parameter(torch.ones(shape))
    answer(weight)
    return weight.detach(), torch.tensor(weight.is_leaf and weight.requires_grad)


def warmup_cosine(answer, given, see):
    num_steps, warmup, lr, min_lr = (given[k] for k in ("num_steps", "warmup", "lr", "min_lr"))

    def curve(steps, warmup):
        rates = [answer(step, num_steps, warmup, lr, min_lr) for step in steps]
        if any(rate is None for rate in rates):
            raise ValueError("nothing comes back; is there a return?")
        return torch.tensor([float(rate) for rate in rates], dtype=torch.float64)

    curves = {
        "rise": (range(warmup), warmup),
        "fall": (range(warmup, num_steps), warmup),
        "cold": (range(num_steps), 0),
        "late": (range(num_steps, num_steps + 5), warmup),
    }
    for name in in_order(given, *curves):
        see.call(name, curve, *curves[name])
        yield


def adam_step(answer, given, see):
    tensors = [given[k] for k in ("w", "grad", "m", "s")]
    betas = tuple(given["betas"].tolist())
    for call in in_order(given, "fine", "coarse"):
        see.call(call, answer, *tensors, given["t"], given["lr"], betas, given[f"{call}_eps"])
        yield


def freeze_first(answer, given, see):
    layers = {f"plain_{number}": k for number, k in enumerate(given["plain_k"].tolist())}
    layers |= {"before": given["before_k"], "none": given["none_k"]}
    for case in in_order(given, *layers):
        model = _layers(given["weights"])
        if case == "before":
            list(model.parameters())[given["frozen"]].requires_grad_(False)
        optimizer = see.call(f"{case}_made", answer, model, layers[case], given["lr"])
        if isinstance(optimizer, torch.optim.Optimizer):
            held = {id(p) for group in optimizer.param_groups for p in group["params"]}
            parameters = list(model.parameters())
            see.note(f"{case}_held", torch.tensor([id(p) in held for p in parameters]))
            see.note(f"{case}_open", torch.tensor([p.requires_grad for p in parameters]))
            see.call(f"{case}_after", _one_step, model, optimizer, given["x"], given["y"])
        yield


def _layers(weights):
    inner = nn.Sequential(nn.Linear(5, 5), nn.Tanh())
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), inner, nn.Linear(5, 5), nn.Linear(5, 3))
    with torch.no_grad():
        nn.utils.vector_to_parameters(weights.clone(), model.parameters())
    return model


def _one_step(model, optimizer, x, y):
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def random_search(answer, given, see):
    for number in range(len(given["low"])):
        low, high, trials, again = (
            given[name][number].item() for name in ("low", "high", "num_trials", "num_again")
        )
        rates = []
        evaluate = _evaluation(given["val"][number], given["test"][number], rates)
        see.call(f"result_{number}", answer, evaluate, low, high, trials, again)
        see.note(f"rates_{number}", torch.tensor(rates, dtype=torch.float64))
        yield


def _evaluation(val, test, rates):
    def evaluate(lr):
        if len(rates) >= len(val):
            raise RuntimeError("evaluate is called far more often than num_trials")
        rates.append(float(lr))
        return val[len(rates) - 1].item(), test[len(rates) - 1].item()

    return evaluate


def compare_tuned(answer, given, see):
    for number, size in enumerate(given["sizes"].tolist()):
        val, test = (given[part][number, :, :, :size] for part in ("val", "test"))
        see.call(f"study_{number}", answer, val, test, given["margins"][number].item())
        yield


def fine_tune(answer, given, see):
    train, losses = (given["x"], given["y"]), None
    runs = {"one": (1, len(train[0])), "all": (given["num_epochs"], given["batch"])}
    for run in in_order(given, *runs):
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5))
        head = nn.Linear(6, 3)
        with torch.no_grad():
            model[0].weight.copy_(given["first"])
            model[0].bias.zero_()
            head.weight.copy_(given["last"])
            head.bias.zero_()
        found = see.call(run, answer, model, head, train, *runs[run], given["lr"])
        losses = found if run == "all" else losses
        see.note(f"{run}_replaced", torch.tensor(model[-1] is head))
        see.note(f"{run}.first", model[0].weight)
        see.note(f"{run}.last", head.weight)
        yield
    if isinstance(losses, list | tuple):
        see.call("curve", torch.tensor, [float(a) for a in losses], dtype=torch.float64)
