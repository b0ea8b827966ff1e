"""How long the stages of a run took."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.trainer.states import RunningStage


class StageTimer(Timer):
    """Lightning's timer, which knows of the last validation alone, with all of them."""

    def __init__(self) -> None:
        super().__init__()
        self._validated = 0.0  # seconds

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Adds a validation."""
        super().on_validation_end(trainer, pl_module)
        self._validated += super().time_elapsed(RunningStage.VALIDATING)

    def time_elapsed(self, stage: str = RunningStage.TRAINING) -> float:
        """Returns the seconds of ``train`` (validation included), ``validate`` or ``test``.

        A resumed run counts what it took before it was interrupted.
        """
        if stage == RunningStage.VALIDATING:
            return self._validated
        return super().time_elapsed(stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from the times of an interrupted run."""
        super().load_state_dict(state_dict)
        self._validated = state_dict["time_elapsed"][RunningStage.VALIDATING.value]
