"""Answers to the same instructions: whose score higher, and what they say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_lightning import statistics
from llm_lightning.reporting.study.rows import Row
from llm_lightning.statistics import Mean

SCORES = {"exact_match": "exact match", "rouge_l": "ROUGE-L", "token_f1": "token F1"}
"""Columns of ``answer_scores.csv``, and their names."""


@dataclass(frozen=True)
class Answered:
    """One test instruction and what the rows answer to it."""

    instruction: str
    input: str
    reference: str
    answers: list[tuple[Row, str, float | None]]
    """Row, its answer, and ROUGE-L if it was scored."""


def differences(rows: Sequence[Row], reference: Row | None) -> list[tuple[Row, dict[str, Mean]]]:
    """What each row's answers score above the reference's, item by item; stand-ins left out."""
    base = None if reference is None or reference.stand_in else _item_scores(reference)
    if base is None:
        return []
    found = []
    for row in rows:
        own = _item_scores(row)
        if row is reference or row.stand_in or own is None:
            continue
        means = {
            name: statistics.paired_differences(base[name], own[name][:, None])[0]
            for name in SCORES
            if name in own and name in base
        }
        if means:
            found.append((row, means))
    return found


def _item_scores(row: Row) -> dict[str, NDArray[np.float64]] | None:
    """Scores of each answer, mean over seeds, shape (N,) each; None if a seed has none."""
    tables = [run.answer_scores for run in row.runs]
    whole = [table for table in tables if table is not None]
    if len(whole) < len(tables):
        return None
    names = [name for name in SCORES if all(name in table for table in whole)]
    return {
        name: np.mean([table[name].to_numpy(dtype=np.float64) for table in whole], axis=0)
        for name in names
    }


def side_by_side(rows: Sequence[Row]) -> list[Answered]:
    """Each test instruction with the answer of every row's lowest seed."""
    usable = [row for row in rows if row.first.answers]
    if not usable:
        return []
    expected = usable[0].first.answers or []
    found = []
    for index, record in enumerate(expected):
        answers = []
        for row in usable:
            own = row.first.answers or []
            if index < len(own) and _is_same(own[index], record):
                scores = row.first.answer_scores
                has_score = scores is not None and "rouge_l" in scores and index < len(scores)
                score = float(scores["rouge_l"].iloc[index]) if has_score else None  # type: ignore[index]
                answers.append((row, own[index]["model_response"], score))
        found.append(Answered(record["instruction"], record["input"], record["output"], answers))
    return found


def _is_same(a: dict[str, str], b: dict[str, str]) -> bool:
    return all(a[key] == b[key] for key in ("instruction", "input", "output"))
