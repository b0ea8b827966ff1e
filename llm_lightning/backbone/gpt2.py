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

from llm_lightning.backbone.attention import CausalSelfAttention, gather
from llm_lightning.backbone.initialization import INITS, initialize
from llm_lightning.backbone.kv_cache import KeyValueCache, LayerCache
from llm_lightning.backbone.unpadding import Packing

LAYER_NORM_EPSILON = 1e-5


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


class MLP(nn.Module):
    """Two linear layers, four times as wide between them, with tanh GELU."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
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
        x: Tensor,
        attention_mask: Tensor | None,
        cache: LayerCache | None = None,
        reads: Tensor | None = None,
        packing: Packing | None = None,
    ) -> Tensor:
        """Shapes and arguments as in :class:`CausalSelfAttention`."""
        mixed = self.attn(self.ln_1(x), attention_mask, cache, reads, packing)
        x = (x if reads is None else gather(x, reads, packing)) + mixed
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
        reads: Tensor | None = None,
        widths: Tensor | None = None,
    ) -> Tensor:
        """Computes hidden states.

        Args:
            input_ids: (B, T) int64 token ids, T at most ``n_positions``.
            padding_mask: (B, T) bool, true at real tokens; keys at false positions are hidden
                from every query. Each row needs a real first token. ``None`` hides nothing.
            cache: the tokens that these ones continue, row by row; they are added to it, and any
                padding must be on the right. ``None``: the input is the whole text.
            reads: (B, Q) int64, the positions whose states are wanted; the last block computes
                no others. ``None``: all T. Not with a cache.
            widths: (B,) int64, at least 1: only so many of a row's first positions are computed,
                for which the others must make no difference. ``None``: all T. Not with a cache.

        Returns:
            (B, T, C) states after the final LayerNorm, or (B, Q, C). Behind a row's width stand
            numbers without a meaning.

        Raises:
            ValueError: if the text is longer than the context, or a cache was given to a model that
                is not causal.
        """
        if cache is None:
            packing = None if widths is None else Packing.of(widths, input_ids.shape[1])
            x = self.prefix(input_ids, padding_mask, 0, packing)
            return self.suffix(x, padding_mask, 0, reads, packing)
        if not self.config.causal:
            raise ValueError(
                "model.causal must be true to generate text, got false: each new token would "
                "change the states of those before it"
            )
        self._check_length(cache.width + input_ids.shape[1])
        attention_mask = cache.place(input_ids, padding_mask)
        x = self._embed(input_ids, cache.slots)
        for block, layer_cache in zip(self.h, cache.layers, strict=True):
            x = block(x, attention_mask, layer_cache)
        return cast(Tensor, self.ln_f(x))

    def prefix(
        self,
        input_ids: Tensor,
        padding_mask: Tensor | None,
        depth: int,
        packing: Packing | None = None,
        reads: Tensor | None = None,
    ) -> Tensor:
        """Runs embeddings and the first ``depth`` blocks; see :meth:`forward`.

        Args:
            input_ids: (B, T).
            padding_mask: (B, T) bool.
            depth: how many blocks.
            packing: which positions of (B, T) are computed; ``None``: all.
            reads: (B, Q) positions whose states are wanted; ``None``: all.

        Returns:
            What block ``depth`` reads: (B, Q, C) if there are ``reads``, (N, C) if packed, else
            (B, T, C).
        """
        T = input_ids.shape[1]
        self._check_length(T)
        positions = torch.arange(T, device=input_ids.device)
        if packing is not None:
            positions = positions[packing.places % T]
            input_ids = input_ids.flatten()[packing.places]
        x = self._embed(input_ids, positions)
        return self._run(self.h[:depth], x, padding_mask, reads, packing)

    def suffix(
        self,
        x: Tensor,
        padding_mask: Tensor | None,
        depth: int,
        reads: Tensor | None = None,
        packing: Packing | None = None,
    ) -> Tensor:
        """Runs what :meth:`prefix` left; see :meth:`forward`.

        Args:
            x: (B, T, C) what block ``depth`` reads, (N, C) if packed.
            padding_mask: (B, T) bool.
            depth: the blocks that ``x`` went through.
            reads: (B, Q).
            packing: as in :meth:`prefix`.

        Returns:
            (B, T, C), or (B, Q, C).
        """
        x = self.ln_f(self._run(self.h[depth:], x, padding_mask, reads, packing))
        return packing.unpack(x) if packing is not None and reads is None else x

    def _run(
        self,
        blocks: nn.ModuleList,
        x: Tensor,
        padding_mask: Tensor | None,
        reads: Tensor | None,
        packing: Packing | None,
    ) -> Tensor:
        """Runs blocks, the last one for the positions that are wanted."""
        mask = self._attention_mask(padding_mask)
        for block in blocks if reads is None else blocks[:-1]:
            x = block(x, mask, packing=packing)
        if reads is None:
            return x
        if not blocks:
            return gather(x, reads, packing)
        T = x.shape[1] if packing is None else packing.shape[1]
        mask = self._reading_mask(padding_mask, reads, T)
        return cast(Tensor, blocks[-1](x, mask, None, reads, packing))

    def _embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """(..., C) of ids and positions of the same shape, or (T,) positions."""
        return cast(Tensor, self.drop(self.wte(input_ids) + self.wpe(positions)))

    def _attention_mask(self, padding_mask: Tensor | None) -> Tensor | None:
        """(B, T) to (B, 1, T, T)."""
        if padding_mask is None:
            return None
        T = padding_mask.shape[1]
        mask = padding_mask[:, None, None, :].expand(-1, 1, T, T)
        if self.config.causal:
            positions = torch.arange(T, device=padding_mask.device)
            mask = mask & (positions[:, None] >= positions[None, :])
        return mask

    def _reading_mask(
        self, padding_mask: Tensor | None, reads: Tensor, num_keys: int
    ) -> Tensor | None:
        """(B, 1, Q, T): the rows of the attention mask at some positions."""
        mask = None if padding_mask is None else padding_mask[:, None, None, :]
        if self.config.causal:
            keys = torch.arange(num_keys, device=reads.device)
            seen = keys <= reads[:, None, :, None]
            mask = seen if mask is None else mask & seen
        elif mask is not None:
            mask = mask.expand(-1, 1, reads.shape[1], num_keys)
        return mask

    def _check_length(self, length: int) -> None:
        if self.config.n_positions < length:
            raise ValueError(
                f"input is {length} tokens long, the model's context is {self.config.n_positions}: "
                f"shorten the input or set data.max_length to at most {self.config.n_positions}"
            )
