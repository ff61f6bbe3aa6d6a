"""The sandbox, attacked: as root, and as an ordinary user where the machine lets us be one."""

from __future__ import annotations

import errno
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.coursework_helpers import as_user, need_sandbox, notebook_of
from tests.page_rules import ROOT
from tests.test_coursework import private
from tricks_lib.coursework import cage, cgroup, parts, sandbox, submissions
from tricks_lib.coursework.grade import Grader
from tricks_lib.coursework.rubric import Seen, unpack

LIMITS = sandbox.Limits(2, 1)
RIGHT = "def {}(x):\n    return 2 * x"

# ------------------------------------------------------------------------- system calls

ALLOW, KILL = 0x7FFF0000, 0x80000000


def decide(program: bytes, machine: int, call: int, first: int = 0, second: int = 0) -> int:
    """What the kernel makes of a system call: a small machine for classic BPF."""
    data = struct.pack("=IIQ6Q", call, machine, 0, first, second, 0, 0, 0, 0)
    lines = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    while True:
        code, yes, no, number = lines[at]
        if code == 0x06:
            return number
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, number)
            at += 1
            continue
        true = {0x15: value == number, 0x35: value >= number, 0x45: bool(value & number)}[code]
        at += 1 + (yes if true else no)


@pytest.mark.parametrize("machine", cage.MACHINES)
def test_the_filter_refuses_what_it_should(machine: str) -> None:
    column, architecture = cage.MACHINES[machine]
    program = cage.filter_program(machine)
    assert len(program) // 8 < 4096
    for name, numbers in cage.REFUSED.items():
        if numbers[column] is not None:
            found = decide(program, architecture, numbers[column])
            assert found == 0x00050000 | errno.ENOSYS, name
    clone, socket, limit = (cage.SPECIAL[name][column] for name in ("clone", "socket", "prlimit64"))
    read, write, exit_group = {"x86_64": (0, 1, 231), "aarch64": (63, 64, 94)}[machine]
    for call in (read, write, exit_group):
        assert decide(program, architecture, call, 2**40 + 7) == ALLOW
    assert decide(program, architecture, clone, 0x3D0F00) == ALLOW  # a thread
    assert decide(program, architecture, clone, 17) == ALLOW  # a process
    for flag in (0x10000000, 0x40000000, 0x20000, 0x80):  # a user, a network, mounts, a clock
        assert decide(program, architecture, clone, flag | 17) == 0x00050000 | errno.EPERM
    for family in range(1, 50):
        allowed = decide(program, architecture, socket, family) == ALLOW
        assert allowed == (family in (1, 2, 10, 16))
        closed = decide(cage.filter_program(machine, network=False), architecture, socket, family)
        assert (closed == ALLOW) == (family in (1, 16))
    assert decide(program, architecture, limit, 0) == ALLOW
    assert decide(program, architecture, limit, 1) == 0x00050000 | errno.EPERM
    file = cage.SPECIAL["fcntl"][column]
    allowed = [n for n in range(1100) if decide(program, architecture, file, 3, n) == ALLOW]
    assert sorted({*range(1100)} - {*allowed}) == [6, 7, 37, 38, 1024, 1026]
    assert decide(program, 0x40000003, read) == KILL  # 32 bits
    if machine == "x86_64":
        assert decide(program, architecture, 0x40000000) == 0x00050000 | errno.ENOSYS  # x32


def test_an_unknown_machine_has_no_filter_and_that_is_said(monkeypatch) -> None:
    assert cage.filter_program("riscv64") == b""
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "riscv64")
    assert any("no filter of system calls for riscv64" in text for text in sandbox.missing("bwrap"))
    assert "no sandbox at all" in sandbox.missing("none")[0]


# -------------------------------------------------------------- what is missing on a machine


