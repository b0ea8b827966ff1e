"""Pooling: the hidden state that a classification head classifies.

The book's table shows that it matters more than most choices: row 1 takes the last position, which
is padding for all but the longest texts (95.00 % test accuracy), row 16 the last real token
(98.33 %).

Shapes: B rows, T positions, C embedding width.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llm_lightning.backbone.inputs import ModelInputs

POOLINGS = ("auto", "last_real", "last", "first", "cls", "mean_real", "mean")
_OF_REAL_TOKENS = ("last_real", "first", "mean_real")


def resolved_pooling(pooling: str, *, is_causal: bool) -> str:
    """Returns the pooling that a setting means for a model.

    Args:
        pooling: one of ``POOLINGS``.
        is_causal: whether a position attends only to itself and earlier ones.

    Returns:
        Neither ``auto`` nor ``cls``, which is the ``first`` token of an encoder's text.

    Raises:
        ValueError: for ``cls`` with a causal model, whose first token attends to no other.
    """
    if pooling == "auto":
        return "last_real" if is_causal else "mean_real"
    if pooling == "cls":
        if is_causal:
            raise ValueError(
                "task.pooling=cls needs an encoder: in a causal model the first token attends to "
                "no other; use last_real or mean_real"
            )
        return "first"
    return pooling


def check_pooling(pooling: str) -> None:
    """Checks a setting.

    Raises:
        ValueError: if it is not one of ``POOLINGS``.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"task.pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")


def real_tokens(lengths: Int[Tensor, " B"], num_positions: int) -> Bool[Tensor, "B T"]:
    """Returns the padding mask, true at real tokens, for rows of these lengths."""
    return torch.arange(num_positions, device=lengths.device) < lengths[:, None]


def depends_on_padding(pooling: str, *, is_causal: bool, is_masked: bool) -> bool:
    """Whether removing padding columns would change the pooled state.

    Args:
        pooling: one of ``POOLINGS``.
        is_causal: whether a position attends only to itself and earlier ones; a real token then
            never attends to the padding behind it.
        is_masked: whether attention hides padding.
    """
    return pooling not in _OF_REAL_TOKENS or not (is_causal or is_masked)


def pooled_positions(
    lengths: Int[Tensor, " B"], num_positions: int, pooling: str
) -> Int[Tensor, "B 1"] | None:
    """Returns the position whose state is pooled.

    Args:
        lengths: real tokens of each row, at least 1.
        num_positions: T.
        pooling: one of ``POOLINGS``.

    Returns:
        ``None`` for a mean, which needs all positions.

    Raises:
        ValueError: if ``pooling`` is none of them.
    """
    check_pooling(pooling)
    if pooling == "last_real":
        return lengths[:, None] - 1
    if pooling == "last":
        return torch.full_like(lengths, num_positions - 1)[:, None]
    if pooling == "first":
        return torch.zeros_like(lengths)[:, None]
    return None


def pooling_inputs(
    input_ids: Int[Tensor, "B T"],
    lengths: Int[Tensor, " B"],
    pooling: str,
    *,
    is_causal: bool,
    is_masked: bool,
) -> ModelInputs:
    """Selects what must be computed for the pooled state, without padding that cannot change it.

    Args:
        input_ids: token ids, padded on the right.
        lengths: real tokens of each row, at least 1.
        pooling: one of ``POOLINGS``.
        is_causal: whether the backbone is causal.
        is_masked: whether attention hides padding.
    """
    computed = lengths
    if depends_on_padding(pooling, is_causal=is_causal, is_masked=is_masked):
        computed = torch.full_like(lengths, input_ids.shape[1])
    elif pooling == "first" and is_causal:
        computed = torch.ones_like(lengths)  # it attends to nothing behind it
    input_ids = input_ids[:, : int(computed.max())]
    T = input_ids.shape[1]
    # A causal backbone hides padding from real tokens without a mask.
    needs_mask = is_masked and not (is_causal and pooling in _OF_REAL_TOKENS)
    return ModelInputs(
        input_ids,
        real_tokens(lengths, T) if needs_mask else None,
        computed,
        pooled_positions(lengths, T, pooling),
        torch.ones_like(lengths),
    )


def mean(
    hidden: Float[Tensor, "B T C"], lengths: Int[Tensor, " B"], pooling: str
) -> Float[Tensor, "B C"]:
    """Averages hidden states.

    Args:
        hidden: states of all positions.
        lengths: real tokens of each row, at least 1.
        pooling: ``mean_real`` or ``mean``.
    """
    if pooling == "mean":
        return hidden.mean(dim=1)
    is_real = real_tokens(lengths, hidden.shape[1])
    return (hidden * is_real[:, :, None]).sum(dim=1) / lengths[:, None]
