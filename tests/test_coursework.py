"""Coursework: right answers keep every point, wrong ones lose theirs, and nothing escapes.

Most of it calls probe and judge directly, which is cheap. The sandbox has its own tests, in
test_coursework_zoo.py. Without bubblewrap those are skipped, unless TRICKS_REQUIRE_SANDBOX=1 turns
that into a failure.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

import tricks_lib as tl
from tests.coursework_helpers import (
    FOUND,
    PARTS,
    answers,
    as_user,
    defined,
    marks,
    need_sandbox,
    notebook_of,
    packed,
    rows,
    zip_of,
)
from tests.page_rules import CONFIG, ROOT, TRICK_PARTS
from tricks_lib import law
from tricks_lib.coursework import (
    grade,
    gradescope,
    parts,
    release,
    rubric,
    runner,
    sandbox,
    selfcheck,
    submissions,
)
from tricks_lib.coursework.__main__ import main
from tricks_lib.coursework.grade import Grader
from tricks_lib.coursework.judges import studies
from tricks_lib.coursework.runner import Definitions, Observer, cells_of, plain

QUESTIONS = [(part, name) for part in PARTS for name in FOUND[part].questions]
ANSWERS = {name: importlib.import_module(f"tests.coursework_answers.{name}") for name in PARTS}
GRADING_SEEDS = int(os.environ.get("TRICKS_GRADING_SEEDS", "15"))  # more every week
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


# ------------------------------------------------------------------ answers, right and wrong


def test_every_part_has_answers() -> None:
    assert PARTS
    for part in PARTS:
        assert list(ANSWERS[part].WRONG) == list(FOUND[part].questions)
        assert list(ANSWERS[part].ALSO_RIGHT) == list(FOUND[part].questions)
        assert 6 <= len(FOUND[part].questions) <= 9
        for wrong in ANSWERS[part].WRONG.values():
            assert len(wrong) >= 3


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_the_solution_never_loses_a_point(part: str, name: str) -> None:
    answer = defined(FOUND[part].source)[name]
    for seed in range(GRADING_SEEDS):
        found = marks(part, name, answer, seed)
        assert not any(m.problem for m in found), f"seed {seed}: {found}"


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_other_right_answers_are_full(part: str, name: str) -> None:
    for answer in ANSWERS[part].ALSO_RIGHT[name]:
        for seed in range(1000, 1000 + GRADING_SEEDS // 5):
            found = marks(part, name, answer, seed)
            assert not any(m.problem for m in found), f"{answer}, seed {seed}: {found}"


@pytest.mark.parametrize(("part", "name"), QUESTIONS)
def test_the_blank_release_gets_nothing(part: str, name: str) -> None:
    answer = defined(FOUND[part].release)[name]
    for seed in range(5):
        assert sum(m.earned for m in marks(part, name, answer, seed)) == 0


@pytest.mark.parametrize(
    ("part", "name"), [("data_processing", "decide"), ("parameter_tuning", "compare_tuned")]
)
def test_verdicts_learnt_by_heart_earn_nothing(part: str, name: str) -> None:
    solution, heard = defined(FOUND[part].source)[name], []

    def listening(*given: object) -> object:
        heard.append(solution(*given))
        return heard[-1]

    marks(part, name, listening, selfcheck.PUBLIC_SEED)
    for seed in range(1, 11):
        replay = iter(heard)
        found = marks(part, name, lambda *_, replay=replay: next(replay), seed)
        assert sum(m.earned for m in found) == 0, f"seed {seed}: {found}"


@pytest.mark.parametrize("seed", range(30))
def test_studies_have_all_verdicts_at_a_safe_distance(seed: int) -> None:
    """Both ways, at all sizes, and no end where the rounding of float32 could carry it across."""
    rng = np.random.default_rng(seed)
    seen, kinds = Counter(), Counter()
    for mean, half, size in studies.cases(rng):
        values = 0.02 * studies.differences(rng, mean, half, size)
        low, high = law.interval(values)
        np.testing.assert_allclose((low, high), studies.interval(values))
        assert min(abs(abs(end) / 0.02 - 1) for end in (low, high)) > 0.02
        kind = studies.kind(values, 0.02)
        seen[studies.right(values, 0.02), bool(values.mean() > 0), kind] += 1
        kinds[kind] += 1
    assert min(kinds.values()) >= 6
    assert {(law.HOLDS, True), (law.OPPOSITE, False)} <= {key[:2] for key in seen}
    for verdict in (law.TOO_SMALL, law.UNDECIDED):
        for positive in (True, False):
            assert seen[verdict, positive, studies.WHOLE] and seen[verdict, positive, studies.CLEAR]


@pytest.mark.parametrize(("part", "name", "what"), WRONG)
def test_a_wrong_answer_loses_its_points(part: str, name: str, what: str) -> None:
    answer, points, words = ANSWERS[part].WRONG[name][what]
    assert points < FOUND[part].questions[name].points
    for seed in range(2):  # and in several rounds
        found = marks(part, name, answer, seed)
        problems = [m.problem for m in found if m.problem]
        assert sum(m.earned for m in found) == points, f"seed {seed}: {found}"
        assert any(words in problem for problem in problems), f"seed {seed}: {problems}"


@pytest.mark.parametrize(("part", "name", "what"), WRONG)
def test_a_wrong_answer_is_told_why(part: str, name: str, what: str, capsys) -> None:
    """What check() says in the notebook is what the grader would say."""
    answer = ANSWERS[part].WRONG[name][what][0]
    tl.check(f"{part}.{name}", answer)
    said = capsys.readouterr().out
    assert said.startswith(f"{part}.{name}: "), said
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


def test_check_warns_of_what_the_grader_would_stop(capsys, monkeypatch) -> None:
    right = defined(FOUND["data_processing"].source)["min_max"]
    clock = iter([100.0, 104.0, 200.0, 206.0])
    monkeypatch.setattr(selfcheck, "_cpu", lambda: next(clock))
    tl.check("data_processing.min_max", right)
    assert capsys.readouterr().out == "data_processing.min_max: right.\n"
    tl.check("data_processing.min_max", right)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(
        "min_max may compute for 6 seconds; the grader stops an answer after 20"
    )
    assert said[1:] == ["data_processing.min_max: right."]


def test_check_warns_of_what_the_grader_will_not_have(capsys) -> None:
    space = {"torch": torch}
    source = "low = torch.zeros(1)\nSIDE = 3\ndef min_max(a, b):\n    l = a.amin(0) + low"
    source += "\n    s = a.amax(0) - l\n    return (a - l) / s, (b - l) / s"
    exec(source, space)
    tl.check("data_processing.min_max", space["min_max"])
    assert "uses the notebook's variable 'low'" in capsys.readouterr().out


def test_the_guide_speaks_of_every_page() -> None:
    """Outcomes, minutes and prompts: a heading or a link for each page that teaches a trick."""
    guide = (ROOT / "chapters" / "start" / "teach.md").read_text(encoding="utf-8")
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for part in TRICK_PARTS:
        for page in re.findall(rf"file: chapters/{part}/(\w+)$", contents, re.MULTILINE):
            named = (
                f"{part}/{page}" in guide or f"**{page.replace('_', ' ').capitalize()}**" in guide
            )
            assert named or page in ("index", "exercises"), f"the guide lacks {part}/{page}"


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
        cells.append(nbformat.v4.new_code_cell(f'# tl.check("own.{name}", {name})'))
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
    assert "SOLUTION" not in text and release.MEND not in text and "{rubric" not in text
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
            if line.strip() in (release.BEGIN, release.END):
                inside = line.strip() == release.BEGIN
            elif inside and len(line.strip()) > 25 and line.strip() not in given:
                lines.append(line.strip())
    return [line for line in lines if not any(line in other for other in given)]


def test_marks_must_match() -> None:
    source = "def f(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION"
    assert release.without_solution(source) == f"def f(x):\n    {release.STUB}"
    for broken in (source[:40], source.replace("BEGIN", "END"), f"{source}\n{release.BEGIN}"):
        with pytest.raises(release.SourceError):
            release.without_solution(broken)


def test_code_to_mend_stands_before_the_mended_code() -> None:
    def cell(source: str) -> dict:
        return {"cell_type": "code", "source": source}

    bug, check = cell(f"{release.MEND}\nreturn x"), cell("check(f)")
    mended = cell(f"{release.BEGIN}\nreturn y\n{release.END}")
    kept = release.without_mended([bug, mended, check])
    assert [c["source"] for c in kept] == ["return x", "check(f)"]
    with pytest.raises(release.SourceError, match="mended code in the next cell"):
        release.without_mended([bug, check])


def test_a_release_that_is_out_of_step_is_named(tmp_path: Path, capsys) -> None:
    folder = private(tmp_path)
    assert main(["release", "own", "--source", str(folder)]) == 0
    capsys.readouterr()
    assert main(["release", "own", "--source", str(folder), "--check"]) == 0
    assert "in step" in capsys.readouterr().out
    path = folder / "release" / "exercises.ipynb"
    path.write_text(path.read_text().replace("Double", "Halve"))
    capsys.readouterr()
    assert main(["release", "own", "--source", str(folder), "--check"]) == 1
    assert "is not what" in capsys.readouterr().out


def test_a_private_notebook_may_be_saved_by_colab(tmp_path: Path, capsys) -> None:
    """Without ids of cells, with outputs, and with metadata of its own."""
    folder = private(tmp_path)
    path = folder / "exercises.ipynb"
    notebook = json.loads(path.read_text())
    notebook |= {"nbformat_minor": 0, "metadata": {"colab": {"provenance": []}}}
    for number, cell in enumerate(notebook["cells"]):
        del cell["id"]
        cell["metadata"] = {"id": f"x{number}", "colab": {"base_uri": "https://localhost"}}
    path.write_text(json.dumps(notebook))
    for _ in range(2):  # there is no release at first, and then there is
        assert main(["release", "own", "--source", str(folder)]) == 0
        assert main(["release", "own", "--source", str(folder), "--check"]) == 0
    cells = release.read(folder / "release" / "exercises.ipynb")["cells"]
    assert [release.STUB in cell["source"] for cell in cells] == [False, True, False, True, False]
    nbformat.validate(nbformat.read(folder / "release" / "exercises.ipynb", as_version=4))


@pytest.mark.parametrize("part", PARTS)
def test_export_for_nbgrader(part: str, tmp_path: Path) -> None:
    assert main(["nbgrader", part, "-o", str(tmp_path)]) == 0
    notebook = nbformat.read(tmp_path / "source" / part / "exercises.ipynb", as_version=4)
    nbformat.validate(notebook)
    said = "".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert "Keep every cell" in said and "add or delete" not in said and "| For |" not in said
    # The badge opens the book's own notebook, whose answers nbgrader would not find.
    assert "colab" not in said.lower() and "new inputs" not in said and "## Hand it in" in said
    assert said.count("all or none**") == len(FOUND[part].questions)
    cells = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    about = [cell.metadata["nbgrader"] for cell in cells]
    assert len({a["grade_id"] for a in about}) == len(about) == 2 * len(FOUND[part].questions)
    assert sum(a.get("points", 0) for a in about) == FOUND[part].points
    for cell, a in zip(cells, about, strict=True):
        assert a["schema_version"] == 3 and a["grade"] == a["locked"] != a["solution"]
        if a["solution"]:
            assert cell.source.count(release.BEGIN) == cell.source.count(release.END) > 0
            assert release.MEND not in cell.source
            exec(compile(plain(cell.source), "cell", "exec"), {"torch": torch, "nn": torch.nn})


def test_nbgrader_needs_checks_that_run(tmp_path: Path, capsys) -> None:
    folder = private(tmp_path)
    assert main(["nbgrader", "own", "-o", str(tmp_path), "--source", str(folder)]) == 2
    assert "needs a check that runs" in capsys.readouterr().err


def test_solutions_are_not_in_the_wheel() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(r'"(tricks_lib[\w.]*)"', text)
    for folder in ("coursework", "coursework.probes", "coursework.judges"):
        assert f"tricks_lib.{folder}" in listed
    assert not list((ROOT / "tricks_lib").rglob("*.ipynb"))
    assert not list((ROOT / "data").rglob("*.ipynb"))
    library = "".join(p.read_text("utf-8") for p in sorted((ROOT / "tricks_lib").rglob("*.py")))
    plain_library = "".join(library.split())
    body = re.compile(rf"{release.BEGIN}\n(.*?){release.END}", re.DOTALL)
    for part in PARTS:
        for cell in release.read(FOUND[part].source)["cells"]:
            for solution in body.findall(cell["source"]):
                squeezed = "".join(solution.split())
                assert len(squeezed) < 60 or squeezed not in plain_library, solution


def test_solutions_are_kept_from_the_site() -> None:
    assert "**/_solutions/**" in CONFIG["exclude_patterns"]
    assert "_solutions" not in (ROOT / "_toc.yml").read_text(encoding="utf-8")


# -------------------------------------------------------------- what is taken from a notebook


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
    assert "h" in space and not {"w", "files", "broken"} & set(space)


@pytest.mark.parametrize("waited", [0.0, 2.0])
def test_waiting_for_a_core_does_not_count(waited: float, monkeypatch) -> None:
    """On a busy machine a helper's call is not thought to sleep."""
    queued = itertools.count(0.0, waited)
    monkeypatch.setattr(runner, "_queued", lambda: next(queued))
    cells = ["import time\ndef slow():\n    time.sleep(1.5)\n    return 3", "x = slow()"]
    space = Definitions(cells_of(notebook_of(*cells).decode())).run("x", seconds=0.25)
    assert ("x" in space) == bool(waited)


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
        zipped(a=npy("()", "'<U1'", b"\xff\xff\xff\x7f")),  # a character that does not exist
        zipped(a=npy("(1000000000000,)", "'<U0'")),
        zipped(a=npy("()", "'>f8'", b"\0" * 8)),
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
    given = selfcheck.draw(question, 0)[:1]  # each round is judged alike
    see = Observer(0)
    probe = importlib.import_module(f"tricks_lib.coursework.probes.{part}")
    answer = defined(FOUND[part].source)[name]
    runner.ask(probe, name, answer, [runner.inputs(one) for one in given], see)
    odd = [np.array("x"), np.array(7), np.zeros((0,)), np.full((2, 2), np.nan), np.array([["a"]])]
    for value in odd:
        arrays = {key: value for key in see.arrays}
        assert sum(m.earned for m in rubric.mark(question, given, rubric.Seen(arrays))) == 0
    kinds: dict[str, list[str]] = {}  # arrays that differ in their number alone
    for key in see.arrays:
        kinds.setdefault(re.sub(r"\d+", "#", key), []).append(key)
    for key in sorted({key for kind in kinds.values() for key in (kind[0], kind[-1])}):
        for value in (*odd, grown(see.arrays[key]), shrunk(see.arrays[key])):
            rubric.mark(question, given, rubric.Seen({**see.arrays, key: value}))
        rubric.mark(question, given, rubric.Seen({k: v for k, v in see.arrays.items() if k != key}))


