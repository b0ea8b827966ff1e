"""A backbone that is a model of transformers: its own code, masks and rotary tables.

Shapes: B batch, T positions, Q selected positions, C width of the hidden states.
"""

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llm_lightning.backbone.huggingface.configuration import (
    configured,
    dropouts,
    longest_input,
    made,
    unsupported,
    without_memory,
)
from llm_lightning.backbone.huggingface.quiet import quiet
from llm_lightning.backbone.huggingface.structure import (
    Reached,
    Skipped,
    StartedWith,
    Stopped,
    StoppedAfter,
    linear_layers,
    replaced,
    structure,
)
from llm_lightning.backbone.huggingface.two_parts import why_parts_differ
from llm_lightning.backbone.protocol import LinearLayer
from llm_lightning.backbone.unpadding import Unpadding, select_positions
from llm_lightning.presentation.extras import require

_SCALED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


class TransformersBackbone(nn.Module):
    """A base model of transformers, decoder or encoder, without a head.

    Its weights are random, as transformers initialises them; or not initialised, to be loaded.

    Args:
        config: the model's configuration as plain values, ``model_type`` among them.
        dropout: the probability everywhere in the network; ``None``: as in ``config``.
        context_length: the longest input in tokens; ``None``: the model's own.
        init: ``transformers``, or ``empty``, which leaves the weights uninitialised.

    Raises:
        ValueError: if transformers is not installed or does not know the model; if it is not one
            stack of blocks.
    """

    skips_padding = False

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        dropout: float | None = None,
        context_length: int | None = None,
        init: str = "transformers",
    ) -> None:
        super().__init__()
        require("this model", {"transformers": "transformers"}, "hub")
        from transformers import AutoModel

        self.config = configured(config, dropout)
        # Masks as transformers makes them for PyTorch's own attention.
        self.options: dict[str, Any] = {"attn_implementation": "sdpa"}
        """Arguments with which transformers makes the model, beside its configuration."""
        model_class: Any = AutoModel._model_mapping[type(self.config)]
        if not getattr(model_class, "_supports_sdpa", False):
            self.options = {"attn_implementation": "eager"}
        if "add_pooling_layer" in inspect.signature(model_class).parameters:
            self.options["add_pooling_layer"] = False  # pooling belongs to the tasks
        without_memory(self.config, self.options)  # refuses sizes that would not fit
        with quiet():
            self.model = made(self.config, self.options, is_empty=init == "empty")
        if not isinstance(self.model.get_input_embeddings(), nn.Embedding):
            raise unsupported(model_class.__name__, "has no plain embedding of tokens")
        self._structure = structure(
            self.model,
            self.config.num_hidden_layers,
            set(getattr(self.model, "_no_split_modules", None) or ()),
        )
        # Asked now: adapters may add dropout of their own later, which acts in no frozen block.
        in_modules = any(m.p for m in self.modules() if isinstance(m, nn.Dropout))
        self._has_dropout = in_modules or any(dropouts(self.config).values())
        self._dropout = dropout
        self._context_length = context_length
        own = longest_input(self.model, self.config)
        if context_length is not None and own is not None and not 1 <= context_length <= own:
            raise ValueError(
                f"model.context_length must lie between 1 and the model's own {own}, "
                f"got {context_length}"
            )
        if context_length is None and own is None:
            raise ValueError("model.context_length must be set: the model declares no limit")
        self._longest = cast(int, context_length or own)
        self._not_resumable: dict[int, str | None] = {}

    @property
    def blocks_name(self) -> str:
        """Name of ``blocks`` in the backbone."""
        return f"model.{self._structure.blocks_name}"

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, from the embeddings on."""
        return cast(nn.ModuleList, self.get_submodule(self.blocks_name))

    @property
    def num_blocks(self) -> int:
        """Number of transformer blocks."""
        return len(self.blocks)

    @property
    def hidden_size(self) -> int:
        """C, the width of the hidden states."""
        return int(self.config.hidden_size)

    @property
    def vocab_size(self) -> int:
        """V, the number of token ids."""
        return int(self.input_embedding.num_embeddings)

    @property
    def context_length(self) -> int:
        """The longest input, in tokens."""
        return self._longest

    @property
    def is_causal(self) -> bool:
        """Whether it is a decoder."""
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

        if getattr(self.config, "use_bidirectional_attention", False):
            return False
        kind = type(self.config)
        # Encoders can be made decoders, and are in both lists.
        is_decoder = getattr(self.config, "is_decoder", False)
        is_encoder = kind in MODEL_FOR_MASKED_LM_MAPPING and not is_decoder
        return kind in MODEL_FOR_CAUSAL_LM_MAPPING and not is_encoder

    @property
    def has_dropout(self) -> bool:
        """Whether training computes other hidden states than evaluation."""
        return self._has_dropout

    @property
    def input_embedding(self) -> nn.Embedding:
        """The embedding of tokens, (V, C)."""
        return cast(nn.Embedding, self.model.get_input_embeddings())

    def final_modules(self) -> list[nn.Module]:
        """Returns what runs between the last block and the head."""
        return [self.model.get_submodule(name) for name in self._structure.final_names]

    def linear_layers(self, block: int) -> list[LinearLayer]:
        """Returns the linear layers of a block, in the order of its modules."""
        return linear_layers(self.blocks[block], f"{self.blocks_name}.{block}.")

    def architecture(self) -> dict[str, Any]:
        """Returns the configuration as plain values."""
        return {
            "config": self.config.to_diff_dict() | {"model_type": self.config.model_type},
            "dropout": self._dropout,
            "context_length": self._context_length,
            "init": "transformers",
        }

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        padding_mask: Bool[Tensor, "B T"] | None = None,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        lengths: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B out C"]:
        """See :class:`~llm_lightning.backbone.protocol.Backbone`; all positions are computed."""
        x = self._run(input_ids, padding_mask)
        return x if positions is None else select_positions(x, positions)

    def first_blocks(
        self,
        input_ids: Int[Tensor, "B T"],
        padding_mask: Bool[Tensor, "B T"] | None,
        depth: int,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        unpadding: Unpadding | None = None,
    ) -> Float[Tensor, "B out C"]:
        """See :class:`~llm_lightning.backbone.protocol.Backbone`; never unpadded."""
        _check_padded(unpadding)
        blocks, last = self.blocks, self.num_blocks - 1
        stop = Stopped(blocks[depth]) if depth <= last else StoppedAfter(blocks[last])
        try:
            with replaced(blocks, {min(depth, last): stop}):
                self._run(input_ids, padding_mask)
        except Reached as reached:
            x = reached.states
            return x if positions is None else select_positions(x, positions)
        raise RuntimeError("a block did not run")

    def later_blocks(
        self,
        x: Float[Tensor, "B T C"],
        padding_mask: Bool[Tensor, "B T"] | None,
        depth: int,
        *,
        positions: Int[Tensor, "B Q"] | None = None,
        unpadding: Unpadding | None = None,
    ) -> Float[Tensor, "B out C"]:
        """See :class:`~llm_lightning.backbone.protocol.Backbone`; never unpadded.

        The model itself runs, with tokens that do not matter: the blocks before ``depth`` do
        nothing, and block ``depth`` gets ``x``. Masks and positions are then the model's own.
        """
        _check_padded(unpadding)
        if depth == self.num_blocks:
            return self.final_norm(x if positions is None else select_positions(x, positions))
        blocks = self.blocks
        returns_tuple = self._structure.blocks_return_tuples
        instead: dict[int, nn.Module] = {
            index: Skipped(blocks[index], returns_tuple=returns_tuple) for index in range(depth)
        }
        instead[depth] = StartedWith(blocks[depth], x)
        any_ids = torch.zeros(x.shape[:2], dtype=torch.long, device=x.device)
        with replaced(blocks, instead):
            x = self._run(any_ids, padding_mask)
        return x if positions is None else select_positions(x, positions)

    def final_norm(self, x: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows C"]:
        """Applies what runs between the last block and the head."""
        for module in self.final_modules():
            x = module(x)
        return x

    def why_no_language_model(self) -> str | None:
        """Returns why it cannot predict the next token with a linear head, if it cannot."""
        kind = self.config.model_type
        if not self.is_causal:
            return (
                f"{kind} is an encoder: it reads whole texts and cannot generate one; use "
                f"task=classify, or a decoder such as model=smollm2_135m"
            )
        scaled = [key for key in _SCALED_LOGITS if getattr(self.config, key, None) not in (None, 1)]
        if scaled:
            return (
                f"the head of {kind} is not linear (its configuration has {scaled[0]}), which is "
                f"not supported; use task=classify or another model"
            )
        return None

    def why_not_resumable(self, depth: int) -> str | None:
        """See :class:`~llm_lightning.backbone.protocol.Backbone`; it is tried, once a depth."""
        if depth not in self._not_resumable:
            was_training = self.training
            self.eval()
            try:
                self._not_resumable[depth] = why_parts_differ(self, depth)
            finally:
                self.train(was_training)
        return self._not_resumable[depth]

    def _run(self, input_ids: Tensor, padding_mask: Tensor | None) -> Tensor:
        if input_ids.shape[1] > self.context_length:
            raise ValueError(
                f"input is {input_ids.shape[1]} tokens long, the model's context is "
                f"{self.context_length}: shorten the input or set data.max_length to at most "
                f"{self.context_length}"
            )
        options = {"use_cache": False} if self.is_causal else {}
        mask = None if padding_mask is None else padding_mask.long()
        if mask is None and not self.is_causal:
            mask = torch.ones_like(input_ids)  # some encoders take padding by token value otherwise
        out = self.model(input_ids=input_ids, attention_mask=mask, **options)
        return cast(Tensor, out.last_hidden_state)


def _check_padded(unpadding: Unpadding | None) -> None:
    if unpadding is not None:
        raise ValueError("a model of transformers takes padded batches")
