"""One style sheet of many, without what no page uses."""

from __future__ import annotations

from pathlib import Path

import pytest
import tinycss2

from book import styles


@pytest.mark.parametrize(
    ("css", "left"),
    [
        (".a{color:red}.b{color:blue}", ".a{color:red}"),
        (".a,.b > p,p{x:y}", ".a,p{x:y}"),
        (".a.b{x:y}", ""),
        ("p:not(.b){x:y}", "p:not(.b){x:y}"),
        (":is(.b,.a) p{x:y}", ":is(.b,.a) p{x:y}"),
        ('a[href=".b,x"]{x:y}', 'a[href=".b,x"]{x:y}'),
        ("@media print{.b{x:y}}", ""),
        ('@media print{.b{x:y}.a{x:"}"}}', '@media print{.a{x:"}"}}'),
        ("@font-face{font-family:b}@keyframes b{from{x:y}}", None),
        (".a{background:url(data:image/svg+xml;base64,x{y}=)}", None),
    ],
)
def test_rules_for_classes_of_no_page_are_left_out(css: str, left: str | None) -> None:
    rules = tinycss2.parse_stylesheet(css)
    assert styles.used(rules, {"a"}) == (css if left is None else left)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    static = tmp_path / "_static"
    (static / "styles").mkdir(parents=True)
    (static / "basic.css").write_text("/* a { } */ .basic{background:url(dot.png)}")
    (static / "styles" / "theme.css").write_text(
        '@charset "utf-8"; @import "../basic.css"; .seen{src:url("../font.woff2")} .unseen{x:y}'
    )
    (static / "late.css").write_text(".made{x:y}.seen{x:z}")
    (static / "late.js").write_text("node.className = 'made'")
    return tmp_path


def test_the_style_sheets_of_a_page_become_one(site: Path) -> None:
    links = "".join(
        f'<link rel="stylesheet" href="../_static/{name}?v=1" />\n'
        for name in ("styles/theme.css", "late.css")
    )
    page, other = site / "a" / "page.html", site / "plain.html"
    text = f'<head>{links}<link rel="icon" href="i"/></head><p class="seen basic">'
    changed = styles.bundle(site, {page: text, other: "<p>"})
    (made,) = site.glob("_static/site-*.css")
    assert changed[page].count('rel="stylesheet"') == 1
    assert f'href="../_static/{made.name}"' in changed[page] and 'rel="icon"' in changed[page]
    assert changed[other] == "<p>"
    css = made.read_text(encoding="utf-8")
    assert "unseen" not in css and "@import" not in css and "@charset" not in css
    assert css.index('url("dot.png")') < css.index('url("font.woff2")') < css.index(".made{x:y}")
    assert css.index('url("font.woff2")') < css.index(".seen{x:z}")
