"""Measurements to rows: medians, ranges, ratios, and whether the work was the same."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Value:
    """What is compared within a group."""

    title: str
    of: Callable[[Record], float]
    digits: int = 1
    is_rate: bool = False
    """Whether more is faster."""


_SECONDS = Value("s", lambda record: record["seconds"])
_STEP = Value("ms a step", lambda record: 1e3 * record["result"]["step_s"])
VALUES = {
    "commands": Value("s", lambda record: record["result"]["seconds"], digits=2),
    "startup": Value("s", lambda record: record["seconds"], digits=2),
    "steps": _STEP,
    # Logging comes every few steps, which a median would not see.
    "overhead": Value("ms a step", lambda record: 1e3 * record["result"]["logged_step_s"], 2),
    "generation": Value(
        "tokens/s", lambda record: record["result"]["tokens_per_second"], is_rate=True
    ),
    "growth/examples": _SECONDS,
    "growth/length": _STEP,
    "growth/model": _STEP,
    "end_to_end": _SECONDS,
}
"""By the beginning of a group's name."""

SAME_WORK = {
    "steps": ("steps", "examples", "real_tokens"),
    "overhead": ("steps", "examples", "real_tokens"),
    "generation": ("tokens",),
    "end_to_end": ("optimizer_steps", "examples"),
}
"""What must not differ between the cases of a group."""


@dataclass
class Row:
    """A case over all its rounds."""

    group: str
    case: str
    rounds: int
    estimated: int
    """Rounds that were worked out from a part of the steps."""
    median: float
    low: float
    high: float
    ratio: float | None
    """Time against the group's first case; above 1 is slower. ``None`` without that case."""
    peak_mib: float
    results: list[dict[str, Any]]
    """What the case itself returned in each round."""


def value_of(group: str) -> Value:
    """What is compared in a group."""
    return next(value for start, value in VALUES.items() if group.startswith(start))


def rows(records: Iterable[Record]) -> list[Row]:
    """One row a case, in the order of the schedule; failed rounds are left out."""
    cases: dict[tuple[str, str], list[Record]] = {}
    for record in sorted(records, key=lambda record: (record["order"], record["round"])):
        if record["ok"] and record["group"] != "machine":
            cases.setdefault((record["group"], record["case"]), []).append(record)
    found = []
    for (group, case), own in cases.items():
        value = value_of(group)
        values = [value.of(record) for record in own]
        median = statistics.median(values)
        base = [value.of(record) for record in cases.get((group, own[0]["base"]), [])]
        ratio = None
        if base:
            ratio = median / statistics.median(base)
            ratio = 1 / ratio if value.is_rate else ratio
        whole = [record for record in own if not record["estimated"]] or own
        found.append(
            Row(
                group=group,
                case=case,
                rounds=len(own),
                estimated=sum(record["estimated"] for record in own),
                median=median,
                low=min(values),
                high=max(values),
                ratio=ratio,
                peak_mib=statistics.median(record["peak_mib"] for record in whole),
                results=[record["result"] for record in own],
            )
        )
    return found


def complaints(found: Iterable[Row]) -> list[str]:
    """Returns where the cases of a group did not do the same work."""
    problems = []
    seen: dict[tuple[str, str], dict[Any, str]] = {}
    for row in found:
        for key in SAME_WORK.get(row.group.split("/")[0], ()):
            for result in row.results:
                seen.setdefault((row.group, key), {}).setdefault(result[key], row.case)
    for (group, key), values in seen.items():
        if len(values) > 1:
            each = ", ".join(f"{value} ({case})" for value, case in values.items())
            problems.append(f"{group}: {key} differ: {each}")
    return problems


def best_rates(records: Iterable[Record]) -> dict[str, float]:
    """The machine's best rate of matrix products by precision, in GFLOP/s; empty if unknown."""
    best: dict[str, float] = {}
    for record in records:
        if record["group"] == "machine" and record["ok"]:
            for precision, rate in record["result"]["gflops"].items():
                best[precision] = max(rate, best.get(precision, 0.0))
    return best
