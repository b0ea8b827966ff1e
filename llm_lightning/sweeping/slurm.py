"""Jobs of SLURM, through submitit; and the same without SLURM, as processes on this machine.

A job whose time is nearly over gets SIGUSR2, and one that is preempted SIGTERM or SIGUSR2, as SLURM
is set up. It then stops at the next optimizer step, saves, and is queued again by submitit, which
would ignore SIGTERM and use up the time until SLURM kills the job. Lightning would queue it again
a second time, but leaves that to whoever handles the signals already, as a run does.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra.core.utils import JobReturn
from rich.markup import escape

from llm_lightning.presentation.terminal import console
from llm_lightning.sweeping.job import Jobs
from llm_lightning.sweeping.places import (
    VISIBLE_GPUS,
    Place,
    deal_out,
    share_machine,
    threads_of,
)
from llm_lightning.training import stop_signals

_OF_ALL_CLUSTERS = {
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name",
    "stderr_to_stdout",
}  # fmt: skip
"""Parameters that submitit calls the same everywhere."""


@dataclass
class Resumable:
    """A job as submitit wants it: a function that can be called again."""

    jobs: Jobs

    def __call__(self, overrides: Sequence[str], number: int) -> JobReturn:
        """Runs it; asks submitit to queue it again when the signal for that has come."""
        from submitit.core.job_environment import JobEnvironment

        environment = JobEnvironment()
        warning = environment._usr_sig()
        requeue = stop_signals.handle(warning)
        if environment.cluster == "slurm":
            stop_signals.handle(signal.SIGTERM)
        try:
            return self.jobs.run(overrides, number)
        except KeyboardInterrupt:
            ended_by = stop_signals.ended_by()
            if ended_by == warning or (
                ended_by == signal.SIGTERM and _is_preempted(environment.raw_job_id)
            ):
                requeue(warning, None)  # ends the process
            raise

    def checkpoint(self, overrides: Sequence[str], number: int) -> Any:
        """Returns what is to be done when the job is queued again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, overrides, number)


def launch(
    jobs: Jobs,
    job_overrides: Sequence[Sequence[str]],
    initial: int,
    *,
    submitit_folder: str,
    max_num_timeout: int,
    cpus_per_task: int,
    setup: list[str] | None,
    **parameters: Any,
) -> list[JobReturn]:
    """Submits jobs as an array and waits for them.

    Args:
        jobs: what they have in common.
        job_overrides: of each.
        initial: number of the first.
        submitit_folder: for what submitit writes.
        max_num_timeout: how often a job may run out of time and be queued again.
        cpus_per_task: cores of a job, as many threads as it computes with.
        setup: shell lines that come first in a job.
        parameters: further ones of submitit.
    """
    threads = [f"export {name}={value}" for name, value in threads_of(cpus_per_task).items()]
    executor = _executor("slurm", submitit_folder, max_num_timeout)
    _set(
        executor,
        "slurm",
        **parameters,
        cpus_per_task=cpus_per_task,
        setup=threads + (setup or []),
        # From 22.05 to 23.02 srun does not take it over from the job, and binds it to one core.
        srun_args=[f"--cpus-per-task={cpus_per_task}"],
    )
    numbers = range(initial, initial + len(job_overrides))
    submitted = executor.map_array(Resumable(jobs), list(map(list, job_overrides)), list(numbers))
    return [
        _result(jobs, job, overrides, number)
        for job, overrides, number in zip(submitted, job_overrides, numbers, strict=True)
    ]


def launch_here(
    jobs: Jobs,
    job_overrides: Sequence[Sequence[str]],
    initial: int,
    *,
    n_jobs: int,
    submitit_folder: str,
    max_num_timeout: int,
    signal_delay_s: int,
    **parameters: Any,
) -> list[JobReturn]:
    """Runs jobs as processes on this machine.

    Args:
        jobs: what they have in common.
        job_overrides: of each.
        initial: number of the first.
        n_jobs: how many at a time, at most; fewer where there are fewer GPUs or cores.
        submitit_folder: for what submitit writes.
        max_num_timeout: how often a job may run out of time and be started again.
        signal_delay_s: from the signal to the end of a job's time.
        parameters: further ones of submitit.

    Raises:
        ValueError: if ``n_jobs`` is out of range.
    """
    shared = share_machine(n_jobs, jobs.cfg)
    if shared.limited and initial == 0:
        console.print(escape(shared.limited), soft_wrap=True)
    returned: dict[int, JobReturn] = {}
    running: dict[int, Any] = {}

    def work(place: Place, indices: Iterator[int]) -> None:
        gpus = [int(gpu) for gpu in place.environment.get(VISIBLE_GPUS, "").split(",") if gpu]
        for index in indices:
            overrides, number = list(job_overrides[index]), initial + index
            executor = _executor("local", submitit_folder, max_num_timeout)
            _set(executor, "local", **parameters, gpus_per_node=len(gpus))
            # AutoExecutor knows neither of these, and passes on what is there.
            executor._executor.parameters |= {
                "visible_gpus": gpus,
                "signal_delay_s": signal_delay_s,
            }
            running[index] = executor.submit(Resumable(jobs), overrides, number)
            returned[index] = _result(jobs, running[index], overrides, number)

    def end() -> None:
        for job in running.values():
            job.cancel()

    # The number of threads is the same at all places; GPUs are submitit's to set.
    variables = {
        name: value for name, value in shared.places[0].environment.items() if name != VISIBLE_GPUS
    }
    with _variables(variables):
        deal_out(shared.places, len(job_overrides), work, end)
    return [returned[index] for index in range(len(job_overrides))]


def _is_preempted(job: str) -> bool:
    """Whether SLURM has told a job to make room, and not a user to end."""
    try:
        shown = subprocess.run(
            ["scontrol", "show", "job", "--oneliner", job],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return re.search(r"\bPreemptTime=\d", shown) is not None


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of the environment, which new processes inherit."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _executor(cluster: str, folder: str, max_num_timeout: int) -> Any:
    import submitit  # only now: the command's help should not wait for it

    return submitit.AutoExecutor(
        folder, cluster=cluster, **{f"{cluster}_max_num_timeout": max_num_timeout}
    )


def _set(executor: Any, cluster: str, **parameters: Any) -> None:
    executor.update_parameters(
        **{
            name if name in _OF_ALL_CLUSTERS else f"{cluster}_{name}": value
            for name, value in parameters.items()
        }
    )


def _result(jobs: Jobs, job: Any, overrides: Sequence[str], number: int) -> JobReturn:
    """What a job returned; a job that did not is recorded as lost."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        found: JobReturn = job.results()[0]
    except (FailedJobError, UncompletedJobError):
        reason = f"job {job.job_id} ended without a result; {job.paths.stdout} says why"
        return jobs.lost(overrides, number, reason)
    return found
