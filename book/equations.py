"""Equations, drawn while the book is built: pages need no script for them.

KaTeX turns each formula into HTML for the eye and MathML for a screen reader. It runs here, in V8
(mini-racer), so that neither a reader's browser nor this machine needs anything more.
"""

from __future__ import annotations

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

FOLDER = Path(__file__).parent / "vendor" / "katex"
STYLE = "katex/katex.min.css"
logger = logging.getLogger(__name__)


@cache
def _katex() -> MiniRacer:
    engine = MiniRacer()
    engine.eval((FOLDER / "katex.min.js").read_text(encoding="utf-8"))
    return engine


@cache
def drawn(tex: str, *, display: bool = False) -> str:
    """A formula as HTML, with MathML beside it that only screen readers meet.

    Args:
        tex: what stands between the dollars.
        display: a formula on lines of its own.

    Raises:
        ValueError: KaTeX does not know what the formula says; the message is KaTeX's.
    """
    options = {"displayMode": display, "strict": "error", "output": "htmlAndMathml"}
    call = f"katex.renderToString({json.dumps(tex)}, {json.dumps(options)})"
    try:
        return str(_katex().eval(call))
    except JSEvalException as error:
        reason = next(line for line in str(error).splitlines() if "Error" in line)
        raise ValueError(f"{reason.strip()} in the formula {tex!r}") from error


def _told(translator: HTML5Translator, node: nodes.Element, tex: str, display: bool) -> str:
    """The formula, or its source and a warning, which fails the build."""
    try:
        return drawn(tex, display=display)
    except ValueError as error:
        logger.warning("%s", error, location=node)
        return f"<code>{escape(tex)}</code>"


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    """A formula in a line of text."""
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(_told(self, node, node.astext(), display=False) + "</span>")
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """A formula on lines of its own, with its number if it has one."""
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    tex = node.astext()
    if r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{split}}{tex}\end{{split}}"
    self.body.append(_told(self, node, tex, display=True) + "</div>\n")
    raise nodes.SkipNode


def style_where_needed(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """A page without a formula asks for no style of formulas."""
    if doctree is not None and any(doctree.findall(_is_math)):
        app.add_css_file(STYLE)


def _is_math(node: nodes.Node) -> bool:
    return isinstance(node, nodes.math | nodes.math_block)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("katex", (visit_math, None), (visit_math_block, None))
    app.connect("html-page-context", style_where_needed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
