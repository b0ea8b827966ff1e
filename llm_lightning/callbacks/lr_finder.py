"""Lightning's learning-rate finder, whose result the schedule takes over too."""

import csv
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import LearningRateFinder as LightningFinder
from rich.markup import escape

from llm_lightning.presentation.terminal import console
from llm_lightning.tasks.task import Task

CURVE = "lr_finder.csv"
"""Every learning rate that was tried, with the smoothed loss there."""


class NoLearningRate(ValueError):
    """The finder saw nothing from which a learning rate follows."""


class LearningRateFinder(LightningFinder):
    """Raises the learning rate step by step, and trains with the one where the loss fell fastest.

    Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3. The weights
    are then those from before the test. A resumed run keeps the rate that was found.

    Args:
        folder: the run's, for the curve.
        min_lr: the first learning rate.
        max_lr: the last.
        num_training_steps: how many are tried.

    Raises:
        ValueError: if the range is empty, or there are too few steps.
    """

    def __init__(
        self, folder: str, min_lr: float = 1e-6, max_lr: float = 0.1, num_training_steps: int = 50
    ) -> None:
        if not 0 < min_lr < max_lr:
            raise ValueError(
                f"callbacks.lr_finder.min_lr must be above 0 and below max_lr, got {min_lr} and "
                f"{max_lr}"
            )
        if num_training_steps < 20:
            raise ValueError(
                f"callbacks.lr_finder.num_training_steps must be at least 20, got "
                f"{num_training_steps}"
            )
        super().__init__(min_lr, max_lr, num_training_steps, update_attr=False)
        self._folder = Path(folder)

    def why_not(self, task: Task, trainer: L.Trainer) -> str | None:
        """See :class:`~llm_lightning.callbacks.conditions.Conditional`."""
        if trainer.max_epochs == 0:
            return "callbacks=lr_finder needs training, got trainer.max_epochs=0"
        return None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks for the rate, unless the run goes on with one that was found.

        Raises:
            NoLearningRate: if the losses suggest none.
        """
        if trainer.ckpt_path is not None:
            return
        task = cast(Task, pl_module)
        bars = [c for c in trainer.callbacks if isinstance(c, L.pytorch.callbacks.ProgressBar)]  # type: ignore[attr-defined]
        for bar in bars:
            trainer.callbacks.remove(bar)  # type: ignore[attr-defined]
        metrics = deepcopy(task.metrics)
        self.lr_find(trainer, pl_module)
        trainer.callbacks[:0] = bars  # type: ignore[attr-defined]
        task.metrics = metrics  # those of the test counted its steps
        found: Any = self.optimal_lr
        _write(self._folder / CURVE, found.results)
        lr = found.suggestion()
        if lr is None:
            raise NoLearningRate(
                f"callbacks=lr_finder found no learning rate in {len(found.results['lr'])} steps "
                f"({self._folder / CURVE}): widen its range, or set optim.lr"
            )
        _set(trainer, task, lr)
        console.print(escape(f"learning rate {lr:.3g}, found in {len(found.results['lr'])} steps"))


def _set(trainer: L.Trainer, task: Task, lr: float) -> None:
    """Trains with another peak learning rate than the configured one."""
    task.optim.lr = lr
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] = lr
    for config in trainer.lr_scheduler_configs:
        scheduler: Any = config.scheduler
        scheduler.base_lrs = [lr] * len(scheduler.base_lrs)
        for group, factor in zip(
            scheduler.optimizer.param_groups, scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = lr * factor(scheduler.last_epoch)


def _write(file: Path, results: dict[str, list[float]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["lr", "loss"])
        writer.writerows(zip(results["lr"], results["loss"], strict=False))
