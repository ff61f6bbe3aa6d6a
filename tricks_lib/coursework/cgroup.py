"""A control group for each sandbox, where the machine lets us make one.

In it the kernel bounds memory, with files in memory and shared memory, and the number of processes
of a whole submission. systemd makes it, or we do, where version 2 of control groups is ours to
write. Each way is tried once, and taken only if the bounds then stand where they should.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sandbox import Limits

ROOT = Path("/sys/fs/cgroup")
TRIED = {"memory.max": str(2**30), "memory.swap.max": "0", "pids.max": "77"}
SHOW = """
import os, sys
for line in open("/proc/self/cgroup"):
    if line.startswith("0::"):
        place = "/sys/fs/cgroup" + line[3:].strip()
for name in ("memory.max", "memory.swap.max", "pids.max"):
    file = os.path.join(place, name)
    print(name, open(file).read().strip() if os.path.exists(file) else "")
"""
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@cache
def find() -> str:
    """How a control group is made here: ``"systemd"``, ``"direct"``, or ``""`` for not at all."""
    if not sys.platform.startswith("linux") or not (ROOT / "cgroup.controllers").is_file():
        return ""
    if _holds(_systemd(TRIED)):
        return "systemd"
    with contextlib.suppress(OSError), _direct(TRIED) as prefix:
        if _holds(prefix):
            return "direct"
    return ""


def reason() -> str:
    """Why there is none, and what would help."""
    if not (ROOT / "cgroup.controllers").is_file():
        return "this machine has no control groups of version 2"
    return (
        "neither systemd nor a folder of ours in /sys/fs/cgroup bounds memory and processes; in a "
        "login session of a machine with systemd this works by itself"
    )


@contextlib.contextmanager
def made(limits: Limits, slot: int | None) -> Iterator[list[str]]:
    """Make a group for one sandbox; gives what to write in front of its command."""
    bounds = {
        "memory.max": str(int((limits.memory + 1) * 2**30)),
        "memory.swap.max": "0",
        "pids.max": str(limits.processes + 16),
    }
    kind = find()
    if kind == "direct":
        with _direct(bounds) as prefix:
            yield prefix
    else:
        yield _systemd(bounds) if kind == "systemd" else []


def _holds(prefix: list[str]) -> bool:
    """Whether a process that is started so stands in a group with the bounds."""
    if not prefix or shutil.which(prefix[0]) is None:
        return False
    try:
        command = [*prefix, sys.executable, "-I", "-S", "-c", SHOW]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    # Without swap there is no file for it; that is as good as a bound of none.
    wanted = {k: v for k, v in TRIED.items() if k != "memory.swap.max" or found.get(k)}
    return done.returncode == 0 and all(found.get(k) == v for k, v in wanted.items())


def _systemd(bounds: dict[str, str]) -> list[str]:
    user = [] if os.getuid() == 0 else ["--user"]
    names = {"memory.max": "MemoryMax", "memory.swap.max": "MemorySwapMax", "pids.max": "TasksMax"}
    command = ["systemd-run", *user, "--scope", "--quiet", "--collect"]
    for name, value in bounds.items():
        command += ["-p", f"{names[name]}={value}"]
    return [*command, "--"]


@contextlib.contextmanager
def _direct(bounds: dict[str, str]) -> Iterator[list[str]]:
    """A folder of our own; its processes are ended and it goes away at the end.

    Raises:
        OSError: it cannot be made here.
    """
    base = _base()
    place = base / f"sandbox-{os.getpid()}-{time.monotonic_ns()}"
    place.mkdir()
    try:
        for name, value in bounds.items():
            if name != "memory.swap.max" or (place / name).exists():
                (place / name).write_text(value)
        yield ["sh", "-c", ENTER, str(place)]
    finally:
        with contextlib.suppress(OSError):
            (place / "cgroup.kill").write_text("1")
        for _ in range(100):
            with contextlib.suppress(OSError):
                place.rmdir()
                break
            time.sleep(0.02)


@cache
def _base() -> Path:
    """The folder in which groups are made: it holds no processes and hands on its controllers."""
    own = next(
        line[3:].strip().lstrip("/")
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if line.startswith("0::")
    )
    for folder in (ROOT / own, ROOT):
        if not os.access(folder, os.W_OK):
            continue
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text("+memory +pids")
            return folder
    raise OSError("no folder of control groups is ours to write")
