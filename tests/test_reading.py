"""What makes a page quick to read: which cells are folded, numbered figures, minutes."""

from __future__ import annotations

import pytest
from docutils import nodes

from book import reading

CLAIMS = (
    'say = tl.Claims("dropout", source="srivastava2014dropout")',
    'better = say("few_images", "With 400 images dropout helps.", headline=True)',
    'tl.claim(better, study.effect("dropout", over="plain"))',
)
FIGURES = (
    "plt.plot(x, y)\nplt.show()",
    "tl.plots.effects(rows, margin=0.02)",
    'figure, axes = plt.subplots(1, 2)\nfor ax in axes:\n    ax.set(xlabel="step")\nplt.show()',
)
LESSONS = (
    "def masked(x):\n    return x\n\n\nplt.plot(masked(x))\nplt.show()",
    'study = tl.compare(arms, tl.digits)\ntl.claim(better, study.effect("a", over="b"))',
    "assert (a == b).all()\nplt.show()",
    'study = tl.recorded("dropout_glyphs", arms, glyphs)',
    "x = torch.randn(3)\nprint(x.shape)",
    "%pip install -q tricks-lib",
)


@pytest.mark.parametrize("source", CLAIMS)
def test_declaring_and_judging_is_plumbing(source: str) -> None:
    assert reading.plumbing(source) == "claims"


@pytest.mark.parametrize("source", FIGURES)
def test_drawing_is_plumbing(source: str) -> None:
    assert reading.plumbing(source) == "figure"


@pytest.mark.parametrize("source", LESSONS)
def test_what_is_to_be_learnt_is_not(source: str) -> None:
    assert reading.plumbing(source) == ""


def page(source: str, section: str = "predict-then-measure") -> nodes.document:
    """A page with one cell, whose output is a picture."""
    document = nodes.document("", None)
    part = nodes.section(ids=[section])
    cell = nodes.container(classes=["cell"])
    given = nodes.container(classes=["cell_input"])
    given += nodes.literal_block(source, source)
    made = nodes.container(classes=["cell_output"])
    made += nodes.image(uri="a.png", alt="Two lines that cross. The first one ends higher.")
    cell += [given, made]
    part += cell
    document += part
    return document


def test_folded_source_can_be_opened_and_its_output_is_seen() -> None:
    found = page(FIGURES[0])
    reading.fold(found)
    cell = next(reading.cells(found))
    kinds = [type(part).__name__ for part in cell]
    assert kinds == ["raw", "container", "raw", "container"]
    assert cell[0].astext().startswith("<details") and cell[2].astext() == "</details>"


@pytest.mark.parametrize("section", sorted(reading.OPEN))
def test_code_to_take_away_is_never_folded(section: str) -> None:
    found = page(FIGURES[0], section)
    reading.fold(found)
    assert not list(found.findall(nodes.raw))


def test_figures_are_numbered_and_say_what_they_show() -> None:
    found = page(FIGURES[0])
    reading.number(found)
    image = next(found.findall(nodes.image))
    figure = image.parent
    assert figure[1].astext() == "Figure 1. Two lines that cross."
    assert image["alt"].endswith("ends higher.")


def test_minutes_to_read_stand_beside_minutes_to_run() -> None:
    found = nodes.document("", None)
    line = nodes.paragraph()
    line += nodes.strong("", "About 1 minute on a CPU")
    found += [line, nodes.paragraph("", "word " * 900)]
    reading.tell_minutes(found)
    assert line.astext() == "About 1 minute on a CPU · 5 minutes to read"
