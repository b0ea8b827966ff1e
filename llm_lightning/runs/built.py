"""A network with everything that trains and evaluates it."""

from dataclasses import dataclass

import lightning as L

from llm_lightning.callbacks.timing import StageTimer
from llm_lightning.data.module import DataModule
from llm_lightning.run_format.summary import WeightFacts
from llm_lightning.tasks.task import Task


@dataclass
class Built:
    """Everything that a network job became."""

    data: DataModule
    task: Task
    trainer: L.Trainer
    timer: StageTimer
    weights: WeightFacts
    fallbacks: list[str]
    """What replaced data or weights that were unavailable."""
