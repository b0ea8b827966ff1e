"""Contexts that are computed once for all of their continuations.

The keys and values of each context are kept and repeated for its continuations, which are then the
only tokens left to compute.

Shapes: G contexts, T tokens of the longest, R continuations, U tokens of the longest, C width.
"""

from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.kv_cache import KeyValueCache
from llm_lightning.backbone.protocol import Backbone

_TOLERANCE = 1e-3
"""Largest difference of hidden states, relative to the largest, from those of whole texts: above
the rounding of float32, below any other order of tokens."""


class PrefixCache(Protocol):
    """Runs continuations on top of contexts."""

    def __call__(
        self, contexts: Sequence[Sequence[int]], rows: Sequence[int], tails: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor]:
        """Computes hidden states.

        Args:
            contexts: token ids of G contexts, each with at least one token.
            rows: the context that each of the R continuations follows.
            tails: token ids of the continuations, each with at least one token.

        Returns:
            The states at the last token of each context, (G, C); and those of the continuations,
            (R, U, C), undefined beyond their ends.
        """


def prefix_cache(backbone: Backbone) -> tuple[PrefixCache | None, str | None]:
    """Finds how a backbone's contexts can be shared.

    Returns:
        The cache; or ``None`` and the reason, if what it computes differs from whole texts.
    """
    if isinstance(backbone, GPT2):
        return GPT2Prefixes(backbone), None
    shared = TransformersPrefixes(cast(TransformersBackbone, backbone))
    reason = _why_not(backbone, shared)
    return (None, reason) if reason else (shared, None)


class GPT2Prefixes:
    """Prefixes of GPT-2, with its own key/value cache.

    Args:
        backbone: in eval mode.
    """

    def __init__(self, backbone: GPT2) -> None:
        self._backbone = backbone

    def __call__(
        self, contexts: Sequence[Sequence[int]], rows: Sequence[int], tails: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor]:
        """See :class:`PrefixCache`."""
        device = self._backbone.wte.weight.device
        ids, mask = padded(contexts, device)
        cache = KeyValueCache(self._backbone.num_blocks, capacity=ids.shape[1])
        states = self._backbone(ids, mask, cache=cache)  # (G, T, C)
        at_end = states[torch.arange(len(ids), device=device), mask.sum(dim=1) - 1]
        tail_ids, tail_mask = padded(tails, device)
        repeated = cache.repeated(torch.tensor(rows, device=device), room=tail_ids.shape[1])
        return at_end, self._backbone(tail_ids, tail_mask, cache=repeated)


class TransformersPrefixes:
    """Prefixes of a model of transformers, with the library's cache.

    Contexts are padded on the left and continuations on the right, so that no padding stands
    between a context and its continuation.

    Args:
        backbone: a decoder in eval mode.
    """

    def __init__(self, backbone: TransformersBackbone) -> None:
        self._backbone = backbone

    def __call__(
        self, contexts: Sequence[Sequence[int]], rows: Sequence[int], tails: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor]:
        """See :class:`PrefixCache`."""
        from transformers import DynamicCache

        device = self._backbone.input_embedding.weight.device
        ids, mask = padded(contexts, device, left=True)
        past: Any = DynamicCache(config=self._backbone.config)
        positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
        states = self._run(ids, mask, positions, past)
        of_row = torch.tensor(rows, device=device)
        past.batch_select_indices(of_row)
        tail_ids, tail_mask = padded(tails, device)
        start = mask.sum(dim=1)[of_row, None]
        positions = start + torch.arange(tail_ids.shape[1], device=device)
        whole_mask = torch.cat([mask[of_row], tail_mask], dim=1)
        return states[:, -1], self._run(tail_ids, whole_mask, positions, past)

    def _run(self, ids: Tensor, mask: Tensor, positions: Tensor, past: Any) -> Tensor:
        out = self._backbone.model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=positions,
            past_key_values=past,
            use_cache=True,
        )
        return cast(Tensor, out.last_hidden_state)


def padded(
    rows: Sequence[Sequence[int]], device: torch.device, *, left: bool = False
) -> tuple[Tensor, Tensor]:
    """Returns token ids as one tensor and its mask, true at tokens."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for index, row in enumerate(rows):
        span = slice(longest - len(row), longest) if left else slice(len(row))
        ids[index, span] = torch.tensor(row)
        mask[index, span] = True
    return ids.to(device), mask.to(device)


@torch.inference_mode()
def _why_not(backbone: Backbone, shared: PrefixCache) -> str | None:
    """Compares shared contexts with whole texts on a few tokens."""
    length = max(2, min(backbone.context_length - 4, 24))
    ids = [(index * 7919 + 11) % backbone.vocab_size for index in range(length + 3)]
    contexts = [ids[: length - 1], ids[1 : length // 2 + 1]]
    tails = [ids[-3:], ids[-2:], ids[:1]]
    rows = [0, 0, 1]
    try:
        at_end, of_tails = shared(contexts, rows, tails)
        for row, tail, states in zip(rows, tails, of_tails, strict=True):
            context = contexts[row]
            whole = backbone(torch.tensor([[*context, *tail]], device=states.device))[0]
            found = torch.cat([at_end[row : row + 1], states[: len(tail)]])
            expected = whole[len(context) - 1 :]
            if (found - expected).abs().max() > _TOLERANCE * expected.abs().max():
                return "with a cache this model gives other hidden states"
    except Exception as error:  # of the model's own code, which may do anything
        return f"this model's cache cannot be repeated ({type(error).__name__}: {error})"
    return None
