"""HTML elements that docutils has no node for, such as a table cell with a scope."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


class Tag(nodes.General, nodes.TextElement):
    """An HTML element that docutils has no node for.

    A text element, because a link may stand in no other.
    """


def tag(name: str, *children: nodes.Node, css: str = "", **attributes: str) -> Tag:
    """The element ``name`` around ``children``."""
    return Tag("", "", *children, name=name, html=attributes, classes=css.split())


def visit_tag(self: HTML5Translator, node: Tag) -> None:
    """Open the element."""
    self.body.append(self.starttag(node, node["name"], "", **node["html"]))


def depart_tag(self: HTML5Translator, node: Tag) -> None:
    """Close the element; within a line no space may follow."""
    self.body.append(f"</{node['name']}>" + ("" if node["name"] == "span" else "\n"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_node(Tag, html=(visit_tag, depart_tag))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
