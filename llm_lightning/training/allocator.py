"""Keeps memory that is freed at every training step for the next one."""

import ctypes
import platform

# Of glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**30  # bytes; larger blocks are few and long-lived


def keep_freed_memory() -> bool:
    """Configures the allocator of this process to keep freed memory, for the rest of its life.

    By default glibc returns large blocks to the kernel as soon as they are freed, and the kernel
    zeroes every page when the next step allocates as much again. On CPUs the activations of a step
    are such blocks.

    Returns:
        Whether it was configured; only glibc's allocator is.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST)) and bool(
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
    )
