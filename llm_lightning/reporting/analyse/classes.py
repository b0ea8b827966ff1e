"""Precision, recall and F1 by class of each row, as means over seeds, and its worst confusions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_lightning.reporting.analyse.confusions import Confusion, count_confusions
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.run_format.class_metrics import SCORES, class_metrics

NUM_WORST = 5
"""Confusions of a row that are named."""


@dataclass(frozen=True)
class ClassLine:
    """One class of a row, or an average over classes: means over seeds, as shares."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    """Test examples."""


@dataclass(frozen=True)
class ClassTable:
    """The classes of one row."""

    row: Row
    lines: list[ClassLine]
    """Classes with test examples, those with the lowest F1 first if ``is_sorted``."""
    is_sorted: bool
    """Whether the classes are too many to be in their own order."""
    macro: ClassLine
    weighted: ClassLine
    without_support: list[str]
    """Classes without test examples, which no average is over."""
    worst: list[Confusion]
    """The most frequent confusions, of all seeds together."""

    @property
    def num_seeds(self) -> int:
        """Runs with predictions."""
        return sum(run.predictions is not None for run in self.row.runs)


MAX_IN_OWN_ORDER = 12
"""Most classes that keep their own order."""


def class_tables(rows: Sequence[Row]) -> list[ClassTable]:
    """The classes of each row that has predictions."""
    return [found for row in rows if (found := _class_table(row))]


def _class_table(row: Row) -> ClassTable | None:
    runs = [run.predictions for run in row.runs if run.predictions is not None]
    if not runs or not len(runs[0].truth):
        return None
    names = runs[0].class_names
    by_run = [class_metrics(one.truth, one.predicted, names) for one in runs]
    scores = {name: np.mean([getattr(one, name) for one in by_run], axis=0) for name in SCORES}
    support = by_run[0].support  # the seeds of a row have the same test examples
    lines = [
        ClassLine(
            names[index],
            precision=float(scores["precision"][index]),
            recall=float(scores["recall"][index]),
            f1=float(scores["f1"][index]),
            support=int(support[index]),
        )
        for index in np.flatnonzero(support)
    ]
    is_sorted = len(names) > MAX_IN_OWN_ORDER
    if is_sorted:
        lines.sort(key=lambda line: line.f1)

    def average(name: str, of_runs: list[dict[str, float]]) -> ClassLine:
        means = {score: float(np.mean([one[score] for one in of_runs])) for score in SCORES}
        return ClassLine(name, **means, support=int(support.sum()))

    return ClassTable(
        row=row,
        lines=lines,
        is_sorted=is_sorted,
        macro=average("macro average", [one.macro() for one in by_run]),
        weighted=average("weighted average", [one.weighted() for one in by_run]),
        without_support=[names[index] for index in np.flatnonzero(support == 0)],
        worst=count_confusions(runs).worst(NUM_WORST),
    )
