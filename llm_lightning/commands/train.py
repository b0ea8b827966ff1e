"""``python -m llm_lightning +experiment=...``: hands a run, or a sweep of runs, to Hydra."""

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from llm_lightning.commands.command_line import dry_run_is_set
from llm_lightning.commands.job_output import redirected
from llm_lightning.commands.startup import HELD
from llm_lightning.config import schema
from llm_lightning.config.experiments import conf_dir
from llm_lightning.config.jobs import job_of
from llm_lightning.dry_run import printing
from llm_lightning.dry_run.planning import plan_run
from llm_lightning.presentation.terminal import print_error
from llm_lightning.run_format import files, status
from llm_lightning.runs.errors import FolderHeld, UserError, expect
from llm_lightning.runs.prior_state import is_free
from llm_lightning.runs.run import objective_value, remove_if_empty, run
from llm_lightning.training import stop_signals


def main(arguments: Sequence[str]) -> int:
    """Runs the jobs that a command line describes; returns the exit status."""
    schema.register()
    decorate = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    with tempfile.TemporaryDirectory() as scratch:
        sys.argv = [sys.argv[0], *arguments]  # Hydra reads the command line itself
        if dry_run_is_set(arguments):
            # Hydra makes the folders of runs, and searches write theirs, whatever the runs do.
            sys.argv += [f"hydra.run.dir='{scratch}/run'", f"hydra.sweep.dir='{scratch}'"]
            sys.argv += ["hydra/hydra_logging=none"]
        decorate(train)()
    return 0


def train(cfg: DictConfig) -> float | None:
    """Does one job, unless it is done already; in a dry run, prints what it would take.

    An error that the user can put right is a framed message and exit status 1, a folder that
    another process holds exit status 75; HYDRA_FULL_ERROR=1
    shows where it was raised. In a sweep a job that fails leaves ``status.json``, and the sweep
    goes on.

    Returns:
        The validation metric that ``objective`` names; ``None`` where it is undefined or the job
        failed, and 0 in a dry run.
    """
    run_dir = Path(cfg.run_dir)
    with stop_signals.handled(), redirected(run_dir / files.OUTPUT):
        return _attempt(cfg, run_dir, HydraConfig.get().mode is RunMode.MULTIRUN)


def _attempt(cfg: DictConfig, run_dir: Path, is_sweep: bool) -> float | None:
    try:
        with expect(ValueError):
            job = job_of(cfg)
        if cfg.dry_run:
            plan = plan_run(job)
            plan.write(run_dir)
            (printing.print_line if is_sweep else printing.print_plan)(plan)
            return 0.0
        return objective_value(job, run(job))
    except FolderHeld as error:
        print_error(str(error))
        if not is_sweep:
            raise SystemExit(HELD) from None
        return None  # the other process does it; how it ended is looked up when the sweep ends
    except UserError as error:
        if _wants_trace():
            raise
        print_error(str(error))
        message = str(error)
    except Exception as error:
        if not is_sweep:
            raise
        print_error(traceback.format_exc())
        message = f"{type(error).__name__}: {error}"
    finally:
        remove_if_empty(run_dir)  # Hydra makes it before anything is known about the run
    if not is_sweep:
        raise SystemExit(1)
    if is_free(run_dir):
        status.refuse(run_dir, message)
    return None


def _wants_trace() -> bool:
    return os.environ.get("HYDRA_FULL_ERROR") == "1"
