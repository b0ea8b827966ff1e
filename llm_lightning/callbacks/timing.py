"""Duration of the stages of a run."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.trainer.states import RunningStage


class StageTimer(Timer):
    """Lightning's timer, except that it adds up all validations, not only the last."""

    def __init__(self) -> None:
        super().__init__()
        self._validated = 0.0  # seconds

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Adds a validation."""
        super().on_validation_end(trainer, pl_module)
        self._validated += super().time_elapsed(RunningStage.VALIDATING)

    def time_elapsed(self, stage: str = RunningStage.TRAINING) -> float:
        """Returns the seconds of ``train`` (validation included), ``validate`` or ``test``.

        A resumed run includes the time before the interruption.
        """
        if stage == RunningStage.VALIDATING:
            return self._validated
        return super().time_elapsed(stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from the times of an interrupted run."""
        super().load_state_dict(state_dict)
        self._validated = state_dict["time_elapsed"][RunningStage.VALIDATING.value]
