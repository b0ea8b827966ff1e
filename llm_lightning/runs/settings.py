"""The settings of a run and what it finds for them: the parts that all jobs share."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from llm_lightning.data.module import DataModule
from llm_lightning.run_format.published import Published


class Checkpoint(Enum):
    """Which weights of a run."""

    last = "last"
    """Those after the last epoch, as in the book."""
    best = "best"
    """Those with the lowest validation loss; its validation metrics are then optimistic."""


@dataclass
class RunSettings:
    """What every run has, whatever it fits."""

    name: str
    """Experiment and changed settings; the folder above ``run_dir``."""
    experiment: str | None
    overrides: list[str]
    """The settings of the command line."""
    seed: int
    """That the folder is named after."""
    init_seed: int
    """Of what is drawn before training: head, adapters, random backbone."""
    order_seed: int
    """Of what is drawn during training: the order of examples, and dropout."""
    run_dir: Path
    """The run's folder; a scratch folder in a dry run."""
    home: Path
    """The folder that the run has, or would have if this were no dry run."""
    configuration: dict[str, Any]
    """The resolved configuration, as plain values; paths inside the folder are relative to it."""
    offline_fallback: bool = True
    rerun: bool = False
    objective: str = "loss"
    trial_of: list[str] | None = None
    """The keys that the search varies which this run is a trial of; ``None`` if it is none."""
    may_stop_early: bool = False
    """Whether its search may end it after fewer epochs than it was to have."""
    published: Published | None = None
    is_later_of_sweep: bool = False
    """Whether an earlier run of the same sweep explained what it has in common with this one."""


@dataclass
class Found:
    """What a job will use; finding it takes little time beside the downloads."""

    data: DataModule
    """After ``setup``."""
    weights_source: str | None = None
    """Model and origin of the weights, for people; ``None`` without a network."""
    weights_sha256: str | None = None
    """Of the weights' file; ``None`` without a file."""
    fallbacks: list[str] = field(default_factory=list)
    """What replaced data or weights that were unavailable, and why."""
