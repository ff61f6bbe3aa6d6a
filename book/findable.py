"""What search engines and people who share a link are told of the book.

- The description of a page is its own first sentence, not its badge or its minutes.
- ``sitemap.xml`` and ``robots.txt``; the landing page says that the book is a course.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from docutils import nodes
from sphinx.application import Sphinx

DESCRIPTION = re.compile(r'(<meta (?:name|property)="(?:og:)?description" content=")([^"]*)\.\.\."')


def speaks_of_itself(paragraph: nodes.paragraph) -> bool:
    """Whether a paragraph is the badge, or the line of minutes below it."""
    return bool(next(paragraph.findall(nodes.image), None)) or paragraph.astext().startswith(
        "About "
    )


def own_words_first(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Take badge, minutes, verdict marks and lists of works from what the description is made of.

    The page itself is written already.
    """
    if doctree is None:
        return
    for paragraph in list(doctree.findall(nodes.paragraph))[:3]:
        if speaks_of_itself(paragraph):
            paragraph.parent.remove(paragraph)
    for link in doctree.findall(nodes.reference):
        if "claim-mark" in link["classes"]:
            link.children = [child for child in link.children if isinstance(child, nodes.literal)]
    for work in list(doctree.findall(nodes.citation)):
        work.parent.remove(work)


def whole_sentences(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """End a description where a sentence ends, not in the middle of a word."""
    context["metatags"] = DESCRIPTION.sub(
        lambda meta: f'{meta[1]}{ended(meta[2])}"', context.get("metatags", "")
    )


def ended(text: str) -> str:
    """All whole sentences of a text that was cut; if that leaves little, its whole words."""
    sentences = re.match(r".{50,}[.!?](?=\s)", text, re.DOTALL)
    return sentences[0] if sentences else f"{text.rpartition(' ')[0]} \N{HORIZONTAL ELLIPSIS}"


def course(app: Sphinx) -> dict[str, Any]:
    """The book as a course, in the words of schema.org."""
    license_ = "https://creativecommons.org/licenses/by/4.0/"
    author = {"@type": "Organization", "name": app.config.author}
    return {
        "@context": "https://schema.org",
        "@type": "Course",
        "name": app.config.project,
        "description": "Tricks for training neural networks, each measured with many seeds, "
        "an interval and a verdict. Notebooks, exercises and a grader.",
        "url": app.config.html_baseurl,
        "provider": author,
        "author": author,
        "license": license_,
        "isAccessibleForFree": True,
        "inLanguage": app.config.language,
        "teaches": ["deep learning", "reproducible experiments", "PyTorch"],
        "hasCourseInstance": {
            "@type": "CourseInstance",
            "courseMode": "online",
            "courseWorkload": "PT20H",
        },
    }


def told_on_the_landing_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Put the course into the landing page's head."""
    if page == app.config.root_doc:
        text = json.dumps(course(app), ensure_ascii=False).replace("</", r"<\/")
        context["metatags"] += f'\n<script type="application/ld+json">{text}</script>'


def write_sitemap(app: Sphinx, exception: Exception | None) -> None:
    """Name all pages to search engines."""
    if exception is not None or app.builder.name != "html":
        return
    base = app.config.html_baseurl
    uris = sorted(app.builder.get_target_uri(page) for page in app.env.found_docs)
    lines = [f"  <url><loc>{escape(base + uri)}</loc></url>" for uri in uris]
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    head += '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    site = Path(app.outdir)
    text = head + "\n".join(lines) + "\n</urlset>\n"
    (site / "sitemap.xml").write_text(text, encoding="utf-8", newline="\n")
    robots = f"User-agent: *\nAllow: /\n\nSitemap: {base}sitemap.xml\n"
    (site / "robots.txt").write_text(robots, encoding="utf-8", newline="\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    # Before the extension that makes descriptions and cards, which is called with 500.
    app.connect("html-page-context", own_words_first, priority=400)
    app.connect("html-page-context", whole_sentences, priority=600)
    app.connect("html-page-context", told_on_the_landing_page, priority=600)
    app.connect("build-finished", write_sitemap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
