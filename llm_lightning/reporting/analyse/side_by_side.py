"""Responses to the same instructions: differences of their scores, and the texts side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_lightning import statistics
from llm_lightning.reporting.analyse.comparability import fallback_obstacle
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.run_format.files import RESPONSE
from llm_lightning.statistics import Mean

SCORES = {"exact_match": "exact match", "rouge_l": "ROUGE-L", "token_f1": "token F1"}
"""Scores in the order of the report: column of the file, and name for readers."""


@dataclass(frozen=True)
class RespondedInstruction:
    """One test instruction and the rows' responses to it."""

    instruction: str
    input: str
    reference: str
    responses: list[tuple[Row, str, float | None]]
    """Row, its response, and the response's ROUGE-L if it was scored."""


def differences(rows: Sequence[Row], reference: Row | None) -> list[tuple[Row, dict[str, Mean]]]:
    """Mean differences from the reference's scores, paired by response."""
    base = None if reference is None else _item_scores(reference)
    if base is None or reference is None:
        return []
    found = []
    for row in rows:
        own = _item_scores(row)
        if row is reference or own is None or fallback_obstacle(row, reference):
            continue
        means = {
            name: statistics.paired_differences(base[name], own[name][:, None])[0]
            for name in SCORES
            if name in own and name in base and len(own[name]) == len(base[name])
        }
        if means:
            found.append((row, means))
    return found


def _item_scores(row: Row) -> dict[str, NDArray[np.float64]] | None:
    """Scores of each response, mean over seeds, shape (N,); None if a seed has none or fewer."""
    tables = [run.response_scores for run in row.runs]
    complete = [table for table in tables if table is not None]
    if len(complete) < len(tables) or len({len(table) for table in complete}) > 1:
        return None
    names = [name for name in SCORES if all(name in table for table in complete)]
    return {
        name: np.mean([table[name].to_numpy(dtype=np.float64) for table in complete], axis=0)
        for name in names
    }


def side_by_side(rows: Sequence[Row]) -> list[RespondedInstruction]:
    """Each test instruction with the response of every row's lowest seed."""
    usable = [row for row in rows if row.first.responses]
    if not usable:
        return []
    found = []
    for index, record in enumerate(usable[0].first.responses or []):
        responses = []
        for row in usable:
            own = row.first.responses or []
            if index < len(own) and _is_same(own[index], record):
                responses.append((row, own[index][RESPONSE], _rouge_l(row, index)))
        found.append(
            RespondedInstruction(
                record["instruction"], record["input"], record["output"], responses
            )
        )
    return found


def _rouge_l(row: Row, index: int) -> float | None:
    scores = row.first.response_scores
    if scores is None or "rouge_l" not in scores or index >= len(scores):
        return None
    return float(scores["rouge_l"].iloc[index])


def _is_same(a: dict[str, str], b: dict[str, str]) -> bool:
    return all(a[key] == b[key] for key in ("instruction", "input", "output"))
