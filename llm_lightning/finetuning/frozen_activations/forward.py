"""A forward pass in two parts: the frozen blocks once, the later blocks in every step."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llm_lightning.backbone.inputs import ModelInputs
from llm_lightning.backbone.protocol import Backbone
from llm_lightning.backbone.unpadding import Unpadding
from llm_lightning.finetuning.frozen_activations.cache import ActivationCache


@torch.no_grad()
def frozen_activations(
    backbone: Backbone, inputs: ModelInputs, depth: int, *, selected_only: bool
) -> Float[Tensor, "N C"]:
    """Runs the frozen blocks for a batch, as :meth:`ActivationCache.put` stores the result.

    Args:
        backbone: the network.
        inputs: B examples.
        depth: number of blocks.
        selected_only: whether only the positions that the head takes are returned.

    Returns:
        The N positions of all examples, one example after another, without padding.
    """
    unpadding = None
    if backbone.skips_padding:
        unpadding = Unpadding.of(inputs.lengths, inputs.input_ids.shape[1])
    x = backbone.first_blocks(
        inputs.input_ids,
        inputs.padding_mask,
        depth,
        positions=inputs.positions if selected_only else None,
        unpadding=unpadding,
    )
    if x.dim() == 2:  # unpadded
        return x[: int(inputs.lengths.sum())]
    counts = inputs.counts if selected_only else inputs.lengths
    return x[torch.arange(x.shape[1], device=x.device) < counts[:, None]]


def hidden_states(
    backbone: Backbone,
    inputs: ModelInputs,
    cache: ActivationCache,
    split: str,
    indices: Int[Tensor, " B"],
) -> Float[Tensor, "B out C"]:
    """Computes from stored activations what the whole backbone computes.

    Args:
        backbone: the network.
        inputs: B examples.
        cache: contains their activations.
        split: ``train``, ``val`` or ``test``.
        indices: of the examples in their split, on the CPU.

    Returns:
        (B, Q, C) states of the selected positions after the final LayerNorm; (B, T, C) if all are.
    """
    device = inputs.input_ids.device
    if cache.selected_only:
        return backbone.final_norm(cache.get(split, indices, device))
    # From the cache's own counts, which are on the CPU and equal ``inputs.lengths``.
    unpadding = None
    if backbone.skips_padding:
        unpadding = Unpadding.of(cache.counts(split, indices), inputs.input_ids.shape[1])
    x = cache.get(split, indices, device, unpadding)
    return backbone.later_blocks(
        x,
        inputs.padding_mask,
        cache.depth,
        positions=inputs.positions,
        unpadding=None if unpadding is None else unpadding.to(device),
    )
