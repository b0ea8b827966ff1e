"""Token sequences with a label for every position, and the batches they form.

Labels are made from lengths, never by looking for a token's value: a text may hold the end-of-text
token itself, and padding is that token too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Sampler

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID

NO_LABEL = -100  # torch's cross entropy ignores this class

# Batches that are sorted together; more of them pad less and shuffle less.
_BATCHES_PER_POOL = 50


@dataclass
class TokenSequence:
    """One text as a language model reads it: three tensors of T positions, T at least 1."""

    ids: Tensor
    """(T,) int64, token ids that are read."""
    labels: Tensor
    """(T,) int64, the token that follows each of them; ``NO_LABEL`` where none is to be learnt."""
    in_response: Tensor
    """(T,) bool, whether the label belongs to a response, end of text included."""
    index: int = 0
    """Which of its split it is."""

    def __len__(self) -> int:
        """The number of tokens read."""
        return len(self.ids)


class SequenceBatch(NamedTuple):
    """What a language model reads in one step. B examples, T positions."""

    input_ids: Tensor
    """(B, T) int64; padded on the right with the end-of-text token."""
    lengths: Tensor
    """(B,) int64, real tokens a row."""
    labels: Tensor
    """(B, T) int64; ``NO_LABEL`` where none is to be learnt, padding included."""
    in_response: Tensor
    """(B, T) bool, true where the label belongs to a response."""
    indices: Tensor
    """(B,) int64, which sequence of its split each row is."""


def collate(sequences: Sequence[TokenSequence]) -> SequenceBatch:
    """Pads to the longest sequence of the batch."""
    lengths = [len(sequence) for sequence in sequences]
    shape = (len(sequences), max(lengths))
    input_ids = torch.full(shape, END_OF_TEXT_ID)
    labels = torch.full(shape, NO_LABEL)
    in_response = torch.zeros(shape, dtype=torch.bool)
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        input_ids[row, :length] = sequence.ids
        labels[row, :length] = sequence.labels
        in_response[row, :length] = sequence.in_response
    index = torch.tensor([sequence.index for sequence in sequences])
    return SequenceBatch(input_ids, torch.tensor(lengths), labels, in_response, index)


class LengthGroupedBatches(Sampler[list[int]]):
    """Random batches of examples of similar length, so that little is padded.

    Each epoch shuffles all examples, sorts within pools of 50 batches, and shuffles the batches.
    The order depends on the generator, from which nothing else may draw.

    Args:
        lengths: of every example.
        batch_size: examples in a batch.
        drop_last: whether an epoch leaves out the examples that fill no batch.
        generator: decides the order.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        *,
        drop_last: bool,
        generator: torch.Generator,
    ) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._generator = generator

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self._lengths), self._batch_size)
        return whole if self._drop_last or not rest else whole + 1

    def __iter__(self) -> Iterator[list[int]]:
        """One epoch of batches of indices."""
        order = torch.randperm(len(self._lengths), generator=self._generator).tolist()
        if self._drop_last:
            order = order[: len(self) * self._batch_size]
        pool_size = self._batch_size * _BATCHES_PER_POOL
        batches = []
        for start in range(0, len(order), pool_size):
            pool = sorted(order[start : start + pool_size], key=self._lengths.__getitem__)
            batches += [
                pool[at : at + self._batch_size] for at in range(0, len(pool), self._batch_size)
            ]
        for index in torch.randperm(len(batches), generator=self._generator).tolist():
            yield batches[index]
