"""Which optimizer steps are logged."""

import lightning as L


def is_logged(trainer: L.Trainer, step: int) -> bool:
    """Returns whether loggers hear of an optimizer step, 1 for the first.

    What is logged at other steps is put together and thrown away: time that shows beside a step on
    the kept states of frozen blocks.
    """
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and step % every == 0
