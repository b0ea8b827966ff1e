"""The classifiers' part of the page: one chapter for each set of test messages.

Rows of one chapter answered the same messages and can be set against each other; rows of different
chapters cannot, whatever their names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from llm_lightning.reporting.study import charts, cost_charts, learning_charts, score_charts, scores
from llm_lightning.reporting.study.comparisons import Comparisons, compare
from llm_lightning.reporting.study.data_card import DataCard, make_card
from llm_lightning.reporting.study.mistakes import Mistake, find_mistakes
from llm_lightning.reporting.study.published import Verdict, verdict
from llm_lightning.reporting.study.rows import Row, default_reference, find_row, name_rows
from llm_lightning.reporting.study.runs import Predictions

SHOWN_MISTAKES = 20
"""Mistakes that are open to see; the others unfold."""


@dataclass
class ScoreRow:
    """What the probabilities of a row's lowest seed are worth."""

    row: Row
    calibration: scores.Calibration
    reliability: Markup
    shifted: scores.Shifted | None
    auroc: float | None
    """None where there are not two classes."""
    average_precision: float | None


@dataclass
class TestSet:
    """One chapter: rows that answered the same messages."""

    letter: str
    rows: list[Row]
    shared: dict[str, str]
    """Settings of all networks."""
    card: DataCard
    verdicts: dict[int, Verdict]
    """By a row's number."""
    comparisons: Comparisons
    mistakes: list[Mistake]
    num_voters: int
    """Runs whose mistakes count."""
    score_rows: list[ScoreRow]
    spam_share: float | None
    """The positive class's share in the wild; None where it is not known."""
    accuracy: Markup
    learning: list[tuple[str, Markup]]
    costs: list[Markup] = field(default_factory=list)
    confusions: list[tuple[str, Markup]] = field(default_factory=list)
    curves: list[tuple[Markup, list[tuple[str, str, float]]]] = field(default_factory=list)
    lengths: list[tuple[str, Markup]] = field(default_factory=list)

    @property
    def num_examples(self) -> int:
        """Test messages."""
        return self.rows[0].first.num_evaluated

    @property
    def class_names(self) -> list[str]:
        """In the order of their indices."""
        names: list[str] = self.rows[0].first.summary["class_names"]
        return names

    @property
    def weights(self) -> list[str]:
        """Where the networks' starting weights come from, each source once."""
        return list(dict.fromkeys(row.weights for row in self.rows if not row.is_baseline))

    @property
    def without_predictions(self) -> list[Row]:
        """Rows that only the table and the curves can show."""
        return [row for row in self.rows if row.first.predictions is None]


def make_test_sets(
    rows: Sequence[Row],
    reference: str | None,
    spam_share: float | None,
    progress: Callable[[str], None],
) -> list[TestSet]:
    """Sorts classification rows by their test messages, the largest chapter first.

    Args:
        rows: without names yet.
        reference: the row that others are compared with; None chooses one.
        spam_share: the positive class's share in the wild; None takes that of the SMS collection
            for ham and spam, and nothing for other classes.
        progress: gets a line about what is being done.
    """
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.first.test_set, []).append(row)
    ordered = sorted(groups.values(), key=lambda group: (_is_stand_in(group), -len(group)))
    found = []
    for index, group in enumerate(ordered):
        progress(f"comparing {len(group)} rows of test set {_letter(index)}")
        found.append(_make_test_set(_letter(index), group, reference, spam_share))
    return found


def _is_stand_in(rows: Sequence[Row]) -> bool:
    return all(row.stand_in for row in rows)


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else str(index + 1)


def _make_test_set(
    letter: str, group: list[Row], reference: str | None, spam_share: float | None
) -> TestSet:
    shared = name_rows(group)
    rows = sorted(group, key=lambda row: (row.is_baseline, row.label))
    for number, row in enumerate(rows, 1):
        row.number = number
    named = find_row(rows, reference) if reference is not None else None
    found = {row.number: verdict(row) for row in rows}
    verdicts = {number: value for number, value in found.items() if value is not None}
    card = make_card(rows)
    mistakes = find_mistakes([row for row in rows if not row.stand_in] or rows, card.train)
    names = rows[0].first.summary["class_names"]
    if spam_share is None and names == ["ham", "spam"]:
        spam_share = scores.NATURAL_SPAM_SHARE
    if len(names) != 2:
        spam_share = None
    test_set = TestSet(
        letter=letter,
        rows=rows,
        shared=shared,
        card=card,
        verdicts=verdicts,
        comparisons=compare(rows, named or default_reference(rows)),
        mistakes=mistakes,
        num_voters=len(mistakes[0].votes) if mistakes else 0,
        score_rows=_score_rows(rows, spam_share),
        spam_share=spam_share,
        accuracy=charts.accuracy_by_row(rows, verdicts, card.majority_accuracy),
        learning=learning_charts.learning_curves(rows),
    )
    _draw(test_set)
    return test_set


def _score_rows(rows: Sequence[Row], share: float | None) -> list[ScoreRow]:
    found = []
    for row in rows:
        predictions = row.first.predictions
        if predictions is None or not predictions.is_finite:
            continue
        calibration = scores.calibration(predictions)
        shifted = scores.shifted_precision(predictions, share) if share is not None else None
        picture = score_charts.reliability(row, calibration)
        auroc = average_precision = None
        if scores.has_curves(predictions):
            auroc = scores.roc(predictions).area
            average_precision = scores.precision_recall(predictions).area
        found.append(ScoreRow(row, calibration, picture, shifted, auroc, average_precision))
    return found


def _draw(test_set: TestSet) -> None:
    """Adds the pictures that there are data for."""
    rows = test_set.rows
    networks = [row for row in rows if row.first.summary.get("epochs") is not None]
    for costs, name, is_log in (
        ({row.number: float(row.trainable) for row in networks}, "Trainable parameters", True),
        ({row.number: row.minutes for row in networks}, "Training time (minutes)", False),
    ):
        if picture := cost_charts.accuracy_over(rows, costs, name, is_log=is_log):
            test_set.costs.append(picture)
    for row in rows:
        if picture := score_charts.confusion(row):
            test_set.confusions.append((row.numbered, picture))
    predictions: dict[int, Predictions] = {
        row.number: row.first.predictions
        for row in rows
        if row.first.predictions is not None and scores.has_curves(row.first.predictions)
    }
    by_accuracy = sorted(rows, key=lambda row: -(row.mean("test", "accuracy") or 0))
    for which in ("roc", "precision_recall"):
        if drawn := score_charts.score_curves(by_accuracy, which, predictions):
            test_set.curves.append(drawn)
    most = max((max(found.histogram) for found in test_set.card.lengths), default=0.0)
    test_set.lengths = [
        (found.class_name, score_charts.lengths(found, test_set.card.bin_width, 1.1 * most))
        for found in test_set.card.lengths
    ]
