"""The process group of a run: how its processes meet, and how one that dies is noticed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from llm_lightning.distributed.processes import Processes

_TIMEOUT = timedelta(hours=2)
"""How long a process waits for another that works, such as on responses after an epoch."""
_POLL_S = 0.05


def opened_store(host: str, port: int = 0) -> TCPStore:
    """Opens the place where processes meet, in the main one.

    Args:
        host: address of this machine that the others can reach.
        port: 0 for any free one.
    """
    return TCPStore(host, port, is_master=True, wait_for_workers=False, timeout=_TIMEOUT)


def joined_store(host: str, port: int) -> TCPStore:
    """Goes to the place where processes meet."""
    return TCPStore(host, port, is_master=False, timeout=_TIMEOUT)


@contextmanager
def group(
    store: TCPStore, processes: Processes, check: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Makes the process group, once all processes are here.

    Args:
        store: where they meet.
        processes: of the run.
        check: called while this one waits; raises if another will never come.
    """
    store.set(f"ready/{processes.rank}", "yes")
    everyone = [f"ready/{rank}" for rank in range(processes.size)]
    while not store.check(everyone):
        check()
        time.sleep(_POLL_S)
    dist.init_process_group(
        # Numbers and objects go through gloo, gradients on GPUs through NCCL.
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=PrefixStore("group", store),
        rank=processes.rank,
        world_size=processes.size,
        timeout=_TIMEOUT,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error may come from another process that has died."""
    if isinstance(error, dist.DistError):
        return True
    words = ("gloo", "nccl", "connection", "broken pipe")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
