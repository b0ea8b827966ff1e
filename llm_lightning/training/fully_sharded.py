"""FSDP2 as a Lightning strategy whose checkpoints are those of one device."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.strategies.strategy import Strategy
from torch.optim import Optimizer

from llm_lightning.distributed.processes import Processes
from llm_lightning.distributed.sharding import as_part, full_state, load_full_state


class FullySharded(ModelParallelStrategy):
    """Shards a task's blocks, in processes that exist already.

    Lightning's own strategy loads a checkpoint past the task, which has to complete it with the
    frozen base; it does so after it has made the loader of training data, which must start where a
    checkpoint says; and it names an optimizer's state otherwise than one device does.

    Args:
        environment: tells which process this is.
        processes: of the run.
    """

    def __init__(self, environment: Any, processes: Processes) -> None:
        super().__init__(
            data_parallel_size=processes.size,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
        )
        self.cluster_environment = environment

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Is false: the model is sharded before :meth:`setup`, by the task."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Is true: the state is loaded by :meth:`load_optimizer_state_dict`."""
        return True

    def _configure_launcher(self) -> None:
        """Starts nothing."""

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint contains in the main process, and an empty dict elsewhere."""
        if self.model is None:
            raise RuntimeError("there is no model yet")
        # The frozen base is left out of checkpoints: it need not be put together for them.
        left_out: set[str] = cast(Any, self.lightning_module).names_left_out()
        state = {k: v for k, v in self.model.state_dict().items() if k not in left_out}
        return full_state(state, wanted=self.is_global_zero)

    def optimizer_state(self, optimizer: Optimizer | LightningOptimizer) -> dict[str, Any]:
        """Returns the whole state in the main process, in one device's format."""
        plain = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        found: dict[str, Any] = plain.state_dict()
        states = {
            index: full_state(state, wanted=self.is_global_zero)
            for index, state in found["state"].items()
        }
        return {"state": states, "param_groups": found["param_groups"]}

    def load_checkpoint(
        self, checkpoint_path: Any, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint, which the task completes."""
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Gives every process its parts."""
        if self.model is None:
            raise RuntimeError("there is no model yet")
        load_full_state(self.model, checkpoint["state_dict"])

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Gives every process its parts."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            state = {
                index: {
                    name: as_part(value, parameters[index])
                    if isinstance(value, torch.Tensor) and value.shape == parameters[index].shape
                    else value
                    for name, value in values.items()
                }
                for index, values in saved["state"].items()
            }
            optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
