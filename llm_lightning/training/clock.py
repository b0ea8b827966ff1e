"""A clock for work on a device that runs asynchronously."""

import time

import torch


def now(device: torch.device) -> float:
    """Returns the seconds of a monotonic clock, once all work on the device is done.

    CUDA kernels run asynchronously: without synchronisation, a clock measures how long it takes
    to launch them.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
