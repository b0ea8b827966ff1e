"""A job: what one run shall do, as typed parts.

Networks and baselines are both jobs. A job's life is the same for both: its data are found, the
prior state of its folder decides whether it is skipped, resumed or started, and at the end there
is a summary.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from llm_lightning.data.module import DataModule, HasFallback
from llm_lightning.evaluation.decisions import Decide
from llm_lightning.network import Unavailable
from llm_lightning.run_format.summary import Summary
from llm_lightning.runs.prior_state import PriorState
from llm_lightning.runs.settings import Found, RunSettings


@dataclass(kw_only=True)
class Job(ABC):
    """What one run shall do."""

    settings: RunSettings
    """What every run has."""
    data: DataModule
    """Before ``prepare_data``."""
    decide: Decide = field(default_factory=Decide)
    """How a classifier decides after training."""

    @property
    @abstractmethod
    def metric_names(self) -> tuple[str, ...]:
        """The metrics of its final evaluation."""

    @abstractmethod
    def find(self) -> "tuple[Job, Found]":
        """Checks the settings and finds everything that the run needs, downloading it if need be.

        Returns:
            The job itself, or the one that replaces it where weights are unavailable; and what it
            will use.

        Raises:
            ValueError: if a setting is wrong.
            Unavailable: if data or weights are unavailable and ``offline_fallback`` is off.
        """

    @abstractmethod
    def run(self, found: Found, prior: PriorState) -> Summary:
        """Does what is left to do, writes the run's folder and prints the results.

        Args:
            found: what :meth:`find` returned.
            prior: what the run's folder holds; not ``FINISHED``.

        Raises:
            UserError: if it cannot start or go on.
        """


def prepare(data: DataModule, *, fallback_allowed: bool) -> str | None:
    """Fetches the data, or takes the packaged ones that replace them.

    Args:
        data: before ``setup``.
        fallback_allowed: whether packaged data may replace unavailable ones.

    Returns:
        What was replaced and why; ``None`` if nothing was.

    Raises:
        Unavailable: if the data are unavailable and nothing may replace them.
    """
    try:
        data.prepare_data()
    except Unavailable as error:
        if not (fallback_allowed and isinstance(data, HasFallback)):
            raise
        data.use_packaged()
        return describe_fallback(data.fallback, error)
    return None


def describe_fallback(fallback: str, error: Unavailable) -> str:
    """Returns what was replaced by what, why, and how to avoid it."""
    reason = "\n".join(f"  {line}" for line in error.reason.splitlines())
    return (
        f"{fallback} replaced {error.what}, which could not be downloaded:\n{reason}\n"
        f"To use the original: {error.advice}."
    )


@contextlib.contextmanager
def mentioning(fallbacks: Sequence[str]) -> Iterator[None]:
    """Adds to an error which fallbacks are in use, since they may be its cause."""
    try:
        yield
    except ValueError as error:
        if not fallbacks:
            raise
        lines = "\n".join(f"  {fallback.splitlines()[0].rstrip(':')}" for fallback in fallbacks)
        raise ValueError(f"{error}\nThis is with a fallback:\n{lines}") from error
