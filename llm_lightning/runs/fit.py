"""Training, from the beginning or from where an interrupted run stopped."""

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import torch

from llm_lightning.data.module import DataModule
from llm_lightning.finetuning.frozen_activations.activation_files import CacheFull
from llm_lightning.runs.curves import set_curves_aside
from llm_lightning.runs.errors import expect
from llm_lightning.runs.terminal_output import print_resumed
from llm_lightning.tasks.task import Task
from llm_lightning.training.divergence import Diverged


def fit(
    task: Task, data: DataModule, trainer: L.Trainer, folder: Path, resume_from: Path | None
) -> float:
    """Trains.

    Args:
        task: with its weights loaded.
        data: after ``setup``.
        trainer: as configured.
        folder: the run's.
        resume_from: the checkpoint of the interrupted run, if there is one.

    Returns:
        Seconds that the interrupted run had trained.

    Raises:
        UserError: if training diverges, the base or the data changed since the interruption, or
            there is no space for frozen activations.
        KeyboardInterrupt: if it is interrupted.
    """
    seconds = 0.0
    expected: type[ValueError] = Diverged
    if resume_from is not None:
        before = torch.load(resume_from, map_location="cpu", weights_only=True)
        if trainer.is_global_zero:
            set_curves_aside(folder, before["global_step"])
            print_resumed(before["epoch"] + 1)
        seconds = before["callbacks"]["StageTimer"]["time_elapsed"]["train"]
        expected = ValueError  # the base may have changed
    with expect(expected, CacheFull), interruptible(trainer):
        trainer.fit(task, datamodule=data, ckpt_path=resume_from)
    return seconds


@contextlib.contextmanager
def interruptible(trainer: L.Trainer) -> Iterator[None]:
    """Makes Ctrl-C a KeyboardInterrupt again, which Lightning turns into ``sys.exit(1)``.

    Raises:
        KeyboardInterrupt: with a message on how to continue.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        # Others, as the end of a job that SLURM preempted, pass.
        if not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)  # Lightning ignores it from then on
        where = f"in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        raise KeyboardInterrupt(
            f"{where}; the same command continues after the last complete epoch"
        ) from None


def quiet_lightning() -> None:
    """Silences warnings about things that are intended."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Loader processes cost more than they save for a few thousand short texts.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # The run's folder was emptied on purpose before the loggers start.
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    # With few examples an epoch has fewer steps than are between two points of a curve.
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    # All processes compute the same values and log them.
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
    # Lightning's own use of a torch name that is going away.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
