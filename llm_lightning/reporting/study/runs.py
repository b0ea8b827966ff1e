"""Run folders below a folder: those that can be reported, and what is wrong with the others.

A folder is a run's if it holds ``config.yaml``, ``status.json`` or ``summary.json``. Nothing in it
is trusted to be whole: runs may be under way, stopped or damaged.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SPLIT_NAMES = ("train", "val", "test")
KINDS = ("classification", "instructions", "text")
PROBABILITY = "probability_"
"""Columns of ``predictions_test.csv`` are called this and the class name."""

_MARKS = {"config.yaml", "status.json", "summary.json"}
_INSIDE = {"checkpoints", "plots", "splits"}
# What summary.json must hold for a row of any kind.
_NEEDED = ("name", "seed", "kind", "metrics", "data", "notices", "parameters", "seconds")

T = TypeVar("T")


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
        """One of ``KINDS``."""
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


def find_folders(roots: Iterable[Path]) -> dict[Path, str]:
    """All run folders below some folders, each once, and how to name them without their disk."""
    found: dict[Path, str] = {}
    for root in roots:
        base = root.resolve()
        for folder, subfolders, files in os.walk(base):
            subfolders.sort()
            if _MARKS.intersection(files):
                path = Path(folder)
                found.setdefault(path, str(Path(base.name) / path.relative_to(base)))
                subfolders[:] = [name for name in subfolders if name not in _INSIDE]
    return found


def read_run(folder: Path, shown: str) -> tuple[Run | None, list[Problem]]:
    """Reads a run's folder.

    Args:
        folder: the run's.
        shown: its name for readers.

    Returns:
        The run, or None if it has nothing to report; and everything that is wrong with it.
    """
    status = _try(lambda: json.loads((folder / "status.json").read_text(encoding="utf-8")))
    state = status.get("state") if isinstance(status, dict) else None
    error = status.get("error") if isinstance(status, dict) else None
    file = folder / "summary.json"
    if not file.is_file():
        if state == "failed":
            return None, [Problem(shown, "failed", str(error or "no reason given"))]
        if state in ("running", "interrupted"):
            epoch = status.get("epoch") if isinstance(status, dict) else None
            done = f"{epoch} epochs done" if epoch else "before the end of the first epoch"
            return None, [Problem(shown, str(state), done)]
        return None, [Problem(shown, "unfinished", "there is no summary.json")]
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        _check(summary)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as found:
        return None, [Problem(shown, "damaged", f"summary.json: {_words(found)}")]
    run, problems = Run(folder, shown, summary), []
    if state == "failed":
        problems.append(Problem(shown, "used", f"it failed after its summary: {error}"))
    for name, read in _READERS[run.kind].items():
        try:
            read(run)
        except FileNotFoundError:
            problems.append(Problem(shown, "used", f"there is no {name}"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as found:
            problems.append(Problem(shown, "used", f"{name}: {_words(found)}"))
    return run, problems


def read_split(run: Run, split: str) -> pd.DataFrame | None:
    """A classification run's ``splits/<split>.csv`` as ``Label`` and ``Text``; None if it is not.

    Args:
        run: whose folder.
        split: one of ``SPLIT_NAMES``.
    """

    def read() -> pd.DataFrame:
        file = run.folder / "splits" / f"{split}.csv"
        table = pd.read_csv(file, dtype=str, keep_default_na=False)[["Label", "Text"]]
        labels = table["Label"].astype(int)
        if not labels.between(0, len(run.summary["class_names"]) - 1).all():
            raise ValueError("a label is no class index")
        return table.assign(Label=labels)

    return _try(read)


def _check(summary: dict[str, Any]) -> None:
    """Raises KeyError, TypeError or ValueError if a summary lacks what every row needs."""
    for key in _NEEDED:
        summary[key]
    if summary["kind"] not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {summary['kind']!r}")
    for split in SPLIT_NAMES:
        summary["metrics"][split].items()
    int(summary["evaluated_examples"]["test"])
    int(summary["parameters"]["trainable"])
    int(summary["seed"])
    float(summary["seconds"]["training"])
    str(summary["data"]["splits"]["test"]["sha256"])
    if summary["kind"] == "classification":
        float(summary["metrics"]["test"]["accuracy"])
        len(summary["class_names"])


def _read_curves(run: Run) -> None:
    if run.summary.get("epochs") is None:  # a baseline has none
        return
    run.curves = pd.read_csv(run.folder / "metrics.csv")
    run.curves[["epoch", "step"]]


def _read_predictions(run: Run) -> None:
    table = pd.read_csv(run.folder / "predictions_test.csv", dtype=str, keep_default_na=False)
    names: list[str] = run.summary["class_names"]
    index = {name: number for number, name in enumerate(names)}
    truth, predicted = (table[column].map(index) for column in ("label", "predicted"))
    if truth.isna().any() or predicted.isna().any():
        raise ValueError(f"a label is none of {names}")
    if len(table) != run.num_evaluated:
        raise ValueError(f"{len(table)} rows for {run.num_evaluated} evaluated examples")
    columns = [PROBABILITY + name for name in names]
    probabilities = table[columns].to_numpy(dtype=np.float64)
    run.predictions = Predictions(
        table["text"].tolist(),
        np.asarray(truth, dtype=np.int64),
        np.asarray(predicted, dtype=np.int64),
        probabilities,
    )


def _read_answers(run: Run) -> None:
    file = run.folder / "instruction-data-with-response.json"
    records = json.loads(file.read_text(encoding="utf-8"))
    needed = ("instruction", "input", "output", "model_response")
    run.answers = [{key: str(record[key]) for key in needed} for record in records]


def _read_answer_scores(run: Run) -> None:
    run.answer_scores = pd.read_csv(run.folder / "answer_scores.csv", index_col="index")


def _read_judgements(run: Run) -> None:
    for file in sorted(run.folder.glob("judge-*.json")):
        report = json.loads(file.read_text(encoding="utf-8"))
        _ = report["judge"]["model"], report["settings"]["rubric"], report["counts"]["items"]
        _ = report["mean"], report["low"], report["high"]
        run.judgements[file.name] = report


_READERS: dict[str, dict[str, Callable[[Run], None]]] = {
    "classification": {
        "metrics.csv": _read_curves,
        "predictions_test.csv": _read_predictions,
    },
    "instructions": {
        "metrics.csv": _read_curves,
        "instruction-data-with-response.json": _read_answers,
        "answer_scores.csv": _read_answer_scores,
        "judge-*.json": _read_judgements,
    },
    "text": {"metrics.csv": _read_curves},
}


def _try(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (OSError, ValueError, KeyError):
        return None


def _words(error: Exception) -> str:
    """What is wrong with a file, in a line."""
    if isinstance(error, json.JSONDecodeError):
        return f"half-written or damaged JSON (line {error.lineno})"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
