"""A healthy training script, and the faults that the bug clinic puts into it.

``Script`` is an ordinary training script cut into the steps that can go wrong: methods, in the
order in which they run. A fault is a subclass that replaces one of them, mostly by one line.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from .data import PARTS, Data
from .train import History, accuracy, budget

BATCH_SIZE = 50


class Script:
    """The healthy script.

    Attributes:
        lr: the learning rate that its settings name; 0.3 was the best of 0.03, 0.1, 0.3 and 1 in
            four trial runs with other seeds.
        reach: by how many pixels augmentation moves an image at most.
    """

    lr, reach = 0.3, 1

    # ---- the data

    def scale(self, pixels: Tensor) -> Tensor:  # bytes, 0 to 255
        return pixels / 255

    def statistics(self, data: Data) -> tuple[Tensor, Tensor]:
        return data.x_train.mean(), data.x_train.std()

    def labels(self, y: Tensor) -> Tensor:
        return y

    def prepare(self, data: Data) -> Data:
        pixels = {f"x_{p}": (255 * getattr(data, f"x_{p}")).round().byte() for p in PARTS}
        data = data.replace(**{part: self.scale(x).float() for part, x in pixels.items()})
        mean, std = self.statistics(data)
        scaled = {part: (getattr(data, part) - mean) / (std + 1e-6) for part in pixels}
        return data.replace(y_train=self.labels(data.y_train), **scaled)

    def logbook(self, n_train: int, n_report: int) -> tuple[Tensor, Tensor]:
        """Burst and day of all images, those of training first: by day, a burst for each image."""
        number = torch.arange(n_train + n_report)
        return number, number * 100 // len(number)

    # ---- the network and its optimizer

    def build(self, data: Data) -> nn.Sequential:
        return nn.Sequential(*layers(data))

    def optimizer(self, model: nn.Sequential) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=self.lr)

    # ---- training

    def order(self, y: Tensor) -> Tensor:
        return torch.randperm(len(y))

    def augment(self, x: Tensor) -> Tensor:
        across, down = torch.randint(-self.reach, self.reach + 1, (2,)).tolist()
        return x.roll((down, across), (2, 3))

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, y)

    def step(self, model: nn.Module, optimizer, x: Tensor, y: Tensor) -> float:
        loss = self.loss(model(self.augment(x)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    # ---- the score that it reports

    def evaluate(self, model: nn.Module, x: Tensor, y: Tensor) -> float:
        model.eval()
        with torch.no_grad():
            score = (model(x).argmax(dim=1) == y).double().mean().item()
        model.train()
        return score


def layers(data: Data) -> list[nn.Module]:
    """The layers of the script's network: two hidden ones, batch norm and dropout."""
    return [
        nn.Flatten(),
        nn.Linear(data.x_train[0].numel(), 128, bias=False),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, data.num_classes),
    ]


def run(
    data: Data,
    script: type[Script] = Script,
    num_steps: int = 250,
    every: int = 25,
    **settings: object,
) -> History:
    """Train by a script, and score the result as the script does and as a careful judge does.

    The script validates and reports by its own ``evaluate``. Its report is on the first
    test images, half as many as it trains on; all others are *fresh*: no script sees them, and the
    judge scores the model on them in ``eval()`` mode.

    Args:
        data: images in [0, 1]; ``data.seed`` seeds the run.
        script: a class; ``settings`` such as ``lr`` replace its attributes.
        num_steps: batches of 50; times ``TRICKS_BUDGET``.
        every: how many steps lie between two rows of the curve.

    Returns:
        A ``History``; its metrics are ``train_loss``, ``val_accuracy``, ``true_accuracy`` (the
        judge's), ``reported_accuracy``, and ``overstated_accuracy``, their difference.
    """
    script = script()
    vars(script).update(settings)
    data = script.prepare(data)
    torch.manual_seed(data.seed)
    model, rows, losses = script.build(data), [], []
    optimizer = script.optimizer(model)
    for step, (x, y) in enumerate(batches(script, data, budget(num_steps)), start=1):
        loss = script.step(model, optimizer, x, y)
        losses.append(loss if math.isfinite(loss) else math.log(data.num_classes))
        if step % every == 0:
            row = {"step": step, "epoch": step * BATCH_SIZE / len(data.x_train)}
            row["train_loss"] = sum(losses[-every:]) / every
            row["val_accuracy"] = script.evaluate(model, data.x_val, data.y_val)
            rows.append(row)
    scores = reports(script, model, data)
    return History(pd.DataFrame(rows).assign(**scores), {}, False, 0.0, "cpu")


