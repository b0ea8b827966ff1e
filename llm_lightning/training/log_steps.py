"""Which optimizer steps are logged."""

import lightning as L


def is_logged(trainer: L.Trainer, step: int) -> bool:
    """Returns whether the values of an optimizer step are written by loggers.

    Lightning collects and discards values that are logged at other steps, which takes noticeable
    time compared with a step on cached activations.

    Args:
        trainer: whose ``log_every_n_steps`` applies.
        step: number of the step, from 1.
    """
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and step % every == 0
