"""The bug clinic: opaque patients, tests to order one at a time, and diagnoses to choose from.

A patient is a training script, healthy or with one fault of ``tricks_lib.faults`` in it. Every test
prints its readings beside those of the healthy script on the same images and seed.

    >>> six = patient(6)
    >>> six.first_loss()
    >>> tl.check("bug_clinic.patient_6", "softmax twice")
"""

from __future__ import annotations

import copy
import inspect
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from . import plots
from .data import PARTS, Data, glyphs
from .device import cpu_threads
from .faults import BATCH_SIZE, BETTER, FAULTS, Fault, Script, batches, reports
from .probes import activations
from .train import accuracy, budget

NORMAL = "as expected"
NO_FAULT = "no fault"
# A loss so many times as high as the usual one is a spike.
SPIKE = 1.75
CASES = FAULTS | {NO_FAULT: Fault(Script, BETTER)}
#: What a patient can have.
DIAGNOSES = tuple(CASES)
# Who lies in which bed was drawn by lot; those who came later lie behind the others.
LATER = ["clipped while scaled", "log of zero", "overflow", "schedule first", "swapped betas"]
_EARLIER = sorted(CASES.keys() - set(LATER))
_LOT = random.Random(20)
PATIENTS = dict(
    enumerate([*_LOT.sample(_EARLIER, len(_EARLIER)), *_LOT.sample(LATER, len(LATER))], start=1)
)


@dataclass(frozen=True)
class Finding:
    """What a test shows.

    Attributes:
        sign: what a trained eye sees, in words; ``"as expected"`` when it is as in health.
        readings: name to number or text, as they are printed.
    """

    sign: str
    readings: dict[str, float | int | str]


@dataclass(frozen=True)
class Course:
    """A whole training run: the loss and the rate of each step, and the trained model."""

    script: Script
    data: Data
    model: nn.Module
    losses: Tensor
    rates: list[float]


Test = Callable[[type[Script], Data], Finding]


def pictures(seed: int) -> Data:
    """The clinic's images: 800 glyphs to train on, in grey, to keep it quick."""
    data = glyphs(seed, n_train=800, n_test=2000)
    names = [f"x_{part}" for part in PARTS]
    return data.replace(**{name: getattr(data, name).mean(1, keepdim=True) for name in names})


# ---- what several tests need --------------------------------------------------------------------


def admitted(script: type[Script], data: Data) -> tuple[Script, Data]:
    """A script that begins anew, and the data as it prepares them."""
    torch.manual_seed(data.seed)
    script = script()
    data = script.prepare(data)
    torch.manual_seed(data.seed)
    return script, data


def first_batch(script: Script, data: Data) -> tuple[Tensor, Tensor]:
    """The first batch in the script's own order."""
    index = script.order(data.y_train)[:BATCH_SIZE]
    return data.x_train[index], data.y_train[index]


def calmed(script: Script, data: Data) -> nn.Sequential:
    """The script's network, with nothing random left: no augmentation and no dropout."""
    script.reach = 0
    model = script.build(data)
    for layer in model:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return model


@lru_cache(maxsize=2)
def course(script: type[Script], data: Data, factor: float = 1.0) -> Course:
    """Train as the script does, at ``factor`` times its rate, and keep what happened."""
    script, data = admitted(script, data)
    model = script.build(data)
    optimizer = script.optimizer(model)
    for group in optimizer.param_groups:
        group["lr"] *= factor
    losses, rates = [], []
    optimizer.register_step_pre_hook(lambda it, *_: rates.append(it.param_groups[0]["lr"]))
    for x, y in batches(script, data, budget(250)):
        losses.append(script.step(model, optimizer, x, y))
    return Course(script, data, model, torch.tensor(losses), rates)


def trained(found: Course) -> nn.Module:
    """A copy of the trained model, in the mode in which training left it."""
    torch.manual_seed(found.data.seed)
    return copy.deepcopy(found.model).train()


def _as_one(tensors: list[Tensor]) -> Tensor:
    """Tensors of any shapes as one long vector."""
    return torch.cat([tensor.detach().flatten().float() for tensor in tensors])


