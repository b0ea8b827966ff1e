"""Memory that is freed at every step, kept for the next one."""

import ctypes
import platform

# Of glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**30  # bytes; of what is larger there are few blocks, which stay


def keep_freed_memory() -> bool:
    """Tells the allocator of this process to keep what is freed, for good.

    By default glibc gives large blocks back to the kernel as soon as they are free, and the kernel
    clears every page of them when the next step asks for as much again. On CPUs the activations of
    a step are such blocks.

    Returns:
        Whether it did; other allocators than glibc's are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST)) and bool(
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
    )
