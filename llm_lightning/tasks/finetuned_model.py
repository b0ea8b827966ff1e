"""A backbone with a head, of which some parameters train: how it is built, loaded and used.

Nothing here needs Lightning: a command that only computes with a model should not wait for it.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llm_lightning.backbone.families import Model, build
from llm_lightning.backbone.inputs import ModelInputs
from llm_lightning.backbone.protocol import Backbone
from llm_lightning.backbone.tensor_files import listed
from llm_lightning.backbone.tokenizer import GPT2Tokenizer, Tokenizer
from llm_lightning.backbone.weights import Weights
from llm_lightning.finetuning import strategies
from llm_lightning.tasks.partial_checkpoint import Base, describe_base, restore_base
from llm_lightning.training.optim import AdamW


class FineTunedModel(nn.Module, ABC):
    """A backbone with a head.

    All arguments, those of subclasses too, are plain values, which a checkpoint stores to rebuild
    the model.

    Args:
        model: the architecture, as :func:`~llm_lightning.backbone.families.build` takes it.
        optim: fields of :class:`~llm_lightning.training.optim.AdamW`.
        seed: of the initial weights; backbone, head and adapters each start from it, so that none
            of them depends on another.
    """

    pretrained_parts: ClassVar[tuple[str, ...]] = ("backbone.",)
    """First parts of the names of parameters that a base checkpoint contains."""
    data_kinds: ClassVar[tuple[str, ...]]
    """Kinds of data that it can be trained on."""
    backbone: Backbone
    head: nn.Linear
    hparams: dict[str, Any] = {}  # noqa: RUF012 (each model sets its own)
    """The arguments that it was made with, as plain values."""

    def __init__(self, *, model: dict[str, Any], optim: dict[str, Any], seed: int) -> None:
        super().__init__()
        self.optim = AdamW(**optim)
        self.base: Base | None = None
        """The loaded base, if part of it stays frozen."""
        self.head_is_loaded = False
        """Whether the base checkpoint contained a head that fits, and its weights were taken."""
        self.unused_weights: list[str] = []
        """Keys of tensors of the base checkpoint that nothing here uses."""
        self.tokenizer: Tokenizer = GPT2Tokenizer()
        """Encodes new texts; whoever builds the model sets that of its backbone."""
        self._seed = seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = build(model)

    def set_trainable(self, finetune: dict[str, Any]) -> None:
        """Applies a strategy, given by its fields, to backbone and head."""
        self.strategy = strategies.from_dict(finetune)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self.strategy.apply(self)

    def load_base(self, model: Model, weights: Weights) -> str | None:
        """Loads the weights from which training starts; to be called once.

        Args:
            model: the model and its ``weights`` setting, which checkpoints record.
            weights: the located weights; without a path, the initial weights are kept.

        Returns:
            SHA-256 of the file; ``None`` without one.

        Raises:
            ValueError: if the file does not fit the model.
        """
        sha256 = None
        if weights.path is not None:
            sha256 = self.load_backbone(weights.path, weights.sha256)
        self.base = describe_base(self, self.pretrained_parts, model, weights)
        self.strategy.base_loaded(self)
        return sha256

    @abstractmethod
    def load_backbone(self, path: Path, expected_sha256: str | None) -> str:
        """Loads a checkpoint into the backbone, and its head if it is one for this task.

        Returns:
            SHA-256 of the file.

        Raises:
            ValueError: see :func:`~llm_lightning.backbone.families.load_weights`.
        """

    @abstractmethod
    def model_inputs(self, batch: Any) -> ModelInputs:
        """Returns what the backbone must compute for a batch, on the batch's device."""

    def why_not_cacheable(self) -> str | None:
        """Returns why the frozen activations of an example depend on its batch, if they do."""
        return None

    def hidden(
        self, batch: Any, split: str | None = None
    ) -> tuple[Float[Tensor, "B out C"], ModelInputs]:
        """Computes the hidden states that the head takes.

        Args:
            batch: from the data module.
            split: where the batch comes from; ``None`` for new examples.

        Returns:
            (B, Q, C) states after the final LayerNorm, (B, T, C) if all positions are selected;
            and the inputs they were computed from.
        """
        inputs = self.model_inputs(batch)
        hidden = self.backbone(
            inputs.input_ids,
            inputs.padding_mask,
            positions=inputs.positions,
            lengths=inputs.lengths,
        )
        return hidden, inputs

    def load_trained(self, checkpoint: dict[str, Any]) -> None:
        """Loads a checkpoint over the base that it was trained on.

        Args:
            checkpoint: as Lightning saves it; its ``state_dict`` is completed.

        Raises:
            ValueError: if :meth:`load_base` was not called, or with another base; or if the tensors
                are not the model's.
        """
        restore_base(checkpoint, self, self.pretrained_parts, self.base)
        found, wanted = checkpoint["state_dict"], self.state_dict()
        problems = [f"missing: {name}" for name in wanted if name not in found]
        problems += [f"unexpected: {name}" for name in found if name not in wanted]
        problems += [
            f"wrong shape: {name} is {tuple(found[name].shape)}, the model needs "
            f"{tuple(value.shape)}"
            for name, value in wanted.items()
            if name in found and found[name].shape != value.shape
        ]
        if problems:
            raise ValueError(f"its tensors do not fit its own settings; {listed(problems)}")
        self._load_whole(found)

    def _load_whole(self, state: dict[str, Any]) -> None:
        """Loads a state dict that has every tensor."""
        self.load_state_dict(state, strict=True)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.head.weight.device
