"""Calls the answers of the part on parameter tuning; it imports torch and numpy alone.

Each function gets the student's answer, the inputs that the judge drew (tensors and numbers), and
an Observer that notes what comes back.
"""

from __future__ import annotations

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


def momentum_step(answer, given, see):
    w, grad, velocity = given["w"], given["grad"], given["velocity"]
    see.call("step", answer, w, grad, velocity, given["lr"], given["momentum"])


def he_init_(answer, given, see):
    with see.without(*INITS):
        for kind in ("conv", "linear"):
            see.call(kind, answer, torch.ones(given[kind].tolist()))
        see.call("parameter", _fill_parameter, answer, given["conv"].tolist())


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

    see.call("rise", curve, range(warmup), warmup)
    see.call("fall", curve, range(warmup, num_steps), warmup)
    see.call("cold", curve, range(num_steps), 0)
    see.call("late", curve, range(num_steps, num_steps + 5), warmup)


def adam_step(answer, given, see):
    tensors = [given[k] for k in ("w", "grad", "m", "s")]
    betas = tuple(given["betas"].tolist())
    for call in ("fine", "coarse"):
        see.call(call, answer, *tensors, given["t"], given["lr"], betas, given[f"{call}_eps"])


def freeze_first(answer, given, see):
    for case in ("plain", "before", "none"):
        model = _layers(given["weights"])
        if case == "before":
            model[3].bias.requires_grad_(False)
        k = given[f"{case}_k"]
        optimizer = see.call(f"{case}_made", answer, model, k, given["lr"])
        if isinstance(optimizer, torch.optim.Optimizer):
            held = {id(p) for group in optimizer.param_groups for p in group["params"]}
            parameters = list(model.parameters())
            see.note(f"{case}_held", torch.tensor([id(p) in held for p in parameters]))
            see.note(f"{case}_open", torch.tensor([p.requires_grad for p in parameters]))
            see.call(f"{case}_after", _one_step, model, optimizer, given["x"], given["y"])


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
    rates, num_trials = [], given["num_trials"]

    def evaluate(lr):
        number = len(rates)
        if number > 3 * num_trials:
            raise RuntimeError("evaluate is called far more often than num_trials")
        rates.append(float(lr))
        row = number % len(given["val"])
        return given["val"][row].item(), given["test"][row].item()

    see.call("result", answer, evaluate, given["low"], given["high"], num_trials)
    see.note("rates", torch.tensor(rates, dtype=torch.float64))


def compare_tuned(answer, given, see):
    for number, size in enumerate(given["sizes"].tolist()):
        val, test = (given[part][number, :, :, :size] for part in ("val", "test"))
        see.call(f"study_{number}", answer, val, test, given["margins"][number].item())


def fine_tune(answer, given, see):
    train = given["x"], given["y"]
    for run, num_epochs, batch_size in (("one", 1, len(train[0])), ("all", 3, given["batch"])):
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5))
        head = nn.Linear(6, 3)
        with torch.no_grad():
            model[0].weight.copy_(given["first"])
            model[0].bias.zero_()
            head.weight.copy_(given["last"])
            head.bias.zero_()
        losses = see.call(run, answer, model, head, train, num_epochs, batch_size, given["lr"])
        see.note(f"{run}_replaced", torch.tensor(model[-1] is head))
        see.note(f"{run}.first", model[0].weight)
        see.note(f"{run}.last", head.weight)
    if isinstance(losses, list | tuple):
        see.call("curve", torch.tensor, [float(a) for a in losses], dtype=torch.float64)
