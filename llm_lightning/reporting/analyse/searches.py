"""Searches: the trials of each, what they chose, and what fewer trials would have found.

Trials are no rows: the best of many looks better on validation than it is. What was chosen is
evaluated by a row of other seeds, beside the row without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from llm_lightning.reporting.analyse.rows import Row, settings
from llm_lightning.reporting.read.run_record import RunRecord
from llm_lightning.run_format.objectives import LESS_IS_BETTER


@dataclass(frozen=True)
class FoundTrial:
    """One trial."""

    run: RunRecord
    settings: dict[str, str]
    """The settings that the search varies."""
    value: float
    """The validation metric that the search goes by."""


@dataclass(frozen=True)
class Search:
    """All trials of one row."""

    label: str
    """The experiment, and settings that are not searched."""
    objective: str
    trials: list[FoundTrial]
    """The best first; at least one."""
    expected: list[float]
    """The best value that 1, 2, ... of the trials would have found on average."""
    tuned: Row | None
    """The row of other seeds with the settings of the best trial."""
    untuned: Row | None
    """The row without any of the searched settings."""

    @property
    def best(self) -> FoundTrial:
        """The trial that the search chose."""
        return self.trials[0]

    @property
    def is_share(self) -> bool:
        """Whether the values are shares, such as accuracies."""
        return self.objective not in LESS_IS_BETTER


def find_searches(trials: Sequence[RunRecord], rows: Sequence[Row]) -> list[Search]:
    """Groups trials by the row that they are a search for.

    Args:
        trials: runs that are trials.
        rows: labelled; among them those that the searches led to.
    """
    groups: dict[object, list[RunRecord]] = {}
    for run in trials:
        kept = tuple(sorted(_without_searched(run).items()))
        groups.setdefault((_place(run), kept, run.test_set, _objective(run)), []).append(run)
    return [found for group in groups.values() if (found := _search(group, rows))]


def expected_best(values: Sequence[float], *, less_is_better: bool = False) -> list[float]:
    """The expected best value of a budget of 1, 2, ... trials.

    The mean of the best over all choices of n among the N trials (Tang et al. 2020, eq. 6), which
    corrects the estimate of Dodge et al. (2019, "Show Your Work") for its bias; it treats trials as
    drawn independently, which those of a grid or of a learning sampler are not.
    """
    ordered = sorted(values, reverse=less_is_better)  # the best last
    total = len(ordered)
    return [
        sum(comb(place, n - 1) * value for place, value in enumerate(ordered)) / comb(total, n)
        for n in range(1, total + 1)
    ]


def _search(group: Sequence[RunRecord], rows: Sequence[Row]) -> Search | None:
    objective = _objective(group[0])
    less_is_better = objective in LESS_IS_BETTER
    trials = [
        FoundTrial(run, _searched(run), value)
        for run in group
        if (value := run.metric("val", objective)) is not None
    ]
    if not trials:
        return None
    sign = 1 if less_is_better else -1
    trials.sort(key=lambda trial: (sign * trial.value, trial.run.metric("val", "loss") or 0.0))
    best, kept = trials[0].run, _without_searched(trials[0].run)
    candidates = [
        row
        for row in rows
        if _place(row.first) == _place(best) and row.first.test_set == best.test_set
    ]
    return Search(
        label=" ".join([_experiment(best), *(f"{key}={value}" for key, value in kept.items())]),
        objective=objective,
        trials=trials,
        expected=expected_best([trial.value for trial in trials], less_is_better=less_is_better),
        tuned=next((row for row in candidates if settings(row.first) == settings(best)), None),
        untuned=next((row for row in candidates if settings(row.first) == kept), None),
    )


def _place(run: RunRecord) -> object:
    return run.setting[0], _experiment(run)


def _experiment(run: RunRecord) -> str:
    return run.summary.experiment or run.summary.name


def _objective(run: RunRecord) -> str:
    return run.summary.trial.objective if run.summary.trial else ""


def _searched(run: RunRecord) -> dict[str, str]:
    keys = run.summary.trial.searched if run.summary.trial else []
    return {key: value for key, value in settings(run).items() if not keys or key in keys}


def _without_searched(run: RunRecord) -> dict[str, str]:
    """Where a sweep file does not say what it varies, every setting of the trials may be."""
    searched = _searched(run)
    return {key: value for key, value in settings(run).items() if key not in searched}
