"""``python -m llm_lightning +experiment=...``: hands a run, or a sweep of runs, to Hydra."""

import contextlib
import gc
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from llm_lightning.commands.before_runs import check_settings, runs_folder
from llm_lightning.commands.command_line import (
    MULTIRUN,
    dry_run_is_set,
    only_settings,
    overrides_of,
)
from llm_lightning.commands.failures import (
    PROGRAM,
    USER,
    described,
    is_failure,
    is_users,
    refused,
    wants_trace,
)
from llm_lightning.commands.job_output import redirected
from llm_lightning.commands.startup import HELD
from llm_lightning.config import schema
from llm_lightning.config.experiments import conf_dir
from llm_lightning.config.jobs import job_of
from llm_lightning.dry_run import printing
from llm_lightning.dry_run.planning import plan_run
from llm_lightning.presentation.terminal import print_error
from llm_lightning.run_format import files, status
from llm_lightning.runs.errors import FolderHeld, expect
from llm_lightning.runs.network_job import NetworkJob
from llm_lightning.runs.prior_state import is_free
from llm_lightning.runs.run import follow, objective_value, remove_if_empty, run
from llm_lightning.training import stop_signals


def main(arguments: Sequence[str]) -> int:
    """Runs the jobs that a command line describes; returns the exit status."""
    overrides, is_dry = overrides_of(arguments), dry_run_is_set(arguments)
    with contextlib.ExitStack() as folder:
        if only_settings(arguments):
            try:
                runs_dir = check_settings(overrides, is_sweep=not MULTIRUN.isdisjoint(arguments))
                if not is_dry:
                    folder.enter_context(runs_folder(runs_dir))
            except ValueError as error:
                return refused(error)
        return _start(arguments, is_dry=is_dry)


def _start(arguments: Sequence[str], *, is_dry: bool) -> int:
    schema.register()
    decorate = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    with tempfile.TemporaryDirectory() as scratch:
        sys.argv = [sys.argv[0], *arguments]  # Hydra reads the command line itself
        if is_dry:
            # Hydra makes the folders of runs, and searches write theirs, whatever the runs do.
            sys.argv += [f"hydra.run.dir='{scratch}/run'", f"hydra.sweep.dir='{scratch}'"]
            sys.argv += ["hydra/hydra_logging=none"]
        decorate(train)()
    return 0


def train(cfg: DictConfig) -> float | None:
    """Does one job, unless it is done already; in a dry run, prints what it would take.

    What goes wrong is a framed message and an exit status, as :mod:`.failures` explains; a folder
    that another process holds is exit status 75. In a sweep a job that fails leaves
    ``status.json``, and the sweep goes on.

    Returns:
        The validation metric that ``objective`` names; ``None`` where it is undefined or the job
        failed, and 0 in a dry run.
    """
    run_dir = Path(cfg.run_dir)
    is_sweep = HydraConfig.get().mode is RunMode.MULTIRUN
    with stop_signals.handled(), redirected(run_dir / files.OUTPUT):
        value = _attempt(cfg, run_dir, is_sweep)
    if is_sweep:
        gc.collect()  # a model and its trainer name each other: the next job needs their memory
    return value


def _attempt(cfg: DictConfig, run_dir: Path, is_sweep: bool) -> float | None:
    try:
        with expect(ValueError):
            job = job_of(cfg)
        if cfg.dry_run:
            plan = plan_run(job)
            plan.write(run_dir)
            (printing.print_line if is_sweep else printing.print_plan)(plan)
            return 0.0
        if isinstance(job, NetworkJob) and job.processes.node_rank > 0:
            follow(job)
            return None
        return objective_value(job, run(job))
    except FolderHeld as error:
        print_error(str(error))
        if not is_sweep:
            raise SystemExit(HELD) from None
        return None  # the other process does it; how it ended is looked up when the sweep ends
    except BaseException as error:
        if wants_trace() or not is_failure(error):
            raise
        message = described(error)
        print_error(message)
        exit_status = USER if is_users(error) else PROGRAM
    finally:
        remove_if_empty(run_dir)  # Hydra makes it before anything is known about the run
    if not is_sweep:
        raise SystemExit(exit_status)
    if is_free(run_dir):
        status.refuse(run_dir, message)
    return None
