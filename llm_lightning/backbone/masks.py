"""Attention masks: which keys each query may attend to, true where it may."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def attention_mask(
    padding_mask: Bool[Tensor, "B T"] | None, *, is_causal: bool
) -> Bool[Tensor, "B 1 T T"] | None:
    """Returns the mask of all positions of a padded batch.

    Args:
        padding_mask: true at real tokens; ``None`` hides nothing.
        is_causal: whether a position attends only to itself and earlier ones.

    Returns:
        ``None`` without padding, because attention applies the causal rule by itself.
    """
    if padding_mask is None:
        return None
    T = padding_mask.shape[1]
    mask = padding_mask[:, None, None, :].expand(-1, 1, T, T)
    if is_causal:
        indices = torch.arange(T, device=padding_mask.device)
        mask = mask & (indices[:, None] >= indices[None, :])
    return mask


def mask_of_selected(
    padding_mask: Bool[Tensor, "B T"] | None,
    positions: Int[Tensor, "B Q"],
    num_keys: int,
    *,
    is_causal: bool,
) -> Bool[Tensor, "B 1 Q T"] | None:
    """Returns the rows of the attention mask that belong to some positions.

    Args:
        padding_mask: true at real tokens; ``None`` hides nothing.
        positions: the queries' positions in their row.
        num_keys: T.
        is_causal: whether a position attends only to itself and earlier ones.

    Returns:
        ``None`` if every query attends to every key.
    """
    mask = None if padding_mask is None else padding_mask[:, None, None, :]
    if is_causal:
        keys = torch.arange(num_keys, device=positions.device)
        not_later = keys <= positions[:, None, :, None]
        mask = not_later if mask is None else mask & not_later
    elif mask is not None:
        mask = mask.expand(-1, 1, positions.shape[1], num_keys)
    return mask
