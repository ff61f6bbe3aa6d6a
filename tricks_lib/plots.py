"""Figures in one style: readable on white, by colour-blind readers and on a phone.

Every function draws into the axes that it is given, or makes a figure of its own and shows it.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from .experiment import Effect, Study

# Okabe & Ito's colours, which stay apart in every common colour blindness. Grey is for baselines.
BASELINE = "#6b6b6b"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

STYLE = {
    "figure.figsize": (7.0, 3.2),
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "image.interpolation": "nearest",
}


def use_style() -> None:
    """Give all figures of this session the book's style.

    In a notebook they get two dots where a page has one, so that they are sharp on any screen.
    """
    plt.rcParams.update(STYLE)
    if "ipykernel" in sys.modules:
        from IPython import get_ipython
        from matplotlib_inline.config import InlineBackend

        InlineBackend.instance(parent=get_ipython()).figure_formats = {"retina"}


def colours(arms: Sequence[str], baseline: str | None = None) -> dict[str, str]:
    """A colour for each arm; the baseline's is grey."""
    others = iter(COLOURS * (1 + len(arms) // len(COLOURS)))
    return {arm: BASELINE if arm == baseline else next(others) for arm in arms}


def curves(
    study: Study,
    metric: str = "val_accuracy",
    *,
    baseline: str | None = None,
    ax: Axes | None = None,
) -> None:
    """The mean learning curve of each arm, with a band from the lowest to the highest seed.

    Args:
        study: a study whose arms gave back histories.
        metric: a column of ``study.curves``.
        baseline: the arm to draw in grey.
        ax: where to draw; default a figure of its own.

    Raises:
        KeyError: the study has no such curves.
    """
    if metric not in study.curves:
        there = [name for name in study.curves if name not in ("arm", "seed", "step", "epoch")]
        why = f"it has {there}" if there else "its arms gave back plain numbers, and no History"
        raise KeyError(f"this study has no curves of {metric!r}; {why}.")
    axes = ax or _new_axes()
    shades = colours(study.arms, baseline)
    for arm, runs in study.curves.groupby("arm", sort=False):
        by_step = runs.groupby("step")[metric]
        mean, low, high = by_step.mean(), by_step.min(), by_step.max()
        axes.plot(mean.index, mean, color=shades[arm], label=arm)
        axes.fill_between(mean.index, low, high, color=shades[arm], alpha=0.15, linewidth=0)
    axes.set(xlabel="step", ylabel=metric.replace("_", " "))
    axes.legend()
    _show_if_new(ax)


def runs(
    study: Study,
    metric: str = "test_accuracy",
    *,
    baseline: str | None = None,
    ax: Axes | None = None,
) -> None:
    """Every run as a dot; a line joins the runs of one seed, a bar marks the mean of each arm."""
    axes = ax or _new_axes()
    values = np.stack([study.values(arm, metric) for arm in study.arms])
    shades = colours(study.arms, baseline)
    places = np.arange(len(study.arms))
    axes.plot(places, values, color="0.8", linewidth=0.8, zorder=1)
    for place, arm, row in zip(places, study.arms, values, strict=True):
        axes.scatter(np.full(len(row), place), row, color=shades[arm], s=22, zorder=2)
        axes.hlines(row.mean(), place - 0.2, place + 0.2, color=shades[arm], linewidth=3)
    room = axes.get_position().width * axes.figure.get_figwidth() / len(places)  # inches
    names = [textwrap.fill(a, max(5, int(12 * room)), break_long_words=False) for a in study.arms]
    longest = max(len(word) for name in names for word in name.split("\n"))
    size = min(8 if room < 1 else 10, 72 * room / (0.62 * longest))  # a letter is 0.6 of it wide
    axes.set_xticks(places, names, fontsize=size)
    axes.set(ylabel=metric.replace("_", " "), xlim=(-0.5, len(places) - 0.5))
    _show_if_new(ax)


def panels(
    studies: Mapping[str, Study] | Sequence[Study],
    metric: str = "test_accuracy",
    *,
    draw: Callable[..., None] = runs,
    baseline: str | None = None,
    sharey: bool = True,
) -> list[Axes]:
    """Studies side by side, one in each panel; ``plt.show()`` then shows them.

    Args:
        studies: title to study; or studies, each under the name of its data.
        metric: what is drawn of each.
        draw: ``runs`` or ``curves``.
        baseline: the arm to draw in grey.
        sharey: whether all panels have one scale.

    Returns:
        The axes, from left to right, for what is to be added.
    """
    if not isinstance(studies, Mapping):
        studies = {study.data: study for study in studies}
    _, axes = plt.subplots(1, len(studies), sharey=sharey, squeeze=False)
    for ax, (title, study) in zip(axes.flat, studies.items(), strict=True):
        draw(study, metric, baseline=baseline, ax=ax)
        ax.set_title(title)
        if sharey and ax is not axes.flat[0]:
            ax.set_ylabel("")
    return list(axes.flat)


def effects(
    found: Mapping[str, Effect], *, margin: float | None = None, ax: Axes | None = None
) -> None:
    """A forest plot: each effect with its 99 % interval against zero.

    Args:
        found: label to effect, first one on top; all in the same metric.
        margin: half-width of the band of effects that are too small to matter.
    """
    axes = ax or _new_axes((7.0, 0.9 + 0.38 * len(found)))
    places = np.arange(len(found))[::-1]
    axes.axvline(0, color="0.3", linewidth=1)
    if margin is not None:
        axes.axvspan(-margin, margin, color="0.5", alpha=0.15, linewidth=0)
    for place, effect in zip(places, found.values(), strict=True):
        axes.hlines(place, effect.low, effect.high, color=COLOURS[0])
        axes.plot(effect.mean, place, "o", color=COLOURS[0])
    axes.set_yticks(places, list(found))
    first = next(iter(found.values()))
    axes.set(xlabel=f"difference in {first.metric.replace('_', ' ')}")
    axes.set_ylim(-0.6, len(found) - 0.4)
    _show_if_new(ax)


def gains(
    lines: Mapping[str, Mapping[float, Effect]],
    *,
    xlabel: str,
    margin: float | None = None,
    logx: bool = True,
    ax: Axes | None = None,
) -> None:
    """How an effect changes along a quantity, such as the number of training images.

    Args:
        lines: label to (quantity to effect); a line with 99 % intervals each.
        xlabel: the quantity, in words.
        margin: half-width of the band of effects that are too small to matter.
        logx: whether the quantity grows by factors.
    """
    axes = ax or _new_axes()
    axes.axhline(0, color="0.3", linewidth=1)
    if margin is not None:
        axes.axhspan(-margin, margin, color="0.5", alpha=0.15, linewidth=0)
    everywhere: set[float] = set()
    for (label, found), colour, marker in zip(
        lines.items(), COLOURS * len(lines), MARKERS * len(lines), strict=False
    ):
        means = np.array([e.mean for e in found.values()])
        bars = np.array([[e.mean - e.low, e.high - e.mean] for e in found.values()]).T
        places = list(found)
        everywhere |= set(places)
        axes.errorbar(places, means, bars, label=label, color=colour, marker=marker, capsize=3)
    if logx:
        axes.set_xscale("log")
        axes.set_xticks(sorted(everywhere), [f"{place:g}" for place in sorted(everywhere)])
        axes.minorticks_off()
    metric = next(iter(next(iter(lines.values())).values())).metric
    axes.set(xlabel=xlabel, ylabel=f"gain in {metric.replace('_', ' ')}")
    if len(lines) > 1:
        axes.legend()
    _show_if_new(ax)


def along(
    places: Sequence[float],
    runs: Sequence[np.ndarray],
    label: str = "",
    *,
    color: str | None = None,
    ax: Axes | None = None,
) -> None:
    """The mean of the runs along a quantity, with a band from the lowest to the highest run.

    Args:
        places: values of the quantity, such as numbers of training images; the axis is
            logarithmic, with a tick at each of them.
        runs: the runs at each place, shape (places, seeds), such as
            ``[study.values(arm) for arm in study.arms]``.
        label: the line's name in the legend.
        color: default the next one of the axes.
        ax: where to draw; default a figure of its own.
    """
    axes = ax or _new_axes()
    rows = np.stack(runs)
    (line,) = axes.plot(places, rows.mean(1), "o-", color=color, label=label)
    shade = line.get_color()
    axes.fill_between(places, rows.min(1), rows.max(1), color=shade, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
    _show_if_new(ax)


def show_images(
    images: Tensor | Sequence[Tensor], titles: Sequence[str] = (), *, columns: int = 8
) -> None:
    """A grid of pictures.

    Args:
        images: (n, channels, height, width) or a list of (channels, height, width), in [0, 1];
            one channel is drawn in grey.
        titles: a short text above each picture.
        columns: pictures in a row.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = (1.15 if titles else 0.95) * 7.0 / columns * rows
    _, axes = plt.subplots(rows, columns, figsize=(7.0, height), squeeze=False)
    for i, ax in enumerate(axes.flat):
        ax.axis("off")
        if i < len(images):
            picture = images[i].detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
            ax.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1)
            if titles:
                ax.set_title(titles[i], fontsize=9)
    plt.show()


def histograms(layers: Mapping[str, Tensor], *, xlabel: str = "activation", bins: int = 60) -> None:
    """The distribution of each layer's values, side by side on one scale.

    Args:
        layers: name to values of any shape, such as ``probes.activations`` gives.
        xlabel: what the values are.
    """
    figure, axes = plt.subplots(1, len(layers), figsize=(7.0, 2.2), sharex=True, squeeze=False)
    for ax, (name, values) in zip(axes.flat, layers.items(), strict=True):
        ax.hist(values.flatten().float().numpy(), bins=bins, color=COLOURS[0], density=True)
        ax.set_title(name, fontsize=9)
        ax.set_yticks([])
    figure.supxlabel(xlabel, fontsize=10)
    plt.show()


def _new_axes(size: tuple[float, float] | None = None) -> Axes:
    return plt.subplots(figsize=size or STYLE["figure.figsize"])[1]


def _show_if_new(ax: Axes | None) -> None:
    # Axes that were handed in belong to a larger figure; its owner shows it.
    if ax is None:
        plt.show()
