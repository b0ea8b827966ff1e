"""Run folders below a folder: those that can be reported, and what is wrong with the others.

A folder is a run's if it holds ``config.yaml``, ``status.json`` or ``summary.json``. Nothing in it
is trusted to be whole: runs may be under way, stopped or damaged.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from llm_lightning.reporting.study.runs import Predictions, Problem, Run
from llm_lightning.reporting.study.summary_rules import check_summary

PROBABILITY = "probability_"
"""Columns of ``predictions_test.csv`` are called this and the class name."""

_MARKS = {"config.yaml", "status.json", "summary.json"}
_INSIDE = {"checkpoints", "plots", "splits"}
# What reading a file can raise that is the file's fault.
_FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)

_AFTER_SUMMARY = {
    "failed": "it failed after its summary",
    "interrupted": "it was interrupted after its summary",
    "running": "it is not done yet",
}

T = TypeVar("T")


def find_folders(roots: Iterable[Path]) -> dict[Path, str]:
    """All run folders below some folders, each once, and how to name them without their disk."""
    found: dict[Path, str] = {}
    bases = [root.resolve() for root in roots]
    names = [base.name for base in bases]
    for base in bases:
        is_clear = names.count(base.name) == 1
        name = Path(base.name) if is_clear else Path(base.parent.name, base.name)
        for folder, subfolders, files in os.walk(base):
            subfolders.sort()
            if _MARKS.intersection(files):
                path = Path(folder)
                found.setdefault(path, str(name / path.relative_to(base)))
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
    status = _read_status(folder)
    state, error = status["state"], status.get("error")
    file = folder / "summary.json"
    if not file.is_file():
        if state == "failed":
            return None, [Problem(shown, state, str(error or "no reason given"))]
        if state in ("running", "interrupted"):
            return None, [Problem(shown, state, _how_far(status))]
        return None, [Problem(shown, "unfinished", "there is no summary.json")]
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        check_summary(summary)
    except _FAULTS as found:
        return None, [Problem(shown, "damaged", f"summary.json: {_words(found)}")]
    run, problems = Run(folder, shown, summary), []
    if state in _AFTER_SUMMARY:
        reason = _AFTER_SUMMARY[state] + (f": {error}" if error else "")
        problems.append(Problem(shown, "used", reason))
    for name, read in _READERS[run.kind].items():
        try:
            read(run)
        except FileNotFoundError:
            problems.append(Problem(shown, "used", f"there is no {name}"))
        except _FAULTS as found:
            problems.append(Problem(shown, "used", f"{name}: {_words(found)}"))
    return run, problems


def _read_status(folder: Path) -> dict[str, Any]:
    """``status.json``; the state is an empty text where there is none."""
    status = _try(lambda: json.loads((folder / "status.json").read_text(encoding="utf-8")))
    status = status if isinstance(status, dict) else {}
    return status | {"state": str(status.get("state") or "")}


def _how_far(status: dict[str, Any]) -> str:
    epoch, heard = status.get("epoch"), status.get("updated_at")
    done = f"{epoch} epochs done" if epoch else "before the end of the first epoch"
    # A run whose machine went down says that it runs for ever.
    return f"{done}; last heard of {heard}" if heard else done


def read_split(run: Run, split: str) -> pd.DataFrame | None:
    """A classification run's ``splits/<split>.csv`` as ``Label`` and ``Text``; None if it is not.

    Args:
        run: whose folder.
        split: ``train``, ``val`` or ``test``.
    """

    def read() -> pd.DataFrame:
        file = run.folder / "splits" / f"{split}.csv"
        table = pd.read_csv(file, dtype=str, keep_default_na=False)[["Label", "Text"]]
        labels = table["Label"].astype(int)
        if not labels.between(0, len(run.summary["class_names"]) - 1).all():
            raise ValueError("a label is no class index")
        return table.assign(Label=labels)

    return _try(read)


def _read_curves(run: Run) -> None:
    if run.summary.get("epochs") is None:  # a baseline has none
        return
    curves = pd.read_csv(run.folder / "metrics.csv").astype(np.float64)
    curves[["epoch", "step"]]
    run.curves = curves


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
    if (probabilities < 0).any() or (probabilities > 1).any():  # NaN of a diverged run is neither
        raise ValueError("a probability is not from 0 to 1")
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
    scores = pd.read_csv(run.folder / "answer_scores.csv", index_col="index").astype(np.float64)
    if len(scores) != run.num_evaluated or not np.isfinite(scores.to_numpy()).all():
        raise ValueError(f"not a finite score for each of {run.num_evaluated} answers")
    run.answer_scores = scores


def _read_judgements(run: Run) -> None:
    for file in sorted(run.folder.glob("judge-*.json")):
        report = json.loads(file.read_text(encoding="utf-8"))
        _ = report["judge"]["model"], report["settings"]["rubric"], report["counts"]["items"]
        if (
            report["mean"] is not None
            and not np.isfinite([float(report[key]) for key in ("mean", "low", "high")]).all()
        ):
            raise ValueError(f"{file.name}: a score is not finite")
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
    except _FAULTS:
        return None


def _words(error: Exception) -> str:
    """What is wrong with a file, in a line."""
    if isinstance(error, json.JSONDecodeError):
        return f"half-written or damaged JSON (line {error.lineno})"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, OSError):  # its own words name the folder of this machine
        return str(error.strerror)
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
