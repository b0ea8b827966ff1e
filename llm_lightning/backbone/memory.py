"""Whether a model fits into this machine's memory, decided before any of it is taken."""

import os
import sys
from pathlib import Path

import torch

MOST_BLOCKS = 2_000
"""Of a model: none that is published has so many, and a million would fill the memory however
narrow they are."""

_MOST_COUNTED = 10**18
_CONTAINER = Path("/sys/fs/cgroup")
_CONTAINER_LIMIT = _CONTAINER / "memory.max"
_MACHINE = Path("/proc/meminfo")


def check_fits(num_parameters: int, what: str) -> None:
    """Refuses a model whose weights alone are larger than the memory.

    Args:
        num_parameters: of the model, or a number that it has at least.
        what: the model, for the error.

    Raises:
        ValueError: if they do not fit in float32.
    """
    if torch.get_default_device().type == "meta":
        return
    num_parameters = min(num_parameters, _MOST_COUNTED)  # a file may hold a number of any length
    needed, there = num_parameters * torch.float32.itemsize, memory_bytes()
    if needed > there:
        raise ValueError(
            f"{what} has {num_parameters:,} parameters or more, {needed / 2**30:,.1f} GiB in "
            f"float32, and this machine has {there / 2**30:,.1f} GiB of memory: choose a smaller "
            f"model"
        )


def memory_bytes() -> int:
    """Returns the memory of this machine, or of the container, in bytes."""
    if not hasattr(os, "sysconf"):  # Windows
        return sys.maxsize
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _CONTAINER_LIMIT.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return physical
    return min(physical, int(limit)) if limit.isdecimal() else physical


def free_memory_bytes() -> int:
    """Returns how much memory programs can still take, in this machine or the container, in bytes.

    What the system only keeps of files, because nobody needs the space, counts as free. Where the
    system does not say, it is all of the memory.
    """
    free = memory_bytes()
    try:
        for line in _MACHINE.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = min(free, 1024 * int(line.split()[1]))  # kB
    except (OSError, ValueError):
        pass
    try:
        used = int((_CONTAINER / "memory.current").read_text(encoding="ascii"))
        limit = int(_CONTAINER_LIMIT.read_text(encoding="ascii"))
        parts = (_CONTAINER / "memory.stat").read_text(encoding="ascii").splitlines()
        of_files = dict(part.split() for part in parts).get("inactive_file", "0")
        return max(0, min(free, limit - used + int(of_files)))
    except (OSError, ValueError):  # no container, or one without a limit
        return free
