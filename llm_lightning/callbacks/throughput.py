"""Training speed, and how close it is to the peak of the device."""

from contextlib import ExitStack
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from llm_lightning.distributed.collectives import group_size
from llm_lightning.training.clock import now
from llm_lightning.training.device_peak import peak_flops
from llm_lightning.training.log_steps import is_logged


class Throughput(L.Callback):
    """Logs the speed of training, without validation, as a mean over the epoch so far.

    ``time/tokens_per_second`` counts real tokens, not padding. ``time/tflops_per_second`` counts
    the floating-point operations of matrix products and attention, forward and backward, as
    measured for one batch; ``time/mfu`` is their share of the device's peak in the run's precision
    (model FLOPs utilization: Chowdhery et al. 2022, "PaLM", appendix B, except that recomputed
    products count here), if the peak is known, as on GPUs.

    With several processes these are the main one's numbers times the number of processes, and
    ``time/mfu`` is the share of all their devices.

    The device is synchronised only when values are logged and around validation, so that the
    measurement does not slow down training.
    """

    def __init__(self) -> None:
        self._seconds = 0.0  # of finished stretches of training in this epoch
        self._started: float | None = None  # when the present stretch started
        self._tokens: Tensor | int = 0
        self._counting = ExitStack()
        self._counter: FlopCounterMode | None = None
        self._flops_per_token: float | None = None
        self._peak: float | None = None  # FLOP/s

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks up the peak of the device."""
        device = trainer.strategy.root_device
        if device.type == "cuda":
            is_half = str(trainer.precision).startswith(("bf16", "16"))
            dtype = torch.bfloat16 if is_half else torch.float32
            self._peak = peak_flops(device, dtype)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock; a run that is resumed within an epoch measures the rest of it."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock; each epoch is measured separately, which shows disturbances."""
        self._seconds, self._tokens = 0.0, 0
        self._started = now(trainer.strategy.root_device)

    def on_train_batch_start(self, *args: Any) -> None:
        """Counts the operations of the first batch."""
        if self._flops_per_token is None:
            # Code that is compiled during counting would not be compiled again.
            self._counting.enter_context(torch.compiler.set_stance("force_eager"))
            self._counter = self._counting.enter_context(FlopCounterMode(display=False))

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Counts the batch; logs the means."""
        tokens = batch.lengths.sum()  # not read here: that would wait for a GPU
        if batch.is_filler:
            tokens = tokens * 0
        self._tokens = self._tokens + tokens
        if self._counter is not None:
            self._counting.close()
            self._flops_per_token = self._counter.get_total_flops() / int(batch.lengths.sum())
            self._counter = None
        if not is_logged(trainer, trainer.global_step):
            return
        self._stop(trainer)
        self._started = now(trainer.strategy.root_device)
        # The shares of a batch that processes take hardly differ in length.
        per_second = int(self._tokens) * group_size() / self._seconds
        flops = per_second * (self._flops_per_token or 0.0)
        pl_module.log("time/tokens_per_second", per_second)
        pl_module.log("time/tflops_per_second", flops / 1e12)
        if self._peak is not None:
            pl_module.log("time/mfu", flops / (self._peak * group_size()))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stops the clock."""
        self._stop(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock again."""
        self._started = now(trainer.strategy.root_device)

    def on_exception(self, *args: Any) -> None:
        """Stops counting operations."""
        self._counting.close()
        self._counter = None

    def _stop(self, trainer: L.Trainer) -> None:
        """Adds the present stretch of training, if there is one."""
        if self._started is not None:
            self._seconds += now(trainer.strategy.root_device) - self._started
            self._started = None
