"""A composed configuration, as a run's first process hands it to the others."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from llm_lightning.distributed.nodes import MeetingPlace, meeting_place, node_rank
from llm_lightning.distributed.processes import Processes
from llm_lightning.runs.together import OtherProcess


@dataclass(frozen=True)
class Composed:
    """All that a job is made from."""

    cfg: DictConfig
    """Resolved, without Hydra's own part."""
    choices: dict[str, str | None]
    """The file chosen in each configuration group."""
    hydra: Any
    """Hydra's own part, of which a job takes the name of its run."""


def processes_of(cfg: DictConfig) -> Processes:
    """Returns a run's processes, seen from this machine's first one; a dry run is one of them."""
    if cfg.dry_run:
        return Processes()
    devices, num_nodes = cfg.trainer.devices, cfg.trainer.num_nodes
    first = devices * node_rank(os.environ, num_nodes)
    return Processes(devices * num_nodes, first, num_nodes)


def meeting_place_of(processes: Processes) -> MeetingPlace | None:
    """Returns where the processes meet; ``None`` on a single machine, which finds a place."""
    return meeting_place(os.environ) if processes.num_nodes > 1 else None


def other_process(cfg: DictConfig, choices: Mapping[str, str | None]) -> OtherProcess:
    """Returns how another process makes the same job from the same configuration."""
    resolved = cfg.copy()
    OmegaConf.resolve(resolved)
    composed = Composed(resolved, dict(choices), HydraConfig.instance().cfg)
    return OtherProcess("llm_lightning.commands.other_process", composed)
