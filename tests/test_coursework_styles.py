"""Right answers in many styles: what `check` calls right in a notebook earns its points.

Each style is a notebook. Its cells are run in IPython, as a student runs them, and the last one
checks the answer; then the grader's runner reads the notebook's file, in a process of its own.

A style's first line may name another order of execution than that of the file: ``run: 1 2 3 2``
gives the cells' numbers; ``counted: 2 1 3`` does so where the file's execution counts must tell it.
"""

from __future__ import annotations

import ast
import gc
import importlib
import json
import os
import re
import sys
import tokenize
import traceback
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tests.coursework_helpers import FOUND, notebook_of
from tricks_lib.coursework import grade, rubric, runner, selfcheck

HEAD = "import copy\nimport math\n\nimport torch\nfrom torch import nn\n\nimport tricks_lib as tl"
QUESTIONS = {name: part for part, found in FOUND.items() for name in found.questions}
LIMIT = 5


def read_styles() -> tuple[
    dict[str, tuple[str, list[str]]], dict[str, tuple[str, list[str], str, str]]
]:
    """The right answers, and those that are told what is wrong, from the file beside this one."""
    styles, told = {}, {}
    text = Path(__file__).with_name("coursework_styles.txt").read_text(encoding="utf-8")
    for section in text.split("\n=== ")[1:]:
        head, _, body = section.partition("\n")
        name, question, *more = head.split(" | ")
        assert name not in styles | told, f"{name!r} is there twice"
        cells = body.rstrip().split("\n---\n")
        if more:
            by_check, by_grader = re.fullmatch("check: (.*)\ngrader: (.*)", cells[0]).groups()
            told[name] = question, cells[1:], by_check, by_grader
        else:
            styles[name] = question, cells
    return styles, told


STYLES, TOLD = read_styles()

# ---------------------------------------------------------------------------------- both readers


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    """A kernel without a screen, in a folder of its own."""
    folder, before = tmp_path_factory.mktemp("kernel"), os.getcwd()
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    main = sys.modules["__main__"]
    os.chdir(folder)
    sys.path.insert(0, "")  # the folder that one works in, as in a kernel
    gc.collect()
    gc.freeze()  # each reset of the shell collects, and would look at all that is there by now
    found = InteractiveShell.instance(config=config, ipython_dir=str(folder))
    yield found
    InteractiveShell.clear_instance()
    sys.path.remove("")
    sys.modules["__main__"] = main
    os.chdir(before)


@pytest.fixture(autouse=True)
def own_dtype() -> Iterator[None]:
    """A kernel of a student's own would take the dtype that a cell sets with it."""
    yield
    torch.set_default_dtype(torch.float32)


def ordered(cells: list[str]) -> tuple[list[str], list[int], str]:
    """A style's cells; the numbers of those that are run, in order, if it names them; and how."""
    first, _, rest = cells[0].partition("\n")
    named = re.fullmatch(r"(run|counted): ([\d ]+)", first)
    if named is None:
        return cells, [], ""
    return [rest, *cells[1:]], [int(number) for number in named[2].split()], named[1]


def checked(
    shell: InteractiveShell, name: str, cells: list[str], capsys, order: list[int] = ()
) -> str:
    """What the last check of a notebook says, after all its cells were run."""
    shell.reset(new_session=True)
    if order:
        said = ""
        for cell in (HEAD, *(cells[number - 1] for number in order)):
            capsys.readouterr()
            shell.run_cell(cell, store_history=True)
            said = capsys.readouterr().out if cell.startswith("tl.check") else said
        return said
    cells = [HEAD, *cells]
    own = [n for n, cell in enumerate(cells) if cell.startswith(("tl.check", "# tl.check"))]
    cells = cells if own else [*cells, f'tl.check("{QUESTIONS[name]}.{name}", {name})']
    last = own[-1] if own else len(cells) - 1
    lost = []
    for number, cell in enumerate(cells[: last + 1]):
        for again in lost if number == last else ():  # in another order than in the file
            shell.run_cell(again, store_history=True)
        capsys.readouterr()
        result = shell.run_cell(cell, store_history=True)
        lost += [cell] if isinstance(result.error_in_exec, NameError) else []
    return capsys.readouterr().out


