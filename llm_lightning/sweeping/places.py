"""How many jobs of a sweep run at a time on this machine, and with which cores and GPUs each."""

import os
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from omegaconf import DictConfig

from llm_lightning.distributed.cores import THREADS, is_chosen_by_user, usable
from llm_lightning.presentation.plurals import counted

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Place:
    """Where one job at a time runs."""

    environment: dict[str, str]
    """Variables of its process, set before anything heavy is imported there."""

    def enter(self) -> None:
        """Sets them."""
        os.environ.update(self.environment)


@dataclass(frozen=True)
class Places:
    """All of a machine."""

    places: list[Place]
    limited: str | None
    """A line for people, if there are fewer than were asked for."""


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get(VISIBLE_GPUS)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch  # only now: the help should not wait for it

    return [str(number) for number in range(torch.cuda.device_count())]


def share_machine(
    n_jobs: int,
    cfg: DictConfig,
    gpus: Callable[[], list[str]] = visible_gpus,
) -> Places:
    """Divides this machine among jobs: ``trainer.devices`` GPUs each, or the cores.

    Args:
        n_jobs: how many are to run at a time.
        cfg: of the sweep, with ``trainer`` where there is one.
        gpus: returns those that there are.

    Raises:
        ValueError: if a number of jobs is out of range, or a job needs more GPUs than there are.
    """
    check_number(n_jobs)
    devices = int(cfg.trainer.devices) if "trainer" in cfg else 1
    accelerator = cfg.trainer.accelerator if "trainer" in cfg else "auto"
    found = [] if accelerator == "cpu" else gpus()
    cores = int(usable())
    if found:
        if len(found) < devices:
            raise ValueError(
                f"trainer.devices={devices} needs {devices} GPUs for each job, and there "
                f"{'is' if len(found) == 1 else 'are'} {len(found)}"
            )
        number = min(n_jobs, len(found) // devices)
        reason = f"there {'is' if len(found) == 1 else 'are'} {counted(len(found), 'GPU')}"
        if devices > 1:
            reason += f", and each takes {devices}"
    else:
        number = min(n_jobs, max(1, cores // devices))
        reason = f"there {'is' if cores == 1 else 'are'} {counted(cores, 'core')}"
        if devices > 1:
            reason += f", and each has {devices} processes"
    return Places(
        places=[
            Place(
                threads_of(cores // number)
                | ({VISIBLE_GPUS: ",".join(_dealt(found, place, devices))} if found else {})
            )
            for place in range(number)
        ],
        limited=None
        if number == n_jobs
        else f"{counted(number, 'job')} at a time and not {n_jobs}: {reason}",
    )


def deal_out(
    places: Sequence[Place],
    number: int,
    work: Callable[[Place, Iterator[int]], None],
    interrupt: Callable[[], None],
) -> None:
    """Has jobs done, at each place one after the other, until none is left.

    Args:
        places: where.
        number: of jobs.
        work: does jobs at a place, given their indices; called in a thread of each place.
        interrupt: ends what runs, if this process is asked to end.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(number):
        waiting.put(index)

    def taken() -> Iterator[int]:
        while True:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            yield index

    used = places[:number]
    with ThreadPoolExecutor(len(used)) as threads:
        running = [threads.submit(work, place, taken()) for place in used]
        try:
            wait(running)
        except BaseException:  # Ctrl-C, a signal
            for _ in taken():
                pass
            interrupt()
            raise
    for one in running:
        one.result()  # raises what went wrong


def check_number(n_jobs: int) -> None:
    """Refuses what is no number of jobs.

    Raises:
        ValueError: naming the setting.
    """
    if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs < 1:
        raise ValueError(
            f"hydra.launcher.n_jobs must be a whole number, at least 1, got {n_jobs!r}"
        )


def threads_of(cores: int) -> dict[str, str]:
    """Returns the variables of a job with so many cores; none if the user has set them."""
    return {} if is_chosen_by_user() else {THREADS: str(max(1, cores))}


def _dealt(gpus: list[str], place: int, devices: int) -> list[str]:
    return gpus[place * devices : (place + 1) * devices]
