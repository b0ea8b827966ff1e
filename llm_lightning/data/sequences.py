"""Token sequences with a label for every position, and the batches they form.

Labels are made from lengths, never by looking for a token's value: a text may hold the end-of-text
token itself, and padding is that token too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID

NO_LABEL = -100  # torch's cross entropy ignores this class


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

    def to(self, device: torch.device) -> "SequenceBatch":
        """Moves to a device; ``indices`` stay on the CPU, where cached activations are."""
        moved = (tensor.to(device, non_blocking=device.type == "cuda") for tensor in self[:-1])
        return SequenceBatch._make((*moved, self.indices))


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
