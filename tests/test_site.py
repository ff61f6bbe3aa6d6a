"""The built book in a real browser: complete, readable, and in no need of a network.

Every page is opened once, in a window and at the width of a phone, light and dark. What was seen
is kept, and each test below asks one thing of all pages. TRICKS_SITE=folder tests a book that is
built already; else one is built here. TRICKS_REQUIRE_BROWSER=1 turns a missing browser from a
skipped test into a failed one.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import html
import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import nbformat
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from jsonschema import Draft202012Validator
from playwright.sync_api import Browser, Page, Route, sync_playwright
from pypdf import PdfReader

from book import cards, lighten
from book.browser import launch
from book.live import PLACES
from book.records import stable_anchor, stored_records
from tests.page_rules import CONFIG, ROOT
from tests.test_cheat_sheet import A4, SHEET, rows_of, smallest, words

pytestmark = [pytest.mark.site, pytest.mark.browser]

WINDOW = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
PAPER = {"width": 774, "height": 1100}  # A4 between the margins, as `make pdf` prints it
# What a reader in trouble types, and the page that should come first.
# Asked by people who had not seen the words that ``answers.json`` lists, nor what the search does:
# any of the pages named will do. Nothing was mended for one of these alone, so some find no page.
# Once somebody has, it belongs to QUESTIONS.
UNTUNED = {
    "accuracy stuck at 10%": "bug_clinic",
    "my loss oscillates a lot": "bug_clinic",
    "gradients explode in my rnn": "defaults_that_travel",
    "is my lr too high": "learning_rate",
    "how long should i train": "early_stopping",
    "model always predicts one class": "bug_clinic",
    "cuda out of memory error": "defaults_that_travel",
    "training is very slow": "learning_rate",
    "imbalanced dataset": "sanity_checks",
    "results differ from run to run": "sanity_checks",
    "train loss low but validation loss high": "overfitting",
    "should i freeze the first layers": "transfer_learning",
    "is dropout useful with batch norm": "dropout",
    "weight decay with adam": "weight_decay",
    "not enough training images": "augmentation",
    "vanishng gradeints": "initialization",
    "regularisation too strong wd": "weight_decay",
    "val acc much lower than train acc": "overfitting",
    "momentm for sgd": "optimizers",
    "what does 'undecided' mean": "evidence glossary",
    "dropuot before or after batchnorm": "dropout",
    "how many augmentations is too many": "augmentation",
    "loss exploded suddenly": "bug_clinic defaults_that_travel",
    "standardise inputs per channel": "normalization",
    "whats the best batchsize": "learning_rate",
    "lr schedual cosine": "learning_rate",
    "overfiting small dataset": "overfitting augmentation",
    "weights all zero at start": "initialization",
    "trained backbone, new head": "transfer_learning",
    "bn running mean wrong at test time": "batch_norm",
    "homework for my class": "teach",
    "which of these actually work": "stacking_tricks evidence cheat_sheet claims why_tweak",
    "random search hparams how many trials": "hyperparameter_search",
    "adma learning rate default": "optimizers learning_rate defaults_that_travel",
    "train on apple m1 / no gpu": "how_to_run api/device",
    "soft labels": "mixing",
    "blend two pictures and labels": "mixing",
    "checkpoint with best val loss": "early_stopping",
    "clip grads": "defaults_that_travel",
    "compare two models fairly": "evidence optimizers api/experiment",
    "csv data tabular": "own_data api/data",
    "symbols used in formulas": "notation",
    "what is logit": "glossary",
    "references papers list": "bibliography",
    "my network predicts the same thing for everything": "bug_clinic",
}
# Measured: 37 of 45 first.
UNTUNED_LEAST = 36
QUESTIONS = {
    "loss is nan": "bug_clinic",
    "loss not decreasing": "bug_clinic",
    "learning rate finder": "learning_rate",
    "warmup": "learning_rate",
    "batch size": "learning_rate",
    "freeze layers": "transfer_learning",
    "pretrained imagenet model": "transfer_learning",
    "classify text with few labels": "transfer_text",
    "lora or train all the weights": "transfer_text",
    "model forgot what it knew after fine tuning": "transfer_text",
    "which optimizer should I use": "optimizers",
    "momentum": "optimizers",
    "vanishing gradients": "initialization",
    "exploding gradients": "defaults_that_travel",
    "mixed precision": "defaults_that_travel",
    "rmsnorm or layernorm": "transformers",
    "dropout in a transformer": "transformers",
    "validation loss goes up": "overfitting",
    "how much dropout": "dropout",
    "AdamW": "weight_decay",
    "label smoothing": "mixing",
    "mixup": "mixing",
    "early stopping patience": "early_stopping",
    "standardize features": "normalization",
    "batchnorm with small batches": "batch_norm",
    "not enough images": "augmentation",
    "grid search or random search": "hyperparameter_search",
    "overfit a single batch": "sanity_checks",
    "how many seeds do I need": "evidence",
    "use my own dataset": "own_data",
    "grade homework": "teach",
    "weights not updating": "bug_clinic",
    "loss goes up and down": "bug_clinic",
    "exercise solutions": "teach",
    "download csv of claims": "claims",
}
# What a page may weigh when it is opened, in bytes, packed as servers pack it.
FIRST_VIEW = 300_000
FULL_OF_PICTURES = {"chapters/data_processing/augmentation.html": 600_000}
PACKED = (".html", ".css", ".js", ".svg", ".json")
# GitHub Pages serves the book under the repository's name, and so do we.
PREFIX = "/" + CONFIG["repository"]["url"].rsplit("/", 1)[1] + "/"


# ------------------------------------------------------------------ building and serving


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the built HTML."""
    if built := os.environ.get("TRICKS_SITE"):
        return Path(built).resolve()
    output = tmp_path_factory.mktemp("book")
    code = "import pathlib, sys; from book.build import build; "
    code += "sys.exit(build(output=pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, "The book does not build:\n" + done.stdout + done.stderr
    return output / "_build" / "html"


@functools.cache
def parsed(page: Path) -> BeautifulSoup:
    """A page of the built book, read once for all tests: they look at it and change nothing."""
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serve like GitHub Pages: under a prefix, and with 404.html for what is missing."""

    def translate_path(self, path: str) -> str:
        inside = path.startswith(PREFIX)
        return super().translate_path("/" + path.removeprefix(PREFIX) if inside else "/nothing")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        page = Path(self.directory, "404.html")
        if code != 404 or not page.exists():
            super().send_error(code, message, explain)
            return
        body = page.read_bytes()
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, served on this machine alone."""
    handler = partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with served(site) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            chromium = launch(playwright)
        except FileNotFoundError as missing:
            required = os.environ.get("TRICKS_REQUIRE_BROWSER")
            (pytest.fail if required else pytest.skip)(str(missing))
        yield chromium
        chromium.close()


