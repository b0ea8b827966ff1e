"""Rows against one of them on the same test messages.

Two looks at each pair. The *difference* of mean accuracies over all seeds, with a paired bootstrap
interval over test messages: it takes the seeds that were run as they are. And *McNemar's* exact
test of one model against one model: each row's lowest seed, because the majority of several seeds
is an ensemble that nobody has trained. Holm's correction counts all rows of the test set.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_lightning import statistics
from llm_lightning.reporting.study.rows import Row
from llm_lightning.reporting.study.runs import Predictions
from llm_lightning.statistics import Mean

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """What a row has over the reference row."""

    row: Row
    difference: Mean
    """Of the mean accuracies; shares."""
    only_reference: int
    """Messages that only the reference's lowest seed gets right."""
    only_row: int
    """Messages that only this row's lowest seed gets right."""
    p_value: float
    """McNemar's, exact, two-sided."""
    p_holm: float
    """The same after Holm's correction."""

    @property
    def differs(self) -> bool:
        """Whether chance alone is an unlikely reason, all comparisons considered."""
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True)
class Comparisons:
    """All rows of a test set against one of them."""

    reference: Row | None
    """None where no row can be the reference."""
    found: list[Comparison]
    left_out: list[tuple[Row, str]]
    """Rows that are not compared, and why."""

    @property
    def resolution(self) -> float | None:
        """Median half width of the intervals: about the least difference that shows."""
        widths = [c.difference.interval.high - c.difference.interval.low for c in self.found]
        widths = [width for width in widths if width > 0]
        return float(np.median(widths)) / 2 if widths else None


def compare(rows: Sequence[Row], reference: Row | None) -> Comparisons:
    """Compares rows of one test set with one of them.

    Args:
        rows: of the same test items.
        reference: one of them.
    """
    if reference is None:
        return Comparisons(None, [], [])
    left_out: list[tuple[Row, str]] = []
    if obstacle := _obstacle(reference):
        return Comparisons(reference, [], [(reference, obstacle)])
    expected = reference.first.predictions
    assert expected is not None
    others = []
    for row in rows:
        if row is reference:
            continue
        obstacle = _obstacle(row)
        if obstacle is None and not _same_items(row, expected):
            obstacle = "its predictions are of other messages, or in another order"
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
    """How many of a row's seeds get each test message right, as a share; shape (N,)."""
    right = [run.predictions.right for run in row.runs if run.predictions is not None]
    means: NDArray[np.float64] = np.mean(right, axis=0, dtype=np.float64)
    return means


def _obstacle(row: Row) -> str | None:
    if row.stand_in:
        return "it used stand-ins"
    if any(run.predictions is None for run in row.runs):
        return "predictions_test.csv is missing or damaged"
    if not _same_items(row, row.runs[0].predictions):
        return "its seeds' predictions are of different messages"
    return None


def _same_items(row: Row, expected: Predictions | None) -> bool:
    """Whether all of a row's predictions are of the expected texts, position by position."""
    return expected is not None and all(
        run.predictions is not None
        and run.predictions.texts == expected.texts
        and np.array_equal(run.predictions.truth, expected.truth)
        for run in row.runs
    )


def _discordant(reference: Predictions, row: Row) -> tuple[int, int]:
    predictions = row.first.predictions
    assert predictions is not None
    a, b = reference.right, predictions.right
    return int((a & ~b).sum()), int((~a & b).sum())
