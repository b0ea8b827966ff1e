"""Jobs as tasks of a Ray cluster, which finds each the cores and GPUs that it asks for."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn

from llm_lightning.sweeping.job import Jobs
from llm_lightning.sweeping.places import threads_of

_PASSED_ON = ("LLM_LIGHTNING_", "HF_", "OMP_", "MKL_", "GOMP_")
"""Beginnings of the variables that runs heed."""


def launch(
    jobs: Jobs,
    job_overrides: Sequence[Sequence[str]],
    initial: int,
    *,
    address: str | None,
    num_cpus: int,
    num_gpus: float,
    max_retries: int,
) -> list[JobReturn]:
    """Runs jobs; Ray sets which GPUs each of them sees.

    Args:
        jobs: what they have in common.
        job_overrides: of each.
        initial: number of the first.
        address: of a running cluster; ``None`` starts one on this machine and ends it again.
        num_cpus: cores of a job, as many threads as it computes with.
        num_gpus: GPUs of a job.
        max_retries: how often a job is started again whose process or machine died.
    """
    import ray

    # Processes of a cluster do not inherit the environment, and may start in another folder.
    variables = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    variables |= threads_of(num_cpus) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    begun = not ray.is_initialized()
    if begun:
        ray.init(address=address, include_dashboard=False, log_to_driver=False)
    try:
        task = ray.remote(
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            max_retries=max_retries,
            max_calls=1,  # a new process a job, so that a GPU's memory is free again
            runtime_env={"env_vars": variables},
        )(_run)
        sent = ray.put(jobs)
        here = os.getcwd()
        references = [
            task.remote(sent, list(overrides), initial + index, here)
            for index, overrides in enumerate(job_overrides)
        ]
        return [
            _result(jobs, reference, overrides, initial + index)
            for index, (reference, overrides) in enumerate(
                zip(references, job_overrides, strict=True)
            )
        ]
    finally:
        if begun:
            ray.shutdown()


def _run(jobs: Jobs, overrides: Sequence[str], number: int, folder: str) -> JobReturn:
    os.chdir(folder)  # Ray starts tasks in a folder of its own
    return jobs.run(overrides, number)


def _result(jobs: Jobs, reference: Any, overrides: Sequence[str], number: int) -> JobReturn:
    import ray

    try:
        found: JobReturn = ray.get(reference)
    except ray.exceptions.RayError as error:
        return jobs.lost(overrides, number, f"Ray: {why(error)}")
    return found


def why(error: BaseException) -> str:
    """Returns a line about an error of Ray: what a task raised, where it is that."""
    # The text of such an error is a traceback, which begins with the task's process.
    cause = getattr(error, "cause", None)
    found = cause if isinstance(cause, BaseException) else error
    said = str(found).strip().splitlines()
    return ": ".join([type(found).__name__, *said[:1]])
