import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from llm_lightning.distributed.sharding import shard_blocks
from llm_lightning.training import allocator
from tests.distributed.forked import in_processes

FAULTS = """
import resource, sys, torch
from llm_lightning.training.allocator import keep_freed_memory
is_kept = keep_freed_memory() if sys.argv[1] == "kept" else None
def use():
    for _ in range(20):
        torch.ones(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = use()
print(is_kept, use() - before)
"""


def faults(mode: str) -> tuple[str, int]:
    """What the function returned, and how many pages were requested again."""
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, check=True)
    is_kept, count = done.stdout.decode().split()
    return is_kept, int(count)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_freed_blocks_are_used_again_without_asking_the_kernel() -> None:
    is_kept, kept = faults("kept")
    _, by_default = faults("default")
    assert is_kept == "True"
    assert kept < 100 < by_default


def test_other_allocators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    assert not allocator.keep_freed_memory()
    assert not allocator.return_freed_memory()


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_blocks_that_come_and_go_leave_no_memory_behind(tmp_path: Path) -> None:
    def growth(rank: int) -> float:
        allocator.return_freed_memory()
        torch.set_num_threads(1)
        # 8 MiB of each block are here, 16 while it is whole.
        blocks = [nn.Sequential(nn.Linear(1024, 2048), nn.Linear(2048, 1024)) for _ in range(10)]
        shard_blocks(blocks, init_device_mesh("cpu", (2,)))
        model, x = nn.Sequential(*blocks), torch.randn(8, 1024)
        before = resident_mib()
        with torch.no_grad():
            for _ in range(3):
                model(x)
        return resident_mib() - before

    assert max(in_processes(growth, tmp_path)) < 10 * 8, "less than the parts that others have"
