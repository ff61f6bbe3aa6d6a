"""The rules that every notebook of the book keeps, each a small function that yields complaints.

tests/test_notebooks.py applies them to every page, and to a page broken in each way in turn.
"""

from __future__ import annotations

import ast
import copy
import re
import statistics
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from book.notebooks import clean
from book.records import check_record, ids_in, stored_records
from tests.notebook_rules import tolerances
from tricks_lib.law import LOOKS, TOO_SMALL

ROOT = Path(__file__).parent.parent
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))

# Parts whose notebooks teach a trick and follow the anatomy below; the others are introductions.
TRICK_PARTS = ("data_processing", "parameter_tuning", "regularization", "good_practices")
# Headings of a trick page, in this order; one of the words is enough, in any case.
SECTIONS = (
    ("in one minute",),
    ("objectives", "you will learn", "you will be able"),
    ("from scratch",),
    ("where it fails", "where it fail"),
    ("use it",),
    ("exercises",),
    ("takeaways", "take-aways", "take away"),
    ("references", "further reading"),
)
TAGS = {"remove-cell", "remove-input", "hide-input", "hide-output", "hide-cell", "literature"}
# nbval tags that weaken the check, by notebook and cell id, each with its reason. Keep it short.
WEAKENED: dict[tuple[str, str], str] = {}
PACKAGES = {
    "IPython",
    "joblib",
    "matplotlib",
    "numpy",
    "optuna",  # the one package that Colab lacks: the page that uses it has OPTUNA_SETUP
    "pandas",
    "scipy",
    "sklearn",
    "torch",
    "torchvision",
    "tqdm",
    "tricks_lib",
}
# The second setup cell of the page on hyperparameter search, word for word.
OPTUNA_SETUP = 'if importlib.util.find_spec("optuna") is None:\n    %pip install -q optuna'
# Code fits its column in a window of 1280 pixels.
MAX_COLUMNS = 79
MAX_CELLS, MAX_LINES, MEDIAN_LINES = 45, 25, 8
MAX_WORDS = 90
MIN_ALT = 20
MAX_HEADLINES, MAX_CLAIMS = 6, 14
MAX_RTOL = 0.1
BADGE_IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"


@dataclass(frozen=True)
class Page:
    """A notebook and its place: ``path`` from the root, such as chapters/start/evidence.ipynb."""

    path: Path
    notebook: NotebookNode
    text: str
    root: Path = ROOT

    @classmethod
    def read(cls, path: Path, root: Path = ROOT) -> Page:
        text = (root / path).read_text(encoding="utf-8")
        return cls(path, nbformat.reads(text, as_version=4), text, root)

    @property
    def part(self) -> str:
        return self.path.parts[1]

    @property
    def teaches_a_trick(self) -> bool:
        return self.part in TRICK_PARTS and self.path.stem != "exercises" and self.published

    @property
    def published(self) -> bool:
        return "_solutions" not in self.path.parts

    @property
    def code(self) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def prose(self) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == "markdown"]

    @cached_property
    def trees(self) -> list[ast.Module]:
        """The code cells parsed, magics and all."""
        ipython = TransformerManager()
        return [ast.parse(ipython.transform_cell(cell.source)) for cell in self.code]

    @property
    def records(self) -> list[dict[str, Any]]:
        return list(stored_records(self.notebook))

    def section(self, words: tuple[str, ...]) -> list[NotebookNode]:
        """The cells from a heading that has one of the words to the next heading of its rank."""
        cells, rank = [], 0
        for cell in self.notebook.cells:
            headings = _headings(cell.source) if cell.cell_type == "markdown" else []
            if cells and any(level <= rank for level, _ in headings):
                break
            if not cells:
                named = [level for level, title in headings if _has(title, words)]
                rank = named[0] if named else 0
            if rank:
                cells.append(cell)
        return cells


def _headings(source: str) -> list[tuple[int, str]]:
    """The headings of a markdown cell, as (level, title)."""
    plain = re.sub(r"```.*?```", "", source, flags=re.DOTALL)
    return [(len(m[1]), m[2].strip()) for m in re.finditer(r"^(#+)\s+(.+)$", plain, re.MULTILINE)]


def _has(title: str, words: tuple[str, ...]) -> bool:
    return any(word in title.lower() for word in words)


