"""Nobody vanishes: every student of an export has a row, whatever was handed in, however named."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
import tracemalloc
import unicodedata
import zipfile
from pathlib import Path

import pytest

from tests.coursework_helpers import notebook_of, zip_of
from tests.page_rules import ROOT
from tricks_lib.coursework import submissions

ANSWERED = notebook_of("def double(x):\n    return 2 * x", "again = lambda x: 2 * x")
QUESTIONS = ("double", "again")
DECOMPOSED = unicodedata.normalize("NFD", "müllerzoë")
CANVAS = {
    "lovelaceada_123_4567_work.ipynb": "123",
    "हिन्दीअनुष्का_124_4568_मेरा_काम.ipynb": "124",
    f"{DECOMPOSED}_late_125_4569_x-1.ipynb": "125",
    "bobb_LATE_126_4570_answer.py": "126",
    "carolc_127_4571_scan.pdf": "127",
    "dand_128_4572_exercises.ipynb.txt": "128",
    "erike_129_text.html": "129",
    "faye_130_4574_work.tar.gz": "130",
    "gusg_131_4575_work.zip": "131",
    "o'neil-smith_132_4576_12_34_x.ipynb": "132",
}
MOODLE_FOLDERS = {
    "Ada Lovelace_21_assignsubmission_file_/x.ipynb": "21",
    "अनुष्का शर्मा_22_assignsubmission_file_/deep/er/x.ipynb": "22",
    f"{DECOMPOSED}_23_assignsubmission_onlinetext_/onlinetext.html": "23",
    "Participant_24_assignsubmission_file_/a_99_assignsubmission_file_b.ipynb": "24",
    "Bo_25_assignsubmission_file_/lovelaceada_123_4567_work.ipynb": "25",
}
MOODLE_FLAT = {
    "Ada Lovelace_21_assignsubmission_file_my own name.ipynb": "21",
    "अनुष्का शर्मा_22_assignsubmission_file_x_y.ipynb": "22",
    f"{DECOMPOSED}_23_assignsubmission_onlinetext_onlinetext.html": "23",
    "Eve_24_assignsubmission_file_x_21_assignsubmission_file_y.ipynb": "24",
}


def put(folder: Path, *names: str, data: bytes = ANSWERED) -> Path:
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data if ".ipynb" in name else b"PK no zip")
    return folder


def both(folder: Path, name: str = "export") -> tuple[Path, Path]:
    return folder, zip_of(folder, folder.parent / f"{name}.zip")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("layout", [CANVAS, MOODLE_FOLDERS, MOODLE_FLAT])
def test_every_student_has_a_row_with_the_platforms_id(
    layout: dict[str, str], wrapped: bool, tmp_path: Path
) -> None:
    put(tmp_path / "subs" / ("hw1" if wrapped else ""), *layout)
    for place in both(tmp_path / "subs"):
        found = submissions.read(place, QUESTIONS)
        assert sorted(one.id for one in found) == sorted(layout.values())
        for one in found:
            assert one.student == unicodedata.normalize("NFC", one.student)
            assert (one.data is not None) == one.file.endswith(".ipynb"), one
            broken = "is a broken zip file" if one.file.endswith(".zip") else "no notebook: "
            assert one.data or one.problem.startswith(broken), one
    names = {one.student for one in found}
    assert names & {"lovelaceada", "Ada Lovelace"} and "müllerzoë" in names
    late = [one.id for one in found if any("late" in note for note in one.notes)]
    assert late == (["126", "125"] if layout is CANVAS else [])


def test_what_looks_like_canvas_and_is_not(tmp_path: Path) -> None:
    for names in (
        ["hw_1_2_ada.ipynb", "hw_1_2_bob.ipynb"],
        ["hw_2024_1_ada.ipynb", "hw_2024_2_bob.ipynb"],
        ["hw_1_11_ada.ipynb", "hw_2_12_bob.ipynb"],
        ["ada.ipynb", "bob.ipynb", "cy_12_3456_x.ipynb"],
        ["hw_1_2_ada (1).ipynb", "hw_1_2_bob (1).ipynb"],
    ):
        folder = put(tmp_path / names[0], *names)
        assert [s.id for s in submissions.read(folder)] == [""] * len(names)


def test_a_browsers_second_copy_takes_nobodys_id(tmp_path: Path) -> None:
    names = ["ada_12_3456_x.ipynb", "bob_13_3457_work.ipynb", "bob_13_3457_work (1).ipynb"]
    names += ["cy_14_text.html", "cy_14_text (1).html"]
    folder = put(tmp_path / "subs", *names)
    assert [s.id for s in submissions.read(folder)] == ["12", "13", "14"]


def test_several_attachments_count_once_by_a_rule_that_is_told(tmp_path: Path) -> None:
    folder = put(tmp_path / "subs", "ada_12_1001_exercises.ipynb", "bob_13_1003_x.ipynb")
    put(folder, "ada_12_1002_scratch.ipynb", data=notebook_of("x = 1"))
    put(folder, "ada_12_1004_plot.png", "bob_13_1005_x-1.ipynb")
    ada, bob = submissions.read(folder, QUESTIONS)
    assert (ada.id, ada.file) == ("12", "ada_12_1001_exercises.ipynb")
    assert "answers more of the questions" in ada.notes[0]
    assert (bob.id, bob.file) == ("13", "bob_13_1005_x-1.ipynb")  # the later attachment
    assert "x-1.ipynb is newer" in bob.notes[0]
    # The blank notebook names each question and answers none; what a student wrote comes first.
    blank = notebook_of(
        *(f'def {q}(x):\n    raise NotImplementedError("your turn")' for q in QUESTIONS)
    )
    folder = put(tmp_path / "blank", "ada_12_1002_exercises.ipynb", data=blank)
    mine = 'def double(x):\n    # raise NotImplementedError("your turn")\n    return 2 * x'
    put(folder, "ada_12_1001_mine.ipynb", data=notebook_of(mine))
    put(folder, "bob_13_1003_x.ipynb")
    ada, _ = submissions.read(folder, QUESTIONS)
    assert ada.file == "ada_12_1001_mine.ipynb" and "answers more" in ada.notes[0]
    folder = put(tmp_path / "same", "ada/a.ipynb", "ada/b.ipynb", "bob/x.ipynb")
    for name in ("a", "b"):
        os.utime(folder / "ada" / f"{name}.ipynb", (1, 1))
    ada, _ = submissions.read(folder, QUESTIONS)
    assert ada.file == "ada/b.ipynb" and "comes later in the alphabet" in ada.notes[0]


def test_plain_folders_keep_everybody(tmp_path: Path) -> None:
    names = ["ada.ipynb", "bob.py", "cy.ipynb.txt", "dan.tar.gz", "eve/a.pdf", "fay.l.ipynb"]
    folder = put(tmp_path / "subs", *names, ".DS_Store", "Thumbs.db", "gus/.DS_Store")
    (folder / "hal").mkdir()
    put(folder, f"{DECOMPOSED}.ipynb", f"{unicodedata.normalize('NFC', DECOMPOSED)}.pdf")
    students = ["ada", "bob", "cy", "dan", "eve", "fay.l", "gus", "hal", "müllerzoë"]
    for place in both(folder):
        found = {one.student: one for one in submissions.read(place)}
        assert list(found) == students
        assert [who for who, one in found.items() if one.data] == ["ada", "fay.l", "müllerzoë"]
        assert "must end in .ipynb" in found["cy"].problem
        assert found["hal"].problem == "no notebook: nothing was handed in"


@pytest.mark.parametrize(
    ("names", "students"),
    [
        (["ada/work/x.ipynb"], ["ada"]),
        (["submissions/ada/work/x.ipynb"], ["ada"]),
        (["export/ada.ipynb"], ["ada"]),  # the folder that is named as the zip file
        (["hw/ada/x.ipynb", "hw/bob/x.pdf"], ["ada", "bob"]),
        (["hw/ada.py", "hw/bob.pdf"], ["ada", "bob"]),
        (["Ada_1_assignsubmission_file_/work/x.ipynb"], ["Ada"]),
    ],
)
def test_a_hand_in_keeps_its_students_name(names: list, students: list, tmp_path: Path) -> None:
    for place in both(put(tmp_path / "subs", *names)):
        assert [one.student for one in submissions.read(place)] == students


def test_gradescopes_export_has_its_names(tmp_path: Path) -> None:
    folder = put(tmp_path / "assignment_7_export", "submission_1/x.ipynb", "submission_2/y.py")
    put(folder, "submission_3/z.ipynb")
    (folder / "submission_metadata.yml").write_text(
        "submission_1:\n  :submitters:\n  - :name: Ada L\n    :sid: '77'\n    :email: a@x.edu\n"
        "  - :name: Bob\n    :sid:\n    :email: b@x.edu\n  :score: 3.0\n"
        # What an autograder reported, and earlier hand-ins, have names as well.
        "  :results:\n    tests:\n    - name: read_history\n      score: 1\n"
        "  :history:\n  - :id: 4\n    :submitters:\n    - :name: Not Now\n    :score: 1.0\n"
        "submission_2:\n  :submitters:\n  - :name: Cy\n    :email: c@x.edu\n",
        encoding="utf-8",
    )
    for place in both(folder):
        found = submissions.read(place)
        assert [(one.student, one.id) for one in found] == [
            ("Ada L", "77"),
            ("Bob", "b@x.edu"),
            ("Cy", "c@x.edu"),
            ("submission_3", "3"),
        ]
        assert [bool(one.data) for one in found] == [True, True, False, True]


def test_a_hand_in_names_nobody_else(tmp_path: Path) -> None:
    """A student's own file of submitters, beside the notebook or below it, counts for nothing."""
    folder = put(tmp_path / "assignment_7_export", "submission_1/x.ipynb", "submission_2/y.ipynb")
    own = "submission_{}:\n  :submitters:\n  - :name: {}\n    :sid: '{}'\n"
    both_of_them = own.format(1, "Ada", 1) + own.format(2, "Eve", 2)
    (folder / "submission_metadata.yml").write_text(both_of_them)
    (folder / "submission_2" / "submission_2").mkdir()
    for place in ("submission_2", "submission_2/submission_2"):
        (folder / place / "submission_metadata.yml").write_text(own.format(2, "Ada", 1))
    (folder / "submission_2" / "submission_2" / "z.ipynb").write_bytes(ANSWERED)
    for place in both(folder):
        found = submissions.read(place)
        assert [(one.student, one.id) for one in found] == [("Ada", "1"), ("Eve", "2")]


