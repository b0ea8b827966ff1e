import platform
import subprocess
import sys

import pytest

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
    from llm_lightning.training import allocator

    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    assert not allocator.keep_freed_memory()
