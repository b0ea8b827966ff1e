"""Rows compared with a reference row on the same test messages.

Each pair is compared twice. The *difference* of mean accuracies over all seeds, with a paired
bootstrap interval over test messages, takes the seeds as given. *McNemar's* exact test compares one
model with one model, each row's lowest seed: a majority vote over seeds would be another model.
Holm's correction counts all rows of the test set.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_lightning import statistics
from llm_lightning.reporting.analyse.comparability import fallback_obstacle
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.read.run_record import Predictions
from llm_lightning.statistics import Mean

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """A row minus the reference row."""

    row: Row
    difference: Mean
    """Of the mean accuracies, as a share."""
    only_reference: int
    """Messages that only the reference's lowest seed classifies correctly."""
    only_row: int
    """Messages that only this row's lowest seed classifies correctly."""
    p_value: float
    """McNemar's, exact, two-sided."""
    p_holm: float
    """The p-value after Holm's correction."""

    @property
    def differs(self) -> bool:
        """Whether the corrected test is significant at 5 %."""
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True)
class Comparisons:
    """All rows of a test set, compared with one of them."""

    reference: Row | None
    """None if no row can be the reference."""
    found: list[Comparison]
    left_out: list[tuple[Row, str]]
    """Rows that are not compared, and why."""

    @property
    def resolution(self) -> float | None:
        """Median half width of the intervals: about the smallest detectable difference."""
        widths = [c.difference.interval.high - c.difference.interval.low for c in self.found]
        widths = [width for width in widths if width > 0]
        return float(np.median(widths)) / 2 if widths else None


def compare(rows: Sequence[Row], reference: Row | None) -> Comparisons:
    """Compares rows of one test set with one of them.

    Args:
        rows: all evaluated on the same test items.
        reference: one of them; None if there is none to compare with.
    """
    if reference is None:
        return Comparisons(None, [], [])
    left_out: list[tuple[Row, str]] = []
    if obstacle := _obstacle(reference):
        return Comparisons(reference, [], [(reference, obstacle)])
    expected = reference.first.predictions
    if expected is None:  # an obstacle, handled above
        return Comparisons(reference, [], [])
    others = []
    for row in rows:
        if row is reference:
            continue
        obstacle = fallback_obstacle(row, reference) or _obstacle(row)
        if obstacle is None and not _same_items(row, expected):
            obstacle = "its predictions are for other messages, or in another order"
        if obstacle is None:
            others.append(row)
        else:
            left_out.append((row, obstacle))
    if not others:
        return Comparisons(reference, [], left_out)
    differences = statistics.paired_differences(
        correctness(reference), np.column_stack([correctness(row) for row in others])
    )
    discordant = [_discordant(expected, row) for row in others]
    p_values = [statistics.mcnemar_exact(*pair) for pair in discordant]
    found = [
        Comparison(row, difference, *pair, p_value, p_holm)
        for row, difference, pair, p_value, p_holm in zip(
            others, differences, discordant, p_values, statistics.holm(p_values), strict=True
        )
    ]
    return Comparisons(reference, found, left_out)


def correctness(row: Row) -> NDArray[np.float64]:
    """Share of a row's seeds that classify each test message correctly, shape (N,)."""
    right = [run.predictions.right for run in row.runs if run.predictions is not None]
    means: NDArray[np.float64] = np.mean(right, axis=0, dtype=np.float64)
    return means


def _obstacle(row: Row) -> str | None:
    if any(run.predictions is None for run in row.runs):
        return "predictions_test.csv is missing or damaged"
    if not _same_items(row, row.runs[0].predictions):
        return "its seeds' predictions are for different messages"
    return None


def _same_items(row: Row, expected: Predictions | None) -> bool:
    """Whether all of a row's predictions are for the expected messages, in the same order."""
    return expected is not None and all(
        run.predictions is not None
        and run.predictions.texts == expected.texts
        and np.array_equal(run.predictions.truth, expected.truth)
        for run in row.runs
    )


def _discordant(reference: Predictions, row: Row) -> tuple[int, int]:
    own = row.first.predictions
    if own is None:
        raise ValueError(f"{row.label} has no predictions")
    return int((reference.right & ~own.right).sum()), int((~reference.right & own.right).sum())
