"""A model as Lightning trains it: what its checkpoints contain, and how a run goes on from one."""

from abc import ABC
from typing import Any

import lightning as L
import torch
from torch import Tensor

from llm_lightning.distributed.collectives import group_rank, of_all
from llm_lightning.distributed.sharding import load_full_state
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.partial_checkpoint import names_in_base, remove_base, restore_base


class Resumable(FineTunedModel, L.LightningModule, ABC):
    """A model whose checkpoints contain only what trains; for the arguments see its first base."""

    def __init__(self, *, model: dict[str, Any], optim: dict[str, Any], seed: int) -> None:
        super().__init__(model=model, optim=optim, seed=seed)
        self._rng_state: Tensor | None = None  # of a checkpoint, until training continues

    def names_left_out(self) -> set[str]:
        """Returns the names of the parameters that its checkpoints do not contain."""
        return names_in_base(self, self.pretrained_parts, self.base)

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

    def _load_whole(self, state: dict[str, Any]) -> None:
        """Loads whole tensors, also into blocks of which this process has only a part."""
        load_full_state(self, state)

    def on_train_start(self) -> None:
        """Restores the random state of a resumed run, for the same dropout."""
        if self._rng_state is not None:
            torch.set_rng_state(self._rng_state)
            self._rng_state = None
