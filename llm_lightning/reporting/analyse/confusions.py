"""Which classes are taken for which: counts of the pairs that occur, and the worst of them.

Only pairs that occur are counted, so that the memory grows with the examples and not with the
square of the classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_lightning.reporting.read.run_record import Predictions

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """Examples of one class that were taken for another."""

    label: str
    """The true class."""
    predicted: str
    count: int
    of: int
    """All examples of the true class."""

    @property
    def share(self) -> float:
        """Of the true class's examples."""
        return self.count / self.of


@dataclass(frozen=True, eq=False)
class ConfusionCounts:
    """Examples by true and predicted class, of one run or of several together."""

    class_names: Sequence[str]
    truth: IntArray
    """True class of each pair that occurs, shape (P,)."""
    predicted: IntArray
    """Predicted class of the same pairs, shape (P,)."""
    counts: IntArray
    """Examples of the same pairs, shape (P,)."""

    @property
    def num_examples(self) -> int:
        """Of all runs together."""
        return int(self.counts.sum())

    @property
    def support(self) -> IntArray:
        """Examples of each class, shape (K,)."""
        return self._by_class(self.truth, self.counts)

    @property
    def errors(self) -> IntArray:
        """Wrong predictions that each class takes part in, as the true or the predicted one."""
        wrong = np.where(self.truth == self.predicted, 0, self.counts)
        return self._by_class(self.truth, wrong) + self._by_class(self.predicted, wrong)

    def by_errors(self) -> list[int]:
        """Class indices, those with the most errors first, then those with the most examples."""
        order: list[int] = np.lexsort((-self.support, -self.errors)).tolist()
        return order

    def worst(self, most: int) -> list[Confusion]:
        """The most frequent confusions, at most so many; then those of the larger share."""
        support = self.support
        wrong = np.flatnonzero(self.truth != self.predicted)
        shares = self.counts[wrong] / support[self.truth[wrong]]
        order = wrong[np.lexsort((-shares, -self.counts[wrong]))][:most]
        return [
            Confusion(
                self.class_names[self.truth[pair]],
                self.class_names[self.predicted[pair]],
                int(self.counts[pair]),
                int(support[self.truth[pair]]),
            )
            for pair in order
        ]

    def matrix(self, classes: Sequence[int]) -> IntArray:
        """Counts with true classes as rows and predicted classes as columns.

        Args:
            classes: indices of the rows and columns. If some are left out, they share a last row
                and a last column.
        """
        place = np.full(len(self.class_names), len(classes))
        place[list(classes)] = np.arange(len(classes))
        size = len(classes) + (len(classes) < len(self.class_names))
        found = np.zeros((size, size), dtype=np.int64)
        np.add.at(found, (place[self.truth], place[self.predicted]), self.counts)
        return found

    def _by_class(self, classes: IntArray, counts: IntArray) -> IntArray:
        found = np.zeros(len(self.class_names), dtype=np.int64)
        np.add.at(found, classes, counts)
        return found


def count_confusions(runs: Sequence[Predictions]) -> ConfusionCounts:
    """Counts the predictions of one or more runs on the same classes."""
    num_classes = len(runs[0].class_names)
    pairs = [predictions.truth * num_classes + predictions.predicted for predictions in runs]
    found, counts = np.unique(np.concatenate(pairs), return_counts=True)
    truth, predicted = np.divmod(found, num_classes)
    return ConfusionCounts(runs[0].class_names, truth, predicted, counts.astype(np.int64))


def in_words(found: Confusion) -> str:
    """One confusion as a phrase: ``3 of 20 'a' taken for 'b'``."""
    return f"{found.count:,} of {found.of:,} {found.label!r} taken for {found.predicted!r}"
