"""Attention: each position's mean over what it may see, computed for the positions that ask.

Shapes: B batch, T positions, S with those of earlier tokens, Q positions that ask, N packed
positions, C embedding width, H attention heads, D = C / H.
"""

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm_lightning.backbone.kv_cache import LayerCache
from llm_lightning.backbone.unpadding import Packing

if TYPE_CHECKING:
    from llm_lightning.backbone.gpt2 import GPTConfig


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, config: "GPTConfig") -> None:
        super().__init__()
        self.n_head = config.n_head
        self.causal = config.causal
        self.attn_pdrop = config.attn_pdrop
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)  # rows: query, key, value
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(
        self,
        x: Tensor,
        attention_mask: Tensor | None,
        cache: LayerCache | None = None,
        reads: Tensor | None = None,
        packing: Packing | None = None,
    ) -> Tensor:
        """Mixes positions.

        Args:
            x: (B, T, C), or (N, C) if packed.
            attention_mask: (B, 1, T, S) bool, true where a query may see a key, causal rule
                included; ``None`` where the causal rule alone (or nothing) applies.
            cache: earlier tokens' keys and values, S - T of them; ``None``: S = T.
            reads: (B, Q) positions that ask, for a mask with Q queries; ``None``: all T.
            packing: where each of the N rows of a packed ``x`` stands; not with a cache.

        Returns:
            As ``x``, or (B, Q, C).
        """
        if reads is not None and reads.shape[1] == 1 and type(self.c_attn) is nn.Linear:
            mixed = self._mix_one(x, attention_mask, reads, packing)  # (B, 1, C)
        else:
            mixed = self._mix(x, attention_mask, cache, reads, packing)
        return cast(Tensor, self.resid_dropout(self.c_proj(mixed)))

    def _mix(
        self,
        x: Tensor,
        attention_mask: Tensor | None,
        cache: LayerCache | None,
        reads: Tensor | None,
        packing: Packing | None,
    ) -> Tensor:
        """Means of values, (B, T or Q, C), or (N, C) if packed and all are asked for."""
        if reads is None:
            qkv = self.c_attn(x) if packing is None else packing.unpack(self.c_attn(x))
            query, key, value = map(self._by_head, qkv.chunk(3, dim=2))
            if cache is not None:
                key, value = cache.extend(key, value)  # (B, H, S, D)
        else:
            query, key, value = self._project(x, reads, packing)
        if cache is not None and query.shape[2] == 1 and x.device.type == "cpu":
            mixed = _attend_from_one(query, key, value, attention_mask)
        else:
            mixed = F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=attention_mask,
                dropout_p=self.attn_pdrop if self.training else 0.0,
                is_causal=self.causal and attention_mask is None and reads is None,
            )
        mixed = mixed.transpose(1, 2).flatten(2)
        return packing.pack(mixed) if packing is not None and reads is None else mixed

    def _mix_one(
        self, x: Tensor, attention_mask: Tensor | None, reads: Tensor, packing: Packing | None
    ) -> Tensor:
        """Means of values, (B, 1, C), for one position of each row, by sparing keys and values.

        A score q · (K x) is (q K) · x, and a mean of V x is V times the mean of x. So the matrices
        of key and value are applied to one vector of a row instead of T: their "absorption" into
        the neighbours, DeepSeek-AI 2024, "DeepSeek-V2", section 2.1.2. The key's bias adds the same
        to all scores of a query, and makes no difference.
        """
        B, C, H = len(reads), x.shape[-1], self.n_head
        # One split, whose gradient is one concatenation; slices would each fill a whole matrix.
        for_query, for_key, for_value = self.c_attn.weight.chunk(3)
        query_bias, _, value_bias = self.c_attn.bias.chunk(3)
        query = F.linear(gather(x, reads, packing)[:, 0], for_query, query_bias).view(B, H, -1)
        asks = torch.einsum("bhd,hdc->bhc", query, for_key.view(H, -1, C))
        if packing is not None:
            x = packing.unpack(x)  # (B, T, C)
        scores = torch.einsum("bhc,btc->bht", asks, x).float() / query.shape[2] ** 0.5
        if attention_mask is not None:
            scores = scores.masked_fill(~attention_mask[:, 0], -torch.inf)
        weights = F.dropout(scores.softmax(dim=-1), self.attn_pdrop, self.training).to(x.dtype)
        seen = torch.einsum("bht,btc->bhc", weights, x)
        value = torch.einsum("bhc,hdc->bhd", seen, for_value.view(H, -1, C))
        total = weights.sum(dim=-1, keepdim=True)  # 1, but for dropout
        return (value + total * value_bias.view(H, -1)).flatten(1)[:, None]

    def _project(
        self, x: Tensor, reads: Tensor, packing: Packing | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, Q, D) of some positions, keys and values (B, H, T, D) of all."""
        C = x.shape[-1]
        if type(self.c_attn) is nn.Linear:
            for_query, for_others = self.c_attn.weight.split_with_sizes([C, 2 * C])
            query_bias, other_biases = self.c_attn.bias.split_with_sizes([C, 2 * C])
            query = F.linear(gather(x, reads, packing), for_query, query_bias)
            key_value = F.linear(x, for_others, other_biases)
        else:  # an adapter or a packed weight works as a whole
            query, key_value = self.c_attn(x).split([C, 2 * C], dim=-1)
            query = gather(query, reads, packing)
        if packing is not None:
            key_value = packing.unpack(key_value)
        key, value = key_value.chunk(2, dim=2)
        return self._by_head(query), self._by_head(key), self._by_head(value)

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, H, T, D)."""
        B, T, C = x.shape
        return x.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)


def _attend_from_one(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of a single query, (B, H, 1, D), to (B, H, S, D) keys and values.

    On CPUs the fused kernel packs keys and values anew at every call, which only many queries pay
    back: in bf16 it takes seven times as long as two matrix products.
    """
    scores = (query @ key.transpose(2, 3)).float() / query.shape[-1] ** 0.5  # (B, H, 1, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    mixed: Tensor = scores.softmax(dim=-1).to(value.dtype) @ value
    return mixed


def gather(x: Tensor, positions: Tensor, packing: Packing | None = None) -> Tensor:
    """(B, T, C), or (N, C) if packed, at (B, Q) positions: (B, Q, C)."""
    if packing is not None:
        return packing.take(x, positions)
    return x.gather(1, positions[:, :, None].expand(-1, -1, x.shape[2]))
