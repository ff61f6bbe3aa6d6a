"""The picture at the head of a part."""

from __future__ import annotations

import math
import re
from itertools import combinations

import pytest
from bs4 import BeautifulSoup

from book import forest, picture
from tests.test_book import GIVES, coming_out, pages_with
from tricks_lib import law


def drawn(made: str) -> list[tuple[float, float]]:
    """The middle of each mark."""
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', made)
    diamonds = re.findall(r'<path d="M([\d.]+) ([\d.]+)l', made)
    return [(float(x), float(y)) for x, y in circles] + [
        (float(x), float(y) + 5) for x, y in diamonds
    ]


def test_each_measurement_has_a_mark_of_its_own() -> None:
    many = [coming_out(name, at=f"{name} {n}") for name in GIVES for n in range(9)]
    made = picture.swarm(list(pages_with(*many).values()))
    marks = drawn(made)
    assert len(marks) == len(many)
    assert all(math.dist(a, b) >= 8 for a, b in combinations(marks, 2))
    height = float(re.search(r'height="(\d+)"', made)[1])
    assert all(5 <= x <= picture.WIDTH - 5 and 5 <= y <= height - 5 for x, y in marks)


def test_marks_stand_on_the_side_of_their_verdict() -> None:
    (band,) = {(picture.WIDTH / 2 - picture.SIDE) * forest.along(1.0)}
    for name, side in ((law.HOLDS, 1), (law.OPPOSITE, -1), (law.TOO_SMALL, 0)):
        ((x, _),) = drawn(picture.swarm(list(pages_with(coming_out(name)).values())))
        away = x - picture.WIDTH / 2
        assert (away > band, away < -band) == (side > 0, side < 0)


def test_the_picture_is_told_in_words() -> None:
    found = [
        coming_out(name, id=f"page_{n % 2}.slug_{n}", sentence=f"It is {n}.")
        for n, name in enumerate(GIVES)
    ]
    claims = sorted(pages_with(*found).values(), key=lambda one: one.docname)
    titles = {one.docname: one.page.replace("page_", "On ") for one in claims}
    soup = BeautifulSoup(picture.picture(claims, titles), "html.parser")
    said = soup.select_one("[role=img]")["aria-label"]
    for name in law.VERDICTS:
        assert f"1 {name}" in said
    assert "On 0: 1 holds, 1 too small to matter. On 1: 1 opposite, 1 undecided." in said
    assert [row.get_text() for row in soup.select("[role=img] > span")][:2] == ["On 0", "On 1"]
    assert len(soup.select("svg")) == 2


@pytest.mark.parametrize("value", [0.3, 1, 5, 400, 1e9])
def test_the_scale_is_even_and_then_logarithmic(value: float) -> None:
    assert forest.along(-value) == -forest.along(value)
    assert 0 < forest.along(value) <= 1
    assert forest.along(0.5) == pytest.approx(forest.along(1) / 2)
    assert forest.along(100) - forest.along(10) == pytest.approx(forest.along(10) - forest.along(1))
