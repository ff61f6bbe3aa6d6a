"""Every notebook keeps every rule of tests/page_rules.py; and every rule is seen to bite.

The second half makes one good page, breaks it in each way in turn, and expects the complaint.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from book.notebooks import UNSEEN, clean, find_notebooks, packed, strip_png
from book.records import MIME
from tests.page_rules import (
    ROOT,
    RULES,
    TRICK_PARTS,
    Page,
    expected_badge,
    expected_setup,
    maths_faults,
)
from tricks_lib import Claim, Effect
from tricks_lib.claims import record
from tricks_lib.law import TOO_SMALL

PATHS = [path.relative_to(ROOT) for path in find_notebooks([ROOT / "chapters"])]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.as_posix())
def test_page(path: Path, rule: Callable) -> None:
    complaints = list(rule(Page.read(path)))
    assert not complaints, "\n".join([f"{path} breaks the rule {rule.__name__!r}:", *complaints])


def test_there_are_notebooks() -> None:
    assert PATHS, "chapters/ has no notebooks: nothing was checked"


@pytest.mark.parametrize("part", TRICK_PARTS)
def test_part_has_a_placebo(part: str) -> None:
    pages = [Page.read(path) for path in PATHS if path.parts[1] == part]
    if not pages:
        pytest.skip(f"the part {part} is not written yet")
    placebos = [r for page in pages for r in page.records if r["kind"] == "placebo"]
    assert placebos, f"{part} has no placebo that shows how chance looks"
    assert {record["verdict"] for record in placebos} == {TOO_SMALL}


# ------------------------------------------------------------------------ one good page

USED = {
    "training examples": "400",
    "steps": "300",
    "network": "a layer of 64 units",
    "optimizer": "SGD",
    "learning rate": "0.1, not tuned here",
}
EFFECT = Effect(
    np.linspace(0.04, 0.06, 10),
    tuple(range(10)),
    "with",
    "without",
    "test_accuracy",
    "glyphs",
    "cpu",
    conditions=USED,
)
RECORD = record(Claim("demo.few_images", "It helps.", "who2020, table 1", headline=True), EFFECT)


def many_claims(number: int, headline: bool = True) -> list[NotebookNode]:
    fields = {"headline": headline}
    records = [RECORD | {"id": f"demo.claim_{n}"} | fields for n in range(number)]
    return [new_output("display_data", data={MIME: found}) for found in records]


DECLARE = 'from tricks_lib import Claim\n\nDEMO = Claim("demo.few_images", "It helps.", "who2020")'
MEASURE = "study = compare(arms, data)\neffect = study.effect('with')"
SNIPPET = "import torch\n\nlayer = torch.nn.Dropout(0.5)"
PATH = Path("chapters/data_processing/demo.ipynb")


def png() -> str:
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, np.zeros((2, 2, 3)), format="png")
    return base64.b64encode(strip_png(packed(buffer.getvalue()))).decode()


def shown(**data: object) -> NotebookNode:
    return new_output("display_data", data={k.replace("__", "/"): v for k, v in data.items()})


def good_notebook() -> NotebookNode:
    """Cell ids are c00, c01, ...; the names below are used by the breakages."""
    badge = expected_badge(Page(PATH, new_notebook(), ""))
    minutes = "**About 1 minute on a CPU** · **Before this:** nothing"
    judged = {MIME: RECORD, "text/plain": "HOLDS · It helps. [demo.few_images: glyphs]"}
    alt = {"mystnb": {"image": {"alt": "The line rises from one to two."}}}
    cells = [
        new_markdown_cell(f"# A trick\n\n{badge}\n\n{minutes}"),
        new_code_cell(expected_setup(), metadata={"tags": ["remove-cell"]}),
        new_markdown_cell("## In one minute\n\nDo it.\n\n## Objectives\n\n## The idea"),
        new_code_cell(
            "plt.plot([1, 2])\nplt.show()", metadata=alt, outputs=[shown(image__png=png())]
        ),
        new_markdown_cell("## From scratch\n\nA table is described by a 95 % interval."),
        new_code_cell("print('3 rows')", outputs=[new_output("stream", text="3 rows\n")]),
        new_markdown_cell("## Predict, then measure"),
        new_code_cell(DECLARE),
        new_code_cell(MEASURE),
        new_code_cell("claim(DEMO, effect)", outputs=[new_output("display_data", data=judged)]),
        new_markdown_cell("## Where it fails\n\n## Use it"),
        new_code_cell(SNIPPET),
        new_markdown_cell("## Exercises\n\n1. One.\n2. Two.\n3. Three."),
        new_markdown_cell("## Takeaways\n\n- It helps.\n\n## References\n\nWho, 2020."),
    ]
    notebook = new_notebook(cells=cells)
    clean(notebook)
    return notebook


def page_of(notebook: NotebookNode) -> Page:
    return Page(PATH, notebook, nbformat.writes(notebook, indent=1).rstrip("\n") + "\n")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_good_page_has_no_complaints(rule: Callable) -> None:
    assert list(rule(page_of(good_notebook()))) == []


# ------------------------------------------------------------- the same page, broken

Break = Callable[[list[NotebookNode]], object]


def source(number: int, text: str) -> Break:
    return lambda cells: cells[number].update(source=text)


def change(number: int, old: str, new: str) -> Break:
    return lambda cells: cells[number].update(source=cells[number].source.replace(old, new))


def prose(text: str) -> Break:
    return lambda cells: cells[4].update(source=f"## From scratch\n\n{text}")


def out(text: str, name: str = "stdout") -> Break:
    return lambda cells: cells[5].update(outputs=[new_output("stream", name=name, text=text)])


def fields(**changed: object) -> Break:
    return lambda cells: cells[9].outputs[0].data.update({MIME: {**RECORD, **changed}})


def alt(text: str) -> Break:
    return lambda cells: cells[3].metadata.update(mystnb={"image": {"alt": text}})


def tag(name: str) -> Break:
    return lambda cells: cells[5].metadata.update(tags=[name])


def strip(cells: list[NotebookNode]) -> None:
    for cell in cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)


error = new_output("error", ename="ValueError", evalue="no", traceback=[])
BREAKAGES: list[tuple[str, str, Break]] = [
    ("stored_clean", "metadata", lambda cells: cells[3].metadata.update(collapsed=True)),
    ("stored_clean", "random id", lambda cells: cells[3].update(id="3f2a")),
    ("counts_and_outputs", "stripped", strip),
    ("counts_and_outputs", "counts", lambda cells: cells[5].update(execution_count=9)),
    ("counts_and_outputs", "cleared", lambda cells: cells[5].update(outputs=[])),
    ("setup_cell", "other branch", change(1, "@main", "@v2")),
    ("setup_cell", "with torch", change(1, "--no-deps ", "")),
    ("setup_cell", "no tag", lambda cells: cells[1].metadata.update(tags=[])),
    ("title_cell", "no title", change(0, "# A trick", "A trick")),
    ("title_cell", "other page", change(0, "demo.ipynb", "other.ipynb")),
    ("title_cell", "no minutes", change(0, "About 1 minute", "Soon")),
    ("findings_first", "imports", lambda cells: cells.insert(2, new_code_cell("import torch"))),
    ("clean_outputs", "error", lambda cells: cells[5].update(outputs=[error])),
    ("clean_outputs", "stderr", out("careful", "stderr")),
    ("clean_outputs", "path", out("saved in /home/me/x.pt")),
    ("clean_outputs", "windows path", out("saved in C:\\me")),
    ("clean_outputs", "warning", out("UserWarning: old")),
    ("clean_outputs", "address", out("<Net at 0x7f3a12bc44d0>")),
    ("clean_outputs", "timing", out("done in 3.1 ms")),
    ("clean_outputs", "progress", out("45%|####     |")),
    (
        "clean_outputs",
        "svg",
        lambda cells: cells[5].outputs.append(shown(**{"image__svg+xml": ""})),
    ),
    ("tags", "skip", tag("nbval-skip")),
    ("tags", "ignore", tag("nbval-ignore-output")),
    ("tags", "comment", source(5, "# NBVAL_IGNORE_OUTPUT\nprint('3 rows')")),
    ("tags", "slack", tag("nbval-rtol=0.5")),
    ("alt_text", "none", lambda cells: cells[3].metadata.pop("mystnb")),
    ("alt_text", "short", alt("A line.")),
    ("alt_text", "empty words", alt("Figure of a line that rises.")),
    ("alt_text", "two", lambda cells: cells[3].outputs.append(shown(image__png=png()))),
    ("images_exist", "absent", prose("![A drawn line](missing.png)")),
    ("images_exist", "remote", prose("![A drawn line](https://example.org/x.png)")),
    ("images_exist", "silent", prose("![](../../README.md)")),
    ("cell_lengths", "long", source(8, "x = 1\n" * 26)),
    ("columns", "cell", source(8, "x = " + "1 + " * 18 + "1.50")),
    ("columns", "snippet", prose("So:\n\n```python\nx = " + "1 + " * 18 + "1.50\n```")),
    ("cell_lengths", "median", lambda cells: [c.update(source="a = 1\n" * 9) for c in cells[3:]]),
    ("cell_lengths", "many", lambda cells: cells.extend(new_code_cell("x = 1") for _ in range(46))),
    ("sections", "missing", change(10, "## Use it", "## Snippet")),
    ("sections", "order", change(10, "fails\n\n## Use it", "x\n\n## Use it\n\n## Where it fails")),
    ("sections", "two exercises", change(12, "3. Three.", "")),
    ("use_it", "library", source(11, "import tricks_lib as tl\nimport torch\ntl.fit()")),
    ("use_it", "no code", source(11, "x = 1")),
    ("use_it", "syntax", source(11, "import torch\ndef f(:")),
    ("paragraphs", "long", prose("word " * 91)),
    ("maths", "list", prose("It takes the mean, $m = b m\n+ g$, of all.")),
    ("maths", "numbered list", prose("It is $a =\n2. b$ here.")),
    ("maths", "list in a display", prose("It is\n\n$$a =\n- b .$$\n\nhere.")),
    ("maths", "lone dollar", prose("The mean $m is here.\n\nAnother $n$.")),
    ("maths", "lone pair", prose("The mean\n\n$$m = g\n\nis here.")),
    ("cited", "not listed", change(13, "Who, 2020.", "Whose, 2019.")),
    ("cited", "not tested by", fields(tested_by=["else2021"])),
    ("typed_numbers", "percent", prose("The error falls to 12 % with it.")),
    ("typed_numbers", "points", prose("It gains 3 points.")),
    ("typed_numbers", "accuracy", prose("We reach an accuracy of 0.93 here.")),
    ("typed_numbers", "loss", prose("After training the loss is 0.31.")),
    ("records", "verdict", fields(verdict="opposite")),
    ("records", "unknown", fields(p_value=0.01)),
    ("conditions", "no size", fields(conditions={**USED, "training examples": ""})),
    ("conditions", "no budget", fields(conditions={**USED, "steps": "-"})),
    ("conditions", "no rate", fields(conditions={**USED, "learning rate": ""})),
    ("conditions", "no network", fields(conditions={**USED, "network": ""})),
    ("conditions", "no optimizer", fields(conditions={**USED, "optimizer": ""})),
    ("conditions", "some training", fields(conditions={**USED, "training": "long"})),
    ("seeds", "between two looks", fields(num_seeds=9, seeds=list(range(9)))),
    ("seeds", "repeated", fields(seeds=[0] * 10)),
    ("claim_ids", "other page", fields(id="other.few_images")),
    ("claim_ids", "twice", lambda cells: cells[9].outputs.append(cells[9].outputs[0])),
    ("claim_ids", "none", lambda cells: cells[9].update(outputs=[])),
    ("placebos", "placebo", fields(kind="placebo")),
    ("placebos", "control", fields(kind="control", verdict="opposite")),
    ("placebos", "undecided", fields(kind="control", verdict="undecided")),
    ("headlines", "no place", fields(place="")),
    ("headlines", "seven", lambda cells: cells[9].update(outputs=many_claims(7))),
    ("headlines", "fifteen in all", lambda cells: cells[9].update(outputs=many_claims(15, False))),
    ("declared_first", "never", source(7, "DEMO = 1")),
    ("declared_first", "after", lambda cells: cells.insert(8, cells.pop(7))),
    ("declared_first", "inline", source(9, "claim(Claim('demo.few_images'), effect)")),
    ("traps", "bare except", source(8, "try:\n    import x\nexcept:\n    pass")),
    ("traps", "version", source(8, "assert torch.__version__.split('.')[1] >= 12")),
    ("traps", "install", source(8, "%pip install torchmetrics")),
    ("traps", "checkpoint", source(8, "state = torch.load('model.pt')")),
    ("traps", "best epoch", source(8, "best = history.curve['val_accuracy'].max()")),
    ("traps", "best of all", source(8, "best = max(accuracies)")),
    ("traps", "test set", source(8, "sweep(arms, data, metric='test_accuracy')")),
    ("imports", "foreign", source(8, "import lightning")),
    ("imports", "optuna without its setup", source(8, "import optuna")),
]


@pytest.mark.parametrize(
    ("rule", "breakage"),
    [pytest.param(rule, breakage, id=f"{rule}-{name}") for rule, name, breakage in BREAKAGES],
)
def test_broken_page_is_caught(rule: str, breakage: Break) -> None:
    notebook = good_notebook()
    breakage(notebook.cells)
    (applied,) = [function for function in RULES if function.__name__ == rule]
    assert list(applied(page_of(notebook)))


def test_every_rule_is_seen_to_bite() -> None:
    assert {rule.__name__ for rule in RULES} == {rule for rule, _, _ in BREAKAGES}


@pytest.mark.parametrize(
    "text",
    [
        "We count the steps to a validation loss of 0.5.",
        "We drop 50 % of the units.",
        "Its 95 % interval excludes zero, which makes the gain clear.",
        "The error fell to 12 % [Who 2020](https://example.org).",
        "A learning rate of 0.1 and a loss `0.53`.",
        "Images of 16 pixels, 1600 of them; 80 % of them train.",
    ],
)
def test_settings_and_literature_are_no_typed_measurements(text: str) -> None:
    notebook = good_notebook()
    prose(text)(notebook.cells)
    (rule,) = [function for function in RULES if function.__name__ == "typed_numbers"]
    assert list(rule(page_of(notebook))) == []


@pytest.mark.parametrize(
    "text",
    [
        "It is $a - b$, and $-b\n+\\beta$ is no list.",
        "- It is $a$\n- and $b$\n\n1. and $c$",
        "It costs \\$5; in a shell, `$HOME` and `$PATH`.\n\n```bash\necho $HOME\n- $x\n```",
        "$$\na = b\n+c\n$$\n\n> A note on $a$\n>\n> and $b$.",
        "| $x$ | $|y|$ |\n|---|---|",
    ],
)
def test_sound_maths_has_no_faults(text: str) -> None:
    assert list(maths_faults(text)) == []


TEXTS = [path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("chapters/**/*.md")]]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.as_posix())
def test_maths_of_plain_pages(path: Path) -> None:
    assert list(maths_faults((ROOT / path).read_text(encoding="utf-8"))) == []


# -------------------------------------------------------------------------- the runner


def test_cleaning_is_stable_and_keeps_ids() -> None:
    notebook = good_notebook()
    notebook.cells.insert(2, new_markdown_cell("New.", id="c1234567"))  # random ids look so
    before = [cell.id for cell in notebook.cells]
    clean(notebook)
    after = [cell.id for cell in notebook.cells]
    assert after[:2] + after[3:] == before[:2] + before[3:]
    assert after[2] == "c14"
    once = nbformat.writes(notebook)
    clean(notebook)
    assert nbformat.writes(notebook) == once


def drawn(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "png", dpi=(220, 220))
    return buffer.getvalue()


def test_a_plot_gets_a_palette_and_weighs_less() -> None:
    figure = Figure(figsize=(4, 3), dpi=220)  # lines and letters, with all shades at their edges
    figure.subplots().plot([0, 3, 1], [[0, 1], [2, 0], [1, 3]], label="arm")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plot = buffer.getvalue()
    small = packed(plot)
    assert len(small) < 0.7 * len(plot)
    assert packed(small) == small  # so that what is clean stays as it is
    old, new = (Image.open(io.BytesIO(png)) for png in (plot, small))
    assert new.mode == "P" and new.info["dpi"] == old.info["dpi"]
    apart = np.asarray(old.convert("RGB"), int) - np.asarray(new.convert("RGB"), int)
    assert 0 < abs(apart).max() <= UNSEEN


def test_photographs_and_what_is_clear_stay_as_they_are() -> None:
    values = np.random.default_rng(0).integers(0, 256, (40, 40, 4)).astype("uint8")
    photograph = drawn(Image.fromarray(values[..., :3]))
    clear = drawn(Image.new("RGBA", (40, 40), (0, 0, 0, 0)))
    assert packed(photograph) == photograph and packed(clear) == clear


def test_png_keeps_its_pixels_and_loses_its_texts() -> None:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).random((4, 5, 3))
    matplotlib.image.imsave(buffer, pixels, format="png", metadata={"Software": "Draw 9.9"})
    stripped = strip_png(buffer.getvalue())
    assert b"Draw 9.9" in buffer.getvalue()
    assert b"Draw 9.9" not in stripped
    np.testing.assert_array_equal(
        matplotlib.image.imread(io.BytesIO(stripped)),
        matplotlib.image.imread(io.BytesIO(buffer.getvalue())),
    )
