"""The strategies for several processes, beside what whole runs show (tests/distributed)."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning.pytorch.accelerators import CPUAccelerator
from torch import nn

from llm_lightning.distributed.processes import Processes
from llm_lightning.training.fully_sharded import FullySharded
from llm_lightning.training.parallel import DataParallel, StartedProcesses
from tests.distributed.forked import in_processes


def test_training_starts_from_the_main_process_s_weights(tmp_path: Path) -> None:
    def start(rank: int) -> list[float]:
        torch.manual_seed(rank)
        model = nn.Linear(3, 2)
        model.scale = nn.Parameter(torch.tensor(float(rank)))
        model.frozen = nn.Parameter(torch.randn(4), requires_grad=False)
        strategy = DataParallel(
            accelerator=CPUAccelerator(),
            parallel_devices=[torch.device("cpu")] * 2,
            cluster_environment=StartedProcesses(Processes(2, rank)),
            init_sync=False,
        )
        strategy._setup_model(model)
        values = torch.cat([p.detach().flatten() for p in model.parameters()])
        found: list[float] = values.tolist()
        return found

    first, second = in_processes(start, tmp_path)
    assert first == second
    torch.manual_seed(0)
    assert first[:6] == nn.Linear(3, 2).weight.flatten().tolist()


def test_the_frozen_base_is_not_put_together_for_a_checkpoint() -> None:
    strategy = FullySharded(StartedProcesses(Processes(1, 0)), Processes(1, 0))
    model: Any = nn.Linear(3, 2)
    strategy.model = model
    strategy._lightning_module = SimpleNamespace(names_left_out=lambda: {"weight"})  # type: ignore[assignment]
    assert list(strategy.lightning_module_state_dict()) == ["bias"]