# ---------------------------------------------------------------------- what pages show


@dataclass
class Visit:
    """What was seen on one page."""

    requests: list[str] = field(default_factory=list)
    at_once: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    wide: list[str] = field(default_factory=list)
    squashed: list[str] = field(default_factory=list)
    cut_tables: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)


FACTS = r"""async () => {
  await document.fonts.ready;
  const all = (query) => [...document.querySelectorAll(query)];
  const text = document.querySelector('main, body').cloneNode(true);
  text.querySelectorAll('pre, code, script, style, .katex').forEach((node) => node.remove());
  return {
    math: all('.math').length,
    drawn: all('.math .katex').length,
    raw: (text.textContent.match(/\$\$[^$]{0,40}|\\[(\[][^)\]]{0,40}|\\begin\{\w+\}/g) || []),
    cut: all('main .math .katex').filter((node) => {
      const column = node.closest('div.math') || node.closest('p, li, td, th, dd, figcaption');
      const formula = node.querySelector('.katex-html');
      return column && formula.getBoundingClientRect().width > column.clientWidth + 1;
    }).map((node) => node.closest('.math').id || node.parentNode.textContent.slice(0, 60)),
    blocks: all('main .highlight pre').length,
    long: all('main .highlight pre').filter((node) => !node.closest('.cell_output')
      && node.scrollWidth > node.clientWidth + 1).map((node) => node.textContent.slice(0, 60)),
    uncopied: all('main .highlight').filter((node) => node.querySelector('pre')
      && !node.closest('.linenos, .no-copybutton')
      && !node.querySelector('button.copybtn')).map((node) => node.textContent.slice(0, 60)),
    images: all('img').map((node) => ({
      src: node.getAttribute('src'), alt: node.getAttribute('alt'),
      sized: !!(node.getAttribute('width') || node.style.width || /svg$/.test(node.src)),
      article: !!node.closest('article'),
      drawn: !node.complete || node.naturalWidth > 0 || node.loading === 'lazy'})),
    icons: all('i[class*="fa-"]').filter((node) =>
      getComputedStyle(node, '::before').content === 'none').map((node) => node.className),
    badges: all('main a[href^="https://colab.research.google.com/github/"] img')
      .filter((node) => node.getBoundingClientRect().width > 0).length,
    links: all('a[href]').map((node) => node.href),
    ids: all('[id]').map((node) => node.id),
    title: document.title,
  };
}"""

# Each colour of code is looked at once on a page, on its longest word: axe takes its time over
# thousands of words, and has no opinion of a single letter. So do the rows of a long table, which
# one template makes: thirty of them stand for the rest.
ONE_OF_A_KIND = """() => {
  for (const row of document.querySelectorAll('tbody > tr:nth-child(n+31)')) row.remove();
  const words = [...document.querySelectorAll('.highlight pre span')];
  words.sort((a, b) => b.textContent.length - a.textContent.length);
  const seen = new Set();
  for (const word of words)
    if (seen.has(word.className)) word.replaceWith(...word.childNodes);
    else seen.add(word.className);
}"""

AXE = Axe().axe_script

# axe's rules on colours, which take most of its time.
COLOURS = ["color-contrast", "link-in-text-block"]
# What it does not ask by itself: that names hold what is seen, and that a finger finds its target.
BESIDES = ["label-content-name-mismatch", "target-size"]

# Marks one piece of text of each new kind: a kind is the classes of all that it stands in, which
# decide its colours.
NEW_KINDS = """(known) => {
  const seen = new Set(known), fresh = [];
  const name = (node) => [node.tagName, ...[...node.classList].sort()].join('.');
  const isText = (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim();
  const walk = (node, path) => {
    for (const child of node.children) {
      const kind = `${path} ${name(child)}`;
      if ([...child.childNodes].some(isText) && !seen.has(kind)) {
        seen.add(kind);
        fresh.push(kind);
        child.dataset.kind = 'new';
      }
      walk(child, kind);
    }
  };
  walk(document.body, '');
  return fresh;
}"""

WIDE = """() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  const nodes = [...document.querySelectorAll('main *')];
  const wide = nodes.filter((node) => node.getBoundingClientRect().right > root.clientWidth + 1);
  const named = wide.slice(0, 3).map((node) => node.tagName + '.' + node.className);
  return [`${root.scrollWidth} px wide: ${named.join(', ')}`];
}"""


# A picture that has been made narrower and kept its height.
SQUASHED = """() => [...document.querySelectorAll('article img[width][height]')].filter((node) => {
  const { width, height } = node.getBoundingClientRect();
  const style = getComputedStyle(node);
  const ratio = node.getAttribute('width') / node.getAttribute('height');
  const [x, y] = [parseFloat(style.paddingLeft) * 2, parseFloat(style.paddingTop) * 2];
  return height && Math.abs((width - x) / (height - y) / ratio - 1) > 0.05;
}).map((node) => node.getAttribute('src'))"""


# A table of which a part is out of sight, in a box that scrolls or beyond the article.
CUT_TABLES = """() => [...document.querySelectorAll('main table')].filter((table) => {
  const box = table.closest('.pst-scrollable-table-container, .cell_output, article, main');
  return table.getBoundingClientRect().right > box.getBoundingClientRect().right + 1;
}).map((table) => `${table.className} with ${table.textContent.trim().slice(0, 40)}`)"""

# Whether what has the focus shows it by an outline or a shadow, of its own or of a piece of it.
RING = """() => {
  const node = document.activeElement;
  if (node === document.body) return null;
  const styles = [node, ...node.querySelectorAll('*')].flatMap((piece) =>
    [null, '::before', '::after'].map((pseudo) => getComputedStyle(piece, pseudo)));
  const clear = (colour) => /rgba\\([^)]*, 0\\)/.test(colour);
  const seen = styles.some((style) => style.boxShadow !== 'none' && !clear(style.boxShadow)
    || style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0
    && !clear(style.outlineColor));
  return { seen, tag: node.outerHTML.slice(0, 120) };
}"""


