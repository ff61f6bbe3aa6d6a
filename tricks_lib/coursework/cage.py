"""What keeps a student's process in its place; the runner loads it, inside the sandbox.

The runner is the first process of a world of its own: no signal from inside ends or stops it, it
cannot be looked into, and every process that is left behind becomes its child. A student's process
gives up all rights, and a filter of the kernel refuses the system calls that no exercise needs and
through which one student could leave something for the next, or hold memory that no limit counts.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import select
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PDEATHSIG, DUMPABLE, SECCOMP, SUBREAPER, NO_NEW_PRIVS = 1, 4, 22, 36, 38  # of prctl
LOOK = 0.2  # seconds between two looks at what a question uses
IDLE = 0.25  # who used less than this share of the limit did not compute: it stood still, or slept

# Numbers of system calls: (x86_64, aarch64); None where there is no such call.
REFUSED = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    # what outlives a process: keys, and the shared memory, queues and locks of System V
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "shmctl": (31, 195),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # locks and news of files that all sandboxes see, by which two students could talk
    "flock": (73, 32),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    # memory that belongs to no process
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # new worlds, and what is mounted in them
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    # the kernel's own machinery
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "syslog": (103, 116),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "personality": (135, 92),
    "fanotify_init": (300, 262),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "vmsplice": (278, 75),
    "iopl": (172, None),
    "ioperm": (173, None),
    # libraries then use clone, whose flags a filter can read
    "clone3": (435, 435),
}
SPECIAL = {
    "clone": (56, 220),
    "fcntl": (72, 25),
    "prlimit64": (302, 261),
    "socket": (41, 198),
}
LOCKS = (6, 7, 37, 38, 1024, 1026)  # fcntl's commands for locks, leases and news
NEW_WORLDS = 0x7E020080  # clone's flags for namespaces
FAMILIES = (1, 16)  # of sockets: between processes, and netlink
NETWORK = (2, 10)  # IPv4 and IPv6, which are harmless where the sandbox has no network
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


# ------------------------------------------------------------------------- the runner's side


def settle(job: dict) -> None:
    """Make this process, the runner, one that students' processes cannot reach.

    Raises:
        OSError: a question's process could not be shut in.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # a first process gets none that it does not handle
    _prctl(PDEATHSIG, signal.SIGKILL)
    _prctl(DUMPABLE, 0)  # not to be traced; its files in /proc are root's
    _prctl(SUBREAPER, 1)
    if job["core"] is not None:  # a swarm of processes then slows down itself alone
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {job["core"]})
    trial = os.fork()  # a student's process must not be able to pretend that this fails
    if trial == 0:
        try:
            enter(job)
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(trial, 0)[1]:
        raise OSError("a process could not give up its rights, or the filter was refused")


