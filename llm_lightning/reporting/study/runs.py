"""What a report knows of one run; :mod:`reading` fills it from the run's folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a run says about each test text."""

    texts: list[str]
    truth: NDArray[np.int64]
    """Class index, shape (N,)."""
    predicted: NDArray[np.int64]
    """Class index, shape (N,)."""
    probabilities: NDArray[np.float64]
    """(N, number of classes)."""

    @property
    def is_finite(self) -> bool:
        """Whether all probabilities are numbers; those of a diverged run are not."""
        return bool(np.isfinite(self.probabilities).all())

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each text got its label, shape (N,)."""
        return np.equal(self.truth, self.predicted)


@dataclass(eq=False)
class Run:
    """One finished run."""

    folder: Path
    shown: str
    """The folder from the reported one on."""
    summary: dict[str, Any]
    curves: pd.DataFrame | None = None
    """``metrics.csv``."""
    predictions: Predictions | None = None
    answers: list[dict[str, str]] | None = None
    """Test records with ``model_response``."""
    answer_scores: pd.DataFrame | None = None
    """A row an answer, a column a score."""
    judgements: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each ``judge-*.json`` holds, by file name."""

    @property
    def kind(self) -> str:
        """``classification``, ``instructions`` or ``text``."""
        return str(self.summary["kind"])

    @property
    def test_set(self) -> tuple[str, int]:
        """Which test items were evaluated: the split's checksum, and how many of it."""
        return self.summary["data"]["splits"]["test"]["sha256"], self.num_evaluated

    @property
    def num_evaluated(self) -> int:
        """Test items evaluated; fewer than the split holds if the run was limited."""
        return int(self.summary["evaluated_examples"]["test"])

    def metric(self, split: str, name: str) -> float | None:
        """A final metric; None if the run has none of the name, or it is undefined."""
        value = self.summary["metrics"][split].get(name)
        return None if value is None else float(value)


@dataclass(frozen=True)
class Problem:
    """A run or a file that the report does without."""

    shown: str
    """The run's folder, from the reported one on."""
    state: str
    """``running``, ``failed``, ``interrupted``, ``unfinished``, ``damaged``, or ``used`` if only a
    part of the run is left out."""
    reason: str