def look_at(page: Page, url: str, *, axe: bool = True, known: set[str] | None = None) -> Visit:
    """Open a page and note all that the tests ask about.

    The same kinds of text have the same colours on every page: of those that are not among the
    ``known`` so far one piece each is looked at, in light and dark.
    """
    visit = Visit()
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("requestfailed", lambda request: visit.failed.append(request.url))
    page.on("response", lambda r: visit.failed.append(r.url) if r.status >= 400 else None)
    page.on("console", lambda m: visit.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.set_viewport_size(WINDOW)
    page.goto(url, wait_until="load")
    visit.at_once = list(visit.requests)
    visit.facts = page.evaluate(FACTS)
    page.add_style_tag(content="* { transition: none !important; animation: none !important }")
    visit.cut_tables = [f"in a window: {table}" for table in page.evaluate(CUT_TABLES)]
    page.set_viewport_size(PAPER)
    page.emulate_media(media="print")
    visit.cut_tables += [f"on paper: {table}" for table in page.evaluate(CUT_TABLES)]
    page.emulate_media(media="screen")
    page.set_viewport_size(PHONE)
    visit.wide = page.evaluate(WIDE)
    visit.squashed = page.evaluate(SQUASHED)
    page.set_viewport_size(WINDOW)
    if axe:
        resized = time.monotonic()
        page.evaluate(ONE_OF_A_KIND)
        known = set() if known is None else known
        new = page.evaluate(NEW_KINDS, list(known))
        known.update(new)
        for theme in ("light", "dark") if new else ():
            page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            found = axe_violations(page, rules=COLOURS, within="[data-kind]")
            visit.violations += [f"{theme}: {violation}" for violation in found]
        # The theme gives what scrolls its tab stop 300 ms after the last change of size.
        page.wait_for_timeout(max(0.0, 400 - 1000 * (time.monotonic() - resized)))
        visit.violations += axe_violations(page, but=COLOURS)
    return visit


def axe_violations(
    page: Page, *, rules: Sequence[str] = (), but: Sequence[str] = (), within: str = ""
) -> list[str]:
    """The serious and critical violations of the accessibility rules, with where they are.

    Args:
        page: an open page.
        rules: these rules alone; all of them when left out.
        but: all but these.
        within: a selector of what is looked at; the whole page when left out.
    """
    # preload=False: axe would fetch the style sheets again, some from a wrong address.
    options: dict = {"resultTypes": ["violations"], "preload": False}
    options["rules"] = {name: {"enabled": True} for name in BESIDES if not rules}
    options["rules"] |= {name: {"enabled": False} for name in but}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE)
    where = {"include": [[within]]} if within else None
    run = "([where, options]) => axe.run(where ?? document, options)"
    found = page.evaluate(run, [where, options])["violations"]
    return [
        f"{violation['id']} at {node['target']}: {node['failureSummary']}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"][:3]
    ]


@pytest.fixture(scope="module")
def visits(site: Path, address: str, browser: Browser) -> dict[str, Visit]:
    """Every page of the book by its path, looked at once."""
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    pages = [page for page in pages if not page.startswith("_static/")]
    seen = {}
    known: set[str] = set()
    # One context, so that scripts are read once; a page for each, so that nothing late is blamed
    # on the next one.
    with browser.new_context(reduced_motion="reduce", color_scheme="light") as context:
        for name in pages:
            with context.new_page() as page:
                # The listings under _modules come from Sphinx, all alike: looked at, not audited.
                audited = not name.startswith("_modules/")
                seen[name] = look_at(page, address + name, axe=audited, known=known)
    assert "index.html" in seen
    return seen


def noted(visits: dict[str, Visit], what: str) -> list[str]:
    return [f"{name}: {item}" for name, visit in visits.items() for item in getattr(visit, what)]


def nothing(lines: list[str]) -> None:
    """Fail with all lines if there is one."""
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


# -------------------------------------------------------------------------------- tests


def test_no_request_fails(visits: dict[str, Visit]) -> None:
    nothing(noted(visits, "failed"))


def test_no_request_leaves_this_machine(visits: dict[str, Visit], address: str) -> None:
    local = (address, "data:", "blob:")
    lines = [
        f"{name}: {url}"
        for name, visit in visits.items()
        for url in visit.requests
        if not url.startswith(local)
    ]
    nothing(lines)


def test_console_is_silent(visits: dict[str, Visit]) -> None:
    nothing(noted(visits, "errors"))


def test_pages_fit_a_phone(visits: dict[str, Visit]) -> None:
    nothing(noted(visits, "wide"))


def test_pictures_keep_their_shape_on_a_phone(visits: dict[str, Visit]) -> None:
    nothing(noted(visits, "squashed"))


def test_no_table_is_cut_off_in_a_window_or_on_paper(visits: dict[str, Visit]) -> None:
    nothing(noted(visits, "cut_tables"))


def test_a_page_with_something_new_is_looked_at_in_the_dark(
    browser: Browser, tmp_path: Path
) -> None:
    style = "html[data-theme='dark'] { background: #000; color: #eee } .new { color: #222 }"
    head = f"<html lang='en' data-theme='light'><title>t</title><style>{style}</style>"
    file = tmp_path / "page.html"
    file.write_text(f"{head}<main><h1>t</h1><p class='new'>words</p></main>", encoding="utf-8")
    known: set[str] = set()
    for dark in (True, False):
        with browser.new_page() as page:
            found = look_at(page, file.as_uri(), known=known).violations
        assert bool(found) == dark and " MAIN P.new" in known
        assert all(violation.startswith("dark: color-contrast") for violation in found)


@pytest.mark.parametrize(("width", "cut"), [(2000, 1), (200, 0)])
def test_a_cut_table_is_seen(browser: Browser, width: int, cut: int) -> None:
    table = f"<table style='width: {width}px'><tr><td>wide</td></tr></table>"
    box = f"<div class='pst-scrollable-table-container' style='overflow: auto'>{table}</div>"
    with browser.new_page(viewport=WINDOW) as page:
        page.set_content(f"<title>t</title><main><article>{box}</article></main>")
        assert len(page.evaluate(CUT_TABLES)) == cut


@pytest.mark.parametrize("name", ["index.html", "chapters/regularization/dropout.html"])
def test_a_dark_page_is_printed_light_and_unfolded(
    address: str, browser: Browser, name: str
) -> None:
    with browser.new_page(viewport=WINDOW, color_scheme="dark") as page:
        page.goto(address + name)
        state = """() => ({
          theme: document.documentElement.dataset.theme,
          mode: document.documentElement.dataset.mode,
          paper: getComputedStyle(document.body).backgroundColor,
          folded: document.querySelectorAll('article details:not([open])').length,
        })"""
        before = page.evaluate(state)
        assert before["theme"] == "dark" and before["folded"]
        page.evaluate(f"addEventListener('beforeprint', () => {{ window.seen = ({state})() }})")
        page.pdf(format="A4")
        seen = page.evaluate("window.seen")
        assert (seen["theme"], seen["paper"], seen["folded"]) == ("light", "rgb(255, 255, 255)", 0)
        page.wait_for_function(
            "(before) => document.documentElement.dataset.theme === before", arg=before["theme"]
        )
        assert page.evaluate(state) == before
        page.emulate_media(media="print")
        assert page.locator("#jb-print-toc").count() and page.locator("#jb-print-toc").is_hidden()


def test_folded_output_is_printed_and_leaves_no_page_empty(address: str, browser: Browser) -> None:
    with browser.new_page(viewport=WINDOW) as page:
        page.goto(f"{address}chapters/start/repeat.html")
        output = page.locator("details.hide pre").first.text_content()
        pages = [one.extract_text() for one in PdfReader(io.BytesIO(page.pdf())).pages]
        assert set(output.split()) <= set(" ".join(pages).split())
        assert min(len(text.split()) for text in pages[:-1]) > 50


