"""Finds run folders and reads them: those with results, and why the others have none.

A folder is a run's if it holds ``config.yaml``, ``status.json`` or ``summary.json``. None of its
files is trusted to be complete: runs may be in progress, interrupted or damaged.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from llm_lightning.reporting.read import run_tables
from llm_lightning.reporting.read.run_record import Problem, RunRecord
from llm_lightning.run_format.benchmarks import BENCHMARKS, read_benchmarks
from llm_lightning.run_format.bounded_files import read_json, read_text
from llm_lightning.run_format.files import (
    CHECKPOINTS,
    CONFIG,
    CURVES,
    JUDGEMENTS,
    PLOTS,
    PREDICTIONS,
    RESPONSE_SCORES,
    RESPONSES,
    SPLITS_FOLDER,
    STATUS,
    SUMMARY,
)
from llm_lightning.run_format.summary import Summary, parse_summary

_MARKS = {CONFIG, STATUS, SUMMARY}
_INSIDE = {CHECKPOINTS, PLOTS, SPLITS_FOLDER}

# What a damaged file can make its reader raise.
_FAULTS = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError,
)  # fmt: skip

_AFTER_SUMMARY = {
    "failed": "it failed after writing its summary",
    "interrupted": "it was interrupted after writing its summary",
    "running": "it is still running",
}

T = TypeVar("T")


def find_folders(roots: Iterable[Path]) -> dict[Path, str]:
    """Finds all run folders at or below some folders, each once.

    Returns:
        The path to show for each folder: from its root's name on.
    """
    found: dict[Path, str] = {}
    bases = [root.resolve() for root in roots]
    names = [base.name for base in bases]
    for base in bases:
        is_unique = names.count(base.name) == 1
        name = Path(base.name) if is_unique else Path(base.parent.name, base.name)
        for folder, subfolders, files in os.walk(base):
            subfolders.sort()
            if _MARKS.intersection(files):
                path = Path(folder)
                found.setdefault(path, str(name / path.relative_to(base)))
                subfolders[:] = [name for name in subfolders if name not in _INSIDE]
    return found


def read_run(folder: Path, shown: str) -> tuple[RunRecord | None, list[Problem]]:
    """Reads a run's folder.

    Args:
        folder: the run's.
        shown: its path for readers.

    Returns:
        The run, or None if it has no results; and everything that is wrong with it.
    """
    status = _read_status(folder)
    state, error = status["state"], status.get("error")
    file = folder / SUMMARY
    if not file.is_file():
        if state == "failed":
            return None, [Problem(shown, state, str(error or "no reason was recorded"))]
        if state in ("running", "interrupted"):
            return None, [Problem(shown, state, _progress(status))]
        return None, [Problem(shown, "unfinished", f"there is no {SUMMARY}")]
    try:
        summary = parse_summary(read_text(file))
        _check_published(summary)
    except _FAULTS as fault:
        reason = _describe(fault).removeprefix(f"{file} ")
        return None, [Problem(shown, "damaged", f"{SUMMARY}: {reason}")]
    run, problems = RunRecord(folder, shown, summary), []
    if state in _AFTER_SUMMARY:
        reason = _AFTER_SUMMARY[state] + (f": {error}" if error else "")
        problems.append(Problem(shown, "used", reason))
    for name, read in _READERS[summary.kind].items():
        if (folder / name).exists() and not (folder / name).is_file():  # a pipe would never end
            problems.append(Problem(shown, "used", f"{name}: it is not a file"))
            continue
        try:
            read(run)
        except FileNotFoundError:
            problems.append(Problem(shown, "used", f"there is no {name}"))
        except _FAULTS as fault:
            problems.append(Problem(shown, "used", f"{name}: {_describe(fault)}"))
    return run, problems


def split_of_run(run: RunRecord, split: str) -> pd.DataFrame | None:
    """A split of a classification run as ``Label`` and ``Text``; None if it cannot be read.

    Args:
        run: the run.
        split: ``train``, ``val`` or ``test``.
    """
    names = run.summary.class_names or []
    return _try(lambda: run_tables.read_split(run.folder, split, len(names)))


def _read_status(folder: Path) -> dict[str, Any]:
    """Reads the status file; the state is empty if there is none."""
    status = _try(lambda: read_json(folder / STATUS))
    status = status if isinstance(status, dict) else {}
    return status | {"state": str(status.get("state") or "")}


def _progress(status: dict[str, Any]) -> str:
    epoch, updated_at = status.get("epoch"), status.get("updated_at")
    done = "before the end of the first epoch"
    if epoch:
        done = f"{epoch} epoch{'' if epoch == 1 else 's'} done"
        if status["state"] == "interrupted":
            done += "; the same command continues"
    # A run whose machine crashed is recorded as running for ever: the time tells.
    return f"{done}; last update {updated_at}" if updated_at else done


def _check_published(summary: Summary) -> None:
    published = summary.published
    if published and published.test is not None and not 0 <= published.test <= 100:
        raise ValueError(f"published.test must lie in [0, 100], got {published.test}")


def _read_curves(run: RunRecord) -> None:
    if run.summary.epochs is not None:  # a baseline has none
        run.curves = run_tables.read_curves(run.folder)


def _read_predictions(run: RunRecord) -> None:
    predictions = run_tables.read_predictions(run.folder, run.summary.class_names)
    if len(predictions.texts) != run.num_evaluated:
        raise ValueError(
            f"{len(predictions.texts)} predictions for {run.num_evaluated} evaluated examples"
        )
    run.predictions = predictions


def _read_responses(run: RunRecord) -> None:
    run.responses = run_tables.read_responses(run.folder)


def _read_response_scores(run: RunRecord) -> None:
    scores = run_tables.read_response_scores(run.folder)
    if len(scores) != run.num_responses:
        raise ValueError(f"{len(scores)} scores for {run.num_responses} responses")
    run.response_scores = scores


def _read_judge_scores(run: RunRecord) -> None:
    for file in sorted(run.folder.glob(JUDGEMENTS)):
        run.judge_scores.append(run_tables.read_judge_score(file))


def _read_benchmarks(run: RunRecord) -> None:
    run.benchmarks = read_benchmarks(run.folder)


_READERS: dict[str, dict[str, Callable[[RunRecord], None]]] = {
    "classification": {CURVES: _read_curves, PREDICTIONS: _read_predictions},
    "instructions": {
        CURVES: _read_curves,
        RESPONSES: _read_responses,
        RESPONSE_SCORES: _read_response_scores,
        JUDGEMENTS: _read_judge_scores,
        BENCHMARKS: _read_benchmarks,
    },
    "text": {CURVES: _read_curves, BENCHMARKS: _read_benchmarks},
}


def _try(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except _FAULTS:
        return None


def _describe(error: Exception) -> str:
    """What is wrong with a file, in one line."""
    if isinstance(error, json.JSONDecodeError):
        return f"incomplete or damaged JSON (line {error.lineno})"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, OSError):  # its text would show this machine's paths
        return str(error.strerror)
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
