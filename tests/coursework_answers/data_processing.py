"""Answers to the exercises on data processing."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import tricks_lib as tl

# --------------------------------------------------------------------------- shift_images


def shift(x, right, down):
    padded = F.pad(x, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
    rows, columns = max(-down, 0), max(-right, 0)
    return padded[..., rows : rows + x.shape[-2], columns : columns + x.shape[-1]]


def shift_by_pixel(x, right, down):
    moved = torch.zeros_like(x)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            if 0 <= row - down < x.shape[2] and 0 <= column - right < x.shape[3]:
                moved[:, :, row, column] = x[:, :, row - down, column - right]
    return moved


def shift_one_at_a_time(x, right, down):
    return torch.stack([shift(image, right, down) for image in x])


def roll(x, right, down):
    return torch.roll(x, (down, right), (-2, -1))


def repeat_the_edge(x, right, down):
    height, width = x.shape[-2:]
    rows = (torch.arange(height) - down).clamp(0, height - 1)
    columns = (torch.arange(width) - right).clamp(0, width - 1)
    return x[..., rows, :][..., columns]


def roll_and_blank(x, right, down):
    """Right for small steps; a large one goes around and is blanked at the wrong place."""
    moved = torch.roll(x, (down, right), (-2, -1))
    rows, columns = torch.arange(x.shape[-2]), torch.arange(x.shape[-1])
    if abs(down) >= x.shape[-2]:
        return moved
    moved[..., (rows - down < 0) | (rows - down >= x.shape[-2]), :] = 0
    moved[..., (columns - right < 0) | (columns - right >= x.shape[-1])] = 0
    return moved


def shift_raises_beyond(x, right, down):
    if abs(down) >= x.shape[-2]:
        raise IndexError("out of range")
    return shift(x, right, down)


def shift_in_place(x, right, down):
    x.copy_(shift(x, right, down))
    return x


# ---------------------------------------------------------------------------- random_flip


def flip(x, y, safe, p=0.5):
    flipped = x.clone()
    for i in range(len(x)):
        if int(y[i]) in safe and np.random.rand() < p:
            flipped[i] = x[i].flip(-1)
    return flipped


def flip_with_randperm(x, y, safe):
    """Exactly half of the safe ones, drawn at random, is as good as coins."""
    flipped = x.clone()
    (places,) = torch.where(sum(y == label for label in safe).bool())
    chosen = places[torch.randperm(len(places))][: len(places) // 2]
    flipped[chosen] = x[chosen].flip(-1)
    return flipped


def _choose(x, y, safe, coin, turned):
    return torch.where((coin & torch.isin(y, torch.tensor(safe))).view(-1, 1, 1, 1), turned, x)


def one_coin(x, y, safe):
    return _choose(x, y, safe, torch.full((len(x),), bool(torch.rand(()) < 0.5)), x.flip(-1))


def coin_a_class(x, y, safe):
    coins = torch.arange(10) % 2 == 0
    places = torch.tensor([safe.index(int(k)) if int(k) in safe else 9 for k in y])
    return _choose(x, y, safe, coins[places], x.flip(-1))


def coin_a_half(x, y, safe):
    return _choose(x, y, safe, torch.arange(len(x)) < len(x) // 2, x.flip(-1))


def every_second(x, y, safe):
    return _choose(x, y, safe, torch.arange(len(x)) % 2 == 0, x.flip(-1))


def same_coins(x, y, safe):
    coins = torch.rand(len(x), generator=torch.Generator().manual_seed(7)) < 0.5
    return _choose(x, y, safe, coins, x.flip(-1))


def upside_down(x, y, safe):
    return _choose(x, y, safe, torch.rand(len(x)) < 0.5, x.flip(-2))


def ignores_labels(x, y, safe):
    return torch.where((torch.rand(len(x)) < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)


def only_the_unsafe(x, y, safe):
    others = tuple(k for k in range(10) if k not in safe)
    return flip(x, y, others)


def flip_in_place(x, y, safe):
    x[:] = flip(x, y, safe)
    return x


# -------------------------------------------------------------------------------- min_max


def min_max_numpy(x_train, x_test):
    low, span = x_train.numpy().min(0), np.ptp(x_train.numpy(), 0)
    return (x_train.numpy() - low) / span, (x_test.numpy() - low) / span


def own_extremes(x_train, x_test):
    return min_max_numpy(x_train, x_train)[0], min_max_numpy(x_test, x_test)[0]


def one_for_all(x_train, x_test):
    low, high = x_train.min(), x_train.max()
    return (x_train - low) / (high - low), (x_test - low) / (high - low)


def joint_extremes(x_train, x_test):
    both = torch.cat([x_train, x_test])
    return min_max_numpy(both, x_train)[1], min_max_numpy(both, x_test)[1]


def clipped(x_train, x_test):
    found_train, found_test = min_max_numpy(x_train, x_test)
    return found_train, found_test.clip(0, 1)


def by_row(x_train, x_test):
    return tuple(
        (x - x.amin(1, True)) / (x.amax(1, True) - x.amin(1, True)) for x in (x_train, x_test)
    )


def not_moved(x_train, x_test):
    span = x_train.amax(0) - x_train.amin(0)
    return x_train / span, x_test / span


# ------------------------------------------------------------------- standardise_channels


def channels(x_train, x_test, correction=1, power=1.0, guard=True, axes=(0, 2, 3), by=None):
    by = x_train if by is None else by
    mean, deviation = by.mean(axes, keepdim=True), by.std(axes, correction=correction, keepdim=True)
    if guard:
        deviation = torch.where(deviation > 1e-6, deviation, 1.0)
    return (x_train - mean) / deviation**power, (x_test - mean) / deviation**power


def channels_one_by_one(x_train, x_test):
    found = torch.empty_like(x_train), torch.empty_like(x_test)
    for channel in range(x_train.shape[1]):
        values = x_train[:, channel]
        deviation = values.std() if values.max() > values.min() else 1.0
        for new, old in zip(found, (x_train, x_test), strict=True):
            new[:, channel] = (old[:, channel] - values.mean()) / deviation
    return found


def own_statistics(x_train, x_test):
    return channels(x_train, x_train)[0], channels(x_test, x_test)[0]


def by_image(x_train, x_test):
    return tuple(
        (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), correction=0, keepdim=True)
        for x in (x_train, x_test)
    )


def joint_statistics(x_train, x_test):
    return channels(x_train, x_test, by=torch.cat([x_train, x_test]))


# -------------------------------------------------------------------------- norm_two_steps


def two_steps(x, gamma, beta, eps, correction=0, axis=0):
    mean, var = x.mean(axis, keepdim=True), x.var(axis, correction=correction, keepdim=True)
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta


def two_steps_by_hand(x, gamma, beta, eps):
    mean = x.sum(0) / len(x)
    var = ((x - mean) ** 2).sum(0) / len(x)
    return torch.addcmul(beta, gamma, (x - mean) * torch.rsqrt(var + eps))


def detached(x, gamma, beta, eps):
    mean, var = x.mean(0).detach(), x.var(0, correction=0).detach()
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta


def through_numpy(x, gamma, beta, eps):
    return two_steps(torch.from_numpy(x.detach().numpy()), gamma, beta, eps)


# -------------------------------------------------------------------------- CumulativeNorm


class Sums(nn.Module):
    """Right: sums of means and variances, and a count, in one buffer."""

    def __init__(self, units, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("sums", torch.zeros(2, units))
        self.register_buffer("batches", torch.zeros(1))

    def remember(self, x):
        self.sums += torch.stack([x.mean(0), x.var(0)]).detach()
        self.batches += 1

    def remembered(self):
        return self.sums / self.batches.clamp(min=1)

    def normalise(self, x, mean, var):
        return (x - mean) / torch.sqrt(var + self.eps)

    def forward(self, x):
        if self.training:
            self.remember(x)
            return self.normalise(x, x.mean(0), x.var(0, correction=0))
        return self.normalise(x, *self.remembered())


class Frozen(nn.Module):
    """Right as well: what is remembered is a parameter that nobody trains."""

    def __init__(self, units, eps=1e-5):
        super().__init__()
        self.stats = nn.Parameter(torch.zeros(3, units), requires_grad=False)
        self.eps = eps

    def forward(self, x):
        if self.training:
            self.stats.data += torch.stack([x.mean(0), x.var(0), torch.ones(x.shape[1])])
            mean, var = x.mean(0), x.var(0, correction=0)
        else:
            mean, var = self.stats[0] / self.stats[2], self.stats[1] / self.stats[2]
        return (x - mean) / (var + self.eps).sqrt()


class UnbiasedBatch(Sums):
    def forward(self, x):
        if self.training:
            self.remember(x)
            return self.normalise(x, x.mean(0), x.var(0))
        return super().forward(x)


class BiasedMemory(Sums):
    def remember(self, x):
        self.sums += torch.stack([x.mean(0), x.var(0, correction=0)]).detach()
        self.batches += 1


class NoEval(Sums):
    def forward(self, x):
        return self.normalise(x, x.mean(0), x.var(0, correction=0))


class LastBatch(Sums):
    def remember(self, x):
        self.sums = torch.stack([x.mean(0), x.var(0)]).detach()
        self.batches = torch.ones(1)


class Forgetful(Sums):
    def remember(self, x):
        start = torch.tensor([[0.0], [1.0]]) if not self.batches else self.sums
        self.sums = 0.9 * start + 0.1 * torch.stack([x.mean(0), x.var(0)]).detach()
        self.batches = torch.ones(1)


class RemembersAlways(Sums):
    def forward(self, x):
        found = super().forward(x)
        if not self.training and len(x) > 1:
            self.remember(x)
        return found


class NotSaved(Sums):
    def __init__(self, units, eps=1e-5):
        nn.Module.__init__(self)
        self.eps, self.sums, self.batches = eps, torch.zeros(2, units), torch.zeros(1)


class Library(nn.BatchNorm1d):
    def __init__(self, units):
        super().__init__(units, momentum=None, affine=False)


# --------------------------------------------------------------------------------- decide


def interval(difference, factor=None, correction=1, level=0.995):
    from scipy import stats

    n = len(difference)
    factor = stats.t.ppf(level, n - 1) if factor is None else factor
    half = factor * difference.std(correction=correction) / n**0.5
    return difference.mean() - half, difference.mean() + half


def verdict(low, high, margin):
    if low >= margin:
        return "holds"
    if high <= -margin:
        return "opposite"
    return "too small to matter" if -margin < low and high < margin else "undecided"


def decide(with_trick, without, margin, **options):
    difference = torch.as_tensor(with_trick) - torch.as_tensor(without)
    return verdict(*interval(difference, **options), margin)


def decide_by_the_book(with_trick, without, margin):
    from scipy import stats

    found = stats.ttest_rel(with_trick, without).confidence_interval(0.99)
    return verdict(found.low, found.high, margin)


def decide_by_tests(with_trick, without, margin):
    """Four one-sided tests instead of an interval: Schuirmann's two for `too small`."""
    from scipy import stats

    difference = (with_trick - without).double().numpy()

    def above(bound):
        return stats.ttest_1samp(difference, bound, alternative="greater").pvalue <= 0.005

    def below(bound):
        return stats.ttest_1samp(difference, bound, alternative="less").pvalue <= 0.005

    if above(margin) or below(-margin):
        return "holds" if difference.mean() > 0 else "opposite"
    return "too small to matter" if above(-margin) and below(margin) else "undecided"


