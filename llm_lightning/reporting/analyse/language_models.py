"""The language models' chapters: responses to instructions, and perplexities of plain text.

A row's score is the mean over its seeds. Its interval is Student's t over seeds if there are
several, else over responses: Wilson's for exact matches, and the bootstrap interval that the run
recorded for other scores. Responses and judges' scores are those of the lowest seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llm_lightning import statistics
from llm_lightning.reporting.analyse.chapters import Chapter, make_chapters
from llm_lightning.reporting.analyse.learning_curves import RowCurves, row_curves
from llm_lightning.reporting.analyse.rows import Row, without_folders
from llm_lightning.reporting.analyse.side_by_side import (
    RespondedInstruction,
    differences,
    side_by_side,
)
from llm_lightning.statistics import Interval, Mean


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, in the unit of what was measured."""

    mean: float
    interval: Interval | None
    varies: Literal["seeds", "responses"] | None
    """What the interval is over."""


@dataclass
class LanguageChapter(Chapter):
    """Language models evaluated on the same instructions or texts."""

    source: str
    judges: list[str]
    """Who scored the responses: model and rubric."""
    differences: list[tuple[Row, dict[str, Mean]]]
    """Scores of responses minus the reference's, by score."""
    instructions: list[RespondedInstruction]
    learning: list[RowCurves]

    @property
    def num_examples(self) -> int:
        """Test items that were responded to, or else evaluated."""
        return self.rows[0].first.num_responses


def make_language_chapters(rows: Sequence[Row], reference: str | None) -> list[LanguageChapter]:
    """Analyses the rows of one kind, a chapter for each test set.

    Args:
        rows: of instruction runs or of text runs, not labelled yet.
        reference: label, run name or experiment of the reference row; None chooses one.
    """
    return [
        LanguageChapter(
            letter=chapter.letter,
            rows=chapter.rows,
            shared=chapter.shared,
            reference=chapter.reference,
            source=without_folders(chapter.rows[0].first.summary.data.source or "unknown data"),
            judges=sorted({name for row in chapter.rows for name in judge_scores(row)}),
            differences=differences(chapter.rows, chapter.reference),
            instructions=side_by_side(chapter.rows),
            learning=[curves for row in chapter.rows if (curves := row_curves(row))],
        )
        for chapter in make_chapters(rows, reference)
    ]


def logged(row: Row, split: str, metric: str) -> Estimate | None:
    """A final metric of a row, such as ``perplexity``; None if no run has it."""
    values = row.values(split, metric)
    if not values:
        return None
    interval = statistics.t_interval(values) if len(values) > 1 else None
    return Estimate(float(np.mean(values)), interval, "seeds" if interval else None)


def response_score(row: Row, name: str) -> Estimate | None:
    """A score of a row's responses, as a share; None if they were not scored."""
    facts = [run.summary.responses for run in row.runs]
    found = [score for fact in facts if fact and (score := fact.scores.get(name))]
    if not found:
        return None
    means = [score.mean for score in found]
    if len(means) > 1:
        ends = statistics.t_interval(means)
        within = Interval(max(0.0, ends.low), min(1.0, ends.high))
        return Estimate(float(np.mean(means)), within, "seeds")
    (score,) = found
    ends = Interval(score.low, score.high)
    if name == "exact_match":  # a bootstrap of zero matches would have no width
        ends = statistics.wilson_interval(score.mean * score.n, score.n)
    return Estimate(score.mean, ends, "responses")


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
        found[name] = Estimate(given.mean, Interval(given.low, given.high), "responses")
    return found
