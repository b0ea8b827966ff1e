"""Predicted probabilities: calibration, Brier score, precision at another class share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_lightning.reporting.read.run_record import Predictions
from llm_lightning.statistics import intervals
from llm_lightning.statistics.intervals import Interval

NUM_BINS = 10
NATURAL_SPAM_SHARE = 747 / 5572
"""Spam among the messages of the SMS Spam Collection as pandas reads it: 13.4 %."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """How well a classifier's confidence matches its accuracy."""

    confidence: FloatArray
    """Mean confidence in each bin that is not empty."""
    accuracy: FloatArray
    """Share of correct predictions in the same bins."""
    counts: NDArray[np.int64]
    """Examples in the same bins."""
    ece: float
    """Expected calibration error; a share."""
    brier: float
    """Brier score, from 0 (certain and correct) to 1 (certain and wrong)."""


def calibration(predictions: Predictions) -> Calibration:
    """Calibration of the predicted class, in bins of equal width.

    The expected calibration error is the mean of ``|accuracy - confidence|`` over bins, weighted by
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


@dataclass(frozen=True)
class Shifted:
    """Precision if the positive class had another share than in the test split."""

    true_positive_rate: float
    false_positive_rate: float
    precision: float | None
    """None if nothing is predicted to be positive."""
    interval: Interval | None


def shifted_precision(predictions: Predictions, share: float) -> Shifted | None:
    """Precision of the second class if it made up a given share of all messages.

    Neither rate depends on how frequent the classes are, so by Bayes' rule

        precision = share * TPR / (share * TPR + (1 - share) * FPR)

    The interval combines the worse ends of both rates' Wilson intervals, then the better ends:
    it is wider than 95 %.

    Args:
        predictions: of two classes.
        share: of the positive class, between 0 and 1.

    Returns:
        None unless there are two classes that both occur.

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
    hit_ends = intervals.wilson_interval(hits, num_positive)
    alarm_ends = intervals.wilson_interval(alarms, num_negative)
    low = precision(hit_ends.low, alarm_ends.high)
    high = precision(hit_ends.high, alarm_ends.low)
    middle = precision(hit, alarm)
    is_bounded = middle is not None and low is not None and high is not None
    return Shifted(hit, alarm, middle, Interval(low or 0.0, high or 0.0) if is_bounded else None)
