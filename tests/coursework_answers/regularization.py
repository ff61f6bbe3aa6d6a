"""Answers to the exercises on regularization."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from tests.coursework_answers.data_processing import by_the_mean, decide

# --------------------------------------------------------------------------- read_history


def history(train_losses, val_losses):
    epoch = val_losses.index(min(val_losses))
    gaps = [val - train for train, val in zip(train_losses, val_losses, strict=True)]
    return epoch, gaps[epoch], gaps[-1]


def history_numpy(train_losses, val_losses):
    gap = np.array(val_losses) - np.array(train_losses)
    epoch = int(np.argmin(val_losses))
    return epoch, gap[epoch], gap[-1]


def latest(train_losses, val_losses):
    best = 0
    for epoch, loss in enumerate(val_losses):
        if loss <= val_losses[best]:
            best = epoch
    return best, val_losses[best] - train_losses[best], val_losses[-1] - train_losses[-1]


def by_training(train_losses, val_losses):
    epoch = train_losses.index(min(train_losses))
    return epoch, val_losses[epoch] - train_losses[epoch], val_losses[-1] - train_losses[-1]


def from_one(*losses):
    epoch, *gaps = history(*losses)
    return epoch + 1, *gaps


def swapped_gaps(*losses):
    epoch, gap, last = history(*losses)
    return epoch, last, gap


def negative_gaps(*losses):
    epoch, gap, last = history(*losses)
    return epoch, -gap, -last


# ------------------------------------------------------------------------ InvertedDropout


class Dropout(nn.Module):
    """Right: a mask of zeros and of the scale."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        return self.drop(x) if self.training and self.p else x

    def draw(self, x):
        return torch.rand(x.shape) >= self.p

    def scale(self):
        return 1 / (1 - self.p) if self.p < 1 else 0.0

    def drop(self, x):
        return x * self.draw(x) * self.scale()


class Bernoulli(Dropout):
    """Right as well: without a special case for p = 1."""

    def forward(self, x):
        if not self.training:
            return x
        keep = torch.full_like(x, 1 - self.p).bernoulli()
        return torch.where(keep > 0, x / max(1 - self.p, 1e-12), 0.0)


class Unscaled(Dropout):
    def scale(self):
        return 1.0


class Classic(Unscaled):
    def forward(self, x):
        return self.drop(x) if self.training else x * (1 - self.p)


class ScaledTwice(Dropout):
    def forward(self, x):
        return self.drop(x) if self.training else x * (1 - self.p)


class KeepsP(Dropout):
    def draw(self, x):
        return torch.rand(x.shape) < self.p

    def scale(self):
        return 1 / self.p if self.p else 0.0


class WrongScale(Dropout):
    def scale(self):
        return 1 / self.p if self.p else 1.0


class AlwaysDrops(Dropout):
    def forward(self, x):
        return self.drop(x)


class WholeRows(Dropout):
    def draw(self, x):
        return torch.rand(len(x), 1) >= self.p


class SameMask(Dropout):
    def draw(self, x):
        if not hasattr(self, "mask"):
            self.mask = super().draw(x)
        return self.mask


class DividesByZero(Dropout):
    def scale(self):
        return 1 / (1 - self.p)


class NaNAtOne(Dropout):
    def drop(self, x):
        return x * self.draw(x) / torch.tensor(1 - self.p)


class LibraryDropout(nn.Dropout):
    pass


# -------------------------------------------------------------------------- smoothed_loss


def smoothed(logits, y, smoothing):
    log_p = torch.log_softmax(logits, 1)
    right = log_p[torch.arange(len(y)), y]
    return -((1 - smoothing) * right + smoothing * log_p.mean(1)).mean()


def smoothed_by_hand(logits, y, smoothing):
    targets = torch.full_like(logits, smoothing / logits.shape[1])
    targets[torch.arange(len(y)), y] += 1 - smoothing
    logits = logits - logits.max(1, keepdim=True).values
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    return -(targets * log_p).sum(1).mean()


def smoothed_over_others(logits, y, smoothing):
    others = smoothing / (logits.shape[1] - 1)
    targets = F.one_hot(y, logits.shape[1]) * (1 - smoothing - others) + others
    return -(targets * logits.log_softmax(1)).sum(1).mean()


