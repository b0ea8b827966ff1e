"""The files of a run folder as arrays and tables; whatever is wrong with one is a ValueError."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from llm_lightning.reporting.read.run_record import JudgeScore, Predictions
from llm_lightning.run_format.files import (
    CURVES,
    INDEX,
    LABEL,
    PREDICTED,
    PREDICTIONS,
    RESPONSE,
    RESPONSE_SCORES,
    RESPONSES,
    SPLIT_LABEL,
    SPLIT_TEXT,
    SPLITS_FOLDER,
    TEXT,
    probability,
)

_PROBABILITY = probability("")


def read_curves(folder: Path) -> pd.DataFrame:
    """Reads the metrics that Lightning logged: sparse rows with ``step`` and ``epoch`` from 0."""
    curves = pd.read_csv(folder / CURVES).astype(np.float64)
    curves[["epoch", "step"]]  # both must be there
    return curves


def read_predictions(
    folder: Path, class_names: Sequence[str] | None = None, file: str = PREDICTIONS
) -> Predictions:
    """Reads a classifier's predictions.

    Args:
        folder: the run's.
        class_names: in the order of their indices; None takes the file's columns.
        file: with those of the test split, or of the validation split.

    Raises:
        ValueError: if a column is missing, or a label or probability is impossible.
    """
    # Everything is text at first: a class may be called "None" or "1".
    table = pd.read_csv(folder / file, dtype=str, keep_default_na=False)
    found = [name for name in table.columns if name.startswith(_PROBABILITY)]
    names = list(class_names or [name.removeprefix(_PROBABILITY) for name in found])
    for name in names:
        if probability(name) not in found:
            raise ValueError(f"there must be a column {probability(name)!r}")
    index = {name: number for number, name in enumerate(names)}
    for column in (LABEL, PREDICTED):
        if unknown := sorted(set(table[column]) - index.keys()):
            raise ValueError(f"{column} must be one of {names}, got {unknown[0]!r}")
    probabilities = table[[probability(name) for name in names]].to_numpy(dtype=np.float64)
    if (probabilities < 0).any() or (probabilities > 1).any():  # NaN is neither
        raise ValueError("a probability is not in [0, 1]")
    return Predictions(
        names,
        table[TEXT].tolist(),
        np.array([index[name] for name in table[LABEL]], dtype=np.int64),
        np.array([index[name] for name in table[PREDICTED]], dtype=np.int64),
        probabilities,
    )


def read_split(folder: Path, split: str, num_classes: int) -> pd.DataFrame:
    """Reads a classification split as ``Label`` (class index) and ``Text``."""
    file = folder / SPLITS_FOLDER / f"{split}.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)[[SPLIT_LABEL, SPLIT_TEXT]]
    labels = table[SPLIT_LABEL].astype(int)
    if not labels.between(0, num_classes - 1).all():
        raise ValueError(f"a label is not in [0, {num_classes - 1}]")
    return table.assign(**{SPLIT_LABEL: labels})


def read_responses(folder: Path) -> list[dict[str, str]]:
    """Reads the test records with the model's responses."""
    records = json.loads((folder / RESPONSES).read_text(encoding="utf-8"))
    fields = ("instruction", "input", "output", RESPONSE)
    return [{name: str(record[name]) for name in fields} for record in records]


def read_response_scores(folder: Path) -> pd.DataFrame:
    """Reads the scores of each response: one row per response, one column per score."""
    scores = pd.read_csv(folder / RESPONSE_SCORES, index_col=INDEX).astype(np.float64)
    if not np.isfinite(scores.to_numpy()).all():
        raise ValueError("a score is not finite")
    return scores


def read_judge_score(file: Path) -> JudgeScore:
    """Reads what a judge gave to the responses."""
    report = json.loads(file.read_text(encoding="utf-8"))
    mean, *ends = (report[key] for key in ("mean", "low", "high"))
    low, high = (0.0 if mean is None else float(end) for end in ends)
    if not np.isfinite([mean or 0.0, low, high]).all():
        raise ValueError("a score is not finite")
    return JudgeScore(
        model=str(report["judge"]["model"]),
        rubric=str(report["settings"]["rubric"]),
        responses=int(report["counts"]["items"]),
        mean=None if mean is None else float(mean),
        low=low,
        high=high,
    )
