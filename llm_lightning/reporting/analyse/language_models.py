"""The language models' chapters: responses to instructions, and perplexities of plain text.

A row's score is the mean over its seeds and responses, and so is its interval. Losses have no value
of each item: their interval is Student's t over seeds. Responses and judges' scores are those of
the lowest seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_lightning.reporting.analyse.chapters import Chapter, make_chapters
from llm_lightning.reporting.analyse.differences import Difference
from llm_lightning.reporting.analyse.learning_curves import RowCurves, row_curves
from llm_lightning.reporting.analyse.rows import Row, without_folders
from llm_lightning.reporting.analyse.side_by_side import (
    RespondedInstruction,
    differences,
    item_scores,
    side_by_side,
)
from llm_lightning.run_format.benchmarks import BenchmarkScore
from llm_lightning.statistics import intervals
from llm_lightning.statistics.crossed import crossed_mean
from llm_lightning.statistics.intervals import Interval


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, in the unit of what was measured."""

    mean: float
    interval: Interval | None


@dataclass
class LanguageChapter(Chapter):
    """Language models evaluated on the same instructions or texts."""

    source: str
    judges: list[str]
    """Who scored the responses: model and rubric."""
    benchmarks: dict[str, list[tuple[Row, BenchmarkScore]]]
    """Scores of the harness, by task, metric and conditions; of each row's lowest seed."""
    differences: list[tuple[Row, dict[str, Difference]]]
    """Scores of responses minus the reference's, by score."""
    instructions: list[RespondedInstruction]
    learning: list[RowCurves]

    @property
    def num_examples(self) -> int:
        """Test items that were responded to, or else evaluated."""
        return self.rows[0].first.num_responses


def make_language_chapters(
    rows: Sequence[Row], reference: str | None, margin: float | None = None
) -> list[LanguageChapter]:
    """Analyses the rows of one kind, a chapter for each test set.

    Args:
        rows: of instruction runs or of text runs, not labelled yet.
        reference: label, run name or experiment of the reference row; None chooses one.
        margin: the largest difference of scores that does not matter; None tests none.
    """
    return [
        LanguageChapter(
            letter=chapter.letter,
            rows=chapter.rows,
            shared=chapter.shared,
            reference=chapter.reference,
            source=without_folders(chapter.rows[0].first.summary.data.source or "unknown data"),
            judges=sorted({name for row in chapter.rows for name in judge_scores(row)}),
            benchmarks=benchmarks(chapter.rows),
            differences=differences(chapter.rows, chapter.reference, margin),
            instructions=side_by_side(chapter.rows),
            learning=[curves for row in chapter.rows if (curves := row_curves(row))],
        )
        for chapter in make_chapters(rows, reference)
    ]


def benchmarks(rows: Sequence[Row]) -> dict[str, list[tuple[Row, BenchmarkScore]]]:
    """Returns what lm-evaluation-harness measured, by task, metric and conditions."""
    found: dict[str, list[tuple[Row, BenchmarkScore]]] = {}
    for row in rows:
        for score in row.first.benchmarks:
            conditions = [f"{score.shots} shots"] if score.shots is not None else []
            conditions += ["as a conversation"] if score.chat else []
            conditions += [f"first {score.examples} only"] if score.limited else []
            name = ", ".join([f"{score.task}: {score.metric}", *conditions])
            found.setdefault(name, []).append((row, score))
    return dict(sorted(found.items()))


def logged(row: Row, split: str, metric: str) -> Estimate | None:
    """A final metric of a row, such as ``perplexity``; None if no run has it."""
    values = row.values(split, metric)
    if not values:
        return None
    interval = intervals.t_interval(values) if len(values) > 1 else None
    return Estimate(float(np.mean(values)), interval)


def response_score(row: Row, name: str) -> Estimate | None:
    """A score of a row's responses, as a share; None if they were not scored."""
    by_response = item_scores(row)
    if by_response and name in by_response:
        found = crossed_mean(by_response[name])
        return Estimate(found.mean, found.interval)
    facts = [run.summary.responses for run in row.runs]
    recorded = [score for fact in facts if fact and (score := fact.scores.get(name))]
    if not recorded:
        return None
    # Without the scores of each response, what a run recorded of its own is all there is.
    interval = Interval(recorded[0].low, recorded[0].high) if len(recorded) == 1 else None
    return Estimate(float(np.mean([score.mean for score in recorded])), interval)


def judge_scores(row: Row) -> dict[str, Estimate]:
    """Judges' mean scores of the lowest seed's responses, by judge; on the rubric's own scale."""
    found = {}
    total = row.first.num_responses
    for given in row.first.judge_scores:
        if given.mean is None:
            continue
        name = f"{given.model}, {given.rubric}"
        if given.responses != total:
            name += f", first {given.responses} of {total}"
        found[name] = Estimate(given.mean, Interval(given.low, given.high))
    return found