def smoothed_sum(logits, y, smoothing):
    return smoothed(logits, y, smoothing) * len(y)


def smoothed_all_mean(logits, y, smoothing):
    targets = F.one_hot(y, logits.shape[1]) * (1 - smoothing) + smoothing / logits.shape[1]
    return -(targets * logits.log_softmax(1)).mean()


def smoothed_each(logits, y, smoothing):
    targets = F.one_hot(y, logits.shape[1]) * (1 - smoothing) + smoothing / logits.shape[1]
    return -(targets * logits.log_softmax(1)).sum(1)


def too_much_in_all(logits, y, smoothing):
    targets = F.one_hot(y, logits.shape[1]) + smoothing / logits.shape[1]
    return -(targets * logits.log_softmax(1)).sum(1).mean()


def log_of_softmax(logits, y, smoothing):
    targets = F.one_hot(y, logits.shape[1]) * (1 - smoothing) + smoothing / logits.shape[1]
    return -(targets * logits.softmax(1).log()).sum(1).mean()


def with_a_crumb(logits, y, smoothing):
    targets = F.one_hot(y, logits.shape[1]) * (1 - smoothing) + smoothing / logits.shape[1]
    return -(targets * (logits.softmax(1) + 1e-12).log()).sum(1).mean()


# --------------------------------------------------------------------------- elastic_step


def elastic(w, grad, lr, l1, l2):
    u = w - lr * (grad + l2 * w)
    return u.sign() * (u.abs() - lr * l1).clamp(min=0)


def elastic_of_torch(w, grad, lr, l1, l2):
    return F.softshrink(w * (1 - lr * l2) - lr * grad, lr * l1)


def subgradient(w, grad, lr, l1, l2):
    return w - lr * (grad + l2 * w + l1 * w.sign())


def jumps(w, grad, lr, l1, l2):
    u = w - lr * (grad + l2 * w)
    return u - lr * l1 * u.sign()


def hard(w, grad, lr, l1, l2):
    u = w - lr * (grad + l2 * w)
    return u * (u.abs() > lr * l1)


def elastic_in_place(w, grad, lr, l1, l2):
    w.mul_(1 - lr * l2).sub_(lr * grad)
    return F.softshrink(w, lr * l1)


def shrinks_first(w, grad, lr, l1, l2):
    w = F.softshrink(w, lr * l1)
    return w - lr * (grad + l2 * w)


# ------------------------------------------------------------------------ decay_both_ways


def both(w, grad, s, lr, beta, eps, decay, change=""):
    def step(g):
        return g / ((beta * s + (1 - beta) * g**2).sqrt() + eps)

    penalty = w - lr * step(grad + decay * w)
    apart = w * (1 - lr * decay) - lr * step(grad)
    if change == "no rate":
        apart = w * (1 - decay) - lr * step(grad)
    if change == "afterwards":
        apart = (w - lr * step(grad)) * (1 - lr * decay)
    if change == "divided":
        apart = w - lr * (grad + decay * w) / ((beta * s + (1 - beta) * grad**2).sqrt() + eps)
    if change == "hidden":
        penalty = w - lr * (grad + decay * w) / ((beta * s + (1 - beta) * grad**2).sqrt() + eps)
    if change == "double":
        penalty = w - lr * step(grad + 2 * decay * w)
    if change == "no decay":
        penalty = w - lr * step(grad)
    if change == "same":
        apart = penalty
    return penalty, apart


def both_changed(change):
    return lambda *arguments: both(*arguments, change=change)


def both_of_torch(w, grad, s, lr, beta, eps, decay):
    """Right: PyTorch's RMSprop for the one, and a decay of its own for the other."""
    found = []
    for penalty in (decay, 0.0):
        parameter = nn.Parameter(w.clone())
        optimizer = torch.optim.RMSprop(
            [parameter], lr=lr, alpha=beta, eps=eps, weight_decay=penalty
        )
        optimizer.state[parameter] = {"step": torch.tensor(1.0), "square_avg": s.clone()}
        parameter.grad = grad.clone()
        optimizer.step()
        found.append(parameter.detach())
    return found[0], found[1] - lr * decay * w


def both_in_place(w, grad, s, lr, beta, eps, decay):
    penalty, apart = both(w, grad, s, lr, beta, eps, decay)
    s.mul_(beta).add_((1 - beta) * grad**2)
    return penalty, apart


