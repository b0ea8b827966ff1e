"""Which of a run's processes this one is."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Processes:
    """The processes of a run, one a device, seen from one of them.

    Raises:
        ValueError: if a number is out of range.
    """

    per_node: int = 1
    """Processes on each machine."""
    num_nodes: int = 1
    """Machines."""
    node_rank: int = 0
    """This one's machine, from 0."""
    local_rank: int = 0
    """This one among those of its machine, from 0."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not 0 <= self.node_rank < self.num_nodes:
            raise ValueError(f"node_rank must be below {self.num_nodes}, got {self.node_rank}")
        if not 0 <= self.local_rank < self.per_node:
            raise ValueError(f"local_rank must be below {self.per_node}, got {self.local_rank}")

    @property
    def size(self) -> int:
        """How many there are."""
        return self.per_node * self.num_nodes

    @property
    def rank(self) -> int:
        """This one among all, from 0."""
        return self.node_rank * self.per_node + self.local_rank

    @property
    def is_main(self) -> bool:
        """Whether it is the one that prints and writes."""
        return self.rank == 0

    def seed(self, seed: int) -> int:
        """Returns a seed of this process alone; the main one has that of a run without others."""
        if self.is_main:
            return seed
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])


ALONE = Processes()
"""A run that is one process."""
