"""Why training ended before its last epoch was whole."""

import math

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping

from llm_lightning.callbacks.pruning import Pruning
from llm_lightning.callbacks.timing import StageTimer


def why_ended_early(trainer: L.Trainer) -> str | None:
    """Returns what ended training before ``trainer.max_epochs``; ``None`` if nothing did."""
    steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    epochs = trainer.max_epochs
    if epochs is None or epochs < 0 or trainer.global_step >= epochs * steps_per_epoch:
        return None
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        if isinstance(callback, EarlyStopping) and callback.stopped_epoch:
            return f"{callback.monitor} stopped improving (callbacks=early_stopping)"
        if isinstance(callback, Pruning) and callback.stopped_after is not None:
            return "the search ended this trial"
        if isinstance(callback, StageTimer) and callback.is_over:
            return "the time of trainer.max_time was over"
    return f"trainer.max_steps={trainer.max_steps}" if trainer.max_steps > 0 else None
