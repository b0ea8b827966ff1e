"""What the project set out to reach, beside what was measured."""

import statistics
from dataclasses import dataclass
from typing import Any

from table import value_of


@dataclass(frozen=True)
class Goal:
    """A case against another of its group, or against a number of seconds."""

    work: str
    group: str
    ours: str
    peer: str | None
    """What is set against ours; ``None``: ours alone counts."""
    bound: float
    is_least: bool = True
    """Whether the bound is the least that will do; else the most."""


GOALS = (
    Goal("last_block against the plain loop", "end_to_end/last_block", "ours", "plain", 45),
    Goal(
        "... against transformers, best",
        "end_to_end/last_block",
        "ours",
        "transformers, best",
        6,
    ),
    Goal("... as row_01, in fp32", "end_to_end/last_block", "row_01", "plain", 6.2),
    Goal("last_layer against the plain loop", "end_to_end/last_layer", "ours", "plain", 40),
    Goal("lora against PEFT, default", "steps/lora", "ours", "peft, default", 6),
    Goal("lora against PEFT, best", "steps/lora", "ours", "peft, best", 2.5),
    Goal("all against transformers, default", "steps/all", "ours", "transformers, default", 6),
    Goal("all against transformers, best", "steps/all", "ours", "transformers, best", 2.3),
    Goal(
        "responses against transformers in batches",
        "generation",
        "ours",
        "transformers, batches",
        4,
    ),
    Goal(
        "a step on kept states, in the whole program against bare",
        "overhead",
        "forward, backward, optimizer",
        "the whole program",
        1.15,
        is_least=False,
    ),
    Goal("seconds of `--help`", "startup", "ours --help", None, 3, is_least=False),
    Goal(
        "seconds to the first line of a run",
        "commands",
        "first line of a run",
        None,
        3,
        is_least=False,
    ),
    Goal("seconds of a whole run", "commands", "whole run", None, 5, is_least=False),
    Goal("seconds of `predict`", "commands", "predict", None, 2, is_least=False),
    Goal(
        "seconds of a sweep of 100 runs",
        "commands",
        "sweep of 20 rows x 5 seeds",
        None,
        60,
        is_least=False,
    ),
)


def goals_table(measured: list[dict[str, Any]]) -> list[str]:
    """Lines of a table of those goals for which all is measured; empty if there are none.

    The measured value is a ratio of medians over rounds; the range is that of single rounds.
    """
    lines = []
    for goal in GOALS:
        ours = _values(measured, goal.group, goal.ours)
        theirs = _values(measured, goal.group, goal.peer)
        if not ours or (goal.peer is not None and not theirs):
            continue
        if goal.peer is None:
            value, each = statistics.median(ours.values()), list(ours.values())
        else:
            medians = (statistics.median(values.values()) for values in (ours, theirs))
            value = _faster(goal.group, *medians)
            each = [_faster(goal.group, ours[n], theirs[n]) for n in ours.keys() & theirs.keys()]
        is_met = value >= goal.bound if goal.is_least else value <= goal.bound
        wanted = f"{'at least' if goal.is_least else 'at most'} {goal.bound:g}"
        spread = f"{min(each):.2f}-{max(each):.2f}" if each else ""
        lines.append(
            f"| {goal.work} | {wanted} | {value:.2f} | {spread} | {'yes' if is_met else '**no**'} |"
        )
    if not lines:
        return []
    return [
        "| work | goal | measured | range | met |",
        "| --- | ---: | ---: | ---: | --- |",
        *lines,
    ]


def _values(measured: list[dict[str, Any]], group: str, case: str | None) -> dict[int, float]:
    """The value of each round in which the case went well."""
    return {
        r["round"]: value_of(group).of(r)
        for r in measured
        if r["ok"] and r["group"] == group and r["case"] == case
    }


def _faster(group: str, ours: float, theirs: float) -> float:
    """How many times as long the peer takes."""
    return ours / theirs if value_of(group).is_rate else theirs / ours
