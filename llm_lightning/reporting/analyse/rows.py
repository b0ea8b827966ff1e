"""Rows: runs that differ only in their seed, with a short label and their mean accuracy."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_lightning.reporting.read.run_record import RunRecord
from llm_lightning.run_format.setting_effects import DRAWS, is_change
from llm_lightning.statistics.crossed import crossed_mean
from llm_lightning.statistics.intervals import Interval

_RECORDING = ("loggers", "logger")  # they change what a run records, not what it computes
_RECORDING_CALLBACKS = frozenset(
    {"checkpoint", "frozen_activations", "learning_rate", "predictions", "progress", "resume",
     "sample_responses", "throughput"}
)  # fmt: skip


@dataclass(eq=False)
class Row:
    """Runs with the same settings, one per seed."""

    runs: list[RunRecord]
    """At least one, in the order of their seeds."""
    label: str = ""
    """Short, and unique among the rows of its kind."""
    number: int = 0
    """Its position in the chapter's table, from 1."""
    interval: Interval | None = field(default=None, init=False)
    """95 % interval of the mean test accuracy over seeds and items; of one seed over items alone.

    None if this is no classification row.
    """

    def __post_init__(self) -> None:
        """Computes the interval."""
        right = [found for run in self.runs if (found := _right(run)) is not None]
        if right:
            self.interval = crossed_mean(right).interval

    @property
    def first(self) -> RunRecord:
        """The run with the lowest seed."""
        return self.runs[0]

    @property
    def numbered(self) -> str:
        """The row's number and label; the number identifies the row even if the label is cut."""
        return f"{self.number} {self.label}"

    @property
    def short(self) -> str:
        """The same, shorter, for figures: settings without the name of their group."""
        return re.sub(r"(?<= )[a-z_]+\.(?=[\w.]+=)", "", self.numbered)

    @property
    def seeds(self) -> list[str]:
        """In ascending order; of initial weights and of order, where these differ."""
        return [run.seed_text for run in self.runs]

    @property
    def trained(self) -> list[RunRecord]:
        """The runs that trained a model each: one per seed and split."""
        return [part for run in self.runs for part in run.trained]

    @property
    def repeats(self) -> str:
        """How many seeds, and on how many splits or folds if on several: ``3``, ``1 × 5 folds``."""
        splits = len(self.first.parts)
        if not splits:
            return str(len(self.runs))
        are_folds = self.first.parts[0].summary.data.folds is not None
        what = "folds" if are_folds else "splits"
        return f"{len(self.runs)} \N{MULTIPLICATION SIGN} {splits} {what}"

    @property
    def experiment(self) -> str:
        """The experiment's name; the run's if it has none."""
        return self.first.summary.experiment or self.first.summary.name

    @property
    def is_baseline(self) -> bool:
        """Whether it is a baseline rather than a network."""
        return self.first.summary.weights is None

    @property
    def fallbacks(self) -> list[str]:
        """Which data or weights were replaced: a line for each."""
        lines = [without_folders(line) for run in self.runs for line in run.fallbacks]
        return list(dict.fromkeys(lines))

    @property
    def fallback(self) -> str | None:
        """The same in one line; None if nothing was replaced.

        The numbers of such a row are not comparable with published ones.
        """
        return "; ".join(self.fallbacks) or None

    @property
    def precision(self) -> str:
        """What its predictions were computed in, or its responses written in; all, if several."""
        return ", ".join(sorted({run.precision for run in self.trained}))

    @property
    def has_one_seed(self) -> bool:
        """Whether its numbers are those of one trained model; a baseline has no seed."""
        return len(self.runs) == 1 and not self.is_baseline

    @property
    def trainable(self) -> int:
        """Trainable parameters."""
        return self.first.summary.parameters.trainable

    @property
    def weights(self) -> str:
        """Where the starting weights come from."""
        weights = self.first.summary.weights
        return "none" if weights is None else without_folders(weights.source)

    @property
    def minutes(self) -> float:
        """Training time, without evaluation: mean over seeds."""
        return float(np.mean([run.summary.seconds.training for run in self.runs])) / 60

    @property
    def memory_mib(self) -> float | None:
        """Highest peak over seeds; None if it was not measured."""
        peaks = [run.summary.peak_memory_mib for run in self.runs]
        return max((peak for peak in peaks if peak is not None), default=None)

    def values(self, split: str, metric: str) -> list[float]:
        """A final metric of each run that has it."""
        found = [run.metric(split, metric) for run in self.runs]
        return [value for value in found if value is not None]

    def mean(self, split: str, metric: str) -> float | None:
        """Mean over seeds of a final metric; None if no run has it."""
        values = self.values(split, metric)
        return float(np.mean(values)) if values else None