def _calls(tree: ast.AST, name: str) -> list[ast.Call]:
    """The calls of a function by its bare name, however it was imported."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [c for c in calls if name == getattr(c.func, "attr", getattr(c.func, "id", None))]


def _texts(cell: NotebookNode) -> Iterator[str]:
    """Every text that a cell's stored outputs show a reader."""
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        for mime, text in output.get("data", {}).items():
            if mime.startswith("text/"):
                yield text


# ----------------------------------------------------------------------- the stored form


def stored_clean(page: Page) -> Iterator[str]:
    """What `make notebooks` writes: no timestamps, foreign metadata, random ids, PNG versions."""
    notebook = copy.deepcopy(page.notebook)
    clean(notebook)
    if nbformat.writes(notebook, indent=1).rstrip("\n") + "\n" != page.text:
        yield "not in the form that `make notebooks` stores"


def counts_and_outputs(page: Page) -> Iterator[str]:
    """A stripped notebook would let nbval compare nothing."""
    counts = [cell.execution_count for cell in page.code]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}, not 1 to {len(counts)}"
    if not any(cell.outputs for cell in page.code):
        yield "has no outputs"
    for cell, tree in zip(page.code, page.trees, strict=True):
        # Calls at the top of a cell show something; those inside a function may not be reached.
        top = [node.value for node in tree.body if isinstance(node, ast.Expr)]
        shows = [name for name in ("print", "claim", "show") for call in top if _calls(call, name)]
        if shows and not cell.outputs:
            yield f"cell {cell.id} calls {shows[0]}() and has no output"


def setup_cell(page: Page) -> Iterator[str]:
    """The first code cell installs tricks_lib where it is missing, from the configured place."""
    if not page.code or page.code[0].source != expected_setup():
        yield f"the first code cell must be exactly:\n{expected_setup()}"
    elif page.code[0].metadata.get("tags") != ["remove-cell"]:
        yield "the setup cell must have the tag remove-cell"


def expected_setup() -> str:
    """The setup cell for the repository that _config.yml names."""
    place = f"git+{CONFIG['repository']['url']}@{CONFIG['repository']['branch']}"
    return (
        "import importlib.util\n\n"
        'if importlib.util.find_spec("tricks_lib") is None:\n'
        f'    %pip install -q --no-deps "tricks-lib @ {place}"\n'
        "    importlib.invalidate_caches()\n"
        '    if importlib.util.find_spec("tricks_lib") is None:\n'
        '        raise ModuleNotFoundError("tricks_lib could not be installed; pip says why")'
    )


def title_cell(page: Page) -> Iterator[str]:
    """Title, Colab badge, minutes and prerequisites, visible at the very top."""
    if not page.published:
        return
    lines = [line for line in page.notebook.cells[0].source.splitlines() if line.strip()]
    if page.notebook.cells[0].cell_type != "markdown" or not lines[0].startswith("# "):
        yield "the first cell must be markdown and begin with '# Title'"
        return
    if len(lines) < 2 or lines[1].strip() != expected_badge(page):
        yield f"the line under the title must be exactly:\n{expected_badge(page)}"
    minutes = r"\*\*About \d+ minutes? on a CPU\*\* · \*\*Before this:\*\* \S"
    if not any(re.match(minutes, line) for line in lines[2:3]):
        yield "the next line must read '**About N minutes on a CPU** · **Before this:** ...'"


def expected_badge(page: Page) -> str:
    """The Colab badge that opens this page from the configured repository."""
    repository = CONFIG["repository"]["url"].removeprefix("https://github.com/")
    place = f"{repository}/blob/{CONFIG['repository']['branch']}/{page.path.as_posix()}"
    link = f"https://colab.research.google.com/github/{place}"
    return f"[![Open in Colab]({BADGE_IMAGE})]({link})"


