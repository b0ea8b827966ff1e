"""Everything that a report knows about one finished run."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_lightning.run_format.benchmarks import BenchmarkScore
from llm_lightning.run_format.setting_effects import without_draws
from llm_lightning.run_format.summary import Summary


@dataclass(frozen=True, eq=False)
class Predictions:
    """A classifier's predictions on its test split."""

    class_names: list[str]
    texts: list[str]
    """N test texts."""
    truth: NDArray[np.int64]
    """Class index, shape (N,)."""
    predicted: NDArray[np.int64]
    """Class index, shape (N,)."""
    probabilities: NDArray[np.float64]
    """Shape (N, number of classes)."""

    @property
    def is_finite(self) -> bool:
        """Whether all probabilities are finite; those of a diverged run are NaN."""
        return bool(np.isfinite(self.probabilities).all())

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each prediction is correct, shape (N,)."""
        return np.equal(self.truth, self.predicted)


@dataclass(frozen=True)
class JudgeScore:
    """The mean score that a judge model gave to a run's responses, on the rubric's own scale."""

    model: str
    rubric: str
    responses: int
    """How many responses were judged."""
    mean: float | None
    """None if no reply of the judge contained a score."""
    low: float
    high: float


@dataclass(eq=False)
class RunRecord:
    """One finished run, as its folder records it."""

    folder: Path
    shown: str
    """The folder's path for readers, relative to the folder that is reported on."""
    summary: Summary
    curves: pd.DataFrame | None = None
    """Metrics logged during training."""
    predictions: Predictions | None = None
    responses: list[dict[str, str]] | None = None
    """Test records, each with the model's response."""
    response_scores: pd.DataFrame | None = None
    """One row per response, one column per score."""
    judge_scores: list[JudgeScore] = field(default_factory=list)
    benchmarks: list[BenchmarkScore] = field(default_factory=list)
    parts: "list[RunRecord]" = field(default_factory=list)
    """The runs on single splits or folds that this one pools; empty for a run of its own."""

    @property
    def setting(self) -> tuple[Path, str]:
        """Equal for runs that differ in seeds, split or fold only."""
        return setting_of(self.folder)

    @property
    def trained(self) -> "list[RunRecord]":
        """The runs that trained a model each: its parts, or the run itself."""
        return self.parts or [self]

    @property
    def init_seed(self) -> int:
        """Seed of the initial weights."""
        seeds = self.summary.seeds
        return self.summary.seed if seeds is None else seeds.init

    @property
    def order_seed(self) -> int:
        """Seed of order and dropout."""
        seeds = self.summary.seeds
        return self.summary.seed if seeds is None else seeds.order

    @property
    def split(self) -> tuple[int, int]:
        """Seed of the split, and which fold is tested; -1 for what there is not."""
        seeds, fold = self.summary.seeds, self.summary.data.fold
        drawn = -1 if seeds is None or seeds.split is None else seeds.split
        return drawn, -1 if fold is None else fold

    @property
    def seed_text(self) -> str:
        """The seed; those of initial weights and order, if they are not the same."""
        seed, init, order = self.summary.seed, self.init_seed, self.order_seed
        return str(seed) if seed == init == order else f"{init}/{order}"

    @property
    def test_set(self) -> tuple[str, int]:
        """Identifies the evaluated test items: fingerprint of the split, and how many of it."""
        return self.summary.data.splits["test"].sha256, self.num_evaluated

    @property
    def fallbacks(self) -> list[str]:
        """What replaced what, a line for each fallback."""
        texts = [text.strip() for text in self.summary.fallbacks]
        return [text.splitlines()[0].rstrip(":") for text in texts if text]

    @property
    def precision(self) -> str:
        """What its predictions were computed in, or its responses written in: ``fp32``, ``bf16``...

        Predictions come from the trainer, whose names end in how it keeps weights. Responses of
        earlier versions do not record it, and count as the trainer's.
        """
        facts = self.summary.responses
        if facts is not None and facts.precision is not None:
            return facts.precision
        name = self.summary.precision.partition("-")[0]
        return {"32": "fp32", "64": "fp64", "16": "fp16"}.get(name, name)

    @property
    def num_responses(self) -> int:
        """Test items that the model responded to; the loss may cover fewer of them."""
        facts = self.summary.responses
        return facts.examples if facts else self.num_evaluated

    @property
    def num_evaluated(self) -> int:
        """Evaluated test items; fewer than the split has if the run was limited."""
        return self.summary.evaluated_examples["test"]

    def metric(self, split: str, name: str) -> float | None:
        """A final metric; None if the run did not log it or it is undefined."""
        return self.summary.metrics[split].get(name)  # type: ignore[index]


def setting_of(folder: Path) -> tuple[Path, str]:
    """What the folders of runs have in common that differ in seeds, split or fold only."""
    return folder.parent.parent, without_draws(folder.parent.name)


@dataclass(frozen=True)
class Problem:
    """A run, or a file of a run, that the report leaves out."""

    shown: str
    """The run's folder, relative to the folder that is reported on."""
    state: str
    """``running``, ``failed``, ``interrupted``, ``unfinished``, ``damaged``, or ``used`` if only
    part of the run is left out."""
    reason: str
