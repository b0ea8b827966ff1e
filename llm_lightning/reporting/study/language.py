"""The language models' part of the page: answers to instructions, and perplexities of plain text.

Rows of one chapter were tested on the same items. A row's score is the mean over its seeds; its
interval is Student's t over seeds where there are several, else over answers: Wilson's of exact
matches, the bootstrap interval that the run recorded of the other scores. Answers and judgements
shown are those of the lowest seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from llm_lightning import statistics
from llm_lightning.reporting.study import learning_charts
from llm_lightning.reporting.study.answers import Answered, differences, side_by_side
from llm_lightning.reporting.study.rows import Row, default_reference, find_row, name_rows
from llm_lightning.statistics import Interval, Mean

PUBLISHED = {"judge_score": "judge score", "val_loss": "validation loss"}
"""What the book reports of an instruction run, and its name here."""


@dataclass(frozen=True)
class Score:
    """A mean and its interval, in the unit of what was measured."""

    mean: float
    interval: Interval | None
    counts: str
    """What the interval counts: ``seeds``, ``answers``, or nothing."""


@dataclass(frozen=True)
class Chapter:
    """Rows that were tested on the same items."""

    letter: str
    rows: list[Row]
    shared: dict[str, str]
    source: str
    judges: list[str]
    """Who judged: model and rubric."""
    reference: Row | None
    differences: list[tuple[Row, dict[str, Mean]]]
    """Scores of answers against the reference's, by score."""
    answered: list[Answered]
    learning: list[tuple[str, Markup]]


def make_chapters(rows: Sequence[Row], reference: str | None) -> list[Chapter]:
    """Sorts the rows of one kind by their test items, the largest chapter first.

    Args:
        rows: of instruction or of text runs, without names yet.
        reference: the row that others are compared with; None chooses one.
    """
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.first.test_set, []).append(row)
    ordered = sorted(groups.values(), key=lambda group: -len(group))
    return [
        _make_chapter(chr(ord("A") + index % 26), group, reference)
        for index, group in enumerate(ordered)
    ]


def _make_chapter(letter: str, group: list[Row], reference: str | None) -> Chapter:
    shared = name_rows(group)
    rows = sorted(group, key=lambda row: row.label)
    for number, row in enumerate(rows, 1):
        row.number = number
    named = find_row(rows, reference) if reference is not None else None
    chosen = named or default_reference(rows)
    judges = {name for row in rows for name in judgements(row)}
    return Chapter(
        letter=letter,
        rows=rows,
        shared=shared,
        source=str(rows[0].first.summary["data"].get("source", "unknown")).rsplit("/", 1)[-1],
        judges=sorted(judges),
        reference=chosen,
        differences=differences(rows, chosen),
        answered=side_by_side(rows),
        learning=learning_charts.learning_curves(rows),
    )


def logged(row: Row, split: str, metric: str) -> Score | None:
    """A final metric of a row, such as ``perplexity``; None if no run has it."""
    values = row.values(split, metric)
    if not values:
        return None
    interval = statistics.t_interval(values) if len(values) > 1 else None
    return Score(float(np.mean(values)), interval, "seeds" if interval else "")


def answer_score(row: Row, name: str) -> Score | None:
    """A score of a row's answers, a share; None if they were not scored."""
    found = [run.summary["answers"]["scores"].get(name) for run in row.runs if _is_answered(run)]
    found = [score for score in found if score is not None]
    if not found:
        return None
    means = [float(score["mean"]) for score in found]
    if len(means) > 1:
        ends = statistics.t_interval(means)
        return Score(
            float(np.mean(means)), Interval(max(0.0, ends.low), min(1.0, ends.high)), "seeds"
        )
    ends = Interval(float(found[0]["low"]), float(found[0]["high"]))
    if name == "exact_match":  # a bootstrap of none right would be sure of none
        n = int(found[0]["n"])
        ends = statistics.wilson_interval(means[0] * n, n)
    return Score(means[0], ends, "answers")


def judgements(row: Row) -> dict[str, Score]:
    """What judges say about the lowest seed's answers, by judge; on the rubric's own scale."""
    found = {}
    for report in row.first.judgements.values():
        name = f"{report['judge']['model']}, {report['settings']['rubric']}"
        total = row.first.num_evaluated
        if report["counts"]["items"] != total:
            name += f", first {report['counts']['items']} of {total}"
        if report["mean"] is not None:
            interval = Interval(float(report["low"]), float(report["high"]))
            found[name] = Score(float(report["mean"]), interval, "answers")
    return found


def published(row: Row) -> str | None:
    """What the book reports for the row's experiment, in words; None if nothing."""
    found = row.first.summary.get("published") or {}
    parts = [f"{name} {found[key]:g}" for key, name in PUBLISHED.items() if found.get(key)]
    return ", ".join(parts) or None


def _is_answered(run: object) -> bool:
    summary = getattr(run, "summary", {})
    return bool(summary.get("answers")) and "scores" in summary["answers"]