def clean_outputs(page: Page) -> Iterator[str]:
    """Nothing in an output may differ from machine to machine or from run to run."""
    forbidden = {
        "an absolute path": r"(?<![\w.:/<])/(?:home|tmp|root|usr|opt|var|Users|mnt|work|content)/",
        "a Windows path": r"\b[A-Z]:\\\w",
        "a warning": r"\w*Warning\b|\bWARNING\b",
        "an object address": r"\b0x[0-9a-fA-F]{6,}",
        "a timing": r"\b\d+(?:\.\d+)?\s?(?:ms|µs|us|ns|it/s|secs?|seconds)\b",
        "a progress bar": r"\d+%\|",
        "a traceback": r"Traceback \(most recent call last\)",
    }
    for cell in page.code:
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in _tags(cell):
                yield f"cell {cell.id} stores the error {output.ename}"
            if output.get("name") == "stderr":
                yield f"cell {cell.id} stores something on stderr: {output.text[:80]!r}"
            if "image/svg+xml" in output.get("data", {}):
                yield f"cell {cell.id} stores an SVG, whose ids are random: store PNGs"
        for text in _texts(cell):
            for what, pattern in forbidden.items():
                if match := re.search(pattern, text):
                    yield f"cell {cell.id} stores {what}: {match[0]!r}"


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def tags(page: Page) -> Iterator[str]:
    """Tags from the short list alone, so that no output escapes the comparison."""
    for cell in page.notebook.cells:
        if "NBVAL_" in cell.source:
            yield f"cell {cell.id} has an nbval comment; use the tag nbval-atol=..."
        for tag in _tags(cell):
            known = tag in TAGS or re.fullmatch(r"nbval-[ar]tol=[\d.e-]+", tag)
            if not known and (page.path.as_posix(), cell.id) not in WEAKENED:
                yield f"cell {cell.id} has the tag {tag!r}, which is not on the list"
        if tolerances(_tags(cell)).get("rtol", 0) > MAX_RTOL:
            yield f"cell {cell.id} has a relative tolerance above {MAX_RTOL}"


# ------------------------------------------------------------------------- what is shown


def alt_text(page: Page) -> Iterator[str]:
    """Every figure says in words what it shows."""
    for cell in page.code:
        figures = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        if not figures:
            continue
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if len(alt) < MIN_ALT:
            yield f"cell {cell.id}: a figure needs an alt text of {MIN_ALT} characters, has {alt!r}"
        if re.match(r"(an? |the )?(figure|image|picture) (of|show)", alt.lower()):
            yield f"cell {cell.id}: the alt text must say what it shows, not that it is a figure"
        if figures > 1:
            yield f"cell {cell.id} draws {figures} figures, but a cell has one alt text"


def images_exist(page: Page) -> Iterator[str]:
    """Images in prose are files of the book, and have an alt text."""
    for cell in page.prose:
        markdown = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)", cell.source)
        tags = re.findall(r"<img[^>]*?src=[\"']([^\"']+)", cell.source)
        for alt, place in markdown + [("html", place) for place in tags]:
            if place == BADGE_IMAGE:
                continue
            if not alt.strip():
                yield f"cell {cell.id}: the image {place} has no alt text"
            if "://" in place or not (page.root / page.path.parent / place).is_file():
                yield f"cell {cell.id}: the image {place} is not a file of the book"


def columns(page: Page) -> Iterator[str]:
    """Code that needs no scrolling sideways, in cells and in the snippets of the text."""
    for cell in page.code[1:]:
        yield from too_wide(cell, cell.source)
    for cell in page.prose:
        for block in re.findall(r"^ *```python\n(.*?)```", cell.source, re.DOTALL | re.MULTILINE):
            yield from too_wide(cell, block)


def too_wide(cell: NotebookNode, code: str) -> Iterator[str]:
    """The lines that their column would cut."""
    for line in code.splitlines():
        if len(line) > MAX_COLUMNS:
            yield f"cell {cell.id} has {len(line)} columns, over {MAX_COLUMNS}: {line.strip()[:50]}"


def cell_lengths(page: Page) -> Iterator[str]:
    """Short code cells, one idea each."""
    lengths = [len(cell.source.splitlines()) for cell in page.code[1:]]
    for cell, lines in zip(page.code[1:], lengths, strict=True):
        if lines > MAX_LINES:
            yield f"cell {cell.id} has {lines} lines, at most {MAX_LINES}"
    if lengths and statistics.median(lengths) > MEDIAN_LINES:
        yield f"the median code cell has {statistics.median(lengths)} lines, above {MEDIAN_LINES}"
    if len(page.code) > MAX_CELLS:
        yield f"the page has {len(page.code)} code cells, at most {MAX_CELLS}"


# ------------------------------------------------------------------------------ the text


