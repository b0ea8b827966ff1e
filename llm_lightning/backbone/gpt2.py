"""GPT-2 in plain torch: token ids in, hidden states out.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". Notable choices:

- parameter names are GPT-2's own (``wte``, ``wpe``, ``h.0.attn.c_attn`` ...), so that a published
  checkpoint maps by name; all projections are ``nn.Linear`` (out_features, in_features)
- pre-norm blocks, LayerNorm epsilon 1e-5, tanh GELU, learned positions
- heads are not here: they live with the tasks

Shapes: B batch, T positions, C embedding width, H attention heads, D = C / H.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm_lightning.backbone.cache import KeyValueCache, LayerCache

LAYER_NORM_EPSILON = 1e-5
INITS = ("gpt2", "torch", "empty")


@dataclass
class GPTConfig:
    """Architecture of one GPT-2, in the names of the published ``config.json``."""

    n_layer: int = 12
    """Number of transformer blocks, at least 1."""
    n_head: int = 12
    """Attention heads per block; divides ``n_embd``."""
    n_embd: int = 768
    """Embedding width C."""
    n_positions: int = 1024
    """Context length: the longest input, in tokens."""
    vocab_size: int = 50257
    """Number of token ids."""
    embd_pdrop: float = 0.0
    """Dropout after the embeddings, in [0, 1)."""
    attn_pdrop: float = 0.0
    """Dropout on the attention weights, in [0, 1)."""
    resid_pdrop: float = 0.0
    """Dropout on each block's two residual branches, in [0, 1)."""
    causal: bool = True
    """Whether a position sees only itself and earlier ones; false lets it see the whole text."""
    init: str = "gpt2"
    """How weights start: ``gpt2`` is N(0, 0.02) with scaled residual projections, ``torch`` is
    PyTorch's defaults (embeddings N(0, 1), linear layers uniform), as in the book's random row,
    ``empty`` leaves memory as it is, for weights that are about to be loaded."""

    def __post_init__(self) -> None:
        """Checks every range.

        Raises:
            ValueError: naming the key, the rule and the value got.
        """
        for key in ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"model.{key} must be at least 1, got {getattr(self, key)}")
        for key in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
            if not 0.0 <= getattr(self, key) < 1.0:
                raise ValueError(f"model.{key} must lie in [0, 1), got {getattr(self, key)}")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"model.n_embd must be a multiple of model.n_head, "
                f"got n_embd={self.n_embd} and n_head={self.n_head}"
            )
        if self.init not in INITS:
            raise ValueError(f"model.init must be one of {', '.join(INITS)}, got {self.init!r}")


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention through ``scaled_dot_product_attention``."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.causal = config.causal
        self.attn_pdrop = config.attn_pdrop
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)  # rows: query, key, value
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(
        self, x: Tensor, attention_mask: Tensor | None, cache: LayerCache | None = None
    ) -> Tensor:
        """Mixes positions.

        Args:
            x: (B, T, C).
            attention_mask: (B, 1, T, S) bool, true where a query may see a key, causal rule
                included; ``None`` where the causal rule alone (or nothing) applies.
            cache: earlier tokens' keys and values, S - T of them; ``None``: S = T.

        Returns:
            (B, T, C).
        """
        B, T, C = x.shape
        qkv = self.c_attn(x).view(B, T, 3, self.n_head, C // self.n_head)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if cache is not None:
            key, value = cache.extend(qkv[:, :, 1:]).permute(2, 0, 3, 1, 4)  # (B, H, S, D)
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=attention_mask,
            dropout_p=self.attn_pdrop if self.training else 0.0,
            is_causal=self.causal and attention_mask is None,
        )
        mixed = mixed.transpose(1, 2).reshape(B, T, C)
        return cast(Tensor, self.resid_dropout(self.c_proj(mixed)))


