"""Coursework: right answers keep every point, wrong ones lose theirs, and nothing escapes.

Most of it calls probe and judge directly, which is cheap. The sandbox is tested on one part, with
submissions that each misbehave in many questions at once. Without bubblewrap those tests are
skipped, unless TRICKS_REQUIRE_SANDBOX=1 turns that into a failure.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

import tricks_lib as tl
from tests.page_rules import CONFIG, ROOT
from tricks_lib.coursework import grade, parts, release, rubric, sandbox, selfcheck, submissions
from tricks_lib.coursework.__main__ import main
from tricks_lib.coursework.runner import Definitions, Observer, cells_of, plain

PARTS = parts.names()
FOUND = {name: parts.find(name) for name in PARTS}
QUESTIONS = [(part, name) for part in PARTS for name in FOUND[part].questions]
ANSWERS = {name: importlib.import_module(f"tests.coursework_answers.{name}") for name in PARTS}
GRADING_SEEDS = 200
WRONG = [
    pytest.param(part, name, what, id=f"{part}.{name}-{what}")
    for part in PARTS
    for name, answers in ANSWERS[part].WRONG.items()
    for what in answers
]


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors: more threads would only get into each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def defined(path: Path) -> dict:
    """The functions and classes of a notebook, taken from it as the grader takes them."""
    return Definitions(cells_of(path.read_text(encoding="utf-8"))).run()


def marks(part: str, name: str, answer: object, seed: int) -> list[rubric.Mark]:
    """Probe and judge one answer in this process, as the grader does across its sandbox."""
    question = FOUND[part].questions[name]
    probe = importlib.import_module(f"tricks_lib.coursework.probes.{part}")
    given = selfcheck.draw(question, seed)
    see = Observer(1000 + seed)
    try:
        getattr(probe, name)(answer, selfcheck.inputs(given), see)
    except Exception as error:
        see._error("probe", error)
    if see.unanswered:
        return [rubric.Mark(c.text, 0, c.points, "not answered.") for c in question.rubric]
    return rubric.mark(question, given, rubric.Seen(rubric.unpack(packed(see.arrays))))


def packed(arrays: dict) -> bytes:
    return grade._pack({k: v for k, v in arrays.items() if v.dtype.kind in "biufU"})


# ------------------------------------------------------------------ answers, right and wrong


def test_every_part_has_answers() -> None:
    assert PARTS
    for part in PARTS:
        assert list(ANSWERS[part].WRONG) == list(FOUND[part].questions)
        assert list(ANSWERS[part].ALSO_RIGHT) == list(FOUND[part].questions)
        assert 6 <= len(FOUND[part].questions) <= 8
        for answers in ANSWERS[part].WRONG.values():
            assert len(answers) >= 3


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_the_solution_never_loses_a_point(part: str, name: str) -> None:
    answer = defined(FOUND[part].source)[name]
    for seed in range(GRADING_SEEDS):
        found = marks(part, name, answer, seed)
        assert not any(m.problem for m in found), f"seed {seed}: {found}"


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_other_right_answers_are_full(part: str, name: str) -> None:
    for answer in ANSWERS[part].ALSO_RIGHT[name]:
        for seed in range(20):
            found = marks(part, name, answer, seed)
            assert not any(m.problem for m in found), f"{answer}, seed {seed}: {found}"


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_the_blank_release_gets_nothing(part: str, name: str) -> None:
    answer = defined(FOUND[part].release)[name]
    for seed in range(5):
        assert sum(m.earned for m in marks(part, name, answer, seed)) == 0


@pytest.mark.parametrize(("part", "name", "what"), WRONG)
def test_a_wrong_answer_loses_its_points(part: str, name: str, what: str) -> None:
    answer, points, words = ANSWERS[part].WRONG[name][what]
    assert points < FOUND[part].questions[name].points
    for seed in range(8):
        found = marks(part, name, answer, seed)
        problems = [m.problem for m in found if m.problem]
        assert sum(m.earned for m in found) == points, f"seed {seed}: {found}"
        assert any(words in problem for problem in problems), f"seed {seed}: {problems}"


@pytest.mark.parametrize(("part", "name", "what"), WRONG)
def test_a_wrong_answer_is_told_why(part: str, name: str, what: str, capsys) -> None:
    """What check() says in the notebook is what the grader would say."""
    answer, _, words = ANSWERS[part].WRONG[name][what]
    tl.check(f"{part}.{name}", answer)
    said = capsys.readouterr().out
    assert said.startswith(f"{part}.{name}: ") and words in said, said
    assert not said.endswith(": right.\n")


@pytest.mark.parametrize("part", PARTS)
def test_check_says_right_and_not_answered(part: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("TRICKS_STRICT", "1")
    for name, answer in defined(FOUND[part].source).items():
        if name in FOUND[part].questions:
            before = torch.get_rng_state()
            assert tl.check(f"{part}.{name}", answer) is None
            assert torch.equal(before, torch.get_rng_state())
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{part}.{name}: right." for name in FOUND[part].questions]
    monkeypatch.delenv("TRICKS_STRICT")
    stubs = [
        cell.source
        for cell in nbformat.read(FOUND[part].release, as_version=4).cells
        if release.STUB in cell.source and cell.cell_type == "code"
    ]
    for name, answer in defined(FOUND[part].release).items():
        if name in FOUND[part].questions and any(f" {name}(" in source for source in stubs):
            tl.check(f"{part}.{name}", answer)
            assert capsys.readouterr().out == f"{part}.{name}: not answered yet.\n"


def test_check_names_an_unknown_question() -> None:
    with pytest.raises(ValueError, match="no question"):
        tl.check("data_processing.nothing", len)


def test_check_warns_of_what_the_grader_will_not_have(capsys) -> None:
    space = {"torch": torch}
    source = "low = torch.zeros(4)\nSIDE = 3\ndef min_max(a, b):\n    l = a.amin(0) + low"
    source += "\n    s = a.amax(0) - l\n    return (a - l) / s, (b - l) / s"
    exec(source, space)
    tl.check("data_processing.min_max", space["min_max"])
    assert "uses the notebook's variable 'low'" in capsys.readouterr().out


# ------------------------------------------------------------------- a private assignment

PRIVATE_JUDGE = """
import numpy as np
from tricks_lib.coursework.rubric import Criterion, Question, near


