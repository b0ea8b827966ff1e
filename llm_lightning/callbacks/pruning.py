"""Stops a trial of a search early whose validation metric is worse than that of most others."""

from collections.abc import Callable
from typing import Any

import lightning as L


class Pruning(L.Callback):
    """Reports a validation metric after every epoch, and ends training if the search says so.

    The run then ends as any other, with what it has learnt; its summary says that it was stopped.

    Args:
        metric: as it is logged, such as ``val/loss``.
        open_trial: returns the trial of this run, an ``optuna.Trial``.
    """

    def __init__(self, metric: str, open_trial: Callable[[], Any]) -> None:
        self._metric = metric
        self._open_trial = open_trial
        self._trial: Any = None
        self.stopped_after: int | None = None
        """Epochs, if training was ended."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reports and decides; nothing is saved by stopping after the last epoch."""
        epochs = trainer.current_epoch + 1
        is_bad = trainer.is_global_zero and self._is_bad(epochs, trainer)
        is_last = trainer.max_epochs is not None and epochs == trainer.max_epochs
        if trainer.strategy.reduce_boolean_decision(is_bad, all=False) and not is_last:
            self.stopped_after = epochs
            trainer.should_stop = True

    def _is_bad(self, epochs: int, trainer: L.Trainer) -> bool:
        if self._metric not in trainer.callback_metrics:
            return False
        if self._trial is None:
            self._trial = self._open_trial()
        self._trial.report(float(trainer.callback_metrics[self._metric]), step=epochs)
        return bool(self._trial.should_prune())
