"""How fast a run trains, and how near that is to what the device can do."""

import time
from contextlib import ExitStack
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.throughput import get_available_flops
from torch.utils.flop_counter import FlopCounterMode

from llm_lightning.training.log_steps import is_logged


class Throughput(L.Callback):
    """Logs speed, validation left out.

    ``time/tokens_per_second`` counts real tokens, not padding. ``time/tflops_per_second`` counts
    the arithmetic of matrix products and attention, forward and backward, that one batch was
    measured to need; ``time/mfu`` is its share of the device's peak in the run's precision
    (Chowdhery et al. 2022, "PaLM", appendix B, which takes recomputed products out, as is not
    done here), where that is known: on GPUs.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._tokens = 0
        self._batch_start = 0.0
        self._counting = ExitStack()
        self._counter: FlopCounterMode | None = None
        self._flops_per_token: float | None = None
        self._peak: int | None = None  # operations a second

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks up the device."""
        device = trainer.strategy.root_device
        if device.type == "cuda":
            is_half = str(trainer.precision).startswith(("bf16", "16"))
            dtype = torch.bfloat16 if is_half else torch.float32
            self._peak = get_available_flops(device, dtype)

    def on_train_batch_start(self, *args: Any) -> None:
        """Starts the clock; counts the operations of the first batch."""
        if self._flops_per_token is None:
            # What is compiled while operations are counted would never be compiled again.
            self._counting.enter_context(torch.compiler.set_stance("force_eager"))
            self._counter = self._counting.enter_context(FlopCounterMode(display=False))
        self._batch_start = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Counts the batch; logs the means of the epoch so far."""
        self._seconds += time.perf_counter() - self._batch_start
        tokens = int(batch.lengths.sum())
        self._tokens += tokens
        if self._counter is not None:
            self._counting.close()
            self._flops_per_token = self._counter.get_total_flops() / tokens
            self._counter = None
        if not is_logged(trainer, trainer.global_step):
            return
        per_second = self._tokens / self._seconds
        flops = per_second * (self._flops_per_token or 0.0)
        pl_module.log("time/tokens_per_second", per_second)
        pl_module.log("time/tflops_per_second", flops / 1e12)
        if self._peak is not None:
            pl_module.log("time/mfu", flops / self._peak)

    def on_exception(self, *args: Any) -> None:
        """Stops counting."""
        self._counting.close()
        self._counter = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts anew, so that an epoch slowed by something else stands out."""
        self._seconds, self._tokens = 0.0, 0
