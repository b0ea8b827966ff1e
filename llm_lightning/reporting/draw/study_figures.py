"""The charts of a study, by chapter and place on the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from llm_lightning.reporting.analyse.classifiers import ClassifierChapter
from llm_lightning.reporting.analyse.language_models import LanguageChapter
from llm_lightning.reporting.analyse.learning_curves import RowCurves
from llm_lightning.reporting.analyse.searches import Search
from llm_lightning.reporting.analyse.threshold_curves import CurveKind
from llm_lightning.reporting.draw import (
    accuracy_figures,
    confusion_figures,
    cost_figures,
    data_figures,
    learning_figures,
    probability_figures,
    search_figures,
    threshold_figures,
)
from llm_lightning.reporting.draw.svg_elements import svg_element


@dataclass(frozen=True)
class Chart:
    """An SVG element and what it shows."""

    key: str
    """Different for each chart of a study; also the name of its file."""
    title: str
    label: str
    """The row, class or kind of curve that it is about."""
    svg: str


@dataclass
class ChapterCharts:
    """The charts of a chapter; empty lists where there are no data."""

    accuracy: list[Chart] = field(default_factory=list)
    costs: list[Chart] = field(default_factory=list)
    learning: list[Chart] = field(default_factory=list)
    confusions: list[Chart] = field(default_factory=list)
    thresholds: list[Chart] = field(default_factory=list)
    reliability: list[Chart] = field(default_factory=list)
    lengths: list[Chart] = field(default_factory=list)
    searches: list[Chart] = field(default_factory=list)

    def __iter__(self) -> Iterator[Chart]:
        """All charts, in the order of the page."""
        for charts in vars(self).values():
            yield from charts


@dataclass(frozen=True)
class ChartMaker:
    """Makes the charts of one chapter, whose keys all begin with the chapter's."""

    chapter: str

    def __call__(
        self, key: str, title: str, description: str, figure: Figure, label: str = ""
    ) -> Chart:
        """Returns a figure as a chart; see :func:`svg_element` for the arguments."""
        key = f"{self.chapter}_{key}"
        svg = svg_element(figure, key=key, title=title, description=description)
        return Chart(key, title, label, svg)


def classifier_charts(chapter: ClassifierChapter) -> ChapterCharts:
    """Draws the charts of a chapter of classifiers."""
    make = ChartMaker(f"classifiers_{chapter.letter}")
    rows, card = chapter.rows, chapter.card
    charts = ChapterCharts()
    baselines = chapter.baselines
    if not baselines and card.majority_accuracy is not None:
        baselines = {"most frequent class": card.majority_accuracy}
    num_shown = sum(not row.is_baseline for row in rows) or len(rows)
    charts.accuracy.append(
        make(
            "accuracy",
            f"Test accuracy of {num_shown} {'row' if num_shown == 1 else 'rows'} with intervals",
            "One line per row: mean over seeds with 95 % intervals, baselines as vertical lines.",
            accuracy_figures.accuracy_by_row(rows, chapter.verdicts, baselines),
        )
    )
    networks = [row for row in rows if row.first.summary.epochs is not None]
    for key, costs, name, is_log in (
        (
            "trainable",
            {row.number: float(row.trainable) for row in networks},
            "Trainable parameters",
            True,
        ),
        (
            "minutes",
            {row.number: row.minutes for row in networks},
            "Training time (minutes)",
            False,
        ),
    ):
        if figure := cost_figures.accuracy_over_cost(rows, costs, name, is_log=is_log):
            title = f"Test accuracy over {name[0].lower()}{name[1:]}"
            charts.costs.append(make(key, title, "One point per row.", figure))
    charts.learning = _learning(make, chapter.learning)
    for row in rows:
        if figure := confusion_figures.confusion_panel(row):
            charts.confusions.append(
                make(
                    f"confusion_{row.number}",
                    f"Confusion matrix of {row.label}",
                    "Rows are true classes, columns predicted classes; all seeds together.",
                    figure,
                    row.numbered,
                )
            )
    by_accuracy = sorted(rows, key=lambda row: -(row.mean("test", "accuracy") or 0))
    kinds: tuple[tuple[CurveKind, str], ...] = (
        ("roc", "ROC curves"),
        ("precision_recall", "Precision over recall"),
    )
    for kind, title in kinds:
        if figure := threshold_figures.row_panel(kind, by_accuracy):
            charts.thresholds.append(
                make(kind, title, "One curve per row, with the area under it.", figure)
            )
    for found in chapter.score_rows:
        charts.reliability.append(
            make(
                f"reliability_{found.row.number}",
                f"Reliability of {found.row.label}",
                "Share of correct predictions over confidence; the diagonal is perfect.",
                probability_figures.reliability_panel(found.calibration),
                found.row.numbered,
            )
        )
    highest = 1.1 * max((max(lengths.histogram) for lengths in card.lengths), default=1.0)
    for number, lengths in enumerate(card.lengths, 1):
        charts.lengths.append(
            make(
                f"lengths_{number}",
                f"Lengths of {lengths.class_name}",
                "Histogram of the lengths of the training messages of this class.",
                data_figures.lengths_panel(lengths, card.bin_width, highest),
                lengths.class_name,
            )
        )
    return charts


def language_charts(chapter: LanguageChapter, kind: str) -> ChapterCharts:
    """Draws the charts of a chapter of language models.

    Args:
        chapter: what to draw.
        kind: ``instructions`` or ``texts``.
    """
    return ChapterCharts(
        learning=_learning(ChartMaker(f"{kind}_{chapter.letter}"), chapter.learning)
    )


def search_charts(searches: Sequence[Search]) -> ChapterCharts:
    """Draws a chart for each search."""
    make = ChartMaker("searches")
    return ChapterCharts(
        searches=[
            make(
                str(number),
                f"Expected best of the trials of {search.label}",
                f"Validation {search.objective} over the number of trials.",
                search_figures.expected_best_panel(search),
                search.label,
            )
            for number, search in enumerate(searches, 1)
        ]
    )


def _learning(make: ChartMaker, rows: list[RowCurves]) -> list[Chart]:
    return [
        make(
            f"learning_{curves.row.number}",
            f"Learning curve of {curves.row.label}",
            f"{'Accuracy' if curves.is_share else 'Loss'} of training and validation by epoch.",
            figure,
            curves.row.numbered,
        )
        for curves, figure in zip(rows, learning_figures.row_panels(rows), strict=True)
    ]