def enter(job: dict) -> None:
    """In a question's process: give up every right; nothing in here brings it back.

    Raises:
        OSError: the kernel has no such filter.
    """
    if job["uid"] and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(job["uid"], job["uid"], job["uid"])
        os.setresuid(job["uid"], job["uid"], job["uid"])
    _prctl(DUMPABLE, 1)  # an ordinary process again, as libraries expect
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go, before the grader
    _prctl(NO_NEW_PRIVS, 1)
    program = filter_program(platform.machine(), network=job["network"])
    if program:
        lines = ctypes.create_string_buffer(program, len(program))

        class Program(ctypes.Structure):
            _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_void_p))

        whole = Program(len(program) // 8, ctypes.addressof(lines))
        _prctl(SECCOMP, 2, ctypes.addressof(whole))


def kill_the_rest(job: dict, child: int) -> None:
    """End whatever a question's process has left behind."""
    for _ in range(1000):
        found = _everybody_else()
        for pid in found if os.getpid() != 1 else ():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            if os.getpid() == 1:
                os.kill(-1, signal.SIGKILL)  # all but this process, in a world of our own
            else:
                os.killpg(child, signal.SIGKILL)
        if job["uid"] and os.getpid() != 1:
            _kill_user(job["uid"])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not _everybody_else():
            return
        time.sleep(0.01)


def _kill_user(uid: int) -> None:
    """End all processes of a student's user at once, where other users share the world."""
    helper = os.fork()
    if helper == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(helper, 0)


def _everybody_else() -> list[int]:
    """The other processes in this world; or, where it is not ours, this one's descendants."""
    parents = {pid: int(fields[1]) for pid, fields in _stats()}
    me = os.getpid()
    parents.pop(me, None)
    if me == 1:
        return list(parents)
    family, more = set(), {me}
    while more:
        more = {pid for pid, parent in parents.items() if parent in more} - family
        family |= more
    return list(family)


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Each process and the fields of its stat after its name, which may hold anything."""
    for place in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if place.isdigit():
            try:
                text = Path(f"/proc/{place}/stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it has just ended
            yield int(place), text.rpartition(")")[2].split()


class Meter:
    """The CPU time of a question: of its process and of all that come from it."""

    def __init__(self) -> None:
        self.tick = os.sysconf("SC_CLK_TCK")
        self.most: dict[int, float] = {}  # each process's own, which only grows
        self.queued: dict[int, float] = {}  # how long it could have worked and had no core
        self.dead = self._of_dead()
        self.last = time.monotonic()
        self.used = self.waited = self.read = 0.0

    def look(self) -> None:
        """Bring ``used``, ``waited`` and ``read`` up to now, in seconds."""
        family, reading, before = set(_everybody_else()), False, sum(self.queued.values())
        for pid, fields in _stats():
            if pid in family:
                reading = reading or fields[0] == "D"
                own = (int(fields[11]) + int(fields[12])) / self.tick
                self.most[pid] = max(own, self.most.get(pid, 0.0))
                with contextlib.suppress(OSError, ValueError, IndexError):
                    schedule = Path(f"/proc/{pid}/schedstat").read_text().split()
                    self.queued[pid] = int(schedule[1]) / 1e9
        self.used = max(sum(self.most.values()), self._of_dead() - self.dead)
        passed = time.monotonic() - self.last
        self.last += passed
        queued = sum(self.queued.values()) - before  # of many processes: more than has passed
        self.waited += min(passed, queued)
        self.read += max(0.0, passed - queued) if reading else 0.0

    def _of_dead(self) -> float:
        times = os.times()
        return times.children_user + times.children_system


def watch(job: dict, child: int, pipe: int) -> tuple[str, bytes]:
    """Read what a question's process sends until it ends, or its time is up.

    Time in which it waits for a core that others have does not count, up to five times the limit;
    nor does as much as the limit in which it seems to wait for a disk. (Who waits for the child of
    a vfork looks the same.)
    Its status is empty when it ended by itself; ``"time"``, ``"output"``; or ``"busy"``: time was
    up, for most of which it waited, or seemed to: it hardly computed.
    """
    begin = time.monotonic()
    parts, size, is_open, look = [], 0, True, begin + LOOK
    meter = Meter()
    os.set_blocking(pipe, False)
    # It may close the pipe and go on, or end and leave others who hold it: both are watched.
    end = _end_of(child)
    try:
        while (now := time.monotonic()) < begin + job["wall"]:
            ended, part = _has_ended(child, is_open), None
            if is_open:
                with contextlib.suppress(BlockingIOError):
                    part = os.read(pipe, 2**16)
                    is_open = part != b""
            if part:
                parts.append(part)
                size += len(part)
                if size > job["output"]:
                    return "output", b""
            elif ended:
                return "", b"".join(parts)
            if now > look:
                look = now + LOOK
                meter.look()
                mine = now - begin - meter.waited - min(meter.read, job["limit"])
                if meter.used > job["limit"] + 1:
                    return "time", b""
                if mine > job["limit"] + job["grace"]:
                    stood = meter.read > job["limit"] or meter.used < IDLE * job["limit"]
                    return ("busy" if stood else "time"), b""
            if not part:
                select.select([*end, *([pipe] if is_open else [])], [], [], LOOK)
        waited = meter.waited + meter.read
        starved = meter.used < job["limit"] and waited > 0.5 * job["wall"]
        starved = starved or meter.used < IDLE * job["limit"]
        return ("busy" if starved else "time"), b""
    finally:
        for extra in end:
            os.close(extra)


def _end_of(child: int) -> list[int]:
    """Something to wait for that tells of a process's end at once, on kernels that have it."""
    try:
        return [os.pidfd_open(child)]
    except (AttributeError, OSError):
        return []


def _has_ended(child: int, is_open: bool) -> bool:
    if not hasattr(os, "waitid"):
        return not is_open
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


# --------------------------------------------------------------------------------- the filter


def filter_program(machine: str, network: bool = True) -> bytes:
    """The filter as a program for the kernel, in its classic BPF; empty on an unknown machine.

    Args:
        machine: as ``platform.machine()`` calls it.
        network: whether sockets of the network may be opened.
    """
    if machine not in MACHINES:
        return b""
    column, architecture = MACHINES[machine]

    def refuse(number: int) -> tuple[int, int, int, int]:
        return 0x06, 0, 0, 0x00050000 | number  # return this error

    def load(offset: int) -> tuple[int, int, int, int]:
        return 0x20, 0, 0, offset

    def unless(value: int, over: int, code: int = 0x15) -> tuple[int, int, int, int]:
        return code, 0, over, value  # if not equal (or what ``code`` says), jump ``over`` lines

    allow, kill = (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x80000000)
    lines = [load(4), (0x15, 1, 0, architecture), kill, load(0)]
    if machine == "x86_64":  # the calls of x32 have numbers of their own
        lines += [unless(0x40000000, 1, 0x35), refuse(errno.ENOSYS)]
    for numbers in REFUSED.values():
        if numbers[column] is not None:
            lines += [unless(numbers[column], 1), refuse(errno.ENOSYS)]
    # The first argument lies at 16, its lower half first.
    lines += [unless(SPECIAL["clone"][column], 4), load(16)]
    lines += [unless(NEW_WORLDS, 1, 0x45), refuse(errno.EPERM), allow]
    lines += [unless(SPECIAL["prlimit64"][column], 4), load(16)]
    lines += [unless(0, 1), allow, refuse(errno.EPERM)]
    lines += [unless(SPECIAL["fcntl"][column], 2 + 2 * len(LOCKS)), load(24)]  # the second
    for command in LOCKS:
        lines += [unless(command, 1), refuse(errno.ENOLCK)]
    lines += [allow]
    families = FAMILIES + NETWORK if network else FAMILIES
    lines += [unless(SPECIAL["socket"][column], 2 + 2 * len(families)), load(16)]
    for family in families:
        lines += [unless(family, 1), allow]
    lines += [refuse(errno.EAFNOSUPPORT), allow]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _prctl(option: int, *values: int) -> None:
    if not sys.platform.startswith("linux"):
        return  # --unsafe, elsewhere
    library = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    if library.prctl(option, *padded) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
