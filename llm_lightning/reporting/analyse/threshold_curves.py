"""ROC and precision-recall curves: a classifier at every decision threshold.

Of two classes the second is the positive one; of more, each is compared with the rest. A macro
average is constructed so that the area under the drawn curve is the mean of the classes' areas:
the number beside a curve is the area that is drawn, up to the width of a pixel where there are very
many points.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm_lightning.reporting.read.run_record import Predictions

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_POINTS = 20_000
"""Most points of an average curve: of a thousand classes there would be millions."""

CurveKind = Literal["roc", "precision_recall"]


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """One ROC or precision-recall curve."""

    name: str
    """The positive class, or the average's name."""
    x: FloatArray
    """False positive rate, or recall: shares, ascending."""
    y: FloatArray
    """True positive rate, or precision: shares."""
    area: float
    """AUROC, or average precision."""
    prevalence: float
    """Share of positive examples: the precision of random guesses."""


def roc(positive: BoolArray, scores: FloatArray, name: str) -> ThresholdCurve:
    """True positive rate over false positive rate; the area is the AUROC.

    Args:
        positive: whether each example belongs to the positive class, shape (N,); both must occur.
        scores: predicted probability of the positive class, shape (N,).
        name: of the positive class.
    """
    hits, alarms = _counts(positive, scores)
    # A point on the straight line between its neighbours changes nothing.
    bends = np.diff(hits, 2).astype(bool) | np.diff(alarms, 2).astype(bool)
    kept = np.concatenate([[True], bends, [True]])
    x, y = alarms[kept] / alarms[-1], hits[kept] / hits[-1]
    return ThresholdCurve(name, x, y, float(np.trapezoid(y, x)), float(positive.mean()))


def precision_recall(positive: BoolArray, scores: FloatArray, name: str) -> ThresholdCurve:
    """Precision over recall; arguments as for :func:`roc`.

    The curve is a staircase, as average precision adds it up: the precision between two points is
    that of the higher recall, and a recall has the precision with which it is first reached.
    """
    hits, alarms = (counts[1:] for counts in _counts(positive, scores))
    x, first = np.unique(hits / hits[-1], return_index=True)
    y = (hits / (hits + alarms))[first]
    if x[0] == 0:  # no true positive yet: the precision of 0 belongs to no step
        y[0] = y[1]
    else:
        x, y = np.concatenate([[0.0], x]), np.concatenate([y[:1], y])
    area = float((np.diff(x) * y[1:]).sum())
    return ThresholdCurve(name, x, y, area, float(positive.mean()))


def has_curves(predictions: Predictions) -> bool:
    """Whether a run has one ROC curve: two classes that both occur, and finite probabilities."""
    return (
        len(predictions.class_names) == 2
        and len(set(predictions.truth.tolist())) == 2
        and predictions.is_finite
    )


def positive_curve(kind: CurveKind, predictions: Predictions) -> ThresholdCurve:
    """The curve of the second of two classes; see :func:`has_curves`."""
    make = roc if kind == "roc" else precision_recall
    scores = predictions.probabilities[:, 1]
    return make(predictions.truth == 1, scores, predictions.class_names[1])


def class_curves(kind: CurveKind, predictions: Predictions) -> list[ThresholdCurve]:
    """The curve of the positive class, or of each class that occurs against the rest."""
    make = roc if kind == "roc" else precision_recall
    num_classes, truth = len(predictions.class_names), predictions.truth
    counts = np.bincount(truth, minlength=num_classes)
    candidates = [1] if num_classes == 2 else range(num_classes)
    return [
        make(truth == index, predictions.probabilities[:, index], predictions.class_names[index])
        for index in candidates
        if 0 < counts[index] < len(truth)
    ]


def mean_curve(kind: CurveKind, classes: Sequence[ThresholdCurve]) -> ThresholdCurve:
    """Macro average: the mean true positive rate at each false positive rate, or precision."""
    grid = np.unique(np.concatenate([curve.x for curve in classes]))
    if len(grid) > MAX_POINTS:
        grid = np.linspace(0, 1, MAX_POINTS)
    if kind == "precision_recall":
        stairs = (curve.y[np.searchsorted(curve.x, grid)] for curve in classes)
        return _average(classes, grid, _mean(stairs, len(classes)))
    # Where a curve rises vertically, interp returns the upper end, and mirrored the lower one.
    # Both are kept: with only one of them the rise would slant and change the area.
    upper = _mean((np.interp(grid, curve.x, curve.y) for curve in classes), len(classes))
    lower = _mean(
        (np.interp(-grid, -curve.x[::-1], curve.y[::-1]) for curve in classes), len(classes)
    )
    y = np.column_stack([lower, upper]).ravel()
    return _average(classes, np.repeat(grid, 2), y)


def _mean(heights: Iterable[FloatArray], number: int) -> FloatArray:
    """The mean of curves that need not be in memory together."""
    total: FloatArray = sum(heights, start=np.zeros(1))
    return total / number


def _average(classes: Sequence[ThresholdCurve], x: FloatArray, y: FloatArray) -> ThresholdCurve:
    area = float(np.mean([curve.area for curve in classes]))
    prevalence = float(np.mean([curve.prevalence for curve in classes]))
    return ThresholdCurve("macro average", x, y, area, prevalence)


def _counts(positive: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """True and false positives at each distinct threshold, falling, after none at all."""
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(positive[order], dtype=np.float64)[last_of_ties]
    everything = (np.flatnonzero(last_of_ties) + 1).astype(np.float64)
    return np.append(0.0, hits), np.append(0.0, everything - hits)
