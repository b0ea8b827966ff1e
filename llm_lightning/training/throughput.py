"""How fast a run trains."""

import time
from typing import Any

import lightning as L


class Throughput(L.Callback):
    """Logs ``time/tokens_per_second``: real tokens trained on, padding and validation left out."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._tokens = 0
        self._batch_start = 0.0

    def on_train_batch_start(self, *args: Any) -> None:
        """Starts the clock."""
        self._batch_start = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Counts the batch; logs the mean of the epoch so far."""
        self._seconds += time.perf_counter() - self._batch_start
        self._tokens += int(batch.lengths.sum())
        pl_module.log("time/tokens_per_second", self._tokens / self._seconds)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts anew, so that an epoch slowed by something else stands out."""
        self._seconds, self._tokens = 0.0, 0
