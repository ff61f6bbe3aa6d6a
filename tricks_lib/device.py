"""Where the numbers are crunched: which device, and how many CPU threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def device() -> torch.device:
    """The fastest device here: a CUDA GPU, else Apple's ``mps``, else the CPU.

    The environment variable ``TRICKS_DEVICE`` (for example ``cpu`` or ``cuda:1``) overrides it.

    Raises:
        ValueError: ``TRICKS_DEVICE`` names a device that torch does not know or this machine lacks.
    """
    wanted = os.environ.get("TRICKS_DEVICE")
    if wanted:
        return _named_device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _named_device(name: str) -> torch.device:
    try:
        chosen = torch.device(name)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"TRICKS_DEVICE={name!r} is no device of this machine; use 'cpu', or unset it."
        ) from error
    return chosen


def describe(where: torch.device) -> str:
    """A device in words, for a table or a record: ``cpu``, or the name of the GPU."""
    return torch.cuda.get_device_name(where) if where.type == "cuda" else where.type


@contextmanager
def cpu_threads() -> Iterator[None]:
    """Run the block with a fixed number of CPU threads: ``TRICKS_THREADS``, or 1.

    Small networks are fastest on one thread, and sums then always run in the same order, so that
    a seed gives the same number on a laptop and on a server.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("TRICKS_THREADS", "1")))
    try:
        yield
    finally:
        torch.set_num_threads(before)
