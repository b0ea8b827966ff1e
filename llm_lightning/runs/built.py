"""A network with everything that trains and evaluates it."""

from dataclasses import dataclass
from typing import Any

import lightning as L

from llm_lightning.callbacks.timing import StageTimer
from llm_lightning.data.module import DataModule
from llm_lightning.run_format.run_facts import WeightFacts
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

    def facts(self) -> dict[str, Any]:
        """Returns what all processes of a run must have found alike."""
        splits = self.data.facts()["splits"]
        return {
            "the data": {name: split["sha256"] for name, split in splits.items()},
            "the weights": self.weights.sha256,
        }
