"""What probabilities are worth: calibration, ROC and precision-recall, precision in the wild."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from llm_lightning import statistics
from llm_lightning.reporting.study.runs import Predictions
from llm_lightning.statistics import Interval

NUM_BINS = 10
NATURAL_SPAM_SHARE = 747 / 5572
"""Spam among the messages of the SMS Spam Collection as pandas reads it: 13.4 %."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Whether a classifier is right as often as it says."""

    confidence: FloatArray
    """Mean confidence of each bin that is not empty."""
    accuracy: FloatArray
    """Share of right answers in the same bins."""
    counts: NDArray[np.int64]
    """Examples in the same bins."""
    ece: float
    """Expected calibration error; a share."""
    brier: float
    """Brier score, from 0 (sure and right) to 1 (sure and wrong)."""


def calibration(predictions: Predictions) -> Calibration:
    """Calibration of the predicted class, in bins of equal width.

    The expected calibration error is the mean of ``|accuracy - confidence|`` over bins, weighed by
    their examples (Guo et al. 2017, equation 3). The Brier score (Brier 1950) is halved, so that
    for two classes it is the squared error of the positive class's probability.
    """
    probabilities = predictions.probabilities
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    kept = counts > 0
    right = np.bincount(bins, predictions.right, NUM_BINS)[kept] / counts[kept]
    sure = np.bincount(bins, confidence, NUM_BINS)[kept] / counts[kept]
    ece = float((counts[kept] * np.abs(right - sure)).sum() / len(bins))
    targets = np.eye(probabilities.shape[1])[predictions.truth]
    brier = float(((probabilities - targets) ** 2).sum(axis=1).mean() / 2)
    return Calibration(sure, right, counts[kept], ece, brier)


@dataclass(frozen=True, eq=False)
class ScoreCurve:
    """A curve over all thresholds of the positive class's probability."""

    x: FloatArray
    """Shares from 0 to 1."""
    y: FloatArray
    area: float


def has_curves(predictions: Predictions) -> bool:
    """Whether there are thresholds to vary: two classes, both there, and finite probabilities."""
    return (
        predictions.probabilities.shape[1] == 2
        and len(set(predictions.truth.tolist())) == 2
        and predictions.is_finite
    )


def roc(predictions: Predictions) -> ScoreCurve:
    """True positive rate over false positive rate; the area is the AUROC."""
    positive, scores = predictions.truth == 1, predictions.probabilities[:, 1]
    x, y, _ = metrics.roc_curve(positive, scores)
    return ScoreCurve(x, y, float(metrics.roc_auc_score(positive, scores)))


def precision_recall(predictions: Predictions) -> ScoreCurve:
    """Precision over recall; the area is the average precision."""
    positive, scores = predictions.truth == 1, predictions.probabilities[:, 1]
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    area = float(metrics.average_precision_score(positive, scores))
    # Scikit-learn ends with a made-up precision of 1 at a recall of 0.
    return ScoreCurve(recall[:-1][::-1], precision[:-1][::-1], area)


@dataclass(frozen=True)
class Shifted:
    """Precision where the positive class is as frequent as in the wild."""

    true_positive_rate: float
    false_positive_rate: float
    precision: float | None
    """None where nothing is called positive."""
    interval: Interval | None


def shifted_precision(predictions: Predictions, share: float) -> Shifted | None:
    """Precision of the second class if it were a given share of all messages.

    Both rates do not depend on how frequent the classes are, so by Bayes' rule

        precision = share * TPR / (share * TPR + (1 - share) * FPR)

    The interval takes the worse ends of both rates' Wilson intervals, then the better ones: it is
    wider than 95 %.

    Args:
        predictions: of two classes.
        share: of the positive class, between 0 and 1.

    Returns:
        None if one of two classes is not there, or there are not two.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be between 0 and 1, got {share}")
    positive, called = predictions.truth == 1, predictions.predicted == 1
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if predictions.probabilities.shape[1] != 2 or not num_positive or not num_negative:
        return None
    hits, alarms = int((positive & called).sum()), int((~positive & called).sum())

    def precision(hit_rate: float, alarm_rate: float) -> float | None:
        found = share * hit_rate + (1 - share) * alarm_rate
        return share * hit_rate / found if found else None

    hit, alarm = hits / num_positive, alarms / num_negative
    hit_ends = statistics.wilson_interval(hits, num_positive)
    alarm_ends = statistics.wilson_interval(alarms, num_negative)
    low = precision(hit_ends.low, alarm_ends.high)
    high = precision(hit_ends.high, alarm_ends.low)
    middle = precision(hit, alarm)
    is_bounded = middle is not None and low is not None and high is not None
    return Shifted(hit, alarm, middle, Interval(low or 0.0, high or 0.0) if is_bounded else None)
