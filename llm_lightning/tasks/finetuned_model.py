"""A backbone with a head, of which some parameters train: how it is built, loaded and saved."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor, nn

from llm_lightning.backbone.families import Model, build
from llm_lightning.backbone.protocol import Backbone
from llm_lightning.backbone.tensor_files import listed
from llm_lightning.backbone.tokenizer import GPT2Tokenizer, Tokenizer
from llm_lightning.backbone.weights import Weights
from llm_lightning.distributed.collectives import group_rank, of_all
from llm_lightning.distributed.sharding import load_full_state
from llm_lightning.finetuning import strategies
from llm_lightning.tasks.partial_checkpoint import Base, describe_base, remove_base, restore_base


class FineTunedModel(L.LightningModule, ABC):
    """A backbone with a head; its checkpoints contain only what trains.

    Args:
        model: the architecture, as :func:`~llm_lightning.backbone.families.build` takes it.
        seed: of the initial weights of backbone and adapters.
    """

    pretrained_parts: ClassVar[tuple[str, ...]] = ("backbone.",)
    """First parts of the names of parameters that a base checkpoint contains."""
    backbone: Backbone
    head: nn.Linear

    def __init__(self, *, model: dict[str, Any], seed: int) -> None:
        super().__init__()
        self.base: Base | None = None
        """The loaded base, if part of it stays frozen."""
        self.head_is_loaded = False
        """Whether the base checkpoint contained a head that fits, and its weights were taken."""
        self.unused_weights: list[str] = []
        """Keys of tensors of the base checkpoint that nothing here uses."""
        self.tokenizer: Tokenizer = GPT2Tokenizer()
        """Encodes new texts; whoever builds the model sets that of its backbone."""
        self._seed = seed
        self._rng_state: Tensor | None = None  # of a checkpoint, until training continues
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves the frozen base out; and what only training needs, if that does not go on."""
        remove_base(checkpoint, self, self.pretrained_parts, self.base)
        if "optimizer_states" in checkpoint:
            # Each process draws a dropout of its own; the main one's state comes first.
            state, *others = of_all(torch.get_rng_state())
            checkpoint["rng_state"] = state
            if others:
                checkpoint["rng_states_of_others"] = others
            return
        checkpoint.pop("loops", None)
        data = getattr(self._trainer, "datamodule", None)
        checkpoint.pop(type(data).__qualname__, None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Completes the checkpoint with the frozen base, which must have been loaded.

        Raises:
            ValueError: if :meth:`load_base` was not called, or with another base.
        """
        states = [checkpoint.get("rng_state"), *checkpoint.get("rng_states_of_others", [])]
        self._rng_state = dict(enumerate(states)).get(group_rank())
        restore_base(checkpoint, self, self.pretrained_parts, self.base)

    def load_trained(self, checkpoint: dict[str, Any]) -> None:
        """Loads a checkpoint over the base that it was trained on.

        Args:
            checkpoint: as Lightning saves it; its ``state_dict`` is completed.

        Raises:
            ValueError: see :meth:`on_load_checkpoint`; also if the tensors are not the model's.
        """
        self.on_load_checkpoint(checkpoint)
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
        load_full_state(self, checkpoint["state_dict"])

    def on_train_start(self) -> None:
        """Restores the random state of a resumed run, for the same dropout."""
        if self._rng_state is not None:
            torch.set_rng_state(self._rng_state)
            self._rng_state = None
