"""The test messages that networks misclassify, each with the most similar training message."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.analyse.similarity import Neighbour, nearest
from llm_lightning.reporting.read.run_record import Predictions, RunRecord


@dataclass(frozen=True)
class Vote:
    """One run's prediction for one message."""

    row: Row
    seed: str
    predicted: str
    truth_probability: float
    """Predicted probability of the message's true class."""
    is_wrong: bool


@dataclass(frozen=True)
class Mistake:
    """A test message that at least one run misclassifies."""

    position: int
    """In the test split, from 0."""
    text: str
    label: str
    votes: list[Vote]
    """Of all runs, in the order of rows and seeds."""
    wrong_baselines: list[str]
    """Labels of the baselines that misclassify it too."""
    neighbour: Neighbour | None
    """None if the training split is not available."""

    @property
    def num_wrong(self) -> int:
        """Number of runs that misclassify it."""
        return sum(vote.is_wrong for vote in self.votes)


def find_mistakes(rows: Sequence[Row], train: Sequence[tuple[str, str]] | None) -> list[Mistake]:
    """The messages that some run misclassifies, the most often missed first.

    Args:
        rows: networks and baselines of one test set. If there are networks, only their mistakes
            count: the majority baseline misses every message of a class.
        train: text and label of each training message; None if they are not available.
    """
    usable = [row for row in rows if row.first.predictions is not None]
    expected = usable[0].first.predictions if usable else None
    if expected is None:
        return []
    networks = [row for row in usable if not row.is_baseline] or usable
    voters = [
        (row, run.seed_text, predictions)
        for row in networks
        for run in row.runs
        if (predictions := _predictions_for(run, expected.texts))
    ]
    baselines = [
        (row.label, predictions)
        for row in usable
        if row.is_baseline and row not in networks
        if (predictions := _predictions_for(row.first, expected.texts))
    ]
    wrong = np.array([~predictions.right for _, _, predictions in voters]).sum(axis=0)
    positions = [int(i) for i in np.argsort(-wrong, kind="stable") if wrong[i]]
    neighbours = nearest([expected.texts[position] for position in positions], train)
    return [
        Mistake(
            position,
            expected.texts[position],
            expected.class_names[expected.truth[position]],
            [_vote(row, seed, predictions, position) for row, seed, predictions in voters],
            [label for label, predictions in baselines if not predictions.right[position]],
            neighbour,
        )
        for position, neighbour in zip(positions, neighbours, strict=True)
    ]


def _predictions_for(run: RunRecord, texts: Sequence[str]) -> Predictions | None:
    found = run.predictions
    return found if found is not None and found.texts == texts else None


def _vote(row: Row, seed: str, predictions: Predictions, position: int) -> Vote:
    truth, predicted = int(predictions.truth[position]), int(predictions.predicted[position])
    return Vote(
        row,
        seed,
        predictions.class_names[predicted],
        float(predictions.probabilities[position, truth]),
        truth != predicted,
    )
