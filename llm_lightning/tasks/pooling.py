"""Which hidden state a classification head reads.

The book's table shows that this matters more than most choices: its row 1 reads the last position,
which is padding for all but the longest texts (95.00 % on test), row 16 the last real token
(98.33 %).
"""

import torch
from torch import Tensor

POSITIONS = ("last_real", "last", "first", "mean_real", "mean")
_READS_REAL_TOKENS_ONLY = ("last_real", "first", "mean_real")


def real_tokens(lengths: Tensor, width: int) -> Tensor:
    """(B,) lengths to (B, width) bool, true at real tokens."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def sees_padding(position: str, *, causal: bool) -> bool:
    """Whether padding can reach what is read, if it is not masked.

    Under the causal rule a real token never sees the padding behind it.
    """
    return not (causal and position in _READS_REAL_TOKENS_ONLY)


def needs_padding(position: str, *, causal: bool, is_masked: bool) -> bool:
    """Whether what is read would be another without the columns that hold nothing but padding."""
    return position not in _READS_REAL_TOKENS_ONLY or not (causal or is_masked)


def positions_read(lengths: Tensor, width: int, position: str) -> Tensor | None:
    """Says which positions are read.

    Args:
        lengths: (B,) real tokens a row, at least 1.
        width: T, columns of the batch.
        position: one of ``POSITIONS``.

    Returns:
        (B, 1) int64, or ``None`` for a mean, which needs all.
    """
    if position == "last_real":
        return lengths[:, None] - 1
    if position == "last":
        return torch.full_like(lengths, width - 1)[:, None]
    if position == "first":
        return torch.zeros_like(lengths)[:, None]
    if position in ("mean_real", "mean"):
        return None
    raise ValueError(f"task.position must be one of {', '.join(POSITIONS)}, got {position!r}")


def mean(hidden: Tensor, lengths: Tensor, position: str) -> Tensor:
    """Averages hidden states.

    Args:
        hidden: (B, T, C).
        lengths: (B,) real tokens a row, at least 1.
        position: ``mean_real`` or ``mean``.

    Returns:
        (B, C).
    """
    if position == "mean":
        return hidden.mean(dim=1)
    is_real = real_tokens(lengths, hidden.shape[1])
    return (hidden * is_real[:, :, None]).sum(dim=1) / lengths[:, None]