def test_the_platforms_zip_in_an_empty_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "down").mkdir()
    zip_of(put(tmp_path / "subs", *MOODLE_FOLDERS), tmp_path / "down" / "hw.zip")
    assert len(submissions.read(tmp_path / "down")) == len(MOODLE_FOLDERS)


def test_the_guides_way_to_upload_works(tmp_path: Path, monkeypatch) -> None:
    """The code of the guide, on files as Canvas and Moodle give them."""
    guide = (ROOT / "chapters" / "start" / "teach.md").read_text(encoding="utf-8")
    canvas, moodle = re.findall(r"```python\n([^`]*upload\.csv[^`]*)```", guide)
    monkeypatch.chdir(tmp_path)
    table = "\ufeffstudent,id,total,out_of\r\nada,12,7,9\r\nbob,13,,9\r\ncy,14,0,9\r\n"
    (tmp_path / "grades.csv").write_text(table, encoding="utf-8")
    columns = "Student,ID,SIS User ID,SIS Login ID,Section,Homework 2 (4711)\n"
    people = '    Points Possible,,,,,9\n"L, Ada",12,,al,1,\nBob,13,,bb,1,\n'
    people += "Cy,14,,cc,1,\nDan,15,,dd,1,\nEve,16,,ee,1,EX\nFay,17,,ff,1,8.5\n"
    names = "LastName,FirstName,ID,SIS User ID,SIS Login ID,Section,Homework 2 (4711)\n"
    # As Canvas writes it, with the names apart, and with semicolons.
    apart = names + "".join(f"x,{line}" for line in people.splitlines(True)).replace(
        '"L, Ada"', "L"
    )
    space: dict = {}
    for text in (
        columns + people,
        apart,
        (columns + people).replace('"L, Ada"', "L").replace(",", ";"),
    ):
        (tmp_path / "gradebook.csv").write_text("\ufeff" + text, encoding="utf-8")
        exec(canvas, space)
        with (tmp_path / "upload.csv").open(newline="") as file:
            found = {row["ID"]: row["Homework 2 (4711)"] for row in csv.DictReader(file)}
        # A cell that has something, such as an excuse, keeps it: an empty one would erase it.
        kept = {"15": "", "16": "EX", "17": "8.5"}
        assert found == {"": "9", "12": "7", "13": "", "14": "0"} | kept
    people = "Participant 12,L Ada,,9,None\nParticipant 14,Cy,,9,\nParticipant 99,Dan,5.5,9,\n"
    head = "Identifier,Full name,Grade,Maximum grade,Feedback comments\n"
    (tmp_path / "worksheet.csv").write_text(head + people)
    exec(moodle, space)
    with (tmp_path / "upload.csv").open(newline="") as file:
        sheet = list(csv.DictReader(file))
    assert {row["Identifier"][12:]: row["Grade"] for row in sheet} == {
        "12": "7",
        "14": "0",
        "99": "5.5",
    }
    assert sheet[0]["Feedback comments"] == "None"


