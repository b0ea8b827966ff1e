"""Token sequences with a label for every position, and batches of them.

Real tokens are distinguished from padding by the lengths, never by a token's value: GPT-2's padding
is the end-of-text token, which a text may contain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from llm_lightning.data.batching import on_device

NO_LABEL = -100  # ignored by torch's cross entropy


@dataclass
class TokenSequence:
    """Input and labels of a language model for one text of T tokens, at least 1."""

    ids: Int[Tensor, " T"]
    """(T,) int64, input token ids."""
    labels: Int[Tensor, " T"]
    """(T,) int64, the token that follows each of them; ``NO_LABEL`` where the loss ignores it."""
    in_response: Bool[Tensor, " T"]
    """(T,) bool, whether the label belongs to a response, end of text included."""
    index: int = 0
    """Position of the sequence in its split."""

    def __len__(self) -> int:
        """The number of input tokens, T."""
        return len(self.ids)


class SequenceBatch(NamedTuple):
    """A batch for a language model: B examples, padded to T positions."""

    input_ids: Int[Tensor, "B T"]
    """(B, T) int64; padded on the right."""
    lengths: Int[Tensor, " B"]
    """(B,) int64, number of real tokens of each row."""
    labels: Int[Tensor, "B T"]
    """(B, T) int64; ``NO_LABEL`` where the loss ignores the label, padding included."""
    in_response: Bool[Tensor, "B T"]
    """(B, T) bool, whether the label belongs to a response."""
    indices: Int[Tensor, " B"]
    """(B,) int64, position of each row's sequence in its split."""
    is_filler: bool = False
    """Whether it only keeps this process in step with others, and counts for nothing."""

    def to(self, device: torch.device) -> "SequenceBatch":
        """Moves to a device; ``indices`` stay on the CPU, where cached activations are."""
        return self._replace(**on_device(self._asdict(), device))


def collate(sequences: Sequence[TokenSequence], pad_id: int) -> SequenceBatch:
    """Pads sequences on the right to the longest one of the batch.

    Args:
        sequences: B sequences of at most T tokens.
        pad_id: the token that fills the rows.

    Returns:
        A batch of shape (B, T).
    """
    lengths = [len(sequence) for sequence in sequences]
    shape = (len(sequences), max(lengths))
    input_ids = torch.full(shape, pad_id)
    labels = torch.full(shape, NO_LABEL)
    in_response = torch.zeros(shape, dtype=torch.bool)
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        input_ids[row, :length] = sequence.ids
        labels[row, :length] = sequence.labels
        in_response[row, :length] = sequence.in_response
    index = torch.tensor([sequence.index for sequence in sequences])
    return SequenceBatch(input_ids, torch.tensor(lengths), labels, in_response, index)
