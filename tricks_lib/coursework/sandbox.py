"""Runs ``runner.py`` on one submission where it can do no harm, and reads what it sends back.

With bubblewrap, student code has no network, no home, a read-only system without the judges and
the solutions, its own processes, and limits on time, memory, processes and output. Nothing in here
runs or unpickles anything of a student's: one pipe brings frames of bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import cgroup
from .cage import filter_program
from .parts import HERE, PACKAGE, Part
from .runner import MAGIC, MAX_READINGS, SECONDS

FIRST_UID = 61000  # when run as root, each sandbox at work has a user of its own
USERS, JOBS = 4500, 64  # how many there are, and how far those of two graders lie apart
NOBODY = 65534
START = 120.0  # seconds for a sandbox to start and import torch, on a busy machine
GRACE = 2.0  # more seconds on the clock than on the processor
LATE = 15.0  # even more, after which the runner itself is ended
TMP_BYTES = 64 * 2**20
SETTINGS = Path("/proc/sys")
OPEN = "open"  # the folder of a Gradescope autograder that students' code may read
UBUNTU = """Allow it to bubblewrap alone, with this profile:

    sudo tee /etc/apparmor.d/bwrap <<'END'
    abi <abi/4.0>,
    include <tunables/global>
    profile bwrap /usr/bin/bwrap flags=(unconfined) {
      userns,
    }
    END
    sudo apparmor_parser -r /etc/apparmor.d/bwrap
"""
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
    "OMP_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TORCHDYNAMO_DISABLE": "1",  # torch.compile gives the function back: the numbers are the same
    "TRICKS_DEVICE": "cpu",
    "USER": "student",
}


LATE_FRAME = "a late question"  # no frame of the runner's; no question has such a name


class SandboxError(Exception):
    """The sandbox itself failed, which is no student's fault."""


@dataclass(frozen=True)
class Limits:
    """What one question of one submission may use.

    Attributes:
        seconds: of CPU time, of all its processes together; two more may pass on the clock, where
            it does not wait for a core.
        memory: in GB, for each process; all together may use one more.
        output: bytes that may be sent back.
        processes: how many there may be at a time.
    """

    seconds: float = SECONDS
    memory: float = 4.0
    output: int = 8 * 2**20
    processes: int = 64


@dataclass(frozen=True)
class Sent:
    """What came back for a question: how its process ended, and a packed npz if that was well.

    Attributes:
        status: ``"ok"``; ``"time"``; ``"busy"``, where it may have been the machine that took the
            time; ``"killed"``, ``"output"``, ``"exit 1"``, ``"signal SIGSEGV"`` and so on.
        data: the npz.
        readings: in how many ways the notebook may be read for this question.
    """

    status: str
    data: bytes = b""
    readings: int = 1


def find(unsafe: bool = False) -> str:
    """The kind of sandbox that works here: ``"bwrap"``, or ``"none"`` if so wanted.

    Raises:
        SandboxError: there is none; the message says what to do.
    """
    if unsafe:
        return "none"
    if not sys.platform.startswith("linux"):
        raise SandboxError(
            "grading needs Linux (or WSL), for its sandbox. --unsafe runs students' code "
            "unprotected, with all your rights."
        )
    advice = "--unsafe runs students' code unprotected, with all your rights."
    if shutil.which("bwrap") is None:
        raise SandboxError(f"bubblewrap is missing: apt-get install bubblewrap. {advice}")
    command = [*_bwrap(Path("/tmp")), sys.executable, "-I", "-c", ""]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        trouble = f"bubblewrap does not work here: {done.stderr.strip()}."
        raise SandboxError(f"{trouble} {_mend()}{advice}")
    return "bwrap"


def _mend() -> str:
    """What to do where a system forbids ordinary users what bubblewrap needs."""

    def setting(name: str) -> str:
        try:
            return (SETTINGS / name).read_text().strip()
        except OSError:
            return ""

    if os.getuid() == 0:
        return "In a container, it needs the right to mount (CAP_SYS_ADMIN). "
    if setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return f"Ubuntu forbids user namespaces to ordinary users. {UBUNTU}\nOr grade as root. "
    if setting("kernel/unprivileged_userns_clone") == "0":
        return (
            "Allow it with: sudo sysctl -w kernel.unprivileged_userns_clone=1. Or grade as root. "
        )
    if setting("user/max_user_namespaces") == "0":
        return "Allow it: sudo sysctl -w user.max_user_namespaces=1000. Or grade as root. "
    return ""