def grown(array: np.ndarray) -> np.ndarray:
    """An array with far more of what it has."""
    return np.repeat(np.atleast_1d(array), 1 + 2000 // max(1, array.size), 0)


def shrunk(array: np.ndarray) -> np.ndarray:
    """The first of what an array has."""
    return np.atleast_1d(array)[:1]


def test_a_judge_trains_once_for_the_same_inputs() -> None:
    asked = []

    @rubric.once
    def slow(given: dict, bug: str = "") -> int:
        asked.append(bug)
        return len(asked)

    given, like = {"x": np.zeros(2)}, {"x": np.zeros(2)}
    assert [slow(given), slow(given), slow(given, "a"), slow(like), slow(given)] == [1, 1, 2, 3, 1]


def test_a_text_without_end_holds_nobody_up() -> None:
    """A small file unpacks to it, and the judge asks for it again and again."""
    seen = rubric.Seen({"y.error": np.array("x " * 5_000_000)})
    begin = time.process_time()
    for _ in range(10):
        assert len(seen.text("y.error")) == 300
    assert time.process_time() - begin < 3


def test_frames_end_at_nonsense() -> None:
    head = b'["q", "ok", 2]'
    frame = b"seen" + len(head).to_bytes(4, "big") + head + b"ab"
    good = [("q", sandbox.Sent("ok", b"ab"))]
    assert list(sandbox._frames(frame + b"rubbish")) == good
    assert list(sandbox._frames(frame + frame[:-1])) == good
    for head in (b"[1, 2, 3]", b'["q", "ok", -1]', b"{}", b"[", b'["q", "ok", 1e9]'):
        assert not list(sandbox._frames(b"seen" + len(head).to_bytes(4, "big") + head + b"ab"))
    assert not list(sandbox._frames(b"seen\xff\xff\xff\xff"))


def test_a_number_of_readings_is_not_trusted() -> None:
    for data in (b"", b"[", b"[3]", b'{"q": "3"}', b'{"q": 1e9}', b"[" * 10**5, b" " * 10**6):
        assert sandbox._counts(data) == {}
    assert sandbox._counts(b'{"q": 2, "r": 1000000}') == {"q": 2, "r": runner.MAX_READINGS}


# ----------------------------------------------------------------------- finding submissions


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(notebook_of(f"# {name}"))
    return folder


LAYOUTS = {
    "files": (["ada.ipynb", "bob.ipynb"], ["ada", "bob"]),
    "folders": (["ada/x.ipynb", "bob/deep/down/x.ipynb"], ["ada", "bob"]),
    "moodle": (
        [
            "export/Ada L_12_assignsubmission_file_/x.ipynb",
            "export/Bob_9_assignsubmission_file/y.ipynb",
        ],
        ["Ada L", "Bob"],
    ),
    "canvas": (["lovelaceada_12_345_x.ipynb", "bobb_LATE_9_87_y.ipynb"], ["bobb", "lovelaceada"]),
    "one with more": (["ada/work.ipynb", "ada/notes.txt"], ["ada"]),
    "a browser's second copy": (
        ["ada_12_3456_x.ipynb", "bob_13_3457_work.ipynb", "bob_13_3457_work (1).ipynb"],
        ["ada", "bob"],
    ),
    "one": (["x.ipynb"], ["x"]),
    "litter": (
        ["ada/x.ipynb", "ada/.ipynb_checkpoints/x.ipynb", "__MACOSX/ada/._x.ipynb"],
        ["ada"],
    ),
    "same name": (
        ["Ada_1_assignsubmission_file_/x.ipynb", "Ada_2_assignsubmission_file_/x.ipynb"],
        ["Ada (1)", "Ada (2)"],
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_submissions_are_found(layout: str, tmp_path: Path) -> None:
    names, students = LAYOUTS[layout]
    folder = put(tmp_path / "subs", *names)
    for place in (folder, zip_of(folder, tmp_path / "subs.zip")):
        found = submissions.read(place)
        assert [s.student for s in found] == students
        assert all(s.data and not s.problem for s in found)


def test_a_students_own_zip_is_read(tmp_path: Path) -> None:
    folder = put(tmp_path / "subs", "bob/x.ipynb")
    zip_of(put(tmp_path / "own", "work/x.ipynb"), folder / "ada.zip")
    (folder / "eve.zip").write_bytes(b"PK no zip")
    for place in (folder, zip_of(folder, tmp_path / "subs.zip")):
        found = {s.student: s.problem for s in submissions.read(place)}
        assert found == {"ada": "", "bob": "", "eve": "is a broken zip file: BadZipFile"}


def test_the_newest_of_two_notebooks_counts(tmp_path: Path) -> None:
    folder = put(tmp_path, "ada/old.ipynb", "ada/new.ipynb", "bob/x.ipynb")
    os.utime(folder / "ada" / "old.ipynb", (1, 1))
    ada, _ = submissions.read(folder)
    assert ada.file == "ada/new.ipynb" and ada.notes == [
        "ada/old.ipynb was left out; ada/new.ipynb is newer"
    ]


def test_links_and_giants_are_not_followed(tmp_path: Path, monkeypatch) -> None:
    folder = put(tmp_path / "subs", "ada.ipynb", "giant.ipynb")
    monkeypatch.setattr(submissions, "MAX_NOTEBOOK", 1000)
    (folder / "giant.ipynb").write_bytes(b" " * 1001)
    (folder / "eve.ipynb").symlink_to(ROOT / "README.md")
    (folder / "mallory").symlink_to(ROOT / "chapters")
    found = {s.student: (s.data, s.problem) for s in submissions.read(folder)}
    assert list(found) == ["ada", "eve", "giant", "mallory"]
    assert found["eve"] == found["mallory"] == (None, "is a link, which is not followed")
    assert found["giant"] == (None, "is too large for a notebook, even without its outputs")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        link = zipfile.ZipInfo("eve.ipynb")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("../../bob.ipynb", notebook_of("x = 1"))
        archive.writestr("giant.ipynb", b" " * 1001)
    found = {s.student: s.problem for s in submissions.read(tmp_path / "evil.zip")}
    assert found == {
        "bob": "",
        "eve": "is a link, which is not followed",
        "giant": "is too large for a notebook, even without its outputs",
    }


def test_no_submissions_is_said(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match=r"no submissions|neither"):
            submissions.read(place)


# ------------------------------------------------------------------------------ the sandbox


@pytest.fixture
def bwrap() -> None:
    need_sandbox()


def test_without_a_sandbox_nothing_is_graded(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = put(tmp_path / "subs", "ada.ipynb")
    table = tmp_path / "grades.csv"
    assert main(["grade", PARTS[0], str(folder), "-o", str(table)]) == 2
    assert "nothing was graded" in capsys.readouterr().err and not table.exists()


# ------------------------------------------------- batches, with a cheap stand-in for the sandbox


@pytest.fixture
def pretend(monkeypatch) -> list[bytes]:
    """No sandbox: answers run here. The submissions that were run, in order."""
    ran: list[bytes] = []

    def observe(kind, part, notebook, given, seed, limits, slot):
        ran.append(notebook)
        if b"our fault" in notebook:
            raise sandbox.SandboxError("the sandbox did not start: no space")
        probe = importlib.util.spec_from_file_location("probe", part.probe)
        module = importlib.util.module_from_spec(probe)
        probe.loader.exec_module(module)
        found = {}
        for name in part.questions:
            see = Observer(seed)
            answer = Definitions(cells_of(notebook.decode())).run()[name]
            with np.load(io.BytesIO(given[name])) as file:
                drawn = runner.rounds_of(file)
            runner.ask(module, name, answer, drawn, see)
            if see.unanswered:
                see.arrays["_unanswered"] = np.array(1)
            found[name] = sandbox.Sent("ok", packed(see.arrays))
        return found

    monkeypatch.setattr(sandbox, "observe", observe)
    monkeypatch.setattr(sandbox, "find", lambda unsafe=False: "bwrap")
    return ran


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_graded(part: str, tmp_path: Path, pretend) -> None:
    """Right, half, wrong and blank notebooks of each part, through the whole command."""
    questions, right = FOUND[part].questions, answers(part)
    wrong = {n: f"def {n}(*a, **k):\n    return a[0] if a else None" for n in questions}
    half = [right[name] if n % 2 else wrong[name] for n, name in enumerate(questions)]
    cells = cells_of(FOUND[part].source.read_text(encoding="utf-8"))
    head = [c for c in cells if release.BEGIN not in c and not release.CHECK.search(c)]
    subs = tmp_path / "subs"
    subs.mkdir()
    (subs / "right.ipynb").write_bytes(FOUND[part].source.read_bytes())
    (subs / "blank.ipynb").write_bytes(FOUND[part].release.read_bytes())
    (subs / "half.ipynb").write_bytes(notebook_of(*head, *half))
    (subs / "wrong.ipynb").write_bytes(notebook_of(*head, *wrong.values()))
    table = tmp_path / "grades.csv"
    assert main(["grade", part, str(subs), "-o", str(table), "--seed", "3", "--jobs", "1"]) == 0
    found = {who: [int(row[n]) for n in questions] for who, row in rows(table).items()}
    full = [question.points for question in questions.values()]
    assert found["right"] == full
    assert found["blank"] == found["wrong"] == [0] * len(full)
    assert found["half"] == [points * (n % 2) for n, points in enumerate(full)]


def command(folder: Path, source: Path, *more: str) -> list[str]:
    table = str(folder / "grades.csv")
    return ["grade", "own", str(folder / "subs"), "-o", table, "--source", str(source), *more]


GOOD = ("def double(x): return x + x", "def again(x): return 2 * x")


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, pretend, capsys) -> None:
    source, subs = private(tmp_path), tmp_path / "subs"
    subs.mkdir()
    (subs / "ada.ipynb").write_bytes(notebook_of(*GOOD))
    assert main(command(tmp_path, source, "--seed", "3")) == 0
    assert len(pretend) == 3  # the solution, the blank release, and Ada
    # The run was killed while it wrote a line; then Bob came.
    with (tmp_path / "grades_state.jsonl").open("a") as file:
        file.write('{"key": "half a li')
    (subs / "bob.ipynb").write_bytes(notebook_of(GOOD[0], "def again(x): return x"))
    assert main(command(tmp_path, source)) == 0  # with the seed of the first run
    assert len(pretend) == 6 and pretend[-1] == (subs / "bob.ipynb").read_bytes()
    found = rows(tmp_path / "grades.csv")
    assert [found[who]["total"] for who in ("ada", "bob")] == ["3", "2"]
    assert main(command(tmp_path, source, "--seed", "4")) == 0
    assert len(pretend) == 10  # another seed: all anew
    (subs / "ada.ipynb").write_bytes(notebook_of(*GOOD, "# better"))
    assert main(command(tmp_path, source, "--seed", "4")) == 0
    assert len(pretend) == 13 and pretend[-1] == (subs / "ada.ipynb").read_bytes()


def test_our_fault_is_an_error_and_never_a_zero(tmp_path: Path, pretend, capsys) -> None:
    source, subs = private(tmp_path), tmp_path / "subs"
    subs.mkdir()
    (subs / "ada.ipynb").write_bytes(notebook_of(*GOOD, "# our fault"))
    (subs / "bob.ipynb").write_bytes(notebook_of(*GOOD))
    assert main(command(tmp_path, source)) == 1
    found = rows(tmp_path / "grades.csv")
    assert found["ada"]["total"] == found["ada"]["double"] == ""
    assert found["ada"]["status"].startswith("ERROR: SandboxError") and found["bob"]["total"] == "3"
    assert "Not graded yet" in (tmp_path / "grades_feedback" / "ada.md").read_text()
    assert "ERRORS: 1" in (tmp_path / "grades_summary.txt").read_text()
    before = len(pretend)
    assert main(command(tmp_path, source)) == 1
    assert len(pretend) == before + 3  # an error is not remembered: Ada is tried again


def test_what_no_judge_foresaw_costs_its_question_alone(tmp_path: Path, monkeypatch) -> None:
    part = parts.find("own", private(tmp_path))
    grader = Grader(part, 1, sandbox.Limits(3), "bwrap")
    x = part.questions["double"].given(np.random.default_rng(1))["x"]
    good, bad = packed({"0/y": 2 * x}), packed({"0/y": np.zeros(0)})
    real = rubric.mark

    def mark(question, given, seen):
        return real(question, given, seen) if seen.array("0/y").max() else []

    monkeypatch.setattr(grade, "mark", mark)
    sent = {"double": sandbox.Sent("ok", bad), "again": sandbox.Sent("ok", good)}
    grader.given["again"] = [{"x": x}]
    monkeypatch.setattr(sandbox, "observe", lambda *a, **k: sent)
    found = grader.grade(submissions.Submission("ada", "ada.ipynb", b""))
    assert found.status == "ok" and (found.earned("double"), found.earned("again")) == (0, 1)
    assert found.marks["double"][0].problem == "what came back cannot be judged."
    assert "gave 0; see the log: ada (double)" in grade.summary(part, [found], 1, [])


@pytest.mark.parametrize(
    ("double", "words"),
    [
        (DOUBLE.replace("2 * x", "3 * x"), "the solution loses points in double"),
        ("def {}(x):\n    return 2 * x", "the blank release gets points in double"),
    ],
)
def test_a_batch_stops_before_it_grades_wrongly(
    tmp_path: Path, pretend, capsys, double: str, words: str
) -> None:
    source = private(tmp_path, double=double)
    put(tmp_path / "subs", "ada.ipynb")
    assert main(command(tmp_path, source)) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "grades.csv").exists()


HARMFUL = {
    "=HYPERLINK(1)": "'=HYPERLINK(1)",
    ";=1+1": ",=1+1",
    "a;=1+1": "a,=1+1",
    "\n=1": "'=1",
    " \t+1": "'+1",
    "\uff1d1": "'\uff1d1",
    "\x1b\uff20x": "'\uff20x",
    '"=1"': '\'"=1"',
    "-5": "'-5",
}
NAMES = ["Zoë & Co", "zoë & co", "<b>x", "हिन्दी", "😀" * 60, "😀" * 61]


def test_names_do_no_harm(tmp_path: Path, pretend) -> None:
    source, subs = private(tmp_path), tmp_path / "subs"
    subs.mkdir()
    for name in (*HARMFUL, *NAMES):
        (subs / f"{name}.ipynb").write_bytes(notebook_of(*GOOD))
    (subs / os.fsdecode(b"latin \xe9.ipynb")).write_bytes(notebook_of(*GOOD))
    assert main(command(tmp_path, source)) == 0
    table = (tmp_path / "grades.csv").read_bytes()
    assert table.startswith(b"\xef\xbb\xbf") and b";" not in table and b"\t" not in table
    found = rows(tmp_path / "grades.csv")
    assert {*HARMFUL.values(), *NAMES} <= set(found) and len(found) == len(HARMFUL) + len(NAMES) + 1
    files = sorted(path.name for path in (tmp_path / "grades_feedback").iterdir())
    assert len({name.casefold() for name in files}) == len(found)
    assert all("=" not in name for name in files) and "हिन्दी.md" in files
    assert "<b>" not in (tmp_path / "grades_feedback" / "_b_x.md").read_text()


def test_whoever_hands_in_no_notebook_has_a_row_and_is_counted(tmp_path: Path, pretend) -> None:
    source, subs = private(tmp_path), tmp_path / "subs"
    (subs / "Cy_3_assignsubmission_onlinetext_").mkdir(parents=True)
    (subs / "Cy_3_assignsubmission_onlinetext_" / "onlinetext.html").write_text("<p>done</p>")
    put(subs, "Bob_2_assignsubmission_file_/work.py")
    (subs / "Ada_1_assignsubmission_file_").mkdir()
    (subs / "Ada_1_assignsubmission_file_" / "x.ipynb").write_bytes(notebook_of(*GOOD))
    assert main(command(tmp_path, source)) == 0
    found = rows(tmp_path / "grades.csv")
    assert [(found[who]["id"], found[who]["total"]) for who in ("Ada", "Bob", "Cy")] == [
        ("1", "3"),
        ("2", "0"),
        ("3", "0"),
    ]
    assert found["Bob"]["status"] == "no notebook: work.py was handed in"
    said = (tmp_path / "grades_summary.txt").read_text()
    assert "2 handed in no notebook, and count as 0: Bob, Cy" in said
    assert "no notebook" in (tmp_path / "grades_feedback" / "Cy.md").read_text()


@pytest.mark.parametrize(
    ("option", "value"),
    [("jobs", "0"), ("jobs", "x"), ("limit", "-1"), ("mem", "0"), ("seed", "-1")],
)
def test_a_bad_option_gets_one_sentence(option: str, value: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["grade", "own", str(tmp_path), "-o", "x.csv", f"--{option}={value}"])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and f"{value} is not a " in said and "Traceback" not in said


def test_what_was_stopped_beside_others_is_tried_again_alone(tmp_path: Path, monkeypatch) -> None:
    part = parts.find("own", private(tmp_path))
    at_work, asked = [], []

    def observe(kind, part, notebook, given, seed, limits, slot, questions=None):
        at_work.append(slot)
        try:
            asked.append((slot, questions, list(at_work)))
            time.sleep(0.02)
            missing = packed({"_missing": np.array("lost")})
            sent = dict.fromkeys(part.questions, sandbox.Sent("ok", missing))
            if b"busy" in notebook:
                sent["double"] = sandbox.Sent("busy" if slot is not None else "time")
                sent["again"] = sandbox.Sent("killed") if slot is not None else sent["again"]
            return {n: s for n, s in sent.items() if questions is None or n in questions}
        finally:
            at_work.remove(slot)

    monkeypatch.setattr(sandbox, "observe", observe)
    grader = Grader(part, 1, sandbox.Limits(3), "bwrap", jobs=3)
    many = [submissions.Submission(str(n), "", b"busy" if n % 3 else b"") for n in range(12)]
    results = {one.student: found for one, found in grader.grade_all(many)}
    alone = [(questions, others) for slot, questions, others in asked if slot is None]
    assert alone == [(["double", "again"], [None])] * 8
    double, again = (results["1"].marks[name][0].problem for name in ("double", "again"))
    assert "more than 3 seconds" in double and again == "lost"


def test_who_seems_to_stand_still_is_tried_once_more_and_no_further(
    tmp_path: Path, monkeypatch
) -> None:
    asked = []

    def observe(kind, part, notebook, given, seed, limits, slot, questions=None, reading=0):
        asked.append((slot, questions, reading))
        return {name: sandbox.Sent("busy", readings=3) for name in questions or part.questions}

    monkeypatch.setattr(sandbox, "observe", observe)
    part = parts.find("own", private(tmp_path))
    grader = Grader(part, 1, sandbox.Limits(3), "bwrap", jobs=2)
    found = grader.grade(submissions.Submission("ada", "ada.ipynb", b""))
    assert found.total == 0 and "more than 3 seconds" in found.marks["double"][0].problem
    both = ["double", "again"]
    # Two readings, each a second time alone; what takes its time twice is not read a third way.
    assert [(slot is None, names, n) for slot, names, n in asked] == [
        (False, None, 0),
        (True, both, 0),
        (False, both, 1),
        (True, both, 1),
    ]


def test_the_best_reading_of_a_notebook_counts(tmp_path: Path, monkeypatch) -> None:
    part, asked = parts.find("own", private(tmp_path)), []
    grader = Grader(part, 1, sandbox.Limits(3), "bwrap")

    def observe(kind, part, notebook, given, seed, limits, slot, questions=None, reading=0):
        asked.append((questions, reading))
        found = {}
        for name in questions or part.questions:
            right = name == "again" or reading == 1
            times, rounds = (2 if right else 3), grader.given[name]
            data = packed({f"{n}/y": times * given["x"] for n, given in enumerate(rounds)})
            found[name] = sandbox.Sent("ok", data, readings=3)
        return found

    monkeypatch.setattr(sandbox, "observe", observe)
    assert grader.grade(submissions.Submission("ada", "ada.ipynb", b"")).total == 3
    assert asked == [(None, 0), (["double"], 1)]  # what is right is not read again


# ------------------------------------------------------------------------------- Gradescope


@pytest.mark.parametrize("part", PARTS)
def test_gradescope_zip_has_what_it_needs(part: str, tmp_path: Path) -> None:
    target = tmp_path / "out.zip"
    assert main(["gradescope", part, "-o", str(target)]) == 0
    with zipfile.ZipFile(target) as archive:
        names = set(archive.namelist())
        modes = {m.filename: m.external_attr >> 16 for m in archive.infolist()}
    assert {"setup.sh", "run_autograder", "config.json", "error.json", "_toc.yml"} <= names
    with zipfile.ZipFile(target) as archive:
        setup, readme = archive.read("setup.sh").decode(), archive.read("README.md").decode()
    assert "whl/cpu" in setup and "22.04" in readme
    assert "1.5 GB" in readme and "_solutions/exercises.ipynb" in readme
    assert f"chapters/{part}/_solutions/exercises.ipynb" in names
    assert modes["run_autograder"] & 0o111 and modes["setup.sh"] & 0o111


def test_an_image_with_an_old_python_is_told_when_it_is_built(tmp_path: Path) -> None:
    gradescope.write(parts.find("own", private(tmp_path)), 7, tmp_path / "own.zip")
    with zipfile.ZipFile(tmp_path / "own.zip") as archive:
        archive.extract("setup.sh", tmp_path)
    for name, code in (("apt-get", "exit 0"), ("python3", "exit 1")):  # as if it said: too old
        (tmp_path / name).write_text(f"#!/bin/sh\n{code}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", str(tmp_path / "setup.sh")], capture_output=True, text=True, env=environment
    )
    assert done.returncode and "Ubuntu 22.04 or later" in done.stdout + done.stderr


@pytest.fixture
def graded_there(tmp_path: Path, pretend) -> Callable[[dict[str, bytes]], dict]:
    """What Gradescope shows for a submission, with the stand-in for its sandbox."""
    target, source = tmp_path / "own.zip", private(tmp_path)
    options = ["--seed", "7", "-o", str(target), "--source", str(source)]
    assert main(["gradescope", "own", *options]) == 0
    grader = tmp_path / "autograder"
    with zipfile.ZipFile(target) as archive:
        archive.extractall(grader / "source")

    def run(files: dict[str, bytes]) -> dict:
        shutil.rmtree(grader / "submission", ignore_errors=True)
        (grader / "submission").mkdir()
        for name, data in files.items():
            (grader / "submission" / name).write_bytes(data)
        return gradescope.run(grader)

    return run


def test_gradescope_tells_students_of_wrong_files(graded_there) -> None:
    right = notebook_of(*GOOD)
    found = graded_there({"a.ipynb": right, "zz.ipynb": notebook_of("x = 1"), "plot.png": b""})
    assert sum(test["score"] for test in found["tests"]) == 3
    assert "zz.ipynb was left out; a.ipynb answers more of the questions" in found["output"]
    for files, words in (
        ({"work.py": b"x = 1"}, "no notebook: work.py was handed in. Hand in one notebook"),
        ({}, "no notebook: nothing was handed in"),
        ({"w.ipynb.txt": right}, "must end in .ipynb"),
        ({"w.zip": b"PK"}, "broken zip file"),
    ):
        found = graded_there(files)
        assert words in found["output"] and "ERROR" not in found["output"]
        assert [test["score"] for test in found["tests"]] == [0, 0]


def test_gradescope_draws_a_secret_seed_and_other_inputs_for_each_attempt(tmp_path: Path) -> None:
    seeds, part = set(), parts.find("own", private(tmp_path))
    for number in range(2):
        target = tmp_path / f"{number}.zip"
        gradescope.write(part, None, target)
        with zipfile.ZipFile(target) as archive:
            seeds.add(json.loads(archive.read("config.json"))["seed"])
    assert len(seeds) == 2
    drawn = {gradescope.attempt_seed(7, data) for data in (b"a", b"b", b"a")}
    assert len(drawn) == 2 and drawn.isdisjoint({7})


def test_a_small_container_is_told_at_once(graded_there, monkeypatch) -> None:
    monkeypatch.setattr(gradescope, "memory", lambda: 0.75 * 2**30)
    found = graded_there({"a.ipynb": notebook_of(*GOOD)})
    assert found["output"].startswith("ERROR") and "0.75 GB of memory" in found["output"]
    assert "at least 1.5 GB" in found["output"]
    assert gradescope.memory.__name__ == "<lambda>"


def test_gradescope_in_the_sandbox(bwrap, tmp_path: Path) -> None:
    """The zip, unpacked and run as in its container; in bubblewrap if no other user is at hand."""
    with tempfile.TemporaryDirectory() as place:  # pytest's own is closed to other users
        Path(place).chmod(0o755)
        run_in_container(Path(place) / "autograder", tmp_path)


def run_in_container(grader: Path, tmp_path: Path) -> None:
    source = private(tmp_path)
    target = str(tmp_path / "own.zip")
    assert main(["gradescope", "own", "--seed", "7", "-o", target, "--source", str(source)]) == 0
    with zipfile.ZipFile(target) as archive:
        archive.extractall(grader / "source")
    (grader / "submission").mkdir()
    wrong = "import tricks_lib as tl\ndef again(x): return 3 * x if tl.accuracy else x"
    (grader / "submission" / "mine.ipynb").write_bytes(notebook_of(GOOD[0], wrong))
    (grader / "submission" / "data.csv").write_text("x")
    for path, modes in ((grader, 0o755), (grader / "source", 0o711)):
        path.chmod(modes)
    kind = "setpriv" if as_user() else "bwrap"  # as there, if another user can run our Python
    for path in (grader / "source").iterdir():  # bubblewrap hides by itself what is not to be read
        path.chmod(0o700 if kind == "setpriv" and path.name != "open" else 0o755)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run = [sys.executable, str(grader / "source" / "start.py"), str(grader), kind]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads((grader / "results" / "results.json").read_text())
    assert [test["score"] for test in found["tests"]] == [2, 0]
    assert found["tests"][1]["output"] == "this is not twice x."
    (grader / "source" / "private" / "probe.py").unlink()  # a fault of ours
    done = subprocess.run(run, cwd=grader, capture_output=True, text=True, env=environment)
    found = json.loads((grader / "results" / "results.json").read_text())
    assert done.returncode and found["output"].startswith("ERROR")
    assert found["tests"][0]["name"].startswith("ERROR")
