"""Which differences of test accuracy a planned sweep could find.

The test is that of :mod:`~llm_lightning.statistics.crossed`, of two rows with the same seeds. What
it does on average follows from the parts of the variance of ``score of one row - score of the
other``, and the chance of its estimates is averaged out: the power is the mean, over what the
variance of the seeds' means may come out as, of the power of Student's t test with Satterthwaite's
degrees of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr, stdtrit

from llm_lightning.statistics.crossed import LEAST_OF_ITEMS, LOST_TO_ESTIMATION

POWER = 0.8
ALPHA = 0.05
MOST_SEEDS = 50
MOST_ITEMS = 1_000_000

_DRAWS = 400  # quantiles that stand for the distribution of the seeds' variance


@dataclass(frozen=True)
class Parts:
    """What the difference of two trained models' correctness on an item varies by.

    The three add up to the discordance, less the square of the mean difference.
    """

    seeds: float
    """Variance of the mean difference over seeds, on all items."""
    items: float
    """Variance over items, of the mean over seeds."""
    luck: float
    """Variance of what is left: seed and item together."""

    @property
    def discordance(self) -> float:
        """Share of items that one of two trained models gets right and the other wrong."""
        return self.seeds + self.items + self.luck


ASSUMED = Parts(seeds=0.0, items=0.04, luck=0.04)
"""Where nothing is known: 8 % discordance, half of it the items'; all seeds are as good."""


def mean_parts(found: Sequence[Parts]) -> Parts:
    """The mean of several; a part that comes out negative is 0."""
    means = np.mean([[parts.seeds, parts.items, parts.luck] for parts in found], axis=0)
    seeds, items, luck = np.maximum(means, 0.0).tolist()
    return Parts(seeds, items, luck)


def power(
    difference: float, parts: Parts, *, num_seeds: int, num_items: int, num_tests: int = 1
) -> float:
    """Chance to find a true difference, two-sided at 5 % after the first step of Holm's correction.

    Args:
        difference: of the accuracies, as a share.
        parts: of the variance; where their discordance is less than the difference, which is
            impossible, the items' part is raised.
        num_seeds: of each row; with one the difference is that of the two trained models.
        num_items: in the test split.
        num_tests: comparisons that are corrected for.
    """
    of_items = parts.items + max(0.0, abs(difference) - parts.discordance)
    residual = parts.luck / (num_seeds * num_items)
    measured = of_items / num_items + residual
    variance, totals = measured, np.zeros(1)
    degrees = np.array([num_items - 1.0])
    if num_seeds > 1:
        expected = parts.seeds / num_seeds + residual
        totals = expected * _relative_variances(num_seeds)
        variance = measured + expected - residual
    estimates = np.maximum(
        measured + totals - residual * (num_seeds > 1), LEAST_OF_ITEMS * measured
    )
    if num_seeds > 1:
        spread = measured**2 / (num_items - 1) + totals**2 / (num_seeds - 1 - LOST_TO_ESTIMATION)
        degrees = np.maximum(num_seeds - 1, estimates**2 / spread)
    tail = ALPHA / num_tests / 2
    # The test takes the variance that the items would have if there were no difference.
    estimates *= 1 + stdtrit(num_items - 1, tail) ** 2 / num_items
    needed = -stdtrit(degrees, tail) * np.sqrt(estimates)
    spread = np.sqrt(variance)
    found = ndtr((abs(difference) - needed) / spread) + ndtr((-abs(difference) - needed) / spread)
    return float(found.mean())


def detectable(parts: Parts, *, num_seeds: int, num_items: int, num_tests: int = 1) -> float | None:
    """The smallest difference that is found with 80 % power, as a share; None if there is none."""

    def excess(difference: float) -> float:
        return (
            power(difference, parts, num_seeds=num_seeds, num_items=num_items, num_tests=num_tests)
            - POWER
        )

    return float(brentq(excess, 0.0, 1.0, xtol=1e-5)) if excess(1.0) > 0 else None


def seeds_needed(
    difference: float, parts: Parts, *, num_items: int, num_tests: int = 1
) -> int | None:
    """Fewest seeds of each row, at least two; None if 50 are not enough."""
    for num_seeds in range(2, MOST_SEEDS + 1):
        found = power(
            difference, parts, num_seeds=num_seeds, num_items=num_items, num_tests=num_tests
        )
        if found >= POWER:
            return num_seeds
    return None


def items_needed(
    difference: float, parts: Parts, *, num_seeds: int, num_tests: int = 1
) -> int | None:
    """Fewest test items; None if a million are not enough."""

    def is_enough(num_items: int) -> bool:
        found = power(
            difference, parts, num_seeds=num_seeds, num_items=num_items, num_tests=num_tests
        )
        return found >= POWER

    if not is_enough(MOST_ITEMS):
        return None
    few, many = 2, MOST_ITEMS
    while many - few > max(1, few // 100):
        middle = (few + many) // 2
        few, many = (few, middle) if is_enough(middle) else (middle, many)
    return many


@cache
def _relative_variances(num_seeds: int) -> np.ndarray:
    """Equally likely values of a variance over so many seeds, relative to the true one."""
    shares = (np.arange(_DRAWS) + 0.5) / _DRAWS
    return np.asarray(stats.chi2.ppf(shares, num_seeds - 1) / (num_seeds - 1))