def test_the_focus_is_always_seen(address: str, browser: Browser) -> None:
    with browser.new_page(viewport=WINDOW, reduced_motion="reduce") as page:
        page.goto(f"{address}chapters/regularization/dropout.html")
        page.add_style_tag(content="* { transition: none !important; animation: none !important }")
        walked = []
        for _ in range(70):
            page.keyboard.press("Tab")
            walked.append(page.evaluate(RING))
        walked = [place for place in walked if place]
        assert len({place["tag"] for place in walked}) > 55
        assert "theme-switch-button" in " ".join(place["tag"] for place in walked)
        nothing([place["tag"] for place in walked if not place["seen"]])


@pytest.mark.parametrize(
    "name", ["index.html", "chapters/regularization/dropout.html", "chapters/reference/claims.html"]
)
def test_a_dark_page_on_a_phone_is_accessible(address: str, browser: Browser, name: str) -> None:
    with browser.new_page(viewport=PHONE, color_scheme="dark", reduced_motion="reduce") as page:
        page.goto(address + name)
        assert page.locator("html").get_attribute("data-theme") == "dark"
        page.evaluate(ONE_OF_A_KIND)
        # What is not laid out yet has no true size.
        nothing(axe_violations(page, but=["target-size"]))


@pytest.mark.parametrize("window", [WINDOW, PHONE], ids=["window", "phone"])
@pytest.mark.parametrize(
    "place",
    [
        "parameter_tuning/optimizers.html#use-it",
        "data_processing/augmentation.html#references",
        "regularization/dropout.html#claim-dropout-placebo",
        "reference/claims.html#good-practices",
    ],
)
def test_a_link_to_a_place_arrives_there(
    address: str, browser: Browser, window: dict, place: str
) -> None:
    """Pictures that come late must not push the place away."""
    where = "id => document.getElementById(id).getBoundingClientRect().top"
    with browser.new_page(viewport=window, reduced_motion="reduce") as page:
        page.goto(f"{address}chapters/{place}")
        page.wait_for_timeout(1500)
        assert 0 <= page.evaluate(where, place.partition("#")[2]) < 200


def test_no_script_holds_a_page_up(site: Path) -> None:
    for page in (path for path in site.rglob("*.html") if "_static" not in path.parts):
        scripts = re.findall(r"<script[^>]*\ssrc=[^>]*>", page.read_text(encoding="utf-8"))
        hasty = [one for one in scripts if not re.search(r"\sdefer|\stype=.module", one)]
        assert len(scripts) > 3
        assert [one for one in hasty if "documentation_options" not in one] == [], page


def test_pages_are_accessible_in_light_and_dark(visits: dict[str, Visit]) -> None:
    nothing(noted(visits, "violations"))


def test_equations_are_drawn(visits: dict[str, Visit]) -> None:
    for name, visit in visits.items():
        assert visit.facts["drawn"] >= visit.facts["math"], f"{name}: an equation is not drawn"
        assert not visit.facts["raw"], f"{name}: raw TeX {visit.facts['raw'][:3]}"
    assert sum(visit.facts["drawn"] for visit in visits.values()) > 0, "no page has an equation"


def test_equations_fit_their_column(visits: dict[str, Visit]) -> None:
    nothing([f"{name}: {cut}" for name, visit in visits.items() for cut in visit.facts["cut"]])


def left_over(page: str) -> list[str]:
    """The TeX that a reader sees as such: a pair of dollars, or a backslash with its word."""
    soup = BeautifulSoup(page, "html.parser")
    for hidden in soup(["pre", "code", "script", "style", "template", "head"]):
        hidden.decompose()
    for drawn in soup.select(".math, .katex"):
        drawn.decompose()
    return re.findall(r"\${1,2}[^$\n]{1,80}\${1,2}|\\[A-Za-z]+|\\[(\[]", soup.get_text())


def test_no_tex_is_left_in_the_text(site: Path) -> None:
    pages = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    assert pages
    lines = [
        f"{path.relative_to(site)}: {left}"
        for path in pages
        for left in left_over(path.read_text(encoding="utf-8"))
    ]
    nothing(lines)


@pytest.mark.parametrize(
    ("page", "left"),
    [
        ("<p>Some Comments on $C_P$. 1973</p>", ["$C_P$"]),
        (r"<p>as well, $m_t = \beta</p><ul><li>g_t$.</li></ul>", [r"$m_t = \betag_t$"]),
        (r"<td>a rate of \(x\)</td>", [r"\("]),
        (r"<p>so $$\frac12$$ here</p>", [r"$$\frac12$$"]),
        (r'<p>A <span class="math">\(\beta\)</span> for $5, <code>$HOME$</code></p>', []),
        (r"<pre>'\n' $a$</pre><script>let a = '\t$x$'</script>", []),
    ],
)
def test_left_over_tex_is_seen(page: str, left: list[str]) -> None:
    assert left_over(page) == left


@pytest.mark.parametrize(("width", "cut"), [(200, ["wide"]), (600, [])])
def test_a_cut_equation_is_seen(browser: Browser, width: int, cut: list[str]) -> None:
    formula = "<span style='display: inline-block; width: 400px; height: 9px'></span>"
    formula = f"<span class='katex'><span class='katex-html'>{formula}</span></span>"
    column = f"<div class='math' id='wide' style='overflow: auto; width: {width}px'>{formula}</div>"
    with browser.new_page(viewport=WINDOW) as page:
        page.set_content(f"<title>t</title><main><article>{column}</article></main>")
        assert page.evaluate(FACTS)["cut"] == cut


def test_images_are_drawn_and_described(visits: dict[str, Visit]) -> None:
    for name, visit in visits.items():
        for image in visit.facts["images"]:
            assert image["alt"] is not None, f"{name}: {image['src']} has no alt text"
            assert image["alt"] or not image["article"], f"{name}: {image['src']} is undescribed"
            assert image["drawn"], f"{name}: {image['src']} is not drawn"
            assert image["sized"], f"{name}: {image['src']} has no size: the text below it jumps"


def test_icons_are_drawn(visits: dict[str, Visit]) -> None:
    nothing([f"{name}: {icon}" for name, visit in visits.items() for icon in visit.facts["icons"]])


def test_pages_are_light(visits: dict[str, Visit], site: Path, address: str) -> None:
    lines = []
    for name, visit in visits.items():
        paths = {unquote(urlsplit(url).path).removeprefix(PREFIX) for url in visit.at_once}
        files = [site / path for path in sorted(paths) if (site / path).is_file()]
        assert site / name in files
        weights = {file.name: weight(file) for file in files}
        if (total := sum(weights.values())) > FULL_OF_PICTURES.get(name, FIRST_VIEW):
            heaviest = sorted(weights, key=weights.__getitem__)[:-4:-1]
            lines.append(f"{name}: {total // 1000} KB, most of it {', '.join(heaviest)}")
    nothing(lines)


