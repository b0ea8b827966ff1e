"""What every task shares: a network that partly trains, and an exact mean over each step."""

from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from llm_lightning.backbone.checkpoint import load_weights
from llm_lightning.backbone.gpt2 import GPT2, GPTConfig
from llm_lightning.finetuning import strategies
from llm_lightning.training.optim import AdamW

EVALUATED = ("train_eval", "val_eval", "test")  # in the order of the data module's test loaders


class Diverged(ValueError):
    """Training left the range of numbers."""


class Task(L.LightningModule):
    """GPT-2 with a head; a subclass brings the head, the loss and the metrics.

    Args:
        model: fields of :class:`~llm_lightning.backbone.gpt2.GPTConfig`.
        optim: fields of :class:`~llm_lightning.training.optim.AdamW`.
        seed: draws the backbone's starting weights.
    """

    metric_names: ClassVar[tuple[str, ...]]
    """What the final evaluation logs for each of ``EVALUATED``."""
    data_kinds: ClassVar[tuple[str, ...]]
    """Kinds of data it learns from."""
    backbone: GPT2
    head: nn.Linear

    def __init__(self, *, model: dict[str, Any], optim: dict[str, Any], seed: int) -> None:
        super().__init__()
        self.optim = AdamW(**optim)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = GPT2(GPTConfig(**model))
        self._weight_in_step = 0.0  # of what was summed since the last optimizer step

    def set_trainable(self, finetune: dict[str, Any]) -> None:
        """Applies a strategy, given by its fields, to backbone and head."""
        strategies.from_dict(finetune).apply(self.backbone, self.head)

    def load_backbone(self, path: Path, expected_sha256: str | None) -> str:
        """Loads a checkpoint into the backbone; see :func:`load_weights`."""
        return load_weights(self.backbone, path, expected_sha256=expected_sha256)

    def on_fit_start(self) -> None:
        """Dropout, where configured, acts everywhere, in frozen blocks too."""
        self.train()

    def share_of_step(self, total: Tensor, weight: float) -> Tensor:
        """Takes a summed loss and the weight it sums over; returns what to differentiate.

        The gradients of an optimizer step are divided by the weight of the whole step, so that
        the size of batches and how many are accumulated make no difference.
        """
        self._weight_in_step += weight
        # Lightning divides by the number of accumulated batches; that is undone here, because
        # the right divisor is known only when the step is complete.
        return total * self.trainer.accumulate_grad_batches

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Turns the summed gradients into a mean over this step."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad /= self._weight_in_step
        self._weight_in_step = 0.0

    def on_train_epoch_end(self) -> None:
        """Stops a run that has left the range of numbers.

        Raises:
            Diverged: if weights that train are no longer finite.
        """
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        # A step that is not finite leaves nothing finite behind it, the last tensor included.
        if not trained[-1].isfinite().all():
            raise Diverged(
                f"training diverged in epoch {self.current_epoch + 1}: weights are no longer "
                f"finite; lower optim.lr (now {self.optim.lr:g}) or set trainer.gradient_clip_val"
            )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over what trains; the schedule moves with every optimizer step."""
        optimizer = self.optim.optimizer(self.parameters())
        total_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = self.optim.scheduler(optimizer, total_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
