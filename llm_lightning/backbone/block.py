"""A transformer block of GPT-2: attention and a network of two layers, each added to its input.

Pre-norm, as in Radford et al. 2019, section 2.3. Shapes: B batch, Q selected positions, S positions
including those in the key/value cache, C embedding width.
"""

from typing import cast

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llm_lightning.backbone.attention import CausalSelfAttention
from llm_lightning.backbone.gpt_config import LAYER_NORM_EPSILON, GPTConfig
from llm_lightning.backbone.kv_cache import LayerCache
from llm_lightning.backbone.unpadding import Unpadding, select_positions


class MLP(nn.Module):
    """Two linear layers, with 4 C hidden units and tanh GELU between them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows C"]:
        """Acts on each position separately."""
        return cast(Tensor, self.dropout(self.c_proj(self.act(self.c_fc(x)))))


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.mlp = MLP(config)

    def forward(
        self,
        x: Float[Tensor, "*rows C"],
        attention_mask: Bool[Tensor, "#B 1 Q S"] | None,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        unpadding: Unpadding | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "*out C"]:
        """Shapes and arguments as in :class:`CausalSelfAttention`."""
        attended = self.attn(
            self.ln_1(x), attention_mask, positions=positions, unpadding=unpadding, cache=cache
        )
        x = (x if positions is None else select_positions(x, positions, unpadding)) + attended
        return x + cast(Tensor, self.mlp(self.ln_2(x)))
