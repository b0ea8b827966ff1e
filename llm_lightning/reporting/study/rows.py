"""Runs that differ by their seed alone form a row; a row has a short name and an accuracy."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from llm_lightning import statistics
from llm_lightning.reporting.study.runs import Run
from llm_lightning.statistics import Interval

BASELINE = "baseline_"
"""Experiments that are called so are no networks."""

# Overrides that change what a run is called or where it goes, not what it computes.
_NO_SETTING = re.compile(
    r"^(experiment|seed|runs_dir|run_dir|rerun|offline_fallback|loggers|callbacks|hydra)(?=[.=/]|$)"
)


@dataclass(eq=False)
class Row:
    """Runs with the same settings, one a seed."""

    runs: list[Run]
    """At least one, by rising seed."""
    label: str = ""
    """Short and different from every other row's of its section."""
    number: int = 0
    """Its place in the section's table, from 1."""
    wilson: Interval | None = field(default=None, init=False)
    """Of the mean test accuracy: the choice of test items alone."""
    over_seeds: Interval | None = field(default=None, init=False)
    """Of the mean test accuracy: Student's t over seeds; None of a single run."""

    def __post_init__(self) -> None:
        """Computes the intervals of a classification row."""
        accuracies = self.values("test", "accuracy")
        if not accuracies:
            return
        n = self.first.num_evaluated
        right = min(float(n), float(np.mean(accuracies)) * n)
        self.wilson = statistics.wilson_interval(right, n)
        if len(accuracies) > 1:
            self.over_seeds = _within_shares(statistics.t_interval(accuracies))

    @property
    def first(self) -> Run:
        """The run with the lowest seed."""
        return self.runs[0]

    @property
    def numbered(self) -> str:
        """The label after the row's number in the table, which a cut leaves."""
        return f"{self.number} {self.label}"

    @property
    def short(self) -> str:
        """The same for pictures, whose labels are cut: settings without the name of their group."""
        return re.sub(r"(?<= )[a-z_]+\.(?=[\w.]+=)", "", self.numbered)

    @property
    def seeds(self) -> list[int]:
        """Rising."""
        return [int(run.summary["seed"]) for run in self.runs]

    @property
    def experiment(self) -> str:
        """The experiment's name, or the folder's if it has none."""
        return str(self.first.summary.get("experiment") or self.first.summary["name"])

    @property
    def is_baseline(self) -> bool:
        """Whether it is no network."""
        return self.experiment.startswith(BASELINE)

    @property
    def stand_in(self) -> str | None:
        """Why its numbers are not what its name says; None if they are."""
        notices = [notice for run in self.runs for notice in run.summary["notices"]]
        if not notices:
            return None
        lines = dict.fromkeys(notice.strip().splitlines()[0].rstrip(":") for notice in notices)
        return without_folders("; ".join(lines))

    @property
    def interval(self) -> Interval | None:
        """The interval of the mean test accuracy that the table shows."""
        return self.over_seeds or self.wilson

    @property
    def trainable(self) -> int:
        """Parameters that train."""
        return int(self.first.summary["parameters"]["trainable"])

    @property
    def weights(self) -> str:
        """Where the starting weights come from."""
        weights = self.first.summary.get("weights")
        if not weights:
            return "none"
        return without_folders(str(weights["source"]))

    @property
    def minutes(self) -> float:
        """Training time, without evaluation: mean over seeds."""
        return float(np.mean([run.summary["seconds"]["training"] for run in self.runs])) / 60

    @property
    def memory_mib(self) -> float | None:
        """Highest peak over seeds; None if it was not measured."""
        peaks = [run.summary.get("peak_memory_mib") for run in self.runs]
        known = [float(peak) for peak in peaks if peak is not None]
        return max(known, default=None)

    def values(self, split: str, metric: str) -> list[float]:
        """A final metric of each run that has it."""
        found = [run.metric(split, metric) for run in self.runs]
        return [value for value in found if value is not None]

    def mean(self, split: str, metric: str) -> float | None:
        """Mean over seeds of a final metric; None if no run has it."""
        values = self.values(split, metric)
        return float(np.mean(values)) if values else None


def without_folders(text: str) -> str:
    """A text with the last part of each absolute path in it: the rest is one machine's matter."""
    return re.sub(r"(?:~|\B)/(?:[^/\s]+/)+", "", text)


def make_rows(runs: Sequence[Run]) -> list[Row]:
    """Groups runs of one kind into rows, without names yet.

    The folders of a row's runs lie side by side. Runs on different test items never form a row,
    even if they do: a data file may have changed between two seeds.
    """
    groups: dict[tuple[Path, str, int], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.folder.parent, *run.test_set), []).append(run)
    return [Row(sorted(group, key=lambda run: run.summary["seed"])) for group in groups.values()]


def settings(run: Run) -> dict[str, str]:
    """What was changed on the command line, by key; of paths the last part."""
    found = {}
    for override in run.summary.get("overrides") or []:
        key, _, value = str(override).lstrip("+~").partition("=")
        if not _NO_SETTING.match(key):
            found[key] = value.strip("'\"").rstrip("/").rsplit("/", 1)[-1]
    return found


def name_rows(rows: Sequence[Row]) -> dict[str, str]:
    """Gives each row of a section its label: the experiment and what not all of them share.

    Baselines have few settings: what they share among themselves is left out of their labels.

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
    """What tells rows of the same name apart: the folders, or else the test items."""
    place = str(Path(row.first.shown).parent)
    if len({row.first.test_set for row in rows}) == 1:
        return place
    same = [other for other in rows if Path(other.first.shown).parent == Path(place)]
    return place if len(same) == 1 else f"{place}, test {row.first.test_set[0][:8]}"


def find_row(rows: Sequence[Row], name: str) -> Row | None:
    """The row of a label, a folder or an experiment; the first of several."""
    for names in (
        [row.label for row in rows],
        [row.first.summary["name"] for row in rows],
        [row.experiment for row in rows],
    ):
        if name in names:
            return rows[names.index(name)]
    return None


def default_reference(rows: Sequence[Row]) -> Row | None:
    """The row others are compared with: row_01, else last_block, else the first network."""
    candidates = [row for row in rows if not row.stand_in]
    networks = [row for row in candidates if not row.is_baseline] or candidates
    for name in ("row_01", "last_block"):
        if found := find_row(networks, name):
            return found
    return networks[0] if networks else None


def _within_shares(interval: Interval) -> Interval:
    return Interval(max(0.0, interval.low), min(1.0, interval.high))
