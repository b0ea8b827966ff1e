"""How certain a share or a mean is: intervals, and the correction for several tests.

Shares run from 0 to 1. Means over seeds and items, and their differences, are in
:mod:`~llm_lightning.statistics.crossed`.

- Wilson's score interval of a share (Wilson 1927, Journal of the American Statistical Association)
- Student's t interval of a mean of few values
- the interval of a difference from the intervals of its two sides (Newcombe 1998, method 10)
- Holm's correction for several tests (Holm 1979, Scandinavian Journal of Statistics)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value is inside, ends included."""
        return self.low <= value <= self.high


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


def t_interval(values: Sequence[float]) -> Interval:
    """Student's 95 % interval of the mean of independent values; may exceed the values' range.

    Args:
        values: at least two, all finite.

    Raises:
        ValueError: if there are fewer than two values, or one is not finite.
    """
    numbers = finite(values, 1)
    if len(numbers) < 2:
        raise ValueError(f"a t interval needs at least 2 values, got {len(numbers)}")
    # ttest_1samp's interval is the same, but warns of values that are equal.
    half = float(stats.t.ppf(0.975, len(numbers) - 1) * stats.sem(numbers))
    mean = float(numbers.mean())
    return Interval(mean - half, mean + half)


def difference_interval(a: float, a_interval: Interval, b: float, b_interval: Interval) -> Interval:
    """Interval of ``b - a``, two independent estimates, from the interval of each.

    Source: Newcombe 1998, Statistics in Medicine 17:873-890, method 10.
    """
    low = b - a - float(np.hypot(b - b_interval.low, a_interval.high - a))
    high = b - a + float(np.hypot(b_interval.high - b, a - a_interval.low))
    return Interval(low, high)


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


def finite(values: ArrayLike, num_axes: int) -> NDArray[np.float64]:
    """The values as an array.

    Raises:
        ValueError: if it does not have so many axes, is empty, or a value is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != num_axes:
        raise ValueError(f"values must have {num_axes} axes, got {numbers.ndim}")
    if not numbers.size:
        raise ValueError("the mean of no values is undefined")
    if not np.isfinite(numbers).all():
        at = int(np.argmin(np.isfinite(numbers)))
        raise ValueError(f"all values must be finite, got {numbers.flat[at]} at index {at}")
    return numbers