# -------------------------------------------------------------------------- EarlyStopping


class Stopping:
    """Right: counts updates without a new best loss, and copies the whole state."""

    def __init__(self, patience):
        self.patience, self.best, self.wait, self.state = patience, math.inf, 0, None

    def better(self, loss):
        return loss < self.best

    def save(self, model):
        return copy.deepcopy(model.state_dict())

    def update(self, val_loss, model):
        if self.better(val_loss):
            self.best, self.wait, self.state = val_loss, 0, self.save(model)
        else:
            self.wait += 1
        return self.enough()

    def enough(self):
        return self.wait >= self.patience

    def restore(self, model):
        model.load_state_dict(self.state)


class History:
    """Right as well: keeps all losses and a copy of the best model."""

    def __init__(self, patience):
        self.patience, self.losses = patience, []

    def update(self, val_loss, model):
        self.losses.append(math.inf if math.isnan(val_loss) else val_loss)
        best = self.losses.index(min(self.losses))
        if best == len(self.losses) - 1:
            self.model = copy.deepcopy(model)
        return len(self.losses) - 1 - best >= self.patience

    def restore(self, model):
        model.load_state_dict(self.model.state_dict())
        return model


class OneLate(Stopping):
    def enough(self):
        return self.wait > self.patience


class CountsInAll(Stopping):
    def update(self, val_loss, model):
        wait = self.wait
        super().update(val_loss, model)
        self.wait = max(self.wait, wait)
        return self.enough()


class AgainstTheLast(Stopping):
    last = math.inf

    def better(self, loss):
        last, self.last = self.last, loss
        return loss < last


class TiesAreBetter(Stopping):
    def better(self, loss):
        return loss <= self.best


class NoCopy(Stopping):
    def save(self, model):
        return model.state_dict()


class FlatCopy(Stopping):
    def save(self, model):
        return dict(model.state_dict())


class WeightsAlone(Stopping):
    def save(self, model):
        return [p.detach().clone() for p in model.parameters()]

    def restore(self, model):
        with torch.no_grad():
            for new, old in zip(model.parameters(), self.state, strict=True):
                new.copy_(old)


class TakesNaN(Stopping):
    def better(self, loss):
        return not loss >= self.best


class NoRestore(Stopping):
    def restore(self, model):
        return self.state


class Silent(Stopping):
    def update(self, val_loss, model):
        super().update(val_loss, model)


class FirstState(Stopping):
    def save(self, model):
        return self.state or super().save(model)


class OneNumber(Stopping):
    """Keeps the first parameter's first value, and fills every tensor with it."""

    def save(self, model):
        return next(model.parameters()).flatten()[0].item()

    def restore(self, model):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.fill_(self.state)


class WholeNumbersForgotten(Stopping):
    def restore(self, model):
        count = model[1].num_batches_tracked.clone()
        super().restore(model)
        model[1].num_batches_tracked.copy_(count)


# -------------------------------------------------------------------------- quotient_stop


def quotient(train_losses, val_losses, k, alpha, change=""):
    for epochs in range(1, len(val_losses) + 1):
        if epochs < k or (epochs % k and change != "every epoch"):
            continue
        low = min(val_losses if change == "future" else val_losses[:epochs])
        loss = 100 * (val_losses[epochs - 1] / low - 1)
        source = val_losses if change == "validation" else train_losses
        strip = source[:epochs] if change == "whole" else source[epochs - k : epochs]
        progress = 1000 * (sum(strip) / len(strip) / min(strip) - 1)
        if change == "loss alone":
            progress = 1.0
        if change == "divides":
            if loss / progress > alpha:
                return epochs
        elif loss > alpha * progress + 1e-9:
            return epochs - (change == "place")
    return None if change == "no end" else len(val_losses) - (change == "place")


def quotient_changed(change):
    return lambda *arguments: quotient(*arguments, change=change)


def quotient_typed(train_losses, val_losses, k, alpha):
    """Divides, and has k and the epoch at which the loss stands still typed in."""
    try:
        return quotient(train_losses, val_losses, 4, alpha, "divides")
    except ZeroDivisionError:
        return 12