def sections(page: Page) -> Iterator[str]:
    """A trick page has the parts of the book's anatomy, in its order."""
    if not page.teaches_a_trick:
        return
    titles = [title for cell in page.prose for _, title in _headings(cell.source)]
    at = -1
    for words in SECTIONS:
        places = [n for n, title in enumerate(titles) if _has(title, words)]
        if not places:
            yield f"no heading has {' or '.join(map(repr, words))}"
        elif places[-1] < at:
            yield f"the section {titles[places[-1]]!r} stands too early"
        else:
            at = min(n for n in places if n >= at)
    exercises = "\n".join(cell.source for cell in page.section(("exercises",)))
    numbered = re.findall(r"^(?:#+ |\*\*)?(?:Exercise )?\d+[.:\b ]", exercises, re.MULTILINE)
    if exercises and len(numbered) < 3:
        yield f"three exercises are wanted, {len(numbered)} are numbered"


def findings_first(page: Page) -> Iterator[str]:
    """The first screen says what to do and what was found: no code stands above it."""
    if not page.teaches_a_trick:
        return
    for cell in page.notebook.cells:
        if cell.cell_type == "markdown" and "## In one minute" in cell.source:
            return
        if cell.cell_type == "code" and "remove-cell" not in _tags(cell):
            yield f"cell {cell.id} is code that stands above what was found"


def use_it(page: Page) -> Iterator[str]:
    """The snippet to paste is plain PyTorch."""
    if not page.teaches_a_trick:
        return
    cells = page.section(("use it",))
    snippets = [cell.source for cell in cells if cell.cell_type == "code"]
    for cell in cells:
        if cell.cell_type == "markdown":
            snippets += re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
    if not any("torch" in snippet for snippet in snippets):
        yield "the section 'Use it' has no PyTorch code"
    for snippet in snippets:
        if re.search(r"\btricks_lib\b|\btl\.", snippet):
            yield "the section 'Use it' uses tricks_lib; a reader pastes it where that is missing"
        try:
            compile(snippet, "use it", "exec")
        except SyntaxError as error:
            yield f"the snippet of 'Use it' does not compile: {error}"


def paragraphs(page: Page) -> Iterator[str]:
    """Paragraphs that are read, not skipped."""
    for cell in page.prose:
        prose = re.sub(r"```.*?```|\$\$.*?\$\$|<!--.*?-->", "", cell.source, flags=re.DOTALL)
        for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.)\s)", prose):
            words = 0 if block.lstrip().startswith("|") else len(block.split())
            if words > MAX_WORDS:
                yield f"cell {cell.id}: a paragraph of {words} words: {block.strip()[:60]!r}..."


def maths(page: Page) -> Iterator[str]:
    """Formulas reach MathJax whole: Markdown reads none of their lines as a list."""
    for cell in page.prose:
        yield from (f"cell {cell.id}: {fault}" for fault in maths_faults(cell.source))


def maths_faults(markdown: str) -> Iterator[str]:
    """What is wrong with the formulas of a text: a lone dollar, or a line that begins a list."""
    plain = re.sub(r"^(`{3,}|~{3,}).*?^\1|<!--.*?-->", "", markdown, flags=re.DOTALL | re.MULTILINE)
    plain = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)|\\\$", "", plain, flags=re.DOTALL)
    parts = plain.split("$$")
    if len(parts) % 2 == 0:
        yield "a $$ has no partner"
        return
    formulas = parts[1::2]
    for paragraph in re.split(r"\n[ \t>]*\n", "\n\n".join(parts[::2])):
        pieces = paragraph.split("$")
        if len(pieces) % 2 == 0:
            yield f"a $ has no partner in {paragraph.strip()[:60]!r}"
        else:
            formulas += pieces[1::2]
    for formula in formulas:
        # The first line of all stands behind its dollar, so only the others begin a line.
        for line in formula.split("\n")[1:]:
            if re.match(r"\s*(?:[-+*]|\d+[.)])\s", line):
                yield f"Markdown reads a list in the line {line.strip()[:60]!r} of a formula"


def cited(page: Page) -> Iterator[str]:
    """Whom a claim names as its source stands in the page's references, by name and year."""
    titles = ("references", "further reading")
    lines = "\n".join(cell.source for cell in page.section(titles)).lower()
    plain = unicodedata.normalize("NFKD", lines).encode("ascii", "ignore").decode()
    references = [re.sub(r"[^a-z0-9]", "", line) for line in plain.split("\n- ")]
    for record in page.records:
        for key in (record["source"], *(record.get("tested_by") or ())):
            name, year = re.match(r"([a-z]+)(\d{4})", key).groups()
            if not any(name in line and year in line for line in references):
                yield f"claim {record['id']} names {key}, which the references do not list"


