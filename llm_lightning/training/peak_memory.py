"""Peak memory use."""

import resource
import sys
from pathlib import Path

import torch

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement, so that later runs of a sweep do not report an earlier peak.

    Works on Linux and CUDA; elsewhere :func:`peak_memory_mib` covers the whole life of the process.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR_REFS.exists():
        _CLEAR_REFS.write_text("5")  # "5" resets VmHWM, proc(5)


def memory_mib(device: torch.device) -> float:
    """Returns what is in use now, in MiB, of what :func:`peak_memory_mib` is the peak."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 2**20
    return _status_mib("VmRSS") if _STATUS.exists() else peak_memory_mib(device)


def peak_memory_mib(device: torch.device) -> float:
    """Returns the peak since the reset, in MiB: GPU memory, or otherwise the resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if _STATUS.exists():
        return _status_mib("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB else


def _status_mib(key: str) -> float:
    line = next(row for row in _STATUS.read_text().splitlines() if row.startswith(key))
    return int(line.split()[1]) / 2**10  # kB
