"""The plan of a run: what is left to do of it, and what that takes."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llm_lightning.run_format.files import PLAN
from llm_lightning.runs.prior_state import PriorState


@dataclass
class Plan:
    """What is left to do of a run, and what that takes on this device."""

    name: str
    seed: int
    device: str
    """The device that was measured, for people."""
    folder: str
    """Where the run would write; for people."""
    prior: str = PriorState.NOTHING.value
    """What that folder holds: a value of :class:`~llm_lightning.runs.prior_state.PriorState`."""
    trainable: int = 0
    """Parameters that train."""
    total: int = 0
    """Parameters in all."""
    steps: int = 0
    """Optimizer steps left to do."""
    steps_done: int = 0
    """Optimizer steps of an interrupted run, which goes on after them."""
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes of weights, gradients, optimizer state and activations at the widest batch."""
    widest_batch: list[int] = field(default_factory=list)
    """Rows and tokens of that batch."""
    frozen_activations_mib: float = 0.0
    """Size of the frozen activations, which are computed once for every example."""
    program_mib: float = 0.0
    """Memory of the process before it had a model: the program, its libraries, and the data."""
    peak_mib: float = 0.0
    """Expected peak of each process of the run: of its GPU, or of the whole process."""
    num_processes: int = 1
    """How many processes the run has."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Expected time of each part of the run."""
    test_set: tuple[str, int] | None = None
    """Fingerprint of a classifier's test split and its evaluated items; None of other runs."""
    is_baseline: bool = False
    """Whether it is a baseline, which has no seed that matters."""
    fallbacks: list[str] = field(default_factory=list)
    """What would replace data or weights that are unavailable."""
    longest_responses_s: float | None = None
    """Time of generating responses to the test split if each were as long as allowed."""

    @property
    def total_seconds(self) -> float:
        """Expected time in all."""
        return sum(self.seconds.values())

    def write(self, folder: Path) -> None:
        """Writes the plan into a folder."""
        (folder / PLAN).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def read_plans(folder: Path) -> list[Plan]:
    """Reads the plans of all runs of a sweep."""
    files = sorted(folder.glob(f"*/*/{PLAN}"))
    plans = [Plan(**json.loads(file.read_text(encoding="utf-8"))) for file in files]
    for plan in plans:
        plan.test_set = None if plan.test_set is None else (plan.test_set[0], plan.test_set[1])
    return plans