def given(rng):
    return {"x": rng.normal(size=4).astype(np.float32)}


def doubled(given, seen):
    return None if near(seen.tensor("y", (4,)), 2 * given["x"]) else "this is not twice x."


QUESTIONS = {
    "double": Question(1, given, [Criterion(2, "the numbers are right", doubled)]),
    "again": Question(1, given, [Criterion(1, "the numbers are right", doubled)]),
}
"""
PRIVATE_PROBE = """
def double(answer, given, see):
    see.call("y", answer, given["x"])


again = double
"""
DOUBLE = "def {}(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"


def private(folder: Path, double: str = DOUBLE, again: str = DOUBLE) -> Path:
    """A small assignment of an instructor's own."""
    cells = [nbformat.v4.new_markdown_cell("# Double\n\n{rubric double}\n\n{rubric again}")]
    for name, source in (("double", double), ("again", again)):
        cells.append(nbformat.v4.new_code_cell(source.format(name)))
        cells.append(nbformat.v4.new_code_cell(f'tl.check("own.{name}", {name})'))
    folder = folder / "own"
    folder.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "exercises.ipynb")
    (folder / "judge.py").write_text(PRIVATE_JUDGE)
    (folder / "probe.py").write_text(PRIVATE_PROBE)
    return folder


def test_a_missing_part_is_named(tmp_path: Path, capsys) -> None:
    assert main(["release", "cooking"]) == 2
    assert "there is no coursework 'cooking'" in capsys.readouterr().err
    folder = private(tmp_path)
    (folder / "probe.py").unlink()
    assert main(["release", "own", "--source", str(folder)]) == 2
    assert "probe.py does not exist" in capsys.readouterr().err


# -------------------------------------------------------------------- release and notebooks


