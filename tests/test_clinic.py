"""The bug clinic: any two patients can be told apart by the tests on offer."""

from __future__ import annotations

import math
import re
from functools import cache
from itertools import combinations
from pathlib import Path

import matplotlib
import nbformat
import pandas as pd
import pytest
import torch

import tricks_lib as tl
from book import record
from tricks_lib import clinic, faults
from tricks_lib.questions import bug_clinic

matplotlib.use("Agg")
ROOT = Path(__file__).parent.parent
CASES = clinic.CASES


SEEDS = (clinic.SEED, clinic.SEED + 1)
WHOLE_RUN = {"watch_loss", "rates", "other_rates", "train_against_eval", "fresh_images"}
Files = dict[str, dict[str, clinic.Finding]]


@cache
def files(seed: int) -> Files:
    """What the tests find in every patient; those of a whole run on the first seed alone."""
    data = clinic.pictures(seed)
    with torch.random.fork_rng(), tl.cpu_threads():
        return {
            name: {
                test: run(case.script, data)
                for test, run in clinic.TESTS.items()
                if seed == clinic.SEED or test not in WHOLE_RUN
            }
            for name, case in CASES.items()
        }


@pytest.fixture(scope="module")
def charts() -> dict[str, dict[str, str]]:
    """The signs of every patient, on the clinic's own images."""
    return {
        name: {test: finding.sign for test, finding in found.items()}
        for name, found in files(clinic.SEED).items()
    }


