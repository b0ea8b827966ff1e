"""``table.csv``: the report's rows for other programs, with all digits."""

from typing import Any

import pandas as pd

from llm_lightning.presentation.harmless import no_formula
from llm_lightning.reporting.analyse.classifiers import ClassifierChapter
from llm_lightning.reporting.analyse.differences import Difference
from llm_lightning.reporting.analyse.language_models import (
    LanguageChapter,
    judge_scores,
    response_score,
)
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.analyse.side_by_side import SCORES
from llm_lightning.reporting.analyse.study import Study
from llm_lightning.reporting.render.number_formats import difference_verdict, verdict_reason
from llm_lightning.statistics.intervals import Interval


def as_csv(study: Study, *, safe: bool = False) -> str:
    """One line per row; shares from 0 to 1, empty cells where a row has no such number.

    Args:
        study: with the rows.
        safe: whether a text that a spreadsheet would take for a formula gets an apostrophe.
    """
    lines = [
        _common(row, "classification", chapter.letter) | _classification(chapter, row)
        for chapter in study.classifiers
        for row in chapter.rows
    ]
    for kind, chapters in (("instructions", study.instructions), ("text", study.texts)):
        lines += [
            _common(row, kind, chapter.letter) | _language(chapter, row)
            for chapter in chapters
            for row in chapter.rows
        ]
    table = pd.DataFrame(lines)
    if safe:
        table = table.map(no_formula).rename(columns=no_formula)
    return table.to_csv(index=False, lineterminator="\n")


def _common(row: Row, kind: str, letter: str) -> dict[str, Any]:
    sha256, num_evaluated = row.first.test_set
    return {
        "kind": kind,
        "test_set": letter,
        "row": row.label,
        "name": row.first.summary.name,
        "experiment": row.experiment,
        "weights": row.weights,
        "seeds": " ".join(row.seeds),
        "splits": max(1, len(row.first.parts)),
        "test_examples": num_evaluated,
        "test_sha256": sha256,
        "trainable": row.trainable,
        "minutes": row.minutes,
        "peak_memory_mib": row.memory_mib,
        "precision": row.precision,
        "fallback": row.fallback,
    }


def _classification(chapter: ClassifierChapter, row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {
        f"{split}_accuracy": row.mean(split, "accuracy") for split in ("test", "train", "val")
    }
    values |= {
        "balanced_accuracy": row.mean("test", "balanced_accuracy"),
        "macro_f1": chapter.macro_f1(row),
        "averaged_classes": chapter.averaged_classes,
    }
    values |= _ends("test_accuracy", row.interval)
    if verdict := chapter.verdicts.get(row.number):
        values |= {
            "published_test": verdict.published,
            "verdict": verdict.word,
            "verdict_reason": verdict_reason(verdict),
        }
    comparisons = chapter.comparisons
    comparison = next((found for found in comparisons.found if found.row is row), None)
    if comparison and comparisons.reference:
        values["compared_with"] = comparisons.reference.label
        values |= _difference("", comparison.difference)
    return values | _decision(chapter, row) | _probabilities(chapter, row)


def _decision(chapter: ClassifierChapter, row: Row) -> dict[str, Any]:
    """What a fitted decision changes on the test split."""
    line = next((found for found in chapter.decisions if found.row is row), None)
    if line is None:
        return {}
    values: dict[str, Any] = {f"decided_{name}": value for name, value in line.after.items()}
    return values | {
        "decided_for": line.kind,
        "corrected": line.corrected,
        "spoiled": line.spoiled,
        "abstained": line.abstained,
    }


def _difference(prefix: str, found: Difference) -> dict[str, Any]:
    """A difference, what it says, and the p-values behind that."""
    values: dict[str, Any] = {
        "difference": found.mean,
        **_ends("difference", found.found.interval),
        "p": found.found.p_value(),
        "holm_p": found.p_holm,
        "says": difference_verdict(found),
        "one_seed": found.one_seed,
    }
    if found.margin is not None:
        values |= {
            "margin": found.margin,
            "holm_p_equivalent": found.p_equivalent,
            "holm_p_no_worse": found.p_no_worse,
        }
    return {f"{prefix}{key}": value for key, value in values.items()}


def _probabilities(chapter: ClassifierChapter, row: Row) -> dict[str, Any]:
    """Calibration, areas and precision at another class share, of the row's lowest seed."""
    scored = next((score for score in chapter.score_rows if score.row is row), None)
    if scored is None:
        return {}
    values: dict[str, Any] = {
        "ece": scored.calibration.ece,
        "brier": scored.calibration.brier,
        "auroc": scored.auroc,
        "average_precision": scored.average_precision,
    }
    if scored.shifted:
        values |= {
            "positive_share": chapter.positive_share,
            "shifted_precision": scored.shifted.precision,
        }
        values |= _ends("shifted_precision", scored.shifted.interval)
    return values


def _language(chapter: LanguageChapter, row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {
        f"test_{metric}": row.mean("test", metric)
        for metric in ("response_loss", "loss", "perplexity")
    }
    scores = {name: response_score(row, name) for name in SCORES}
    scores |= {f"judge: {name}": found for name, found in judge_scores(row).items()}
    for name, found in scores.items():
        if found is not None:
            values[name] = found.mean
            values |= _ends(name, found.interval)
    differences = next((found for other, found in chapter.differences if other is row), {})
    if differences and chapter.reference:
        values["compared_with"] = chapter.reference.label
    for name, difference in differences.items():
        values |= _difference(f"{name}_", difference)
    return values


def _ends(name: str, found: Interval | None) -> dict[str, float]:
    return {} if found is None else {f"{name}_low": found.low, f"{name}_high": found.high}