class MLP(nn.Module):
    """Two linear layers, four times as wide between them, with tanh GELU."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
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
        self, x: Tensor, attention_mask: Tensor | None, cache: LayerCache | None = None
    ) -> Tensor:
        """(B, T, C) to (B, T, C); mask and cache as in :class:`CausalSelfAttention`."""
        x = x + self.attn(self.ln_1(x), attention_mask, cache)
        return x + cast(Tensor, self.mlp(self.ln_2(x)))


class GPT2(nn.Module):
    """The GPT-2 network without a head.

    Args:
        config: the architecture and how weights start.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        # Built without memory first: the layers' own initialisation would be thrown away, and
        # would draw random numbers on the way.
        with torch.device("meta"):
            self.wte = nn.Embedding(config.vocab_size, config.n_embd)
            self.wpe = nn.Embedding(config.n_positions, config.n_embd)
            self.drop = nn.Dropout(config.embd_pdrop)
            self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
            self.ln_f = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        self.to_empty(device=torch.get_default_device())
        initialize(self, config.init)

    def forward(
        self,
        input_ids: Tensor,
        padding_mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Computes hidden states.

        Args:
            input_ids: (B, T) int64 token ids, T at most ``n_positions``.
            padding_mask: (B, T) bool, true at real tokens; keys at false positions are hidden
                from every query. Each row needs a real first token. ``None`` hides nothing.
            cache: the tokens that these ones continue, row by row; they are added to it, and any
                padding must be on the right. ``None``: the input is the whole text.

        Returns:
            (B, T, C) states after the final LayerNorm.

        Raises:
            ValueError: if the text is longer than the context, or a cache was given to a model that
                is not causal.
        """
        _, T = input_ids.shape
        length = T if cache is None else cache.width + T
        if self.config.n_positions < length:
            raise ValueError(
                f"input is {length} tokens long, the model's context is {self.config.n_positions}: "
                f"shorten the input or set data.max_length to at most {self.config.n_positions}"
            )
        positions = torch.arange(T, device=input_ids.device)
        attention_mask = None
        if cache is not None:
            if not self.config.causal:
                raise ValueError(
                    "model.causal must be true to generate text, got false: each new token would "
                    "change the states of those before it"
                )
            attention_mask = cache.place(input_ids, padding_mask)
            positions = cache.slots
        elif padding_mask is not None:
            attention_mask = padding_mask[:, None, None, :].expand(-1, 1, T, T)
            if self.config.causal:
                attention_mask = attention_mask & (positions[:, None] >= positions[None, :])
        x = self.drop(self.wte(input_ids) + self.wpe(positions))  # (B, T, C)
        for index, block in enumerate(self.h):
            x = block(x, attention_mask, None if cache is None else cache.layers[index])
        return cast(Tensor, self.ln_f(x))


@torch.no_grad()
def initialize(model: GPT2, scheme: str) -> None:
    """Draws starting weights from torch's global generator.

    Args:
        model: changed in place.
        scheme: ``gpt2``: Radford et al. 2019, section 2.3, as in the published code: N(0, 0.02),
            residual projections divided by sqrt(2 * n_layer), biases zero. ``torch``: PyTorch's
            layer defaults, drawn in the order of the book's ``GPTModel`` (query, key and value
            one after the other, weight then bias), so that one seed gives the book's numbers.
            ``empty``: nothing.
    """
    if scheme == "empty":
        return
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    if scheme == "torch":
        model.wte.reset_parameters()
        model.wpe.reset_parameters()
        width = model.config.n_embd
        for block in cast("list[Block]", model.h):
            for start in range(0, 3 * width, width):
                part = nn.Linear(width, width)
                block.attn.c_attn.weight[start : start + width] = part.weight
                block.attn.c_attn.bias[start : start + width] = part.bias
            block.attn.c_proj.reset_parameters()
            block.mlp.c_fc.reset_parameters()
            block.mlp.c_proj.reset_parameters()
        return
    residual_std = 0.02 / (2 * model.config.n_layer) ** 0.5
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=residual_std if "c_proj" in name else 0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