def weight(file: Path) -> int:
    """The bytes that are sent for a file."""
    content = file.read_bytes()
    return len(gzip.compress(content)) if file.suffix in PACKED else len(content)


def test_a_page_reads_without_javascript(address: str, browser: Browser) -> None:
    with browser.new_context(java_script_enabled=False, color_scheme="dark") as context:
        page = context.new_page()
        page.goto(f"{address}chapters/parameter_tuning/optimizers.html")
        assert page.locator("main .math .katex-html").first.is_visible()
        assert page.locator("main .highlight:not(details *)").first.is_visible()
        assert page.get_by_role("link", name="Dropout", exact=True).first.is_visible()
        # A script chooses the theme, and with it the colours of code; without it they are light.
        assert page.locator("html").get_attribute("data-theme") == "light"


def test_every_kind_of_page_reads_without_javascript(address: str, browser: Browser) -> None:
    seen = {
        "index": ".entrances .sd-card",
        "chapters/regularization/index": ".part-picture [role=img] svg",
        "chapters/reference/claims": "td.claim-cell",
        "chapters/reference/cheat_sheet": "table.cheat-sheet tbody td",
        "chapters/reference/api/train": "dt.sig",
        "search": "noscript a",
    }
    with browser.new_context(java_script_enabled=False) as context, context.new_page() as page:
        for name, query in seen.items():
            page.goto(f"{address}{name}.html", wait_until="domcontentloaded")
            assert page.locator(f"article :is({query})").first.is_visible(), name
            assert page.get_by_role("link", name="Dropout", exact=True).first.is_visible(), name
            assert not page.locator("figure.live:visible, .ledger-filter:visible").count(), name


def test_a_phone_lays_out_what_is_near_and_the_keyboard_reaches_the_rest(
    site: Path, address: str, browser: Browser
) -> None:
    assert lighten.AT_ONCE in (site / lighten.SCRIPT).read_text(encoding="utf-8")
    skipped = """() => [...document.querySelectorAll('.bd-article pre')]
      .filter((box) => !box.checkVisibility({ contentVisibilityAuto: true })).length"""
    with browser.new_page(viewport=PHONE, reduced_motion="reduce") as page:
        page.goto(f"{address}chapters/regularization/dropout.html")
        assert page.evaluate(skipped) > 20
        # What is not laid out yet may scroll; of what is, only that which scrolls is a stop.
        last = """(scrolls) => {
          const boxes = [...document.querySelectorAll('.bd-article pre:not(details *)')];
          const box = boxes.findLast((box) => (box.scrollWidth > box.clientWidth) === scrolls);
          const before = box.tabIndex;
          box.scrollIntoView();
          window.last = box;
          return before;
        }"""
        assert page.evaluate(last, True) == 0
        page.wait_for_timeout(500)
        assert page.evaluate("() => window.last.tabIndex") == 0
        page.evaluate(last, False)
        page.wait_for_function("() => window.last.tabIndex === -1")
        fold = page.locator("details.plumbing > summary").first
        assert fold.bounding_box()["height"] >= 24  # a target for a finger


def test_code_can_be_copied(visits: dict[str, Visit]) -> None:
    pages = {n: v for n, v in visits.items() if n.startswith("chapters/") and v.facts["blocks"]}
    assert pages
    for name, visit in pages.items():
        assert not visit.facts["uncopied"], f"{name}: no copy button at {visit.facts['uncopied']}"


def test_code_fits_its_column(visits: dict[str, Visit]) -> None:
    pages = {n: v for n, v in visits.items() if not n.startswith("_modules/")}  # as the files are
    nothing([f"{name}: {long}" for name, visit in pages.items() for long in visit.facts["long"]])


def test_notebook_pages_show_the_colab_badge(visits: dict[str, Visit]) -> None:
    notebooks = [p.relative_to(ROOT) for p in (ROOT / "chapters").rglob("*.ipynb")]
    pages = {path.with_suffix(".html").as_posix() for path in notebooks} & set(visits)
    assert pages
    assert [name for name in sorted(pages) if visits[name].facts["badges"] != 1] == []


def test_links_inside_the_book_lead_somewhere(
    visits: dict[str, Visit], site: Path, address: str
) -> None:
    broken = set()
    for name, visit in visits.items():
        for link in visit.facts["links"]:
            url, fragment = urldefrag(urljoin(address + name, link))
            if not url.startswith(address):
                continue
            target = unquote(urlsplit(url).path).removeprefix(PREFIX) or "index.html"
            if not (site / target).is_file():
                broken.add(f"{name}: {target} does not exist")
            elif target in visits and unquote(fragment) not in {"", *visits[target].facts["ids"]}:
                broken.add(f"{name}: {target} has no #{fragment}")
    nothing(sorted(broken))


def test_the_cheat_sheet_is_one_leaf_to_print(site: Path) -> None:
    claims: dict[str, list[Any]] = defaultdict(list)
    for path in (ROOT / "chapters").rglob("*.ipynb"):
        for record in stored_records(json.loads(path.read_text(encoding="utf-8"))):
            claims[record["id"]].append(record)
    reader = PdfReader(site / f"{SHEET}.pdf")
    page, back = reader.pages  # two sides
    assert tuple(round(side) for side in page.mediabox[2:]) == A4
    assert reader.metadata.title == f"{CONFIG['title']}: the cheat sheet"
    assert smallest(page) >= 7 and smallest(back) >= 7
    for title in ("Numbers to start from", "optimizer.step()", "From symptom to cause", "Cosine"):
        assert title in words(back)
    text = words(page)
    for row in rows_of((ROOT / f"{SHEET}.md").read_text(encoding="utf-8")):
        assert row["trick"] in text
        for claim in row["claims"]:
            sentence = claims[claim][0]["sentence"]
            # Within a claim a mark follows a semicolon; any other mark begins the next claim.
            told = re.split(r"(?<!; )[●◆○◇]", text.split(sentence)[1])[0]
            assert all(f"{record['verdict']}, " in told for record in claims[claim]), claim


def test_headline_claims_stand_on_their_pages_and_on_the_landing_page(site: Path) -> None:
    told: list[str] = []
    for path in sorted((ROOT / "chapters").rglob("*.ipynb")):
        page = site / path.relative_to(ROOT).with_suffix(".html")
        if not page.is_file():
            continue  # a solution, or a copy that an editor left
        records = stored_records(json.loads(path.read_text(encoding="utf-8")))
        here = dict.fromkeys(record["sentence"] for record in records if record["headline"])
        assert sentences(page, ".headline-strip > li > a") == list(here), page.name
        told += here
    assert told
    assert sorted(sentences(site / "index.html", '.verdict-table th[scope="row"]')) == sorted(told)


