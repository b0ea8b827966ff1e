"""Means of scores that are crossed over seeds and items, and differences of two such means.

Every seed's model is scored on the same items, so a mean varies with the seeds that were run and
with the items that were drawn. In the two-way random-effects model

    score[s, i] = mean + seed[s] + item[i] + residual[s, i]

the mean of S seeds and N items has the variance

    var(seed) / S  +  var(item) / N  +  var(residual) / (S N).

The last two are what the items' means over seeds vary by, over N; the first is the variance of the
seeds' means over S, less the residual's share. A difference is such a mean of differences where
both sides have the same seeds, and has a seed part for each side where they differ. With one seed
there is no seed part: what is said then holds for that trained model, not for its setting.

All statements follow from one statistic, the distance of the mean from a supposed value in
standard errors, as in Tango's score interval (1998, Statistics in Medicine 17:891-908): the items'
variance is that of the likeliest distribution of their scores that has the supposed mean (empirical
likelihood, Owen 1988, Biometrika 75:237-249), which may put weight on scores that were not seen.
For right and wrong and one seed the interval of a share is Wilson's, and that of a difference
Tango's unless every difference points the same way, but for Student's t. Several seeds multiply
that variance by what the unbiased estimates of the analysis of variance say, and the degrees of
freedom are Satterthwaite's (1946, Biometrics 2:110-114). So p < 0.05 exactly where the 95 %
interval excludes 0.

How often the intervals hold the truth was simulated: experiments/statistics.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

from llm_lightning.statistics.intervals import Interval, finite

# Taken off the degrees of freedom of a seed part. A variance over few seeds that is too small by
# chance makes Satterthwaite's degrees of freedom too large at the same time. Found by simulation.
LOST_TO_ESTIMATION = 0.8

# The least variance of a mean, as a share of what the variance of its items' means alone gives. The
# estimate of what seeds add can be so far below 0 by chance that nothing would be left.
LEAST_OF_ITEMS = 0.5

_ROUNDING = 1e-9  # no slope is found where the supposed mean is so near


@dataclass(frozen=True)
class SeedPart:
    """What the seeds of one side tell about the variance of a mean."""

    num_seeds: int
    """At least two."""
    total: float
    """Variance of the seeds' means, over their number."""
    residual: float
    """The residual's part of that, which the variance of the items' means contains as well."""

    @property
    def degrees(self) -> float:
        """Degrees of freedom of ``total``."""
        return self.num_seeds - 1 - LOST_TO_ESTIMATION