def alike(charts: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    """The pairs that no test tells apart."""
    return [(a, b) for a, b in combinations(charts, 2) if charts[a] == charts[b]]


def test_every_pair_of_patients_is_told_apart_by_some_test(charts) -> None:
    assert alike(charts) == []


def differ(mine: float | int | str, other: float | int | str) -> bool:
    """Whether a reader who sees two readings in print would call them different."""
    if all(isinstance(value, float) and math.isfinite(value) for value in (mine, other)):
        return abs(mine - other) > 0.1
    return clinic._word(mine) != clinic._word(other)


def look_alike(found: Files) -> list[tuple[str, str]]:
    """The pairs whose printed readings differ in no test: a reader sees no sign, only these."""
    return [
        (a, b)
        for a, b in combinations(found, 2)
        if not any(
            differ(mine, found[b][test].readings.get(name, ""))
            for test, finding in found[a].items()
            for name, mine in finding.readings.items()
        )
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_printed_tells_every_pair_apart(seed: int) -> None:
    # On the second seed no test trains to the end, and before that nothing overflows.
    later = [] if seed == clinic.SEED else [("overflow", clinic.NO_FAULT)]
    assert look_alike(files(seed)) == later


@pytest.mark.parametrize("seed", SEEDS)
def test_without_the_test_that_prints_it_a_pair_looks_alike(seed: int) -> None:
    """So the proof can fail: only the mean of the images shows whose statistics were taken."""
    pair = ("leaked statistics", clinic.NO_FAULT)
    blind = {
        who: {test: found for test, found in files(seed)[who].items() if test != "look_at_data"}
        for who in pair
    }
    assert look_alike(blind) == [pair]


def test_a_test_taken_away_would_be_missed(charts) -> None:
    """So the proof above can fail: without these tests some patients look alike."""
    for test, pair in {
        "look_at_data": ("leaked statistics", "no fault"),
        "perfect_predictions": None,
        "split": ("leaked bursts", "no fault"),
        "augmentation": None,
        "what_moved": ("frozen layer", "no fault"),
    }.items():
        fewer = {who: {**chart, test: ""} for who, chart in charts.items()}
        assert pair is None or pair in alike(fewer), test


def test_the_healthy_script_raises_no_alarm(charts) -> None:
    assert set(charts[clinic.NO_FAULT].values()) == {clinic.NORMAL}


def test_every_patient_is_found_by_a_test_and_every_test_finds_somebody(charts) -> None:
    ill = {who: chart for who, chart in charts.items() if who != clinic.NO_FAULT}
    assert all(set(chart.values()) != {clinic.NORMAL} for chart in ill.values())
    for test in clinic.TESTS:
        assert any(chart[test] != clinic.NORMAL for chart in ill.values()), test


@pytest.mark.parametrize("name", ["no zero_grad", "half precision", "no eval"])
def test_findings_do_not_depend_on_threads_order_or_the_state_of_the_world(name: str) -> None:
    found, before = [], torch.get_num_threads()
    for threads, tests in ((1, list(clinic.TESTS)), (2, list(clinic.TESTS)[::-1])):
        torch.set_num_threads(threads)
        torch.manual_seed(threads)
        clinic.course.cache_clear()
        clinic.finding.cache_clear()
        found.append({test: repr(clinic.finding(test, name)) for test in tests})
    torch.set_num_threads(before)
    assert found[0] == found[1]


def test_ordering_a_test_leaves_the_readers_random_numbers_alone(capsys) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    tl.patient(1).first_loss()
    assert torch.equal(torch.get_rng_state(), state)
    assert "healthy" in capsys.readouterr().out


# ------------------------------------------------------------------------- complaints


@cache
def of_the_healthy() -> float:
    """The accuracy that the healthy script reports on the same pictures."""
    course = clinic.course(faults.Script, clinic.pictures(clinic.SEED))
    return faults.reports(course.script, clinic.trained(course), course.data)["reported_accuracy"]


def true_of(complaint: str, course: clinic.Course, scores: dict[str, float]) -> bool:
    """Whether what the owner says is so."""
    losses, reported = course.losses, scores["reported_accuracy"]
    finite = bool(losses.isfinite().all())
    if complaint == faults.NAN:
        return not finite
    if complaint == faults.STUCK:
        return finite and reported < 0.3
    if complaint == faults.LOW:
        # It learns: four standard errors of 400 images above a guess among ten. It falls short: by
        # more than the margin. (Numbers between hang on rounding: that of a processor, or of inputs
        # changed by a millionth, takes the mixed units from 0.18 to 0.31.)
        return finite and 0.16 < reported < of_the_healthy() - 0.02
    if complaint == faults.USERS:
        return scores["overstated_accuracy"] > 0.02
    if complaint == faults.AUDIT:
        return reported > 0.55
    if complaint == faults.SPIKES:
        return bool(losses[125:].max() > 1.75 * losses[125:].median() and losses[125:].median() < 2)
    model = clinic.trained(course).eval()
    with torch.no_grad():
        validation = course.script.loss(model(course.data.x_val), course.data.y_val)
    return complaint == faults.BETTER and bool(validation < losses[-16:].mean())


@pytest.mark.parametrize("name", CASES)
def test_complaints_are_true(name: str) -> None:
    with torch.random.fork_rng(), tl.cpu_threads():
        course = clinic.course(CASES[name].script, clinic.pictures(clinic.SEED))
        scores = faults.reports(course.script, clinic.trained(course), course.data)
    assert true_of(CASES[name].complaint, course, scores)


# --------------------------------------------------------------------------- patients


def test_a_patient_tells_a_complaint_and_no_more(capsys) -> None:
    for number, diagnosis in clinic.PATIENTS.items():
        ward = tl.patient(number)
        assert diagnosis not in repr(ward) and ward.complaint in repr(ward)
        assert CASES[diagnosis].script.__name__ not in repr(vars(ward))
    assert sorted(clinic.PATIENTS.values()) == sorted(clinic.DIAGNOSES)
    ward.perfect_predictions()
    ward.order("split")
    assert repr(ward).endswith("tests ordered so far: perfect_predictions, split")
    ward.reveal()
    assert "class " in capsys.readouterr().out


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="the clinic has 1 to 33"):
        tl.patient(0)
    with pytest.raises(ValueError, match="the clinic has first_loss"):
        tl.patient(1).order("blood")


def test_the_waiting_room_names_each_patient_once(capsys) -> None:
    clinic.waiting_room()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(" ")]
    seen = [int(n) for line in lines for n in line.split(maxsplit=1)[1].split(", ")]
    assert sorted(seen) == sorted(clinic.PATIENTS)


