"""Whether a model computes the same in two parts, the first of which is stored, as in one."""

import torch

from llm_lightning.backbone.protocol import Backbone

_TOLERANCE = 1e-4
"""Largest difference, relative to the largest state, between a pass in two parts and a whole one:
far above the rounding of float32, far below any real difference."""
_NUM_TOKENS = 24


@torch.no_grad()
def why_parts_differ(backbone: Backbone, depth: int) -> str | None:
    """Compares a pass in two parts with a whole one, on a few tokens with padding.

    Args:
        backbone: in eval mode.
        depth: number of blocks of the first part.

    Returns:
        Why the result of the first part cannot be stored; ``None`` if it can.
    """
    device = backbone.input_embedding.weight.device
    length = min(backbone.context_length, _NUM_TOKENS)
    ids = (torch.arange(2 * length, device=device) * 7919 + 11) % backbone.vocab_size
    ids = ids.view(2, length)
    lengths = torch.tensor([length, max(1, length - 9)], device=device)
    mask = torch.arange(length, device=device) < lengths[:, None]
    try:
        whole = backbone(ids, mask)
        first = backbone.first_blocks(ids, mask, depth)
        backbone(ids.roll(1), mask)  # what a block may keep for others is then of other texts
        resumed = backbone.later_blocks(first, mask, depth)
        difference = float((whole - resumed)[mask].abs().max())
    except Exception as error:  # of the model's own code, which may do anything
        return f"this model cannot be run in two parts ({type(error).__name__}: {error})"
    if difference <= _TOLERANCE * max(1.0, float(whole[mask].abs().max())):
        return None
    return f"run in two parts, this model gives other hidden states (by {difference:.2g})"
