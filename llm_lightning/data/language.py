"""Data for language modelling: from three lists of token sequences to batches.

A subclass (``instructions.py``, ``text.py``) reads the sequences. Grouping by length, padding, data
loaders and the facts that a run records are here.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch.utils.data import DataLoader

from llm_lightning.data.batching import check_batches, longest_first
from llm_lightning.data.module import DataModule
from llm_lightning.data.sequences import NO_LABEL, SequenceBatch, TokenSequence, collate
from llm_lightning.run_format.splits import SPLITS


@dataclass(eq=False)
class LanguageData(DataModule, ABC):
    """Base class of data sets of token sequences.

    Every loader has its own random generator: iterating over one does not change another's order.

    Raises:
        ValueError: if a field is out of range.
    """

    max_length: int | None = None
    """Longest input in tokens, at least 2; ``null`` is the model's context."""
    batch_size: int = 8
    """Sequences per training batch, at least 1."""
    eval_batch_size: int = 32
    """Sequences per evaluation batch, at least 1."""
    group_by_length: bool = True
    """Whether to form training batches of sequences of similar length, which need less padding.
    The order of the batches is random either way."""
    drop_last: bool = False
    """Whether to drop the last, smaller training batch of each epoch."""
    num_workers: int = 0
    """Worker processes of a data loader. The data are small: 0, the main process, is fastest."""
    seed: int = 123
    """Seed for the order of the training sequences."""

    # Losses are summed over all tokens, so that the order is free, and sorting minimises padding.
    is_evaluated_longest_first = True

    def __post_init__(self) -> None:
        """Checks ranges; touches neither network nor disk."""
        super().__init__()
        for key, least in (("batch_size", 1), ("eval_batch_size", 1), ("num_workers", 0)):
            if getattr(self, key) < least:
                raise ValueError(f"data.{key} must be at least {least}, got {getattr(self, key)}")
        if self.max_length is not None and self.max_length < 2:
            raise ValueError(f"data.max_length must be at least 2 tokens, got {self.max_length}")
        self._sequences: dict[str, list[TokenSequence]] | None = None

    def _check_max_length(self) -> None:
        if self.max_length is not None and not 2 <= self.max_length <= self.context_length:
            raise ValueError(
                f"data.max_length must be between 2 and the model's context of "
                f"{self.context_length} tokens, got {self.max_length}"
            )

    @property
    def longest(self) -> int:
        """Largest number of input tokens: ``max_length``, but at most the model's context."""
        return min(self.max_length or self.context_length, self.context_length)

    @abstractmethod
    def read(self) -> dict[str, list[TokenSequence]]:
        """Reads, splits and encodes the texts; called once, by ``setup``.

        Returns:
            The sequences of ``train``, ``val`` and ``test``.
        """

    def setup(self, stage: str | None = None) -> None:
        """Reads and numbers the sequences; further calls do nothing."""
        if self._sequences is None:
            self._check_max_length()
            found = self.read()
            check_batches(len(found["train"]), self.batch_size, drop_last=self.drop_last)
            self._sequences = found
            for sequences in self._sequences.values():
                for index, sequence in enumerate(sequences):
                    sequence.index = index

    @property
    def sequences(self) -> dict[str, list[TokenSequence]]:
        """The sequences of each split; available after ``setup``."""
        if self._sequences is None:
            raise RuntimeError("call prepare_data() and setup() first")
        return self._sequences

    def facts(self) -> dict[str, Any]:
        """See :class:`~llm_lightning.data.module.DataModule`."""
        return {
            "source": self.source,
            "max_length": self.longest,
            "splits": {
                name: {
                    "examples": len(sequences),
                    "tokens": sum(len(sequence) for sequence in sequences),
                    "label_tokens": sum(
                        int((sequence.labels != NO_LABEL).sum()) for sequence in sequences
                    ),
                    "response_tokens": sum(
                        int(sequence.in_response.sum()) for sequence in sequences
                    ),
                    "sha256": _fingerprint(sequences),
                }
                for name, sequences in self.sequences.items()
            },
        }

    def train_dataloader(self) -> DataLoader[SequenceBatch]:
        """Returns shuffled batches; ``seed`` and the epoch alone determine their order."""
        sequences = self.sequences["train"]
        return self._shuffled(
            sequences,
            self._collate,
            lengths=list(map(len, sequences)) if self.group_by_length else None,
            drop_last=self.drop_last,
        )

    def val_dataloader(self) -> DataLoader[SequenceBatch]:
        """Returns the validation split, longest sequences first."""
        return self._longest_first("val")

    def test_dataloader(self) -> list[DataLoader[SequenceBatch]]:
        """Returns training, validation and test split, for the final evaluation."""
        return [self._longest_first(name) for name in SPLITS]

    def sorted_batches(self, split: str, num_tokens: int) -> Iterator[SequenceBatch]:
        """See :class:`~llm_lightning.data.module.DataModule`."""
        sequences = self.sequences[split]
        for indices in longest_first(list(map(len, sequences)), num_tokens):
            yield self._collate([sequences[index] for index in indices])

    def _longest_first(self, name: str) -> DataLoader[SequenceBatch]:
        return self._in_order(self.sequences[name], self._collate)

    @property
    def _collate(self) -> Callable[[Sequence[TokenSequence]], SequenceBatch]:
        return partial(collate, pad_id=self.tokenizer.pad_id)


def _fingerprint(sequences: list[TokenSequence]) -> str:
    digest = hashlib.sha256()
    for sequence in sequences:
        for part in (sequence.ids, sequence.labels):
            digest.update(part.numpy().astype("<i4").tobytes() + b"|")
    return digest.hexdigest()
