"""The weights with the lowest validation loss, of those that the disk took."""

import contextlib
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from llm_lightning.callbacks.saving import Saver

_OF_THE_BEST = (
    "best_k_models", "best_model_path", "best_model_score", "current_score",
    "kth_best_model_path", "kth_value", "last_model_path",
)  # fmt: skip
"""What Lightning sets before it saves."""


class _NotSaved(Exception):
    """The disk refused a checkpoint."""


class BestCheckpoint(ModelCheckpoint):
    """Lightning's checkpoints, except that weights that could not be saved do not count.

    Training goes on without them, and the next that are better than those on the disk are saved.
    See Lightning's class for the arguments.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._saver = Saver("the next weights that are better are saved")

    @property
    def state_key(self) -> str:
        """As of Lightning's class, which checkpoints of earlier versions name."""
        return super().state_key.replace(type(self).__qualname__, "ModelCheckpoint", 1)

    def _save_topk_checkpoint(self, trainer: L.Trainer, monitor_candidates: Any) -> None:
        with self._kept_if_not_saved():
            super()._save_topk_checkpoint(trainer, monitor_candidates)

    def _save_last_checkpoint(
        self, trainer: L.Trainer, monitor_candidates: dict[str, Tensor]
    ) -> None:
        with self._kept_if_not_saved():
            super()._save_last_checkpoint(trainer, monitor_candidates)

    @contextlib.contextmanager
    def _kept_if_not_saved(self) -> Iterator[None]:
        before = {name: copy(getattr(self, name)) for name in _OF_THE_BEST}
        try:
            yield
        except _NotSaved:
            vars(self).update(before)

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        if not self._saver.save(trainer, Path(filepath), weights_only=self.save_weights_only):
            raise _NotSaved
        self._last_global_step_saved = trainer.global_step
        self._last_checkpoint_saved = filepath
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.after_save_checkpoint(self)