def missing(kind: str) -> list[str]:
    """What the sandbox lacks on this machine, each with what that means."""
    if kind == "none":
        return ["there is no sandbox at all: students' code runs with all your rights."]
    lacks = []
    if not cgroup.find():
        lacks.append(
            "no control groups can be made here, so memory is looked at twice a second instead of "
            "bounded by the kernel: a submission that takes it faster is stopped late, and if the "
            "machine runs out of memory meanwhile, others are graded again. "
            f"({cgroup.reason()})"
        )
    if not filter_program(platform.machine()):
        lacks.append(
            f"there is no filter of system calls for {platform.machine()}: memory of memfd and "
            "System V is bounded by nothing, and a key of the kernel may outlive a submission."
        )
    if kind == "bwrap" and not _knows_size():
        lacks.append(
            "this bubblewrap is older than 0.7 and cannot bound the size of /tmp: submissions can "
            "fill memory with files, and /dev/shm is closed to them."
        )
    return lacks


def observe(
    kind: str,
    part: Part,
    notebook: bytes,
    given: Mapping[str, bytes],
    seed: int,
    limits: Limits,
    slot: int | None = 0,
    questions: Sequence[str] | None = None,
    reading: int = 0,
) -> dict[str, Sent]:
    """Probe every question of a submission.

    Args:
        kind: ``"bwrap"``; ``"setpriv"``, another user and no more; or ``"none"``.
        part: whose probe.
        notebook: the submission, as it came.
        given: each question's inputs as a packed npz.
        seed: for random numbers in students' code.
        limits: for each question.
        slot: a number that no other sandbox at work has; None for one that works alone.
        questions: those that are probed; all of them by default.
        reading: which of the ways to read the notebook; 0 is the usual one.

    Raises:
        SandboxError: the sandbox did not start.
    """
    found: dict[str, Sent] = {}
    readings: dict[str, int] = {}
    todo = list(part.questions if questions is None else questions)
    while todo:
        ended = Sent("killed")
        for name, sent in _run_once(kind, part, notebook, given, todo, seed, limits, slot, reading):
            if name == LATE_FRAME:
                ended = sent
            elif not name and sent.status == "readings":
                readings |= _counts(sent.data)
            elif name in todo:
                found.setdefault(name, sent)
        left = [name for name in todo if name not in found]
        if left:  # the runner itself was ended in the middle of this question
            found[left[0]] = ended
        todo = left[1:]
    return {name: replace(sent, readings=readings.get(name, 1)) for name, sent in found.items()}


def _counts(data: bytes) -> dict[str, int]:
    """In how many ways each answer may be read, as a process that is not to be trusted says."""
    try:
        found = json.loads(data) if len(data) < 2**16 else {}
    except (ValueError, RecursionError):
        return {}
    counts = found.items() if isinstance(found, dict) else ()
    return {name: min(n, MAX_READINGS) for name, n in counts if isinstance(n, int)}


def _run_once(
    kind: str,
    part: Part,
    notebook: bytes,
    given: Mapping[str, bytes],
    questions: list[str],
    seed: int,
    limits: Limits,
    slot: int | None,
    reading: int,
) -> Iterator[tuple[str, Sent]]:
    root = hasattr(os, "getuid") and os.getuid() == 0
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    job = {
        "questions": questions,
        "reading": reading,
        "seed": seed,
        "limit": limits.seconds,
        "grace": GRACE,
        "wall": _wall(limits),
        "memory": limits.memory,
        "output": limits.output,
        "processes": _process_limit(limits, root) if kind != "none" else 0,
        "uid": _user(kind, slot) if root else 0,
        "network": kind != "setpriv",
        "core": None if slot is None or not cores else cores[slot % len(cores)],
        "library": str(_library(kind)),
    }
    with tempfile.TemporaryDirectory(prefix="grade-") as name:
        folder = Path(name)
        files = {"notebook.ipynb": notebook, "job.json": json.dumps(job).encode()}
        files |= {"probe.py": part.probe.read_bytes()}
        files |= {name: (HERE / name).read_bytes() for name in ("runner.py", "cage.py")}
        files |= {f"{question}.npz": given[question] for question in questions}
        for file, data in files.items():
            (folder / file).write_bytes(data)
            (folder / file).chmod(0o644)
        folder.chmod(0o755)
        with cgroup.made(limits, slot) as prefix:
            command = [*prefix, *_command(kind, folder, part)]
            data, errors, late = _run(command, limits, len(questions))
    frames = list(_frames(data))
    if not frames or frames[0][1].status != "ready":
        silent = f"not within {START:g} seconds; is the machine busy?" if late else "no message"
        raise SandboxError(f"the sandbox did not start: {errors.strip()[-500:] or silent}")
    yield from frames[1:]
    if late:  # by the clock alone, which goes on while this machine stands still
        yield LATE_FRAME, Sent("busy")


