"""The page's tables for other programs: ``table.csv`` with every digit, ``table.md`` to paste."""

from typing import Any

import pandas as pd

from llm_lightning.reporting.study import language
from llm_lightning.reporting.study.answers import SCORES
from llm_lightning.reporting.study.classification import TestSet
from llm_lightning.reporting.study.page import interval, minutes, percent, score
from llm_lightning.reporting.study.rows import Row
from llm_lightning.reporting.study.study import Study
from llm_lightning.statistics import Interval


def as_csv(study: Study) -> str:
    """A line a row; shares from 0 to 1, empty where a row has no such number."""
    lines = [
        _common(row, "classification", found.letter) | _classification(found, row)
        for found in study.test_sets
        for row in found.rows
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
        "name": row.first.summary["name"],
        "experiment": row.experiment,
        "weights": row.weights,
        "seeds": " ".join(map(str, row.seeds)),
        "test_examples": num_evaluated,
        "test_sha256": sha256,
        "trainable": row.trainable,
        "minutes": row.minutes,
        "peak_memory_mib": row.memory_mib,
        "stand_in": row.stand_in,
    }


def _classification(found: TestSet, row: Row) -> dict[str, Any]:
    verdict = found.verdicts.get(row.number)
    compared = {comparison.row.number: comparison for comparison in found.comparisons.found}
    comparison = compared.get(row.number)
    values: dict[str, Any] = {
        f"{split}_accuracy": row.mean(split, "accuracy") for split in ("test", "train", "val")
    }
    values |= _ends("over_seeds", row.over_seeds) | _ends("wilson", row.wilson)
    if verdict:
        values |= {
            "published_test": verdict.published,
            "verdict": verdict.word,
            "verdict_reason": verdict.reason,
        }
    if comparison and found.comparisons.reference:
        values |= {
            "compared_with": found.comparisons.reference.label,
            "difference": comparison.difference.mean,
            "mcnemar_p": comparison.p_value,
            "holm_p": comparison.p_holm,
        }
        values |= _ends("difference", comparison.difference.interval)
    return values | _scores(found, row)


def _scores(found: TestSet, row: Row) -> dict[str, Any]:
    """Calibration, areas and precision in the wild, of the row's lowest seed."""
    scored = next((score for score in found.score_rows if score.row is row), None)
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
            "positive_share": found.spam_share,
            "shifted_precision": scored.shifted.precision,
        }
        values |= _ends("shifted_precision", scored.shifted.interval)
    return values


def _language(row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for metric in ("response_loss", "loss", "perplexity"):
        values[f"test_{metric}"] = row.mean("test", metric)
    scores = {name: language.answer_score(row, name) for name in SCORES}
    scores |= {f"judge: {name}": found for name, found in language.judgements(row).items()}
    for name, found in scores.items():
        if found is not None:
            values[name] = found.mean
            values |= _ends(name, found.interval)
    return values


def _ends(name: str, found: Interval | None) -> dict[str, float]:
    return {} if found is None else {f"{name}_low": found.low, f"{name}_high": found.high}


def as_markdown(study: Study) -> str:
    """A table a chapter; accuracies in percent."""
    parts = [_classification_table(found) for found in study.test_sets]
    parts += [_instruction_table(chapter) for chapter in study.instructions]
    parts += [_text_table(chapter) for chapter in study.texts]
    return "\n\n".join(parts) + "\n"


def _classification_table(found: TestSet) -> str:
    lines = []
    for row in found.rows:
        verdict = found.verdicts.get(row.number)
        said = f"{verdict.word}: {verdict.reason}" if verdict else ""
        if row.stand_in and not verdict:
            said = f"not comparable: stand-in: {row.stand_in}"
        method = "t" if row.over_seeds else "W"
        lines.append(
            [
                _name(row),
                percent(row.mean("test", "accuracy")),
                f"{interval(row.interval)} {method}",
                interval(row.wilson),
                str(len(row.runs)),
                percent(row.mean("train", "accuracy")),
                percent(row.mean("val", "accuracy")),
                f"{row.trainable:,}",
                minutes(row.minutes),
                f"{row.memory_mib:,.0f}" if row.memory_mib else "",
                percent(verdict.published) if verdict else "",
                _text(said),
            ]
        )
    names = "row,test,95 %,messages,seeds,train,val,trainable,minutes,peak MiB,published,verdict"
    note = (
        f"Test set {found.letter}: {found.num_examples} messages; {_text(found.card.source)}. "
        f"t: Student's t over seeds, which counts the seeds alone; W: Wilson, for a single run. "
        f"`messages` is Wilson's interval in every row."
    )
    return f"{note}\n\n{_table(names.split(','), lines, left={0, 11})}"


def _instruction_table(chapter: language.Chapter) -> str:
    lines = []
    for row in chapter.rows:
        judged = language.judgements(row)
        scores = [language.answer_score(row, name) for name in SCORES]
        lines.append(
            [
                _name(row) + (_text(f" (stand-in: {row.stand_in})") if row.stand_in else ""),
                score(language.logged(row, "test", "response_loss"), 3),
                *(f"{percent(s.mean)} ({interval(s.interval)})" if s else "" for s in scores),
                *(score(judged.get(judge), 1) for judge in chapter.judges),
                str(len(row.runs)),
                f"{row.trainable:,}",
                minutes(row.minutes),
            ]
        )
    names = ["row", "response loss", *SCORES.values(), *map(_text, chapter.judges)]
    names += ["seeds", "trainable", "minutes"]
    note = f"Instructions {chapter.letter}: {chapter.rows[0].first.num_evaluated} tasks."
    return f"{note}\n\n{_table(names, lines, left={0})}"


def _text_table(chapter: language.Chapter) -> str:
    lines = [
        [
            _name(row) + (_text(f" (stand-in: {row.stand_in})") if row.stand_in else ""),
            *(score(language.logged(row, s, "perplexity"), 2) for s in ("test", "val", "train")),
            str(len(row.runs)),
            f"{row.trainable:,}",
            minutes(row.minutes),
        ]
        for row in chapter.rows
    ]
    names = ["row", "test", "val", "train", "seeds", "trainable", "minutes"]
    return f"Perplexities {chapter.letter}.\n\n{_table(names, lines, left={0})}"


def _name(row: Row) -> str:
    """A row's label as code, which cannot end early."""
    return f"`{row.label.replace('`', chr(39))}`"


def _text(words: str) -> str:
    """Words that are no markup: Markdown lets HTML through."""
    return words.replace("&", "&amp;").replace("<", "&lt;")


def _table(names: list[str], lines: list[list[str]], left: set[int]) -> str:
    rule = ["---" if index in left else "---:" for index in range(len(names))]
    shown = [names, rule, *lines]
    escaped = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in shown)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
