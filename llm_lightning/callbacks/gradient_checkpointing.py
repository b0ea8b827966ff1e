"""Gradient checkpointing: memory for activations is traded for time."""

from collections.abc import Callable
from typing import Any, cast

import lightning as L
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from llm_lightning.finetuning.frozen_activations.cache import frozen_depth
from llm_lightning.tasks.task import Task


class GradientCheckpointing(L.Callback):
    """Keeps only the input of each trained block, and computes it again for the gradients.

    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". The results are the same:
    the random state of dropout is restored for the second computation. Frozen blocks below the
    first that trains keep nothing anyway.
    """

    def __init__(self) -> None:
        self._blocks: list[nn.Module] = []

    def why_not(self, task: Task, trainer: L.Trainer) -> str | None:
        """See :class:`~llm_lightning.callbacks.conditions.Conditional`."""
        if any(getattr(block, "_compiled_call_impl", None) for block in task.backbone.blocks):
            return "callbacks=gradient_checkpointing does not go with compile=true: leave one out"
        return None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Wraps the blocks."""
        backbone = cast(Task, pl_module).backbone
        self._blocks = list(backbone.blocks)[frozen_depth(backbone) :]
        for block in self._blocks:
            block.forward = _recomputed(block.forward)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Unwraps them."""
        self._restore()

    def on_exception(self, *args: Any) -> None:
        """Unwraps them, for whoever goes on with the model."""
        self._restore()

    def _restore(self) -> None:
        for block in self._blocks:
            vars(block).pop("forward", None)  # the class's own stays
        self._blocks = []


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return run
