"""Right answers in many styles: what `check` calls right in a notebook earns its points.

Each style is a notebook. Its cells are run in IPython, as a student runs them, and the last one
checks the answer; then the grader's runner reads the notebook's file, in a process of its own.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tests.coursework_helpers import FOUND, notebook_of
from tricks_lib.coursework import grade, rubric, runner, selfcheck

HEAD = "import copy\nimport math\n\nimport torch\nfrom torch import nn\n\nimport tricks_lib as tl"
QUESTIONS = {name: part for part, found in FOUND.items() for name in found.questions}
LIMIT = 8

# ------------------------------------------------------------------------------- right answers

MIN_MAX = """
def min_max(x_train, x_test):
    low, high = x_train.amin(0), x_train.amax(0)
    return (x_train - low) / (high - low), (x_test - low) / (high - low)
"""
STUB = 'def min_max(x_train, x_test):\n    raise NotImplementedError("your turn")'
SUMS = """
    def __init__(self, units, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("sums", torch.zeros(2, units))
        self.register_buffer("batches", torch.zeros(()))
"""
FORWARD = """
    def forward(self, x):
        if self.training:
            mean, var = x.mean(0), x.var(0, correction=0)
            with torch.no_grad():
                self.sums += torch.stack([mean, x.var(0)])
                self.batches += 1
        else:
            mean, var = self.sums / self.batches
        return (x - mean) / torch.sqrt(var + self.eps)
"""
NORM = f"class CumulativeNorm(nn.Module):{SUMS}{FORWARD}"
LOSS = """
def smoothed_loss(logits, y, smoothing):
    log_p = logits.log_softmax(1)
    right = log_p.gather(1, y[:, None]).mean()
    return -(1 - smoothing) * right - smoothing * log_p.mean()
"""
BASELINE = """
def baseline_loss(y_train, y_test, num_classes):
    counts = torch.bincount(y_train, minlength=num_classes) + 1
    return -torch.log(counts / counts.sum())[y_test].mean()
"""
SANE = """
def start_is_sane(model, x, y, tolerance):
    with torch.no_grad():
        logits = copy.deepcopy(model)(x)
    loss = nn.functional.cross_entropy(logits, y)
    return {}
"""
STOPPING = """
class EarlyStopping:
    def __init__(self, patience):
        self.patience, self.best, self.waited = patience, INF, 0

    def update(self, val_loss, model):
        self.waited += 1
        if val_loss < self.best:
            self.best, self.waited = val_loss, 0
            self.state = copy.deepcopy(model.state_dict())
        return self.waited >= self.patience

    def restore(self, model):
        model.load_state_dict(self.state)
"""
MOMENTUM = "    v = momentum * velocity + grad\n    return {}w - lr * v, v{}\n"
STEP = "def momentum_step(w, grad, velocity, lr, momentum):\n"
DECIDE = """
def decide(with_trick, without, margin):
    low, high = interval(with_trick - without)
    if low >= margin:
        return "holds"
    if high <= -margin:
        return "opposite"
    return "too small to matter" if max(-low, high) < margin else "undecided"
"""
INTERVAL = """
def interval(d):
    half = T(len(d) - 1) * d.std() / len(d) ** 0.5
    return d.mean() - half, d.mean() + half
"""
FLIP = """
def random_flip(x, y, safe):
    coins = {}
    chosen = torch.as_tensor(coins) & torch.isin(y, torch.tensor(safe))
    return torch.where(chosen[:, None, None, None], x.flip(3), x)
"""
SHIFT = """
def shift_images(x, right, down):
    height, width = x.shape[2:]
    rows, columns = torch.arange(height) - down, torch.arange(width) - right
    moved = x[
        :,
        :,
        rows
        % height,
    ][..., columns % width]
    inside = ((rows >= 0) & (rows < height))[:, None] & (columns >= 0) & (columns < width)
    return moved * inside
"""

STYLES: dict[str, tuple[str, list[str]]] = {
    # ---- how a function is made
    "a def": ("min_max", [MIN_MAX]),
    "a stub above": ("min_max", [STUB, MIN_MAX]),
    "a stub that was run again": ("min_max", [STUB, MIN_MAX, "# a note\n" + STUB, MIN_MAX]),
    "a lambda below the stub": (
        "min_max",
        [
            STUB,
            "scale = lambda x, by: (x - by.amin(0)) / (by.amax(0) - by.amin(0))",
            "min_max = lambda a, b: (scale(a, a), scale(b, a))",
        ],
    ),
    "another name below the stub": (
        "min_max",
        [STUB, MIN_MAX.replace("min_max", "my_scaler"), "min_max = my_scaler"],
    ),
    "two versions, the last is right": (
        "min_max",
        ["def min_max(a, b):\n    return a, b", MIN_MAX],
    ),
    "a partial": (
        "min_max",
        [
            "from functools import partial",
            MIN_MAX.replace("min_max(", "_scale(eps, ").replace(
                "(high - low)", "(high - low + eps)"
            ),
            "min_max = partial(_scale, 0.0)",
        ],
    ),
    "a callable object": (
        "min_max",
        [
            "class Scaler:\n    def __call__(self, a, b):\n        low, high = a.amin(0), a.amax(0)\n"
            "        return (a - low) / (high - low), (b - low) / (high - low)",
            "min_max = Scaler()",
        ],
    ),
    "a bound method": (
        "min_max",
        [
            "class Scaler:\n    def fit(self, a, b):\n        low, high = a.amin(0), a.amax(0)\n"
            "        return (a - low) / (high - low), (b - low) / (high - low)",
            "scaler = Scaler()\nmin_max = scaler.fit",
        ],
    ),
    "a closure": (
        "min_max",
        [
            f"def make():{MIN_MAX.replace(chr(10), chr(10) + '    ')}\n    return min_max",
            "min_max = make()",
        ],
    ),
    "scikit-learn": (
        "min_max",
        [
            "from sklearn.preprocessing import MinMaxScaler",
            "def min_max(a, b):\n    s = MinMaxScaler().fit(a)\n    return s.transform(a), s.transform(b)",
        ],
    ),
    "vmap": (
        "min_max",
        [
            "def one(a, b):\n    low, high = a.min(), a.max()\n"
            "    return (a - low) / (high - low), (b - low) / (high - low)",
            "min_max = torch.vmap(one, in_dims=1, out_dims=1)",
        ],
    ),
    "compose": (
        "min_max",
        [
            "compose = lambda f, g: lambda *a: f(g(*a))",
            MIN_MAX.replace("min_max", "scaled"),
            "min_max = compose(tuple, scaled)",
        ],
    ),
    "torch.no_grad": ("min_max", ["@torch.no_grad()" + MIN_MAX]),
    "a decorator of one's own": (
        "min_max",
        [
            "import functools\n\ndef logged(f):\n    @functools.wraps(f)\n    def g(*a):\n"
            "        return f(*a)\n    return g",
            "@logged" + MIN_MAX,
        ],
    ),
    "lru_cache on a helper": (
        "min_max",
        [
            "from functools import lru_cache\n\n@lru_cache\ndef one(): return torch.ones(())",
            MIN_MAX.replace("low, high =", "u = one()\n    low, high =").replace(
                "(high - low)", "(high - low) * u", 1
            ),
        ],
    ),
    "jit.script": (
        "momentum_step",
        [
            "@torch.jit.script\n"
            + STEP.replace("lr, momentum", "lr: float, momentum: float")
            + MOMENTUM.format("", "")
        ],
    ),
    "jit.script of a helper": (
        "momentum_step",
        [
            STEP.replace("momentum_step", "step").replace(
                "lr, momentum", "lr: float, momentum: float"
            )
            + MOMENTUM.format("", ""),
            "momentum_step = torch.jit.script(step)",
        ],
    ),
    "typed with future annotations": (
        "min_max",
        [
            "from __future__ import annotations",
            MIN_MAX.replace("x_train,", "x_train: Unknown | None,"),
        ],
    ),
    "wrapped afterwards": ("min_max", [MIN_MAX, "min_max = torch.no_grad()(min_max)"]),
    "the name is used again for a result": (
        "min_max",
        [
            MIN_MAX,
            'tl.check("data_processing.min_max", min_max)',
            "min_max = min_max(torch.rand(3, 2), torch.rand(3, 2))",
        ],
    ),
    # ---- where it stands
    "under with": ("min_max", ["with torch.no_grad():" + MIN_MAX.replace("\n", "\n    ")]),
    "under if hasattr": (
        "min_max",
        ['if hasattr(torch, "aminmax"):' + MIN_MAX.replace("\n", "\n    ")],
    ),
    "under if main": ("min_max", ['if __name__ == "__main__":' + MIN_MAX.replace("\n", "\n    ")]),
    "under try": (
        "min_max",
        ["try:" + MIN_MAX.replace("\n", "\n    ") + "\nexcept Exception:\n    raise"],
    ),
    "one of two": (
        "min_max",
        [
            "FAST = torch.__version__ > '1'\nif FAST:"
            + MIN_MAX.replace("\n", "\n    ")
            + "\nelse:\n    def min_max(a, b): return None"
        ],
    ),
    "in a loop": (
        "min_max",
        [
            "for power in (1,):"
            + MIN_MAX.replace("\n", "\n    ").replace("amax(0)", "amax(0) ** power")
        ],
    ),
    "an indented cell": ("min_max", [MIN_MAX.replace("\n", "\n    ")]),
    "with prompts": ("min_max", [">>> " + MIN_MAX.strip().replace("\n", "\n... ")]),
    "two statements in a line": ("min_max", ["import math; low = 3" + MIN_MAX]),
    # ---- magics
    "a magic above": ("min_max", ["%precision 3" + MIN_MAX]),
    "Black's per cent": (
        "shift_images",
        ["%precision 3\n" + SHIFT],
    ),
    "per cent in a text": (
        "min_max",
        [
            "%pip --version\n"
            + MIN_MAX.replace(
                "\n    low", '\n    """Scales.\n\n%timeit stands here\n!ls\n    """\n    low'
            )
        ],
    ),
    "time": ("min_max", ["%%time" + MIN_MAX]),
    "time a line": ("min_max", [MIN_MAX.replace("min_max", "f"), "%time min_max = f"]),
    "a question mark": ("min_max", ["torch.amin?" + MIN_MAX + "\nlen?"]),
    "a shell command": ("min_max", ["!true" + MIN_MAX, "here = !echo it\\'s here"]),
    "a magic in a block": (
        "min_max",
        ["if True:\n    %precision 4\n    SIDE = 2" + MIN_MAX],
    ),
    "a continued command": ("min_max", ["!echo one \\\n  two" + MIN_MAX]),
    "not equal": (
        "min_max",
        ["%precision 3" + MIN_MAX.replace("\n    low", "\n    assert (1\n        != 2)\n    low")],
    ),
    "a file written by a cell": (
        "min_max",
        [
            "%%writefile helper_of_a_style.py\n" + MIN_MAX.replace("min_max", "scale"),
            "from helper_of_a_style import scale",
            "min_max = scale",
        ],
    ),
    # ---- what it needs
    "a constant": ("min_max", ["AXIS = 0", MIN_MAX.replace("amin(0)", "amin(AXIS)")]),
    "a device": (
        "min_max",
        [
            'device = torch.device("cuda" if torch.cuda.is_available() else "cpu")',
            MIN_MAX.replace(
                "\n    low",
                "\n    x_train, x_test = x_train.to(device), x_test.to(device)\n    low",
            ),
        ],
    ),
    "a tensor": (
        "min_max",
        ["ZERO = torch.zeros(4)", MIN_MAX.replace(" / (high", " / (ZERO[0] + high")],
    ),
    "machine precision": (
        "min_max",
        [
            "EPS = torch.finfo(torch.float32).eps",
            MIN_MAX.replace("(high - low)", "(high - low).clamp(min=EPS)"),
        ],
    ),
    "namedtuple": (
        "momentum_step",
        [
            "from collections import namedtuple\nStep = namedtuple('Step', 'w v')",
            STEP + MOMENTUM.format("Step(", ")"),
        ],
    ),
    "dataclass": (
        "min_max",
        [
            "from dataclasses import dataclass\n\n@dataclass\nclass Range:\n    low: torch.Tensor\n    high: torch.Tensor\n\n"
            "    def scale(self, x):\n        return (x - self.low) / (self.high - self.low)",
            "def min_max(a, b):\n    r = Range(a.amin(0), a.amax(0))\n    return r.scale(a), r.scale(b)",
        ],
    ),
    "a helper below": (
        "min_max",
        [
            "def min_max(a, b):\n    return scale(a, a), scale(b, a)",
            "def scale(x, by):\n    return (x - by.amin(0)) / (by.amax(0) - by.amin(0))",
        ],
    ),
    "a helper made anew for a later question": (
        "min_max",
        [
            "def scale(x, by):\n    return (x - by.amin(0)) / (by.amax(0) - by.amin(0))",
            "def min_max(a, b):\n    return scale(a, a), scale(b, a)",
            'tl.check("data_processing.min_max", min_max)',
            "#AFTER\ndef scale(x): return x / 255",
        ],
    ),
    "a table that is filled": (
        "decide",
        [
            "from scipy import stats",
            "table = {}\nfor n in range(1, 60):\n    table[n] = float(stats.t.ppf(0.995, n))",
            "T = lambda n: table[n]",
            INTERVAL,
            DECIDE,
        ],
    ),
    "a list that grows": (
        "decide",
        [
            "from scipy import stats",
            "table = [math.nan]",
            "for n in range(1, 60): table.append(float(stats.t.ppf(0.995, n)))",
            "T = table.__getitem__",
            INTERVAL,
            DECIDE,
        ],
    ),
    "a frozen distribution": (
        "decide",
        [
            "import scipy.stats as st",
            "from functools import partial",
            "T = partial(st.t.ppf, 0.995)",
            INTERVAL,
            DECIDE,
        ],
    ),
    "globals set by a function": (
        "decide",
        [
            "def setup():\n    global T\n    from scipy import stats\n    T = lambda n: stats.t.ppf(0.995, n)",
            "setup()",
            INTERVAL,
            DECIDE,
        ],
    ),
    "a star import": (
        "baseline_loss",
        [
            "from torch import *",
            BASELINE.replace("torch.log", "log").replace("torch.bincount", "bincount"),
        ],
    ),
    "an import that may fail": (
        "min_max",
        [
            "try:\n    import cupy as xp\nexcept ImportError:\n    import numpy as xp",
            "def min_max(a, b):\n    a, b = a.numpy(), b.numpy()\n    low, span = xp.min(a, 0), xp.ptp(a, 0)\n    return (a - low) / span, (b - low) / span",
        ],
    ),
    "imports inside": (
        "min_max",
        [MIN_MAX.replace("\n    low", "\n    import numpy as np\n    low")],
    ),
    "slow cells around": (
        "min_max",
        ["history = [sum(range(10**5)) for _ in range(200)]", MIN_MAX, "print(len(history))"],
    ),
    "names of a training loop": (
        "min_max",
        ["low = 'used elsewhere'\nfor low in range(3):\n    pass", MIN_MAX],
    ),
    "eval": (
        "min_max",
        [
            "def scale(x, by):\n    return (x - by.amin(0)) / (by.amax(0) - by.amin(0))",
            "def min_max(a, b):\n    f = eval('scale')\n    return f(a, a), f(b, a)",
        ],
    ),
    "a generator of numpy": (
        "random_flip",
        [
            "import numpy as np",
            "rng = np.random.default_rng()",
            FLIP.format("rng.random(len(x)) < 0.5"),
        ],
    ),
    "a seeded generator": (
        "random_flip",
        [
            "g = torch.Generator().manual_seed(3)",
            FLIP.format("torch.rand(len(x), generator=g) < 0.5"),
        ],
    ),
    "Python's random": (
        "random_flip",
        ["import random", FLIP.format("[random.random() < 0.5 for _ in range(len(x))]")],
    ),
    "numpy's old random": (
        "random_flip",
        ["import numpy as np\nnp.random.seed(1)", FLIP.format("np.random.rand(len(x)) < 0.5")],
    ),
    # ---- classes
    "a class": ("CumulativeNorm", [NORM]),
    "a class with a text, that inherits": (
        "CumulativeNorm",
        [
            NORM.replace("CumulativeNorm", "RunningNorm"),
            'class CumulativeNorm(RunningNorm):\n    """Forgets nothing."""',
        ],
    ),
    "forward is set later": (
        "CumulativeNorm",
        [
            f"class CumulativeNorm(nn.Module):{SUMS}",
            FORWARD.replace("\n    ", "\n").replace("forward", "run"),
            'setattr(CumulativeNorm, "forward", run)',
        ],
    ),
    "forward is assigned": (
        "CumulativeNorm",
        [
            f"class CumulativeNorm(nn.Module):{SUMS}",
            FORWARD.replace("\n    ", "\n").replace("forward", "run"),
            "CumulativeNorm.forward = run",
        ],
    ),
    "methods set in a loop": (
        "CumulativeNorm",
        [
            "class CumulativeNorm(nn.Module):\n    pass",
            SUMS.replace("\n    ", "\n").replace("super()", "super(CumulativeNorm, self)"),
            FORWARD.replace("\n    ", "\n"),
            "for f in (__init__, forward):\n    setattr(CumulativeNorm, f.__name__, f)",
        ],
    ),
    "a mixin": (
        "CumulativeNorm",
        [f"class Sums:{SUMS}", f"class CumulativeNorm(Sums, nn.Module):{FORWARD}"],
    ),
    "a class made by a function": (
        "CumulativeNorm",
        [
            "def make(base):\n"
            + NORM.replace("nn.Module", "base")
            .replace("super()", "super(C, self)")
            .replace("CumulativeNorm", "C")
            .replace("\n", "\n    ")
            .replace("class", "    class", 1)
            + "\n    return C",
            "CumulativeNorm = make(nn.Module)",
        ],
    ),
    "a function that makes layers": (
        "CumulativeNorm",
        [NORM.replace("CumulativeNorm", "Layer"), "CumulativeNorm = lambda units: Layer(units)"],
    ),
    "infinity by a call": ("EarlyStopping", ['INF = float("inf")', STOPPING]),
    "type()": (
        "EarlyStopping",
        [
            "INF = math.inf",
            STOPPING.replace("EarlyStopping", "Base"),
            "EarlyStopping = type('EarlyStopping', (Base,), {})",
        ],
    ),
    "a base class": (
        "EarlyStopping",
        [
            "import abc\nINF = math.inf\n\nclass Callback(abc.ABC):\n    @abc.abstractmethod\n    def update(self, val_loss, model): ...",
            STOPPING.replace("EarlyStopping:", "EarlyStopping(Callback):"),
        ],
    ),
    # ---- what comes back
    "numpy's True": (
        "start_is_sane",
        [
            "import numpy as np",
            SANE.format("np.abs(loss.numpy() - np.log(logits.shape[1])) <= tolerance"),
        ],
    ),
    "a tensor True": (
        "start_is_sane",
        [SANE.format("(loss - math.log(logits.shape[1])).abs() <= tolerance")],
    ),
    "numpy's float": ("baseline_loss", [BASELINE.replace(".mean()", ".mean().numpy()")]),
    "a list": ("momentum_step", [STEP + MOMENTUM.format("[", "]")]),
    "a loss in float64": ("smoothed_loss", [LOSS.replace("logits.log", "logits.double().log")]),
}


# ------------------------------------------------------------------------- what is told instead

# Cells, words that `check` says (None: it says "right."), words that the grader says.
TOLD: dict[str, tuple[str, list[str], str | None, str]] = {
    "a package that is missing": (
        "min_max",
        [
            "!pip install -q einops_of_nobody",
            "import einops_of_nobody",
            MIN_MAX.replace("\n    low", "\n    einops_of_nobody.x\n    low"),
        ],
        "einops_of_nobody",
        "needs the package 'einops_of_nobody', which the grader does not have",
    ),
    "a missing package inside": (
        "min_max",
        [MIN_MAX.replace("\n    low", "\n    import einops_of_nobody\n    low")],
        "einops_of_nobody",
        "needs the package 'einops_of_nobody', which the grader does not have",
    ),
    "a helper that is not there": (
        "min_max",
        [MIN_MAX.replace("\n    low", "\n    helper()\n    low")],
        "'helper'",
        "no code cell of the notebook makes 'helper'; was its cell deleted, or renamed?",
    ),
    "another name": (
        "min_max",
        [
            STUB,
            MIN_MAX.replace("min_max", "my_min_max"),
            'tl.check("data_processing.min_max", my_min_max)',
        ],
        "your answer must have this name",
        "not answered",
    ),
    "a value that takes long": (
        "min_max",
        [
            "#SLOW\nimport time\nt = time.process_time()\nsize = 0\nwhile time.process_time() < t + 3: size += 1",
            MIN_MAX.replace("\n    low", "\n    assert size\n    low"),
        ],
        "takes too long to be run again",
        "takes too long to be run again",
    ),
    "a file that is not handed in": (
        "min_max",
        [
            "import numpy as np\nopen('gone.txt', 'w').write('3')\nsize = int(open('gone.txt').read())",
            "import os; os.remove('gone.txt')",
            MIN_MAX.replace("\n    low", "\n    assert size\n    low"),
        ],
        "needs a file",
        "needs a file or a network that the grader does not have",
    ),
    "a sparse tensor": (
        "min_max",
        [MIN_MAX.replace("low) / (high - low), (x", "low).to_sparse(), (x")],
        "a dense tensor, not a sparse one",
        "a dense tensor, not a sparse one",
    ),
    "a complex tensor": (
        "baseline_loss",
        [BASELINE.replace(".mean()", ".mean() * 1j")],
        "real numbers, not complex ones",
        "real numbers, not complex ones",
    ),
    "a closed function, imported first": (
        "clip_together_",
        [
            "from torch.nn.utils import clip_grad_norm_",
            "def clip_together_(parameters, max_norm):\n    return clip_grad_norm_(list(parameters), max_norm)",
        ],
        "write it yourself",
        "write it yourself",
    ),
}


# ---------------------------------------------------------------------------------- both readers


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    """A kernel without a screen, in a folder of its own."""
    folder, before = tmp_path_factory.mktemp("kernel"), os.getcwd()
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    main = sys.modules["__main__"]
    os.chdir(folder)
    sys.path.insert(0, "")  # the folder that one works in, as in a kernel
    found = InteractiveShell.instance(config=config, ipython_dir=str(folder))
    yield found
    InteractiveShell.clear_instance()
    sys.path.remove("")
    sys.modules["__main__"] = main
    os.chdir(before)


def checked(shell: InteractiveShell, name: str, cells: list[str], capsys) -> str:
    """What the check at a notebook's end says, after all its cells were run."""
    shell.reset(new_session=True)
    cells = [HEAD, *cells]
    own = [n for n, cell in enumerate(cells) if cell.startswith("tl.check")]
    cells = cells if own else [*cells, f'tl.check("{QUESTIONS[name]}.{name}", {name})']
    last = own[-1] if own else len(cells) - 1
    for cell in cells[: last + 1]:
        capsys.readouterr()
        shell.run_cell(cell, store_history=True)
    return capsys.readouterr().out


def graded(name: str, cells: list[str], folder: Path, **metadata: object) -> tuple[int, str]:
    """The points of an answer, and all that the grader says, from a process of its own."""
    part = FOUND[QUESTIONS[name]]
    given = selfcheck.draw(part.questions[name], 7)
    (folder / f"{name}.npz").write_bytes(grade._pack(given))
    text = notebook_of(HEAD, *cells, metadata=metadata).decode()
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            sys.modules.pop("helper_of_a_style", None)
            torch.set_num_threads(1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            probe = importlib.import_module(f"tricks_lib.coursework.probes.{part.name}")
            job = {"seed": 5, "limit": LIMIT}
            definitions = runner.Definitions.of(text)
            data = runner.answer_question(job, folder, name, definitions, probe)
            with os.fdopen(send, "wb") as stream:
                stream.write(data)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    arrays = rubric.unpack(data)
    notes = [str(note) for note in arrays.get("_notes", [])]
    if "_unanswered" in arrays:
        return 0, "not answered"
    if "_missing" in arrays:
        return 0, "\n".join([str(arrays["_missing"]), *notes])
    marks = rubric.mark(part.questions[name], given, rubric.Seen(arrays))
    return sum(m.earned for m in marks), "\n".join([m.problem for m in marks if m.problem] + notes)


def test_the_table_is_long_and_wide() -> None:
    assert len(STYLES) >= 60
    assert {QUESTIONS[name] for name, _ in STYLES.values()} == set(FOUND)


@pytest.mark.parametrize("style", STYLES)
def test_what_is_right_for_the_check_earns_its_points(
    style: str, shell: InteractiveShell, tmp_path: Path, capsys
) -> None:
    name, cells = STYLES[style]
    assert checked(shell, name, cells, capsys) == f"{QUESTIONS[name]}.{name}: right.\n"
    points, said = graded(name, cells, tmp_path)
    assert points == FOUND[QUESTIONS[name]].questions[name].points, said


@pytest.mark.parametrize("case", TOLD)
def test_what_is_lost_is_told_by_both(
    case: str, shell: InteractiveShell, tmp_path: Path, capsys
) -> None:
    name, cells, by_check, by_grader = TOLD[case]
    said = checked(shell, name, cells, capsys)
    assert by_check in said and ": right.\n" not in said
    points, said = graded(name, cells, tmp_path)
    assert points < FOUND[QUESTIONS[name]].questions[name].points
    assert by_grader in said
