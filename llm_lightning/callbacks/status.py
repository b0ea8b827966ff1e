"""Keeps ``status.json`` up to date while a run trains."""

import time
from pathlib import Path

import lightning as L

from llm_lightning.run_format import status

_SECONDS_BETWEEN_WRITES = 2.0


class EpochStatus(L.Callback):
    """Writes how many epochs are complete, but not many times a second.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._epoch: int | None = None  # not written yet
        self._written_at = -_SECONDS_BETWEEN_WRITES

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes after each epoch."""
        if not trainer.is_global_zero:
            return
        self._epoch = trainer.current_epoch + 1
        if time.monotonic() - self._written_at >= _SECONDS_BETWEEN_WRITES:
            self._write()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Writes how far an interrupted run came."""
        self._write()

    def _write(self) -> None:
        if self._epoch is not None:
            status.write(self._folder, "running", epoch=self._epoch)
            self._epoch, self._written_at = None, time.monotonic()
