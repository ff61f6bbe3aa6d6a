"""The search of the site: an index that Pagefind makes of the built pages.

It takes the place of Sphinx's, whose index every page would load. The search page asks it, and
``static/answers.json``, which leads from words that readers use to the place that answers them.
``_static/words.json`` holds the words of the book, by which it mends a slip of the reader's hand,
and what the glossary says of each term.
"""

from __future__ import annotations

import gzip
import html
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

SCRIPTS = ("searchtools.js", "language_data.js", "searchindex.js")
NAMES = "|".join(map(re.escape, SCRIPTS))
SCRIPT = re.compile(rf'\s*<script\b[^>]* src="[^"]*\b(?:{NAMES})[^>]*></script>')
# What a button shows is its name; another name, without the keys that it shows, is none to say.
BUTTON = re.compile(r'(<button\b[^>]*\bsearch-button-field\b[^>]*?) aria-label="[^"]*"')
# Drawn formulas (their MathML stays), code and numbers on cards would fill the excerpts.
LEFT_OUT = (
    "div.math",
    ".katex-html",
    "annotation",
    ".highlight",
    ".headerlink",
    ".claim-conditions",
    ".claim-numbers",
    ".cite-claim",
    ".marks",
    ".claim-mark .visually-hidden",
    ".mark-legend",
    "caption.visually-hidden",
)
PAGES = ("index.html", "chapters/**/*.html")
# Sphinx names a section, Pagefind a heading.
NAMED = re.compile(r'<section id="([^"]+)">((?:\s*<span[^>]*></span>)*\s*<h[1-6])')

WORDS = "words.json"
GLOSSARY = "chapters/reference/glossary.html"
TERM = re.compile(r'<dt id="(term-[^"]+)">([^<]+).*?<dd>\s*<p>(.*?)</p>', re.DOTALL)


def index(site: Path) -> None:
    """Make the index of a built book in ``site``, and take Sphinx's own out of its pages.

    Raises:
        ExtensionError: Pagefind failed; the message is its own.
    """
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if (made := BUTTON.sub(r"\1", SCRIPT.sub("", text))) != text:
            page.write_text(made, encoding="utf-8", newline="\n")
    for script in (site / "searchindex.js", *(site / "_static" / name for name in SCRIPTS)):
        script.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pagefind", "--root-selector", "article"]
    for selector in LEFT_OUT:
        command += ["--exclude-selectors", selector]
    with tempfile.TemporaryDirectory() as copy:
        for page in (found for pattern in PAGES for found in site.glob(pattern)):
            text = page.read_text(encoding="utf-8")
            target = Path(copy) / page.relative_to(site)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(NAMED.sub(r'<section>\2 id="\1"', text), encoding="utf-8")
        command += ["--site", copy, "--output-path", str(site / "pagefind")]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ExtensionError(f"Pagefind made no index: {done.stderr or done.stdout}")
    for needless in ("pagefind-highlight.js", "wasm.unknown.pagefind"):
        (site / "pagefind" / needless).unlink(missing_ok=True)
    book = {"words": words(site), "terms": terms(site / GLOSSARY)}
    text = json.dumps(book, ensure_ascii=False, separators=(",", ":"))
    (site / "_static" / WORDS).write_text(text, encoding="utf-8")


def words(site: Path) -> list[str]:
    """The words of four letters and more that Pagefind read, the most frequent first."""
    counts: Counter[str] = Counter()
    for fragment in (site / "pagefind" / "fragment").iterdir():
        read = gzip.decompress(fragment.read_bytes()).removeprefix(b"pagefind_dcd")
        counts.update(re.findall(r"\b[a-z]{4,}\b", json.loads(read)["content"].lower()))
    return sorted(counts, key=lambda word: (-counts[word], word))


def terms(glossary: Path) -> list[tuple[str, str, str]]:
    """Of each term in a built glossary its place, itself and the plain text of what it means."""
    if not glossary.is_file():
        return []
    plain = (
        (place, term, " ".join(re.sub(r"<[^>]+>", "", says).split()))
        for place, term, says in TERM.findall(glossary.read_text(encoding="utf-8"))
    )
    return [(place, html.unescape(term), html.unescape(says)) for place, term, says in plain]


def after_build(app: Sphinx, exception: Exception | None) -> None:
    """Called by Sphinx when all pages are written."""
    if exception is None and app.builder.name == "html":
        index(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", after_build, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
