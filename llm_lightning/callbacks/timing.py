"""Duration of the stages of a run."""

from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.trainer.states import RunningStage


class StageTimer(Timer):
    """Lightning's timer, except that it adds up all validations, not only the last.

    Args:
        max_time: ends training, as ``trainer.max_time`` says it: ``DD:HH:MM:SS``, or a mapping such
            as ``{minutes: 30}``; ``None``: never. A trainer leaves that to a timer it is given.

    Raises:
        ValueError: if it is not a time.
    """

    def __init__(self, max_time: str | dict[str, int] | None = None) -> None:
        try:
            super().__init__(max_time, verbose=False)
        except (MisconfigurationException, TypeError) as error:
            raise ValueError(
                f"trainer.max_time must be DD:HH:MM:SS, in quotes, or such as {{minutes: 30}}, got "
                f"{max_time!r}"
            ) from error
        self._validated = 0.0  # seconds

    @property
    def is_over(self) -> bool:
        """Whether training has had all its time."""
        left = self.time_remaining()
        return left is not None and left <= 0

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