def sentences(page: Path, query: str) -> list[str]:
    """The texts on a page, with the quotes that a keyboard has."""
    soup = parsed(page)
    quotes = str.maketrans("\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}", "''")
    quotes |= str.maketrans("\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}", '""')
    return [node.get_text().translate(quotes) for node in soup.select(query)]


def test_search_answers_a_reader_in_trouble(address: str, search_page: Page) -> None:
    first = first_results(search_page, *QUESTIONS)
    assert all(found.startswith(address) for found in first.values())
    wrong = {q: f for q, f in first.items() if f"/{QUESTIONS[q]}.html" not in f}
    assert len(wrong) <= len(QUESTIONS) // 10, wrong


def test_search_answers_questions_that_nobody_tuned_it_for(search_page: Page) -> None:
    first = first_results(search_page, *UNTUNED)
    wrong = {
        question: found
        for question, found in first.items()
        if not any(f"/{page}.html" in found for page in UNTUNED[question].split())
    }
    assert len(UNTUNED) - len(wrong) >= UNTUNED_LEAST, wrong


@pytest.fixture(scope="module")
def search_page(address: str, browser: Browser) -> Iterator[Page]:
    with browser.new_page() as page:
        page.goto(f"{address}search.html")
        yield page


# Types one question after the other, and takes the first of what is listed.
ASK = """async (questions) => {
  const field = document.querySelector('.book-search input[name=q]');
  const state = document.getElementById('search-state');
  const told = (question) => new Promise((done, failed) => {
    setTimeout(() => failed(new Error(`no answer to ${question}`)), 30000);
    const ready = () => state.textContent.includes(`for “${question}”`) && done();
    new MutationObserver(ready).observe(state, { childList: true });
    field.value = question;
    field.dispatchEvent(new Event('input'));
  });
  const first = {};
  for (const question of questions) {
    await told(question);
    first[question] = document.querySelector('#search-results a')?.href ?? '';
  }
  return first;
}"""


def first_results(page: Page, *questions: str) -> dict[str, str]:
    """The address of what the search lists first for each question; empty if nothing."""
    return page.evaluate(ASK, questions)


def test_search_says_when_it_finds_nothing(address: str, browser: Browser) -> None:
    with browser.new_page() as page:
        page.goto(f"{address}search.html?q=zyzzyva")
        page.get_by_text("Nothing for “zyzzyva”").wait_for()


def test_search_keeps_what_is_typed_before_its_index_has_come(
    address: str, browser: Browser
) -> None:
    with browser.new_page() as page:
        late: list[Route] = []
        page.route("**/words.json", lambda route: late.append(route))
        page.goto(f"{address}search.html", wait_until="domcontentloaded")
        page.locator(".book-search input[name=q]").fill("momentum")
        with page.expect_response("**/words.json"):
            page.wait_for_timeout(100)
            late[0].continue_()
        page.get_by_text("for “momentum”").wait_for(timeout=5000)


@pytest.mark.parametrize(
    ("question", "read"),
    [
        ("vanishng gradeints", "vanishing gradients"),
        ("acc and lr", "accuracy and learning rate"),
        ("penalize weights", "penalise weights"),
        ("dropo", ""),  # still being typed
        ("momentum", ""),
    ],
)
def test_search_says_how_it_reads_a_question(search_page: Page, question: str, read: str) -> None:
    assert first_results(search_page, question)[question]
    told = search_page.locator("#search-state").inner_text()
    assert told.endswith(f"“{question}”" + (f" (read as “{read}”)" if read else ""))


def test_search_explains_a_word(search_page: Page) -> None:
    words = ("what is a logit", "what does weight decay mean", "meaning of epoch")
    first = first_results(search_page, *words, "weight decay")
    assert ["glossary.html#term-" in found for found in first.values()] == [True] * 3 + [False]


@pytest.mark.parametrize("window", [WINDOW, PHONE], ids=["window", "phone"])
def test_the_search_box_is_always_in_sight(address: str, browser: Browser, window: dict) -> None:
    with browser.new_page(viewport=window, reduced_motion="reduce") as page:
        page.goto(f"{address}chapters/regularization/index.html")
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        button = page.locator(".bd-header-article .search-button")
        box = button.bounding_box()
        assert box["y"] >= 0 and box["x"] + box["width"] <= window["width"]
        assert box["width"] >= 80 and box["height"] >= 30
        style = "button => getComputedStyle(button, '::after').content"
        assert button.evaluate(style) == '"Search"'
        button.click()
        page.keyboard.type("warmup")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?q=warmup")


def test_answers_lead_somewhere(site: Path) -> None:
    answers = json.loads((ROOT / "book" / "static" / "answers.json").read_text(encoding="utf-8"))
    for answer in answers:
        page, _, place = answer["page"].partition("#")
        text = (site / page).read_text(encoding="utf-8")
        assert not place or f'id="{place}"' in text, answer["page"]


def test_the_ledger_is_filtered_and_ordered(address: str, browser: Browser) -> None:
    with browser.new_page() as page:
        page.goto(f"{address}chapters/reference/claims.html")
        total = page.locator("td.claim-cell:visible").count()
        told = page.locator(".ledger-filter output").inner_text()
        assert told == f"{total} of {total} claims and checks"

        page.get_by_label("Verdict").select_option("opposite")
        some = page.locator("td.claim-cell:visible").count()
        assert 0 < some < total
        assert page.locator("tr:visible .verdict.claim-opposite").count() >= some

        page.get_by_label("Order").select_option("strongest first")
        page.get_by_label("Verdict").select_option("")
        assert page.locator("td.claim-cell:visible").count() == total
        rows = page.locator("table.ledger-full tr:has(.row-interval)").evaluate_all(
            "rows => rows.map((row) => [!!row.querySelector('.claim-cell'),"
            " Number(row.querySelector('.row-interval').dataset.effect)])"
        )
        second = next(at for at, (begins, _) in enumerate(rows) if begins and at)
        assert max(effect for _, effect in rows[:second]) == max(effect for _, effect in rows)

        page.get_by_label("Order").select_option("of the book")
        page.get_by_label("Words").fill("dropout.")
        ids = page.locator("td.claim-cell:visible .claim-id").all_text_contents()
        assert ids and all("dropout" in name for name in ids)


