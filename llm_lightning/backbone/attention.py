"""Causal self-attention, for all positions of a batch or for a few selected ones.

Vaswani et al. 2017, "Attention Is All You Need", section 3.2.

Shapes: B batch, T positions, S positions including those in the key/value cache, Q selected
positions, N positions of an unpadded batch, C embedding width, H attention heads, D = C / H.
"""

from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from llm_lightning.backbone import short_attention
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.kv_cache import LayerCache
from llm_lightning.backbone.unpadding import Unpadding, select_positions


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention; with ``config.causal`` false, each position sees all others."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.causal = config.causal
        self.attn_pdrop = config.attn_pdrop
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)  # rows: query, key, value
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(
        self,
        x: Float[Tensor, "*rows C"],
        attention_mask: Bool[Tensor, "#B 1 Q S"] | None,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        unpadding: Unpadding | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "*out C"]:
        """Computes attention.

        Args:
            x: (B, T, C), or (N, C) if unpadded.
            attention_mask: true where a query may attend to a key, causal rule included;
                ``None`` if the causal rule alone (or nothing, if not causal) applies.
            positions: the positions that are computed, as queries; keys and values are those of
                all positions. The mask has a row for each of them. ``None``: all T.
            unpadding: of an unpadded ``x``; not with a cache.
            cache: keys and values of earlier tokens, S - T of them, to which those of ``x`` are
                added; ``None``: S = T.

        Returns:
            Like ``x``; (B, Q, C) with ``positions``.
        """
        is_plain = type(self.c_attn) is nn.Linear  # neither adapted nor quantized
        if is_plain and positions is not None and positions.shape[1] == 1:
            attended = self._attend_single(x, attention_mask, positions, unpadding)
        else:
            query, key, value = self._project(x, positions, unpadding)
            if cache is not None:
                key, value = cache.extend(key, value)
            if cache is not None and query.shape[2] == 1 and x.device.type == "cpu":
                attended = _attend_from_one(query, key, value, attention_mask)
            else:
                is_causal = self.causal and attention_mask is None and positions is None
                attended = self._attend(query, key, value, attention_mask, is_causal)
            attended = attended.transpose(1, 2).flatten(2)  # (B, Q, C)
            if unpadding is not None and positions is None:
                attended = unpadding.unpad(attended)
        return cast(Tensor, self.resid_dropout(self.c_proj(attended)))

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool
    ) -> Tensor:
        """Attention (B, H, Q, D) of all queries, by the kernel that is fastest for them."""
        dropout = self.attn_pdrop if self.training else 0.0
        if not dropout and short_attention.is_better(query, key):
            return short_attention.attend(query, key, value, mask, is_causal=is_causal)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=is_causal
        )

    def _project(
        self, x: Tensor, positions: Tensor | None, unpadding: Unpadding | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries of the selected positions (B, H, Q, D), all keys and values."""
        C = x.shape[-1]
        if positions is None:
            qkv = self.c_attn(x) if unpadding is None else unpadding.pad(self.c_attn(x))
            query, key, value = qkv.chunk(3, dim=2)
            return self._by_head(query), self._by_head(key), self._by_head(value)
        if type(self.c_attn) is nn.Linear:
            weight, other_weights = self.c_attn.weight.split_with_sizes([C, 2 * C])
            bias, other_biases = self.c_attn.bias.split_with_sizes([C, 2 * C])
            query = F.linear(select_positions(x, positions, unpadding), weight, bias)
            key_value = F.linear(x, other_weights, other_biases)
        else:  # adapted and quantized weights cannot be split
            query, key_value = self.c_attn(x).split([C, 2 * C], dim=-1)
            query = select_positions(query, positions, unpadding)
        key_value = key_value if unpadding is None else unpadding.pad(key_value)
        key, value = key_value.chunk(2, dim=2)
        return self._by_head(query), self._by_head(key), self._by_head(value)

    def _attend_single(
        self, x: Tensor, mask: Tensor | None, positions: Tensor, unpadding: Unpadding | None
    ) -> Tensor:
        """Attention (B, 1, C) for one position of each row, without all keys and values.

        A score q . (K x) is (K^T q) . x, and a mean of V x is V times the mean of x. So the key and
        value matrices are applied to one vector of each row instead of T: the "absorption" of
        DeepSeek-AI 2024, "DeepSeek-V2", section 2.1.2. It more than halves the time of a step on
        cached activations (experiments/benchmarks/single_position.py).
        """
        B, C, H = len(positions), x.shape[-1], self.n_head
        # One split, whose gradient is one concatenation; slices would each fill a whole matrix.
        for_query, for_key, for_value = self.c_attn.weight.chunk(3)
        query_bias, _, value_bias = self.c_attn.bias.chunk(3)  # softmax cancels the key's bias
        query = F.linear(select_positions(x, positions, unpadding)[:, 0], for_query, query_bias)
        query = torch.einsum("bhd,hdc->bhc", query.view(B, H, -1), for_key.view(H, -1, C))
        T = x.shape[1] if unpadding is None else unpadding.shape[1]
        width = _returning_width(T, x)
        x = _widened(x, width) if unpadding is None else unpadding.wider(width).pad(x)
        scores = torch.einsum("bhc,btc->bht", query, x)[..., :T]
        weights = _attention_weights(scores, None if mask is None else mask[:, 0], C // H)
        weights = F.dropout(weights, self.attn_pdrop, self.training).to(x.dtype)
        mean = torch.einsum("bht,btc->bhc", _widened(weights[..., None], width)[..., 0], x)
        value = torch.einsum("bhc,hdc->bhd", mean, for_value.view(H, -1, C))
        total = weights.sum(dim=-1, keepdim=True)  # 1 without dropout
        return (value + total * value_bias.view(H, -1)).flatten(1)[:, None]

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, H, T, D)."""
        B, T, C = x.shape
        return x.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)


def _attend_from_one(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of one query a row, (B, H, 1, D), to (B, H, S, D) keys and values.

    On CPUs the fused kernel copies keys and values to another layout at every call, which pays off
    only with many queries: for one query in bf16 it takes seven times as long as two products.
    """
    weights = _attention_weights(query @ key.transpose(2, 3), mask, query.shape[-1])
    return weights.to(value.dtype) @ value


def _returning_width(num_positions: int, x: Tensor) -> int:
    """The width to which the two products of x over T positions are filled up with zeros.

    In float32 nothing is filled up. Zeros change no bit of the sums.
    """
    is_half = x.dtype != torch.float32 or torch.is_autocast_enabled(x.device.type)
    is_prepared = is_half and x.device.type == "cpu"
    return short_attention.returning(num_positions) if is_prepared else num_positions


def _widened(x: Tensor, width: int) -> Tensor:
    """(B, ..., T, D) to (B, ..., width, D), with zeros behind."""
    return F.pad(x, (0, 0, 0, width - x.shape[-2])) if width > x.shape[-2] else x


def _attention_weights(scores: Tensor, mask: Tensor | None, head_width: int) -> Tensor:
    """Scales, masks and normalises (..., S) scores in float32."""
    scores = scores.float() / head_width**0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1)
