"""The base class of all tasks: what is computed for a batch, and how a model trains on it."""

import time
from abc import ABC
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from llm_lightning.backbone.inputs import ModelInputs
from llm_lightning.distributed.collectives import group_size, summed
from llm_lightning.distributed.sharding import average_whole, shard_blocks
from llm_lightning.finetuning.frozen_activations.cache import ActivationCache
from llm_lightning.finetuning.frozen_activations.forward import hidden_states
from llm_lightning.run_format.curves import EPOCH_LOSS, STEP_LOSS
from llm_lightning.run_format.splits import EVALUATED, SPLIT_OF
from llm_lightning.tasks.resumable import Resumable
from llm_lightning.tasks.split_metrics import SplitMetrics
from llm_lightning.training.divergence import check_finite
from llm_lightning.training.gradient_mean import GradientMean
from llm_lightning.training.log_steps import is_logged

_SECONDS_BETWEEN_LOSSES = 0.5  # for progress bars, if steps are slow


class Task(Resumable, ABC):
    """A model that trains; subclasses add the head, the loss and the metrics.

    For the arguments see :class:`~llm_lightning.tasks.finetuned_model.FineTunedModel`.
    """

    metric_names: ClassVar[tuple[str, ...]]
    """The metrics of the final evaluation."""
    training_metric_names: ClassVar[tuple[str, ...]]
    """Those that are logged for the training batches of each epoch too."""
    metrics: SplitMetrics

    def __init__(self, *, model: dict[str, Any], optim: dict[str, Any], seed: int) -> None:
        super().__init__(model=model, optim=optim, seed=seed)
        self.frozen_activations: ActivationCache | None = None
        """The output of the frozen blocks for the examples, once it is computed."""
        self._gradient_mean = GradientMean()
        self._loss_logged_at = 0.0

    def hidden(
        self, batch: Any, split: str | None = None
    ) -> tuple[Float[Tensor, "B out C"], ModelInputs]:
        """Takes cached activations of a split if there are any; see the base class."""
        cache = self.frozen_activations
        split = SPLIT_OF.get(split or "", split)
        if cache is not None and split is not None and split in cache:
            inputs = self.model_inputs(batch)
            return hidden_states(self.backbone, inputs, cache, split, batch.indices), inputs
        return super().hidden(batch, split)

    def on_fit_start(self) -> None:
        """Enables dropout everywhere, in frozen blocks too."""
        self.train()

    def count(self, split: str, batch: Any, *values: Any) -> None:
        """Adds what was computed for a batch to the metrics of one of ``LOGGED``."""
        if not batch.is_filler:
            self.metrics[split].update(*values)

    def step_loss(self, batch: Any, total: Float[Tensor, ""], weight: float) -> Float[Tensor, ""]:
        """Returns the loss to differentiate, for a batch's summed loss and its total weight."""
        if batch.is_filler:
            total, weight = total * 0.0, 0.0
        return self._gradient_mean.loss(total, weight, self.trainer.accumulate_grad_batches)

    def log_batch_loss(self, loss: Float[Tensor, ""], weight: float = 1.0) -> None:
        """Logs a training batch's mean loss, if a logger or a progress bar would show it.

        Args:
            loss: mean over this process's part of the batch.
            weight: of this part in the mean over all processes.
        """
        now = time.monotonic()
        is_written = is_logged(self.trainer, self.trainer.global_step + 1)
        if is_written and group_size() > 1:
            total, all_weights = summed(torch.stack([loss * weight, loss.new_tensor(weight)]))
            loss = total / all_weights
        if is_written or now - self._loss_logged_at > _SECONDS_BETWEEN_LOSSES:
            self.log(STEP_LOSS, loss, batch_size=1)  # of one step; nothing is averaged
            self._loss_logged_at = now

    def configure_model(self) -> None:
        """Leaves this process a part of each block, with a strategy that shards."""
        if self.device_mesh is not None:
            shard_blocks(self.backbone.blocks, self.device_mesh["data_parallel"])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Turns the accumulated gradients into a mean over the step."""
        if self.device_mesh is not None:
            average_whole(self.parameters())
        self._gradient_mean.finish_step(self.parameters(), self.trainer.accumulate_grad_batches)

    def on_train_epoch_end(self) -> None:
        """Logs loss and metrics of the epoch's training batches.

        Raises:
            Diverged: if weights are no longer finite.
        """
        check_finite(self.parameters(), epoch=self.current_epoch + 1, lr=self.optim.lr)
        values = self.metrics["train"].compute_and_reset()
        for name in self.training_metric_names:
            self.log(EPOCH_LOSS if name == "loss" else f"train/{name}", values[name])

    def on_validation_epoch_end(self) -> None:
        """Logs loss and metrics of the validation split."""
        self.log_dict(self.metrics.logs("val"))

    def on_test_epoch_end(self) -> None:
        """Logs the final loss and metrics of all three splits."""
        for split in EVALUATED:
            self.log_dict(self.metrics.logs(split))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns AdamW over the trainable parameters, with a schedule over optimizer steps."""
        # Lightning refuses to clip gradients in mixed precision before a fused step.
        is_fused = not self.trainer.gradient_clip_val
        optimizer = self.optim.optimizer(self.parameters(), fused=is_fused)
        total_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = self.optim.scheduler(optimizer, total_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
