"""``benchmarks-*.json``: what lm-evaluation-harness measured, as the harness itself writes it."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCHMARKS = "benchmarks-*.json"
"""The files of a run's folder."""
CONDITIONS = "llm_lightning"
"""The key, beside the harness's own, of the conditions that the harness does not know."""

_LONGEST_NAME = 80


@dataclass(frozen=True)
class BenchmarkScore:
    """One metric of one task."""

    task: str
    metric: str
    """With the harness's filter, where there is one: ``exact_match (strict-match)``."""
    value: float
    standard_error: float | None
    """``None`` where the harness gives none."""
    examples: int | None
    shots: int | None
    """Solved examples ahead of each question."""
    chat: bool
    """Whether questions were put in the run's prompt style."""
    limited: bool
    """Whether only a part of the task was used."""


def benchmark_file(tasks: Sequence[str], shots: int | None, limit: int | None, chat: bool) -> str:
    """Returns the name of a file, by everything that its numbers depend on beside the run.

    Args:
        tasks: names of benchmarks.
        shots: solved examples before each question; ``None``: as each task has it.
        limit: how many items of each task, the first ones; ``None``: all.
        chat: whether the chat template was used.
    """
    name = re.sub(r"[^A-Za-z0-9_+]+", "_", "+".join(sorted(tasks)))
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[:_LONGEST_NAME]}_{digest}"
    parts = ["benchmarks", name]
    parts += [f"{shots}shot"] if shots is not None else []
    parts += [f"first{limit}"] if limit is not None else []
    parts += ["chat"] if chat else []
    return "-".join(parts) + ".json"


def benchmark_scores(results: Mapping[str, Any]) -> list[BenchmarkScore]:
    """Returns the metrics of a results file, task by task.

    Args:
        results: the harness's, with ``CONDITIONS``.

    Raises:
        ValueError: if it is something else; names the key.
    """
    scores = []
    try:
        conditions = results.get(CONDITIONS, {})
        for task, values in results["results"].items():
            for key, value in values.items():
                metric, _, of = key.partition(",")
                if not of or metric.endswith("_stderr") or isinstance(value, str):
                    continue
                error = values.get(f"{metric}_stderr,{of}")
                counts = results.get("n-samples", {}).get(task, {})
                shots = results.get("n-shot", {}).get(task)
                scores.append(
                    BenchmarkScore(
                        task=str(task),
                        metric=metric if of == "none" else f"{metric} ({of})",
                        value=float(value),
                        standard_error=error if isinstance(error, int | float) else None,
                        examples=counts.get("effective"),
                        shots=shots if isinstance(shots, int) else None,
                        chat=bool(conditions.get("chat")),
                        limited=conditions.get("limit") is not None,
                    )
                )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"these are no results of the harness ({error!r})") from error
    return scores


def read_benchmarks(folder: Path) -> list[BenchmarkScore]:
    """Reads all files of a run's folder, in the order of their names.

    Raises:
        ValueError: naming the file that is damaged.
    """
    scores = []
    for file in sorted(folder.glob(BENCHMARKS)):
        try:
            scores += benchmark_scores(json.loads(file.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{file} is damaged: {error}") from error
    return scores
