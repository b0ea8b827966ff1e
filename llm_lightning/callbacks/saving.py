"""Checkpoints within training: one that the disk refuses is told, and training goes on."""

import os
import shutil
from pathlib import Path

import lightning as L
from rich.markup import escape

from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import errors
from llm_lightning.training.checkpoint_files import CheckpointFiles, save


class Saver:
    """Saves one file again and again; of failures in a row it tells the first.

    Args:
        retry: when it is tried again, for people.
    """

    def __init__(self, retry: str) -> None:
        self._retry = retry
        self._num_failed = 0  # since it was last saved

    def save(self, trainer: L.Trainer, file: Path, *, weights_only: bool = False) -> bool:
        """Saves a checkpoint; returns, in every process, whether that went well.

        Args:
            trainer: that is training.
            file: of which the previous version stays if the disk refuses this one.
            weights_only: whether the optimizer's state and the like are left out.
        """
        failure = save(trainer, file, weights_only=weights_only)
        is_new = not self._num_failed
        if failure is None:
            if not is_new and trainer.is_global_zero:
                failed = counted(self._num_failed, "attempt")
                _say(f"{file} is saved again, after {failed} that failed")
            self._num_failed = 0
            return True
        self._num_failed += 1
        if is_new and trainer.is_global_zero:
            kept = "the one before is kept" if file.is_file() else "there is none before"
            _say(
                f"{file} was not saved after optimizer step {trainer.global_step:,}: "
                f"{reason(failure, file)}; {kept}, training goes on, and {self._retry}"
            )
        return False


def reason(failure: OSError, file: Path) -> str:
    """Says why a file could not be written, and how much space is left where it belongs."""
    why = failure.strerror or (os.strerror(failure.errno) if failure.errno else str(failure))
    try:
        free = shutil.disk_usage(file.parent).free
    except OSError:  # the folder is gone
        return why
    return f"{why} ({free / 2**20:,.1f} MiB free)"


def saving_facts(trainer: L.Trainer) -> tuple[float, dict[str, int]]:
    """Returns the seconds that saving took, and how often files could not be saved, by name."""
    files = trainer.strategy.checkpoint_io
    if not isinstance(files, CheckpointFiles):
        return 0.0, {}
    return files.seconds, dict(files.failures)


def restore_saving_facts(trainer: L.Trainer, seconds: float, failures: dict[str, int]) -> None:
    """Goes on counting where an interrupted run stopped."""
    files = trainer.strategy.checkpoint_io
    if isinstance(files, CheckpointFiles):
        files.seconds += seconds
        files.failures.update(failures)


def _say(line: str) -> None:
    errors.print(f"[yellow]warning[/yellow] {escape(line)}", soft_wrap=True)