def test_the_batch_is_shown_and_every_test_is_a_method(capsys) -> None:
    for test in clinic.TESTS:
        assert getattr(clinic.Patient, test).__doc__ == clinic.TESTS[test].__doc__
    tl.patient(2).look_at_batch()
    assert "classes among them" in capsys.readouterr().out


@pytest.mark.parametrize("number", clinic.PATIENTS)
def test_a_right_diagnosis_is_right(number: int, capsys) -> None:
    tl.check(f"bug_clinic.patient_{number}", f" {clinic.PATIENTS[number].upper()}")
    assert capsys.readouterr().out.endswith(": right.\n")


def test_a_wrong_diagnosis_hears_which_test_to_order() -> None:
    number = {who: n for n, who in clinic.PATIENTS.items()}["no zero_grad"]
    judge = getattr(bug_clinic, f"patient_{number}")
    assert judge("leaked images").startswith("no; split()")
    assert judge("dead units").startswith("no; zeros()")
    assert "not on the list" in judge("flu") and "as text" in judge(3)
    with pytest.raises(ValueError, match="no question"):
        tl.check("bug_clinic.patient_99", "no eval")


# ------------------------------------------------------------------------------ faults


def test_a_fault_changes_what_it_says_and_the_rest_is_the_healthy_script() -> None:
    """Each fault that only concerns the report leaves the trained model as it was."""
    data = clinic.pictures(40)
    small = {"num_steps": 40, "every": 20}
    with tl.cpu_threads():
        healthy = faults.run(data, **small).curve
        for name in ("broadcast", "leaked bursts"):
            assert (
                faults.run(data, faults.FAULTS[name].script, **small)
                .curve["train_loss"]
                .equals(healthy["train_loss"])
            ), name


def test_in_parts_is_the_mean_of_the_parts() -> None:
    """The partner of two faults is right: without batch norm it takes the healthy step."""
    torch.manual_seed(0)
    x, y = torch.randn(50, 1, 4, 4), torch.randint(10, (50,))
    whole, parts = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 10)) for _ in "12")
    parts.load_state_dict(whole.state_dict())
    for script, model in ((faults.Script(), whole), (faults.InParts(), parts)):
        script.reach = 0
        script.step(model, script.optimizer(model), x, y)
    torch.testing.assert_close(whole[1].weight, parts[1].weight)


# The test that gives each of these away, and the sign that it shows.
TELLING = {
    "log of zero": ("first_loss", "not finite"),
    "overflow": ("watch_loss", "infinite"),
    "clipped while scaled": ("what_moved", "hardly at all"),
    "schedule first": ("rates", "not that of the settings"),
    "swapped betas": ("other_rates", "calmer at a lower rate"),
}


@pytest.mark.parametrize("name", TELLING)
def test_the_mended_script_is_silent_where_the_fault_is_heard(name: str, charts) -> None:
    """The partner of its bill is the same script without the fault."""
    test, sign = TELLING[name]
    assert charts[name][test] == sign
    healthy = faults.HEALTHY[faults.FAULTS[name].over]
    with torch.random.fork_rng(), tl.cpu_threads():
        assert clinic.TESTS[test](healthy, clinic.pictures(clinic.SEED)).sign == clinic.NORMAL


