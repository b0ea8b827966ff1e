"""Fine-tuning strategies: dataclasses that decide which parameters of a model train.

A strategy is applied when a model is built, before weights are loaded, so that a checkpoint
rebuilds the same model. A head that is tied to the input embedding is part of that embedding, and
trains if the embedding does.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast, runtime_checkable

from torch import nn

from llm_lightning.backbone.protocol import Backbone


@runtime_checkable
class Model(Protocol):
    """A model that a strategy can be applied to."""

    backbone: Backbone
    head: nn.Linear


@dataclass(kw_only=True)
class Strategy(ABC):
    """Base class of strategies."""

    cache_frozen_activations: bool = True
    """Whether the blocks below the lowest trainable parameter are computed only once for every
    example, instead of in every epoch."""

    @abstractmethod
    def apply(self, model: Model) -> None:
        """Sets ``requires_grad`` on every parameter; may replace layers."""

    def base_loaded(self, model: Model) -> None:  # noqa: B027 (most have nothing to do)
        """Called once the base weights are loaded."""

    def describe(self, model: Model) -> dict[str, Any]:
        """Returns facts beside the parameter counts, for the summary, as plain values."""
        return {}


@dataclass
class TopBlocks(Strategy):
    """Trains the head, the last ``num_blocks`` blocks and optionally the final LayerNorm.

    Raises:
        ValueError: if ``num_blocks`` is negative or, when applied, more than the model has; or
            if there are none and the head is tied to the embedding.
    """

    num_blocks: int
    """How many of the last blocks train, 0 to the number of blocks."""
    _target_: str = "llm_lightning.finetuning.strategies.TopBlocks"
    train_final_norm: bool = True
    """Whether the LayerNorm between the last block and the head trains."""

    def __post_init__(self) -> None:
        """Checks the range that does not depend on a model."""
        if self.num_blocks < 0:
            raise ValueError(f"finetune.num_blocks must be at least 0, got {self.num_blocks}")

    def apply(self, model: Model) -> None:
        """See :class:`Strategy`."""
        available = model.backbone.num_blocks
        if self.num_blocks > available:
            raise ValueError(
                f"finetune.num_blocks must be at most the model's {available} blocks, "
                f"got {self.num_blocks}"
            )
        if is_tied(model) and self.num_blocks == 0:
            raise ValueError(
                "the head alone cannot train (finetune.num_blocks=0) while it is tied to the input "
                "embedding: untie it with task.tie_weights=false, or train blocks with "
                "finetune=last_block"
            )
        _train_blocks(model, range(available - self.num_blocks, available), self.train_final_norm)


@dataclass
class ChosenBlocks(Strategy):
    """Trains the head, the given blocks and optionally the final LayerNorm.

    Raises:
        ValueError: if ``blocks`` is empty or, when applied, names a block that does not exist.
    """

    blocks: list[int]
    """Indices of the blocks that train, from 0 at the embeddings."""
    _target_: str = "llm_lightning.finetuning.strategies.ChosenBlocks"
    train_final_norm: bool = True
    """Whether the LayerNorm between the last block and the head trains."""

    def __post_init__(self) -> None:
        """Checks the rule that does not depend on a model."""
        if not self.blocks:
            raise ValueError("finetune.blocks must name at least one block, got []")

    def apply(self, model: Model) -> None:
        """See :class:`Strategy`."""
        available = model.backbone.num_blocks
        if wrong := [index for index in self.blocks if not 0 <= index < available]:
            raise ValueError(
                f"finetune.blocks must lie between 0 and {available - 1}, the model's last block, "
                f"got {wrong[0]}"
            )
        _train_blocks(model, self.blocks, self.train_final_norm)


@dataclass
class AllLayers(Strategy):
    """Trains everything, embeddings included."""

    _target_: str = "llm_lightning.finetuning.strategies.AllLayers"

    def apply(self, model: Model) -> None:
        """See :class:`Strategy`."""
        as_module(model.backbone).requires_grad_(True)
        model.head.requires_grad_(True)


def _train_blocks(model: Model, indices: Iterable[int], train_final_norm: bool) -> None:
    """Freezes all but some blocks, the final LayerNorm if wanted, and a head that is not tied."""
    backbone = model.backbone
    as_module(backbone).requires_grad_(False)
    for index in indices:
        backbone.blocks[index].requires_grad_(True)
    for module in backbone.final_modules():
        module.requires_grad_(train_final_norm)
    if not is_tied(model):
        model.head.requires_grad_(True)


def as_module(backbone: Backbone) -> nn.Module:
    """The same backbone as what every implementation also is: a torch module."""
    return cast(nn.Module, backbone)


def is_tied(model: Model) -> bool:
    """Whether the head is the input embedding."""
    return model.head.weight is model.backbone.input_embedding.weight


def from_dict(fields: Mapping[str, Any]) -> Strategy:
    """Rebuilds a strategy from the plain dict in a configuration or checkpoint.

    Args:
        fields: the dataclass's fields, ``_target_`` among them.

    Raises:
        ValueError: if ``_target_`` names no strategy of this package.
    """
    module, _, name = fields["_target_"].rpartition(".")
    package = __name__.rpartition(".")[0]
    # Checked before anything is imported: checkpoints may come from untrusted sources.
    if module.rpartition(".")[0] == package:
        kind = getattr(import_module(module), name, None)
        if isinstance(kind, type) and issubclass(kind, Strategy):
            return kind(**fields)
    raise ValueError(
        f"finetune._target_ must name a strategy of {package}, got {fields['_target_']!r}"
    )
