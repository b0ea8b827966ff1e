"""What every task shares: a network that partly trains, and an exact mean over each step."""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from llm_lightning.backbone.gpt2 import GPT2, GPTConfig
from llm_lightning.backbone.unpadding import Packing
from llm_lightning.backbone.weights import ModelConfig, Weights, locate
from llm_lightning.finetuning import base, strategies
from llm_lightning.finetuning.frozen_activations.cache import PrefixCache, Reading
from llm_lightning.training.log_steps import is_logged
from llm_lightning.training.optim import AdamW

EVALUATED = ("train_eval", "val_eval", "test")  # in the order of the data module's test loaders
SPLIT_OF = {"train_eval": "train", "val_eval": "val"}
_SECONDS_BETWEEN_LOSSES = 0.5  # for those who watch slow steps


class Diverged(ValueError):
    """Training left the range of numbers."""


class Task(L.LightningModule, ABC):
    """GPT-2 with a head; a subclass brings the head, the loss and the metrics.

    Args:
        model: fields of :class:`~llm_lightning.backbone.gpt2.GPTConfig`.
        optim: fields of :class:`~llm_lightning.training.optim.AdamW`.
        seed: draws the starting weights of backbone and adapters.
    """

    metric_names: ClassVar[tuple[str, ...]]
    """What the final evaluation logs for each of ``EVALUATED``."""
    data_kinds: ClassVar[tuple[str, ...]]
    """Kinds of data it learns from."""
    pretrained_parts: ClassVar[tuple[str, ...]] = ("backbone.",)
    """Beginnings of the names of parameters that a base checkpoint fills."""
    backbone: GPT2
    head: nn.Linear

    def __init__(self, *, model: dict[str, Any], optim: dict[str, Any], seed: int) -> None:
        super().__init__()
        self.optim = AdamW(**optim)
        self.base: dict[str, Any] | None = None  # what stays as it was loaded, and from where
        self.head_is_loaded = False
        """Whether the base checkpoint held a head that fits, and so took the place of a new one."""
        self.prefix: PrefixCache | None = None
        """What the frozen blocks say about the examples, once that is computed."""
        self._seed = seed
        self._rng_state: Tensor | None = None  # of a checkpoint, until training goes on
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = GPT2(GPTConfig(**model))
        self._loss_logged_at = 0.0
        self._weight_in_step = 0.0  # of what was summed since the last optimizer step

    def set_trainable(self, finetune: dict[str, Any]) -> None:
        """Applies a strategy, given by its fields, to backbone and head."""
        self.strategy = strategies.from_dict(finetune)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self.strategy.apply(self)

    def load_base(self, model: ModelConfig, weights: Weights) -> str | None:
        """Puts the weights in place that training starts from; to be called once.

        Args:
            model: what was looked for; a checkpoint of what trains says so, to find it again.
            weights: what was found; without a path, the weights stay as they were drawn.

        Returns:
            SHA-256 of the file, if there is one.

        Raises:
            ValueError: if the file does not fit.
        """
        sha256 = None
        if weights.path is not None:
            sha256 = self.load_backbone(weights.path, weights.sha256)
        frozen = base.frozen_parameters(self, self.pretrained_parts)
        if frozen:
            self.base = {
                "model": model.source(),
                "source": weights.source,
                "fingerprint": base.fingerprint(frozen),
            }
        self.strategy.base_loaded(self)
        return sha256

    @abstractmethod
    def load_backbone(self, path: Path, expected_sha256: str | None) -> str:
        """Loads a checkpoint into the backbone, and its head where that is this task's.

        Returns:
            SHA-256 of the file.

        Raises:
            ValueError: see :func:`~llm_lightning.backbone.checkpoint.load_weights`.
        """

    @abstractmethod
    def reading(self, batch: Any) -> Reading:
        """Says what is read of a batch, on its device."""

    def why_not_cached(self) -> str | None:
        """Returns why frozen blocks do not give the same for an example in every batch, if so."""
        return None

    def hidden(self, batch: Any, split: str | None = None) -> tuple[Tensor, Reading]:
        """Computes the states that the head reads.

        Args:
            batch: as the data module makes them.
            split: where it comes from, if its examples are not new; frozen blocks are then not
                run for it if that was done before.

        Returns:
            (B, Q, C) states after the final LayerNorm, (B, T, C) where all are read; and what of
            the batch they stand for.
        """
        r = self.reading(batch)
        split = SPLIT_OF.get(split or "", split)
        if self.prefix is None or split is None or split not in self.prefix:
            return self.backbone(r.input_ids, r.padding_mask, reads=r.positions, widths=r.widths), r
        if self.prefix.is_read:
            return self.backbone.ln_f(self.prefix.states(split, batch.indices)), r
        packing = Packing.of(r.widths, r.input_ids.shape[1])
        x = self.prefix.states(split, batch.indices, packing)
        return self.backbone.suffix(x, r.padding_mask, self.prefix.depth, r.positions, packing), r

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out what a checkpoint need not hold: the base can be had where it came from."""
        frozen = base.frozen_parameters(self, self.pretrained_parts) if self.base else {}
        checkpoint["state_dict"] = {
            name: value for name, value in checkpoint["state_dict"].items() if name not in frozen
        }
        checkpoint["base"] = self.base
        checkpoint["rng_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the base from its source if it is not there yet, and completes the checkpoint.

        Raises:
            ValueError: if the base is another than the checkpoint was trained on.
            Unavailable: if it cannot be had any more.
        """
        self._rng_state = checkpoint["rng_state"]
        if checkpoint["base"] is None:
            return
        if self.base is None:
            model = ModelConfig(**checkpoint["base"]["model"])
            self.load_base(model, locate(model))
        base.check(self.base, checkpoint["base"])
        state = self.state_dict()
        for name in base.frozen_parameters(self, self.pretrained_parts):
            checkpoint["state_dict"][name] = state[name]

    def load_trained(self, checkpoint: dict[str, Any]) -> None:
        """Loads what a checkpoint holds, all of it, over the base that it was trained on.

        Args:
            checkpoint: as Lightning saves it; the state in it is completed.

        Raises:
            ValueError: see :meth:`on_load_checkpoint`.
        """
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint["state_dict"], strict=True)

    def on_train_start(self) -> None:
        """A resumed run draws the dropout that it would have drawn."""
        if self._rng_state is not None:
            torch.set_rng_state(self._rng_state)
            self._rng_state = None

    def on_fit_start(self) -> None:
        """Dropout, where configured, acts everywhere, in frozen blocks too."""
        self.train()

    def share_of_step(self, total: Tensor, weight: float) -> Tensor:
        """Takes a summed loss and the weight it sums over; returns what to differentiate.

        The gradients of an optimizer step are divided by the weight of the whole step, so that
        the size of batches and how many are accumulated make no difference.
        """
        accumulated = self.trainer.accumulate_grad_batches
        if accumulated == 1:
            return total / weight
        self._weight_in_step += weight
        # Lightning divides by the number of accumulated batches; that is undone here, because
        # the right divisor is known only when the step is complete.
        return total * accumulated

    def log_batch_loss(self, loss: Tensor) -> None:
        """Logs a training batch's mean loss where a logger or a progress bar would show it."""
        now = time.monotonic()
        if (
            is_logged(self.trainer, self.trainer.global_step + 1)
            or now - self._loss_logged_at > _SECONDS_BETWEEN_LOSSES
        ):
            self.log("train/loss", loss, batch_size=1)  # of one step; nothing is averaged
            self._loss_logged_at = now

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Turns gradients that were summed over several batches into a mean over this step."""
        if self.trainer.accumulate_grad_batches == 1:
            return
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
        # Lightning refuses to clip gradients in mixed precision before a fused step.
        is_fused = not self.trainer.gradient_clip_val
        optimizer = self.optim.optimizer(self.parameters(), fused=is_fused)
        total_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = self.optim.scheduler(optimizer, total_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
