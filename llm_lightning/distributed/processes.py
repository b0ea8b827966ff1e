"""Which of a run's processes this one is."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Processes:
    """The processes of a run, one a device, equally many on each machine; seen from one of them.

    Raises:
        ValueError: if a number is out of range.
    """

    size: int = 1
    """How many there are."""
    rank: int = 0
    """The number of this one, from 0; those of a machine follow each other."""
    num_nodes: int = 1
    """On how many machines they are."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank must be at least 0 and below {self.size}, got {self.rank}")
        if self.size % self.num_nodes:
            raise ValueError(f"{self.size} processes cannot be on {self.num_nodes} machines")

    @property
    def per_node(self) -> int:
        """How many are on each machine."""
        return self.size // self.num_nodes

    @property
    def node_rank(self) -> int:
        """The number of this machine, from 0."""
        return self.rank // self.per_node

    @property
    def local_rank(self) -> int:
        """The number of this process among those of its machine, from 0."""
        return self.rank % self.per_node

    def beside(self) -> "list[Processes]":
        """Returns the others of this machine, each as it sees the run."""
        first = self.node_rank * self.per_node
        ranks = (rank for rank in range(first, first + self.per_node) if rank != self.rank)
        return [Processes(self.size, rank, self.num_nodes) for rank in ranks]

    def seed(self, seed: int) -> int:
        """Returns a seed of this process alone; the first one has that of a run without others."""
        if self.rank == 0:
            return seed
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])


ALONE = Processes()
"""A run that is one process."""
