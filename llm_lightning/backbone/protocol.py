"""What tasks, fine-tuning, the frozen-activation cache, generation and exports know of a network.

A backbone maps token ids to hidden states through a stack of blocks; heads belong to the tasks.
``gpt2.py`` is one in plain torch; ``huggingface/`` makes one of any model of transformers.

Shapes: B batch, T positions, Q selected positions, N positions of an unpadded batch, C width of the
hidden states, V vocabulary size.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llm_lightning.backbone.unpadding import Unpadding

ROLES = ("q", "k", "v", "out", "fc1", "fc2")
"""Linear layers of a block by what they do: query, key, value and output projection of attention;
into and out of the hidden layer of the feed-forward network. In a gated one, ``fc1`` is both the
gate and the layer that it multiplies."""


class LinearLayer(NamedTuple):
    """A linear layer of a block."""

    name: str
    """In the backbone, such as ``h.3.attn.c_attn``."""
    rows: dict[str, tuple[int, int]]
    """The (start, stop) rows of its output by role: one entry for a plain layer, several for one
    that computes query, key and value together, none if what it does is unknown."""


@runtime_checkable
class Backbone(Protocol):
    """A transformer without a head."""

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, from the embeddings on."""

    @property
    def blocks_name(self) -> str:
        """Name of ``blocks`` in the backbone, such as ``h``."""

    @property
    def num_blocks(self) -> int:
        """Number of transformer blocks."""

    @property
    def hidden_size(self) -> int:
        """C, the width of the hidden states."""

    @property
    def vocab_size(self) -> int:
        """V, the number of token ids."""

    @property
    def context_length(self) -> int:
        """The longest input, in tokens."""

    @property
    def is_causal(self) -> bool:
        """Whether a position attends only to itself and earlier ones."""

    @property
    def has_dropout(self) -> bool:
        """Whether training computes other hidden states than evaluation."""

    @property
    def skips_padding(self) -> bool:
        """Whether the blocks can be run for unpadded batches."""

    @property
    def input_embedding(self) -> nn.Embedding:
        """The embedding of tokens, (V, C)."""

    def final_modules(self) -> list[nn.Module]:
        """Returns what runs between the last block and the head: a LayerNorm, or nothing."""

    def linear_layers(self, block: int) -> list[LinearLayer]:
        """Returns the linear layers of a block, in the order of its modules."""

    def architecture(self) -> dict[str, Any]:
        """Returns what :func:`~llm_lightning.backbone.families.build` takes: plain values."""

    def why_no_language_model(self) -> str | None:
        """Returns why it cannot predict the next token with a linear head, if it cannot."""

    def why_not_resumable(self, depth: int) -> str | None:
        """Returns why :meth:`later_blocks` may differ from a whole pass, if it may."""

    def __call__(
        self,
        input_ids: Int[Tensor, "B T"],
        padding_mask: Bool[Tensor, "B T"] | None = None,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        lengths: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B out C"]:
        """Computes hidden states.

        Args:
            input_ids: token ids, T at most ``context_length``.
            padding_mask: true at real tokens; keys at false positions are hidden from every
                query. ``None`` hides nothing.
            positions: the positions whose states are returned; ``None``: all T.
            lengths: from 1 to T; only so many of a row's first positions need to be computed.

        Returns:
            States after the final LayerNorm, (B, T, C) or (B, Q, C). Beyond a row's length they
            are undefined.

        Raises:
            ValueError: if the text is longer than the context.
        """

    def first_blocks(
        self,
        input_ids: Int[Tensor, "B T"],
        padding_mask: Bool[Tensor, "B T"] | None,
        depth: int,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        unpadding: Unpadding | None = None,
    ) -> Float[Tensor, "*out C"]:
        """Runs the embeddings and the first ``depth`` blocks; arguments as in :meth:`__call__`.

        Args:
            input_ids: token ids.
            padding_mask: true at real tokens.
            depth: number of blocks.
            positions: the positions whose states are returned; ``None``: all.
            unpadding: which positions of (B, T) are computed; ``None``: all. Only for a backbone
                that ``skips_padding``.

        Returns:
            The input of block ``depth``: (B, Q, C) with ``positions``, else (N, C) if unpadded,
            else (B, T, C).
        """

    def later_blocks(
        self,
        x: Float[Tensor, "*rows C"],
        padding_mask: Bool[Tensor, "B T"] | None,
        depth: int,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        unpadding: Unpadding | None = None,
    ) -> Float[Tensor, "B out C"]:
        """Runs all blocks from ``depth`` on and the final LayerNorm; the rest of a whole pass.

        Args:
            x: the input of block ``depth``, (B, T, C), or (N, C) if unpadded.
            padding_mask: true at real tokens.
            depth: number of blocks that were run already.
            positions: the positions whose states are returned; ``None``: all.
            unpadding: of an unpadded ``x``.

        Returns:
            (B, T, C), or (B, Q, C) with ``positions``.
        """

    def final_norm(self, x: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows C"]:
        """Applies what runs between the last block and the head."""
