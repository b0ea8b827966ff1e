"""What a run asks of its data, whatever they are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from llm_lightning.data.batching import LengthGroupedBatches


class DataModule(L.LightningDataModule, ABC):
    """Train, val and test, with what is worth recording about them."""

    kind: ClassVar[str]
    """``classification``, ``instructions`` or ``text``: what a report has to expect."""
    batch_size: int
    eval_batch_size: int
    num_workers: int
    context_length: int
    """The model's context in tokens; may be lowered until ``setup``."""
    seed: int
    """Of the order of training examples."""
    _order: torch.Generator | None = None
    _resumed_order: Tensor | None = None

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

    @abstractmethod
    def sorted_batches(self, split: str, num_tokens: int) -> Iterator[Any]:
        """Yields a split once, longest examples first, in batches as the loaders make them.

        Args:
            split: ``train``, ``val`` or ``test``.
            num_tokens: most tokens in a batch, padding included.
        """

    def _shuffled(
        self,
        examples: Sequence[Any],
        collate: Callable[[Any], Any],
        *,
        lengths: Sequence[int] | None,
        drop_last: bool,
    ) -> DataLoader[Any]:
        """Batches in an order that only ``seed`` and the epoch decide.

        Args:
            examples: of the training split.
            collate: makes a batch of some of them.
            lengths: of each; batches hold what is alike in this. ``None``: whatever comes.
            drop_last: whether a smaller last batch is left out.
        """
        order = self._new_order()
        if lengths is None:
            return self._loader(
                examples,
                collate,
                batch_size=self.batch_size,
                shuffle=True,
                drop_last=drop_last,
                generator=order,
            )
        batches = LengthGroupedBatches(
            lengths, self.batch_size, drop_last=drop_last, generator=order
        )
        return self._loader(examples, collate, batch_sampler=batches, generator=torch.Generator())

    def _in_order(self, examples: Sequence[Any], collate: Callable[[Any], Any]) -> DataLoader[Any]:
        """Batches for evaluation."""
        return self._loader(
            examples, collate, batch_size=self.eval_batch_size, generator=torch.Generator()
        )

    def _loader(
        self, examples: Sequence[Any], collate: Callable[[Any], Any], **options: Any
    ) -> DataLoader[Any]:
        return DataLoader(
            examples,  # type: ignore[arg-type]  # a list is a dataset
            collate_fn=collate,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            **options,
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint needs so that the next epoch comes in the order it would."""
        order = None if self._order is None else self._order.get_state()
        return {"order": order, "sha256": self._sha256()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where a checkpoint was written.

        Raises:
            ValueError: if the data are not those that the checkpoint was trained on.
        """
        if changed := [k for k, v in self._sha256().items() if state_dict["sha256"].get(k) != v]:
            raise ValueError(
                f"the {', '.join(changed)} data are not what they were when this run was "
                f"interrupted: start it over with rerun=true"
            )
        self._resumed_order = state_dict["order"]

    def _new_order(self) -> torch.Generator:
        """Starts the random numbers that order the training examples, epoch after epoch."""
        self._order = torch.Generator().manual_seed(self.seed)
        if self._resumed_order is not None:
            self._order.set_state(self._resumed_order)
            self._resumed_order = None
        return self._order

    def _sha256(self) -> dict[str, str]:
        return {name: split["sha256"] for name, split in self.facts()["splits"].items()}


@runtime_checkable
class HasStandIn(Protocol):
    """Data that the package ships a stand-in for."""

    stand_in: ClassVar[str]
    """What the stand-in is, for people."""

    def use_embedded(self) -> None:
        """Reads the stand-in in place of what ``prepare_data`` could not get."""
