"""Jobs side by side on this machine, one a GPU, or sharing the cores.

Each place has a process of its own, which lives as long as the sweep and does one job after the
other. One that dies takes only its present job along.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from hydra.core.utils import JobReturn
from joblib import wrap_non_picklable_objects
from rich.markup import escape

from llm_lightning.presentation.terminal import console
from llm_lightning.sweeping.job import Jobs
from llm_lightning.sweeping.places import Place, deal_out, share_machine


def launch(
    jobs: Jobs, job_overrides: Sequence[Sequence[str]], initial: int, *, n_jobs: int
) -> list[JobReturn]:
    """Runs jobs.

    Args:
        jobs: what they have in common.
        job_overrides: of each.
        initial: number of the first.
        n_jobs: how many at a time, at most; fewer where there are fewer GPUs or cores.

    Raises:
        ValueError: if ``n_jobs`` is out of range.
    """
    shared = share_machine(n_jobs, jobs.cfg)
    if shared.limited and initial == 0:
        console.print(escape(shared.limited), soft_wrap=True)
    returned: dict[int, JobReturn] = {}
    # Hydra's state holds functions within functions, which Python's own pickle cannot send.
    sent = wrap_non_picklable_objects(jobs, keep_wrapper=False)

    def work(place: Place, indices: Iterator[int]) -> None:
        worker = _worker(place)
        try:
            for index in indices:
                overrides, number = list(job_overrides[index]), initial + index
                try:
                    returned[index] = worker.submit(_run, sent, overrides, number).result()
                except BrokenProcessPool:
                    worker.shutdown()
                    worker = _worker(place)
                    reason = "its process died: it was killed, or there was no memory left"
                    returned[index] = jobs.lost(overrides, number, reason)
        finally:
            worker.shutdown()

    deal_out(shared.places, len(job_overrides), work, _end_children)
    return [returned[index] for index in range(len(job_overrides))]


def _run(jobs: Jobs, overrides: Sequence[str], number: int) -> JobReturn:
    return jobs.run(overrides, number)


def _worker(place: Place) -> ProcessPoolExecutor:
    # Forked processes cannot use a GPU that their parent has touched.
    start_anew = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=start_anew, initializer=place.enter)


def _end_children() -> None:
    for child in multiprocessing.active_children():
        child.terminate()  # a run saves before it ends
