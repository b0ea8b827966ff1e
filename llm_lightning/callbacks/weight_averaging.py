"""Lightning's averages of weights, for checkpoints without the frozen base."""

import warnings
from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging

from llm_lightning.finetuning.base import frozen_parameters
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.tasks.task import Task
from llm_lightning.training.fully_sharded import FullySharded

_CURRENT = "current_model_state"


class ExponentialAverage(EMAWeightAveraging):
    """Keeps an exponential moving average of the weights, which is validated and evaluated.

    Args:
        decay: share of the average that stays at each update, in (0, 1).
        update_every_n_steps: optimizer steps between updates, at least 1.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, decay: float = 0.99, update_every_n_steps: int = 1) -> None:
        if not 0 < decay < 1:
            raise ValueError(
                f"callbacks.weight_averaging.decay must lie between 0 and 1, got {decay}"
            )
        if update_every_n_steps < 1:
            raise ValueError(
                f"callbacks.weight_averaging.update_every_n_steps must be at least 1, got "
                f"{update_every_n_steps}"
            )
        # Buffers do not train.
        super().__init__(decay=decay, update_every_n_steps=update_every_n_steps, use_buffers=False)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Starts the average."""
        with warnings.catch_warnings():
            # A model is sharded with fsdp2 alone, which is refused.
            warnings.filterwarnings("ignore", message=".*overrides the configure_model.*")
            super().setup(trainer, pl_module, stage)

    def why_not(self, task: Task, trainer: L.Trainer) -> str | None:
        """See :class:`~llm_lightning.callbacks.conditions.Conditional`."""
        return _why_not_averaged(task, trainer, "ema")

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Saves the average as the model, and beside it the weights in training."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if _CURRENT in checkpoint:
            frozen = _frozen(pl_module)
            checkpoint[_CURRENT] = {
                name: value for name, value in checkpoint[_CURRENT].items() if name not in frozen
            }

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restores both; the frozen base comes from the model, as elsewhere."""
        if _CURRENT in checkpoint:
            own, frozen = pl_module.state_dict(), _frozen(pl_module)
            checkpoint[_CURRENT] |= {name: own[name] for name in frozen}
        super().on_load_checkpoint(trainer, pl_module, checkpoint)


class StochasticAverage(StochasticWeightAveraging):
    """Lightning's stochastic weight averaging; see its arguments."""

    def why_not(self, task: Task, trainer: L.Trainer) -> str | None:
        """See :class:`~llm_lightning.callbacks.conditions.Conditional`."""
        return _why_not_averaged(task, trainer, "swa")


def _frozen(module: L.LightningModule) -> set[str]:
    """Names of the parameters that checkpoints leave out."""
    task = cast(Task, module)
    return set(frozen_parameters(task, task.pretrained_parts)) if task.base else set()


def _why_not_averaged(task: Task, trainer: L.Trainer, name: str) -> str | None:
    if isinstance(trainer.strategy, FullySharded):
        return f"callbacks={name} cannot average weights in parts: use trainer.strategy=ddp"
    if isinstance(task.strategy, QLoRA):
        return f"callbacks={name} cannot average a base in four bits: use finetune=lora"
    return None
