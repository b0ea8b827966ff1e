"""What trains: a strategy is a dataclass that switches gradients on and off, nothing else.

A strategy is applied when a model is built, before any weights are loaded, so that a checkpoint
rebuilds the same model. A head of its own always trains. A head that is tied to the input embedding
is part of that embedding, and trains where the embedding does.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from torch import nn

from llm_lightning.backbone.gpt2 import GPT2


class Strategy(Protocol):
    """Anything that decides which parameters train."""

    def apply(self, backbone: GPT2, head: nn.Module) -> None:
        """Sets ``requires_grad`` on every parameter of both modules."""


@dataclass
class TopBlocks:
    """Trains the head, the last ``num_blocks`` blocks and, if asked, the final LayerNorm.

    Raises:
        ValueError: if ``num_blocks`` is negative or, when applied, more than the model has; or
            if there are none and the head is tied to the embedding.
    """

    num_blocks: int
    """How many of the last blocks train, 0 to ``n_layer``."""
    _target_: str = "llm_lightning.finetuning.strategies.TopBlocks"
    train_final_norm: bool = True
    """Whether the LayerNorm between the last block and the head trains."""

    def __post_init__(self) -> None:
        """Checks the range that needs no model."""
        if self.num_blocks < 0:
            raise ValueError(f"finetune.num_blocks must be at least 0, got {self.num_blocks}")

    def apply(self, backbone: GPT2, head: nn.Module) -> None:
        """See :class:`Strategy`."""
        n_layer = len(backbone.h)
        if self.num_blocks > n_layer:
            raise ValueError(
                f"finetune.num_blocks must be at most the model's {n_layer} blocks, "
                f"got {self.num_blocks}"
            )
        is_tied = head.weight is backbone.wte.weight
        if is_tied and self.num_blocks == 0:
            raise ValueError(
                "the head alone cannot train (finetune.num_blocks=0) while it is the input "
                "embedding: give it weights of its own with task.tie_weights=false, or train "
                "blocks with finetune=last_block"
            )
        backbone.requires_grad_(False)
        for block in list(backbone.h)[n_layer - self.num_blocks :]:
            block.requires_grad_(True)
        backbone.ln_f.requires_grad_(self.train_final_norm)
        if not is_tied:
            head.requires_grad_(True)


@dataclass
class AllLayers:
    """Trains everything, embeddings included."""

    _target_: str = "llm_lightning.finetuning.strategies.AllLayers"

    def apply(self, backbone: GPT2, head: nn.Module) -> None:
        """See :class:`Strategy`."""
        backbone.requires_grad_(True)
        head.requires_grad_(True)


def from_dict(fields: Mapping[str, Any]) -> Strategy:
    """Rebuilds a strategy from the plain dict that configuration and checkpoints hold.

    Args:
        fields: the dataclass's fields, ``_target_`` among them.

    Raises:
        ValueError: if ``_target_`` names nothing in this module.
    """
    module, _, name = fields["_target_"].rpartition(".")
    if module != __name__ or not hasattr(sys.modules[__name__], name):
        raise ValueError(
            f"finetune._target_ must name a strategy of {__name__}, got {fields['_target_']!r}"
        )
    return cast(Strategy, getattr(sys.modules[__name__], name)(**fields))