def test_what_is_written_out_is_what_the_library_computes() -> None:
    """Two faults of the loss are right where nothing is zero and nothing is large."""
    torch.manual_seed(0)
    logits, y = torch.randn(50, 10), torch.randint(10, (50,))
    apart, by_hand = faults.KeptApart().loss(logits, y), faults.Overflow().loss(logits, y)
    torch.testing.assert_close(by_hand, apart)
    assert faults.Overflow().loss(30 * logits, y).isinf()
    assert faults.KeptApart().loss(30 * logits, y).isfinite()
    wanted = torch.nn.functional.one_hot(y, 10).float()
    given = logits.log_softmax(dim=1)
    mended = torch.nn.functional.kl_div(given, wanted, reduction="batchmean")
    torch.testing.assert_close(mended, faults.Script().loss(logits, y))
    assert faults.LogOfZero().loss(logits, y).isnan()


def test_every_bill_has_a_healthy_partner() -> None:
    partners = {fault.over for fault in faults.FAULTS.values()}
    assert partners == set(faults.HEALTHY) - {"mirrored"}


# ---------------------------------------------------------------------------- the page


def section(title: str) -> str:
    """The prose of the page from one heading to the next of its rank."""
    page = nbformat.read(ROOT / "chapters/good_practices/bug_clinic.ipynb", as_version=4)
    prose = "\n\n".join(cell.source for cell in page.cells if cell.cell_type == "markdown")
    return re.split(r"^## ", prose.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def test_the_line_up_has_every_fault_and_a_test_that_finds_it(charts) -> None:
    suspects = section("The suspects")
    split = suspects.split("### Faults of the split")[1].split("###")[0]
    for name in faults.FAULTS:
        lines = [one for one in suspects.splitlines() if one.lower().startswith(f"- **{name}.**")]
        assert len(lines) == 1, name
        told = {test for test in clinic.TESTS if f"`{test}`" in lines[0]}
        told |= {"split"} if lines[0] in split else set()
        assert any(charts[name][test] != clinic.NORMAL for test in told), name


def test_the_faults_whose_code_stands_in_the_page_are_those_of_the_library() -> None:
    page = record.run(ROOT / "chapters/good_practices/bug_clinic.ipynb", "clinic")
    data = clinic.pictures(40)
    with torch.random.fork_rng(), tl.cpu_threads():
        for name, script in page["FAULTS"].items():
            runs = []
            for run, who in ((page["run"], script), (faults.run, faults.FAULTS[name].script)):
                torch.manual_seed(1)
                runs.append(run(data, script=who, num_steps=20, every=10).curve)
            pd.testing.assert_frame_equal(*runs)


# The guide's words for what the owners of the scripts say.
SYMPTOMS = {
    faults.NAN: "nan",
    faults.SPIKES: "jumps",
    faults.STUCK: "blind guess",
    faults.LOW: "too little",
    faults.BETTER: "Validation better",
    faults.USERS: "Too good",
    faults.AUDIT: "No sign",
}


def guide() -> list[tuple[str, str, str]]:
    """The rows of the decision guide: symptom, test and cause; rows of one test come together."""
    rows, symptom = [], ""
    for line in [line for line in section("Decision guide").splitlines() if line[:1] == "|"][2:]:
        _, said, test, _, cause, _ = (cell.strip() for cell in line.split("|"))
        symptom = said or symptom
        if test:
            rows.append((symptom, test.strip("`"), cause))
        else:
            rows[-1] = (*rows[-1][:2], rows[-1][2] + cause)
    return rows


def led_to(complaint: str, chart: dict[str, str]) -> str:
    """The cause at which a student ends who orders the tests of a symptom from the top."""
    mine = [row for row in guide() if SYMPTOMS[complaint] in row[0]]
    alarms = [cause for _, test, cause in mine if chart.get(test, clinic.NORMAL) != clinic.NORMAL]
    return alarms[0] if alarms else mine[-1][2]


@pytest.mark.parametrize("name", CASES)
def test_the_guide_leads_from_the_complaint_to_the_cause(name: str, charts) -> None:
    assert f"**{name}**" in led_to(CASES[name].complaint, charts[name])


def test_the_guide_orders_tests_that_there_are() -> None:
    named = {test for _, test, _ in guide()}
    assert named - set(clinic.TESTS) == {"none of these"} and len(named) > 10
