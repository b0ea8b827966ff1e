"""The final evaluation of a network."""

import math
from pathlib import Path
from typing import cast

import lightning as L
import torch

from llm_lightning.data.module import DataModule
from llm_lightning.run_format import files
from llm_lightning.run_format.splits import EVALUATED, SPLITS
from llm_lightning.run_format.summary import Metrics
from llm_lightning.runs.errors import UserError
from llm_lightning.runs.fit import interruptible
from llm_lightning.runs.settings import Checkpoint
from llm_lightning.tasks.task import Task


def evaluate(
    task: Task, data: DataModule, trainer: L.Trainer, checkpoint: Checkpoint, folder: Path
) -> Metrics:
    """Evaluates the chosen weights on all of training, validation and test.

    Args:
        task: after training; changed where ``checkpoint`` is not the last one.
        data: after ``setup``.
        trainer: that trained the task.
        checkpoint: which weights.
        folder: the run's, which may have been moved since its training began.

    Returns:
        For each split its loss and metrics, shares in [0, 1]; ``None`` for what is not defined.

    Raises:
        UserError: if the chosen weights are not there.
    """
    if checkpoint is Checkpoint.best:
        path = folder / files.CHECKPOINTS / files.checkpoint_file(checkpoint.value)
        if not path.is_file():
            raise UserError(
                f"evaluate=best: {path} is missing, as where the disk was full at each validation; "
                f"free some space and start over with rerun=true, or evaluate the last weights"
            )
        task.load_trained(torch.load(path, map_location="cpu", weights_only=True))
    with interruptible(trainer):
        trainer.test(task, datamodule=data, verbose=False)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}

    def values(split: str) -> dict[str, float | None]:
        named = {name: logged.get(f"{split}/{name}") for name in task.metric_names}
        return {
            name: None if value is None or not math.isfinite(value) else value
            for name, value in named.items()
        }

    return cast(Metrics, dict(zip(SPLITS, map(values, EVALUATED), strict=True)))