@cache
def drawn(name: str) -> dict[str, np.ndarray]:
    """The inputs of a question, other ones than those of the check."""
    return selfcheck.draw(FOUND[QUESTIONS[name]].questions[name], 7)


def graded(
    name: str, cells: list[str], folder: Path, order: list[int] = (), **metadata: object
) -> tuple[int, str]:
    """The points of an answer, and all that the grader says, from processes of their own."""
    part, given = FOUND[QUESTIONS[name]], drawn(name)
    (folder / f"{name}.npz").write_bytes(grade._pack(given))
    notebook = json.loads(notebook_of(HEAD, *cells, metadata=metadata))
    for count, number in enumerate((0, *order) if order else (), start=1):
        notebook["cells"][number]["execution_count"] = count
    text = json.dumps(notebook)
    best = probed(name, text, folder, 0)
    if best[0] == part.questions[name].points:
        return best
    for reading in range(1, len(runner.Definitions.of(text).readings(name))):
        best = max(best, probed(name, text, folder, reading), key=lambda found: found[0])
    return best


def probed(name: str, text: str, folder: Path, reading: int) -> tuple[int, str]:
    """The points of an answer and what is said of it, for one way to read a notebook."""
    part, given = FOUND[QUESTIONS[name]], drawn(name)
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            sys.modules.pop("helper_of_a_style", None)
            torch.set_num_threads(1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            probe = importlib.import_module(f"tricks_lib.coursework.probes.{part.name}")
            job = {"seed": 5, "limit": LIMIT, "reading": reading}
            definitions = runner.Definitions.of(text)
            data = runner.answer_question(job, folder, name, definitions, probe)
            with os.fdopen(send, "wb") as stream:
                stream.write(data)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    arrays = rubric.unpack(data)
    notes = [str(note) for note in arrays.get("_notes", [])]
    if "_unanswered" in arrays:
        return 0, "not answered"
    if "_missing" in arrays:
        return 0, "\n".join([str(arrays["_missing"]), *notes])
    marks = rubric.mark(part.questions[name], given, rubric.Seen(arrays))
    notes += [str(arrays["_versions"])] if "_versions" in arrays and marks[0].problem else []
    return sum(m.earned for m in marks), "\n".join([m.problem for m in marks if m.problem] + notes)


def test_the_table_is_long_and_wide() -> None:
    assert len(STYLES) >= 60
    counts = Counter(name for name, _ in STYLES.values())
    assert not [name for name in QUESTIONS if counts[name] < 3]


@pytest.mark.parametrize("style", STYLES)
def test_what_is_right_for_the_check_earns_its_points(
    style: str, shell: InteractiveShell, tmp_path: Path, capsys
) -> None:
    name, cells = STYLES[style]
    cells, order, how = ordered(cells)
    said = checked(shell, name, cells, capsys, order)  # and what the answer itself displays
    assert said.endswith(f"{QUESTIONS[name]}.{name}: right.\n") and said.count(": right.") == 1
    for known in ([], order) if how == "run" else (order,):
        points, said = graded(name, cells, tmp_path, known)
        assert points == FOUND[QUESTIONS[name]].questions[name].points, said


@pytest.mark.parametrize("case", TOLD)
def test_what_is_lost_is_told_by_both(
    case: str, shell: InteractiveShell, tmp_path: Path, capsys
) -> None:
    name, cells, by_check, by_grader = TOLD[case]
    said = checked(shell, name, cells, capsys)
    assert by_check in said and ": right.\n" not in said
    points, said = graded(name, cells, tmp_path)
    assert points < FOUND[QUESTIONS[name]].questions[name].points
    assert by_grader in said


# ------------------------------------------------------------------- magics, as IPython reads them

CELLS = [
    "%matplotlib inline\nx = 3\n!ls -l 'it\nlen?",
    "y = (\n    a\n    % b\n)\n%timeit y",
    "y = a \\\n    % b\n!echo \\\n  more (\nz = 1",
    '"""\n%time\n!ls\n"""\n%time\nz = """a\n? """',
    "files = !ls *.py\nhere, = %pwd\nz = files != 3",
    "if True:\n    %cd /tmp\n    !ls {x[0]}\nelse:\n    a = 5 % 3",
    "def f(x):\n    s = '%d (' % x  # !ls (\n    return [\n        s\n        != x\n    ]\n%who",
    "f'{a}' # '''\n%who\nb = '\\'' + \"#\"\n?b\nb?",
    "%%time\nx = 1\n%who\n",
    "\n\n%%bash\nfor i in 1 2; do echo $i; done",
    "%%capture out\nx = [\n    1\n    % 2]",
    "    x = 1\n    %who\n    y = 2",
    ">>> x = 1\n>>> y = (x\n...      % 2)",
    "In [3]: def f(x):\n   ...:     return x\n   ...:\n\nIn [14]: %who\nIn [5]: y = {...: 1}",
    "for x in y:\n....:     %who\n....:     z = 3",
    "def f(\n    a, b=r'\\('\n):\n    return a % b\n\n\n%who f",
    "x = {\n    'a': 1,  # (\n}\n/f x\n,f a b\n;f a b",
]


def _told(text: str) -> list[str]:
    """The statements of a transformed cell, but for the magics."""
    kept = [ast.unparse(s) for s in ast.parse(text).body]
    magic = re.compile(r"(.*= )?get_ipython\(\)|pass|f\(.*\)")
    return [s for s in kept if not magic.fullmatch(s)]


@pytest.mark.parametrize("number", range(len(CELLS)))
def test_magics_are_told_from_python_as_by_ipython(number: int) -> None:
    cell = CELLS[number]
    theirs = TransformerManager().transform_cell(cell)
    ours = runner.plain(cell)
    if "run_cell_magic('bash'" in theirs:
        assert not ours
        return
    if "run_cell_magic(" in theirs:  # its body is a text in theirs
        theirs = TransformerManager().transform_cell(cell.split("\n", 1)[1])
    clean = re.sub(r"get_ipython\(\)[^\n]*", "get_ipython()", theirs)
    assert [_without(s) for s in _told(ours)] == [_without(s) for s in _told(clean)]


def _without(statement: str) -> str:
    """A statement in whose blocks a magic is nothing."""
    return re.sub(r"(get_ipython\(\)|pass)", "pass", statement)


# --------------------------------------------------------------------- what became of an answer


def test_a_check_forgets_cells_that_were_changed(shell: InteractiveShell, capsys) -> None:
    """A helper that was renamed after the answer was run is still there in the kernel alone."""
    shell.reset(new_session=True)
    check_module = importlib.import_module("tricks_lib.check")
    shell.events.register("pre_run_cell", check_module._remember)
    helper = "def scale(x, by):\n    return (x - by.amin(0)) / (by.amax(0) - by.amin(0))"
    cells = [(HEAD, "a"), (helper, "b")]
    cells += [("def min_max(a, b):\n    return scale(a, a), scale(b, a)", "c")]
    check = 'tl.check("data_processing.min_max", min_max)'
    try:
        for cell, number in [*cells, (check, "d")]:
            shell.run_cell(cell, store_history=True, cell_id=number)
        assert capsys.readouterr().out == "data_processing.min_max: right.\n"
        shell.run_cell(helper.replace("scale", "scaled"), store_history=True, cell_id="b")
        shell.run_cell(check, store_history=True, cell_id="d")
        assert "no code cell of the notebook makes 'scale'" in capsys.readouterr().out
        shell.run_cell(helper, store_history=True, cell_id="b")
        shell.run_cell(check, store_history=True, cell_id="d")
        assert capsys.readouterr().out == "data_processing.min_max: right.\n"
    finally:
        shell.events.unregister("pre_run_cell", check_module._remember)
        check_module._newest.clear()
        check_module._outdated.clear()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python can read it")
def test_a_newer_f_string_is_told(tmp_path: Path) -> None:
    source = STYLES["a def"][1][0].replace("\n    low", '\n    f"{x_train["a"]}"\n    low', 1)
    points, said = graded("min_max", [source, "low = 3"], tmp_path)
    assert points == 0 and "'min_max' is lost" in said and "may need a newer Python" in said


def test_half_of_an_answer_earns_its_part(tmp_path: Path) -> None:
    name, cells, _, _ = TOLD["half of a class"]
    assert graded(name, cells, tmp_path)[0] == 3


def test_a_retyped_cell_is_told(tmp_path: Path) -> None:
    notebook = json.loads(notebook_of(HEAD))
    text = {"cell_type": "markdown", "source": STYLES["a def"][1], "metadata": {}}
    notebook["cells"].append(text)
    definitions = runner.Definitions.of(json.dumps(notebook))
    assert "stands in a text cell" in definitions.why("min_max")


def test_what_is_made_below_its_use_is_made_all_the_same(tmp_path: Path) -> None:
    uses = "def min_max(x_train, x_test):\n    return x_train.to(device), x_test"
    above = notebook_of("device = torch.device('cpu')", HEAD, uses)
    definitions = runner.Definitions.of(above)
    assert definitions.run("min_max")["device"] == torch.device("cpu")
    assert not definitions.notes
    # Made in a branch that was not taken: that is not a matter of order.
    assert "below" not in runner.Definitions.of(above).why("torch")
    twice = notebook_of("a = b", "a = 3", "b = 4", "def f(): return a")
    assert runner.Definitions.of(twice).run("f")["a"] == 3


def test_a_statements_own_names_bring_no_other_statement() -> None:
    """A loop's variable, or a class's property, may be called as something that takes an hour."""
    training = "for x in loader: best = fit(x)"
    filled = "table = []\nfor x in range(3):\n    table.append(x)"
    stopper = """class Stopper:
    lr = lr
    @property
    def best(self): return self._best
    @best.setter
    def best(self, value): self._best = value
    also = best"""
    uses = "def answer(): return table, Stopper"
    definitions = runner.Definitions([training, filled, "lr = 3", stopper, uses])
    assert [block.cell for block in definitions.needed("answer")] == [2, 2, 3, 4, 5]
    counting = runner.Definitions(["n = 2", "while n < 9: n += 1", "def answer(): return n"])
    assert [block.cell for block in counting.needed("answer")] == [1, 2, 3]


def test_a_method_that_all_tensors_get_is_there_for_the_grader_too(tmp_path: Path) -> None:
    """No name leads there, and a kernel that has it keeps it: the check would see nothing."""
    ends = "def ends(self):\n    return self.amin(0), self.amax(0)"
    answer = """def min_max(x_train, x_test):
    low, high = x_train.ends()
    return (x_train - low) / (high - low), (x_test - low) / (high - low)"""
    for given in ("torch.Tensor.ends = ends", 'setattr(torch.Tensor, "ends", ends)'):
        assert graded("min_max", [ends, given, answer], tmp_path)[0] == 3
    without = answer.replace("ends()", "ends")
    assert (
        graded("min_max", [ends, "torch.Tensor.ends = property(ends)", without], tmp_path)[0] == 3
    )


def test_a_name_that_python_has_is_not_taken_from_below(tmp_path: Path) -> None:
    """Even where the check was deleted; unless it is made above, or is all that is right."""
    answer = """def read_history(train, val):
    epoch = val.index(min(val))
    return epoch, val[epoch] - train[epoch], val[-1] - train[-1]"""
    lowest = "def min(values):\n    return sorted(values)[{}]"
    for cells, points in (
        ([answer, "min = [3]"], 3),
        ([lowest.format(0), answer], 3),
        ([lowest.format(-1), answer], 0),
        ([answer.replace("min(val)", "min(val)[0]"), "def min(x):\n    return sorted(x)[:1]"], 3),
    ):
        assert graded("read_history", cells, tmp_path)[0] == points, cells


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("99.1.2", "it was written for Python 99.1, and is read by"),
        ("3.8.1", "part of code cell 2 was left out: SyntaxError in its line 3"),
    ],
)
def test_syntax_that_is_not_ours_is_told(version: str, words: str, tmp_path: Path) -> None:
    source = "low = 3\n\ndef min_max(a, b) -> tuple = 3\n\nhigh = 4"
    info = {"language_info": {"version": version}}
    definitions = runner.Definitions.of(notebook_of(HEAD, source, metadata=info).decode())
    assert words in definitions.why("min_max") and words in definitions.notes[0]
    space = definitions.run("low", "high")
    assert (space["low"], space["high"]) == (3, 4)
    points, said = graded("min_max", [source], tmp_path, **info)
    assert points == 0 and words in said


