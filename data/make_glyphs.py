"""Make glyphs.npz: rendered characters as masks of one byte a pixel, free of noise and colour.

Each mask shows one character in one of 16 faces, with its own size, shift and rotation. What
was drawn for an image is kept beside it, in whole numbers. Colours and pixel noise are not
here: tricks_lib composes them at load. Run it from the root of the repository:

    python data/make_glyphs.py

The same versions of Pillow, FreeType and the fonts give the same bytes; other versions move a
few grey levels at the edges. That is why the masks are shipped and not only this script.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

TASKS = {
    "digits": ("0123456789", 500),  # the characters, and how many images of each
    "letters": ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 240),
}
# Every face of the DejaVu and STIX families inside matplotlib that has digits and capitals.
FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
)
SIDE = 16  # pixels of a finished mask
FINE = 4  # drawn this many times larger, then averaged down: that smooths the edges
PARAMETERS = ("face", "height", "shift_x", "shift_y", "angle")


def font_file(face: str) -> Path:
    """The file of a face inside the installed matplotlib."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


def draw_parameters(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Draw what varies, in whole numbers: (count,) arrays, one for each of PARAMETERS.

    `height` is that of the face's capitals in hundredths of the frame, the shifts are hundredths
    of the frame (right and down), `angle` is in degrees, counter-clockwise.
    """
    return {
        "face": rng.integers(len(FACES), size=count).astype(np.uint8),
        "height": rng.integers(55, 86, size=count).astype(np.uint8),
        "shift_x": rng.integers(-12, 13, size=count).astype(np.int8),
        "shift_y": rng.integers(-12, 13, size=count).astype(np.int8),
        "angle": rng.integers(-25, 26, size=count).astype(np.int8),
    }


def render(char: str, face: int, height: int, shift_x: int, shift_y: int, angle: int) -> np.ndarray:
    """Draw one character: (SIDE, SIDE) uint8, 0 where the page is bare, 255 where the ink is full.

    The arguments are those of `draw_parameters`.
    """
    side = SIDE * FINE
    path = str(font_file(FACES[face]))
    _, top, _, bottom = ImageFont.truetype(path, 1000).getbbox("H")
    # Pillow takes sizes that are not whole, so heights vary without steps.
    font = ImageFont.truetype(path, 1000 * side * height / 100 / (bottom - top))
    left, top, right, bottom = font.getbbox(char)
    page = Image.new("L", (side, side))
    corner = (side / 2 - (left + right) / 2, side / 2 - (top + bottom) / 2)
    ImageDraw.Draw(page).text(corner, char, fill=255, font=font)
    move = (side * shift_x / 100, side * shift_y / 100)
    page = page.rotate(angle, resample=Image.Resampling.BICUBIC, translate=move)
    return np.asarray(page.resize((SIDE, SIDE), Image.Resampling.BOX))


def make(seed: int = 0) -> dict[str, np.ndarray]:
    """Render every task: arrays by name, `digits_masks` (N, 16, 16), `digits_labels` (N,), …"""
    arrays: dict[str, np.ndarray] = {"faces": np.array(FACES)}
    for number, (task, (chars, each)) in enumerate(TASKS.items()):
        labels = np.repeat(np.arange(len(chars), dtype=np.uint8), each)
        drawn = draw_parameters(np.random.default_rng([seed, number]), len(labels))
        rows = zip(labels, *(drawn[name].tolist() for name in PARAMETERS), strict=True)
        arrays[f"{task}_masks"] = np.stack([render(chars[k], *row) for k, *row in rows])
        arrays[f"{task}_labels"] = labels
        arrays |= {f"{task}_{name}": drawn[name] for name in PARAMETERS}
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make glyphs.npz.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("glyphs.npz"))
    out = parser.parse_args().out
    np.savez_compressed(out, **make())
    print(f"{out.name}: {out.stat().st_size / 1e6:.2f} MB")
