"""How certain an F1 score is: the 95 % interval over the examples of one evaluation.

- One class: F1 is 2 J / (1 + J) with J = TP / (TP + FP + FN). Of the examples that are not true
  negatives, each is a true positive with the same probability, so J is a share and has Wilson's
  interval, whose ends turn into those of F1.
- The mean over several classes: the delta method, on the scale of log-odds so that the interval
  stays inside [0, 1] (Takahashi, Yamamoto, Kuchiba, Koyama 2022, Applied Intelligence 52:4961-4972,
  section 3.2, whose interval is the same on the scale of shares).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from llm_lightning.statistics.intervals import Interval, wilson_interval


def f1_interval(truth: ArrayLike, predicted: ArrayLike) -> Interval | None:
    """Returns the interval of the F1 of class 1, the second of two.

    Args:
        truth: class indices of N examples.
        predicted: class indices of the same examples.

    Returns:
        ``None`` if the class neither occurs nor is predicted.
    """
    true, given = np.asarray(truth) == 1, np.asarray(predicted) == 1
    hits, either = int((true & given).sum()), int((true | given).sum())
    if not either:
        return None
    found = wilson_interval(hits, either)
    return Interval(*(2 * share / (1 + share) for share in (found.low, found.high)))


def macro_f1_interval(truth: ArrayLike, predicted: ArrayLike) -> Interval | None:
    """Returns the interval of the mean F1 of the classes that occur.

    Args:
        truth: class indices of N examples.
        predicted: class indices of the same examples.

    Returns:
        ``None`` if the variance cannot be estimated: every example is right, or every one wrong.
    """
    true, given = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    right, n = true == given, len(true)
    if not n or right.all() or not right.any():
        return None
    num_classes = int(max(true.max(), given.max())) + 1
    support, named = (np.bincount(of, minlength=num_classes) for of in (true, given))
    hits = np.bincount(true[right], minlength=num_classes)
    occurs = support > 0
    total = np.maximum(support + named, 1)
    mean = float((2 * hits / total)[occurs].mean())
    # How much the mean changes with the share of each example's cell of the confusion matrix.
    by_miss = np.where(occurs, -2 * hits / total**2, 0.0) * n / occurs.sum()
    by_hit = np.where(occurs, 2 / total, 0.0) * n / occurs.sum() + 2 * by_miss
    slopes = np.where(right, by_hit[true], by_miss[true] + by_miss[given])
    error = float(slopes.std()) / np.sqrt(n)
    centre, half = np.log(mean / (1 - mean)), error / (mean * (1 - mean))
    half *= float(stats.norm.ppf(0.975))
    low, high = (1 / (1 + np.exp(-end)) for end in (centre - half, centre + half))
    return Interval(float(low), float(high))
