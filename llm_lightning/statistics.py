"""How certain a share, a mean or a difference is: intervals, tests and corrections.

Shares run from 0 to 1. Everything that resamples returns the same for the same seed. Methods:

- Wilson's score interval of a share (Wilson 1927, Journal of the American Statistical Association)
- Student's t interval of a mean of few values
- the interval of a difference from the intervals of its two sides (Newcombe 1998, method 10)
- McNemar's exact test of paired outcomes: binomial on the pairs that differ (McNemar 1947)
- Holm's correction for several tests (Holm 1979, Scandinavian Journal of Statistics)
- percentile bootstrap of means over the same items (Efron & Tibshirani 1993, chapter 13)
- paired permutation test, which flips the signs of differences (ibid., chapter 15)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

# Most numbers that a batch of resamples holds; bounds the memory, at 8 bytes each.
_BATCH_NUMBERS = 1_000_000


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

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
    """Number of items. The interval of a single one has no width and means nothing."""
    standard_error: float | None = None
    """Sample standard deviation over the square root of ``n``; None of a single item."""

    def fields(self) -> dict[str, float | int | None]:
        """Returns ``mean``, ``low``, ``high``, ``standard_error`` and ``n``, as plain JSON."""
        return {
            "mean": self.mean,
            "low": self.interval.low,
            "high": self.interval.high,
            "standard_error": self.standard_error,
            "n": self.n,
        }


def wilson_interval(right: float, n: int, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share.

    Args:
        right: successes, 0 to ``n``; may be fractional, such as an average over seeds.
        n: trials, at least 1.
        confidence: share of such intervals that contain the true share.

    Raises:
        ValueError: if there are no trials, or more successes than trials.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not 0 <= right <= n:
        raise ValueError(f"right must be from 0 to n={n}, got {right}")
    if right == int(right):
        found = stats.binomtest(int(right), n).proportion_ci(confidence, method="wilson")
        return Interval(float(found.low), float(found.high))
    # scipy's takes whole numbers only.
    z = float(stats.norm.ppf((1 + confidence) / 2))
    share, weight = right / n, z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * float(np.sqrt(share * (1 - share) / n + weight / (4 * n)))
    return Interval(centre - half, centre + half)


def t_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent values; may exceed the values' range.

    Args:
        values: at least two, all finite.
        confidence: share of such intervals that contain the true mean.

    Raises:
        ValueError: if there are fewer than two values, or one is not finite.
    """
    numbers = _finite(values, 1)
    if len(numbers) < 2:
        raise ValueError(f"a t interval needs at least 2 values, got {len(numbers)}")
    # ttest_1samp's interval is the same, but warns of values that are equal.
    half = float(stats.t.ppf((1 + confidence) / 2, len(numbers) - 1) * stats.sem(numbers))
    mean = float(numbers.mean())
    return Interval(mean - half, mean + half)


def difference_interval(a: float, a_interval: Interval, b: float, b_interval: Interval) -> Interval:
    """Interval of ``b - a``, two independent estimates, from the interval of each.

    Source: Newcombe 1998, Statistics in Medicine 17:873-890, method 10.
    """
    low = b - a - float(np.hypot(b - b_interval.low, a_interval.high - a))
    high = b - a + float(np.hypot(b_interval.high - b, a - a_interval.low))
    return Interval(low, high)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p-value of the hypothesis that two classifiers are right equally often.

    Args:
        only_a: items that only the first classifies correctly.
        only_b: items that only the second classifies correctly.

    Raises:
        ValueError: if a count is negative.
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"counts must be at least 0, got {only_a} and {only_b}")
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given.

    Rejecting those below 5 % keeps the probability of any false rejection at 5 % or less.

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

    All columns share the same resamples of the items.

    Args:
        values: (items, columns), all finite, at least one item.
        seed: of the resampling.
        resamples: number of resampled means behind each interval.
        confidence: share of such intervals that contain the true mean.

    Raises:
        ValueError: if there are no items, or a value is not finite.
    """
    table = _finite(values, 2)
    n, first = len(table), table[0]
    if n == 1:  # scipy refuses a single item
        return [Mean(value, Interval(value, value), n) for value in first.tolist()]
    found = stats.bootstrap(
        (table,),
        np.mean,
        method="percentile",  # BCa is undefined for some data; for means it changes little
        vectorized=True,
        axis=0,
        n_resamples=resamples,
        batch=max(1, _BATCH_NUMBERS // table.size),
        confidence_level=confidence,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    # Of a constant column rounding would leave an interval of 1e-17.
    is_constant = np.ptp(table, axis=0) == 0
    means, lows, highs = (
        np.where(is_constant, first, ends).tolist()
        for ends in (table.mean(axis=0), found.low, found.high)
    )
    errors = np.where(is_constant, 0.0, stats.sem(table, axis=0)).tolist()
    return [
        Mean(mean, Interval(low, high), n, error)
        for mean, low, high, error in zip(means, lows, highs, errors, strict=True)
    ]


def bootstrap_mean(values: Sequence[float], *, seed: int = 0) -> Mean:
    """The mean of one column; see :func:`bootstrap_means`."""
    return bootstrap_means(_finite(values, 1)[:, None], seed=seed)[0]


def paired_differences(
    reference: ArrayLike,
    others: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> list[Mean]:
    """Each column minus the reference on the same items; see :func:`bootstrap_means`.

    Args:
        reference: (items,), for example 1 where a prediction is right and 0 where it is wrong.
        others: (items, columns), in the same order of items.
        seed: of the resampling.
        resamples: number of resampled means behind each interval.
        confidence: share of such intervals that contain the true difference.

    Raises:
        ValueError: if the numbers of items differ, there are none, or a value is not finite.
    """
    first, rest = _finite(reference, 1), _finite(others, 2)
    _check_pairs(len(first), len(rest))
    differences = rest - first[:, None]
    return bootstrap_means(differences, seed=seed, resamples=resamples, confidence=confidence)


def permutation_p_value(
    a: Sequence[float], b: Sequence[float], *, seed: int = 0, resamples: int = 10_000
) -> float | None:
    """Two-sided p-value of the hypothesis that the sign of each paired difference is chance.

    Args:
        a: one number an item.
        b: the other's numbers, in the same order of items.
        seed: of the permutations.
        resamples: most permutations that are tried; all of them where there are fewer.

    Returns:
        The p-value; None of a single pair.

    Raises:
        ValueError: if the lengths differ, there are no values, or one is not finite.
    """
    first, second = _finite(a, 1), _finite(b, 1)
    _check_pairs(len(first), len(second))
    if len(first) < 2:
        return None
    test = stats.permutation_test(
        (first, second),
        lambda x, y, axis: np.mean(y - x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _BATCH_NUMBERS // len(first)),
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def _check_pairs(num_first: int, num_second: int) -> None:
    if num_first != num_second:
        raise ValueError(
            f"pairs need the same number of items on both sides, got {num_first} and {num_second}"
        )


def _finite(values: ArrayLike, num_axes: int) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != num_axes:
        raise ValueError(f"values must have {num_axes} axes, got {numbers.ndim}")
    if not numbers.size:
        raise ValueError("the mean of no values is undefined")
    if not np.isfinite(numbers).all():
        at = int(np.argmin(np.isfinite(numbers)))
        raise ValueError(f"all values must be finite, got {numbers.flat[at]} at index {at}")
    return numbers