def _tokens(*pairs: tuple[str, str]) -> list[tokenize.TokenInfo]:
    """Tokens of one line as Python 3.12 makes them, whichever Python this is."""
    numbers = {name: number for number, name in tokenize.tok_name.items()}
    return [tokenize.TokenInfo(numbers[k], text, (1, 0), (1, 0), "") for k, text in pairs]


F_STRINGS = {
    "a backslash": [("STRING", "'\\n'"), ("OP", "."), ("NAME", "join")],
    "a backslash, deeper": [
        ("FSTRING_START", "f'"),
        ("FSTRING_MIDDLE", "\\n"),
        ("FSTRING_END", "'"),
    ],
    "the same quotes": [("NAME", "x"), ("OP", "["), ("STRING", '"a"')],
    "": [("NAME", "x"), ("FSTRING_MIDDLE", "\\n"), ("STRING", "'a'")],
}


@pytest.mark.parametrize("words", F_STRINGS)
def test_f_strings_that_an_older_python_refuses(words: str, monkeypatch) -> None:
    for number, name in enumerate(("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"), start=900):
        if name not in tokenize.tok_name.values():
            monkeypatch.setitem(tokenize.tok_name, number, name)
    inner = [("OP", "{"), *F_STRINGS[words], ("OP", "}"), ("FSTRING_END", '"')]
    inner = inner if words else [t for t in inner if t[0] != "FSTRING_MIDDLE"]
    whole = _tokens(("FSTRING_START", 'f"'), ("FSTRING_MIDDLE", "\\t"), *inner)
    assert selfcheck.newer_f_string(whole).startswith(words.partition(",")[0])
    assert bool(selfcheck.newer_f_string(whole)) == bool(words)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python cannot read it")
