"""Figures with handles, where moving one teaches more than a plot.

A notebook holds the static figure, which is what Colab, a printer and a browser without JavaScript
show. This extension puts the live one below it, at the end of the section that ``PLACES`` names;
``static/live.js`` brings it to life. Two of them show recorded runs, which are written beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from tricks_lib import law
from tricks_lib.recorded import folder

logger = logging.getLogger(__name__)


class Live(NamedTuple):
    """A figure: its script in ``static/live``, its section and caption, whether it shows runs."""

    name: str
    section: str
    caption: str
    recorded: bool = False


PLACES = {
    "chapters/parameter_tuning/optimizers": Live(
        "ravine",
        "the-idea-in-a-picture",
        "Find the rate above which the path runs away. Then give it momentum.",
    ),
    "chapters/parameter_tuning/initialization": Live(
        "depth",
        "the-idea-in-a-picture",
        "A fresh ReLU network: how much of the signal reaches each layer?",
    ),
    "chapters/data_processing/batch_norm": Live(
        "two_steps",
        "the-idea-in-a-picture",
        "Move the raw values about: what do the two steps leave of it?",
    ),
    "chapters/data_processing/augmentation": Live(
        "strength",
        "the-idea-in-a-picture",
        "How strong may it be before the label is a lie?",
    ),
    "chapters/regularization/dropout": Live(
        "masks",
        "the-idea-in-a-picture",
        "Each training step throws the coins anew.",
    ),
    "chapters/regularization/weight_decay": Live(
        "decay",
        "the-idea-in-a-picture",
        "Two classes and the boundary that logistic regression finds between them.",
    ),
    "chapters/regularization/early_stopping": Live(
        "patience",
        "the-idea-in-a-picture",
        "Recorded runs of a small network on glyphs: how much patience would you give them?",
        recorded=True,
    ),
    "chapters/start/evidence": Live(
        "budget",
        "the-budget-is-a-hidden-variable",
        "Recorded runs: batch norm against none, on raw glyphs, ten paired seeds. "
        "The shaded band along zero is too small to matter.",
        recorded=True,
    ),
}
RUNS = "norms_raw"  # the study that two of the figures show


def place(app: Sphinx, doctree: nodes.document) -> None:
    """Put the live figure at the end of its section, before any section inside it."""
    live = PLACES.get(app.env.docname)
    if live is None:
        return
    for section in doctree.findall(nodes.section):
        if live.section in section["ids"]:
            inner = (i for i, child in enumerate(section) if isinstance(child, nodes.section))
            at = next(inner, len(section))
            section.insert(at, nodes.raw("", as_html(live), format="html"))
            return
    message = "the live figure %s has no section %r here"
    logger.warning(message, live.name, live.section, location=app.env.docname)


def as_html(live: Live) -> str:
    """What the script fills; a browser without it shows nothing of it."""
    caption = f"<figcaption>{live.caption}</figcaption>"
    recorded = ' data-runs="yes"' if live.recorded else ""
    return f'<figure class="live" data-name="{live.name}"{recorded}>{caption}</figure>'


def script(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The script, on pages that have such a figure."""
    if page in PLACES:
        app.add_js_file("live.js", loading_method="defer")


def runs(study: str = RUNS) -> dict[str, Any]:
    """Curves of a recorded study, for each arm and seed those of the rate that ended best.

    Of batch norm only its lead over the plain network is kept, judged at each step.
    """
    rows = pd.read_csv(folder(study) / "rows.csv")
    curves = pd.read_csv(folder(study) / "curves.csv")
    best = rows.loc[rows.groupby(["arm", "seed"])["val_accuracy"].idxmax(), ["arm", "seed", "lr"]]
    picked = best.merge(curves[curves["metric"] == "val_accuracy"], on=["arm", "seed", "lr"])
    steps = [name for name in curves if name.isdigit()]
    found: dict[str, Any] = {"steps": [int(step) for step in steps]}
    for arm, group in picked.sort_values("seed").groupby("arm"):
        found[str(arm).replace(" ", "_")] = group[steps].round(4).to_numpy().tolist()
    leads = np.subtract(found.pop("batch_norm"), found["plain"])  # (seeds, steps)
    margin = law.margin("val_accuracy", "glyphs").value
    found |= {"margin": margin, "lead": [judged(lead, margin) for lead in leads.T]}
    return found


def judged(differences: np.ndarray, margin: float) -> dict[str, Any]:
    """The mean of paired differences, its interval and the verdict, by the law of the book."""
    low, high = law.interval(differences)
    mean = float(differences.mean())
    verdict = law.verdict((low, high), margin)
    return {
        "mean": round(mean, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "verdict": verdict,
    }


def write_runs(app: Sphinx, exception: Exception | None) -> None:
    """Called by Sphinx when all pages are written."""
    target = Path(app.outdir, "_static", "live")
    if exception is None and app.builder.name == "html" and target.is_dir():
        text = f"window.liveRuns={json.dumps(runs(), separators=(',', ':'))};\n"
        (target / "runs.js").write_text(text, encoding="utf-8", newline="\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", place)
    app.connect("html-page-context", script)
    app.connect("build-finished", write_runs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
