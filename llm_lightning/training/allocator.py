"""What the allocator of this process does with freed memory: keep it, or give it back."""

import ctypes
import platform

# Of glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**30  # bytes; larger blocks are few and long-lived
_SMALL = 2**20  # bytes; smaller blocks are not worth a call of the kernel


def keep_freed_memory() -> bool:
    """Configures the allocator of this process to keep freed memory for what comes next.

    By default glibc returns large blocks to the kernel as soon as they are freed, and the kernel
    zeroes every page when the next step allocates as much again. On CPUs the activations of a step
    are such blocks.

    Returns:
        Whether it was configured; only glibc's allocator is.
    """
    return _configure(mmap_threshold=_LARGEST, trim_threshold=-1)


def return_freed_memory() -> bool:
    """Configures the allocator of this process to return large blocks as soon as they are freed.

    By default glibc begins to keep them once some were freed. Blocks that are put together from
    parts and fall apart again would then be laid out anew each time, between smaller tensors that
    stay, until a process that should have a part of a model takes more than all of it.

    Returns:
        Whether it was configured; only glibc's allocator is.
    """
    return _configure(mmap_threshold=_SMALL, trim_threshold=_SMALL)


def _configure(*, mmap_threshold: int, trim_threshold: int) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, mmap_threshold)) and bool(
        libc.mallopt(_M_TRIM_THRESHOLD, trim_threshold)
    )
