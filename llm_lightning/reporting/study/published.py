"""A row beside the value that the book reports for its experiment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_lightning import statistics
from llm_lightning.reporting.study.rows import Row, settings
from llm_lightning.statistics import Interval

PUBLISHED_EXAMPLES = 300
"""Test messages behind each accuracy of the book."""

PUBLISHED_TEST_SETS = (
    "f82216f37a6d785b52f99a84a3552dcc9835316018758c2117b2ca133e6c1409",  # the results table
    "a5764d4eed041dada859601e1715bc68885aa5e74713e127968ead8ddf6a9e04",  # chapter 6
)
"""SHA-256 of the test splits that the book's accuracies speak of."""

# Settings that move where and how fast a run computes, and rounding at most.
_HARMLESS = ("data.path", "data.num_workers", "data.eval_batch_size")
_HARMLESS_TRAINER = ("accelerator", "devices", "log_every_n_steps", "enable_progress_bar")


@dataclass(frozen=True)
class Verdict:
    """How a row stands to the published value."""

    published: float
    """Share from 0 to 1."""
    published_interval: Interval
    """Wilson's, of the choice of test messages."""
    word: str
    """``within interval``, ``differs`` or ``not comparable``."""
    reason: str
    """The numbers or the obstacle behind the word."""


def verdict(row: Row) -> Verdict | None:
    """Sets a row's mean test accuracy beside the published one; None where there is none.

    ``differs`` means that Newcombe's 95 % interval of the difference leaves out zero. Our side of
    it is the wider of Wilson's interval and the one over seeds, theirs is Wilson's: it takes the
    two for measured apart, which on the same test messages errs towards ``within interval``.
    """
    found = row.first.summary.get("published")
    accuracy = row.mean("test", "accuracy")
    if not isinstance(found, Mapping) or found.get("test") is None or row.wilson is None:
        return None
    if accuracy is None:
        return None
    published = float(found["test"]) / 100
    theirs = statistics.wilson_interval(
        min(published * PUBLISHED_EXAMPLES, PUBLISHED_EXAMPLES), PUBLISHED_EXAMPLES
    )
    if obstacle := _obstacle(row):
        return Verdict(published, theirs, "not comparable", obstacle)
    ours = row.wilson.hull(row.over_seeds) if row.over_seeds else row.wilson
    interval = statistics.difference_interval(published, theirs, accuracy, ours)
    word = "within interval" if interval.holds(0) else "differs"
    reason = (
        f"{100 * (accuracy - published):+.2f} points "
        f"({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"
    ).replace("-", "\N{MINUS SIGN}")
    return Verdict(published, theirs, word, reason)


def _obstacle(row: Row) -> str | None:
    """Why a row's number and the published one measure different things; None if nothing does."""
    if row.stand_in:
        return f"stand-in: {row.stand_in}"
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


def _changes(summary: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, str]:
    """What the command line changed of what the published row computes.

    Args:
        summary: the run's; it says whether its weights are random by design.
        found: all settings of the command line.
    """
    harmless = {*_HARMLESS, *(f"trainer.{key}" for key in _HARMLESS_TRAINER)}
    changed = {key: value for key, value in found.items() if key not in harmless}
    if _is_random_by_design(summary) and changed.get("model.weights") == "random":
        del changed["model.weights"]
        if changed.get("model.init") == "torch":
            del changed["model.init"]
    return changed


def _is_random_by_design(summary: Mapping[str, Any]) -> bool:
    published = summary.get("published") or {}
    return published.get("row") == 10
