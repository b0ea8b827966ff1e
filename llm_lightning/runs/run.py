"""One run's life: find what it needs, skip what is done, do the rest."""

import contextlib
from pathlib import Path

from llm_lightning.network import Unavailable
from llm_lightning.run_format import status
from llm_lightning.run_format.summary import Summary, read_summary
from llm_lightning.runs import terminal_output as terminal
from llm_lightning.runs.damage import set_aside
from llm_lightning.runs.errors import expect
from llm_lightning.runs.held_folder import held
from llm_lightning.runs.job import Job
from llm_lightning.runs.network_job import NetworkJob
from llm_lightning.runs.prior_state import PriorState, is_free, prior_state, tidy
from llm_lightning.runs.settings import Found


def run(job: Job) -> Summary:
    """Runs a job, or skips it if it is finished.

    Args:
        job: what to do.

    Returns:
        The summary of the finished run.

    Raises:
        FolderHeld: if another process works on its folder.
        UserError: if it cannot start or go on for another reason that the user can put right.
    """
    folder = job.settings.run_dir
    with held(folder, by_others="the same run is at work there"):
        if is_free(folder):
            set_aside(folder)
        job, found, prior = prepare_run(job)
        if prior is not PriorState.FINISHED:
            return job.run(found, prior)
        tidy(folder)
        terminal.print_skipped(job.settings)
        summary = read_summary(folder)
        # Again: a sweep counts it as done.
        status.write(folder, "finished", fallbacks=summary.fallbacks)
        return summary


def follow(job: NetworkJob) -> None:
    """Does this machine's part of a job whose run another machine leads, writes and prints.

    Raises:
        UserError: if it cannot start or go on.
    """
    _, found, prior = prepare_run(job)
    if prior in (PriorState.NOTHING, PriorState.INTERRUPTED):
        job.follow(found)


def prepare_run(job: Job) -> tuple[Job, Found, PriorState]:
    """Finds what a job needs and what its folder holds.

    Returns:
        The job, or the one that replaces it where weights are unavailable; what it will use; and
        the prior state of the folder it has, or would have if this were no dry run.

    Raises:
        UserError: if a setting is wrong, something is unavailable, or the folder is taken.
    """
    with expect(ValueError, Unavailable):
        objective = job.settings.objective
        if objective not in job.metric_names:
            names = ", ".join(job.metric_names)
            raise ValueError(f"objective must be one of {names}, got {objective!r}")
        job, found = job.find()
        if job.decide.kind != "none":
            job.decide.check(found.data.facts()["class_names"])
        return job, found, prior_state(job.settings.home, job.settings, found)


def objective_value(job: Job, summary: Summary) -> float | None:
    """Returns the validation metric that a search optimises; ``None`` where it is undefined."""
    return summary.metrics["val"][job.settings.objective]


def remove_if_empty(run_dir: Path) -> None:
    """Removes the folder that Hydra made before anything was known about the run."""
    with contextlib.suppress(OSError):
        run_dir.rmdir()
        run_dir.parent.rmdir()
