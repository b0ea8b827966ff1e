"""A loader of shuffled batches that can start within an epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler


@dataclass(frozen=True)
class EpochPosition:
    """How far an epoch has come."""

    order_at_start: Tensor
    """State of the generator of the order when the epoch began."""
    num_batches: int
    """Batches that were trained on."""
    is_whole: bool
    """Whether these are all of the epoch."""


class SkippingBatches(Sampler[list[int]]):
    """The batches of another sampler without the first ones, which are drawn but not loaded.

    Args:
        batches: of indices.
    """

    def __init__(self, batches: Sampler[list[int]]) -> None:
        self._batches = batches
        self.num_skipped = 0

    def __len__(self) -> int:
        """The number of batches in a whole epoch."""
        return len(self._batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the indices of each batch that is left."""
        batches = iter(self._batches)
        for _ in range(self.num_skipped):
            next(batches)
        yield from batches


class ShuffledLoader(DataLoader[Any]):
    """A loader that knows the state of the order at the start of its epoch.

    Args:
        examples: the training split.
        batches: of indices, drawn from ``order``.
        order: generator of the order.
        resume_at: where its first epoch starts; ``None`` at the beginning.
        options: of :class:`torch.utils.data.DataLoader`.
    """

    def __init__(
        self,
        examples: Any,
        batches: Sampler[list[int]],
        *,
        order: torch.Generator,
        resume_at: EpochPosition | None,
        **options: Any,
    ) -> None:
        self._skipping = SkippingBatches(batches)
        super().__init__(examples, batch_sampler=self._skipping, **options)
        self._order = order
        self._resume_at = resume_at
        self.order_at_start = order.get_state()
        """State of the order when the present epoch began."""

    def __iter__(self) -> Any:
        """Starts an epoch, the first one where it was interrupted."""
        position, self._resume_at = self._resume_at, None
        now = self._order.get_state()
        if position is not None:
            self._order.set_state(position.order_at_start)
        self.order_at_start = self._order.get_state()
        self._skipping.num_skipped = position.num_batches if position else 0
        iterator = super().__iter__()
        if position is not None and position.is_whole:
            self._order.set_state(now)  # nothing is left that would draw the order of this epoch
        return iterator
