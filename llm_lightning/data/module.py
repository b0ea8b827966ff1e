"""Base class of all data modules: what a run needs from its data."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler

from llm_lightning.backbone.tokenizer import GPT2Tokenizer, Tokenizer
from llm_lightning.data.batching import LengthGroupedBatches
from llm_lightning.data.shares import Filling, ShareOfEachBatch, share_of_batches
from llm_lightning.data.shuffled_loader import EpochPosition, ShuffledLoader
from llm_lightning.distributed.processes import ALONE, Processes


class DataModule(L.LightningDataModule, ABC):
    """Training, validation and test split, and the facts that a run records about them."""

    kind: ClassVar[str]
    """``classification``, ``instructions`` or ``text``; tasks and reports depend on it."""
    batch_size: int
    eval_batch_size: int
    num_workers: int
    seed: int
    """Seed for the order of the training examples."""
    split_seed: int | None = None
    """Seed of the split; ``None`` if it is not drawn at random."""
    tokenizer: Tokenizer = GPT2Tokenizer()
    """That of the model, by :meth:`use_model`."""
    context_length: int = 1024
    """The model's context, in tokens, by :meth:`use_model`; as such GPT-2's."""
    is_evaluated_longest_first: bool = False
    """Whether evaluation batches are sorted by length, for models that compute their padding. Set
    by a run, where neither padding nor a limit on the evaluation makes the order matter."""
    processes: Processes = ALONE
    """Those that share the batches; ``batch_size`` and ``eval_batch_size`` are of each."""
    _order: torch.Generator | None = None
    _resumed_order: Tensor | None = None
    _resume_at: EpochPosition | None = None
    _shuffled_loader: ShuffledLoader | None = None

    def use_model(self, tokenizer: Tokenizer, context_length: int) -> None:
        """Prepares the data for a model; to be called before ``setup``.

        Without a call they are for GPT-2.

        Args:
            tokenizer: the model's.
            context_length: the model's context, in tokens.

        Raises:
            ValueError: if ``max_length`` does not fit into the context.
        """
        self.tokenizer, self.context_length = tokenizer, context_length
        self._check_max_length()

    @abstractmethod
    def _check_max_length(self) -> None:
        """Checks ``max_length`` against the model's context.

        Raises:
            ValueError: if it is out of range.
        """

    @property
    @abstractmethod
    def source(self) -> str:
        """Where the texts come from, for display; available after ``prepare_data``."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Returns the facts for a run's summary, as plain values; available after ``setup``.

        They include ``source``, ``max_length`` and ``splits``, with ``examples`` and ``sha256`` of
        each split.
        """

    @abstractmethod
    def describe(self) -> list[str]:
        """Returns the same facts as a few short lines of text."""

    @abstractmethod
    def task_arguments(self) -> dict[str, Any]:
        """Returns the task's arguments that depend on the data, as plain values for checkpoints."""

    @abstractmethod
    def write_splits(self, folder: Path) -> None:
        """Writes files that show which examples are in which split."""

    @abstractmethod
    def sorted_batches(self, split: str, num_tokens: int) -> Iterator[Any]:
        """Yields every example of a split once, longest first, in batches of varying size.

        Args:
            split: ``train``, ``val`` or ``test``.
            num_tokens: largest number of tokens in a batch, padding included.
        """

    def _shuffled(
        self,
        examples: Sequence[Any],
        collate: Callable[[Any], Any],
        *,
        lengths: Sequence[int] | None,
        drop_last: bool,
    ) -> DataLoader[Any]:
        """Makes a loader of shuffled batches; ``seed`` and the epoch alone determine their order.

        Several processes get their shares of the batches of one process with all their examples.

        Args:
            examples: the training split.
            collate: turns a list of examples into a batch.
            lengths: number of tokens of each example, to group examples of similar length;
                ``None`` does not group them.
            drop_last: whether to drop a smaller last batch.
        """
        order = self._new_order()
        batch_size = self.batch_size * self.processes.size
        batches: Sampler[list[int]]
        if lengths is None:
            # What DataLoader(shuffle=True) makes, and in the same order.
            random = RandomSampler(examples, generator=order)
            batches = BatchSampler(random, batch_size, drop_last)
        else:
            batches = LengthGroupedBatches(
                lengths, batch_size, drop_last=drop_last, generator=order
            )
        if self.processes.size > 1:
            batches = ShareOfEachBatch(batches, self.processes)
            collate = Filling(collate, examples)
        self._shuffled_loader = ShuffledLoader(
            examples,
            batches,
            order=order,
            resume_at=self._resume_at,
            generator=order if lengths is None else torch.Generator(),
            collate_fn=collate,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )
        self._resume_at = None
        return self._shuffled_loader

    def _in_order(self, examples: Sequence[Any], collate: Callable[[Any], Any]) -> DataLoader[Any]:
        """Makes a loader of batches for evaluation, in the order of the examples or by length."""
        if self.is_evaluated_longest_first:
            examples = sorted(examples, key=len, reverse=True)
        if self.processes.size > 1:
            share = share_of_batches(len(examples), self.eval_batch_size, self.processes)
            return self._loader(
                examples,
                Filling(collate, examples),
                batch_sampler=share,
                generator=torch.Generator(),
            )
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
        """Returns the state of the shuffling, with which a resumed run has the same order."""
        order = None if self._order is None else self._order.get_state()
        return {"order": order, "sha256": self._sha256()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues the shuffling from a checkpoint.

        Raises:
            ValueError: if the data differ from those at the time of the checkpoint.
        """
        if changed := [k for k, v in self._sha256().items() if state_dict["sha256"].get(k) != v]:
            raise ValueError(
                f"the {', '.join(changed)} data have changed since this run was interrupted: "
                f"start it over with rerun=true"
            )
        self._resumed_order = state_dict["order"]

    def position(self, num_batches: int, *, is_whole: bool) -> EpochPosition | None:
        """Returns how far the present epoch has come; ``None`` before the first.

        Args:
            num_batches: that were trained on.
            is_whole: whether these are all.
        """
        if self._shuffled_loader is None:
            return None
        return EpochPosition(self._shuffled_loader.order_at_start, num_batches, is_whole)

    def resume_within_epoch(self, position: EpochPosition) -> None:
        """Makes the next training loader start where an epoch was interrupted."""
        self._resume_at = position

    def _new_order(self) -> torch.Generator:
        """Makes the random generator of the order of training examples in every epoch."""
        self._order = torch.Generator().manual_seed(self.seed)
        if self._resumed_order is not None:
            self._order.set_state(self._resumed_order)
            self._resumed_order = None
        return self._order

    def _sha256(self) -> dict[str, str]:
        return {name: split["sha256"] for name, split in self.facts()["splits"].items()}


@runtime_checkable
class HasFallback(Protocol):
    """Data for which this package contains a small replacement, used without a network."""

    fallback: ClassVar[str]
    """Name of the replacement in messages."""

    def use_packaged(self) -> None:
        """Uses the replacement instead of what ``prepare_data`` could not download."""