def test_the_ledger_can_be_taken_away(site: Path) -> None:
    folder = site / "chapters" / "reference"
    with (folder / "claims.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    whole = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    ledger = parsed(folder / "claims.html")
    assert len(table) == len(whole) == len(ledger.select(".row-interval"))
    documented = {code.get_text() for code in ledger.select("#take-the-data td:first-child code")}
    assert documented == set(table[0])
    schema = json.loads((folder / "claims.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(whole)
    fields = {code.get_text() for code in ledger.select("table.fields tbody th code")}
    assert fields == set(whole[0])
    bib = (folder / "claims.bib").read_text(encoding="utf-8")
    assert bib.count("@misc{") == len({record["id"] for record in whole})
    texts = {page: page.read_text(encoding="utf-8") for page in (site / "chapters").rglob("*.html")}
    for row, record in zip(table, whole, strict=True):
        assert (row["id"], row["verdict"]) == (record["id"], record["verdict"])
        for address in (row["address"], row["lasting"]):
            page, anchor = address.split("/chapters/")[1].split("#")
            assert f'id="{anchor}"' in texts[site / "chapters" / page]
        assert f"{{{row['lasting']}}}" in bib


def test_every_claim_has_an_address_that_no_measurement_changes(site: Path) -> None:
    claims: set[str] = set()
    for page in (site / "chapters").rglob("*.html"):
        soup = parsed(page)
        places = Counter(node["id"] for node in soup.find_all(id=True))
        for card in soup.select("div.claim[id]"):
            link = card.select_one("a.claim-address")
            name = link.get_text()
            lasting = stable_anchor(name)
            # The claim's first card bears its address; further measurements have their own.
            first = name not in claims
            assert link["href"] == f"#{lasting if first else card['id']}"
            assert places[lasting] == 1
            (*cited,) = card.select("details.cite-claim pre")
            assert len(cited) == first
            assert not first or f"#{lasting}}}" in cited[0].get_text()
            claims.add(name)
    assert claims


def test_every_table_has_a_name_of_its_own_and_heads_with_scopes(site: Path) -> None:
    pages = [site / "index.html", *sorted((site / "chapters").rglob("*.html"))]
    tables = 0
    for page in pages:
        soup = parsed(page)
        found = soup.select("article table")
        names = [table.caption.get_text().strip() if table.caption else "" for table in found]
        assert all(names) and len(set(names)) == len(names), f"{page}: {names}"
        for head in soup.select("article th"):
            assert head.get("scope") and head.get_text(strip=True), f"{page}: {head}"
        tables += len(found)
    assert tables > 50


def test_plots_of_claims_are_told_apart(site: Path) -> None:
    for page in sorted((site / "chapters").rglob("*.html")):
        soup = parsed(page)
        names = [plot["aria-label"] for plot in soup.select("div.claim svg.claim-interval")]
        assert len(set(names)) == len(names), page


def test_cards_name_their_scale(site: Path) -> None:
    page = site / "chapters" / "regularization" / "dropout.html"
    soup = parsed(page)
    drawn = soup.select("div.claim svg.claim-interval")
    assert drawn
    for picture in drawn:
        ticks = [text.get_text() for text in picture.select("text")]
        low, high, zero = (tick.strip("+\N{MINUS SIGN}") for tick in ticks)
        assert low == high and zero == "0"
        assert re.match(r"effect .+ interval .+ to .+, margin ", picture["aria-label"])


def test_plumbing_is_folded_and_figures_are_numbered(site: Path) -> None:
    page = site / "chapters" / "regularization" / "dropout.html"
    soup = parsed(page)
    assert soup.select_one(".onthispage").get_text(strip=True) == "On this page"
    folded = soup.select("details.plumbing")
    assert len(folded) > 5 and all(part.select_one("pre") for part in folded)
    assert not soup.select("#use-it details.plumbing, #from-scratch details.plumbing")
    numbers = [caption.get_text().split()[1] for caption in soup.select(".numbered figcaption")]
    assert numbers == [f"{n}." for n in range(1, len(numbers) + 1)] and numbers


@pytest.mark.parametrize("name", PLACES)
def test_live_figures_follow_their_handles(address: str, browser: Browser, name: str) -> None:
    with browser.new_page(viewport=PHONE, reduced_motion="reduce") as page:
        errors: list[str] = []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}{name}.html")
        figure = page.locator("figure.live.ready")
        picture, says = figure.locator("svg[role=img]"), figure.locator(".live-says")
        assert picture.get_attribute("aria-label") == says.text_content()
        handles = figure.locator("input[type=range]")
        told = {says.text_content()}
        for handle in handles.all():  # the keyboard reaches and moves each
            handle.focus()
            for key in ("End", "ArrowLeft", "Home"):
                page.keyboard.press(key)
                told.add(says.text_content())
                assert picture.get_attribute("aria-label") == says.text_content()
                assert not re.search("NaN|undefined|Infinity", picture.inner_html())
        assert len(told) > handles.count()
        assert picture.bounding_box()["width"] <= PHONE["width"]
        assert not errors


# The texts of all cards, packed; a page asks for them with the first card.
CARD_TEXTS = 60_000


def test_every_link_with_a_card_has_a_text(site: Path, visits: dict[str, Visit]) -> None:
    text = (site / "_static" / cards.FILE).read_text(encoding="utf-8")
    texts = json.loads(text.removeprefix("window.cardTexts=").rstrip(";\n"))
    kinds: dict[str, int] = defaultdict(int)
    for name, visit in visits.items():
        for link in visit.facts["links"]:
            url, place = urldefrag(link)
            page = urlsplit(url).path.rpartition("/")[2].removesuffix(".html")
            kind = re.match(r"claim-|term-|id\d+$", unquote(place))
            key = f"#{place}" if kind and kind[0] == "claim-" else f"{page}#{unquote(place)}"
            if kind and (kind[0] == "claim-" or page in ("glossary", "bibliography")):
                kinds[kind[0][:2]] += 1
                assert texts.get(texts.get(key, ""), texts.get(key)), f"{name}: no card for {key}"
    assert set(kinds) == {"cl", "te", "id"}


def test_the_texts_of_cards_are_light_and_come_late(site: Path, visits: dict[str, Visit]) -> None:
    assert weight(site / "_static" / cards.FILE) <= CARD_TEXTS
    nothing([n for n, v in visits.items() if any(cards.FILE in url for url in v.at_once)])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_pointer_opens_a_card_and_keeps_it(address: str, browser: Browser, scheme: str) -> None:
    with browser.new_page(viewport=WINDOW, color_scheme=scheme) as page:
        page.goto(f"{address}chapters/regularization/dropout.html")
        card, link = page.locator("#link-card"), page.locator("p a.claim-ref:visible").first
        link.hover()
        card.wait_for()
        assert card.locator(".card-says").inner_text() and card.locator(".verdict").count()
        assert re.search(r"\[[^\]]+, [^\]]+\] points", card.inner_text())
        assert link.get_attribute("aria-describedby") == "link-card"
        assert link.get_attribute("title") is None  # else the browser shows another
        nothing(axe_violations(page, within="#link-card"))
        box = card.bounding_box()  # the way to the card leads over its edge
        page.mouse.move(box["x"] + 30, box["y"] + 10, steps=10)
        page.wait_for_timeout(600)
        assert card.is_visible()
        page.mouse.move(5, 5)
        card.wait_for(state="hidden")
        link.hover()
        card.wait_for()
        page.keyboard.press("Escape")
        assert card.is_hidden() and link.get_attribute("aria-describedby") is None
        page.wait_for_timeout(600)
        assert card.is_hidden()
        for place in ("glossary.html#term-", "bibliography.html#id"):
            page.locator(f"article p a[href*='{place}']").first.hover()
            card.wait_for()
            assert len(card.inner_text()) > 20
            page.keyboard.press("Escape")


def test_the_keyboard_opens_a_card(address: str, browser: Browser) -> None:
    with browser.new_page(viewport=WINDOW) as page:
        page.goto(f"{address}chapters/regularization/dropout.html")
        card = page.locator("#link-card")
        links = page.locator(".headline-strip > li:not(:has(details)) > a.claim-ref")
        links.first.focus()
        page.keyboard.press("Tab")
        card.wait_for()
        assert links.nth(1).get_attribute("aria-describedby") == "link-card"
        page.mouse.move(5, 5)
        page.wait_for_timeout(600)
        assert card.is_visible()  # what the pointer does is not its matter
        page.keyboard.press("Escape")
        assert card.is_hidden()
        assert links.nth(1).evaluate("link => link === document.activeElement")
        page.keyboard.press("Tab")
        card.wait_for()
        page.keyboard.press("Enter")
        page.wait_for_url("**#claim-*")
        assert card.is_hidden()


def test_a_finger_opens_a_card_and_then_follows(address: str, browser: Browser) -> None:
    with (
        browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True) as context,
        context.new_page() as page,
    ):
        page.goto(f"{address}chapters/regularization/index.html")
        card, links = page.locator("#link-card"), page.locator(".verdict-table a.claim-ref:visible")
        links.nth(0).tap()
        card.wait_for()
        assert "Tap again to go there." in card.inner_text()
        box = card.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
        nothing(axe_violations(page))
        page.locator("article h1").tap()
        assert card.is_hidden()
        links.nth(0).tap()
        card.wait_for()
        links.nth(0).tap()
        page.wait_for_url("**#claim-*")


def test_scripts_work_in_pages_opened_from_a_folder(site: Path, browser: Browser) -> None:
    with browser.new_page(viewport=WINDOW) as page:
        page.goto((site / "chapters/regularization/dropout.html").as_uri())
        page.locator(".headline-strip a.claim-ref").first.hover()
        page.locator("#link-card").wait_for()
        page.goto((site / "chapters/regularization/early_stopping.html").as_uri())
        page.locator("figure.live.ready").wait_for()
        page.goto((site / "chapters/reference/claims.html").as_uri())
        page.get_by_label("Words").fill("dropout.")
        page.get_by_text(re.compile(r"^\d\d? of \d{3} claims")).wait_for()
        page.goto((site / "search.html").as_uri())
        assert "make serve" in page.locator("#search-state").inner_text()


def test_each_part_opens_with_a_picture(site: Path) -> None:
    for folder in sorted({path.parent for path in (ROOT / "chapters").glob("*/index.md")}):
        page = site / folder.relative_to(ROOT) / "index.html"
        soup = parsed(page)
        (picture,) = soup.select(".part-picture [role=img]")
        assert picture.find_next("table", class_="verdict-table")
        claims = [
            record
            for path in sorted(folder.glob("*.ipynb"))
            for record in stored_records(json.loads(path.read_text(encoding="utf-8")))
            if record["kind"] == "claim"
        ]
        assert len(picture.select("svg [class^=claim-]")) == len(claims)
        told = [
            int(number)
            for number in re.findall(r"(\d+) (?:holds|opp|too|und)", picture["aria-label"])
        ]
        assert sum(told) == len(claims)


def test_pages_are_described_by_their_own_words(site: Path) -> None:
    for page in sorted((site / "chapters").rglob("*.html")):
        soup = parsed(page)
        told = soup.find("meta", attrs={"name": "description"})
        assert told and len(told["content"]) > 20, page
        assert not re.match(r"Open in Colab|About \d|Contents", told["content"]), page
        # Nor by a claim's marks, or by the first of a list of works.
        assert not re.search(r"[●◆○◇]|\. 1, ", told["content"]), page


def test_the_sitemap_names_every_page(site: Path) -> None:
    named = re.findall(r"<loc>(\S+)</loc>", (site / "sitemap.xml").read_text(encoding="utf-8"))
    base = min(named, key=len).removesuffix("index.html")
    for page in (site / "chapters").rglob("*.html"):
        assert base + page.relative_to(site).as_posix() in named
    assert f"Sitemap: {base}sitemap.xml" in (site / "robots.txt").read_text(encoding="utf-8")


def test_the_landing_page_says_that_the_book_is_a_course(site: Path) -> None:
    soup = parsed(site / "index.html")
    told = json.loads(soup.find("script", type="application/ld+json").string)
    assert told["@type"] == "Course" and told["name"] == CONFIG["title"]


def test_how_to_cite_agrees_with_the_citation_file() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    page = (ROOT / "chapters" / "reference" / "cite.md").read_text(encoding="utf-8")
    year = str(cited["date-released"])[:4]
    for said in (cited["title"], cited["version"], cited["repository-code"], year):
        assert said in page
    assert all(author["name"] in page for author in cited["authors"])


def test_a_missing_page_says_so(address: str, browser: Browser) -> None:
    missing = address + "no/such/page.html"
    with browser.new_page() as page:
        visit = look_at(page, missing, axe=False)
        assert "not" in page.locator("article h1").first.inner_text().lower()
        assert visit.failed == [missing], "the 404 page asks for files that are not there"
        page.set_viewport_size(WINDOW)
        page.locator(f'a[href^="{PREFIX}"]').first.click()
        page.wait_for_load_state()
        assert page.url.startswith(address) and "no/such" not in page.url


def test_solutions_are_not_published(site: Path) -> None:
    """Neither their files nor their code: in no page, search index or download."""
    secrets = solutions()
    assert secrets
    for path in site.rglob("*"):
        assert "_solutions" not in path.parts
        if path.suffix in (".html", ".js", ".ipynb", ".txt", ".json", ".inv", ".md"):
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert "### BEGIN SOLUTION" not in text, path
            shown = html.unescape(re.sub(r"<[^>]*>", "", text)) + text
            plain = "".join(re.sub(r"\\[nt\"]", "", shown).replace('"', "").split())
            assert not [secret for secret in secrets if secret in plain], path


def solutions() -> list[str]:
    """The code of each solution, without spaces and quotes."""
    found: list[str] = []
    part = re.compile(r"### BEGIN SOLUTION\n(.*?)### END", re.DOTALL)
    for path in (ROOT / "chapters").rglob("_solutions/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            found += ["".join(m.replace('"', "").split()) for m in part.findall(cell.source)]
    return [secret for secret in found if len(secret) > 60]
