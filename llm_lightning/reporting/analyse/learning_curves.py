"""Losses, accuracies and perplexity over training time, counted in finished epochs."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.run_format.curves import EPOCH_LOSS, STEP_LOSS, VALIDATION_LOSS

METRICS = {
    "step_loss": STEP_LOSS,
    "train_loss": EPOCH_LOSS,
    "val_loss": VALIDATION_LOSS,
    "train_accuracy": "train/accuracy",
    "val_accuracy": "val/accuracy",
    "response_loss": "val/response_loss",
    "perplexity": "val/perplexity",
}
"""Columns of :func:`learning_curve`, and the logged metric behind each."""

_CANDIDATES = (
    ("train_accuracy", "val_accuracy"),
    ("train_loss", "response_loss"),
    ("train_loss", "val_loss"),
)


def learning_curve(metrics: pd.DataFrame, steps_per_epoch: int | None) -> pd.DataFrame:
    """Places what was logged on an axis of finished epochs.

    A step's loss is at (step + 1) / steps_per_epoch, a value logged once per epoch at epoch + 1. Of
    a point logged twice, as by a resumed run, the last value counts; values that are not finite are
    left out.

    Args:
        metrics: as Lightning logs them: sparse rows, ``step`` and ``epoch`` counted from 0.
        steps_per_epoch: optimizer steps per epoch; None, if unknown, leaves the step losses out.

    Returns:
        The columns of ``METRICS``, NaN where nothing was logged, indexed by ``epochs_done``.

    Raises:
        ValueError: if ``steps_per_epoch`` is below 1.
    """
    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise ValueError(f"steps_per_epoch must be at least 1, got {steps_per_epoch}")
    curves = {}
    for name, metric in METRICS.items():
        if metric not in metrics:
            continue
        logged = metrics[np.isfinite(metrics[metric].astype(float))]
        if name != "step_loss":
            epochs_done = logged["epoch"] + 1.0
        elif steps_per_epoch is not None:
            epochs_done = (logged["step"] + 1.0) / steps_per_epoch
        else:
            continue
        curves[name] = logged[metric].astype(float).groupby(epochs_done).last()
    table = pd.DataFrame(curves, columns=list(METRICS), dtype=float)
    return table.sort_index().rename_axis("epochs_done")


@dataclass(frozen=True, eq=False)
class RowCurves:
    """How a row learns: a column per seed, indexed by finished epochs."""

    row: Row
    training: pd.DataFrame
    """Empty if training was not logged."""
    validation: pd.DataFrame
    is_share: bool
    """Whether the values are accuracies rather than losses."""


def row_curves(row: Row) -> RowCurves | None:
    """Accuracy of a row's runs, else the loss of responses, else the loss; None if not logged."""
    curves = [learning_curve(run.curves, None) for run in row.trained if run.curves is not None]
    for train_name, val_name in _CANDIDATES:
        training, validation = (
            pd.DataFrame({seed: curve[name] for seed, curve in enumerate(curves)})
            .dropna(how="all")
            .dropna(how="all", axis=1)
            for name in (train_name, val_name)
        )
        if not validation.empty:
            return RowCurves(row, training, validation, val_name == "val_accuracy")
    return None