def decide_by_the_library(with_trick, without, margin):
    return tl.law.verdict(tl.law.interval(with_trick - without), margin)


def by_the_mean(with_trick, without, margin):
    mean = (with_trick - without).mean()
    return verdict(mean, mean, margin)


def without_margin(with_trick, without, margin):
    return decide(with_trick, without, 0.0)


def first_edition(with_trick, without, margin, otherwise="undecided"):
    """The mean against the margin, and the interval against zero."""
    difference = with_trick - without
    low, high = interval(difference)
    if low > 0 and difference.mean() >= margin:
        return "holds"
    return "opposite" if high < 0 and difference.mean() <= -margin else otherwise


def small_when_it_crosses_zero(with_trick, without, margin):
    low, high = interval(with_trick - without)
    return "too small to matter" if low < 0 < high else verdict(low, high, margin)


def small_by_the_mean(with_trick, without, margin):
    found, mean = decide(with_trick, without, margin), (with_trick - without).mean()
    low, high = interval(with_trick - without)
    wide = low < -margin and high > margin
    return (
        "too small to matter"
        if found == "undecided" and not wide and abs(mean) < margin
        else (found)
    )


def doubtful_inside(with_trick, without, margin):
    low, high = interval(with_trick - without)
    return "undecided" if low < 0 < high else verdict(low, high, margin)


