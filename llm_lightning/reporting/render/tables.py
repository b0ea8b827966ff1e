"""The report's tables for other programs: ``table.csv`` with all digits, ``table.md`` to paste."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from llm_lightning.presentation import markdown
from llm_lightning.reporting.analyse.chapters import Chapter
from llm_lightning.reporting.analyse.classifiers import ClassifierChapter
from llm_lightning.reporting.analyse.language_models import (
    LanguageChapter,
    judge_scores,
    logged,
    response_score,
)
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.analyse.side_by_side import SCORES
from llm_lightning.reporting.analyse.study import Study
from llm_lightning.reporting.render.number_formats import (
    estimate,
    minutes,
    percent,
    percent_interval,
    verdict_reason,
)
from llm_lightning.statistics import Interval


def as_csv(study: Study) -> str:
    """One line per row; shares from 0 to 1, empty cells where a row has no such number."""
    lines = [
        _common(row, "classification", chapter.letter) | _classification(chapter, row)
        for chapter in study.classifiers
        for row in chapter.rows
    ]
    for kind, chapters in (("instructions", study.instructions), ("text", study.texts)):
        lines += [
            _common(row, kind, chapter.letter) | _language(row)
            for chapter in chapters
            for row in chapter.rows
        ]
    return pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")


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
    values |= _ends("over_seeds", row.over_seeds) | _ends("wilson", row.wilson)
    if verdict := chapter.verdicts.get(row.number):
        values |= {
            "published_test": verdict.published,
            "verdict": verdict.word,
            "verdict_reason": verdict_reason(verdict),
        }
    comparisons = chapter.comparisons
    comparison = next((found for found in comparisons.found if found.row is row), None)
    if comparison and comparisons.reference:
        values |= {
            "compared_with": comparisons.reference.label,
            "difference": comparison.difference.mean,
            "mcnemar_p": comparison.p_value,
            "holm_p": comparison.p_holm,
        }
        values |= _ends("difference", comparison.difference.interval)
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


def _language(row: Row) -> dict[str, Any]:
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
    return values


def _ends(name: str, found: Interval | None) -> dict[str, float]:
    return {} if found is None else {f"{name}_low": found.low, f"{name}_high": found.high}


def as_markdown(study: Study) -> str:
    """One table per chapter; accuracies in percent."""
    parts = [_classifier_table(chapter) for chapter in study.classifiers]
    parts += [_instruction_table(chapter) for chapter in study.instructions]
    parts += [_text_table(chapter) for chapter in study.texts]
    return "\n\n".join(parts) + "\n"


def _classifier_table(chapter: ClassifierChapter) -> str:
    lines = []
    for row in chapter.rows:
        verdict = chapter.verdicts.get(row.number)
        said = f"{verdict.word}: {verdict_reason(verdict)}" if verdict else ""
        if row.fallback:
            said = "not comparable: fallback" if verdict else "fallback"
        method = "t" if row.over_seeds else "W"
        lines.append(
            [
                _name(row),
                percent(row.mean("test", "accuracy")),
                f"{percent_interval(row.interval)} {method}",
                percent_interval(row.wilson),
                percent(row.mean("test", "balanced_accuracy")),
                percent(chapter.macro_f1(row)),
                row.repeats,
                percent(row.mean("train", "accuracy")),
                percent(row.mean("val", "accuracy")),
                *_cost(row),
                f"{row.memory_mib:,.0f}" if row.memory_mib else "",
                percent(verdict.published) if verdict else "",
                markdown.literal(said),
            ]
        )
    names = (
        "row,test,95 %,messages,balanced,macro F1,seeds,train,val,trainable,minutes,peak MiB,"
        "published,verdict"
    )
    note = (
        f"Test set {chapter.letter}: {chapter.num_examples} messages; "
        f"{markdown.literal(chapter.card.source)}. "
        f"t: Student's t over seeds, which covers the seeds alone; W: Wilson, for a single run. "
        f"`messages` is Wilson's interval in every row."
        f"{averages_note(chapter)}{_fallbacks(chapter)}"
    )
    return f"{note}\n\n{markdown.table(names.split(','), lines, left={0, 13})}"


def averages_note(chapter: ClassifierChapter) -> str:
    """A sentence on what balanced accuracy and macro F1 average; empty without predictions."""
    averaged, num_classes = chapter.averaged_classes, len(chapter.class_names)
    if averaged is None:
        return ""
    which = f"{averaged} of {num_classes}" if averaged < num_classes else f"{num_classes}"
    return f" Balanced accuracy and macro F1 average the {which} classes with test messages."


def _instruction_table(chapter: LanguageChapter) -> str:
    lines = []
    for row in chapter.rows:
        judged = judge_scores(row)
        scores = [response_score(row, name) for name in SCORES]
        lines.append(
            [
                _name(row) + _fallback(row),
                estimate(logged(row, "test", "response_loss"), 3),
                *(
                    f"{percent(s.mean)} ({percent_interval(s.interval)})" if s else ""
                    for s in scores
                ),
                *(estimate(judged.get(judge), 1) for judge in chapter.judges),
                row.repeats,
                *_cost(row),
            ]
        )
    judges: Sequence[str] = [markdown.literal(judge) for judge in chapter.judges]
    names = ["row", "response loss", *SCORES.values(), *judges, "seeds", "trainable", "minutes"]
    note = f"Instructions {chapter.letter}: {chapter.num_examples} tasks.{_fallbacks(chapter)}"
    return f"{note}\n\n{markdown.table(names, lines)}"


def _text_table(chapter: LanguageChapter) -> str:
    lines = [
        [
            _name(row) + _fallback(row),
            *(estimate(logged(row, s, "perplexity"), 2) for s in ("test", "val", "train")),
            row.repeats,
            *_cost(row),
        ]
        for row in chapter.rows
    ]
    names = ["row", "test", "val", "train", "seeds", "trainable", "minutes"]
    note = f"Perplexities {chapter.letter}.{_fallbacks(chapter)}"
    return f"{note}\n\n{markdown.table(names, lines)}"


def _cost(row: Row) -> tuple[str, str]:
    return f"{row.trainable:,}", minutes(row.minutes)


def _name(row: Row) -> str:
    """A row's label as code, which cannot end early."""
    return f"`{row.label.replace('`', chr(39))}`"


def _fallback(row: Row) -> str:
    return " (fallback)" if row.fallback else ""


def _fallbacks(chapter: Chapter) -> str:
    """A sentence for each fallback, with the names of its rows unless it concerns all."""
    return "".join(
        f" Fallback: {markdown.literal(line)} ({_which(chapter, rows)})."
        for line, rows in chapter.fallbacks.items()
    )


def _which(chapter: Chapter, rows: Sequence[Row]) -> str:
    if len(rows) == len(chapter.rows):
        return "all rows"
    return ", ".join(_name(row) for row in rows)
