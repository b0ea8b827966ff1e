"""``class_metrics_test.csv``: precision, recall and F1 of each class, and what averages are over.

A class without evaluated examples has no recall, and its precision can only be 0: it is left out of
every average, macro and weighted, so that macro recall is the balanced accuracy. These are the
values of scikit-learn's ``classification_report(..., labels=classes that occur, zero_division=0)``;
by default it averages over classes that only occur among the predictions too. A prediction of such
a class still costs the recall of the true one.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_lightning.run_format.atomic_files import replacing

COLUMNS = ("class", "precision", "recall", "f1", "support", "predicted")
"""Of the file; ``predicted`` counts the examples that were given the class."""

SCORES = ("precision", "recall", "f1")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Precision, recall, F1 and support of K classes; NaN for a class without support."""

    class_names: Sequence[str]
    precision: FloatArray
    """Shape (K,); 0 for a class that is never predicted."""
    recall: FloatArray
    """Shape (K,)."""
    f1: FloatArray
    """Shape (K,)."""
    support: IntArray
    """Examples of each class, shape (K,)."""
    predicted: IntArray
    """Examples that were given each class, shape (K,)."""

    def macro(self) -> dict[str, float]:
        """Mean of each of ``SCORES`` over the classes with support; NaN if there is none."""
        return self._averages((self.support > 0).astype(np.int64))

    def weighted(self) -> dict[str, float]:
        """The same, weighted by support."""
        return self._averages(self.support)

    def _averages(self, weights: IntArray) -> dict[str, float]:
        kept = self.support > 0
        if not kept.any():
            return dict.fromkeys(SCORES, float("nan"))
        return {
            name: float(np.average(getattr(self, name)[kept], weights=weights[kept]))
            for name in SCORES
        }


def class_metrics(
    truth: ArrayLike, predicted: ArrayLike, class_names: Sequence[str]
) -> ClassMetrics:
    """Computes the metrics of each class, in memory proportional to examples and classes.

    Args:
        truth: class indices of N examples.
        predicted: class indices of the same examples.
        class_names: of K classes.
    """
    truth, predicted = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    num_classes = len(class_names)
    support = np.bincount(truth, minlength=num_classes)
    given = np.bincount(predicted, minlength=num_classes)
    hits = np.bincount(truth[truth == predicted], minlength=num_classes)
    occurs = support > 0
    nowhere = np.full(num_classes, np.nan)
    return ClassMetrics(
        class_names=class_names,
        precision=np.divide(hits, np.maximum(given, 1), out=nowhere.copy(), where=occurs),
        recall=np.divide(hits, support, out=nowhere.copy(), where=occurs),
        # 2 TP / (2 TP + FP + FN), which is defined where precision is not.
        f1=np.divide(2 * hits, support + given, out=nowhere.copy(), where=occurs),
        support=support,
        predicted=given,
    )


def write_class_metrics(file: Path, found: ClassMetrics) -> None:
    """Writes a row a class in the order of their indices; empty cells for what is not defined."""
    columns = (getattr(found, name) for name in COLUMNS[1:])
    with replacing(file) as new, new.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, *values in zip(found.class_names, *columns, strict=True):
            writer.writerow([name, *("" if np.isnan(value) else value for value in values)])


def averaged_over(averaged: Mapping[str, int], num_classes: int) -> str:
    """Says which classes an average is over, for people.

    Args:
        averaged: classes with examples in each split.
        num_classes: of the data.
    """
    if all(number == num_classes for number in averaged.values()):
        return f"average {num_classes} classes"
    counts = ", ".join(f"{number} in {split}" for split, number in averaged.items())
    return f"average the classes with examples ({counts}, of {num_classes})"
