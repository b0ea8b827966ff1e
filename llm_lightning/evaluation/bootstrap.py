"""How sure a mean is, and a difference of two means on the same items.

Intervals are percentile bootstrap intervals (Efron & Tibshirani 1993, chapter 13), the p-value is
that of a paired permutation test. Every function answers the same for the same seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Most numbers that a batch of resamples holds; bounds the memory, at 8 bytes each.
_BATCH_NUMBERS = 1_000_000


@dataclass(frozen=True)
class MeanInterval:
    """A mean and how far it may be off."""

    mean: float
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    standard_error: float | None
    """Sample standard deviation over the root of ``n``; None of a single value."""
    n: int
    """How many values there are. Of a single one the interval has no width and means nothing."""


@dataclass(frozen=True)
class PairedDifference:
    """What ``b`` has over ``a`` on the same items."""

    mean: float
    """Mean of ``b - a``."""
    low: float
    high: float
    standard_error: float | None
    n: int
    p_value: float | None
    """Two-sided, under the hypothesis that the sign of each difference is chance; None of one."""


def mean_interval(
    values: Sequence[float], *, seed: int = 0, resamples: int = 10_000, confidence: float = 0.95
) -> MeanInterval:
    """The mean of values with its percentile bootstrap interval.

    Args:
        values: one number an item, at least one, all finite.
        seed: of the resampling.
        resamples: how many means the interval is read from.
        confidence: share of such intervals that hold the true mean.

    Raises:
        ValueError: if there are no values, or one is not finite.
    """
    numbers = _checked(values)
    mean = float(numbers.mean())
    if np.ptp(numbers) == 0:
        # scipy would warn about, or refuse, what has no spread; the mean may be rounded.
        mean = float(numbers[0])
        return MeanInterval(mean, mean, mean, 0.0 if len(numbers) > 1 else None, len(numbers))
    interval = stats.bootstrap(
        (numbers,),
        np.mean,
        # BCa has no answer for some data; for means its correction is small.
        method="percentile",
        vectorized=True,
        n_resamples=resamples,
        batch=_batch(numbers),
        confidence_level=confidence,
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    error = float(stats.sem(numbers))
    return MeanInterval(mean, float(interval.low), float(interval.high), error, len(numbers))


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    *,
    seed: int = 0,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> PairedDifference:
    """The mean of ``b - a`` with its interval and a p-value, for values of the same items.

    Args:
        a: one number an item.
        b: the other's numbers, in the same order of items.
        seed: of the resampling.
        resamples: how many means the interval is read from, and most sign changes that are tried.
        confidence: share of such intervals that hold the true difference.

    Raises:
        ValueError: if the lengths differ, there are no values, or one is not finite.
    """
    if len(a) != len(b):
        raise ValueError(f"pairs need as many values on both sides, got {len(a)} and {len(b)}")
    first, second = _checked(a), _checked(b)
    options = {"seed": seed, "resamples": resamples}
    of_mean = mean_interval((second - first).tolist(), confidence=confidence, **options)
    p_value = None
    if len(first) > 1:
        test = stats.permutation_test(
            (first, second),
            lambda x, y, axis: np.mean(y - x, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=resamples,
            batch=_batch(first),
            random_state=np.random.default_rng(seed),
        )
        p_value = float(test.pvalue)
    return PairedDifference(**vars(of_mean), p_value=p_value)


def _checked(values: Sequence[float]) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size:
        raise ValueError("there is no mean of no values")
    if not np.isfinite(numbers).all():
        raise ValueError(f"value {int(np.argmin(np.isfinite(numbers)))} is not finite")
    return numbers


def _batch(numbers: NDArray[np.float64]) -> int:
    return max(1, _BATCH_NUMBERS // len(numbers))