def test_names_and_notebooks_in_odd_encodings(tmp_path: Path) -> None:
    """A zip file that does not say that it is UTF-8; marks and UTF-16 from editors on Windows."""
    text = ANSWERED.decode()
    with zipfile.ZipFile(tmp_path / "subs.zip", "w") as archive:
        archive.writestr("M__ller/x.ipynb", b"\xef\xbb\xbf" + ANSWERED)
        archive.writestr("Bob/x.ipynb", text.encode("utf-16"))
    raw = (tmp_path / "subs.zip").read_bytes().replace(b"M__ller", "Müller".encode())
    (tmp_path / "subs.zip").write_bytes(raw)
    found = {one.student: one.data for one in submissions.read(tmp_path / "subs.zip")}
    assert found == {"Bob": ANSWERED, "Müller": ANSWERED}


# --------------------------------------------------------------------------- large and hostile


def test_plots_do_not_cost_a_grade(tmp_path: Path) -> None:
    notebook = json.loads(ANSWERED)
    picture = {"output_type": "display_data", "data": {"image/png": "A" * 22_000_000}}
    notebook["cells"][0]["outputs"] = [picture]
    put(tmp_path / "subs", "ada.ipynb", data=json.dumps(notebook).encode())
    (one,) = submissions.read(tmp_path / "subs")
    assert not one.problem and len(one.data) < 2000
    cells = json.loads(one.data)["cells"]
    assert [c["source"] for c in cells] == [c["source"] for c in json.loads(ANSWERED)["cells"]]
    put(tmp_path / "subs", "bob.ipynb", data=notebook_of("#" * 22_000_000))
    put(tmp_path / "subs", "cy.ipynb", data=b"[" * 22_000_000)
    found = {one.student: one.problem for one in submissions.read(tmp_path / "subs")}
    large = "is too large for a notebook, even without its outputs"
    assert found == {"ada": "", "bob": large, "cy": large}