def without_folders(text: str) -> str:
    """Shortens each absolute path in a text to its last part: the rest is private to a machine."""
    return re.sub(r"(?:~|\B)/(?:[^/\s]+/)+", "", text)


def make_rows(runs: Sequence[RunRecord]) -> list[Row]:
    """Groups runs of one kind into rows, not labelled yet.

    Runs of a row have the same settings and the same test items: a data file may have changed
    between two seeds.

    Args:
        runs: those on several splits are pooled already.
    """
    groups: dict[tuple[tuple[Path, str], tuple[str, int]], list[RunRecord]] = {}
    for run in runs:
        groups.setdefault((run.setting, run.test_set), []).append(run)
    return [
        Row(sorted(own, key=lambda run: (run.summary.seed, run.init_seed, run.order_seed)))
        for own in groups.values()
    ]


def settings(run: RunRecord) -> dict[str, str]:
    """The settings changed on the command line but seeds, by key; of paths the last part."""
    found = {}
    for override in run.summary.overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if is_change(key) and key not in DRAWS and not _only_records(key):
            found[key] = value.strip("'\"").rstrip("/").rsplit("/", 1)[-1]
    return found


def _only_records(key: str) -> bool:
    group, _, name = key.partition(".")
    if group == "callbacks":
        return name.partition(".")[0] in _RECORDING_CALLBACKS
    return group in _RECORDING


def name_rows(rows: Sequence[Row]) -> dict[str, str]:
    """Labels the rows of one kind: the experiment, and the settings that not all rows share.

    A setting that the rows of one test set share stays: it tells them from the rows of another.
    Networks and baselines are handled separately, because baselines have few settings.

    Returns:
        The settings that all networks share, or all baselines if there is no network.
    """
    labels: dict[int, str] = {}
    shared_by_networks: dict[str, str] | None = None
    for are_baselines in (False, True):
        group = [row for row in rows if row.is_baseline is are_baselines]
        all_settings = [settings(row.first) for row in group]
        shared = all_settings[0] if group else {}
        for found in all_settings:
            shared = {key: value for key, value in shared.items() if found.get(key) == value}
        for row, found in zip(group, all_settings, strict=True):
            own = [f"{key}={value}" for key, value in sorted(found.items()) if key not in shared]
            labels[id(row)] = " ".join([row.experiment, *own])
        if group and shared_by_networks is None:
            shared_by_networks = shared
    names = list(labels.values())
    for row in rows:
        label = labels[id(row)]
        row.label = label if names.count(label) == 1 else f"{label} ({_place(row, rows)})"
    return shared_by_networks or {}


def _place(row: Row, rows: Sequence[Row]) -> str:
    """What distinguishes rows with the same label: their folders, or else their test items."""
    place = str(Path(row.first.shown).parent)
    if len({row.first.test_set for row in rows}) == 1:
        return place
    same = [other for other in rows if Path(other.first.shown).parent == Path(place)]
    return place if len(same) == 1 else f"{place}, test {row.first.test_set[0][:8]}"


def find_row(rows: Sequence[Row], name: str) -> Row | None:
    """The first row with this label, run name or experiment; None if there is none."""
    for names in (
        [row.label for row in rows],
        [row.first.summary.name for row in rows],
        [row.experiment for row in rows],
    ):
        if name in names:
            return rows[names.index(name)]
    return None


def _right(run: RunRecord) -> NDArray[np.float64] | None:
    """Whether the run is right on each test item; None if it has no accuracy.

    Which items these are is known from the predictions. Without them the first items stand for
    those that it is right on: seeds then seem to agree as much as they can, which raises the
    variance.
    """
    accuracy = run.metric("test", "accuracy")
    if accuracy is None:
        return None
    num_right = round(accuracy * run.num_evaluated)
    predictions = run.predictions
    if predictions is not None and len(predictions.right) == run.num_evaluated:
        return predictions.right.astype(np.float64)
    return (np.arange(run.num_evaluated) < num_right).astype(np.float64)
