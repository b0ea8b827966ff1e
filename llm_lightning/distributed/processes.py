"""Which of a run's processes this one is."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Processes:
    """The processes of a run, all on one machine, one a device; seen from one of them.

    Raises:
        ValueError: if a number is out of range.
    """

    size: int = 1
    """How many there are."""
    rank: int = 0
    """The number of this one, from 0."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank must be at least 0 and below {self.size}, got {self.rank}")

    def seed(self, seed: int) -> int:
        """Returns a seed of this process alone; the first one has that of a run without others."""
        if self.rank == 0:
            return seed
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])


ALONE = Processes()
"""A run that is one process."""
