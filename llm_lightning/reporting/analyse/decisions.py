"""What fitted decisions change on the test split: means over seeds, before and after."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.run_format.decision_facts import DecisionEffect, DecisionFacts

MEASURES = ("accuracy", "balanced_accuracy", "f1", "ece", "loss", "cost")
"""Of an ``Outcome``, before and after."""


@dataclass(frozen=True)
class DecisionLine:
    """The decisions of one row's seeds."""

    row: Row
    kind: str
    temperatures: list[float]
    """One per seed."""
    thresholds: list[float]
    """The same; empty for more than two classes."""
    abstain_below: float
    fitted_on: int
    """Validation examples."""
    before: dict[str, float]
    """Means over seeds of ``MEASURES``, as far as they are defined."""
    after: dict[str, float]
    corrected: int
    """Test labels that became right, of all seeds together."""
    spoiled: int
    """Test labels that became wrong, likewise."""
    abstained: int
    """Test examples left to people, likewise."""
    abstained_wrong: int
    """Those of them whose most probable class is wrong."""
    examples: int
    """Test examples of all seeds together."""


def decision_lines(rows: Sequence[Row]) -> list[DecisionLine]:
    """The decisions of each row whose runs all fitted one."""
    found = []
    for row in rows:
        facts = [run.summary.decision for run in row.runs if run.summary.decision is not None]
        if len(facts) == len(row.runs) and all("test" in one.effects for one in facts):
            found.append(_line(row, facts))
    return found


def _line(row: Row, facts: Sequence[DecisionFacts]) -> DecisionLine:
    effects = [one.effects["test"] for one in facts]
    first = facts[0]
    return DecisionLine(
        row=row,
        kind=first.kind,
        temperatures=[one.temperature for one in facts],
        thresholds=[one.threshold for one in facts if one.threshold is not None],
        abstain_below=first.abstain_below,
        fitted_on=first.fitted_on,
        before=_means(effects, "before"),
        after=_means(effects, "after"),
        corrected=sum(one.corrected for one in effects),
        spoiled=sum(one.spoiled for one in effects),
        abstained=sum(one.abstained for one in effects),
        abstained_wrong=sum(one.abstained_wrong for one in effects),
        examples=sum(one.before.examples for one in effects),
    )


def _means(effects: Sequence[DecisionEffect], when: str) -> dict[str, float]:
    means = {}
    for measure in MEASURES:
        values = [getattr(getattr(one, when), measure) for one in effects]
        if all(value is not None for value in values):
            means[measure] = float(np.mean(values))
    return means