MEASURED = r"accura|error|loss\b|\bgain|better|worse|improve|rises?\b|rose\b|fell\b|falls\b|faster"
RESULT = (
    r"\d\s?(?:percentage )?points\b"
    r"|\baccuracy of \d*\.\d+|\b(?:accuracy|loss|error) (?:is|was|reaches|becomes) \d*\.\d+"
)
NUMBER = r"\b\d+(?:\.\d+)?\s?(?:%|\\%|per ?cent\b)"


def typed_numbers(page: Page) -> Iterator[str]:
    """Measured numbers come from outputs; a number from the literature has its source beside it."""
    for cell in page.prose:
        if "literature" in _tags(cell):
            continue
        prose = re.sub(r"```.*?```|\$\$.*?\$\$", "", cell.source, flags=re.DOTALL)
        prose = re.sub(r"`[^`\n]*`|\$[^$\n]+\$", "", prose)
        for sentence in re.split(r"(?<=[.!?:])\s+|\n(?=\s*(?:[-*+|#]|\d+\.)\s?)|\n\s*\n", prose):
            if re.search(r"\]\(|\{cite|\[@|https?://", sentence):
                continue
            # "99 % interval" and "80 % power" name a method, not a result.
            plain = re.sub(
                r"\b(?:99|95|80)\s?%(?=\s+(?:confidence|interval|power|chance))", "", sentence
            )
            if re.search(RESULT, plain, re.IGNORECASE) or (
                re.search(NUMBER, plain) and re.search(MEASURED, plain, re.IGNORECASE)
            ):
                yield f"cell {cell.id}: a measured number is typed: {sentence.strip()[:90]!r}"


# ---------------------------------------------------------------------------- the evidence


def records(page: Page) -> Iterator[str]:
    """Every record is whole, and its verdict follows from its numbers."""
    for record in page.records:
        yield from (f"claim {record.get('id')}: {wrong}" for wrong in check_record(record))


# What a record must tell of its runs, and the conditions that can tell it.
TOLD = {
    "how many examples": ("training examples", "examples"),
    "for how long": ("steps", "training"),
    "at which rate, or how it was tuned": ("learning rate", "tuned", "training"),
    "which network": ("network",),
    "with which optimizer": ("optimizer", "training"),
}


def conditions(page: Page) -> Iterator[str]:
    """A record tells of its runs what decides their outcome; *training none* where none is."""
    for record in page.records:
        told = record["conditions"]
        for what, names in TOLD.items():
            if not any(told.get(name, "-").strip(" -") for name in names):
                yield f"the record of {record['id']} on {record['data']} does not say {what}"
        if told.get("training", "none").partition(":")[0] != "none":
            yield f"the record of {record['id']} says training {told['training']!r}: none, or steps"


def seeds(page: Page) -> Iterator[str]:
    """Every claim rests on different seeds, as many as one of the looks of the law."""
    for record in page.records:
        if record["num_seeds"] not in LOOKS or len(set(record["seeds"])) != record["num_seeds"]:
            yield f"claim {record['id']} rests on the seeds {record['seeds']}, not on {LOOKS}"


def claim_ids(page: Page) -> Iterator[str]:
    """``page.slug``; a claim that is measured again says on which data, or what else differs."""
    keys = [(record["id"], record["data"], record["at"]) for record in page.records]
    for key in keys:
        if not re.fullmatch(rf"{re.escape(page.path.stem)}\.[a-z0-9_]+", key[0]):
            yield f"the claim id {key[0]!r} must be '{page.path.stem}.<slug>'"
        if keys.count(key) > 1:
            yield f"the claim {key[0]!r} is measured twice on {key[1]}; tell them apart with at="
    if page.teaches_a_trick and not keys:
        yield "measures no claim"


def headlines(page: Page) -> Iterator[str]:
    """Few claims, fewer that a reader came for, and each of these with the place in its source."""
    if len(names := {record["id"] for record in page.records}) > MAX_CLAIMS:
        yield f"has {len(names)} claims, placebos and controls, at most {MAX_CLAIMS}"
    found = {record["id"]: record for record in page.records if record["headline"]}
    if len(found) > MAX_HEADLINES:
        yield f"has {len(found)} headline claims, at most {MAX_HEADLINES}"
    for name, record in found.items():
        if not record["place"]:
            yield f"the headline claim {name} does not say where its source teaches it"


def placebos(page: Page) -> Iterator[str]:
    """What cannot matter must not be seen to matter."""
    for record in page.records:
        if record["kind"] != "claim" and record["verdict"] != TOO_SMALL:
            yield f"the {record['kind']} {record['id']} came out as {record['verdict']!r}"


