"""How sure an accuracy is, and a difference of two: intervals, tests, corrections.

Shares run from 0 to 1. What resamples answers the same for the same seed. Methods:

- Wilson's score interval of a share (Wilson 1927, Journal of the American Statistical Association)
- Student's t interval of a mean of few values
- the interval of a difference from the intervals of its two sides (Newcombe 1998, method 10)
- McNemar's test of paired answers, exact: binomial on the pairs that differ (McNemar 1947)
- Holm's correction for several tests (Holm 1979, Scandinavian Journal of Statistics)
- percentile bootstrap of means over the same items (Efron & Tibshirani 1993, chapter 13)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

# Most item numbers that a batch of resamples holds; bounds the memory, at 8 bytes each.
_BATCH_NUMBERS = 1_000_000


@dataclass(frozen=True)
class Interval:
    """Where a value lies with some confidence."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value is inside, ends included."""
        return self.low <= value <= self.high

    def hull(self, other: "Interval") -> "Interval":
        """The smallest interval that covers both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class Mean:
    """A mean over items and its interval."""

    mean: float
    interval: Interval
    n: int
    """How many items there are. Of a single one the interval has no width and means nothing."""


def wilson_interval(right: float, n: int, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share.

    Args:
        right: successes, 0 to ``n``; may be a fraction, as an average over seeds is.
        n: trials, at least 1.
        confidence: share of such intervals that hold the true share.

    Raises:
        ValueError: if there are no trials, or more successes than trials.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not 0 <= right <= n:
        raise ValueError(f"right must be from 0 to n={n}, got {right}")
    z = float(stats.norm.ppf((1 + confidence) / 2))
    share, weight = right / n, z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * float(np.sqrt(share * (1 - share) / n + weight / (4 * n)))
    # Exact at the ends, where rounding would leave 1e-17 of nothing.
    return Interval(0.0 if right == 0 else centre - half, 1.0 if right == n else centre + half)


def t_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent values; it may leave the values' range.

    Raises:
        ValueError: if there are fewer than two values, or one is not finite.
    """
    numbers = _finite(values, 1)
    if len(numbers) < 2:
        raise ValueError(f"a t interval needs at least 2 values, got {len(numbers)}")
    error = numbers.std(ddof=1) / np.sqrt(len(numbers))
    half = float(stats.t.ppf((1 + confidence) / 2, len(numbers) - 1) * error)
    mean = float(numbers.mean())
    return Interval(mean - half, mean + half)


def difference_interval(a: float, a_interval: Interval, b: float, b_interval: Interval) -> Interval:
    """Interval of ``b - a``, two independent estimates, from the interval of each."""
    low = b - a - float(np.hypot(b - b_interval.low, a_interval.high - a))
    high = b - a + float(np.hypot(b_interval.high - b, a - a_interval.low))
    return Interval(low, high)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p-value that two classifiers are right equally often on the same items.

    Args:
        only_a: items that only the first gets right.
        only_b: items that only the second gets right.

    Raises:
        ValueError: if a count is negative.
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"counts must be at least 0, got {only_a} and {only_b}")
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order of the given ones.

    Rejecting what is below 5 % makes any false rejection among all of them 5 % likely at most.

    Raises:
        ValueError: if a p-value is not from 0 to 1.
    """
    for value in p_values:
        if not 0 <= value <= 1:
            raise ValueError(f"a p-value must be from 0 to 1, got {value}")
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def bootstrap_means(
    values: ArrayLike, *, seed: int = 0, resamples: int = 10_000, confidence: float = 0.95
) -> list[Mean]:
    """The mean of each column with its percentile bootstrap interval.

    All columns are resampled by the same items.

    Args:
        values: (items, columns), all finite, at least one item.
        seed: of the resampling.
        resamples: how many means each interval is read from.
        confidence: share of such intervals that hold the true mean.

    Raises:
        ValueError: if there are no items, or a value is not finite.
    """
    table = _finite(values, 2)
    n, num_columns = table.shape
    random = np.random.default_rng(seed)
    means = np.empty((resamples, num_columns))
    batch = max(1, _BATCH_NUMBERS // n)
    for start in range(0, resamples, batch):
        rows = min(batch, resamples - start)
        drawn = random.integers(0, n, size=(rows, n))
        drawn += n * np.arange(rows)[:, None]
        # How often each resample holds each item: a mean is then a product of matrices.
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        means[start : start + rows] = counts @ table / n
    tail = (1 - confidence) / 2
    lows, highs = np.quantile(means, [tail, 1 - tail], axis=0)
    return [
        Mean(float(mean), Interval(float(low), float(high)), n)
        for mean, low, high in zip(table.mean(axis=0), lows, highs, strict=True)
    ]


def paired_differences(
    reference: ArrayLike,
    others: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> list[Mean]:
    """What each column has over the reference on the same items; see :func:`bootstrap_means`.

    Args:
        reference: (items,), for example 1 where an answer is right and 0 where it is wrong.
        others: (items, columns), in the same order of items.
        seed: of the resampling.
        resamples: how many means each interval is read from.
        confidence: share of such intervals that hold the true difference.

    Raises:
        ValueError: if the numbers of items differ, there are none, or a value is not finite.
    """
    first, rest = _finite(reference, 1), _finite(others, 2)
    if len(first) != len(rest):
        raise ValueError(
            f"pairs need as many items on both sides, got {len(first)} and {len(rest)}"
        )
    differences = rest - first[:, None]
    return bootstrap_means(differences, seed=seed, resamples=resamples, confidence=confidence)


def _finite(values: ArrayLike, num_axes: int) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != num_axes:
        raise ValueError(f"values must have {num_axes} axes, got {numbers.ndim}")
    if not numbers.size:
        raise ValueError("there is no mean of no values")
    if not np.isfinite(numbers).all():
        raise ValueError("all values must be finite, got one that is not")
    return numbers