@pytest.mark.parametrize("text", ["f\"{'\\n'.join(x)}\"", 'f"{x["a"]}"', "f'{x!r:>{\n3}}'"])
def test_f_strings_on_a_newer_python(text: str) -> None:
    assert selfcheck.newer_syntax(text)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="this Python cannot read it")
@pytest.mark.parametrize(
    ("text", "newer"),
    [
        ("x[*a]", True),
        ("x[1:2, *a]", True),
        ("x[(a), *(b)]", True),
        ("x[(*a, b)]", False),
        ("def f(*args: *Ts): pass", True),
        ("def f(*args: int): return f'{args!r:>{20}}', f\"\\n{args}\"", False),
        ("try: pass\nexcept* ValueError: pass", True),
    ],
)
def test_stars_that_an_older_python_refuses(text: str, newer: bool) -> None:
    assert bool(selfcheck.newer_syntax(text)) == newer


def test_several_versions_are_told(tmp_path: Path) -> None:
    right, check = STYLES["a def"][1][0], 'tl.check("data_processing.min_max", min_max)'
    wrong = "def min_max(a, b):\n    return a / a.max(), b / b.max()"
    points, said = graded("min_max", [wrong, check, wrong.replace("a.max", "a.min")], tmp_path)
    assert points == 0 and "made in code cells 2 and 4; the best of them counts" in said
    for cells in ([wrong, right, check], [right, check, wrong], [right, wrong, check]):
        points, said = graded("min_max", cells, tmp_path)
        assert points == 3 and "code cells" not in said


def test_settings_are_as_at_first_while_a_check_reads(monkeypatch) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with selfcheck._as_at_first():
            assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_quoted_error_holds_no_inputs() -> None:
    numbers = str(torch.rand(5, 3).tolist())
    told = rubric.brief(f"your code raised ValueError: {numbers}")
    assert not re.search(r"\d\.\d\d", told) and len(told) < 60
    assert "deadbeef" not in rubric.brief("x" + "deadbeef" * 10)
    useful = "mat1 and mat2 shapes cannot be multiplied (5x3 and 4x2) (line 12 of its cell)"
    assert rubric.brief(useful) == useful