def batches(script: Script, data: Data, num_steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of a script in its own order, epoch after epoch."""
    while num_steps > 0:
        for index in script.order(data.y_train).split(BATCH_SIZE)[:num_steps]:
            num_steps -= 1
            yield data.x_train[index], data.y_train[index]


def reports(script: Script, model: nn.Module, data: Data) -> dict[str, float]:
    """What the judge finds on fresh images, what the script reports, and the difference."""
    first = len(data.x_train) // 2
    reported = script.evaluate(model, data.x_test[:first], data.y_test[:first])
    with torch.no_grad():
        true = accuracy(model.eval()(data.x_test[first:]), data.y_test[first:])
    return {
        "true_accuracy": true,
        "reported_accuracy": reported,
        "overstated_accuracy": reported - true,
    }


# ---- faults of the data -------------------------------------------------------------------------


class IntegerDivision(Script):
    def scale(self, pixels):
        return pixels // 255


class MixedUnits(Script):  # one image holds 0 to 255 where all others hold 0 to 1
    def scale(self, pixels):
        scaled = super().scale(pixels)
        scaled[7] = pixels[7].float()
        return scaled


class BadPixel(Script):  # one pixel of one image could not be read, and came as nan
    def prepare(self, data):
        data = super().prepare(data)
        data.x_train[300, 0, 5, 5] = torch.nan
        return data


class LeakedStatistics(Script):  # mean and deviation of all images, test included
    def statistics(self, data):
        everything = torch.cat([data.x_train, data.x_val, data.x_test])
        return everything.mean(), everything.std()


class ShuffledLabels(Script):  # images and labels were put in order separately
    def labels(self, y):
        return y[torch.randperm(len(y))]


class UpsideDown(Script):  # one batch in sixteen is turned over: good for photographs of cells
    def augment(self, x):
        x = super().augment(x)
        return x.flip(2) if torch.rand(()) < 1 / 16 else x


# ---- faults of the split ------------------------------------------------------------------------


class LeakedImages(Script):  # half of the training images are the test images
    def prepare(self, data):
        n = len(data.x_train) // 2
        x = torch.cat([data.x_test[:n], data.x_train[n:]])
        y = torch.cat([data.y_test[:n], data.y_train[n:]])
        return super().prepare(data.replace(x_train=x, y_train=y))


class LeakedBursts(Script):  # bursts of two frames, dealt frame by frame: one for each side
    def prepare(self, data):
        n = len(data.x_train) // 2
        second = data.x_train[:n] + 0.02 * torch.randn(data.x_train[:n].shape)
        x = torch.cat([second.clamp(0, 1), data.x_test[n:]])
        y = torch.cat([data.y_train[:n], data.y_test[n:]])
        return super().prepare(data.replace(x_test=x, y_test=y))

    def logbook(self, n_train, n_report):
        burst, day = super().logbook(n_train, n_report)
        return torch.cat([burst[:n_train], burst[:n_report]]), day


class SplitByDay(Script):  # no fault: the camera slips, and the report is on later days
    report = (80, 100)

    def prepare(self, data):
        n = len(data.x_train) // 2
        report, fresh = slipped(data.x_test[:n], *self.report), slipped(data.x_test[n:], 80, 100)
        parts = {"x_train": slipped(data.x_train, 0, 80), "x_val": slipped(data.x_val, 0, 80)}
        return super().prepare(data.replace(x_test=torch.cat([report, fresh]), **parts))


class LeakedDays(SplitByDay):  # the report is on the days of the training; users come later
    report = (0, 80)

    def logbook(self, n_train, n_report):
        days = [torch.arange(n) * 80 // n for n in (n_train, n_report)]
        return super().logbook(n_train, n_report)[0], torch.cat(days)


def slipped(x: Tensor, first: int, last: int) -> Tensor:
    """Images, the first taken on the first day, the last on the last: ten days slip a pixel."""
    shifts = torch.linspace(first, last, len(x) + 1)[:-1] // 10
    return torch.stack([image.roll(int(by), 2) for image, by in zip(x, shifts, strict=True)])


# ---- faults of the order, of the loss and of the step -------------------------------------------


class SortedBatches(Script):  # files lie in a folder for each class; nobody shuffles
    def order(self, y):
        return y.argsort(stable=True)


class SoftmaxTwice(Script):
    def loss(self, logits, y):
        return nn.functional.cross_entropy(logits.softmax(dim=1), y)


class WrongAxis(Script):
    def loss(self, logits, y):
        return nn.functional.nll_loss(logits.log_softmax(dim=0), y)


class RootAtZero(Script):  # a term for distances in the batch; of an image to itself that is zero
    def loss(self, logits, y):
        distances = (logits[:, None] - logits[None]).pow(2).sum(dim=2).sqrt()
        return super().loss(logits, y) - 0.001 * distances.mean()


class LogOfZero(Script):  # the divergence from the labels, by hand: 0 * log 0 is nan
    def loss(self, logits, y):
        wanted, given = nn.functional.one_hot(y, logits.shape[1]), logits.softmax(dim=1)
        return (wanted * (wanted / given).log()).sum(dim=1).mean()


class KeptApart(Script):  # no fault: a term against outputs that are alike
    def loss(self, logits, y):
        return super().loss(logits, y) + 0.001 * (logits @ logits.T).flatten().logsumexp(dim=0)


class Overflow(Script):  # the same by hand: in float32, exp of 89 is infinite
    def loss(self, logits, y):
        return super().loss(logits, y) + 0.001 * (logits @ logits.T).exp().sum().log()


class NoZeroGrad(Script):
    def step(self, model, optimizer, x, y):
        loss = self.loss(model(self.augment(x)), y)
        loss.backward()
        optimizer.step()
        return loss.item()


class InParts(Script):  # no fault: a batch in five parts, for a memory that holds no more
    num_parts = 5

    def step(self, model, optimizer, x, y):
        optimizer.zero_grad()
        total = 0.0
        for part, labels in zip(x.chunk(self.num_parts), y.chunk(self.num_parts), strict=True):
            loss = self.loss(model(self.augment(part)), labels) / self.num_parts
            loss.backward()
            total += loss.item()
        optimizer.step()
        return total


class SummedParts(InParts):  # each part's loss is a mean; nobody divided by the number of parts
    def step(self, model, optimizer, x, y):
        optimizer.zero_grad()
        total = 0.0
        for part, labels in zip(x.chunk(self.num_parts), y.chunk(self.num_parts), strict=True):
            loss = self.loss(model(self.augment(part)), labels)
            loss.backward()
            total += loss.item() / self.num_parts
        optimizer.step()
        return total


class ClearedParts(InParts):  # zero_grad stands inside the loop, so that the last part alone counts
    def step(self, model, optimizer, x, y):
        total = 0.0
        for part, labels in zip(x.chunk(self.num_parts), y.chunk(self.num_parts), strict=True):
            loss = self.loss(model(self.augment(part)), labels) / self.num_parts
            optimizer.zero_grad()
            loss.backward()
            total += loss.item()
        optimizer.step()
        return total


class Scaled(Script):  # no fault: loss scaling, as for float16, and clipping at a length of 1
    def optimizer(self, model):
        self.scaler = torch.amp.GradScaler(model[1].weight.device.type)
        return super().optimizer(model)

    def step(self, model, optimizer, x, y):
        loss = self.loss(model(self.augment(x)), y)
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.scaler.step(optimizer)
        self.scaler.update()
        return loss.item()


class ClippedWhileScaled(Scaled):  # nobody called unscale_: step() divides what is clipped already
    def step(self, model, optimizer, x, y):
        loss = self.loss(model(self.augment(x)), y)
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.scaler.step(optimizer)
        self.scaler.update()
        return loss.item()


# ---- faults of the network and of the optimizer -------------------------------------------------


class FrozenLayer(Script):  # a line left over from transfer learning
    def build(self, data):
        model = super().build(data)
        model[1].requires_grad_(False)
        return model


class LateLayer(Script):  # the last layer is replaced after the optimizer was made
    def optimizer(self, model):
        optimizer = super().optimizer(model)
        model[-1] = nn.Linear(64, model[-1].out_features)
        return optimizer


class DeadUnits(Script):  # a bias for rare classes, meant for the last layer, given to all
    def build(self, data):
        model = super().build(data)
        for layer in (model[5], model[7]):
            nn.init.constant_(layer.bias, -4.6)
        return model


class CutLogits(Script):  # one activation too many
    def build(self, data):
        return nn.Sequential(*layers(data), nn.ReLU())


class KeptForDropped(Script):  # the paper names the share it keeps, 0.7; PyTorch's is what it drops
    def build(self, data):
        model = super().build(data)
        model[4] = nn.Dropout(0.7)
        return model


class TenTimesTheRate(Script):
    def optimizer(self, model):
        return torch.optim.SGD(model.parameters(), lr=10 * self.lr)


class ScheduleByEpoch(Script):  # no fault: the rate falls by a fifth after each epoch
    steps, every = 0, 16

    def optimizer(self, model):
        optimizer = super().optimizer(model)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
        return optimizer

    def step(self, model, optimizer, x, y):
        loss = super().step(model, optimizer, x, y)
        self.steps += 1
        if self.steps % self.every == 0:
            self.schedule.step()
        return loss


class ScheduleByBatch(ScheduleByEpoch):  # schedule.step() slipped into the loop over batches
    every = 1


class ScheduleFirst(ScheduleByEpoch):  # it steps before optimizer.step(): 0.3 is never used
    def step(self, model, optimizer, x, y):
        if self.steps % self.every == 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch does warn; the owner did not read it
                self.schedule.step()
        self.steps += 1
        return Script.step(self, model, optimizer, x, y)


class Adam(Script):  # no fault
    lr = 0.001

    def optimizer(self, model):
        return torch.optim.Adam(model.parameters(), lr=self.lr)


class FastAdam(Adam):  # no fault
    lr = 0.01


class SwappedBetas(FastAdam):  # the square of the gradient is forgotten sooner than the gradient
    def optimizer(self, model):
        return torch.optim.Adam(model.parameters(), lr=self.lr, betas=(0.999, 0.9))


class HalfPrecision(Adam):  # model.half(), where autocast was meant: Adam's eps, 1e-8, becomes 0
    def build(self, data):
        model = super().build(data)
        model[0] = HalfFlatten()
        return model.half()


class HalfFlatten(nn.Flatten):
    """Flattens, and turns the numbers into float16."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).half()


# ---- faults of the evaluation -------------------------------------------------------------------


class NoEval(Script):
    def evaluate(self, model, x, y):
        with torch.no_grad():
            return (model(x).argmax(dim=1) == y).double().mean().item()


class AugmentedTest(Script):
    def evaluate(self, model, x, y):
        x = torch.cat([self.augment(batch) for batch in x.split(50)])
        return super().evaluate(model, x, y)


class Broadcast(Script):  # labels of shape (n, 1) against predictions of shape (n,)
    def evaluate(self, model, x, y):
        return super().evaluate(model, x, y.unsqueeze(1))


# ---- no fault at all ----------------------------------------------------------------------------


class Mirrored(Script):  # the placebo: layers that are fully connected know no left and right
    def scale(self, pixels):
        return super().scale(pixels.flip(3))


# ---- all of them --------------------------------------------------------------------------------

STUCK = "The accuracy stays near a blind guess."
NAN = "The loss is nan."
SPIKES = "The loss falls, and now and then it jumps up."
LOW = "It learns, but others get more out of the same network."
BETTER = "The validation loss is lower than the training loss that we print."
USERS = "We reported a fine score. Those who use it see a worse one."
AUDIT = "All looks well. Before we publish, please check the script."


@dataclass(frozen=True)
class Fault:
    """A fault of the clinic.

    Attributes:
        script: the class of the script with this fault in it.
        complaint: what its owner says.
        over: the script without the fault that its bill compares it with, a key of ``HEALTHY``.
    """

    script: type[Script]
    complaint: str
    over: str = "healthy"


FAULTS = {
    "integer division": Fault(IntegerDivision, STUCK),
    "mixed units": Fault(MixedUnits, LOW),
    "bad pixel": Fault(BadPixel, NAN),
    "leaked statistics": Fault(LeakedStatistics, AUDIT),
    "shuffled labels": Fault(ShuffledLabels, STUCK),
    "upside down": Fault(UpsideDown, SPIKES),
    "leaked images": Fault(LeakedImages, USERS),
    "leaked bursts": Fault(LeakedBursts, USERS),
    "leaked days": Fault(LeakedDays, USERS, over="healthy, by day"),
    "sorted batches": Fault(SortedBatches, STUCK),
    "softmax twice": Fault(SoftmaxTwice, LOW),
    "wrong axis": Fault(WrongAxis, LOW),
    "root at zero": Fault(RootAtZero, NAN),
    "log of zero": Fault(LogOfZero, NAN),
    "overflow": Fault(Overflow, NAN, over="healthy, kept apart"),
    "no zero_grad": Fault(NoZeroGrad, STUCK),
    "summed parts": Fault(SummedParts, LOW, over="healthy, in parts"),
    "cleared parts": Fault(ClearedParts, LOW, over="healthy, in parts"),
    "clipped while scaled": Fault(ClippedWhileScaled, STUCK, over="healthy, scaled"),
    "rate x 10": Fault(TenTimesTheRate, STUCK),
    "schedule by batch": Fault(ScheduleByBatch, STUCK, over="healthy, by epoch"),
    "schedule first": Fault(ScheduleFirst, AUDIT, over="healthy, by epoch"),
    "swapped betas": Fault(SwappedBetas, SPIKES, over="healthy, fast Adam"),
    "half precision": Fault(HalfPrecision, NAN, over="healthy, Adam"),
    "frozen layer": Fault(FrozenLayer, LOW),
    "late layer": Fault(LateLayer, AUDIT),
    "dead units": Fault(DeadUnits, STUCK),
    "cut logits": Fault(CutLogits, AUDIT),
    "kept for dropped": Fault(KeptForDropped, BETTER),
    "no eval": Fault(NoEval, LOW),
    "augmented test": Fault(AugmentedTest, LOW),
    "broadcast": Fault(Broadcast, STUCK),
}
# Scripts without a fault: what bills compare with, and a placebo.
HEALTHY = {
    "healthy": Script,
    "healthy, by day": SplitByDay,
    "healthy, kept apart": KeptApart,
    "healthy, in parts": InParts,
    "healthy, scaled": Scaled,
    "healthy, by epoch": ScheduleByEpoch,
    "healthy, Adam": Adam,
    "healthy, fast Adam": FastAdam,
    "mirrored": Mirrored,
}
