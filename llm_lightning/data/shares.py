"""Each process's share of the batches.

All processes draw the same order of examples, as one process would, and each takes its part: of
training batches some examples of each, so that a step trains on what one process would train on; of
evaluation batches every n-th one whole, since what a model predicts may depend on the batch.
A process whose part is empty gets a filler, which keeps it in step and counts for nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch.utils.data import Sampler

from llm_lightning.distributed.processes import Processes

T = TypeVar("T")


@runtime_checkable
class SizedBatches(Protocol):
    """Batches of indices, as a sampler draws them for each epoch."""

    def __len__(self) -> int:
        """The number of batches."""

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the indices of each batch."""


class ShareOfEachBatch(Sampler[list[int]]):
    """This process's examples of every training batch, perhaps none of the last one.

    Args:
        batches: of indices, the same in every process.
        processes: of the run.
    """

    def __init__(self, batches: SizedBatches, processes: Processes) -> None:
        self._batches = batches
        self._processes = processes

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the indices of each share."""
        # Every n-th: a batch may be sorted by length, and the shares take equally long then.
        first, step = self._processes.rank, self._processes.size
        for batch in self._batches:
            yield batch[first::step]


def share_of_batches(num_examples: int, batch_size: int, processes: Processes) -> list[list[int]]:
    """Returns the evaluation batches of this process, equally many in each; the last may be empty.

    Args:
        num_examples: of the split.
        batch_size: examples in a batch.
        processes: of the run.
    """
    starts = range(0, num_examples, batch_size)
    own = starts[processes.rank :: processes.size]
    batches = [list(range(start, min(start + batch_size, num_examples))) for start in own]
    num_rounds = -(-len(starts) // processes.size)
    return batches + [[]] * (num_rounds - len(batches))


def dealt(batches: Iterable[T], processes: Processes) -> Iterator[tuple[T, bool]]:
    """Yields this process's share of batches that all of them have: every n-th one.

    Yields:
        A batch, and whether it is a filler that another process has.
    """
    remaining = iter(batches)
    while in_turn := list(islice(remaining, processes.size)):
        is_filler = processes.rank >= len(in_turn)
        yield in_turn[0 if is_filler else processes.rank], is_filler


class Filling:
    """Collates a list of examples; an empty one becomes a filler.

    Args:
        collate: of lists that are not empty.
        examples: of the split, of which the shortest one fills.
    """

    def __init__(self, collate: Callable[[Any], Any], examples: Sequence[Any]) -> None:
        self._collate = collate
        self._filler = min(examples, key=len)

    def __call__(self, examples: Sequence[Any]) -> Any:
        """Returns a batch."""
        if examples:
            return self._collate(examples)
        return self._collate([self._filler])._replace(is_filler=True)
