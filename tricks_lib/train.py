"""One training run: ``fit`` trains a network and gives back a ``History``."""

from __future__ import annotations

import inspect
import math
import numbers
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .data import Data
from .device import cpu_threads, describe
from .device import device as best_device

Metric = Callable[[Tensor, Tensor], float]

# Below this many weights a GPU spends its time on launching kernels, not on arithmetic, and
# half-precision only adds casts.
_MIXED_PRECISION_FROM = 2_000_000

# What the runs of `fit` used, for whoever listens: `compare` puts it into a claim's conditions.
_NOTES: ContextVar[list[dict[str, object]] | None] = ContextVar("notes", default=None)


def budget(steps: int) -> int:
    """``steps``, times ``TRICKS_BUDGET`` from the environment.

    ``fit`` multiplies its own steps. A loop that a page writes out asks here, so that ``make
    stress BUDGET=2`` can ask every verdict whether it survives twice the training.

    Raises:
        ValueError: ``TRICKS_BUDGET`` is no number above 0.
    """
    text = os.environ.get("TRICKS_BUDGET") or "1"
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < math.inf:
        raise ValueError(f"TRICKS_BUDGET={text!r} must be a number above 0, such as 2.")
    return max(1, round(steps * factor))


@contextmanager
def noting() -> Iterator[list[dict[str, object]]]:
    """Collect what every ``fit`` inside the block used: images, steps, network, optimizer."""
    notes: list[dict[str, object]] = []
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


def noted() -> list[dict[str, object]] | None:
    """The notes that are being collected around here, or None."""
    return _NOTES.get()


def _note(data: Data, model: nn.Module, diverged: bool, **settings: object) -> None:
    notes = _NOTES.get()
    if notes is not None:
        network = _network(model)
        notes.append({"images": len(data.x_train), **settings, "network": network})
        notes[-1]["diverged"] = diverged


def _network(model: nn.Module) -> str:
    """A network in words: its layers with weights and how many weights there are in all."""
    layers = [m for m in model.modules() if isinstance(getattr(m, "weight", None), Tensor)]
    wide = [m for m in layers if m.weight.dim() > 1]
    names = [f"{type(m).__name__.removesuffix('2d')} {m.weight.shape[0]}" for m in wide]
    shown = ", ".join(names) if len(names) <= 6 else f"{len(names)} layers"
    norms = sorted({type(m).__name__ for m in layers if m.weight.dim() == 1})
    count = sum(p.numel() for p in model.parameters())
    return f"{', '.join([shown, *norms])}; {count:,} weights"


@dataclass(frozen=True)
class History:
    """What one run of ``fit`` left behind.

    Attributes:
        curve: a row per record: ``step``, ``epoch``, ``train_loss`` (mean since the last record),
            ``val_loss`` and the validation metrics, such as ``val_accuracy``.
        test: metrics on the test set, measured once, after the last step.
        diverged: the training loss or a weight became NaN or infinite. Its scores are then those
            of a blind guess. A validation loss alone that is not finite is kept as it is.
        seconds: wall time of the training loop.
        device: where it ran, in words.
    """

    curve: pd.DataFrame
    test: dict[str, float]
    diverged: bool
    seconds: float
    device: str

    @property
    def metrics(self) -> dict[str, float]:
        """The final numbers by name, such as ``train_loss`` and ``test_accuracy``."""
        last = self.curve.iloc[-1].drop(["step", "epoch"]).to_dict()
        test = {f"test_{name}": value for name, value in self.test.items()}
        return {**last, **test, "diverged": float(self.diverged)}

    def __getattr__(self, name: str) -> float:
        # history.test_accuracy reads better than history.metrics["test_accuracy"].
        if not name.startswith(("train_", "val_", "test_")):
            raise AttributeError(name)
        if name not in self.metrics:
            raise AttributeError(f"this History has no {name!r}; it has {sorted(self.metrics)}.")
        return self.metrics[name]


def accuracy(logits: Tensor, y: Tensor) -> float:
    """The share of rows of ``logits`` (n, classes) whose largest entry stands at ``y`` (n,)."""
    return (logits.argmax(dim=1) == y).double().mean().item()


def evaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    metrics: dict[str, Metric] | None = None,
    batch_size: int = 4096,
) -> dict[str, float]:
    """Measure a model in eval mode and without gradients; all modes are put back afterwards.

    Args:
        model: gives logits (n, classes), or predictions shaped like ``y``.
        x: inputs (n, ...). They are moved to the model's device, batch by batch.
        y: targets (n,): whole numbers for classes, or floats for a regression.
        loss: default cross-entropy for classes, mean squared error for floats.
        metrics: name to function of (logits, y); default accuracy for classes, none for floats.
        batch_size: examples at a time; it does not change the result.

    Returns:
        ``{"loss": ..., "accuracy": ...}``.

    Raises:
        ValueError, TypeError: what the model gives does not fit the targets.
    """
    loss, metrics = loss or _default_loss(y), _default_metrics(y) if metrics is None else metrics
    where = next((p.device for p in model.parameters()), x.device)
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            parts = [_tensor_of(model(part.to(where))).float() for part in x.split(batch_size)]
    finally:
        for part, training in modes:
            part.training = training
    logits, y = torch.cat(parts), y.to(where)
    scores = {"loss": loss(logits, y).item()}
    return scores | {name: metric(logits, y) for name, metric in metrics.items()}


def fit(
    model: nn.Module,
    data: Data,
    *,
    lr: float = 0.1,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    num_epochs: int = 10,
    num_steps: int | None = None,
    batch_size: int = 64,
    augment: Callable[[Tensor], Tensor] | None = None,
    schedule: Callable[[float], float] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    metrics: dict[str, Metric] | None = None,
    record_every: int | None = None,
    on_step: Callable[[nn.Module, int], bool | None] | None = None,
    seed: int | None = None,
    device: torch.device | str | None = None,
    mixed_precision: bool | None = None,
) -> History:
    """Train ``model`` on ``data.x_train`` and measure it on the validation and test parts.

    The data stay in memory, on the device when they fit, and batches are cut out of them: for
    small data that is much faster than a ``DataLoader``. Each epoch goes through the training
    images in a fresh order; a last batch that would be smaller than the others is left out.

    Args:
        model: a network from inputs to logits (n, classes), or for a regression to numbers
            shaped like its targets. It is trained in place; it ends in eval mode, on the device
            that it came from. A part that you put into eval mode, while the model as a whole is
            in training mode, trains in eval mode: ``model[2].eval()`` keeps the statistics of a
            batch norm. After a first ``fit``, call ``model.train()`` before it.
        data: training, validation and test parts.
        lr: learning rate.
        optimizer: called as ``optimizer(list(model.parameters()), lr=lr)``. Further settings go
            in with ``functools.partial(torch.optim.SGD, momentum=0.9)``.
        num_epochs: passes through the training data. ``TRICKS_BUDGET=2`` doubles it.
        num_steps: the exact number of updates; it replaces ``num_epochs``.
        batch_size: examples per update; all of them when the data are fewer.
        augment: changes each training batch (batch, channels, height, width), shape kept. A
            transform of torchvision's throws its dice once a call; it is called image by image.
            A function that gives it the whole batch is refused.
        schedule: from the share of training done, 0 to 1, to a factor on ``lr``.
        loss: default cross-entropy for whole-number targets, mean squared error for floats.
        metrics: name to function of (logits, y); default accuracy for classes.
        record_every: steps between two rows of the curve; default an epoch, or a tenth of
            ``num_steps``.
        on_step: called as ``on_step(model, step)`` after each update, to watch what happens.
            When it gives back True, training stops there, with a last record.
        seed: of the batch order; default the data's own seed.
        device: default the fastest one here.
        mixed_precision: bfloat16 arithmetic where it is safe. Default: on GPUs that have it, for
            networks that are large enough to gain by it.

    Returns:
        A ``History``. A loss that is not finite ends the run and is recorded, not raised.

    Raises:
        ValueError, TypeError: an argument out of range, or a model, optimizer, schedule or
            augmentation that this loop cannot use, named with its mend.
    """
    _check(model, data, lr, optimizer, schedule)
    seed = int(data.seed if seed is None else seed)
    num_epochs = _count("num_epochs", num_epochs)
    batch_size = _count("batch_size", batch_size)
    num_steps = None if num_steps is None else _count("num_steps", num_steps)
    record_every = None if record_every is None else _count("record_every", record_every)
    augment = _image_by_image(augment, data.shape)
    where = torch.device(device) if device is not None else best_device()
    home = next(model.parameters()).device
    model.to(where)
    use_loss = loss or _default_loss(data.y_train, data.y_val, data.y_test)
    held = data.to(where) if _fits(data, where) else data
    batch_size = min(batch_size, len(held.x_train))
    steps_per_epoch = len(held.x_train) // batch_size
    total = budget(num_steps or num_epochs * steps_per_epoch)
    # A longer budget keeps the number of records, so that a page sees curves of the same length.
    every = budget(record_every or (max(1, num_steps // 10) if num_steps else steps_per_epoch))
    with cpu_threads():
        start = time.perf_counter()
        rows, diverged = _loop(
            model,
            held,
            _made(optimizer, model, lr),
            _batches(len(held.x_train), batch_size, total, seed),
            loss=use_loss,
            augment=augment,
            schedule=schedule,
            on_step=on_step,
            record_at=lambda step: step % every == 0 or step == total,
            measure=lambda: evaluate(model, held.x_val, held.y_val, loss=use_loss, metrics=metrics),
            total=total,
            autocast=_autocast(model, where, mixed_precision),
        )
        seconds = time.perf_counter() - start
        test = evaluate(model, held.x_test, held.y_test, loss=use_loss, metrics=metrics)
    if diverged:
        rows[-1].update(_prefixed("val_", _blind_guess(data.y_val, data.num_classes, metrics)))
        test = _blind_guess(data.y_test, data.num_classes, metrics)
    model.to(home).eval()
    name = getattr(optimizer, "func", optimizer)
    name = getattr(name, "__name__", str(name))
    _note(data, model, diverged, steps=total, batch_size=batch_size, optimizer=name, lr=lr)
    curve = pd.DataFrame(rows)
    curve.insert(1, "epoch", curve["step"] / steps_per_epoch)
    return History(curve, test, diverged, seconds, describe(where))


def _loop(
    model: nn.Module,
    data: Data,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Tensor],
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    augment: Callable[[Tensor], Tensor] | None,
    schedule: Callable[[float], float] | None,
    on_step: Callable[[nn.Module, int], bool | None] | None,
    record_at: Callable[[int], bool],
    measure: Callable[[], dict[str, float]],
    total: int,
    autocast: Any,
) -> tuple[list[dict[str, float]], bool]:
    """The loop itself: forward, backward, step; now and then a record."""
    where = next(model.parameters()).device
    base_lrs = [group["lr"] for group in optimizer.param_groups]
    rows: list[dict[str, float]] = []
    losses: list[Tensor] = []
    _into_training(model)
    for step, index in enumerate(batches, start=1):
        index = index.to(data.x_train.device)
        # no copy when the data are on the device already
        x = data.x_train[index].to(where, non_blocking=True)
        y = data.y_train[index].to(where, non_blocking=True)
        if augment is not None:
            x = augment(x)
        if schedule is not None:
            for group, base in zip(optimizer.param_groups, base_lrs, strict=True):
                group["lr"] = base * schedule((step - 1) / total)
        with autocast:
            batch_loss = loss(_tensor_of(model(x)), y)
        optimizer.zero_grad(set_to_none=True)
        batch_loss.backward()
        optimizer.step()
        # Kept on the device: reading a number from a GPU at every step would make it wait.
        losses.append(batch_loss.detach())
        answer = on_step(model, step) if on_step is not None else None
        stop = isinstance(answer, bool | np.bool_) and bool(answer)
        if stop or record_at(step):
            mean_loss = torch.stack(losses).mean().item()
            rows.append({"step": step, "train_loss": mean_loss} | _prefixed("val_", measure()))
            if not math.isfinite(mean_loss):
                return rows, True
            losses.clear()
        if stop:
            break
    # The last update itself can overflow the weights, or what is computed with them.
    diverged = not all(p.detach().isfinite().all() for p in model.parameters())
    if not diverged and not math.isfinite(rows[-1]["val_loss"]):
        some = slice(4096)  # broken weights, or a broken validation part? Training images tell
        x, y = data.x_train[some], data.y_train[some]
        diverged = not math.isfinite(evaluate(model, x, y, loss=loss, metrics={})["loss"])
    return rows, diverged


def _batches(n: int, batch_size: int, steps: int, seed: int) -> Iterable[Tensor]:
    """Indices of one batch per step: a fresh order each epoch, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    done = 0
    while done < steps:
        order = torch.randperm(n, generator=generator)
        for start in range(0, n - batch_size + 1, batch_size):
            if done == steps:
                return
            done += 1
            yield order[start : start + batch_size]


def _into_training(model: nn.Module) -> None:
    """Training mode for all but the parts that were put into eval mode on purpose."""
    kept = [part for part in model.modules() if not part.training] if model.training else []
    model.train()
    for part in kept:
        part.training = False


def _made(optimizer: Callable[..., torch.optim.Optimizer], model: nn.Module, lr: float) -> Any:
    """The optimizer, made with a list, which can be gone through more than once.

    Frozen parameters are in it too: `on_step` may thaw them, and until then they have no gradient.
    """
    made = optimizer(list(model.parameters()), lr=lr)
    if not (hasattr(made, "step") and hasattr(made, "param_groups")):
        raise TypeError(
            f"optimizer gave back a {type(made).__name__}: let it give back a "
            "torch.optim.Optimizer."
        )
    required = inspect.signature(made.step).parameters.values()
    if any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in required):
        raise ValueError(
            f"{type(made).__name__} asks for the loss several times a step, which fit does not do: "
            "take torch.optim.SGD or Adam, or write its loop by hand."
        )
    return made


def _image_by_image(augment: Callable[[Tensor], Tensor] | None, shape: tuple[int, ...]) -> Any:
    """Let each image have its own dice, where torchvision would throw them once for a batch."""
    if augment is None:
        return None
    if not callable(augment):
        raise TypeError(f"augment={augment!r} must be a function from a batch to a batch.")
    inner = augment
    while isinstance(inner, partial | MethodType):
        inner = inner.func if isinstance(inner, partial) else inner.__self__
    parts = list(inner.modules()) if isinstance(inner, nn.Module) else [inner]
    if not any(_is_torchvisions(part) for part in parts):
        _refuse_one_coin(augment, inner, shape)
        return augment
    names = [kind.__name__ for part in parts for kind in type(part).__mro__]
    if any(name in ("MixUp", "CutMix") for name in names):
        raise ValueError(
            "MixUp and CutMix change the labels too, which augment does not see: mix inside a loop "
            "of your own."
        )
    return lambda batch: torch.stack([augment(image) for image in batch])


def _is_torchvisions(thing: Any) -> bool:
    kinds = type(thing).__mro__
    return any(kind.__module__.startswith("torchvision.transforms") for kind in kinds)


def _refuse_one_coin(augment: Callable, function: Any, shape: tuple[int, ...]) -> None:
    """A function of the reader's that hands a whole batch to a transform of torchvision's.

    It is tried on copies of one image: all come out alike, and differ from call to call. The
    random numbers of the training go on as if nothing had happened.
    """
    if not isinstance(function, FunctionType):
        return
    try:
        used = inspect.getclosurevars(function)
    except ValueError:  # it names something that does not exist yet
        return
    held = [*used.globals.values(), *used.nonlocals.values(), *(function.__defaults__ or ())]
    given = (augment.args, augment.keywords.values()) if isinstance(augment, partial) else ()
    held += [value for values in given for value in values]
    names = [type(thing).__name__ for thing in held if callable(thing) and _is_torchvisions(thing)]
    if not names:
        return
    states = random.getstate(), np.random.get_state()
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.random.fork_rng():
            calls = [augment(image.repeat(4, *[1] * image.ndim)) for _ in range(16)]
    except Exception:  # training will say what is wrong
        return
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
    alike = all(torch.equal(call, call[:1].expand_as(call)) for call in calls)
    if alike and not all(torch.equal(call, calls[0]) for call in calls):
        raise ValueError(
            f"augment hands a whole batch to {names[0]}, which throws its dice once a call, so "
            "that all images change alike: give fit the transform itself, or let augment call it "
            "for each image, torch.stack([transform(image) for image in batch])."
        )


def _tensor_of(output: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(
            f"the model gives back a {type(output).__name__}: let its forward give back the logits "
            "alone."
        )
    return output


def _default_loss(*ys: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    if ys[0].is_floating_point():
        return _squared_error
    return partial(_cross_entropy, classes=1 + max(int(y.max()) for y in ys))


def _squared_error(output: Tensor, y: Tensor) -> Tensor:
    """Mean squared error; unlike shapes would quietly compare every row with every other."""
    if output.shape != y.shape:
        raise ValueError(
            f"the model gives {tuple(output.shape)} for targets {tuple(y.shape)}: give both one "
            "shape, by nn.Flatten(0) at the end of the model or by y[:, None]."
        )
    return nn.functional.mse_loss(output, y)


def _cross_entropy(output: Tensor, y: Tensor, classes: int) -> Tensor:
    """Cross-entropy of logits (n, classes, ...) with class numbers (n, ...)."""
    if output.ndim != y.ndim + 1 or output.shape[2:] != y.shape[1:] or len(output) != len(y):
        raise ValueError(
            f"the model gives {tuple(output.shape)} for labels {tuple(y.shape)}: let it give "
            "logits (n, classes), one for each class."
        )
    if output.shape[1] < classes:
        raise ValueError(
            f"the model gives {output.shape[1]} logits for {classes} classes: give its last layer "
            f"{classes} outputs."
        )
    return nn.functional.cross_entropy(output, y)


def _default_metrics(y: Tensor) -> dict[str, Metric]:
    return {} if y.is_floating_point() else {"accuracy": accuracy}


def _blind_guess(
    y: Tensor, num_classes: int, metrics: dict[str, Metric] | None
) -> dict[str, float]:
    """Scores for a run that diverged: what equal logits (or the mean of ``y``) would get."""
    if y.is_floating_point():
        return {"loss": y.var(unbiased=False).item()} | dict.fromkeys(metrics or {}, math.nan)
    known = {"accuracy": 1 / num_classes}
    names = ["accuracy"] if metrics is None else list(metrics)
    return {"loss": math.log(num_classes)} | {name: known.get(name, math.nan) for name in names}


def _prefixed(prefix: str, scores: dict[str, float]) -> dict[str, float]:
    return {prefix + name: value for name, value in scores.items()}


def _autocast(model: nn.Module, where: torch.device, wanted: bool | None) -> Any:
    """bfloat16 arithmetic, or a context that does nothing. bfloat16 needs no loss scaling."""
    if wanted is None:
        large = sum(p.numel() for p in model.parameters()) >= _MIXED_PRECISION_FROM
        # From compute capability 8.0 on the hardware has bfloat16; before, it is emulated.
        wanted = large and where.type == "cuda" and torch.cuda.get_device_capability(where)[0] >= 8
    return torch.autocast(where.type, dtype=torch.bfloat16) if wanted else nullcontext()


def _fits(data: Data, where: torch.device) -> bool:
    """Whether the data take less than half of the GPU's free memory (a CPU holds them already)."""
    if where.type != "cuda":
        return True
    size = sum(t.numel() * t.element_size() for t in (data.x_train, data.x_val, data.x_test))
    return size < torch.cuda.mem_get_info(where)[0] / 2


def _check(model: Any, data: Any, lr: float, optimizer: Any, schedule: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; give a torch.nn.Module, tl.cnn() say.")
    if not isinstance(data, Data):
        raise TypeError(f"data is a {type(data).__name__}; give a tl.Data, such as tl.glyphs().")
    if not callable(optimizer):
        raise TypeError(
            f"optimizer={optimizer!r} must be a function of (parameters, lr), such as "
            "torch.optim.SGD or functools.partial(torch.optim.SGD, momentum=0.9)."
        )
    if not lr > 0:
        raise ValueError(f"lr={lr} must be greater than 0; 0.1 is a start for SGD, 0.001 for Adam.")
    parameters = list(model.parameters())
    if not parameters:
        raise ValueError("this model has no parameters to train; add a layer, nn.Linear say.")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
        raise ValueError(
            "this model has lazy layers without a shape: call it once, model(data.x_train[:2]), "
            "before fit."
        )
    if not any(p.requires_grad for p in parameters):
        raise ValueError(
            "all parameters are frozen: call requires_grad_(True) on those that are to be trained."
        )
    made_by = getattr(schedule, "func", schedule)
    made_by = made_by if isinstance(made_by, type) else type(made_by)
    if schedule is not None and (
        not callable(schedule) or issubclass(made_by, torch.optim.lr_scheduler.LRScheduler)
    ):
        raise TypeError(
            f"schedule is a {made_by.__name__}: give a function from the share of training done, "
            "0 to 1, to a factor on lr, such as lambda done: 0.1 if done > 0.5 else 1.0."
        )


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number from 1 up.")
    return int(value)
