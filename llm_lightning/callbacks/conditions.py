"""Callbacks that not every run can have say why, before anything is written."""

from typing import Any, Protocol, runtime_checkable

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping

from llm_lightning.tasks.task import Task


@runtime_checkable
class Conditional(Protocol):
    """A callback that some models or settings exclude."""

    def why_not(self, task: Task, trainer: L.Trainer) -> str | None:
        """Returns why it cannot be used, in words that name the setting; ``None`` if it can."""


def check_callbacks(task: Task, trainer: L.Trainer) -> None:
    """Refuses callbacks that do not go with the model or with the other settings.

    Args:
        task: with its strategy applied.
        trainer: with all of its callbacks.

    Raises:
        ValueError: naming the callback and what it does not go with.
    """
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        reason = None
        if isinstance(callback, Conditional):
            reason = callback.why_not(task, trainer)
        elif isinstance(callback, EarlyStopping) and trainer.limit_val_batches == 0:
            reason = (
                f"callbacks=early_stopping watches {callback.monitor}, which needs validation, got "
                f"trainer.limit_val_batches=0"
            )
        if reason:
            raise ValueError(reason)
