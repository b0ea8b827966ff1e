"""Two processes in one test: forks of it, which import nothing again."""

import multiprocessing
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.tensor._redistribute import _gen_transform_infos
from torch.distributed.tensor.debug import _clear_sharding_prop_cache


def in_processes(work: Callable[[int], Any], folder: Path, size: int = 2) -> list[Any]:
    """Returns what ``work(rank)``, plain values, returns in each process of a group."""
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    store = folder / "store"

    def body(rank: int) -> None:
        try:
            # What torch has learnt of sharded tensors in the parent holds for its rank alone.
            _clear_sharding_prop_cache()
            _gen_transform_infos.cache_clear()
            dist.init_process_group(
                "gloo", init_method=f"file://{store}", rank=rank, world_size=size
            )
            pipes[rank][1].send((work(rank), None))
            dist.destroy_process_group()
        except BaseException:
            pipes[rank][1].send((None, traceback.format_exc()))

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded.*")
        processes = [context.Process(target=body, args=(rank,)) for rank in range(size)]
        for process in processes:
            process.start()
    received = [pipe.recv() for pipe, _ in pipes]
    for process in processes:
        process.join()
    store.unlink(missing_ok=True)
    if problem := "".join(error for _, error in received if error):
        raise AssertionError(problem)
    return [value for value, _ in received]