def bomb(kind: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        if kind == "names":
            for number in range(40_000):
                archive.writestr(f"{number}.ipynb", b"")
        elif kind == "deep names":
            for number in range(100):
                archive.writestr("a/" * 30_000 + f"{number}.ipynb", b"")
        elif kind == "nested":
            for number in range(5):
                archive.writestr(f"{number}.zip", b"\0" * 60_000_000)
        else:
            archive.writestr("x.ipynb", b" " * 60_000_000)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["names", "deep names", "nested", "notebook"])
def test_bombs_are_refused_early(kind: str, tmp_path: Path) -> None:
    data = bomb(kind)
    folder = put(tmp_path / "subs", "ada.ipynb")
    (folder / "eve.zip").write_bytes(data)
    for place in both(folder):
        tracemalloc.start()
        begin = sum(os.times()[:4])  # the work of this process and its children
        found = {one.student: one for one in submissions.read(place)}
        took, peak = sum(os.times()[:4]) - begin, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found["ada"].data
        if kind != "deep names":  # these are empty notebooks, with silly names
            assert found["eve"].data is None and found["eve"].problem
        assert peak < len(data) * 4 + 2e7 and took < 5


@pytest.mark.parametrize("filler", ["\n" * 10**6, " \n" * 10**6, "return\n" * 10**6, "x" * 10**7])
def test_no_hand_in_holds_up_a_class(filler: str, tmp_path: Path) -> None:
    """What is said of a stranger's text in the grader's own process takes time in proportion."""
    for name in "ab":
        (tmp_path / f"{name}.ipynb").write_bytes(notebook_of(filler, filler + "raise"))
    start = time.process_time()
    found = submissions.read_one(tmp_path, QUESTIONS)
    assert found.data is not None and time.process_time() - start < 10


def test_a_leftover_below_a_return_is_no_blank_notebook(tmp_path: Path) -> None:
    left = "    raise NotImplementedError('your turn')"
    (tmp_path / "z.ipynb").write_bytes(notebook_of(f"def double(x):\n{left}"))
    (tmp_path / "a.ipynb").write_bytes(notebook_of(f"def double(x):\n    return 2 * x\n{left}"))
    os.utime(tmp_path / "a.ipynb", (0, 0))
    assert submissions.read_one(tmp_path, QUESTIONS).file == "a.ipynb"
