"""Responses to the same instructions: differences of their scores, and the texts side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_lightning.reporting.analyse.comparability import fallback_obstacle
from llm_lightning.reporting.analyse.differences import Difference, claims, crossed
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.run_format.files import RESPONSE

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


def differences(
    rows: Sequence[Row], reference: Row | None, margin: float | None = None
) -> list[tuple[Row, dict[str, Difference]]]:
    """Differences from the reference's scores on the same instructions, tested together.

    Args:
        rows: of one test set.
        reference: one of them; None if there is none to compare with.
        margin: the largest difference that does not matter, as a share; None tests none.
    """
    base = None if reference is None else item_scores(reference)
    if base is None or reference is None:
        return []
    pairs = {}
    for row in rows:
        own = item_scores(row)
        if row is reference or own is None or fallback_obstacle(row, reference):
            continue
        for name in SCORES:
            if name in own and name in base and own[name].shape[1] == base[name].shape[1]:
                pairs[row.number, name] = crossed(reference, base[name], row, own[name])
    found = dict(zip(pairs, claims([*pairs.values()], margin), strict=True))
    by_row = [
        (row, {name: found[row.number, name] for name in SCORES if (row.number, name) in found})
        for row in rows
    ]
    return [(row, by_score) for row, by_score in by_row if by_score]


def item_scores(row: Row) -> dict[str, NDArray[np.float64]] | None:
    """Scores of each response, shape (seeds, N); None if a seed has none or fewer than another."""
    tables = [run.response_scores for run in row.runs]
    complete = [table for table in tables if table is not None]
    if len(complete) < len(tables) or len({len(table) for table in complete}) > 1:
        return None
    names = [name for name in SCORES if all(name in table for table in complete)]
    return {
        name: np.array([table[name].to_numpy(dtype=np.float64) for table in complete])
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
