"""Test items that several runs have in common: the best, the worst, or some at random."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_lightning.reporting.read.run_tables import (
    read_predictions,
    read_response_scores,
    read_responses,
)
from llm_lightning.run_format.files import RESPONSE
from llm_lightning.run_format.summary import read_summary

CHOICES = ("worst", "best", "random")
SCORE = "rouge_l"
"""By which responses are good or bad."""


@dataclass(frozen=True)
class ChosenItem:
    """A test item with what each run said."""

    index: int
    """In the test split, from 0."""
    task: str
    reference: str
    """Its class, or the response that was expected."""
    answers: list[str]
    """One a run."""
    scores: list[float]
    """One a run: probability of the right class, or how close the response is."""


@dataclass(frozen=True)
class _Answers:
    tasks: list[tuple[str, str]]
    """Task and reference."""
    answers: list[str]
    scores: list[float]


def chosen_items(
    folders: Sequence[Path], choice: str, number: int, seed: int = 123
) -> list[ChosenItem]:
    """Returns test items by the mean score of several runs.

    Args:
        folders: of runs with the same test split.
        choice: one of ``CHOICES``.
        number: how many.
        seed: of ``random``.

    Raises:
        ValueError: if the runs differ in kind or test split, or lack their predictions.
    """
    if not folders:
        raise ValueError("choose at least one run")
    if choice not in CHOICES:
        raise ValueError(f"choice must be one of {', '.join(CHOICES)}, got {choice!r}")
    found = [_read(folder) for folder in folders]
    for folder, one in zip(folders, found, strict=True):
        if one.tasks != found[0].tasks:
            raise ValueError(
                f"{folder} was tested on other items than {folders[0]}: choose runs with the same "
                f"test split"
            )
    means = np.mean([one.scores for one in found], axis=0)
    order = np.argsort(means, kind="stable").tolist()
    if choice == "best":
        order.reverse()
    elif choice == "random":
        order = random.Random(seed).sample(order, len(order))
    return [
        ChosenItem(
            index=int(index),
            task=found[0].tasks[index][0],
            reference=found[0].tasks[index][1],
            answers=[one.answers[index] for one in found],
            scores=[one.scores[index] for one in found],
        )
        for index in order[:number]
    ]


def _read(folder: Path) -> _Answers:
    summary = read_summary(folder)
    try:
        if summary.kind == "classification":
            return _of_classifier(folder, summary.class_names)
        if summary.kind == "instructions":
            return _of_responses(folder)
    except (OSError, KeyError) as error:
        raise ValueError(f"{folder} has no readable test results: {error}") from error
    raise ValueError(f"{folder} was trained on plain text: it has no test items")


def _of_classifier(folder: Path, class_names: list[str] | None) -> _Answers:
    found = read_predictions(folder, class_names)
    names = found.class_names
    of_truth = found.probabilities[np.arange(len(found.truth)), found.truth]
    return _Answers(
        [(text, names[label]) for text, label in zip(found.texts, found.truth, strict=True)],
        [names[label] for label in found.predicted],
        of_truth.tolist(),
    )


def _of_responses(folder: Path) -> _Answers:
    records = read_responses(folder)
    scores = read_response_scores(folder)[SCORE].tolist()
    if len(scores) != len(records):
        raise ValueError(f"{folder} has {len(scores)} scores for {len(records)} responses")
    tasks = []
    for record in records:
        given = f"\n\n{record['input']}" if record["input"] else ""
        tasks.append((record["instruction"] + given, record["output"]))
    return _Answers(tasks, [record[RESPONSE] for record in records], scores)
