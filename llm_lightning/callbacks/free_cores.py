"""Follows the other work on the machine while a run trains."""

import time
from typing import Any

import lightning as L
import torch

from llm_lightning import cores

_SECONDS_BETWEEN = 2.0


class FreeCores(L.Callback):
    """Computes with as many threads as there were free cores in the last seconds."""

    def __init__(self) -> None:
        self._looked_at = time.monotonic()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Chooses the number of threads every two seconds, which takes less than a millisecond."""
        now = time.monotonic()
        if now - self._looked_at < _SECONDS_BETWEEN:
            return
        self._looked_at = now
        if trainer.strategy.root_device.type != "cpu" or cores.is_chosen_by_user():
            return
        used = cores.other_work.cores()
        if used is not None:
            torch.set_num_threads(cores.threads_for(cores.usable(), used))