def unpaired(with_trick, without, margin):
    from scipy import stats

    found = stats.ttest_ind(with_trick, without).confidence_interval(0.99)
    return verdict(found.low, found.high, margin)


def one_direction(with_trick, without, margin):
    found = decide(with_trick, without, margin)
    return found if found != "opposite" else "undecided"


# ---------------------------------------------------------------------- train_and_validate


def loop(model, train, val, augment, num_epochs, batch_size, lr, bugs=(), optimizer=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=lr)
    accuracies = []
    model.train()
    for _ in range(num_epochs):
        if "mode" not in bugs:
            model.train()
        for x, y in zip(train[0].split(batch_size), train[1].split(batch_size), strict=True):
            if "gradient" not in bugs:
                optimizer.zero_grad()
            inputs = x if "plain" in bugs else augment(x)
            F.cross_entropy(model(inputs), y).backward()
            optimizer.step()
        if "no eval" not in bugs:
            model.eval()
        with torch.no_grad():
            logits = model(augment(val[0]) if "validation" in bugs else val[0])
        accuracies.append((logits.argmax(1) == val[1]).float().mean().item())
    return accuracies


def with_bugs(*bugs):
    return lambda *arguments: loop(*arguments, bugs=bugs)


def other_optimizer(model, train, val, augment, num_epochs, batch_size, lr):
    adam = torch.optim.Adam(model.parameters(), lr=lr)
    return loop(model, train, val, augment, num_epochs, batch_size, lr, optimizer=adam)


