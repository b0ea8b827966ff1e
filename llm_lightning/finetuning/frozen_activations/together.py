"""Frozen activations that several processes compute once: each a part, and all have the whole."""

from collections.abc import Callable
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from llm_lightning.distributed.collectives import (
    add_up,
    copy_from_main,
    group_rank,
    group_size,
    of_main,
    wait_for_all,
)
from llm_lightning.finetuning.frozen_activations.activation_files import ActivationFiles, mapped
from llm_lightning.finetuning.frozen_activations.cache import ActivationCache
from llm_lightning.finetuning.frozen_activations.last_in_memory import LastInMemory

Fill = Callable[[Float[Tensor, "num_rows C"]], None]
"""Computes this process's part of the rows in place; without other processes all of them."""


def load_in_memory(memory: LastInMemory, key: str, cache: ActivationCache, fill: Fill) -> None:
    """Gives every process's cache the activations, in memory of its own.

    Args:
        memory: the activations of the last run; those of the main process count.
        key: identifies what the activations depend on.
        cache: gets its storage.
        fill: see :data:`Fill`.
    """
    if group_size() == 1:
        memory.load(key, cache, fill)
        return
    is_there = of_main(memory.has(key))

    def fill_all(rows: Tensor) -> None:
        if is_there:
            cache.store_in(rows)
            copy_from_main(rows)
            return
        rows.zero_()
        fill(rows)
        add_up(rows)  # each row is zero in all processes but one

    if group_rank() > 0:
        memory.clear()
    memory.load(key, cache, fill_all)
    if is_there and group_rank() == 0:
        copy_from_main(cache.rows)


def open_file(
    files: ActivationFiles, key: str, shape: tuple[int, int], fill: Fill
) -> Float[Tensor, "num_rows C"]:
    """Maps a file with the activations, in a folder that all processes see.

    Args:
        files: of the folder.
        key: identifies what the activations depend on.
        shape: (num_rows, C).
        fill: see :data:`Fill`.

    Raises:
        CacheFull: in the main process, if it does not fit.
    """
    if group_size() == 1:
        return files.open(key, shape, fill)
    if group_rank() == 0:
        return _open_first(files, key, shape, fill)
    part: Path | None = of_main(None)
    if part is not None:
        rows = mapped(part, shape, shared=True)
        fill(rows)
        del rows
        wait_for_all()
    wait_for_all()  # until the file has its name
    return files.open(key, shape, fill)


def _open_first(
    files: ActivationFiles, key: str, shape: tuple[int, int], fill: Fill
) -> Float[Tensor, "num_rows C"]:
    is_filled = False

    def fill_all(rows: Tensor) -> None:
        nonlocal is_filled
        is_filled = True
        of_main(files.part(key))
        fill(rows)
        wait_for_all()

    rows = files.open(key, shape, fill_all)
    if not is_filled:
        of_main(None)
    wait_for_all()
    return rows
