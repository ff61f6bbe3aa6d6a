"""The helper library of *Tips and Tricks for Deep Learning*.

What a page teaches is written out in the page; this library only removes what would distract:
data, the training loop, many seeds, claims and plots.
"""

from . import clinic, faults, law, plots, probes
from ._version import __version__
from .check import check
from .claims import Claim, Claims, claim
from .clinic import patient
from .data import (
    Data,
    Text,
    cifar10,
    digits,
    drivers,
    fashion_mnist,
    glyphs,
    mnist,
    photo,
    shakespeare,
    text,
)
from .device import cpu_threads, device
from .experiment import Effect, Study, Sweep, compare, interaction, once, sweep, tuned
from .law import CONFIDENCE, LOOKS, MARGINS, verdict
from .models import cnn, imagenet_network, mlp, resnet, sentence_vectors, transformer
from .recorded import Recorded, recorded
from .train import History, accuracy, budget, evaluate, fit

__all__ = [
    "CONFIDENCE",
    "LOOKS",
    "MARGINS",
    "Claim",
    "Claims",
    "Data",
    "Effect",
    "History",
    "Recorded",
    "Study",
    "Sweep",
    "Text",
    "__version__",
    "accuracy",
    "budget",
    "check",
    "cifar10",
    "claim",
    "clinic",
    "cnn",
    "compare",
    "cpu_threads",
    "device",
    "digits",
    "drivers",
    "evaluate",
    "fashion_mnist",
    "faults",
    "fit",
    "glyphs",
    "imagenet_network",
    "interaction",
    "law",
    "mlp",
    "mnist",
    "once",
    "patient",
    "photo",
    "plots",
    "probes",
    "recorded",
    "resnet",
    "sentence_vectors",
    "shakespeare",
    "sweep",
    "text",
    "transformer",
    "tuned",
    "verdict",
]
