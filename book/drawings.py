"""Figures that are drawings get a class, so that the dark can turn their white around.

A plot is dark lines on white, and reads as well as light lines on black. A photograph does not,
nor does a picture of pixels. What cannot be told for certain stays as it is.

Why they are no SVG, which would be sharp at any size: the pages show what the notebooks store, and
those store PNG, with two dots where a page has one. SVG would be lighter for most plots, but every
notebook would have to store it beside the PNG that Colab shows; and its coordinates are text with
measured digits in it, which differ from machine to machine, where nbval compares text and passes
over pictures.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from sphinx.application import Sphinx

from tricks_lib.plots import STYLE

CSS = "drawn"
FIGURE = re.compile(r'<img\b[^>]*?\bsrc="[^"]*_images/([^"/?]+\.png)"[^>]*>')
#: Of a drawing so much is white; less white is a picture. No block of this many pixels is dark:
#: lines and letters are thin, and photographs and images of digits have such blocks.
WHITE, LEVEL = 0.55, 250
BLOCK, DARK = 9, 60


def dots(picture: Image.Image) -> int:
    """How many dots of a figure, along a side, stand for one of the page: 2 in the notebooks."""
    return max(1, round(picture.info.get("dpi", (0, 0))[0] / STYLE["figure.dpi"]))


def is_drawing(picture: Image.Image) -> bool:
    """Whether a figure is a plot on white: white all around, mostly white, and nowhere black."""
    picture = picture.convert("RGBA").reduce(dots(picture))
    flat = Image.new("RGB", picture.size, "white")
    flat.paste(picture, mask=picture.getchannel("A"))
    white = np.asarray(flat).min(axis=2) > LEVEL
    edge = np.concatenate([white[0], white[-1], white[:, 0], white[:, -1]])
    if not edge.all() or white.mean() < WHITE:
        return False
    brightest = flat.convert("L").filter(ImageFilter.MaxFilter(BLOCK))
    return brightest.getextrema()[0] >= DARK


def mark(site: Path) -> None:
    """Give the drawings in the pages of a built book, in ``site``, their class."""

    @cache
    def drawing(name: str) -> bool:
        file = site / "_images" / name
        if not file.is_file():
            return False
        with Image.open(file) as picture:
            return is_drawing(picture)

    def marked(found: re.Match) -> str:
        if not drawing(found[1]):
            return found[0]
        if 'class="' in found[0]:
            return found[0].replace('class="', f'class="{CSS} ', 1)
        return found[0].replace("<img", f'<img class="{CSS}"', 1)

    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if (made := FIGURE.sub(marked, text)) != text:
            page.write_text(made, encoding="utf-8", newline="\n")


def after_build(app: Sphinx, exception: Exception | None) -> None:
    """Called by Sphinx when all pages are written."""
    if exception is None and app.builder.name == "html":
        mark(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", after_build, priority=800)  # figures get other names later
    return {"parallel_read_safe": True, "parallel_write_safe": True}