def test_ubuntus_restriction_is_told_with_its_mend(tmp_path: Path, monkeypatch) -> None:
    """Ordinary users there may not make user namespaces; the profile allows it to bubblewrap."""
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    setting = tmp_path / "kernel" / "apparmor_restrict_unprivileged_userns"
    setting.parent.mkdir()
    setting.write_text("1\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sandbox, "SETTINGS", tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(sandbox.SandboxError) as told:
        sandbox.find()
    for words in (
        "uid map: Permission denied",
        "Ubuntu forbids",
        "/etc/apparmor.d/bwrap",
        "userns,",
    ):
        assert words in str(told.value)
    setting.write_text("0\n")
    (setting.parent / "unprivileged_userns_clone").write_text("0\n")
    with pytest.raises(sandbox.SandboxError, match=r"kernel\.unprivileged_userns_clone=1"):
        sandbox.find()


def test_python_is_found_through_every_link_of_an_environment() -> None:
    """uv's environments link to a folder that is a link itself, and name another as their home."""
    need_sandbox()
    home = Path(sys.base_prefix).resolve()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # the sandbox has a /tmp of its own
        place = Path(name)
        (place / "newest").symlink_to(home)
        python = place / "environment" / "bin" / "python3"
        python.parent.mkdir(parents=True)
        python.symlink_to(place / "newest" / "bin" / "python3")
        version = ".".join(map(str, sys.version_info[:3]))
        settings = f"home = {home / 'bin'}\nversion = {version}\n"
        (place / "environment" / "pyvenv.cfg").write_text(settings)
        code = "from tricks_lib.coursework import sandbox; print(sandbox.find())"
        paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [str(python), "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout == "bwrap\n", done.stderr


def test_judges_and_solutions_are_hidden_wherever_they_lie(monkeypatch) -> None:
    """Installed a second time, under another name of the same folder, or in the midst of Python."""
    need_sandbox()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # the sandbox has a /tmp of its own
        Path(name).chmod(0o755)
        home, alias = Path(name) / "home", Path(name) / "alias"
        library = home / "lib" / "python3.99" / "site-packages" / "tricks_lib" / "coursework"
        for place in (
            library / "judges",
            library / "probes",
            home / "exam",
            home / "exam" / "more",
        ):
            place.mkdir(parents=True)
            (place / "a.py").write_text("a secret" if place != library / "probes" else "no matter")
        alias.symlink_to(home)
        monkeypatch.setattr(sys, "prefix", str(alias))
        monkeypatch.setattr(sys, "base_prefix", str(home))
        job = Path(name) / "job"
        job.mkdir()
        command = sandbox._bwrap(job, home / "exam")
        find = ["sh", "-c", "find -H $0 $1 -name a.py; touch $1/exam/x $0/exam/x", alias, home]
        done = subprocess.run([*command, *find], capture_output=True, text=True)
    seen = [Path(line).parent.name for line in done.stdout.splitlines()]
    assert seen == ["probes", "probes"] and done.stderr.count("Read-only") == 2, done


def test_the_runner_holds_no_judge_and_no_solution() -> None:
    """An answer looks for them in what is loaded and in its files; the zoo tries to import."""
    need_sandbox()
    found = parts.find(parts.names()[-1])
    name, marked = next(iter(found.questions)), "BEGIN " + "SOLUTION"
    look = f"""
import functools, gc, os, sys
def {name}(*a, **k):
    return look()
@functools.cache
def look():
    held = [m for m in sys.modules if "judges." in m or "rubric" in m]
    held += [f for f in gc.get_objects() if type(f).__name__ in ("Question", "Criterion", "Grader")]
    library = next(finder.path for finder in sys.meta_path if hasattr(finder, "path"))
    for place in (os.path.dirname(library), "/job", "/proc/1/cwd"):
        for folder, _, files in os.walk(place, followlinks=False):
            for file in (f for f in files if f.endswith((".py", ".pyc", ".ipynb", ".json"))):
                if file in ("notebook.ipynb", "release.py"):  # one's own, and what makes others
                    continue
                text = open(os.path.join(folder, file), "rb").read()
                if b"{marked}" in text or b"QUESTIONS = {{" in text:
                    held.append(file)
    return f"{{len(held)}} are held: {{held}}"[:200]
"""
    limits = sandbox.Limits(60, 2)
    given = Grader(found, 5, limits, "bwrap")._packed
    sent = sandbox.observe("bwrap", found, notebook_of(look), given, 1, limits, questions=[name])
    arrays = unpack(sent[name].data)
    said = {str(value) for value in arrays.values() if "are held" in str(value)}
    assert said == {"0 are held: []"}, arrays


def test_a_control_group_counts_only_if_its_bounds_hold(tmp_path: Path, monkeypatch) -> None:
    """systemd-run that says yes and bounds nothing is no control group."""
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    fake = tmp_path / "systemd-run"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != "--" ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    cgroup.find.cache_clear()
    cgroup._base.cache_clear()
    try:
        assert cgroup.find() == ""
    finally:
        cgroup.find.cache_clear()
        cgroup._base.cache_clear()
    said = cgroup._systemd({"memory.max": "5", "pids.max": "7"})
    assert "MemoryMax=5" in said and "TasksMax=7" in said and "--scope" in said


def test_two_graders_at_a_time_share_no_user(monkeypatch) -> None:
    """The kernel counts a user's processes, whichever sandbox they are in."""
    users = []
    for process in range(1000, 1050):
        monkeypatch.setattr(os, "getpid", lambda number=process: number)
        users += [sandbox._user("bwrap", slot) for slot in (*range(64), None)]
        assert len({sandbox._user("bwrap", slot) for slot in range(1000)}) == 1000
    assert len(set(users)) == 50 * 64  # one that works alone has that of the first slot
    assert min(users) >= sandbox.FIRST_UID and max(users) < sandbox.NOBODY


# --------------------------------------------------------------------------- in the sandbox

# Each line of the attack is tried; what comes back is 1 for those that had an effect.
ATTACK = """
import ctypes, fcntl, functools, os, signal, socket, resource, torch
library = ctypes.CDLL(None, use_errno=True)


@functools.cache
def once():  # in whichever round
    return []


def {name}(x):
    if once():
        return torch.tensor(once())

    def call(*values):
        if library.syscall(*values) < 0:
            raise OSError(ctypes.get_errno(), "refused")

    def raise_unless(good):
        if not good:
            raise OSError("refused")

    tries = [
        lambda: os.listdir("/proc/1/fd"),
        lambda: open("/proc/1/mem", "rb"),
        lambda: open("/proc/1/environ").read(),
        lambda: os.open("/proc/1/fd/1", os.O_WRONLY),
        lambda: call({ptrace}, 16, 1, 0, 0),
        lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (1, 1)),
        lambda: call({keyctl}, 1, 0),
        lambda: call({add_key}, b"user", b"x", b"y", 1, -4),
        lambda: os.memfd_create("x"),
        lambda: call({shmget}, 7, 2**20, 0o1666),
        lambda: call({unshare}, 0x10000000),
        lambda: socket.socket(40, socket.SOCK_STREAM),
        lambda: socket.create_connection(("1.1.1.1", 53), 1),
        lambda: os.sched_setaffinity(0, range(os.cpu_count())),
        lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
        lambda: fcntl.flock(open(torch.__file__), fcntl.LOCK_SH),
        lambda: fcntl.lockf(open(torch.__file__), fcntl.LOCK_SH),
        lambda: open("/job/x", "w"),
        lambda: open(f"{{os.path.dirname(torch.__file__)}}/x", "w"),
        lambda: raise_unless(os.getuid() == 0),
        lambda: os.setuid(0),
    ]
    done = []
    for attempt in tries:
        try:
            attempt()
            done.append(1)
        except Exception:
            done.append(0)
    for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGXCPU):
        try:
            os.kill(1, number)  # none of these reaches the runner: the next question shows it
        except OSError:
            pass
    # What libraries and honest answers may do.
    import multiprocessing, threading
    from torch.utils.data import DataLoader, TensorDataset
    loader = DataLoader(TensorDataset(x), batch_size=2, num_workers=1)
    threading.Thread(target=int).start()
    done.append(int(len(list(loader)) == 2 and os.path.isdir("/dev/shm")))
    once().extend(done)
    return torch.tensor(done)
"""
STUBBORN = {
    "sleeps": "    import time; time.sleep(10**6)",
    "stops": "    import os; os.kill(os.getpid(), 19)",
    "closes its pipe": "    import os, time; os.closerange(0, 256); time.sleep(10**6)",
    "ignores its limit": "    import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
    "    while True: pass",
    "swarm": "    import os, time\n    for _ in range(12):\n        if os.fork() == 0:\n"
    "            os.setsid()\n            while True: pass\n    time.sleep(10**6)",
    "swarm left behind": "    import os\n    for _ in range(12):\n        if os.fork() == 0:\n"
    "            os.setsid()\n            while True: pass\n    return 2 * x",
    "breeds": "    import os, signal, time\n    signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    "    while True:\n        if os.fork() == 0:\n"
    "            end = time.time() + 0.1\n            while time.time() < end: pass\n"
    "            os._exit(0)\n        time.sleep(0.1)",
}


def probe(folder: Path, kind: str, *cells: str) -> dict[str, sandbox.Sent]:
    """What comes back from a notebook in the sandbox."""
    part = parts.find("own", folder)
    grader = Grader(part, 5, LIMITS, kind)
    return sandbox.observe(kind, part, notebook_of(*cells), grader._packed, 1, LIMITS)


def report(folder: Path, kind: str) -> dict[str, object]:
    """Run by the tests, and by another user when root runs them."""
    column = cage.MACHINES[sandbox.platform.machine()][0]
    numbers = {name: calls[column] for name, calls in cage.REFUSED.items()}
    sent = probe(folder, kind, ATTACK.format(name="double", **numbers), RIGHT.format("again"))
    arrays = unpack(sent["double"].data)
    attempts = arrays["0/y"].tolist() if "0/y" in arrays else str(arrays.get("0/y.error"))
    return {"attempts": attempts, "next": sent["again"].status}


@pytest.mark.parametrize("who", ["as we are", "as a user"])
def test_no_attempt_reaches_the_runner_or_the_next_student(who: str) -> None:
    need_sandbox()
    prefix = as_user() if who == "as a user" else []
    if prefix is None:
        pytest.skip("an ordinary user cannot run this Python")
    code = "import json, sys; from pathlib import Path; from tests import test_coursework_sandbox\n"
    code += "print(json.dumps(test_coursework_sandbox.report(Path(sys.argv[1]), 'bwrap')))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": "/tmp"}
    with tempfile.TemporaryDirectory() as place:  # pytest's own is closed to other users
        Path(place).chmod(0o755)
        command = [*prefix, sys.executable, "-c", code, str(private(Path(place)))]
        done = subprocess.run(command, cwd="/tmp", capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {"attempts": [0] * 21 + [1], "next": "ok"}


@pytest.mark.parametrize(
    ("head", "rule"),
    [
        ("import tricks_lib as tl", "tl.verdict(tl.law.interval(a - b), m)"),
        ("from tricks_lib.law import interval, verdict", "verdict(interval(a - b), m)"),
    ],
)
def test_the_librarys_own_rule_is_closed_there_too(head: str, rule: str) -> None:
    """Where nothing has imported it yet, when it is closed."""
    need_sandbox()
    part, limits = parts.find("data_processing"), sandbox.Limits(60, 2)
    text = notebook_of(head, f"def decide(a, b, m):\n    return {rule}")
    given = Grader(part, 5, limits, "bwrap")._packed
    sent = sandbox.observe("bwrap", part, text, given, 1, limits, questions=["decide"])["decide"]
    assert sent.status == "ok", sent
    said = Seen(unpack(sent.data)).text("0/study_0.error")
    assert "write it yourself: tricks_lib.law.interval" in said


def test_a_question_ends_at_its_own_limit(tmp_path: Path) -> None:
    """However it takes its time; and the next question is unharmed."""
    need_sandbox()
    folder = private(tmp_path)

    def timed(body: str) -> tuple[dict[str, sandbox.Sent], float]:
        begin = time.monotonic()
        sent = probe(folder, "bwrap", f"def double(x):\n{body}", RIGHT.format("again"))
        return sent, time.monotonic() - begin

    with ThreadPoolExecutor(3) as pool:  # most of them only wait
        found = dict(zip(STUBBORN, pool.map(timed, STUBBORN.values()), strict=True))
    for what, (sent, took) in found.items():
        # On a machine that others keep busy, the grader would try it again, alone.
        expected = ("time", "busy")
        if what == "swarm left behind":  # in its own later rounds the swarm takes its time, or not
            expected = ("ok", *expected)
        assert sent["double"].status in expected and sent["again"].status == "ok", (what, sent)
        assert took < sandbox.START, what


def test_a_notebook_is_read_in_each_way_that_a_check_may_have_seen(tmp_path: Path) -> None:
    """A helper is corrected below the check, which is run again; and one is not."""
    need_sandbox()
    part = parts.find("own", private(tmp_path))
    check = 'tl.check("own.{0}", {0})'
    cells = ["def helper(x): return 3 * x", "def double(x): return helper(x)"]
    cells += [check.format("double"), RIGHT.format("again"), check.format("again")]
    whole = notebook_of(*cells, "def helper(x): return 2 * x")
    grader = Grader(part, 5, LIMITS, "bwrap")
    found = grader.grade(submissions.Submission("ada", "ada.ipynb", whole))
    assert found.status == "ok" and found.total == part.points, found
    found = grader.grade(submissions.Submission("bob", "bob.ipynb", notebook_of(*cells)))
    assert found.earned("double") == 0 and found.earned("again"), found


def test_who_sleeps_may_have_been_a_machine_that_stood_still(monkeypatch) -> None:
    """So it is tried once more; who computed all the while is not."""
    for used, expected in ((0.0, "busy"), (2.9, "time")):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        ticks = str(int(used * os.sysconf("SC_CLK_TCK")))
        fields = ["S", str(os.getpid()), *["0"] * 9, ticks, *["0"] * 30]
        monkeypatch.setattr(cage, "_stats", lambda found=(child, fields): [found])
        job = {"limit": 3, "grace": 0.5, "wall": 60, "output": 100}
        receive, send = os.pipe()
        try:
            assert cage.watch(job, child, receive) == (expected, b"")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(receive)
            os.close(send)


def test_a_grader_that_stood_still_reads_what_came_meanwhile(monkeypatch) -> None:
    times = iter([0.0, *[10.0**4] * 50])
    monkeypatch.setattr(sandbox.time, "monotonic", lambda: next(times))
    data, _, late = sandbox._run(["sh", "-c", "sleep 1; exit 3"], LIMITS, 1)
    assert (data, late) == (b"", True)
    monkeypatch.undo()
    times = iter([0.0, *[sandbox.START + 1] * 50])
    monkeypatch.setattr(sandbox.time, "monotonic", lambda: next(times))
    real = sandbox.selectors.DefaultSelector.select

    def select(self, timeout=None):
        return real(self, 30)  # it has long been there, when this process goes on

    monkeypatch.setattr(sandbox.selectors.DefaultSelector, "select", select)
    data, _, late = sandbox._run(["sh", "-c", "printf seen"], LIMITS, 1)
    assert (data, late) == (b"seen", False)


def test_who_seems_to_read_forever_is_ended(monkeypatch) -> None:
    """As one does who waits for the child of a vfork."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    fields = ["D", str(os.getpid()), *["0"] * 40]
    monkeypatch.setattr(cage, "_stats", lambda: [(child, fields)])
    job, begin = {"limit": 0.5, "grace": 0.5, "wall": 60, "output": 100}, time.monotonic()
    receive, send = os.pipe()
    try:
        assert cage.watch(job, child, receive) == ("busy", b"")  # tried once more, alone
        assert time.monotonic() - begin < 30
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(receive)
        os.close(send)


def test_no_honest_student_loses_a_point_to_a_hostile_one(tmp_path: Path) -> None:
    need_sandbox()
    from tests import coursework_class

    options = ["--limit", "2", "--mem", "0.5", "--jobs", "2", "--seed", "3"]
    # Two ways for each of the five: all that press upon who works beside them. The weekly run has
    # a whole class, and the other ways.
    found = coursework_class.grade("own", 5, 5, private(tmp_path), *options)
    assert found.rows == 10 and not found.errors and not found.lost, found.said
