"""What the network computes for a batch: which tokens, which positions, and what stays hidden."""

from typing import NamedTuple

from torch import Tensor


class ModelInputs(NamedTuple):
    """Inputs of a backbone for B examples of T positions, of which Q are selected for the head."""

    input_ids: Tensor
    """(B, T) int64 token ids, without columns that cannot change the result."""
    padding_mask: Tensor | None
    """(B, T) bool, true at real tokens; ``None`` if no position needs to be hidden."""
    lengths: Tensor
    """(B,) int64, how many of a row's first positions are computed, at least 1."""
    positions: Tensor | None
    """(B, Q) int64, the positions whose hidden states the head takes; ``None``: all of them, in
    every batch."""
    counts: Tensor
    """(B,) int64, how many of a row's ``positions`` (or, without these, of its first positions)
    are used; the rest fill up the tensor."""
