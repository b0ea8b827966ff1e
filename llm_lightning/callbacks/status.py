"""Keeps ``status.json`` up to date while a run trains."""

from pathlib import Path

import lightning as L

from llm_lightning.run_format import status


class EpochStatus(L.Callback):
    """Writes how many epochs are complete.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes after each epoch."""
        if trainer.is_global_zero:
            status.write(self._folder, "running", epoch=trainer.current_epoch + 1)
