"""Choices between two: whether the place matters, and how far two judges agree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llm_lightning.statistics.intervals import Interval, wilson_interval


@dataclass(frozen=True)
class PositionBias:
    """Whether whoever chooses prefers one place, whatever stands there."""

    first: int
    """Choices of the first, or left, of the two."""
    decided: int
    """Choices of either."""
    share: float | None
    """Of the first; ``None`` if nothing is decided."""
    interval: Interval | None
    """95 % (Wilson)."""

    def sentence(self, first: str, decided: str) -> str | None:
        """Returns a line such as ``the left was preferred in 3 of 4 decided votes: 75 % ...``.

        Args:
            first: what is counted, such as ``the left response was preferred in``.
            decided: of what, such as ``votes``.
        """
        if self.share is None or self.interval is None:
            return None
        return (
            f"{first} {self.first} of {self.decided} decided {decided}: {self.share:.0%} "
            f"({self.interval.low:.0%} to {self.interval.high:.0%}; 50 % is no position bias)"
        )


def position_bias(first_won: Iterable[bool]) -> PositionBias:
    """Counts how often the first of two is preferred.

    Args:
        first_won: for each decided choice whether it went to the first, or the left.
    """
    won = list(first_won)
    if not won:
        return PositionBias(0, 0, None, None)
    interval = wilson_interval(sum(won), len(won))
    return PositionBias(sum(won), len(won), sum(won) / len(won), interval)


def cohens_kappa(said: Sequence[tuple[int, int]]) -> float | None:
    """Returns how much more often two raters agree than by chance, relative to always.

    Cohen 1960, "A Coefficient of Agreement for Nominal Scales".

    Args:
        said: what each of the two said about each thing.
    """
    if not said:
        return None
    n = len(said)
    one, other = zip(*said, strict=True)
    observed = sum(a == b for a, b in said) / n
    chance = sum(one.count(value) * other.count(value) for value in set(one)) / n**2
    return None if chance == 1 else (observed - chance) / (1 - chance)
