"""What the limits on batches leave of each split, counted before anything trains."""

import copy

import lightning as L

from llm_lightning.data.module import DataModule
from llm_lightning.run_format.splits import SPLITS


def check_limits(data: DataModule, trainer: L.Trainer) -> None:
    """Refuses limits that leave nothing to train on or to evaluate.

    Args:
        data: after ``setup``.
        trainer: with its limits.

    Raises:
        ValueError: naming the split, its batches and the setting.
    """
    data = copy.copy(data)  # a loader leaves the state of its shuffling there
    _check_limit("train", len(data.train_dataloader()), trainer.limit_train_batches)
    _check_limit("val", len(data.val_dataloader()), trainer.limit_val_batches)
    for split, loader in zip(SPLITS, data.test_dataloader(), strict=True):
        _check_limit("test", len(loader), trainer.limit_test_batches, of=split)


def _check_limit(limited: str, batches: int, limit: float | int, of: str | None = None) -> None:
    """Checks what a limit leaves of a loader, as Lightning counts it; 0 is a choice."""
    is_share = isinstance(limit, float)
    left = int(batches * limit) if is_share else min(batches, limit)
    if limit and not left:
        raise ValueError(
            f"trainer.limit_{limited}_batches={limit} leaves none of the {batches} batches of the "
            f"{of or limited} split: raise it, or give a number of batches"
        )
