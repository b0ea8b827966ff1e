"""A composed configuration, as a run's first process hands it to the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

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
    """Returns a run's processes, seen from the first one; a dry run measures one of them."""
    if cfg.dry_run:
        return Processes()
    return Processes(cfg.trainer.devices)


def other_process(cfg: DictConfig, choices: Mapping[str, str | None]) -> OtherProcess:
    """Returns how another process makes the same job from the same configuration."""
    resolved = cfg.copy()
    OmegaConf.resolve(resolved)
    composed = Composed(resolved, dict(choices), HydraConfig.instance().cfg)
    return OtherProcess("llm_lightning.commands.other_process", composed)
