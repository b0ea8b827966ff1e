"""Labels that are probably wrong, by words and by a run."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from llm_lightning.evaluation.audit.label_errors import (
    large_enough,
    out_of_fold_probabilities,
    suspicious,
)
from llm_lightning.evaluation.baselines import Probabilities
from llm_lightning.reporting.read.run_tables import read_predictions
from llm_lightning.run_format import files
from llm_lightning.run_format.audit_files import (
    FOUND_BY,
    LABEL,
    ROW,
    SELF_CONFIDENCE,
    SPLIT,
    SUGGESTED,
    TEXT,
)
from llm_lightning.runs.audited_texts import AuditedTexts

Judged = tuple[list[int], Probabilities]
"""Positions in the audited table, and (their number, num_classes) probabilities."""


def label_errors(texts: AuditedTexts, seed: int) -> tuple[pd.DataFrame, list[str]]:
    """Labels that are probably wrong, by words and, on its test split, by the run.

    Args:
        texts: to audit.
        seed: of the folds.

    Returns:
        A row a label, those that both find first, then the least probable label first; and what
        could not be judged, in words.
    """
    table, labels = texts.table, texts.labels
    kept = np.flatnonzero(large_enough(table[TEXT].tolist(), labels))
    notes = []
    if len(kept) < len(table):
        notes.append(
            f"{len(table) - len(kept)} texts of classes with fewer than five different texts were "
            f"not judged by words"
        )
    judged: dict[str, Judged] = {}
    if len(set(labels[kept].tolist())) > 1:
        chosen = [table[TEXT].iloc[index] for index in kept]
        judged["words"] = kept.tolist(), out_of_fold_probabilities(chosen, labels[kept], seed)
    if (of_run := _test_predictions(texts)) is not None:
        judged["run"] = of_run
    return _ranked(texts, labels, judged), notes


def _test_predictions(texts: AuditedTexts) -> Judged | None:
    """A run's probabilities of its test texts, the first ones where its evaluation was limited."""
    if texts.run is None or not (texts.run / files.PREDICTIONS).is_file():
        return None
    found = read_predictions(texts.run, texts.class_names)
    if not found.is_finite:
        return None
    positions = np.flatnonzero(texts.table[SPLIT] == "test")[: len(found.texts)]
    return positions.tolist(), found.probabilities


def _ranked(texts: AuditedTexts, labels: np.ndarray, judged: Mapping[str, Judged]) -> pd.DataFrame:
    lines: dict[int, dict[str, object]] = {}
    for name, (positions, probabilities) in judged.items():
        width = probabilities.shape[1]
        for place in suspicious(labels[positions], probabilities):
            position = positions[place]
            row = texts.table.iloc[position]
            line: dict[str, object] = {column: row[column] for column in (SPLIT, ROW, LABEL, TEXT)}
            label = labels[position]
            line |= {
                SUGGESTED: texts.class_names[int(probabilities[place].argmax())],
                SELF_CONFIDENCE: float(probabilities[place, label]) if label < width else 0.0,
                FOUND_BY: name,
            }
            if position in lines:
                # The stronger doubt, of the two models that share it.
                line = min(line, lines[position], key=lambda one: float(str(one[SELF_CONFIDENCE])))
                line[FOUND_BY] = "both"
            lines[position] = line
    columns = [SPLIT, ROW, LABEL, SUGGESTED, SELF_CONFIDENCE, FOUND_BY, TEXT]
    found = pd.DataFrame(list(lines.values()), columns=columns)
    is_one = found[FOUND_BY] != "both"
    order = np.lexsort((found[SELF_CONFIDENCE].to_numpy(dtype=float), is_one.to_numpy()))
    return found.iloc[order]
