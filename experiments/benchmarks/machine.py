"""What this machine can do at best: the rate of large matrix products, and what it is."""

import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from llm_lightning.training.clock import now

LIBRARIES = ("torch", "lightning", "transformers", "peft")


def rates(*, sizes: list[list[int]], seconds: float, device: str = "cpu") -> dict[str, Any]:
    """Measures the best rate in each precision, and describes the machine.

    Args:
        sizes: (M, K, N) of the products that are tried.
        seconds: how long each is repeated.
        device: where.
    """
    values = {
        name: max(_rate(size, dtype, seconds, torch.device(device)) for size in sizes)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    return {
        "gflops": values,
        "threads": torch.get_num_threads(),
        "cpu": _cpu() if device == "cpu" else torch.cuda.get_device_name(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


@torch.inference_mode()
def _rate(size: list[int], dtype: torch.dtype, seconds: float, device: torch.device) -> float:
    """Billions of operations a second: the fastest of many products, after one to warm up."""
    M, K, N = size
    left = torch.randn(M, K, dtype=dtype, device=device)
    right = torch.randn(K, N, dtype=dtype, device=device)
    out = left @ right
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = now(device)
        torch.mm(left, right, out=out)
        best = min(best, now(device) - started)
    return 2 * M * K * N / best / 1e9


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
