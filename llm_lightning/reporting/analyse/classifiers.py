"""The classifiers' chapters: one for each set of test messages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llm_lightning.reporting.analyse import probabilities
from llm_lightning.reporting.analyse.chapters import Chapter, make_chapters
from llm_lightning.reporting.analyse.classes import ClassTable, class_tables
from llm_lightning.reporting.analyse.comparability import comparable_rows
from llm_lightning.reporting.analyse.comparisons import Comparisons, compare
from llm_lightning.reporting.analyse.data_card import DataCard, make_card
from llm_lightning.reporting.analyse.decisions import DecisionLine, decision_lines
from llm_lightning.reporting.analyse.learning_curves import RowCurves, row_curves
from llm_lightning.reporting.analyse.mistakes import Mistake, find_mistakes
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.analyse.threshold_curves import has_curves, positive_curve
from llm_lightning.reporting.analyse.verdicts import Verdict, verdict


@dataclass
class ScoreRow:
    """Quality of the probabilities of a row's lowest seed."""

    row: Row
    calibration: probabilities.Calibration
    shifted: probabilities.Shifted | None
    """None where the positive class's share outside the test set is not known."""
    auroc: float | None
    """None unless there are two classes that both occur."""
    average_precision: float | None


@dataclass
class ClassifierChapter(Chapter):
    """Classifiers evaluated on the same messages."""

    card: DataCard
    verdicts: dict[int, Verdict]
    """By the row's number."""
    comparisons: Comparisons
    mistakes: list[Mistake]
    score_rows: list[ScoreRow]
    positive_share: float | None
    """The positive class's share outside the test set; None if unknown."""
    learning: list[RowCurves]
    classes: list[ClassTable]
    """Of the rows with predictions."""
    decisions: list[DecisionLine]
    """Of the rows that fitted one."""

    @property
    def class_names(self) -> list[str]:
        """In the order of their indices."""
        return self.rows[0].first.summary.class_names or []

    @property
    def averaged_classes(self) -> int | None:
        """Classes with test messages, which averages are over; None without predictions."""
        return len(self.classes[0].lines) if self.classes else None

    def macro_f1(self, row: Row) -> float | None:
        """Mean over seeds of a row's macro F1; None without predictions."""
        return next((found.macro.f1 for found in self.classes if found.row is row), None)

    @property
    def num_voters(self) -> int:
        """Runs whose mistakes count."""
        return len(self.mistakes[0].votes) if self.mistakes else 0

    @property
    def baseline_rows(self) -> dict[str, Row]:
        """The rows of baselines, by name."""
        return {
            row.label.removeprefix("baseline_").replace("_", " "): row
            for row in self.rows
            if row.is_baseline
        }

    @property
    def baselines(self) -> dict[str, float]:
        """Test accuracy of each baseline: of baseline runs, else recorded by the networks' runs."""
        rows = self.baseline_rows
        if rows:
            return {name: row.mean("test", "accuracy") or 0 for name, row in rows.items()}
        recorded: dict[str, float] = {}
        for row in self.rows:
            for name, accuracy in row.first.summary.baseline_accuracy.items():
                recorded.setdefault(name.replace("_", " "), accuracy)
        return recorded

    @property
    def weights(self) -> list[str]:
        """Where the networks' initial weights come from, each source once."""
        return list(dict.fromkeys(row.weights for row in self.rows if not row.is_baseline))

    @property
    def without_predictions(self) -> list[Row]:
        """Rows that only the table and the learning curves can show."""
        return [row for row in self.rows if row.first.predictions is None]


def make_classifier_chapters(
    rows: Sequence[Row],
    reference: str | None,
    positive_share: float | None,
    margin: float | None,
    progress: Callable[[str], None],
) -> list[ClassifierChapter]:
    """Analyses classification rows, a chapter for each test set; those with fallbacks go last.

    Args:
        rows: not labelled yet.
        reference: label, run name or experiment of the reference row; None chooses one.
        positive_share: the positive class's share outside the test set; None takes that of the SMS
            Spam Collection for ham and spam, and leaves it unknown for other classes.
        margin: the largest difference of accuracies that does not matter; None tests none.
        progress: is called with a line about each step.
    """
    found = []
    for chapter in make_chapters(
        rows, reference, last=lambda group: all(r.fallback for r in group)
    ):
        progress(f"comparing {len(chapter.rows)} rows of test set {chapter.letter}")
        found.append(_analyse(chapter, positive_share, margin))
    return found


def _analyse(
    chapter: Chapter, positive_share: float | None, margin: float | None
) -> ClassifierChapter:
    rows = chapter.rows
    names = rows[0].first.summary.class_names or []
    if positive_share is None and names == ["ham", "spam"]:
        positive_share = probabilities.NATURAL_SPAM_SHARE
    if len(names) != 2:
        positive_share = None
    card = make_card(rows)
    verdicts = {row.number: found for row in rows if (found := verdict(row))}
    return ClassifierChapter(
        letter=chapter.letter,
        rows=rows,
        shared=chapter.shared,
        reference=chapter.reference,
        card=card,
        verdicts=verdicts,
        comparisons=compare(rows, chapter.reference, margin),
        mistakes=find_mistakes(comparable_rows(rows, chapter.reference), card.train),
        score_rows=_score_rows(rows, positive_share),
        positive_share=positive_share,
        learning=[curves for row in rows if (curves := row_curves(row))],
        classes=class_tables(rows),
        decisions=decision_lines(rows),
    )


def _score_rows(rows: Sequence[Row], share: float | None) -> list[ScoreRow]:
    found = []
    for row in rows:
        predictions = row.first.predictions
        if predictions is None or not predictions.is_finite:
            continue
        auroc = average_precision = None
        if has_curves(predictions):
            auroc = positive_curve("roc", predictions).area
            average_precision = positive_curve("precision_recall", predictions).area
        shifted = None if share is None else probabilities.shifted_precision(predictions, share)
        found.append(
            ScoreRow(row, probabilities.calibration(predictions), shifted, auroc, average_precision)
        )
    return found
