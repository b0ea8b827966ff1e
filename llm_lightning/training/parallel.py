"""Lightning's strategies for several processes that are started by us, not by Lightning.

Lightning would start them by running the command line again, each a Hydra job of its own, which
neither a sweep nor a notebook can have; or by pickling the trainer, and lose what its callbacks
have learnt. Here the other processes are told what to do by the first one
(``runs/together.py``), and are in one process group before Lightning asks for it.
"""

from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from llm_lightning.distributed.collectives import copy_from_main
from llm_lightning.distributed.processes import Processes
from llm_lightning.training.fully_sharded import FullySharded

STRATEGIES = ("auto", "ddp", "fsdp2")
"""Values of ``trainer.strategy``; ``auto`` is ``ddp`` with several devices."""


class StartedProcesses(ClusterEnvironment):
    """Tells Lightning which process this is.

    Args:
        processes: of the run.
    """

    def __init__(self, processes: Processes) -> None:
        super().__init__()
        self._processes = processes

    @property
    def creates_processes_externally(self) -> bool:
        """Is true."""
        return True

    @property
    def main_address(self) -> str:
        """Is not used: the group exists already."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Is not used: the group exists already."""
        return 0

    @staticmethod
    def detect() -> bool:
        """Is never found, only given."""
        return False

    def world_size(self) -> int:
        """Returns how many processes there are."""
        return self._processes.size

    def set_world_size(self, size: int) -> None:
        """Does nothing: it is known."""

    def global_rank(self) -> int:
        """Returns the number of this process."""
        return self._processes.rank

    def set_global_rank(self, rank: int) -> None:
        """Does nothing: it is known."""

    def local_rank(self) -> int:
        """Returns the number of this process among those of its machine."""
        return self._processes.local_rank

    def node_rank(self) -> int:
        """Returns the number of this machine."""
        return self._processes.node_rank


class DataParallel(DDPStrategy):
    """DDP (Li et al. 2020, "PyTorch Distributed") in processes that exist already.

    DDP's own exchange of weights, before training and, by Lightning, before each evaluation, holds
    a second copy of the model; here they go in pieces, and once.
    """

    def _configure_launcher(self) -> None:
        """Starts nothing."""

    def setup(self, trainer: L.Trainer) -> None:
        """Prepares the model; all processes have the same weights before an evaluation."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().setup(trainer)
            return
        if self.accelerator is None or self.model is None:
            raise RuntimeError("the strategy is set up before it is connected")
        self.accelerator.setup(trainer)
        self.precision_plugin.convert_module(self.model)
        self.model_to_device()
        self.setup_precision_plugin()

    def _setup_model(self, model: nn.Module) -> nn.parallel.DistributedDataParallel:
        # Different processors may draw initial weights that differ in the last bit.
        with torch.no_grad():
            for value in model.parameters():
                copy_from_main(value.data)
        return super()._setup_model(model)


def trainer_arguments(processes: Processes, strategy: str) -> dict[str, Any]:
    """Returns arguments of ``lightning.Trainer`` for one of a run's processes.

    Args:
        processes: of the run.
        strategy: one of ``STRATEGIES``, of no effect on a single process.
    """
    devices = {"devices": processes.per_node, "num_nodes": processes.num_nodes}
    if processes.size == 1:
        return {**devices, "strategy": "auto"}
    environment = StartedProcesses(processes)
    return {
        **devices,
        "strategy": FullySharded(environment, processes)
        if strategy == "fsdp2"
        else DataParallel(
            cluster_environment=environment,
            # All buffers are constants; sent in a forward pass, they would keep a process waiting
            # that has no batch left.
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,  # instead of a second copy of all gradients
            init_sync=False,  # done in pieces
        ),
        "use_distributed_sampler": False,  # the data module deals out the examples
    }
