"""Rows compared with a reference row on the same test messages."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_lightning.reporting.analyse.comparability import fallback_obstacle
from llm_lightning.reporting.analyse.differences import Difference, claims, crossed
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.read.run_record import Predictions
from llm_lightning.statistics.crossed import CrossedMean


@dataclass(frozen=True)
class Comparison:
    """A row and the reference row."""

    row: Row
    difference: Difference
    """Of the accuracies."""
    only_reference: float
    """Messages that only the reference classifies correctly: mean over pairs of seeds."""
    only_row: float
    """Messages that only this row classifies correctly: mean over pairs of seeds."""


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
        """Median half width of the intervals."""
        intervals = [comparison.difference.found.interval for comparison in self.found]
        return float(np.median([i.high - i.low for i in intervals])) / 2 if intervals else None


def compare(rows: Sequence[Row], reference: Row | None, margin: float | None = None) -> Comparisons:
    """Compares rows of one test set with one of them.

    Args:
        rows: all evaluated on the same test items.
        reference: one of them; None if there is none to compare with.
        margin: the largest difference that does not matter, as a share; None tests none.
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
    base = correctness(reference)
    pairs = [crossed(reference, base, row, correctness(row)) for row in others]
    found = [
        Comparison(row, difference, *_discordant(reference, row))
        for row, difference in zip(others, claims(pairs, margin), strict=True)
    ]
    return Comparisons(reference, found, left_out)


def difference_of(first: Row, second: Row) -> CrossedMean | None:
    """Accuracy of the second row minus that of the first; None if they cannot be compared."""
    if _obstacle(first) or _obstacle(second) or not _same_items(second, first.first.predictions):
        return None
    return crossed(first, correctness(first), second, correctness(second))[0]


def correctness(row: Row) -> NDArray[np.float64]:
    """Whether each seed classifies each test message correctly, shape (seeds, N)."""
    right = [run.predictions.right for run in row.runs if run.predictions is not None]
    return np.array(right, dtype=np.float64)


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


def _discordant(reference: Row, row: Row) -> tuple[float, float]:
    """Messages that only the reference gets right, and that only the row does."""
    a, b = correctness(reference), correctness(row)
    if reference.seeds != row.seeds:  # every seed with every other
        a, b = np.repeat(a, len(row.runs), axis=0), np.tile(b, (len(reference.runs), 1))
    return float((a * (1 - b)).sum()) / len(a), float((b * (1 - a)).sum()) / len(a)