def _library(kind: str) -> Path:
    """The library for students' code; where nothing hides the judges, a copy without them."""
    return PACKAGE.parent / OPEN / PACKAGE.name if kind == "setpriv" else PACKAGE


def _wall(limits: Limits) -> float:
    """The longest that a question may take on the clock, where it waits for a core."""
    return 5 * limits.seconds + GRACE


def _user(kind: str, slot: int | None) -> int:
    """The user of a question's process, when we are root; another grader at work has others."""
    own = os.getpid() * JOBS + (slot or 0)
    return {"bwrap": FIRST_UID + own % USERS, "setpriv": FIRST_UID - 1, "none": 0}[kind]


def _process_limit(limits: Limits, root: bool) -> int:
    """Older kernels count all processes of a user; a user of its own has none outside."""
    if root:
        return limits.processes
    mine = sum(1 for path in Path("/proc").glob("[0-9]*") if _owner(path) == os.getuid())
    return limits.processes + mine


def _owner(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return -1


# ---------------------------------------------------------------------------- commands


def _command(kind: str, folder: Path, part: Part) -> list[str]:
    python = [sys.executable, "-I"]
    if kind == "bwrap":
        own = part.source.parent, part.judge.parent
        return [*_bwrap(folder, *own), *python, "/job/runner.py", "/job"]
    clean = ["env", "-i", *(f"{k}={v}" for k, v in ENVIRONMENT.items())]
    run = [*python, str(folder / "runner.py"), str(folder)]
    if kind == "none":
        return [*clean, *run]
    if kind == "setpriv":  # the runner stays root; each question's process becomes another user
        return ["setpriv", "--clear-groups", "--no-new-privs", "--inh-caps=-all", *clean, *run]
    raise ValueError(f"kind={kind!r} must be 'bwrap', 'setpriv' or 'none'.")


def _bwrap(folder: Path, *secrets: Path) -> list[str]:
    """The system, Python and the library, read-only; the job; and a small place for files.

    Args:
        folder: of the job.
        secrets: folders that are hidden wherever they could be reached, as the judges are.
    """
    root = os.getuid() == 0
    command = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    command += ["--as-pid-1"]
    if root:  # each question's process changes to a user without rights; the runner may end it
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_KILL"]
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    for key, value in ENVIRONMENT.items():
        command += ["--setenv", key, value]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            command += ["--ro-bind", name, name]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    command += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    # Colab's own folder is there as well: many save to "/content/best.pt".
    for place in ("/tmp", "/content", "/dev/shm") if _knows_size() else ("/tmp", "/content"):
        command += ["--size", str(TMP_BYTES)] if _knows_size() else []
        command += ["--tmpfs", place, "--chmod", "1777", place]
    places = [Path("/usr"), Path(sys.prefix), Path(sys.base_prefix), *_ways_to_python()]
    places += [PACKAGE, PACKAGE.parent / "data"]
    places = [path for path in dict.fromkeys(places) if path.is_dir()]
    # The folders that lead there: made here, empty but for what is mounted, and open to the runner.
    parents = dict.fromkeys(parent for path in places for parent in reversed(path.parents))
    inside = [path for path in parents if not any(path.is_relative_to(p) for p in places)]
    for path in inside:
        if path != Path("/"):
            command += ["--perms", "0755", "--dir", str(path)]
    hidden = _hidden(places, secrets)
    # The deeper ones later: the library can be seen in a book's folder that cannot.
    for path in sorted({*places, *hidden}, key=lambda path: len(path.parts)):
        command += ["--tmpfs"] if path in hidden else ["--ro-bind", str(path)]
        command += [str(path)]
    command += ["--ro-bind", str(folder), "/job"]
    for path in [*hidden, Path("/dev"), Path("/")]:
        command += ["--remount-ro", str(path)]
    return [*command, "--chdir", "/tmp", "--"]


def _hidden(places: Sequence[Path], secrets: Sequence[Path]) -> set[Path]:
    """The folders in these places where judges or solutions lie, by each way that leads there.

    The library may be installed beside the one that grades, and a place may be known by two names.
    """
    packages = ("lib*/python3*/*-packages", "local/lib*/python3*/*-packages")
    packages += ("envs/*/lib/python3*/site-packages",)
    judges = f"{PACKAGE.name}/{HERE.name}/judges"
    found = {HERE / "judges", *secrets, *(Path(path) / judges for path in sys.path)}
    found |= {
        path for place in places for way in packages for path in place.glob(f"{way}/{judges}")
    }
    if (PACKAGE.parent / "_toc.yml").is_file():  # the whole book, with its solutions and tests
        found.add(PACKAGE.parent)
    hidden = set()
    for path in {path.resolve() for path in found if path.is_dir()}:
        for place in places:
            if path.is_relative_to(place.resolve()):
                hidden.add(place / path.relative_to(place.resolve()))
    return hidden - set(places)


def _ways_to_python() -> list[Path]:
    """The folders through which the links of an environment's Python lead, from one to the next."""
    path, found = sys.executable, []
    while os.path.islink(path):
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
        found.append(Path(path).parents[1])
    return found


def _knows_size() -> bool:
    global _size
    if _size is None:
        try:
            done = subprocess.run(["bwrap", "--help"], capture_output=True, text=True)
            _size = "--size" in done.stdout + done.stderr
        except OSError:
            _size = False
    return _size


_size: bool | None = None


# ----------------------------------------------------------------------------- running


def _run(command: list[str], limits: Limits, questions: int) -> tuple[bytes, str, bool]:
    """Run a command within its limits.

    Returns:
        What it wrote to stdout and to stderr; and whether it was ended because a question was late.
    """
    most = questions * (limits.output + 2**16)
    deadline = time.monotonic() + START
    late = False
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        over = threading.Event()
        room = (limits.memory + 1) * 2**30
        watchdog = threading.Thread(target=_watch_memory, args=(process, over, room), daemon=True)
        watchdog.start()
        data, frames = bytearray(), _Counter()
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                while len(data) <= most:
                    left = deadline - time.monotonic()
                    # What came while this process itself stood still is not late.
                    if left < -LATE or not selector.select(max(0.0, left)):
                        late = not selector.select(0)
                        if late:
                            break
                    part = os.read(process.stdout.fileno(), 2**16)
                    if not part:
                        break
                    data += part
                    if frames.grew(data):  # each question has a time of its own
                        deadline = time.monotonic() + _wall(limits) + LATE
        finally:
            over.set()
            _kill(process)
            watchdog.join()
        errors.seek(0)
        return bytes(data), errors.read(4000).decode("utf-8", "replace"), late


class _Counter:
    """Counts whole frames while they come in."""

    def __init__(self) -> None:
        self.at = 0

    def grew(self, data: bytearray) -> bool:
        """Whether one more is whole now."""
        before = self.at
        for _, _, after in _framed(data, before):
            self.at = after
        return self.at > before


def _kill(process: subprocess.Popen) -> None:
    """End a sandbox and all in it: its first process is the parent of all, and dies with bwrap."""
    _kill_group(process)
    process.wait()
    process.stdout.close()


def _watch_memory(process: subprocess.Popen, over: threading.Event, room: float) -> None:
    while not over.wait(0.5):
        # A quick count first; it takes pages that processes share for as many as there are of them.
        family = _family(process.pid)
        if sum(map(_held, family)) > room and sum(_share(p) or _held(p) for p in family) > room:
            _kill_group(process)


def _kill_group(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _family(root: int) -> set[int]:
    """A process and all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold anything; the parent is the second field after it.
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    family, more = {root}, {root}
    while more:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
    return family


def _held(pid: int) -> int:
    """Bytes of its own that a process has in memory, those that it shares with its kin included."""
    return _kilobytes(f"/proc/{pid}/status", ("RssAnon:", "RssShmem:"))


def _share(pid: int) -> int:
    """The same, with shared pages divided among those who share them."""
    return _kilobytes(f"/proc/{pid}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:"))


def _kilobytes(place: str, fields: tuple[str, ...]) -> int:
    try:
        lines = Path(place).read_text().splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(fields))


def _frames(data: bytes) -> Iterator[tuple[str, Sent]]:
    """The frames in what was sent; whatever is no frame ends them."""
    for name, sent, _ in _framed(data, 0):
        yield name, sent


def _framed(data: bytes | bytearray, at: int) -> Iterator[tuple[str, Sent, int]]:
    """Each frame from a place on, with the place of the next."""
    while data[at : at + 4] == MAGIC and at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at + 4 : at + 8])
        if length > 1000:
            return
        try:
            name, status, size = json.loads(data[at + 8 : at + 8 + length])
            start = at + 8 + length
            if not (isinstance(name, str) and isinstance(status, str) and isinstance(size, int)):
                return
        except (ValueError, TypeError):
            return
        if size < 0 or start + size > len(data):
            return
        at = start + size
        yield name, Sent(status[:100], bytes(data[start:at])), at
