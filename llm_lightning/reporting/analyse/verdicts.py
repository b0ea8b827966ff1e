"""Rows compared with the accuracies that the book publishes for their experiments."""

from dataclasses import dataclass
from typing import Literal

from llm_lightning.reporting.analyse.rows import Row, settings
from llm_lightning.run_format.summary import Summary
from llm_lightning.statistics import intervals
from llm_lightning.statistics.intervals import Interval

PUBLISHED_EXAMPLES = 300
"""Test messages behind each accuracy of the book."""

PUBLISHED_TEST_SETS = (
    "f82216f37a6d785b52f99a84a3552dcc9835316018758c2117b2ca133e6c1409",  # the results table
    "a5764d4eed041dada859601e1715bc68885aa5e74713e127968ead8ddf6a9e04",  # chapter 6
)
"""Fingerprints of the test splits behind the book's accuracies."""

VerdictWord = Literal["within interval", "differs", "not comparable"]

# Settings that change where and how fast a run computes, and results by rounding at most.
_HARMLESS = ("data.path", "data.num_workers", "data.eval_batch_size")
_HARMLESS_TRAINER = ("accelerator", "devices", "log_every_n_steps", "enable_progress_bar")


@dataclass(frozen=True)
class Verdict:
    """How a row's accuracy compares with the published one."""

    published: float
    """Share from 0 to 1."""
    word: VerdictWord
    difference: float | None = None
    """Our accuracy minus the published one, as a share; None if they are not comparable."""
    interval: Interval | None = None
    """Its 95 % interval."""
    obstacle: str | None = None
    """Why they are not comparable."""


def verdict(row: Row) -> Verdict | None:
    """Compares a row's mean test accuracy with the published one; None if there is none.

    ``differs`` means that Newcombe's 95 % interval of the difference excludes zero. Our side of it
    is the row's interval, theirs is Wilson's. It treats the two as independent, which on the same
    test messages favours ``within interval``.
    """
    found = row.first.summary.published
    accuracy = row.mean("test", "accuracy")
    if found is None or found.test is None or row.interval is None or accuracy is None:
        return None
    published = found.test / 100
    if obstacle := _obstacle(row):
        return Verdict(published, "not comparable", obstacle=obstacle)
    right = min(published * PUBLISHED_EXAMPLES, PUBLISHED_EXAMPLES)  # rounding must not exceed it
    theirs = intervals.wilson_interval(right, PUBLISHED_EXAMPLES)
    interval = intervals.difference_interval(published, theirs, accuracy, row.interval)
    word: VerdictWord = "within interval" if interval.holds(0) else "differs"
    return Verdict(published, word, accuracy - published, interval)


def _obstacle(row: Row) -> str | None:
    """Why a row's accuracy and the published one measure different things; None if they do not."""
    if row.fallback:
        return f"fallback: {row.fallback}"
    changed = _changes(row.first.summary, settings(row.first))
    if changed.get("model.weights") == "random":
        return "random weights instead of the published ones"
    if "random" in row.weights and not _is_random_by_design(row.first.summary):
        return f"random weights instead of the published ones: {row.weights}"
    if "model.weights" in changed:
        return f"weights from {changed['model.weights']}, which may not be the published ones"
    if "model" in changed:
        return f"another model: {changed['model']}"
    sha256, num_evaluated = row.first.test_set
    if sha256 not in PUBLISHED_TEST_SETS:
        return "another test split"
    if num_evaluated != PUBLISHED_EXAMPLES:
        return f"only {num_evaluated} of the {PUBLISHED_EXAMPLES} test messages"
    if changed:
        return "other settings: " + ", ".join(f"{key}={value}" for key, value in changed.items())
    return None


def _changes(summary: Summary, found: dict[str, str]) -> dict[str, str]:
    """The settings of the command line that make the run compute something else than published.

    Args:
        summary: the run's; some published rows use random weights by design.
        found: all settings of the command line.
    """
    harmless = {*_HARMLESS, *(f"trainer.{key}" for key in _HARMLESS_TRAINER)}
    changed = {key: value for key, value in found.items() if key not in harmless}
    if _is_random_by_design(summary) and changed.get("model.weights") == "random":
        del changed["model.weights"]
        if changed.get("model.init") == "torch":
            del changed["model.init"]
    return changed


def _is_random_by_design(summary: Summary) -> bool:
    return summary.published is not None and summary.published.row == 10