@dataclass(frozen=True, eq=False)
class CrossedMean:
    """A mean over seeds and items, with what can be said about its true value."""

    mean: float
    items: NDArray[np.float64] = field(repr=False)
    """Mean over seeds of each item, shape (N,)."""
    seed_parts: tuple[SeedPart, ...]
    """Of each side that has several seeds; empty if the models are taken as they are."""
    bounds: Interval
    """What a score, or a difference of two, cannot exceed."""

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def standard_error(self) -> float | None:
        """Of the mean; None of a single item."""
        if self.n < 2:
            return None
        return float(np.sqrt(self._with_seeds(float(np.var(self.items, ddof=1)) / self.n)))

    @cached_property
    def interval(self) -> Interval:
        """The 95 % interval."""
        return self.interval_at(0.95)

    def interval_at(self, confidence: float) -> Interval:
        """The values that a two-sided test at ``1 - confidence`` does not reject."""
        alpha = 1 - confidence

        def end(bound: float) -> float:
            if bound == self.mean or self.p_value(bound) >= alpha:
                return bound
            return float(brentq(lambda value: self.p_value(value) - alpha, self.mean, bound))

        return Interval(end(self.bounds.low), end(self.bounds.high))

    def fields(self) -> dict[str, float | int | None]:
        """Returns ``mean``, ``low``, ``high``, ``standard_error`` and ``n``, as plain JSON."""
        return {
            "mean": self.mean,
            "low": self.interval.low,
            "high": self.interval.high,
            "standard_error": self.standard_error,
            "n": self.n,
        }

    def p_value(self, value: float = 0.0) -> float:
        """Two-sided p-value of the hypothesis that the true mean is ``value``."""
        return min(1.0, 2 * min(self.p_above(value), self.p_below(value)))

    def p_above(self, value: float) -> float:
        """One-sided p-value of the hypothesis that the true mean is at most ``value``."""
        return self._tail(value, 1)

    def p_below(self, value: float) -> float:
        """One-sided p-value of the hypothesis that the true mean is at least ``value``."""
        return self._tail(value, -1)

    def p_within(self, margin: float) -> float:
        """P-value of the hypothesis that the true mean is ``margin`` or more away from 0.

        It is below 5 % exactly where the 90 % interval is within the margin: two one-sided tests
        (Schuirmann 1987).
        """
        return max(self.p_above(-margin), self.p_below(margin))

    def _tail(self, value: float, sign: int) -> float:
        if self.n < 2:
            return 0.5
        distance = sign * (self.mean - value)
        measured, variance = self._measured_items, self._with_seeds(self._measured_items)
        if measured > 0:
            supposed = value
            if self.seed_parts:
                # Seeds explain a part of the distance. What is left for the items is as unlikely
                # as the whole, but in their own standard errors and degrees of freedom.
                whole = stdtr(self._degrees, -abs(distance) / np.sqrt(variance))
                own = stdtrit(self.n - 1, whole) * np.sqrt(measured)
                supposed = self.mean + float(np.copysign(own, value - self.mean))
            variance *= self._items_variance(supposed) / self.n / measured
        else:
            variance += self._items_variance(value) / self.n
        if variance == 0:
            return 0.5 if distance == 0 else float(distance < 0)
        return float(stdtr(self._degrees, -distance / np.sqrt(variance)))

    @cached_property
    def _measured_items(self) -> float:
        """Variance of the items' means as it was measured, over their number."""
        return float(np.var(self.items)) / self.n

    def _with_seeds(self, items: float) -> float:
        """Variance of the mean, from the variance of the items' means over their number."""
        excess = sum(part.total - part.residual for part in self.seed_parts)
        return max(items + excess, LEAST_OF_ITEMS * items)

    @cached_property
    def _degrees(self) -> float:
        """Satterthwaite's degrees of freedom of the variance of the mean.

        They are no fewer than those of the side with the fewest seeds.
        """
        items = self._measured_items
        parts = [part for part in self.seed_parts if part.total > 0]
        spread = items**2 / (self.n - 1) + sum(part.total**2 / part.degrees for part in parts)
        if not spread:
            return self.n - 1.0
        fewest = min((part.num_seeds - 1.0 for part in parts), default=1.0)
        return max(fewest, self._with_seeds(items) ** 2 / spread)

    @cached_property
    def _distinct(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        values, counts = np.unique(self.items, return_counts=True)
        return values, counts

    @cached_property
    def _reach(self) -> Interval:
        """What an item's mean that was not seen may be: as far from the mean as the farthest seen.

        Not the bounds: a difference's mean over seeds stays far from them.
        """
        farthest = float(np.abs(self.items - self.mean).max())
        if farthest == 0:
            return self.bounds
        return Interval(
            max(self.bounds.low, self.mean - farthest), min(self.bounds.high, self.mean + farthest)
        )

    def _items_variance(self, value: float) -> float:
        """Variance of the items' scores if their true mean is ``value``.

        The likeliest weights are ``counts / (n (1 + slope (scores - value)))``, with the slope that
        makes their mean ``value``; then the variance is ``(mean - value) / slope``. Where even the
        steepest slope does not move the mean so far, the rest of the weight is on the bound.
        """
        if abs(value - self.mean) < _ROUNDING * (self.bounds.high - self.bounds.low):
            return float(np.var(self.items))
        bound = self._reach.high if value > self.mean else self._reach.low
        if not min(bound, self.mean) < value < max(bound, self.mean):
            return 0.0  # nothing but the bound itself has this mean
        scores, counts = self._distinct
        offsets, steepest = scores - value, 1 / (value - bound)

        def moved(share: float) -> float:
            return float((counts * offsets / (1 + share * steepest * offsets)).sum())

        share, most = 1.0, 1 - _ROUNDING
        if (moved(most) > 0) == (bound > value):
            share = float(brentq(moved, 0.0, most))
        return (self.mean - value) / (share * steepest)


def crossed_mean(scores: ArrayLike, *, low: float = 0.0, high: float = 1.0) -> CrossedMean:
    """The mean of scores of the same items by several seeds.

    Args:
        scores: shape (S, N), all finite, one row a seed.
        low: the lowest score that there can be.
        high: the highest.

    Raises:
        ValueError: if there are no scores, or one is not finite or out of range.
    """
    table = finite(scores, 2)
    if table.min() < low or table.max() > high:
        raise ValueError(f"scores must be from {low} to {high}")
    return _crossed(table.mean(axis=0), [table], Interval(low, high))


def crossed_difference(
    first: ArrayLike, second: ArrayLike, *, paired: bool, scale: float = 1.0
) -> CrossedMean:
    """The mean of ``second - first`` on the same items.

    A side with one row is taken as it is: it is one trained model, or a method without chance.

    Args:
        first: scores of shape (S, N), one row a seed.
        second: scores of shape (T, N) of the same items in the same order.
        paired: whether row s of both sides has the same seed.
        scale: the largest difference between two scores that there can be.

    Raises:
        ValueError: if the numbers of items differ, or of seeds that are paired, there are no
            scores, or one is not finite.
    """
    a, b = finite(first, 2), finite(second, 2)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"both sides need the same items, got {a.shape[1]} and {b.shape[1]}")
    if paired and len(a) != len(b):
        raise ValueError(f"paired seeds need equal numbers, got {len(a)} and {len(b)}")
    items = b.mean(axis=0) - a.mean(axis=0)
    sides = [b - a] if paired or 1 in (len(a), len(b)) else [a, b]
    return _crossed(items, sides, Interval(-scale, scale))


def _crossed(
    items: NDArray[np.float64], sides: list[NDArray[np.float64]], bounds: Interval
) -> CrossedMean:
    # Rounding would put a constant's mean beside it.
    mean = float(items[0]) if np.ptp(items) == 0 else float(items.mean())
    parts = tuple(_seed_part(side) for side in sides if len(side) > 1)
    return CrossedMean(mean, items, parts, bounds)


def _seed_part(scores: NDArray[np.float64]) -> SeedPart:
    num_seeds, num_items = scores.shape
    of_seeds, of_items = scores.mean(axis=1), scores.mean(axis=0)
    residuals = scores - of_seeds[:, None] - of_items + scores.mean()
    degrees = (num_seeds - 1) * max(1, num_items - 1)
    residual = float((residuals**2).sum()) / degrees / (num_seeds * num_items)
    return SeedPart(num_seeds, float(of_seeds.var(ddof=1)) / num_seeds, residual)
