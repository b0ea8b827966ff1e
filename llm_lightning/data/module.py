"""What a run asks of its data, whatever they are."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import lightning as L


class DataModule(L.LightningDataModule, ABC):
    """Train, val and test, with what is worth recording about them."""

    kind: ClassVar[str]
    """``classification``, ``instructions`` or ``text``: what a report has to expect."""
    batch_size: int
    eval_batch_size: int
    context_length: int
    """The model's context in tokens; may be lowered until ``setup``."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Where the texts come from, for people; after ``prepare_data``."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Returns what a summary should say about the data, as plain values; after ``setup``.

        Among them are ``source``, ``max_length`` and ``splits``: ``examples`` and ``sha256`` of
        each.
        """

    @abstractmethod
    def describe(self) -> list[str]:
        """Returns the same for a person, in a few short lines."""

    @abstractmethod
    def task_arguments(self) -> dict[str, Any]:
        """Returns what the task must know of the data, as plain values a checkpoint can keep."""

    @abstractmethod
    def write_splits(self, folder: Path) -> None:
        """Writes which examples are in which split."""


@runtime_checkable
class HasStandIn(Protocol):
    """Data that the package ships a stand-in for."""

    stand_in: ClassVar[str]
    """What the stand-in is, for people."""

    def use_embedded(self) -> None:
        """Reads the stand-in in place of what ``prepare_data`` could not get."""