def loop_validated(validate):
    """Right steps, and a validation of its own."""

    def answer(model, train, val, augment, num_epochs, batch_size, lr):
        accuracies, optimizer = [], torch.optim.SGD(model.parameters(), lr=lr)
        for _ in range(num_epochs):
            arguments = model, train, val, augment, 1, batch_size, lr
            right = loop(*arguments, optimizer=optimizer)[0]
            accuracies.append(validate(model, train, val, len(accuracies), right))
        return accuracies

    return answer


def in_train_mode(model, train, val, epoch, right):
    with torch.no_grad():
        logits = copy.deepcopy(model).train()(val[0])
    return (logits.argmax(1) == val[1]).double().mean().item()


def on_the_training_images(model, train, val, epoch, right):
    with torch.no_grad():
        return (model.eval()(train[0]).argmax(1) == train[1]).double().mean().item()


def restored_gradients(model, train, val, augment, num_epochs, batch_size, lr):
    """Right: the gradients are made by hand and given to the update."""
    accuracies = []
    for _ in range(num_epochs):
        model.train()
        for start in range(0, len(train[0]), batch_size):
            x, y = (part[start : start + batch_size] for part in train)
            parameters = list(model.parameters())
            gradients = torch.autograd.grad(F.cross_entropy(model(augment(x)), y), parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= lr * gradient
        model.eval()
        with torch.inference_mode():
            right = model(val[0]).argmax(1) == val[1]
        accuracies.append(right.sum().item() / len(right))
    return accuracies


ALSO_RIGHT = {
    "shift_images": [shift, shift_by_pixel, shift_one_at_a_time],
    "random_flip": [flip, flip_with_randperm],
    "min_max": [min_max_numpy],
    "standardise_channels": [channels, channels_one_by_one],
    "norm_two_steps": [two_steps, two_steps_by_hand],
    "CumulativeNorm": [Sums, Frozen],
    "decide": [decide, decide_by_the_book, decide_by_tests],
    "train_and_validate": [loop, restored_gradients],
}

WRONG = {
    "shift_images": {
        "goes around": (roll, 0, "comes in again"),
        "repeats the edge": (repeat_the_edge, 0, "must be zero"),
        "the other way": (lambda x, r, d: shift(x, -r, -d), 0, "the wrong way"),
        "directions swapped": (lambda x, r, d: shift(x, d, r), 0, "changed places"),
        "does nothing": (lambda x, r, d: x, 0, "stay where they are"),
        "large steps go around": (roll_and_blank, 2, "more than the height"),
        "large steps raise": (shift_raises_beyond, 2, "IndexError: out of range"),
        "in place": (shift_in_place, 2, "changed a tensor"),
        "crops": (lambda x, r, d: x[..., 1:, 1:], 0, "must have the shape"),
        "no return": (lambda x, r, d: None, 0, "not None"),
    },
    "random_flip": {
        "one coin": (one_coin, 0, "mirrored"),
        "a coin a class": (coin_a_class, 0, ""),
        "a coin a half": (coin_a_half, 0, "neighbours share"),
        "every second one": (every_second, 0, "two calls mirror the same images"),
        "the same coins": (same_coins, 0, "two calls mirror the same images"),
        "upside down": (upside_down, 0, "upside down"),
        "ignores labels": (ignores_labels, 3, "does not survive"),
        "only the unsafe": (only_the_unsafe, 0, "no image was mirrored"),
        "all of them": (lambda x, y, safe: flip(x, y, safe, 1.0), 0, "without a coin"),
        "none of them": (lambda x, y, safe: x.clone(), 0, "no image was mirrored"),
        "too rarely": (lambda x, y, safe: flip(x, y, safe, 0.15), 0, "about half"),
        "in place": (flip_in_place, 3, "changed a tensor"),
        "noise": (lambda x, y, safe: x + 0.1, 0, "neither as they were nor mirrored"),
    },
    "min_max": {
        "own extremes": (own_extremes, 0, "their own smallest"),
        "one for all columns": (one_for_all, 0, "served all columns"),
        "joint extremes": (joint_extremes, 0, "test rows have a part in"),
        "clipped": (clipped, 2, "keep its distance"),
        "by row": (by_row, 0, "row by row"),
        "not moved": (not_moved, 0, "do not reach from 0 to 1"),
        "one table": (lambda a, b: min_max_numpy(a, b)[0], 0, "two tensors"),
    },
    "standardise_channels": {
        "own statistics": (own_statistics, 0, "their own mean"),
        "one for all channels": (lambda a, b: channels(a, b, axes=(0, 1, 2, 3)), 0, "all channels"),
        "by image": (by_image, 0, "each image has its own"),
        "by pixel": (lambda a, b: channels(a, b, correction=0, axes=(0,)), 0, "each pixel"),
        "joint": (joint_statistics, 0, "test images have a part in"),
        "variance": (lambda a, b: channels(a, b, power=2.0), 0, "you divide by the variance"),
        "no guard": (lambda a, b: channels(a, b, guard=False), 2, "constant in training"),
    },
    "norm_two_steps": {
        "over m - 1": (lambda *a: two_steps(*a, correction=1), 0, "another variance"),
        "no eps": (lambda x, g, b, eps: two_steps(x, g, b, 0.0), 0, "eps is missing"),
        "eps outside": (
            lambda x, g, b, eps: g * (x - x.mean(0)) / (x.std(0, correction=0) + eps) + b,
            0,
            "not where it belongs",
        ),
        "step one alone": (lambda x, g, b, eps: two_steps(x, 1.0, 0.0, eps), 0, "step one alone"),
        "by row": (lambda *a: two_steps(*a, axis=1), 0, "units of an example"),
        "beta stretched": (lambda x, g, b, e: g * (two_steps(x, 1.0, b, e)), 0, "not beta as well"),
        "detached": (detached, 2, "look like constants"),
        "through numpy": (through_numpy, 2, "no gradient reaches"),
        "library": (
            lambda x, g, b, eps: F.batch_norm(x, None, None, g, b, True, 0.1, eps),
            0,
            "write it yourself",
        ),
    },
    "CumulativeNorm": {
        "over m - 1 in the batch": (UnbiasedBatch, 0, "divided by how many"),
        "over m in the memory": (BiasedMemory, 1, "collects the other"),
        "no eval mode": (NoEval, 1, "other rows of the batch"),
        "last batch": (LastBatch, 1, "last batch alone"),
        "forgets": (Forgetful, 1, "forgets old batches"),
        "remembers in eval mode": (RemembersAlways, 4, "eval mode changes"),
        "not saved": (NotSaved, 4, "state_dict"),
        "library": (Library, 0, "write it yourself"),
        "a function": (lambda units: lambda x: x, 0, "must be an nn.Module"),
    },
    "decide": {
        "by the mean": (by_the_mean, 0, "past both margins"),
        "without the margin": (without_margin, 0, "between the two margins"),
        "first edition": (first_edition, 0, "between the two margins"),
        "all else is small": (
            lambda *a: first_edition(*a, otherwise="too small to matter"),
            0,
            "past both margins",
        ),
        "small at zero": (small_when_it_crosses_zero, 0, "past both margins"),
        "small by the mean": (small_by_the_mean, 2, "past one margin only"),
        "doubtful inside": (doubtful_inside, 0, "between the two margins"),
        "unpaired": (unpaired, 0, "judged wrongly"),
        "normal": (lambda *a: decide(*a, factor=2.576), 3, "too sure"),
        "95 %": (lambda *a: decide(*a, level=0.975), 3, "too sure"),
        "biased spread": (lambda *a: decide(*a, correction=0), 3, "too sure"),
        "one direction": (one_direction, 0, "in one direction or both"),
        "always holds": (lambda a, b, m: "holds", 0, "judged wrongly"),
        "always undecided": (lambda a, b, m: "undecided", 0, "judged wrongly"),
        "other words": (lambda a, b, m: "yes", 0, "not one of the four"),
        "swapped": (lambda a, b, m: decide(b, a, m), 0, "judged wrongly"),
        "library": (decide_by_the_library, 0, "write it yourself: tricks_lib.law.interval"),
        "its verdict": (lambda a, b, m: tl.verdict(interval(a - b), m), 0, "tricks_lib.verdict"),
    },
    "train_and_validate": {
        "gradients add up": (with_bugs("gradient"), 0, "every step but the first"),
        "stays in eval mode": (with_bugs("mode"), 3, "the first epoch is right"),
        "validates on augmented images": (with_bugs("validation"), 3, "images as they are"),
        "no augmentation": (with_bugs("plain"), 0, "never augmented"),
        "never in eval mode": (with_bugs("no eval"), 0, "after one epoch"),
        "other optimizer": (other_optimizer, 0, "after one epoch"),
        "no accuracies": (lambda *a: loop(*a) and None, 3, "list of accuracies"),
        "zeros after the first": (
            loop_validated(lambda *a: a[-1] if a[-2] == 0 else 0.0),
            3,
            "validation accuracy",
        ),
        "the first again": (lambda *a: [loop(*a)[0]] * a[4], 3, "validation accuracy"),
        "validates in train mode": (loop_validated(in_train_mode), 3, "in its right mode"),
        "validates on training images": (
            loop_validated(on_the_training_images),
            3,
            "validation accuracy",
        ),
        "a constant": (loop_validated(lambda *a: 0.34), 3, "validation accuracy"),
    },
}
