"""What the numbers of a chapter say: the facts behind the first sentences of the page."""

from dataclasses import dataclass

from llm_lightning.reporting.analyse.classifiers import ClassifierChapter
from llm_lightning.reporting.analyse.comparability import comparable_rows, default_reference
from llm_lightning.reporting.analyse.comparisons import Comparison, compare
from llm_lightning.reporting.analyse.differences import Difference, Word
from llm_lightning.reporting.analyse.language_models import (
    Estimate,
    LanguageChapter,
    response_score,
)
from llm_lightning.reporting.analyse.rows import Row


@dataclass(frozen=True)
class ClassifierFindings:
    """Facts about the classifiers of one chapter."""

    networks: list[Row]
    """Those that may be compared with each other."""
    best: Row | None
    """The network with the highest test accuracy."""
    best_baseline: tuple[str, float] | None
    """Name and test accuracy."""
    above_baseline: list[Row]
    """Networks with a higher measured accuracy than the best baseline."""
    against_baseline: list[Comparison]
    """Networks compared with the best baseline; empty if that has no predictions."""
    by_word: dict[Word, list[Comparison]]
    """The rows that are compared with the reference, by what the comparison says."""
    fallbacks: list[Row]
    single_seed: list[Row]
    """Networks that ran with one seed only."""


def classifier_findings(chapter: ClassifierChapter) -> ClassifierFindings:
    """Collects what the page says first about a chapter of classifiers."""
    accuracy = {row.number: row.mean("test", "accuracy") or 0.0 for row in chapter.rows}
    reference = chapter.reference
    if reference is None or reference.is_baseline:
        reference = default_reference(chapter.rows)
    networks = [row for row in comparable_rows(chapter.rows, reference) if not row.is_baseline]
    baselines = chapter.baselines
    name = max(baselines, key=lambda name: baselines[name], default=None)
    against = compare(networks, chapter.baseline_rows.get(name or ""))
    by_word: dict[Word, list[Comparison]] = {}
    for found in chapter.comparisons.found:
        by_word.setdefault(found.difference.word, []).append(found)
    return ClassifierFindings(
        networks=networks,
        best=max(networks, key=lambda row: accuracy[row.number], default=None),
        best_baseline=None if name is None else (name, baselines[name]),
        above_baseline=[row for row in networks if name and accuracy[row.number] > baselines[name]],
        against_baseline=against.found,
        by_word=by_word,
        fallbacks=[row for row in chapter.rows if row.fallback],
        single_seed=[row for row in chapter.rows if row.has_one_seed],
    )


@dataclass(frozen=True)
class InstructionFindings:
    """Facts about the responses of one chapter."""

    best: Row | None
    """The row with the highest measured ROUGE-L."""
    best_score: Estimate | None
    """Its ROUGE-L."""
    differences: list[tuple[Row, Difference]]
    """ROUGE-L of each row minus the reference row's."""


def instruction_findings(chapter: LanguageChapter) -> InstructionFindings:
    """Collects what the page says first about a chapter of instruction runs."""
    scores = {
        row.number: (row, score)
        for row in comparable_rows(chapter.rows, chapter.reference)
        if (score := response_score(row, "rouge_l"))
    }
    best, score = max(scores.values(), key=lambda pair: pair[1].mean, default=(None, None))
    return InstructionFindings(
        best=best,
        best_score=score,
        differences=[
            (row, found["rouge_l"]) for row, found in chapter.differences if "rouge_l" in found
        ],
    )
