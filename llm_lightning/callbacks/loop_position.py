"""Where a fit stands, in Lightning's own records, so that it goes on from exactly there.

Lightning's progress counters are read while a hook runs, when some are ahead of what is done.
"""

from typing import Any

Loops = dict[str, Any]
"""``loops.fit_loop`` of a checkpoint, which Lightning fills with copies of its counters."""

_BATCHES = "epoch_loop.batch_progress"
_EPOCHS = "epoch_progress"
_VALIDATION = "epoch_loop.val_loop.batch_progress"


def before_batch(loops: Loops, *, follows_validation: bool) -> None:
    """Corrects what is saved at the start of a batch: that batch is not begun yet.

    Args:
        loops: changed in place.
        follows_validation: whether a validation came just before; Lightning then takes a step
            that trains nothing, and counts it.
    """
    _take_back_ready(loops[_BATCHES])
    if follows_validation:
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


def before_epoch(loops: Loops) -> None:
    """Corrects what is saved at the start of an epoch: that epoch is not begun yet."""
    _take_back_ready(loops[_EPOCHS])


def before_validation(loops: Loops) -> None:
    """Makes the validation that is under way start again, and no training batch be repeated."""
    nothing = {"ready": 0, "started": 0, "processed": 0, "completed": 0}
    # What Lightning recognises as having been interrupted within a validation.
    loops[_VALIDATION] = {
        "total": nothing | {"ready": 1, "started": 1},
        "current": nothing,
        "is_last_batch": False,
    }


def _take_back_ready(progress: dict[str, Any]) -> None:
    for count in (progress["total"], progress["current"]):
        count["ready"] = count["completed"]
