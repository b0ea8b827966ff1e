"""How many threads a run computes with, and how they wait: what other work leaves of the cores.

Threads that share a core wait for each other at every operation. OpenMP's wait by spinning, which
saves microseconds where every thread has a core, and takes the core away from the thread that is
waited for where not: two threads beside two busy programs took 15 times as long as alone.

Nothing here imports anything heavy: how threads wait is decided before torch is loaded.
"""

import os
import time
from collections.abc import MutableMapping
from pathlib import Path

SPINS = "GOMP_SPINCOUNT"
THREADS = "OMP_NUM_THREADS"
_CHOSEN_BY_USER = (THREADS, "MKL_NUM_THREADS")
_WAITING = (SPINS, "OMP_WAIT_POLICY")
_SPINS = 1000
"""Turns of the waiting loop before a thread sleeps, some 50 microseconds: longer than most gaps
between two operations of a small model, and shorter than the time that another program gets."""

_PRESSURE = Path("/proc/pressure/cpu")
_QUIET = 5.0
"""Percent of the last ten seconds in which some program waited for a core."""
_STAT = Path("/proc/stat")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_SHORTEST_S = 0.2
"""Below this, the system's counters of a hundredth of a second say little."""


def limit_waiting(environment: MutableMapping[str, str] = os.environ) -> None:
    """Makes OpenMP's threads spin a short while only where programs wait for cores.

    On a quiet machine, and where the user has set how threads wait, nothing changes.

    Args:
        environment: of this process, in which torch is not loaded yet.
    """
    if not any(name in environment for name in _WAITING) and _are_cores_short():
        environment[SPINS] = str(_SPINS)


def _are_cores_short() -> bool:
    try:
        fields = _PRESSURE.read_text().split()
        return float(fields[1].removeprefix("avg10=")) > _QUIET
    except (OSError, IndexError, ValueError):
        pass
    try:
        return os.getloadavg()[0] > len(_own_cores()) / 2
    except (OSError, AttributeError):
        return False


def is_chosen_by_user() -> bool:
    """Whether the environment says how many threads there are, as launchers of sweeps do."""
    return any(name in os.environ for name in _CHOSEN_BY_USER)


def usable() -> float:
    """Returns the number of cores that this process may use, by its affinity and its quota."""
    cores = float(len(_own_cores()))
    try:
        quota, period = _QUOTA.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, int(quota) / int(period))


def threads_for(usable: float, used_by_others: float) -> int:
    """Returns with how many threads to compute.

    Args:
        usable: cores that this process may use.
        used_by_others: cores that other programs use. Beside threads of this process they get
            less than they want, so that a core of which they use more than a third is theirs.
    """
    return max(1, int(usable - used_by_others + 0.35))


class OtherWork:
    """Measures how many cores other programs use, between one question and the next."""

    def __init__(self) -> None:
        self._before = _reading()

    def cores(self) -> float | None:
        """Returns the cores that others used since the last call.

        Returns:
            ``None`` where the system does not say, and the time since the last call is too short.
        """
        now = _reading()
        if now is None or self._before is None:
            return None
        seconds, busy, own = (b - a for a, b in zip(self._before, now, strict=True))
        if seconds < _SHORTEST_S:
            return None
        self._before = now
        return max(0.0, (busy - own) / seconds)


def _reading() -> tuple[float, float, float] | None:
    """The clock, the seconds that our cores were busy, and those that this process used."""
    try:
        rows = _STAT.read_text().splitlines()
        ticks = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    own_cores = {f"cpu{core}" for core in _own_cores()}
    busy = 0
    for row in rows:
        name, *counts = row.split()
        if name in own_cores:
            # proc(5): user nice system idle iowait irq softirq steal; guests count as user.
            numbers = [int(count) for count in counts[:8]]
            busy += sum(numbers) - sum(numbers[3:5])
    return time.monotonic(), busy / ticks, time.process_time()


def _own_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


other_work = OtherWork()
"""Of this process, since it began."""
