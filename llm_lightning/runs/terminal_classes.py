"""What a classifier's run prints about its classes: a table of few, and what is averaged."""

from pathlib import Path

import numpy as np
from rich.markup import escape

from llm_lightning.presentation.terminal import console, results_table
from llm_lightning.reporting.read.run_tables import read_predictions
from llm_lightning.run_format.class_metrics import (
    SCORES,
    ClassMetrics,
    averaged_over,
    class_metrics,
)
from llm_lightning.run_format.files import CLASS_METRICS, PREDICTIONS
from llm_lightning.run_format.summary import Summary

MAX_SHOWN_CLASSES = 12
"""Most classes whose table is printed; the file in the run's folder has any number."""


def print_classes(summary: Summary, run_dir: Path) -> None:
    """Prints precision, recall, F1 and support of each class on the test split, if they are few."""
    names = summary.class_names or []
    if len(names) > MAX_SHOWN_CLASSES or not (run_dir / PREDICTIONS).is_file():
        return  # without callbacks.predictions there is no file
    predictions = read_predictions(run_dir, names)
    found = class_metrics(predictions.truth, predictions.predicted, names)
    table = results_table("test, by class", "precision", "recall", "F1", "support")
    for name, *scores, support in _rows(found):
        table.add_row(escape(name), *scores, f"{support:,}")
    total = f"{found.support.sum():,}"
    for title, averages in (("macro", found.macro()), ("weighted", found.weighted())):
        table.add_row(f"{title} average", *map(_percent, averages.values()), total, style="dim")
    console.print(table)


def class_facts(summary: Summary) -> str:
    """Says which class or classes the metrics of the final table are of."""
    names = summary.class_names or []
    if len(names) == 2:
        return f"precision, recall, F1 and AUROC refer to {names[1]!r}"
    said = averaged_over({str(s): n for s, n in summary.averaged_classes.items()}, len(names))
    by_class = f"; by class: {CLASS_METRICS}" if len(names) > MAX_SHOWN_CLASSES else ""
    return f"precision, recall, F1, AUROC and balanced accuracy {said}{by_class}"


def _rows(found: ClassMetrics) -> list[tuple[str, str, str, str, int]]:
    columns = [map(_percent, getattr(found, name)) for name in SCORES]
    return list(zip(found.class_names, *columns, found.support.tolist(), strict=True))


def _percent(share: float) -> str:
    return "undefined" if np.isnan(share) else f"{100 * share:.2f}"
