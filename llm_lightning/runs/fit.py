"""Training, from the beginning or from where an interrupted run stopped."""

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch

from llm_lightning.callbacks.lr_finder import NoLearningRate
from llm_lightning.callbacks.resume import KEY, Resume, resume_curves
from llm_lightning.data.module import DataModule
from llm_lightning.finetuning.frozen_activations.activation_files import CacheFull
from llm_lightning.run_format import files
from llm_lightning.runs.errors import UserError, expect
from llm_lightning.runs.terminal_output import print_resumed, print_set_aside
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
        before = read_resume(resume_from, data)
        if trainer.is_global_zero:
            resume_curves(trainer, before)
            is_within = before[KEY]["position"] is not None
            print_resumed(before["epoch"], before["global_step"] if is_within else None)
        seconds = before["callbacks"]["StageTimer"]["time_elapsed"]["train"]
        del before
        expected = ValueError  # the base may have changed
    with expect(expected, CacheFull, NoLearningRate), interruptible(trainer):
        trainer.fit(task, datamodule=data, ckpt_path=resume_from)
    task.on_train_start()  # the random state, where nothing was left to train
    return seconds


def read_resume(file: Path, data: DataModule) -> dict[str, Any]:
    """Reads a checkpoint to resume from, and checks that it is of the same data.

    Args:
        file: in a run's folder.
        data: after ``setup``.

    Raises:
        UserError: if the data have changed.
        ValueError: if the checkpoint is damaged or an earlier version's.
    """
    try:
        before: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        used = before[type(data).__qualname__]["sha256"]
        is_whole = {KEY, "loops", "optimizer_states", "callbacks"} <= before.keys()
    except Exception as error:  # of a damaged file, anything
        raise ValueError(f"it cannot be read: {type(error).__name__}") from error
    if not is_whole:
        raise ValueError("it lacks what this version needs")
    present = {name: split["sha256"] for name, split in data.facts()["splits"].items()}
    if changed := [name for name, digest in present.items() if used.get(name) != digest]:
        raise UserError(
            f"the {', '.join(changed)} data have changed since this run was interrupted: start it "
            f"over with rerun=true"
        )
    return before


def is_resumable(folder: Path, data: DataModule) -> bool:
    """Whether an interrupted run can go on; a checkpoint that does not allow it is set aside.

    Raises:
        UserError: if the data have changed.
    """
    file = folder / files.CHECKPOINTS / files.RESUME
    try:
        read_resume(file, data)
    except UserError:
        raise
    except ValueError as error:
        print_set_aside(file, str(error))
        file.replace(file.with_name(file.name + files.DAMAGED))
        return False
    return True


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
        raise KeyboardInterrupt(f"{where}; {_how_to_go_on(trainer)}") from None


def _how_to_go_on(trainer: L.Trainer) -> str:
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    stopped_at = next((c.stopped_at for c in callbacks if isinstance(c, Resume)), None)
    if stopped_at is None:
        return "the same command continues from the last checkpoint"
    return f"saved; the same command continues after optimizer step {stopped_at}"


def quiet_lightning() -> None:
    """Silences warnings about things that are intended."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Loader processes cost more than they save for a few thousand short texts.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # The run's folder was emptied on purpose before the loggers start.
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    # The run's own loader and checkpoints do what Lightning asks of a loader.
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
    # With few examples an epoch has fewer steps than are between two points of a curve.
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    # Whoever starts a run by hand on a machine that has SLURM means to.
    warnings.filterwarnings("ignore", message=".*srun. command is available.*")
    # All processes compute the same values and log them.
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
    # Where SLURM is installed, a run need not be one of its jobs.
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
    # Lightning's own use of a torch name that is going away.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
