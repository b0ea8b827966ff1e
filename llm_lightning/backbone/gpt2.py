"""GPT-2 in plain torch: token ids in, hidden states out.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". Notable choices:

- parameter names are GPT-2's own (``wte``, ``wpe``, ``h.0.attn.c_attn`` ...), so that a published
  checkpoint maps by name; all projections are ``nn.Linear`` (out_features, in_features)
- pre-norm blocks, LayerNorm epsilon 1e-5, tanh GELU, learned positions
- heads are not here: they belong to the tasks

Shapes: B batch, T positions, S positions including those in the key/value cache, Q selected
positions, N positions of an unpadded batch, C embedding width.
"""

from dataclasses import asdict
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llm_lightning.backbone.block import Block
from llm_lightning.backbone.gpt_config import LAYER_NORM_EPSILON, GPTConfig
from llm_lightning.backbone.initialization import allocate, initialize
from llm_lightning.backbone.kv_cache import KeyValueCache
from llm_lightning.backbone.masks import attention_mask, mask_of_selected
from llm_lightning.backbone.protocol import LinearLayer
from llm_lightning.backbone.unpadding import Unpadding, select_positions


class GPT2(nn.Module):
    """The GPT-2 network without a head.

    Args:
        config: the architecture and the initial weights.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        # Built on the meta device first: the layers' own initialisation would be overwritten, after
        # drawing random numbers.
        with torch.device("meta"):
            # Embeddings get weights: even there they would draw numbers, by way of torch's
            # compiler, whose import takes half a second.
            vocabulary, positions, width = config.vocab_size, config.n_positions, config.n_embd
            self.wte = nn.Embedding(vocabulary, width, _weight=torch.empty(vocabulary, width))
            self.wpe = nn.Embedding(positions, width, _weight=torch.empty(positions, width))
            self.drop = nn.Dropout(config.embd_pdrop)
            self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
            self.ln_f = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON)
        allocate(self)
        initialize(self, config.init)

    blocks_name = "h"
    skips_padding = True

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, from the embeddings on."""
        return self.h

    @property
    def input_embedding(self) -> nn.Embedding:
        """The embedding of tokens, (V, C)."""
        return self.wte

    @property
    def hidden_size(self) -> int:
        """C, the width of the hidden states."""
        return self.config.n_embd

    @property
    def vocab_size(self) -> int:
        """V, the number of token ids."""
        return self.config.vocab_size

    @property
    def context_length(self) -> int:
        """The longest input, in tokens."""
        return self.config.n_positions

    @property
    def num_blocks(self) -> int:
        """Number of transformer blocks."""
        return len(self.h)

    @property
    def is_causal(self) -> bool:
        """Whether a position attends only to itself and earlier ones."""
        return self.config.causal

    @property
    def has_dropout(self) -> bool:
        """Whether training computes other hidden states than evaluation."""
        config = self.config
        return bool(config.embd_pdrop or config.attn_pdrop or config.resid_pdrop)

    def final_modules(self) -> list[nn.Module]:
        """Returns the LayerNorm between the last block and the head."""
        return [self.ln_f]

    def linear_layers(self, block: int) -> list[LinearLayer]:
        """Returns the four linear layers of a block; the first is query, key and value in one."""
        C = self.hidden_size
        rows: dict[str, dict[str, tuple[int, int]]] = {
            "attn.c_attn": {"q": (0, C), "k": (C, 2 * C), "v": (2 * C, 3 * C)},
            "attn.c_proj": {"out": (0, C)},
            "mlp.c_fc": {"fc1": (0, 4 * C)},
            "mlp.c_proj": {"fc2": (0, C)},
        }
        return [LinearLayer(f"h.{block}.{place}", by_role) for place, by_role in rows.items()]

    def architecture(self) -> dict[str, Any]:
        """Returns the fields of the configuration."""
        return asdict(self.config)

    def why_no_language_model(self) -> str | None:
        """Returns why it cannot predict the next token, if it cannot."""
        if self.is_causal:
            return None
        return (
            "model.causal must be true for a language model, got false: each new token would "
            "change the states of those before it"
        )

    def why_not_resumable(self, depth: int) -> str | None:
        """Always resumable: :meth:`forward` itself runs the blocks by :meth:`later_blocks`."""
        return None

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        padding_mask: Bool[Tensor, "B T"] | None = None,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        lengths: Int[Tensor, " B"] | None = None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "B out C"]:
        """Computes hidden states.

        Args:
            input_ids: token ids, T at most ``context_length``.
            padding_mask: true at real tokens; keys at false positions are hidden from every
                query. Each row needs a real first token. ``None`` hides nothing.
            positions: the positions whose states are returned; the last block computes no others.
                ``None``: all T. Not with a cache.
            lengths: from 1 to T; only so many of a row's first positions are computed, which is
                correct if the others cannot change them. ``None``: all T. Not with a cache.
            cache: keys and values of the tokens that precede these, row by row; the new ones are
                added, and any padding must be on the right. ``None``: the input is the whole text.

        Returns:
            States after the final LayerNorm, (B, T, C) or (B, Q, C). Beyond a row's length they
            are undefined.

        Raises:
            ValueError: if the text is longer than the context, or a cache is used with a model that
                is not causal.
        """
        if cache is not None:
            return self._continue(input_ids, padding_mask, cache)
        unpadding = None if lengths is None else Unpadding.of(lengths, input_ids.shape[1])
        x = self.embed(input_ids, unpadding)
        return self.later_blocks(x, padding_mask, 0, positions=positions, unpadding=unpadding)

    def first_blocks(
        self,
        input_ids: Int[Tensor, "B T"],
        padding_mask: Bool[Tensor, "B T"] | None,
        depth: int,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        unpadding: Unpadding | None = None,
    ) -> Float[Tensor, "*out C"]:
        """Runs the embeddings and the first ``depth`` blocks; arguments as in :meth:`forward`.

        Args:
            input_ids: token ids.
            padding_mask: true at real tokens.
            depth: number of blocks.
            positions: the positions whose states are returned; ``None``: all.
            unpadding: which positions of (B, T) are computed; ``None``: all.

        Returns:
            The input of block ``depth``: (B, Q, C) with ``positions``, else (N, C) if unpadded,
            else (B, T, C).
        """
        x = self.embed(input_ids, unpadding)
        return self.run_blocks(
            x, padding_mask, range(depth), positions=positions, unpadding=unpadding
        )

    def later_blocks(
        self,
        x: Float[Tensor, "*rows C"],
        padding_mask: Bool[Tensor, "B T"] | None,
        depth: int,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        unpadding: Unpadding | None = None,
    ) -> Float[Tensor, "B out C"]:
        """Runs all blocks from ``depth`` on and the final LayerNorm; the rest of :meth:`forward`.

        Args:
            x: the input of block ``depth``, (B, T, C), or (N, C) if unpadded.
            padding_mask: true at real tokens.
            depth: number of blocks that were run already.
            positions: the positions whose states are returned; ``None``: all.
            unpadding: of an unpadded ``x``.

        Returns:
            (B, T, C), or (B, Q, C) with ``positions``.
        """
        blocks = range(depth, self.num_blocks)
        x = self.run_blocks(x, padding_mask, blocks, positions=positions, unpadding=unpadding)
        x = self.final_norm(x)
        return unpadding.pad(x) if unpadding is not None and positions is None else x

    def embed(
        self, input_ids: Int[Tensor, "B T"], unpadding: Unpadding | None = None
    ) -> Float[Tensor, "*out C"]:
        """Returns the input of the first block, (B, T, C), or (N, C) if unpadded.

        Raises:
            ValueError: if the text is longer than the context.
        """
        T = input_ids.shape[1]
        self._check_length(T)
        indices = torch.arange(T, device=input_ids.device)
        if unpadding is not None:
            indices = indices[unpadding.indices % T]
            input_ids = input_ids.flatten()[unpadding.indices]
        return self._embed(input_ids, indices)

    def run_blocks(
        self,
        x: Float[Tensor, "*rows C"],
        padding_mask: Bool[Tensor, "B T"] | None,
        blocks: range,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        unpadding: Unpadding | None = None,
    ) -> Float[Tensor, "*out C"]:
        """Runs some consecutive blocks, the last of them only for the selected positions.

        Args:
            x: the input of the first of them, (B, T, C), or (N, C) if unpadded.
            padding_mask: true at real tokens.
            blocks: their indices, perhaps none.
            positions: the positions whose states are returned; ``None``: all.
            unpadding: of an unpadded ``x``.

        Returns:
            Like ``x``; (B, Q, C) with ``positions``.
        """
        if positions is not None and not blocks:
            return select_positions(x, positions, unpadding)
        mask = attention_mask(padding_mask, is_causal=self.is_causal)
        for index in blocks if positions is None else blocks[:-1]:
            x = self.h[index](x, mask, unpadding=unpadding)
        if positions is not None:
            T = x.shape[1] if unpadding is None else unpadding.shape[1]
            mask = mask_of_selected(padding_mask, positions, T, is_causal=self.is_causal)
            x = self.h[blocks[-1]](x, mask, positions=positions, unpadding=unpadding)
        return x

    def final_norm(self, x: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows C"]:
        """Applies the LayerNorm between the last block and the head."""
        return cast(Tensor, self.ln_f(x))

    def _continue(
        self, input_ids: Tensor, padding_mask: Tensor | None, cache: KeyValueCache
    ) -> Tensor:
        """Computes the states (B, T, C) of tokens that continue those in the cache."""
        if not self.is_causal:
            raise ValueError(
                "model.causal must be true to generate text, got false: each new token would "
                "change the states of those before it"
            )
        self._check_length(cache.width + input_ids.shape[1])
        mask = cache.allocate(input_ids, padding_mask)
        x = self._embed(input_ids, cache.slots)
        for block, layer_cache in zip(self.h, cache.layers, strict=True):
            x = block(x, mask, cache=layer_cache)
        return self.final_norm(x)

    def _embed(self, input_ids: Tensor, indices: Tensor) -> Tensor:
        """(..., C) of token ids and their positions, of the same shape or (T,)."""
        return cast(Tensor, self.drop(self.wte(input_ids) + self.wpe(indices)))

    def _check_length(self, length: int) -> None:
        if self.context_length < length:
            raise ValueError(
                f"input is {length} tokens long, the model's context is {self.context_length}: "
                f"shorten the input or set data.max_length to at most {self.context_length}"
            )