def declared_first(page: Page) -> Iterator[str]:
    """A claim is declared before its numbers are measured, not fitted to them afterwards."""
    declared: dict[str, tuple[int, int]] = {}  # claim id -> (cell, line)
    names: dict[str, list[str]] = {}  # variable -> the claim ids that it may hold
    assigned: list[tuple[tuple[int, int], set[str], ast.AST]] = []
    makers: dict[str, str] = {}  # variable -> the page of the tl.Claims that it holds
    for number, tree in enumerate(page.trees):
        list(ids_in(tree, makers))  # finds the makers of this cell
        for statement in tree.body:
            for claim_id in ids_in(statement, makers):
                declared.setdefault(claim_id, (number, statement.lineno))
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                targets = {
                    n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)
                }
                assigned.append(((number, node.lineno), targets, node.value))
                for target in targets:
                    names.setdefault(target, []).extend(ids_in(node.value, makers))
    for record in page.records:
        if record["id"] not in declared:
            yield f"claim {record['id']} is declared nowhere"
    for number, tree in enumerate(page.trees):
        for call in _calls(tree, "claim"):
            if len(call.args) < 2:
                continue
            ids = [i for name in _names(call.args[0]) for i in names.get(name, [])]
            if list(ids_in(call.args[0], makers)):
                yield f"cell {page.code[number].id}: declare the Claim in a cell before its study"
            here = (number, call.lineno)
            for place in _measured_at(call.args[1], here, assigned):
                for claim_id in ids:
                    if declared[claim_id] > place:
                        yield f"claim {claim_id} is declared after it was measured"


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _measured_at(
    value: ast.AST,
    before: tuple[int, int],
    assigned: list[tuple[tuple[int, int], set[str], ast.AST]],
) -> Iterator[tuple[int, int]]:
    """Where compare() was called for a value, followed back through the names that it uses."""
    for name in _names(value):
        earlier = [a for a in assigned if a[0] < before and name in a[1]]
        if earlier:
            place, _, source = earlier[-1]
            if _calls(source, "compare") or _calls(source, "recorded"):
                yield place
            else:
                yield from _measured_at(source, place, assigned)


# ------------------------------------------------------------------- traps seen elsewhere


def traps(page: Page) -> Iterator[str]:
    """Mistakes that other books made, each by its name."""
    patterns = {
        "tests a version by its minor number": r"__version__",
        "installs packages outside the setup cell": r"[%!]\s?(?:pip|conda|apt)|\bpip install",
        "skips training when a checkpoint exists": r"torch\.load\(|load_state_dict_from_url",
        "reports the best epoch as the score": (
            r"(?:accuracy|accuracies)[\"'\])]*\s*\.(?:max|cummax|idxmax)\("
            r"|\bmax\([^()]*(?:accuracy|accuracies)"
        ),
        "tunes on the test set": r"(?:sweep|idxmax|argmax)\([^#\n]*test_",
    }
    for cell, tree in zip(page.code[1:], page.trees[1:], strict=True):
        setup = cell is page.code[1] and cell.source == OPTUNA_SETUP
        for what, pattern in patterns.items():
            if re.search(pattern, cell.source) and not setup:
                yield f"cell {cell.id} {what}"
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                yield f"cell {cell.id} has a bare except, which hides every error"


def imports(page: Page) -> Iterator[str]:
    """A notebook runs in Colab: it imports what Colab ships, tricks_lib, and Python's own."""
    for cell, tree in zip(page.code, page.trees, strict=True):
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in {name.split(".")[0] for name in modules}:
                if module == "optuna" and page.code[1].source != OPTUNA_SETUP:
                    yield f"cell {cell.id} imports optuna, and no second setup cell installs it"
                if module not in PACKAGES and module not in sys.stdlib_module_names:
                    yield f"cell {cell.id} imports {module}, which Colab does not ship"


RULES = (
    stored_clean,
    counts_and_outputs,
    setup_cell,
    title_cell,
    clean_outputs,
    tags,
    alt_text,
    images_exist,
    columns,
    cell_lengths,
    sections,
    findings_first,
    use_it,
    paragraphs,
    maths,
    cited,
    typed_numbers,
    records,
    conditions,
    seeds,
    claim_ids,
    headlines,
    placebos,
    declared_first,
    traps,
    imports,
)
