"""Where the variation of test accuracy comes from: initial weights, order, or split.

Each source is a random effect: a run's accuracy is the mean plus one draw for its initial weights,
one for its order, one for its split, and a rest, which holds their interactions. The variances of
these are estimated from quadratic forms and their expectations (MINQUE(0), Rao 1971); where
every combination was run once, that is the classical analysis of variance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.read.run_record import RunRecord

INIT, ORDER, SPLIT = "initial weights", "order and dropout", "split"
REST = "rest"


@dataclass(frozen=True)
class Source:
    """One source of variation."""

    name: str
    levels: int
    """How many different draws of it there are; 0 for the rest."""
    deviation: float
    """Standard deviation of accuracy that it causes, as a share."""
    part: float
    """Its part of the whole variance, from 0 to 1; NaN if nothing varies."""


@dataclass(frozen=True)
class RowVariance:
    """The variance of a row's test accuracy, by source."""

    row: Row
    runs: int
    sources: list[Source]
    """The rest is the last."""

    @property
    def largest(self) -> Source | None:
        """The source that causes most of it; None if nothing varies."""
        largest = max(self.sources, key=lambda source: source.deviation)
        return largest if largest.deviation > 0 else None


def row_variance(row: Row) -> RowVariance | None:
    """Splits the variance of a row's accuracies; None unless two sources can be told apart."""
    runs = [run for run in row.trained if run.metric("test", "accuracy") is not None]
    factors = _factors(runs)
    if len(factors) < 2:
        return None
    accuracies = np.array([run.metric("test", "accuracy") for run in runs], dtype=np.float64)
    found = components(accuracies, factors)
    if found is None:
        return None
    total = sum(found.values())
    sources = [
        Source(
            name,
            len(set(factors[name])) if name in factors else 0,
            float(np.sqrt(variance)),
            variance / total if total else float("nan"),
        )
        for name, variance in found.items()
    ]
    return RowVariance(row, len(runs), sources)


def components(
    values: NDArray[np.float64], factors: Mapping[str, Sequence[object]]
) -> dict[str, float] | None:
    """Variance components of a crossed random-effects model; negative estimates become 0.

    Args:
        values: (N,) one an observation.
        factors: the level of each observation, by factor.

    Returns:
        The variance of each factor and of ``REST``; None if the design cannot tell them apart.
    """
    n = len(values)
    centre = np.eye(n) - 1 / n
    # For each source the N x N matrix of which observations share a level, centred.
    shared = [
        centre @ np.array([[a == b for b in levels] for a in levels], dtype=np.float64) @ centre
        for levels in factors.values()
    ]
    shared.append(centre)
    expected = np.array([[np.sum(one * other) for other in shared] for one in shared])
    if np.linalg.matrix_rank(expected) < len(shared):
        return None
    observed = np.array([values @ one @ values for one in shared])
    found = np.linalg.solve(expected, observed)
    found[np.abs(found) < 1e-12] = 0.0  # rounding
    return dict(zip([*factors, REST], np.maximum(found, 0.0).tolist(), strict=True))


def _factors(runs: Sequence[RunRecord]) -> dict[str, list[object]]:
    """The levels of each source that varies; sources that always vary together are one."""
    levels: dict[str, list[object]] = {
        INIT: [run.init_seed for run in runs],
        ORDER: [run.order_seed for run in runs],
        SPLIT: [run.split for run in runs],
    }
    found: dict[str, list[object]] = {}
    for name, own in levels.items():
        if len(set(own)) < 2:
            continue
        same = next((other for other in found if _are_one(found[other], own)), None)
        if same is None:
            found[name] = own
        else:
            found[f"{same} with {name}"] = found.pop(same)
    return found


def _are_one(one: Sequence[object], other: Sequence[object]) -> bool:
    pairs = set(zip(one, other, strict=True))
    return len(pairs) == len(set(one)) == len(set(other))