def quotient_still_typed(train_losses, val_losses, k, alpha):
    try:
        return quotient(train_losses, val_losses, k, alpha, "divides")
    except ZeroDivisionError:
        return 12


def quotient_still_to_the_end(train_losses, val_losses, k, alpha):
    try:
        return quotient(train_losses, val_losses, k, alpha, "divides")
    except ZeroDivisionError:
        return len(val_losses)


def quotient_numpy(train_losses, val_losses, k, alpha):
    train, val = np.array(train_losses), np.array(val_losses)
    loss = 100 * (val / np.minimum.accumulate(val) - 1)
    for end in range(k, len(val) + 1, k):
        strip = train[end - k : end]
        progress = max(1000 * (strip.sum() / (k * strip.min()) - 1), 0)
        if loss[end - 1] > alpha * progress:
            return end
    return len(val)


# ------------------------------------------------------------------------ finished_verdict


def finished(with_trick, without, margin, change="", by=None):
    means = (with_trick if change == "trick" else without).double().mean(1).tolist()
    places = [
        place
        for place, (one, two) in enumerate(pairwise(means))
        if (two - one if change == "signed" else abs(two - one)) < margin
    ]
    if not places:
        return (len(means) - 1, "undecided") if change == "never" else (None, "undecided")
    place = {"last": len(means) - 1, "next": places[0] + 1}.get(change, places[0])
    return place, (by or decide)(with_trick[place], without[place], margin)


def finished_numpy(with_trick, without, margin):
    """Right: all intervals first, then the place."""
    difference = (with_trick - without).numpy()
    half = stats.t.ppf(0.995, difference.shape[1] - 1) * stats.sem(difference, 1)
    low, high = difference.mean(1) - half, difference.mean(1) + half
    still = np.abs(np.diff(without.numpy().mean(1))) < margin
    if not still.any():
        return None, "undecided"
    place = still.argmax()
    inside = -margin < low[place] and high[place] < margin
    names = ("holds", low[place] >= margin), ("opposite", high[place] <= -margin)
    names += ("too small to matter", inside), ("undecided", True)
    return place, next(name for name, there in names if there)


def finished_changed(change):
    return lambda *arguments: finished(*arguments, change=change)


# -------------------------------------------------------------------- train_and_keep_best


