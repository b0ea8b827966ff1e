"""With how many threads a run computes, and what its start says about that."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from llm_lightning.distributed import cores
from llm_lightning.presentation.plurals import counted


@contextmanager
def chosen_threads(setting: int | None, device: torch.device) -> Iterator[str | None]:
    """Computes with as many threads as there are free cores, until the end of the body.

    Args:
        setting: number of threads; ``None`` chooses it, unless the environment says it.
        device: of the run; a GPU leaves little to the cores.

    Yields:
        A line about the choice; ``None`` where there was none.
    """
    before = torch.get_num_threads()
    line = None
    if setting is not None:
        torch.set_num_threads(setting)
        line = f"{setting}, as threads={setting} says"
    elif device.type == "cpu" and not cores.is_chosen_by_user():
        line = _choose()
    try:
        yield line
    finally:
        torch.set_num_threads(before)


def _choose() -> str | None:
    used = cores.other_work.cores()
    if used is None:
        return None
    usable = cores.usable()
    threads = cores.threads_for(usable, used)
    torch.set_num_threads(threads)
    line = f"{threads} on {counted(round(usable), 'core')}"
    if used >= 0.05:
        line += f", of which other programs use {used:.1f}"
    return line