def usual_and_highest(losses: Tensor) -> tuple[float, float]:
    """The median and the highest loss of the second half of a run."""
    late = losses[len(losses) // 2 :]
    return late.median().item(), late.max().item()


def first(signs: dict[str, bool]) -> str:
    """The first sign that is there, or ``"as expected"``."""
    return next((sign for sign, there in signs.items() if there), NORMAL)


# ---- tests before training ----------------------------------------------------------------------


def first_loss(script: type[Script], data: Data) -> Finding:
    """The loss before training; a blind guess has ln(classes)."""
    script, data = admitted(script, data)
    model, guess = script.build(data), math.log(data.num_classes)
    loss = script.loss(model(data.x_train[:BATCH_SIZE]), data.y_train[:BATCH_SIZE]).item()
    signs = {"not finite": not math.isfinite(loss), "off": abs(loss - guess) > 0.5}
    return Finding(first(signs), {"loss of the first batch": loss, "ln(classes)": guess})


def look_at_batch(script: type[Script], data: Data) -> Finding:
    """The classes of one batch; do labels fit the images?"""
    script, data = admitted(script, data)
    _, y = first_batch(script, data)
    x = data.x_train.nan_to_num().flatten(1)
    gaps = torch.cdist(x, x).fill_diagonal_(math.inf)
    alike = (data.y_train[gaps.argmin(dim=1)] == data.y_train).double().mean().item()
    classes = len(y.unique())
    signs = {"few classes": classes < data.num_classes / 2, "labels unlike looks": alike < 0.15}
    most = int(y.bincount().max())
    return Finding(
        first(signs),
        {
            "images in the batch": len(y),
            "classes among them": classes,
            "images of the commonest class": most,
            "share labelled as the image most like it": alike,
        },
    )


def look_at_data(script: type[Script], data: Data) -> Finding:
    """The numbers that the network is given."""
    _, data = admitted(script, data)
    x = data.x_train
    peaks = x.flatten(1).abs().amax(dim=1)
    far = int((peaks > 10 * peaks.nanmedian()).sum())
    broken, values = int((~x.isfinite()).sum()), len(x.unique())
    mean, deviation = x.mean().item(), x.std().item()
    signs = {
        "not finite": broken > 0,
        "few values": values < 10,
        "some far outside": 0 < far < len(x) / 10,
        "not centred": abs(mean) > 1e-4 or abs(deviation - 1) > 1e-4,
    }
    return Finding(
        first(signs),
        {
            "values that are not finite": broken,
            "distinct values": str(values) if values < 1000 else "over 1000",
            "smallest": x.min().item(),
            "largest": x.max().item(),
            "mean": f"{mean + 0.0:.4f}".replace("-0.0000", "0.0000"),
            "deviation": f"{deviation:.4f}",
            "images ten times as far out as others": far,
        },
    )


def split(script: type[Script], data: Data) -> Finding:
    """Training against report: equal images, bursts and days."""
    script, data = admitted(script, data)
    n, half = len(data.x_train), len(data.x_train) // 2
    seen = {image.numpy().tobytes() for image in data.x_train}
    equal = sum(image.numpy().tobytes() in seen for image in data.x_test[:half])
    burst, day = script.logbook(n, half)
    shared = int(torch.isin(burst[n:], burst[:n]).sum())
    signs = {
        "equal images": equal > 0,
        "bursts on both sides": shared > 0,
        "the same days": bool(day[n:].min() < day[:n].max()),
    }
    return Finding(
        first(signs),
        {
            "images of the report": half,
            "of them also in training, bit by bit": equal,
            "of them from a burst that is in training": shared,
            "days of the training": f"{day[:n].min()} to {day[:n].max()}",
            "days of the report": f"{day[n:].min()} to {day[n:].max()}",
        },
    )


def augmentation(script: type[Script], data: Data) -> Finding:
    """One batch augmented 64 times: only shifts by a pixel?"""
    script, data = admitted(script, data)
    x, _ = first_batch(script, data)
    x = x.nan_to_num()
    shifts = [x.roll((down, across), (2, 3)) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    drawn = [script.augment(x) for _ in range(64)]
    strange = sum(not any(torch.equal(one, shift) for shift in shifts) for one in drawn)
    return Finding(
        first({"more than a shift": strange > 0}),
        {"augmented batches": len(drawn), "of them more than a shift by a pixel": strange},
    )


def zeros(script: type[Script], data: Data) -> Finding:
    """Zeros behind ReLU and dropout, and among the logits."""
    script, data = admitted(script, data)
    model = script.build(data)
    x, _ = first_batch(script, data)
    layers = activations(model, x, (nn.ReLU, nn.Dropout)).values()
    logits = model(x)
    first_relu, dropped, second_relu = [_zeros(out) for out in layers][:3]
    taken = (dropped - first_relu) / max(1 - first_relu, 1e-9)
    signs = {
        "a layer is silent": max(first_relu, second_relu) == 1,
        "dropout takes most": taken > 0.5,
        "logits are cut": _zeros(logits) > 0.1,
    }
    return Finding(
        first(signs),
        {
            "zeros behind the first ReLU": first_relu,
            "zeros behind the dropout after it": dropped,
            "zeros behind the second ReLU": second_relu,
            "zeros among the logits": _zeros(logits),
        },
    )


def _zeros(values: Tensor) -> float:
    return (values == 0).double().mean().item()


def score_twice(script: type[Script], data: Data) -> Finding:
    """Its own evaluation, three times: equal scores?"""
    script, data = admitted(script, data)
    model = script.build(data)
    scores = {script.evaluate(model, data.x_val, data.y_val) for _ in range(3)}
    for layer in model:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    calm = {script.evaluate(model, data.x_val, data.y_val) for _ in range(3)}
    signs = {"random without dropout": len(calm) > 1, "random": len(scores) > 1}
    words = {True: "equal", False: "they differ"}
    return Finding(
        first(signs),
        {
            "three scores of one model": words[len(scores) == 1],
            "three scores with dropout taken out": words[len(calm) == 1],
        },
    )


def perfect_predictions(script: type[Script], data: Data) -> Finding:
    """Its own evaluation of perfect predictions: 1?"""
    script, data = admitted(script, data)
    perfect = nn.functional.one_hot(data.y_val, data.num_classes).float()[:, :, None, None]
    score = script.evaluate(nn.Flatten(), perfect, data.y_val)
    return Finding(first({"not 1": score < 1}), {"score of perfect predictions": score})


# ---- tests of a few steps -----------------------------------------------------------------------


def one_batch(script: type[Script], data: Data) -> Finding:
    """Sixty steps on one batch, dropout off: learned by heart?"""
    script, data = admitted(script, data)
    model = calmed(script, data)
    optimizer = script.optimizer(model)
    x, y = first_batch(script, data)
    for _ in range(budget(60)):
        loss = script.step(model, optimizer, x, y)
    signs = {"not finite": not math.isfinite(loss), "not learned": not loss < 0.1}
    return Finding(first(signs), {"loss after 60 steps": loss})


def what_moved(script: type[Script], data: Data) -> Finding:
    """One step: what moved, how far, and is it downhill?"""
    script, data = admitted(script, data)
    model = calmed(script, data)
    optimizer = script.optimizer(model)
    x, y = first_batch(script, data)
    wanted = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(script.loss(model(x), y), wanted)
    before = [p.detach().clone() for p in model.parameters()]
    script.step(model, optimizer, x, y)
    pairs = list(zip(model.named_parameters(), before, strict=True))
    still = [name for (name, p), old in pairs if torch.equal(p, old)]
    moved = [p - old for (_, p), old in pairs if p.requires_grad]
    move, slope = (
        torch.cat([t.detach().flatten().float() for t in ts]) for ts in (moved, gradients)
    )
    broken = int((~move.isfinite()).sum())
    length = (move.norm() / (script.lr * slope.norm())).item()
    agreement = -nn.functional.cosine_similarity(move, slope, dim=0).item()
    signs = {
        "not finite": broken > 0,
        "hardly at all": 0 < length < 0.01,
        "still: " + ", ".join(still): bool(still),
        "too far": length > 2,
        "another way": agreement < 0.8,
    }
    return Finding(
        first(signs),
        {
            "type of the numbers": str(model[1].weight.dtype).removeprefix("torch."),
            "weights that are not finite after it": broken,
            "tensors that did not move": ", ".join(still) or "none",
            "length of the step, in rates x gradients": length,
            "agreement with the way downhill, at most 1": agreement,
        },
    )


def gradient_norms(script: type[Script], data: Data) -> Finding:
    """Five gradients on one batch, at hardly any rate."""
    script, data = admitted(script, data)
    model = calmed(script, data)
    optimizer = script.optimizer(model)
    for group in optimizer.param_groups:
        group["lr"] = 1e-6
    x, y = first_batch(script, data)
    norms = []
    for _ in range(5):
        script.step(model, optimizer, x, y)
        found = [p.grad for p in model.parameters() if p.grad is not None]
        norms.append(_as_one(found).norm().item())
    signs = {
        "not finite": not math.isfinite(norms[0]),
        "not finite later": not all(map(math.isfinite, norms)),
        "grows": norms[-1] > 2 * norms[0],
    }
    steps = {f"gradient of step {step}": norm for step, norm in enumerate(norms, start=1)}
    return Finding(first(signs), steps)


# ---- tests of a whole run -----------------------------------------------------------------------


def watch_loss(script: type[Script], data: Data) -> Finding:
    """The loss batch by batch, not smoothed."""
    losses = course(script, data).losses
    broken = [step for step, loss in enumerate(losses.tolist(), 1) if not math.isfinite(loss)]
    usual, highest = usual_and_highest(losses)
    failed = f"{losses[broken[0] - 1]:.0f}" if broken else "none"
    signs = {
        "infinite": failed.endswith("inf"),
        "not finite": bool(broken),
        "does not fall": usual > losses[0] - 0.15,
        "spikes": highest > SPIKE * usual,
    }
    return Finding(
        first(signs),
        {
            "loss of the first batch": losses[0].item(),
            "usual loss of the second half": usual,
            "highest loss of the second half": highest,
            "first step with a loss that is not finite": broken[0] if broken else "none",
            "that loss": failed,
        },
    )


def rates(script: type[Script], data: Data) -> Finding:
    """The rate that the optimizer holds, against the settings."""
    found = course(script, data)
    wanted, held = found.script.lr, found.rates
    signs = {
        "not that of the settings": not math.isclose(held[0], wanted),
        "gone early": held[len(held) // 4] < held[0] / 100,
    }
    places = {1: 0, 16: 15, 62: 61, 250: 249}
    shown = {f"at step {step}": f"{held[at]:.3g}" for step, at in places.items() if at < len(held)}
    return Finding(first(signs), {"in the settings": f"{wanted:.3g}", **shown})


def other_rates(script: type[Script], data: Data) -> Finding:
    """The whole run at a tenth of its rate, and at ten times."""
    runs = {
        "a tenth of its": course(script, data, 0.1),
        "its": course(script, data),  # as the other tests call it, so that it is trained once
        "ten times its": course(script, data, 10.0),
    }
    found = {}
    for words, run in runs.items():
        score = run.script.evaluate(trained(run), run.data.x_val, run.data.y_val)
        found[f"validation accuracy at {words} rate"] = score
    low, same, _ = found.values()
    jumps = [usual_and_highest(run.losses) for run in list(runs.values())[:2]]
    calm, wild = (highest / usual for usual, highest in jumps)
    signs = {
        "calmer at a lower rate": wild > 2 * calm,
        "a lower rate is far better": low > same + 0.15,
    }
    return Finding(
        first(signs),
        {
            **found,
            "highest over usual loss at a tenth of its rate": calm,
            "highest over usual loss at its rate": wild,
        },
    )


def train_against_eval(script: type[Script], data: Data) -> Finding:
    """The loss as printed in training, against that in eval()."""
    found = course(script, data)
    script, data = found.script, found.data
    model = trained(found).eval()
    with torch.no_grad():
        logits = {part: model(getattr(data, f"x_{part}")) for part in ("train", "val")}
    losses = {part: script.loss(out, getattr(data, f"y_{part}")) for part, out in logits.items()}
    judged = accuracy(logits["val"], data.y_val)
    own = script.evaluate(trained(found), data.x_val, data.y_val)
    signs = {"near a guess": judged < 0.15, "its own score differs": abs(own - judged) > 0.04}
    return Finding(
        first(signs),
        {
            "training loss, printed in the last epoch": found.losses[-16:].mean().item(),
            "training loss in eval()": losses["train"].item(),
            "validation loss in eval()": losses["val"].item(),
            "validation accuracy in eval()": judged,
            "validation accuracy, as the script says": own,
        },
    )


def fresh_images(script: type[Script], data: Data) -> Finding:
    """The reported score, against that on images of its users."""
    found = course(script, data)
    scores = reports(found.script, trained(found), found.data)
    gap = scores["overstated_accuracy"]
    signs = {"report too high": gap > 0.08, "report too low": gap < -0.1}
    return Finding(
        first(signs),
        {
            "accuracy that the script reports": scores["reported_accuracy"],
            "accuracy on fresh images": scores["true_accuracy"],
        },
    )


#: The tests on offer, the cheapest first.
TESTS: dict[str, Test] = {
    test.__name__: test
    for test in (
        first_loss,
        look_at_batch,
        look_at_data,
        split,
        augmentation,
        zeros,
        score_twice,
        perfect_predictions,
        one_batch,
        what_moved,
        gradient_norms,
        watch_loss,
        rates,
        other_rates,
        train_against_eval,
        fresh_images,
    )
}


def signs(script: type[Script], data: Data) -> dict[str, str]:
    """The sign that each test shows for a script."""
    return {name: test(script, data).sign for name, test in TESTS.items()}


def examine(data: Data, script: type[Script]) -> dict[str, float]:
    """An arm for ``compare``: which tests raise an alarm, and whether any does (``all``)."""
    found = {name: float(sign != NORMAL) for name, sign in signs(script, data).items()}
    return found | {"all": max(found.values())}


# ---- patients -----------------------------------------------------------------------------------

SEED = 30


@lru_cache(maxsize=1)
def _images() -> Data:
    return pictures(SEED)


@lru_cache(maxsize=256)
def finding(test: str, diagnosis: str) -> Finding:
    """What a test shows in a patient with this diagnosis, on the clinic's own images."""
    with torch.random.fork_rng(devices=[]), cpu_threads():
        return TESTS[test](CASES[diagnosis].script, _images())


class Patient:
    """A training script that came with a complaint. Its methods are the tests on offer.

    Attributes:
        number: from 1 to 33; who has which fault was drawn by lot.
        complaint: what its owner says.
        ordered: the tests that were ordered so far.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.complaint = CASES[PATIENTS[number]].complaint
        self.ordered: list[str] = []

    def __repr__(self) -> str:
        tests = ", ".join(self.ordered) or "none"
        return f"patient {self.number}: {self.complaint}\ntests ordered so far: {tests}"

    def order(self, test: str) -> None:
        """Order a test by its name; it prints its readings beside those of a healthy script.

        Raises:
            ValueError: the clinic has no such test.
        """
        if test not in TESTS:
            raise ValueError(f"there is no test {test!r}; the clinic has {', '.join(TESTS)}.")
        if test not in self.ordered:
            self.ordered.append(test)
        diagnosis = PATIENTS[self.number]
        here, health = (finding(test, who).readings for who in (diagnosis, NO_FAULT))
        print(_table(f"patient {self.number}: {test.replace('_', ' ')}", here, health))
        if test == "look_at_batch":
            _show_batch(CASES[diagnosis].script)

    def reveal(self) -> None:
        """Give up, or look back: the diagnosis, and the code that is at fault."""
        diagnosis = PATIENTS[self.number]
        print(f"patient {self.number}: {diagnosis}\n")
        print(inspect.getsource(CASES[diagnosis].script).rstrip())


def _orders(test: str) -> Callable[[Patient], None]:
    """The method of a patient that orders this test."""

    def method(self: Patient) -> None:
        self.order(test)

    method.__name__, method.__doc__ = test, TESTS[test].__doc__
    return method


for _test in TESTS:  # patient(6).first_loss() and so on
    setattr(Patient, _test, _orders(_test))


def patient(number: int) -> Patient:
    """Admit a patient, who has told nobody yet what is wrong.

    Raises:
        ValueError: there is no such number.
    """
    if number not in PATIENTS:
        raise ValueError(f"there is no patient {number!r}: the clinic has 1 to {len(PATIENTS)}.")
    return Patient(number)


def waiting_room() -> None:
    """Print what each patient complains of."""
    for complaint in dict.fromkeys(case.complaint for case in CASES.values()):
        who = [str(n) for n, name in PATIENTS.items() if CASES[name].complaint == complaint]
        print(f"{complaint}\n    patient{'s' * (len(who) > 1)} {', '.join(who)}")


def _table(title: str, here: dict, health: dict) -> str:
    """Readings of a script and of the healthy one in two columns."""
    rows = [(name, _word(value), _word(health.get(name, ""))) for name, value in here.items()]
    wide = max(len(title), *(len(name) + 2 for name, _, _ in rows))
    lines = [f"{title:<{wide}}  {'this script':>12}  {'healthy':>9}"]
    for name, mine, healthy in rows:
        if len(mine) > 12:  # a list of names: it needs a line of its own
            lines += [f"  {name:<{wide - 2}}  {'see below':>12}  {healthy:>9}", f"    {mine}"]
        else:
            lines.append(f"  {name:<{wide - 2}}  {mine:>12}  {healthy:>9}")
    return "\n".join(lines) + "\n"


def _word(value: float | int | str) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _show_batch(script: type[Script]) -> None:
    """The first images of the first batch, with their labels."""
    with torch.random.fork_rng(devices=[]), cpu_threads():
        x, y = first_batch(*admitted(script, _images()))
    x = x[:10].nan_to_num()
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    titles = [str(int(label)) for label in y[:10]]
    plots.show_images((x - low) / (high - low + 1e-6), titles, columns=10)