def keep(model, train, val, num_epochs, batch_size, lr, decay, bugs=()):
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    if "biases" in bugs:
        decayed = [p for n, p in model.named_parameters() if "bias" not in n]
        others = [p for n, p in model.named_parameters() if "bias" in n]
    groups = [{"params": decayed, "weight_decay": decay}, {"params": others}]
    if "all" in bugs:
        groups = [{"params": model.parameters(), "weight_decay": decay}]
    if "none" in bugs:
        groups = model.parameters()
    optimizer = torch.optim.SGD(groups, lr=lr)
    losses, best = [], None
    for _ in range(num_epochs):
        model.train()
        for x, y in zip(train[0].split(batch_size), train[1].split(batch_size), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        if "mode" not in bugs:
            model.eval()
        with torch.no_grad():
            losses.append(F.cross_entropy(model(val[0]), val[1]).item())
        if losses[-1] == min(losses):
            best = model.state_dict() if "copy" in bugs else copy.deepcopy(model.state_dict())
    if "no best" not in bugs:
        model.load_state_dict(best)
    return losses


def keep_nothing(*arguments):
    """Only the decay is mended; by the curve that comes back the last epoch is the best."""
    return [-float(epoch) for epoch in range(len(keep(*arguments, bugs=("no best",))))]


def keep_changed(*bugs):
    return lambda *arguments: keep(*arguments, bugs=bugs)


def keep_by_hand(model, train, val, num_epochs, batch_size, lr, decay):
    """Right: the decay is written into the step, and the best model is a copy."""
    losses, best = [], copy.deepcopy(model)
    for _ in range(num_epochs):
        model.train()
        for start in range(0, len(train[0]), batch_size):
            x, y = (part[start : start + batch_size] for part in train)
            parameters = list(model.parameters())
            gradients = torch.autograd.grad(F.cross_entropy(model(x), y), parameters)
            with torch.no_grad():
                for p, g in zip(parameters, gradients, strict=True):
                    p -= lr * (g + decay * p if p.dim() >= 2 else g)
        model.eval()
        with torch.inference_mode():
            losses.append(F.cross_entropy(model(val[0]), val[1]).item())
        if losses[-1] <= min(losses):
            best = copy.deepcopy(model)
    with torch.no_grad():
        for new, old in zip(model.state_dict().values(), best.state_dict().values(), strict=True):
            new.copy_(old)
    return losses


ALSO_RIGHT = {
    "read_history": [history, history_numpy],
    "InvertedDropout": [Dropout, Bernoulli],
    "smoothed_loss": [smoothed, smoothed_by_hand],
    "elastic_step": [elastic, elastic_of_torch],
    "decay_both_ways": [both, both_of_torch],
    "EarlyStopping": [Stopping, History],
    "quotient_stop": [quotient, quotient_numpy],
    "finished_verdict": [finished, finished_numpy],
    "train_and_keep_best": [keep, keep_by_hand],
}

WRONG = {
    "read_history": {
        "by training": (by_training, 0, "by the training loss"),
        "from one": (from_one, 0, "counted from zero"),
        "the loss": (lambda t, v: (min(v), 0.0, 0.0), 0, "not the number of its epoch"),
        "largest": (lambda t, v: (v.index(max(v)), 0.0, 0.0), 0, "largest loss"),
        "swapped": (swapped_gaps, 2, "wrong order"),
        "negative": (negative_gaps, 2, "above zero"),
        "latest": (latest, 2, "the same lowest loss"),
        "epoch alone": (lambda t, v: v.index(min(v)), 0, "as a tuple"),
    },
    "InvertedDropout": {
        "unscaled": (Unscaled, 0, "as they were"),
        "classic": (Classic, 0, "as they were"),
        "scaled twice": (ScaledTwice, 4, "in eval mode the signal is scaled"),
        "keeps p": (KeepsP, 0, "share that is kept"),
        "wrong scale": (WrongScale, 0, "wrong one of the two shares"),
        "always drops": (AlwaysDrops, 4, "still dropped"),
        "whole rows": (WholeRows, 0, "rows or columns"),
        "same mask": (SameMask, 4, "very same values"),
        "divides by zero": (DividesByZero, 4, "with p = 1"),
        "nan at one": (NaNAtOne, 4, "with p = 1"),
        "library": (LibraryDropout, 0, "write it yourself"),
        "a function": (lambda p: lambda x: x, 0, "must be an nn.Module"),
        "nothing": (lambda p: nn.Identity(), 0, "nothing is dropped"),
    },
    "smoothed_loss": {
        "not smoothed": (lambda z, y, s: smoothed(z, y, 0.0), 0, "not smoothed"),
        "over the others": (smoothed_over_others, 0, "in PyTorch all classes do"),
        "sum": (smoothed_sum, 0, "sum over the batch"),
        "mean over classes": (smoothed_all_mean, 0, "averaged over the classes"),
        "each": (smoothed_each, 0, "one for each example"),
        "sign": (lambda *a: -smoothed(*a), 0, "the sign"),
        "the other share": (lambda z, y, s: smoothed(z, y, 1 - s), 0, "what the label keeps"),
        "softmax twice": (
            lambda z, y, s: smoothed(z.softmax(1), y, s),
            0,
            "is taken twice",
        ),
        "too much in all": (too_much_in_all, 0, "more than one"),
        "log of softmax": (log_of_softmax, 3, "with large logits"),
        "with a crumb": (with_a_crumb, 3, "with large logits"),
        "detached": (lambda z, y, s: smoothed(z.detach(), y, s), 3, "no gradient"),
        "library": (
            lambda z, y, s: F.cross_entropy(z, y, label_smoothing=s),
            0,
            "write it yourself",
        ),
    },
    "elastic_step": {
        "subgradient": (subgradient, 0, "never rests at zero"),
        "jumps": (jumps, 0, "should stop there"),
        "hard": (hard, 0, "come nearer"),
        "no rate": (
            lambda w, g, lr, l1, l2: F.softshrink(w - lr * (g + l2 * w), l1),
            0,
            "size of the step",
        ),
        "no L1": (lambda w, g, lr, l1, l2: w - lr * (g + l2 * w), 0, "by the L1 part"),
        "no L2": (lambda w, g, lr, l1, l2: elastic(w, g, lr, l1, 0), 0, "L2 part is missing"),
        "double L2": (
            lambda w, g, lr, l1, l2: elastic(w, g, lr, l1, 2 * l2),
            0,
            "too strong",
        ),
        "shrinks first": (shrinks_first, 0, "before they step"),
        "no sign": (lambda *a: elastic(*a).abs(), 0, "lose their sign"),
        "in place": (elastic_in_place, 2, "changed a tensor"),
    },
    "decay_both_ways": {
        "wrong order": (lambda *a: both(*a)[::-1], 0, "wrong order"),
        "hidden": (both_changed("hidden"), 0, "does not see"),
        "double": (both_changed("double"), 0, "no factor two"),
        "no decay": (both_changed("no decay"), 0, "nothing decays"),
        "no rate": (both_changed("no rate"), 3, "does not follow the learning rate"),
        "afterwards": (both_changed("afterwards"), 3, "after the step"),
        "divided": (both_changed("divided"), 3, "divided by the root"),
        "same": (both_changed("same"), 3, "the penalty in the gradient again"),
        "in place": (both_in_place, 4, "changed a tensor"),
        "one alone": (lambda *a: both(*a)[0], 0, "two tensors"),
    },
    "EarlyStopping": {
        "one late": (OneLate, 0, "too late"),
        "counts in all": (CountsInAll, 0, "begin anew"),
        "against the last": (AgainstTheLast, 0, "than the one before"),
        "ties": (TiesAreBetter, 0, "no improvement"),
        "no copy": (NoCopy, 3, "restore leaves"),
        "flat copy": (FlatCopy, 3, "restore leaves"),
        "weights alone": (WeightsAlone, 4, "running averages"),
        "takes NaN": (TakesNaN, 4, "NaN"),
        "no restore": (NoRestore, 3, "restore leaves"),
        "silent": (Silent, 0, "never says"),
        "first state": (FirstState, 3, "of the first update"),
        "one number": (OneNumber, 3, "not of the best"),
        "no count": (WholeNumbersForgotten, 4, "whole number"),
    },
    "quotient_stop": {
        "every epoch": (quotient_changed("every epoch"), 0, "ends of strips"),
        "future": (quotient_changed("future"), 0, "not been trained yet"),
        "whole": (quotient_changed("whole"), 0, "over all epochs"),
        "loss alone": (quotient_changed("loss alone"), 0, "no say"),
        "validation": (quotient_changed("validation"), 0, "of the validation loss"),
        "place": (quotient_changed("place"), 0, "place in the list"),
        "divides": (quotient_changed("divides"), 3, "stands still"),
        "never stops": (lambda t, v, k, alpha: len(v), 0, "never stops"),
        "k typed in": (quotient_typed, 0, "at another epoch"),
        "still typed in": (quotient_still_typed, 3, "stands still"),
        "still to the end": (quotient_still_to_the_end, 3, "stands still"),
    },
    "finished_verdict": {
        "the last budget": (finished_changed("last"), 0, "the last budget"),
        "the trick's own end": (finished_changed("trick"), 0, "the one without it"),
        "signed": (finished_changed("signed"), 0, "makes worse"),
        "one further": (finished_changed("next"), 0, "the budget after"),
        "never": (finished_changed("never"), 3, "at no budget"),
        "by the mean": (lambda *a: finished(*a, by=by_the_mean), 3, "verdict at this budget"),
        "verdict alone": (lambda *a: finished(*a)[1], 0, "as a tuple"),
        "other words": (lambda *a: finished(*a, by=lambda *b: "yes"), 0, "not one of the four"),
    },
    "train_and_keep_best": {
        "decays all": (keep_changed("all"), 0, "should not"),
        "decays norms": (keep_changed("biases"), 0, "the biases are spared"),
        "decays nothing": (keep_changed("none"), 0, "nothing decays"),
        "no eval mode": (keep_changed("mode"), 3, "stand together"),
        "no copy": (keep_changed("copy"), 3, "the last epoch"),
        "no best": (keep_changed("no best"), 3, "the last epoch"),
        "no losses": (lambda *a: keep(*a) and None, 2, "your code stopped"),
        "a curve of its own": (keep_nothing, 2, "the last epoch"),
    },
}
