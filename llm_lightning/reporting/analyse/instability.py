"""Rows whose training is not reliable: runs that failed, and accuracy that has not settled.

A run *failed* if it ended with an error, or if its test accuracy is at most that of always
predicting the most frequent training class, the rule of Mosbach et al. (2021, "On the Stability of
Fine-tuning BERT"). Runs that were interrupted have not failed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_lightning.reporting.analyse.learning_curves import learning_curve
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.read.run_record import Problem, RunRecord, setting_of

_DIVERGED = "Diverged"
"""How the error of a run begins whose weights are no longer finite."""


@dataclass(frozen=True)
class Instability:
    """What is unreliable about a row."""

    row: Row
    runs: int
    """Finished ones, and those with an error."""
    diverged: int
    """With weights that are no longer finite."""
    with_error: int
    """With another error."""
    at_majority: int
    """Finished, and no better than the most frequent class."""
    unsettled: float | None
    """Standard deviation of validation accuracy over the last third of epochs, as a share: root
    mean square over runs. None if there are fewer than two such epochs."""
    val_examples: int

    @property
    def failed(self) -> int:
        """Failed runs, by whichever rule."""
        return self.diverged + self.with_error + self.at_majority

    @property
    def is_worth_saying(self) -> bool:
        """Whether a run failed, or accuracy still moves by more than one validation message."""
        moves = self.unsettled is not None and self.unsettled * self.val_examples > 1
        return self.failed > 0 or moves


def instabilities(rows: Sequence[Row], problems: Sequence[Problem]) -> list[Instability]:
    """The networks of a chapter of which there is something to say.

    Args:
        rows: of classifiers.
        problems: of all runs; those with results are no failures.
    """
    found = []
    for row in rows:
        if row.is_baseline:
            continue
        setting = setting_of(Path(row.first.shown))
        errors = [
            problem.reason.startswith(_DIVERGED)
            for problem in problems
            if problem.state == "failed" and setting_of(Path(problem.shown)) == setting
        ]
        one = Instability(
            row=row,
            runs=len(row.trained) + len(errors),
            diverged=sum(errors),
            with_error=len(errors) - sum(errors),
            at_majority=sum(_is_at_majority(run) for run in row.trained),
            unsettled=_unsettled(row.trained),
            val_examples=row.first.summary.data.splits["val"].examples,
        )
        if one.is_worth_saying:
            found.append(one)
    return found


def _is_at_majority(run: RunRecord) -> bool:
    accuracy = run.metric("test", "accuracy")
    splits = run.summary.data.splits
    train, test = splits["train"].class_counts, splits["test"].class_counts
    if accuracy is None or not train or not test or not sum(test.values()):
        return False
    most_frequent = max(train, key=lambda name: train[name])
    return accuracy <= test.get(most_frequent, 0) / sum(test.values())


def _unsettled(runs: Sequence[RunRecord]) -> float | None:
    variances = []
    for run in runs:
        if run.curves is None:
            continue
        accuracies = learning_curve(run.curves, None)["val_accuracy"].dropna()
        last = accuracies.iloc[-math.ceil(len(accuracies) / 3) :] if len(accuracies) else accuracies
        if len(last) >= 2:
            variances.append(float(last.var(ddof=1)))
    return float(np.sqrt(np.mean(variances))) if variances else None