def test_releases_are_in_step(capsys) -> None:
    assert main(["release", "--all", "--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("part", PARTS)
def test_the_release_keeps_the_solution_to_itself(part: str) -> None:
    text = FOUND[part].release.read_text(encoding="utf-8")
    for line in secrets(part):
        assert line not in text, f"the release of {part} has the solution's line {line!r}"
    assert "SOLUTION" not in text and "### INSTEAD" not in text and "{rubric" not in text
    notebook = nbformat.read(FOUND[part].release, as_version=4)
    for name, question in FOUND[part].questions.items():
        assert any(release.rubric(question) in cell.source for cell in notebook.cells), name


def secrets(part: str) -> list[str]:
    """Lines that stand in a part's solution and not in the code that a student gets."""
    given = {
        line.strip()
        for cell in nbformat.read(FOUND[part].release, as_version=4).cells
        for line in cell.source.splitlines()
    }
    lines: list[str] = []
    for cell in nbformat.read(FOUND[part].source, as_version=4).cells:
        inside = False
        for line in cell.source.splitlines():
            if line.strip() in (release.BEGIN, release.INSTEAD, release.END):
                inside = line.strip() == release.BEGIN
            elif inside and len(line.strip()) > 25 and line.strip() not in given:
                lines.append(line.strip())
    return [line for line in lines if not any(line in other for other in given)]


def test_marks_must_match() -> None:
    source = "def f(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION"
    assert release.without_solution(source) == f"def f(x):\n    {release.STUB}"
    mended = source.replace("    ### END", "    ### INSTEAD\n    # return  # x\n    ### END")
    assert release.without_solution(mended) == "def f(x):\n    return  # x"
    for broken in (source[:40], source.replace("BEGIN", "END"), source + "\n### INSTEAD"):
        with pytest.raises(release.SourceError):
            release.without_solution(broken)


def test_a_release_that_is_out_of_step_is_named(tmp_path: Path, capsys) -> None:
    folder = private(tmp_path)
    assert main(["release", "own", "--source", str(folder)]) == 0
    assert main(["release", "own", "--source", str(folder), "--check"]) == 1  # no outputs yet
    path = folder / "release" / "exercises.ipynb"
    path.write_text(path.read_text().replace("Double", "Halve"))
    capsys.readouterr()
    assert main(["release", "own", "--source", str(folder), "--check"]) == 1
    assert "is not what" in capsys.readouterr().out


@pytest.mark.parametrize("part", PARTS)
def test_export_for_nbgrader(part: str, tmp_path: Path) -> None:
    assert main(["nbgrader", part, "-o", str(tmp_path)]) == 0
    notebook = nbformat.read(tmp_path / "source" / part / "exercises.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    about = [cell.metadata["nbgrader"] for cell in cells]
    assert len({a["grade_id"] for a in about}) == len(about) == 2 * len(FOUND[part].questions)
    assert sum(a.get("points", 0) for a in about) == FOUND[part].points
    for cell, a in zip(cells, about, strict=True):
        assert a["schema_version"] == 3 and a["grade"] == a["locked"] != a["solution"]
        if a["solution"]:
            assert cell.source.count(release.BEGIN) == cell.source.count(release.END) > 0
            assert release.INSTEAD not in cell.source
            exec(compile(plain(cell.source), "cell", "exec"), {"torch": torch, "nn": torch.nn})


def test_solutions_are_not_in_the_wheel() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(r'"(tricks_lib[\w.]*)"', text)
    for folder in ("coursework", "coursework.probes", "coursework.judges"):
        assert f"tricks_lib.{folder}" in listed
    assert not list((ROOT / "tricks_lib").rglob("*.ipynb"))
    assert not list((ROOT / "data").rglob("*.ipynb"))
    library = "\n".join(p.read_text("utf-8") for p in (ROOT / "tricks_lib").rglob("*.py"))
    for part in PARTS:
        for line in secrets(part):
            # A judge has a reference of its own; not the notebook's text in the notebook's words.
            assert library.count(line) <= 1, f"the library has the solution's line {line!r}"


def test_solutions_are_kept_from_the_site() -> None:
    assert "**/_solutions/**" in CONFIG["exclude_patterns"]
    assert "_solutions" not in (ROOT / "_toc.yml").read_text(encoding="utf-8")


# -------------------------------------------------------------- what is taken from a notebook


def notebook_of(*sources: str, **metadata: object) -> bytes:
    cells = [
        {"cell_type": "code", "source": s, "metadata": {}, "outputs": [], "execution_count": None}
        for s in sources
    ]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, **metadata}).encode()


def taken(*sources: str) -> dict:
    return Definitions(cells_of(notebook_of(*sources).decode())).run()


def test_definitions_are_taken_and_calls_are_not() -> None:
    space = taken(
        "import math\nfrom google.colab import drive\ndrive.mount('/content/drive')",
        "!pip install einops\n%matplotlib inline\nfiles = !ls\nlen?\nSIDE, HALF = 3, 1 / 2",
        "%%time\ndef f(x):\n    return g(x) + SIDE\n\nlower = lambda x: x.lower()",
        "while True:\n    pass",
        "%%bash\nrm -rf everything",
        "w = open('x')\nclass C:\n    y = math.sqrt(4)",
        "def broken(:",
        "try:\n    import cupy as np\nexcept ImportError:\n    import numpy as np",
        "if SIDE:\n    def g(x):\n        return x",
        "if len('x'):\n    def h(): pass",
    )
    assert space["f"](1) == 4 and space["lower"]("A") == "a" and space["C"].y == 2
    assert space["np"] is np and space["HALF"] == 0.5
    assert not {"w", "files", "h", "broken"} & set(space)


def test_a_stub_does_not_replace_an_answer() -> None:
    stub = "def f():\n    'Text.'\n    raise NotImplementedError('your turn')"
    assert taken(stub, "def f():\n    return 1", stub)["f"]() == 1
    assert taken("def f():\n    return 1", "def f():\n    return 2")["f"]() == 2
    assert taken("class C:\n    x = 1", "class C:\n    def m(self): ...")["C"].x == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": 3}', '{"cells": [3]}', "[" * 10**5])
def test_what_is_no_notebook(text: str) -> None:
    with pytest.raises(ValueError, match="not a notebook"):
        cells_of(text)


# ----------------------------------------------------------------------- hostile observations


def zipped(**members: bytes) -> bytes:
    import io

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


def npy(shape: str, descr: str = "'<f8'", body: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 no zip",
        zipped(a=b"no array"),
        zipped(a=npy("(9, 9)")),  # says more than it has
        zipped(a=npy("(1000000000000,)")),
        zipped(a=npy("(-1,)")),
        zipped(a=npy("(1,)", "'|O'", b"cos\nsystem\n(S'true'\ntR.")),
        zipped(a=npy("(1,)", "[('x', '<f8')]", b"\0" * 8)),
        zipped(a=npy("(1,)", "'|V8'", b"\0" * 8)),
        zipped(**{f"a{n}": npy("()", body=b"\0" * 8) for n in range(rubric.MAX_ARRAYS + 1)}),
        zipped(a=b"\0" * (rubric.MAX_BYTES + 1)),  # a bomb: small outside, large inside
    ],
)
def test_hostile_observations_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        rubric.unpack(data)


def test_honest_observations_come_back() -> None:
    sent = {"a": np.eye(3, dtype=np.float32), "t": np.array("holds"), "e": np.empty((0, 2))}
    sent["f"] = np.asfortranarray(np.arange(6).reshape(2, 3))
    for name, array in rubric.unpack(packed(sent)).items():
        np.testing.assert_array_equal(array, sent[name])


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_a_judge_stands_whatever_is_sent(part: str, name: str) -> None:
    """Other names, types and shapes than the judge expects are a student's fault, not an error."""
    question = FOUND[part].questions[name]
    given = selfcheck.draw(question, 0)
    see = Observer(0)
    probe = importlib.import_module(f"tricks_lib.coursework.probes.{part}")
    getattr(probe, name)(defined(FOUND[part].source)[name], selfcheck.inputs(given), see)
    odd = [np.array("x"), np.array(7), np.zeros((0,)), np.full((2, 2), np.nan), np.array([["a"]])]
    for value in odd:
        arrays = {key: value for key in see.arrays}
        assert sum(m.earned for m in rubric.mark(question, given, rubric.Seen(arrays))) == 0
    for key in see.arrays:
        for value in odd:
            rubric.mark(question, given, rubric.Seen({**see.arrays, key: value}))
        rubric.mark(question, given, rubric.Seen({k: v for k, v in see.arrays.items() if k != key}))


def test_frames_end_at_nonsense() -> None:
    head = b'["q", "ok", 2]'
    frame = b"seen" + len(head).to_bytes(4, "big") + head + b"ab"
    good = [("q", sandbox.Sent("ok", b"ab"))]
    assert list(sandbox._frames(frame + b"rubbish")) == good
    assert list(sandbox._frames(frame + frame[:-1])) == good
    for head in (b"[1, 2, 3]", b'["q", "ok", -1]', b"{}", b"[", b'["q", "ok", 1e9]'):
        assert not list(sandbox._frames(b"seen" + len(head).to_bytes(4, "big") + head + b"ab"))
    assert not list(sandbox._frames(b"seen\xff\xff\xff\xff"))
