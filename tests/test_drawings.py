"""Which figures the dark may turn around."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from book import drawings, lighten


def plot() -> Image.Image:
    """A frame, a grey band, a broad blue bar and a line of text, on white."""
    picture = Image.new("RGB", (400, 200), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((150, 20, 250, 180), fill="#eeeeee")
    draw.rectangle((40, 20, 380, 180), outline="#24292f", width=2)
    draw.rectangle((60, 100, 90, 178), fill="#0072b2")
    draw.text((60, 184), "effect", fill="black")
    return picture


def pasted(values: np.ndarray) -> Image.Image:
    """A small picture in the middle of much white."""
    page = Image.new("RGB", (400, 200), "white")
    small = Image.fromarray(values.astype("uint8")).resize((120, 120), Image.Resampling.NEAREST)
    page.paste(small, (140, 40))
    return page


def test_a_plot_is_a_drawing() -> None:
    assert drawings.is_drawing(plot())
    clear = plot().convert("RGBA")
    clear.putalpha(Image.fromarray(255 - np.asarray(plot()).min(axis=2)))
    assert drawings.is_drawing(clear)  # what is clear shows the white below


def test_a_plot_of_twice_the_dots_is_a_drawing_of_its_size_on_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "_images"
    folder.mkdir()
    once = plot()
    ImageDraw.Draw(once).line((260, 40, 370, 40), fill="black", width=6)
    large = once.resize((800, 400), Image.Resampling.NEAREST)
    assert drawings.is_drawing(once) and not drawings.is_drawing(large)  # as broad as a pixel
    large.save(folder / "large.png", dpi=(220, 220))
    plot().save(folder / "plain.png")
    with Image.open(folder / "large.png") as stored:
        assert drawings.is_drawing(stored)
    fixed = 'style="width: 400px; height: 200px;"'  # a narrow screen would squeeze it
    text = f'<img src="_images/large.png" {fixed}><img src="_images/plain.png">'
    page = lighten.pictures(text, tmp_path / "a.html", lighten.figures(tmp_path))
    assert page.count('width="400" height="200"') == 2 and "style" not in page
    assert {file.suffix for file in folder.iterdir()} == {".webp"}


@pytest.mark.parametrize(
    "values",
    [
        np.pad(np.full((4, 2), 255), 2),  # a digit on black, as a picture of pixels
        np.linspace(0, 90, 64).reshape(8, 8),  # a dim photograph
    ],
)
def test_a_picture_is_none(values: np.ndarray) -> None:
    assert not drawings.is_drawing(pasted(values))


def test_what_fills_its_frame_is_no_drawing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 400, 3)).astype("uint8")
    assert not drawings.is_drawing(Image.fromarray(noise))
    page = plot()
    ImageDraw.Draw(page).rectangle((0, 0, 400, 3), fill="#ddeeff")
    assert not drawings.is_drawing(page)
    much = plot()
    ImageDraw.Draw(much).rectangle((10, 10, 300, 190), fill="#aaccee")
    assert not drawings.is_drawing(much)


def test_pages_name_their_drawings(tmp_path: Path) -> None:
    folder = tmp_path / "_images"
    folder.mkdir()
    plot().save(folder / "plot.png")
    pasted(np.zeros((8, 8))).save(folder / "photo.png")
    page = tmp_path / "chapters" / "a.html"
    page.parent.mkdir()
    lines = ['<img alt="A" src="../_images/{}.png" />', '<img class="x" src="../_images/{}.png">']
    text = "\n".join(line.format(name) for name in ("plot", "photo", "gone") for line in lines)
    page.write_text(text, encoding="utf-8")
    drawings.mark(tmp_path)
    made = page.read_text(encoding="utf-8").splitlines()
    assert made[:2] == [
        '<img class="drawn" alt="A" src="../_images/plot.png" />',
        '<img class="drawn x" src="../_images/plot.png">',
    ]
    assert made[2:] == text.splitlines()[2:]
