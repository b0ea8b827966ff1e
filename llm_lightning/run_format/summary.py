"""``summary.json``: everything that a finished run records about itself, and how it is read."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError, model_validator

from llm_lightning.run_format.atomic_files import write_text
from llm_lightning.run_format.bounded_files import read_json
from llm_lightning.run_format.decision_facts import DecisionFacts
from llm_lightning.run_format.files import MOST_LEVELS, SUMMARY
from llm_lightning.run_format.parts import PART, Amount, Count, Finite, Positive, Text
from llm_lightning.run_format.published import Published
from llm_lightning.run_format.run_facts import (
    DataFacts,
    FrozenActivations,
    ParameterCounts,
    ResponseFacts,
    Seconds,
    Seeds,
    Trial,
    WeightFacts,
)
from llm_lightning.run_format.splits import SPLITS, Split

Kind = Literal["classification", "instructions", "text"]
Metrics = dict[Split, dict[str, Finite | None]]
"""Loss and metrics of each split; accuracies and the like as shares in [0, 1]; ``None`` for what is
not defined, such as the AUROC of a single class."""


class Summary(BaseModel):
    """A finished run. Fields with a default do not apply to every run, or are filled in later."""

    model_config = PART

    name: Text
    """The run's name: experiment and changed settings."""
    experiment: Text | None = None
    overrides: list[str] = []
    """The settings of the command line."""
    seed: int
    """That the folder is named after."""
    seeds: Seeds | None = None
    """``None`` of runs of earlier versions, where all of training had ``seed``."""
    trial: Trial | None = None
    """``None`` if the run is no trial of a search."""
    fallbacks: list[str]
    """What replaced data or weights that were unavailable; such numbers are not comparable."""
    kind: Kind
    class_names: list[str] | None = None
    metrics: Metrics
    evaluated_examples: dict[Split, Positive]
    averaged_classes: dict[Split, Positive] = {}
    """Classes with evaluated examples in each split, which a classifier's averages are over."""
    baselines: dict[str, dict[str, Finite | None]] = {}
    """Test metrics of baselines on the same splits, by method."""
    decision: DecisionFacts | None = None
    """Of a classifier, if one was fitted; ``metrics`` are those of the most probable class."""
    published: Published | None = None
    data: DataFacts
    parameters: ParameterCounts
    finetune: dict[str, Any] = {}
    """Facts of the fine-tuning strategy, such as the effective scale of LoRA."""
    weights: WeightFacts | None = None
    """``None`` for a baseline."""
    checkpoint: str | None = None
    """The weights that ``metrics`` belong to, relative to the folder."""
    other_checkpoints: list[str] = []
    failed_saves: dict[str, Count] = {}
    """How often a checkpoint could not be written, by its file; the one before was kept."""
    epochs: Count | None = None
    ended_early: str | None = None
    """What ended training before its last epoch was whole."""
    optimizer_steps: Count | None = None
    steps_per_epoch: Count | None = None
    examples_per_epoch: Count | None = None
    responses: ResponseFacts | None = None
    """Of an instruction run, once they are all generated."""
    frozen_activations: FrozenActivations | None = None
    seconds: Seconds
    peak_memory_mib: Amount | None = None
    device: str
    precision: str
    versions: dict[str, str]
    finished_at: str

    @property
    def baseline_accuracy(self) -> dict[str, float]:
        """Test accuracy of each baseline, as a share."""
        accuracies = {name: found.get("accuracy") for name, found in self.baselines.items()}
        return {name: value for name, value in accuracies.items() if value is not None}

    @model_validator(mode="after")
    def _splits_are_complete(self) -> "Summary":
        for key, found in (("metrics", self.metrics), ("data.splits", self.data.splits)):
            if missing := [split for split in SPLITS if split not in found]:
                raise ValueError(f"{key} lacks {', '.join(missing)}")
        if "test" not in self.evaluated_examples:
            raise ValueError("evaluated_examples lacks test")
        return self

    @model_validator(mode="after")
    def _classes_are_named(self) -> "Summary":
        if self.kind != "classification":
            return self
        names = self.class_names or []
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(f"class_names must be two or more different texts, got {names}")
        if self.metrics["test"].get("accuracy") is None:
            raise ValueError("metrics.test.accuracy must be a number, got null")
        for split, values in self.metrics.items():
            accuracy = values.get("accuracy")
            if accuracy is not None and not 0 <= accuracy <= 1:
                raise ValueError(f"metrics.{split}.accuracy must lie in [0, 1], got {accuracy}")
        return self

    @model_validator(mode="after")
    def _decision_fits_the_classes(self) -> "Summary":
        if self.decision is None:
            return self
        number = len(self.class_names or [])
        costs = self.decision.costs
        if costs is not None and [len(row) for row in costs] != [number] * number:
            raise ValueError(
                f"decision.costs must have a row and a column for each of the {number} classes"
            )
        if self.decision.threshold is not None and number != 2:
            raise ValueError(f"decision.threshold needs two classes, got {number}")
        return self


def write_summary(folder: Path, summary: Summary) -> None:
    """Writes ``summary.json`` into a run's folder."""
    fields = summary.model_dump(mode="json")
    text = json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(folder / SUMMARY, text + "\n")


def parse_summary(content: str) -> Summary:
    """Checks and returns the contents of a ``summary.json``, perhaps an edited or damaged one.

    Raises:
        ValueError: naming the key, the rule and the value of the first thing that is wrong.
    """
    try:
        found = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return _checked(found)


def read_summary(folder: Path) -> Summary:
    """Reads the summary of a finished run.

    Raises:
        ValueError: if the folder is not that of a finished run (runs inside it are named), or its
            summary is damaged.
    """
    file = folder / SUMMARY
    if not file.is_file():
        raise ValueError(f"{folder} {_why_no_run(folder)}")
    found = read_json(file)
    try:
        return _checked(found)
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}; its run must be made again") from error


def _checked(found: Any) -> Summary:
    try:
        return Summary.model_validate(found)
    except ValidationError as error:
        raise ValueError(_first_problem(error)) from error


def _why_no_run(folder: Path) -> str:
    """Why a folder is not that of a finished run, as the end of a sentence."""
    if not folder.is_dir():
        return "is a file, and no run folder" if folder.exists() else "does not exist"
    if (folder / SUMMARY).exists():
        return f"is not the folder of a finished run ({SUMMARY} is no file)"
    # Not the whole tree below: it may be a disk's.
    inside = sorted(
        str(found.parent)
        for depth in range(1, MOST_LEVELS + 1)
        for found in folder.glob("*/" * depth + SUMMARY)
    )
    hint = f"; did you mean {inside[0]}?" if inside else ""
    return f"is not the folder of a finished run (no {SUMMARY}){hint}"


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "value_error":  # one of ours, which names the key
        return str(first["ctx"]["error"])
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where or SUMMARY}: {first['msg']}, got {str(first['input'])[:60]!r}"
