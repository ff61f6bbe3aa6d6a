"""The last step of a build: pages that weigh less, and look the same.

- Without JavaScript, which chooses between light and dark, a page is light.
- Icons come from the theme's fonts, cut to those in use; the script that would draw them again is
  left out, as are maps of sources.
- Style sheets become one, without what no page uses: nothing is drawn before the last has come.
- Scripts wait until the page is read: no reader waits for them. The few lines that the page's own
  ask for values stand in the page. The theme's script no longer has the page laid out again for
  each box that may scroll.
- Figures become WebP, without loss. Every picture gets its size on the page, so that text does not
  jump, and those further down are fetched when a reader comes near.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fontTools import subset
from PIL import Image
from sphinx.application import Sphinx

from book import styles
from book.drawings import dots

STYLE = "_static/styles/pydata-sphinx-theme.css"
FONTS = "_static/vendor/fontawesome/webfonts"
SCRIPT = "_static/scripts/pydata-sphinx-theme.js"
# What the theme does to each box that may scroll; `static/book.js` does it to all of them at once.
SCROLLING = (
    ".forEach(e=>{e.tabIndex=e.scrollWidth>e.clientWidth||e.scrollHeight>e.clientHeight?0:-1})"
)
AT_ONCE = ".forEach((e,t,n)=>{t||markScrolling(n)})"
ICON_SCRIPT = re.compile(r"\s*<script[^>]*scripts/fontawesome\.js[^>]*></script>")
# .fa-search:before,.fa-magnifying-glass:before{content:"\f002"}
ICON = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"\\([0-9a-f]+)"\}')
# A script from a file that says nothing of when it runs.
HASTY = re.compile(
    r"<script(?=[^>]*\ssrc=)(?![^>]*(?:\sdefer|\sasync|\stype=|documentation_options))"
)
# Scripts that nobody waits for need not come before the styles.
EARLY = re.compile(r'<link rel="preload" as="script"[^>]*>\n?')
OPTIONS = re.compile(r'<script src="[^"]*documentation_options\.js[^"]*"></script>')
PICTURE = re.compile(r"<img\b[^>]*>")
# What a notebook says of a figure's size; on a narrow screen its height has to follow its width.
FIXED = re.compile(r' style="width: \d+px; height: \d+px;"')
SOURCE = re.compile(r'(\bsrc=")([^"]+)(")')
logging.getLogger("fontTools.subset").setLevel(logging.WARNING)  # it tells of every table

# Without a script the page is light.
THEME = re.compile(r'(<html\b[^>]*?)data-theme="\w+"')


def lighten(site: Path) -> None:
    """Make the pages of a built book, in ``site``, lighter."""
    pages = [page for page in site.rglob("*.html") if "_static" not in page.parts]
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    cut_icons(site, texts.values())
    smaller = figures(site)
    if (script := site / SCRIPT).is_file():
        code = script.read_text(encoding="utf-8").replace(SCROLLING, AT_ONCE)
        script.write_text(code, encoding="utf-8", newline="\n")
    options = site / "_static" / "documentation_options.js"
    values = options.read_text(encoding="utf-8") if options.is_file() else ""
    for page, text in styles.bundle(site, texts).items():
        lighter = pictures(ICON_SCRIPT.sub("", text), page, smaller)
        lighter = EARLY.sub("", lighter)
        if values:
            lighter = OPTIONS.sub(lambda _: f"<script>{values.strip()}</script>", lighter)
        lighter = HASTY.sub("<script defer", lighter)
        lighter = THEME.sub(r'\1data-theme="light"', lighter, count=1)
        if lighter != texts[page]:
            page.write_text(lighter, encoding="utf-8", newline="\n")
    for needless in {*site.rglob("*.map"), *site.glob("_static/scripts/fontawesome.js*")}:
        needless.unlink()


def cut_icons(site: Path, texts: Iterable[str]) -> None:
    """Leave in the icon fonts, and in the theme's style, what pages and scripts use."""
    style = site / STYLE
    if not style.is_file():
        return
    words = set(re.findall(r"fa-[a-z0-9-]+", " ".join(texts)))
    for script in (site / "_static").rglob("*.js"):
        if not script.name.startswith("fontawesome"):
            words.update(re.findall(r"fa-[a-z0-9-]+", script.read_text(encoding="utf-8")))
    used: set[int] = set()

    def kept(rule: re.Match) -> str:
        names = set(re.findall(r"fa-[\w-]+", rule[1]))
        if not names & words:
            return ""
        used.add(int(rule[2], 16))
        return rule[0]

    css = ICON.sub(kept, style.read_text(encoding="utf-8"))
    # Every browser of this decade reads woff2.
    css = re.sub(r',url\([^)]*\.ttf\) format\("truetype"\)', "", css)
    style.write_text(css, encoding="utf-8", newline="\n")
    for font in (site / FONTS).glob("*.woff2"):
        loaded = subset.load_font(str(font), subset.Options(flavor="woff2"))
        cutter = subset.Subsetter(subset.Options(flavor="woff2"))
        cutter.populate(unicodes=used)
        cutter.subset(loaded)
        subset.save_font(loaded, str(font), subset.Options(flavor="woff2"))
    for font in (site / FONTS).glob("*.ttf"):
        font.unlink()


class Figure(NamedTuple):
    """What became of a figure: the name of its file, and its size on the page."""

    name: str
    size: tuple[int, int]


def figures(site: Path) -> dict[str, Figure]:
    """Turn figures into WebP where that is smaller; what became of each by its old name."""
    found = {}
    for old in sorted((site / "_images").glob("*.png")):
        new = old.with_suffix(".webp")
        with Image.open(old) as picture:
            picture.save(new, lossless=True, method=2)
            width, height = (round(side / dots(picture)) for side in picture.size)
        kept, left = (new, old) if new.stat().st_size < old.stat().st_size else (old, new)
        left.unlink()
        found[old.name] = Figure(kept.name, (width, height))
    return found


def pictures(text: str, page: Path, made: dict[str, Figure]) -> str:
    """A page's text, its pictures under their new names, with sizes, and late if further down."""
    first = True

    def mended(tag: re.Match) -> str:
        nonlocal first
        found = SOURCE.search(tag[0])
        if not found or found[2].startswith(("data:", "http")):
            return tag[0]
        folder, slash, name = found[2].rpartition("/")
        figure = made.get(name)
        source = folder + slash + (figure.name if figure else name)
        size = figure.size if figure else _size(page.parent / source.partition("?")[0])
        whole = FIXED.sub("", tag[0].replace(found[0], found[1] + source + found[3]))
        more = ""
        if size and not re.search(r"\bwidth[=:]", whole):
            more += f' width="{size[0]}" height="{size[1]}"'
        if "_images/" in source:
            if not first and "loading=" not in whole:
                more += ' loading="lazy"'
            first = False
        return whole.removesuffix("/>").removesuffix(">").rstrip() + more + " />"

    return PICTURE.sub(mended, text)


def _size(file: Path) -> tuple[int, int] | None:
    if file.suffix not in (".webp", ".png", ".jpg") or not file.is_file():
        return None
    with Image.open(file) as picture:
        return picture.size


def after_build(app: Sphinx, exception: Exception | None) -> None:
    """Called by Sphinx when all pages are written."""
    if exception is None and app.builder.name == "html":
        lighten(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", after_build, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
