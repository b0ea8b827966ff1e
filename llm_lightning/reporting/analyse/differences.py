"""What the differences that a table shows say: better, worse, equivalent, or nothing.

Every difference is tested by the procedure of :mod:`~llm_lightning.statistics.crossed`. Holm's
correction counts all differences that are shown together, so that any false claim of a kind among
them is 5 % likely at most; the kinds are *better or worse*, *equivalent* and *no worse*.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.statistics.crossed import CrossedMean, crossed_difference
from llm_lightning.statistics.intervals import holm

SIGNIFICANT = 0.05

Word = Literal["better", "worse", "equivalent", "no worse", "cannot be told apart"]


@dataclass(frozen=True)
class Difference:
    """A row's scores minus the reference row's, on the same items."""

    found: CrossedMean
    """As a share; its interval and p-value are of this difference alone."""
    one_seed: bool
    """Whether a network of either side ran with one seed: then it is about that trained model."""
    p_holm: float
    """Of the hypothesis that there is no difference, after Holm's correction."""
    margin: float | None = None
    """The largest difference that does not matter, as a share; None if that was not asked."""
    p_equivalent: float = 1.0
    """Of the hypothesis that it is the margin or more either way, after Holm's correction."""
    p_no_worse: float = 1.0
    """Of the hypothesis that the row is worse by the margin or more, after Holm's correction."""

    @property
    def mean(self) -> float:
        """The measured difference."""
        return self.found.mean

    @property
    def differs(self) -> bool:
        """Whether there is a difference."""
        return self.p_holm < SIGNIFICANT

    @property
    def is_within_margin(self) -> bool:
        """Whether the difference, if there is one, is smaller than the margin."""
        return self.p_equivalent < SIGNIFICANT

    @property
    def word(self) -> Word:
        """The strongest claim about which is better, or else about how far they are apart."""
        if self.differs:
            return "better" if self.mean > 0 else "worse"
        if self.is_within_margin:
            return "equivalent"
        return "no worse" if self.p_no_worse < SIGNIFICANT else "cannot be told apart"


def claims(
    pairs: Sequence[tuple[CrossedMean, bool]], margin: float | None = None
) -> list[Difference]:
    """Tests all differences that are shown together.

    Args:
        pairs: each difference, and whether it is about a single seed.
        margin: the largest difference that does not matter, as a share; None tests none.
    """
    found = [difference for difference, _ in pairs]
    different = holm([difference.p_value() for difference in found])
    equivalent = no_worse = [1.0] * len(found)
    if margin is not None:
        equivalent = holm([difference.p_within(margin) for difference in found])
        no_worse = holm([difference.p_above(-margin) for difference in found])
    return [
        Difference(difference, one_seed, p_holm, margin, p_equivalent, p_no_worse)
        for (difference, one_seed), p_holm, p_equivalent, p_no_worse in zip(
            pairs, different, equivalent, no_worse, strict=True
        )
    ]


def crossed(
    reference: Row, base: NDArray[np.float64], row: Row, scores: NDArray[np.float64]
) -> tuple[CrossedMean, bool]:
    """The difference of two rows, and whether it is about a single seed.

    Seeds are paired where both rows have the same.

    Args:
        reference: the row that is subtracted.
        base: its scores, shape (seeds, items).
        row: the other row.
        scores: its scores of the same items.
    """
    found = crossed_difference(base, scores, paired=reference.seeds == row.seeds)
    return found, reference.has_one_seed or row.has_one_seed
