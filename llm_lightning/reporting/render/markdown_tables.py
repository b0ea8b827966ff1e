"""``table.md``: the report's tables to paste, rounded as on the page."""

from collections.abc import Sequence

from llm_lightning.presentation import markdown
from llm_lightning.presentation.harmless import harmless
from llm_lightning.reporting.analyse.chapters import Chapter
from llm_lightning.reporting.analyse.classifiers import ClassifierChapter
from llm_lightning.reporting.analyse.differences import Difference
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
    averages_note,
    difference_verdict,
    estimate,
    minutes,
    p_value,
    percent,
    percent_interval,
    points,
    points_interval,
    verdict_reason,
)


def as_markdown(study: Study) -> str:
    """One table per chapter; accuracies in percent."""
    parts = [_classifier_table(chapter) for chapter in study.classifiers]
    parts += [_instruction_table(chapter) for chapter in study.instructions]
    parts += [_text_table(chapter) for chapter in study.texts]
    return harmless("\n\n".join(parts) + "\n")


def _classifier_table(chapter: ClassifierChapter) -> str:
    lines = []
    for row in chapter.rows:
        verdict = chapter.verdicts.get(row.number)
        said = f"{verdict.word}: {verdict_reason(verdict)}" if verdict else ""
        if row.fallback:
            said = "not comparable: fallback" if verdict else "fallback"
        lines.append(
            [
                _name(row),
                percent(row.mean("test", "accuracy")),
                percent_interval(row.interval),
                percent(row.mean("test", "balanced_accuracy")),
                percent(chapter.macro_f1(row)),
                _seeds(row),
                percent(row.mean("train", "accuracy")),
                percent(row.mean("val", "accuracy")),
                *_cost(row),
                f"{row.memory_mib:,.0f}" if row.memory_mib else "",
                percent(verdict.published) if verdict else "",
                markdown.literal(said),
            ]
        )
    names = (
        "row,test,95 %,balanced,macro F1,seeds,train,val,trainable,minutes,peak MiB,"
        "published,verdict"
    )
    note = (
        f"Test set {chapter.letter}: {chapter.num_examples} messages; "
        f"{markdown.literal(chapter.card.source)}. "
        f"The interval is over seeds and messages; of one seed, over messages alone."
        f"{averages_note(chapter)}{_remarks(chapter)}"
    )
    table = markdown.table(names.split(","), lines, left={0, 12})
    return "\n\n".join([note, table, *_differences_table(chapter)])


def _differences_table(chapter: ClassifierChapter) -> list[str]:
    comparisons = chapter.comparisons
    if not comparisons.found or comparisons.reference is None:
        return []
    lines = [
        [
            _name(compared.row),
            points(compared.difference.mean),
            points_interval(compared.difference.found.interval),
            p_value(compared.difference.found.p_value()),
            p_value(compared.difference.p_holm),
            difference_verdict(compared.difference) + _one_seed(compared.difference),
        ]
        for compared in comparisons.found
    ]
    note = f"Differences from {_name(comparisons.reference)}, in points."
    names = ["row", "difference", "95 %", "p", "p after Holm", "result"]
    return [note, markdown.table(names, lines, left={0, 5})]


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
                _seeds(row),
                *_cost(row),
            ]
        )
    judges: Sequence[str] = [markdown.literal(judge) for judge in chapter.judges]
    names = ["row", "response loss", *SCORES.values(), *judges, "seeds", "trainable", "minutes"]
    note = f"Instructions {chapter.letter}: {chapter.num_examples} tasks.{_remarks(chapter)}"
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
    note = f"Perplexities {chapter.letter}.{_remarks(chapter)}"
    return f"{note}\n\n{markdown.table(names, lines)}"


def _seeds(row: Row) -> str:
    return "one" if row.has_one_seed else row.repeats


def _one_seed(found: Difference) -> str:
    return " (one seed)" if found.one_seed else ""


def _cost(row: Row) -> tuple[str, str]:
    return f"{row.trainable:,}", minutes(row.minutes)


def _name(row: Row) -> str:
    """A row's label as code, which cannot end early."""
    return f"`{row.label.replace('`', chr(39))}`"


def _fallback(row: Row) -> str:
    return " (fallback)" if row.fallback else ""


def _remarks(chapter: Chapter) -> str:
    """A sentence for each precision below 32 bits and each fallback, and its rows."""
    precisions = "".join(
        f" Computed in {precision}: {_which(chapter, rows)}."
        for precision, rows in chapter.in_half.items()
    )
    return precisions + "".join(
        f" Fallback: {markdown.literal(line)} ({_which(chapter, rows)})."
        for line, rows in chapter.fallbacks.items()
    )


def _which(chapter: Chapter, rows: Sequence[Row]) -> str:
    if len(rows) == len(chapter.rows):
        return "all rows"
    return ", ".join(_name(row) for row in rows)
