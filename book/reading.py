"""What makes a long page quick to read: folded plumbing, numbered figures, how long it takes.

A cell is *plumbing* when all that it does is to declare claims, to judge them or to draw: a reader
of the book wants what comes out of it, and opens the rest with a click. Colab shows every cell as
it is. What a reader came to learn is never folded: definitions, training, assertions, and all that
stands in the sections that are named in ``OPEN``.

Figures get their numbers here, page by page, with the first sentence of what their text for those
who cannot see them says. Works in the doctree, so that the book on paper and the e-book have it
as well; only folding is for the screen.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from book.cards import first_sentence
from book.tags import tag

#: Sections whose code is the lesson.
OPEN = frozenset({"from-scratch", "use-it", "exercises"})
#: Calls after which a cell is more than plumbing.
WORK = frozenset(
    {"compare", "recorded", "sweep", "fit", "evaluate", "check", "backward", "again", "print"}
)
WORDS_A_MINUTE = 200
MINUTES = re.compile(r"About .+ on a CPU")


def plumbing(source: str) -> str:
    """What the cell does if it is plumbing, ``claims`` or ``figure``; else nothing."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a line for the shell, such as %pip
        return ""
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Assert, ast.With)
    if any(isinstance(node, kinds) for node in ast.walk(tree)):
        return ""
    called = {name for node in ast.walk(tree) if (name := _called(node))}
    if called & WORK:
        return ""
    if called & {"claim", "Claim", "Claims"} or any(_declares(node) for node in ast.walk(tree)):
        return "claims"
    draws = "show" in called or re.search(r"\btl\.plots\.", source)
    return "figure" if draws else ""


def _called(node: ast.AST) -> str:
    """The last name of what is called: ``show`` of ``plt.show()``."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _declares(node: ast.AST) -> bool:
    """Whether it is a call such as ``say("name", "sentence", ...)``."""
    if not (isinstance(node, ast.Call) and len(node.args) >= 2):
        return False
    words = [getattr(one, "value", None) for one in node.args[:2]]
    if not all(isinstance(word, str) for word in words):
        return False
    return bool(re.fullmatch(r"[a-z0-9_.]+", words[0])) and words[1].rstrip().endswith(".")


def cells(doctree: nodes.document) -> Iterator[nodes.container]:
    """The code cells of a page in their order."""
    for node in doctree.findall(nodes.container):
        if "cell" in node["classes"]:
            yield node


def sections(node: nodes.Node) -> set[str]:
    """The names of all sections that a node stands in."""
    found: set[str] = set()
    while node is not None:
        if isinstance(node, nodes.section):
            found |= set(node["ids"])
        node = node.parent
    return found


def fold(doctree: nodes.document) -> None:
    """Put the source of plumbing behind a line that opens it."""
    for cell in cells(doctree):
        source = next((part for part in cell if "cell_input" in part.get("classes", ())), None)
        kind = plumbing(source.astext()) if source is not None else ""
        if not kind or sections(cell) & OPEN:
            continue
        words = "Code: declaring and judging" if kind == "claims" else "Code: the figure"
        start = f'<details class="plumbing"><summary>{words}</summary>'
        at = cell.index(source)
        cell.insert(at + 1, nodes.raw("", "</details>", format="html"))
        cell.insert(at, nodes.raw("", start, format="html"))


def number(doctree: nodes.document) -> None:
    """Give each picture that a cell has made a number and a caption."""
    made = 0
    for cell in cells(doctree):
        for image in list(cell.findall(nodes.image)):
            made += 1
            text = first_sentence(image.get("alt", ""))
            label = nodes.strong("", f"Figure {made}.")
            caption = tag("figcaption", label, nodes.Text(f" {text}"))
            place = image.parent.index(image)
            # Not Sphinx's own figure, which it would number through the whole book.
            figure = tag("figure", css="numbered")
            figure["ids"] = [f"figure-{made}"]
            image.parent.insert(place, figure)
            image.parent.remove(image)
            figure += [image, caption]


def tell_minutes(doctree: nodes.document) -> None:
    """Say how long the page takes to read, beside how long it takes to run."""
    for strong in doctree.findall(nodes.strong):
        if MINUTES.fullmatch(strong.astext()):
            words = sum(
                len(node.astext().split())
                for node in doctree.findall(nodes.paragraph)
                if not isinstance(node.parent, nodes.footnote)
            )
            minutes = max(1, math.ceil(words / WORDS_A_MINUTE))
            strong += nodes.Text(f" · {minutes} minutes to read")
            return


def make_quick(app: Sphinx, doctree: nodes.document) -> None:
    """Called by Sphinx for every page that it has read."""
    fold(doctree)
    number(doctree)
    tell_minutes(doctree)


SMALL_PRINT = re.compile(
    r'(?:<p class="claim-numbers">(Amended .*?)</p>\s*)?<p class="claim-conditions">(.*?)</p>',
    re.DOTALL,
)


def fold_small_print(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Put how each card's runs were trained, and what was amended, behind a line that opens it."""

    def folded(found: re.Match[str]) -> str:
        amended, conditions = found.groups()
        words = "Conditions, and what was amended" if amended else "Conditions"
        parts = "".join(f"<p>{part}</p>" for part in (conditions, amended) if part)
        return f'<details class="claim-conditions"><summary>{words}</summary>{parts}</details>'

    if "body" in context:
        context["body"] = SMALL_PRINT.sub(folded, context["body"])


# MyST-NB gives what opens an output another name than the words that stand on it.
MISNAMED = re.compile(r'(<summary) aria-label="[^"]*"(?=>)')


def name_by_what_is_seen(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let the words on a fold be its name: who asks for them by voice must be understood."""
    if "body" in context:
        context["body"] = MISNAMED.sub(r"\1", context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.setup_extension("book.tags")
    app.connect("doctree-read", make_quick)
    # after the module that rewrites the words on the cards
    app.connect("html-page-context", fold_small_print, priority=900)
    app.connect("html-page-context", name_by_what_is_seen)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
