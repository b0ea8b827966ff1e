"""Data for text classification: from three tables of texts and labels to batches.

A subclass (``spam.py``, ``table.py``) reads the tables (``splits.py``). Encoding, padding, data
loaders and the facts that a run records are here.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

from llm_lightning.data.batching import (
    TRUNCATIONS,
    Batch,
    Padder,
    check_batches,
    longest_first,
    warn_of_truncation,
)
from llm_lightning.data.description import describe_splits
from llm_lightning.data.folds import check_folds, split_fold
from llm_lightning.data.module import DataModule
from llm_lightning.data.splits import (
    Splits,
    ThreeTables,
    as_csv,
    first_of_each_class,
    split_stratified,
    text_key,
    undersample,
)
from llm_lightning.data.tokens import Examples, Tokens
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT, split_file
from llm_lightning.run_format.splits import SPLITS

BALANCES = ("none", "undersample", "class_weights")

T = TypeVar("T")


@dataclass(eq=False)
class ClassificationData(DataModule, ABC):
    """Base class of data sets of labelled texts.

    Every loader has its own random generator: iterating over one does not change another's order.

    Raises:
        ValueError: if a field is out of range.
    """

    kind: ClassVar[str] = "classification"

    balance: str = "none"
    """``undersample``: drop examples until every class has as many as the rarest;
    ``class_weights``: weight classes in the loss by inverse frequency; ``none``."""
    num_train: int | None = None
    """Number of training examples to keep, with the classes in proportion; ``null`` keeps all."""
    max_length: Any = "longest_train"
    """Longest input, the special tokens that the model puts around a text included:
    ``longest_train``, the longest training text (before ``num_train``), but at most the context;
    ``context``, the model's context; or a number of tokens."""
    truncate: str = "end"
    """What a text longer than ``max_length`` loses: its ``end``; its ``start``; or its ``middle``,
    which keeps the first and the last half of ``max_length``."""
    padding: str = "batch"
    """``max_length``, ``batch`` or ``none`` (needs ``batch_size`` 1)."""
    batch_size: int = 8
    """Examples per training batch, at least 1."""
    eval_batch_size: int = 32
    """Examples per evaluation batch, at least 1; set to 1 if ``padding`` is ``none``."""
    group_by_length: bool = False
    """Whether to form training batches of texts of similar length, which need less padding; only
    with ``padding`` ``batch``. The order of the batches is random either way. If the classes differ
    in length, as spam and ham do, such batches consist mostly of one class, which costs a little
    accuracy."""
    drop_last: bool = False
    """Whether to drop the last, smaller training batch of each epoch."""
    num_workers: int = 0
    """Worker processes of a data loader. The data are small: 0, the main process, is fastest."""
    seed: int = 123
    """Seed for the order of the training examples."""
    split_seed: int = 123
    """Seed of the split, and of what ``balance=undersample`` drops, from 0 to 2**32 - 1. It stays
    when ``seed`` changes; 123 is the book's."""
    folds: int | None = None
    """Number of folds of a cross-validation, at least 2, into which all texts are divided in place
    of a single split; of ``data=table`` with one file, and of ``data=sms_spam`` with ``split``
    ``clean``."""
    fold: int | None = None
    """The fold that is the test split, from 0 to ``folds`` - 1. The others are for training, and
    for validation in the proportion of a single split."""

    def __post_init__(self) -> None:
        """Checks ranges; touches neither network nor disk."""
        super().__init__()
        for key, choices in (("balance", BALANCES), ("truncate", TRUNCATIONS)):
            if getattr(self, key) not in choices:
                raise ValueError(
                    f"data.{key} must be one of {', '.join(choices)}, got {getattr(self, key)!r}"
                )
        for key, least in (("batch_size", 1), ("eval_batch_size", 1), ("num_workers", 0)):
            if getattr(self, key) < least:
                raise ValueError(f"data.{key} must be at least {least}, got {getattr(self, key)}")
        if not 0 <= self.split_seed < 2**32:
            raise ValueError(
                f"data.split_seed must be between 0 and 2**32 - 1, got {self.split_seed}"
            )
        check_folds(self.folds, self.fold)
        if self.padding == "none":
            self.eval_batch_size = 1
            if self.batch_size != 1:
                raise ValueError(
                    f"data.padding=none needs data.batch_size=1, got {self.batch_size}; "
                    f"set trainer.accumulate_grad_batches for a larger optimizer step"
                )
        if isinstance(self.max_length, bool) or not (
            isinstance(self.max_length, int) or self.max_length in ("longest_train", "context")
        ):
            raise ValueError(
                f"data.max_length must be longest_train, context or a number of tokens, "
                f"got {self.max_length!r}"
            )
        if isinstance(self.max_length, int) and self.max_length < 1:
            raise ValueError(f"data.max_length must be at least 1 token, got {self.max_length}")
        self._num_dropped = {
            "contradictions": 0,
            "duplicates": 0,
            "rare": 0,
            "undersampling": 0,
            "num_train": 0,
        }
        self._splits: Splits | None = None
        self._padder: Padder | None = None
        self._examples: dict[str, Examples] = {}
        self._num_truncated: dict[str, int] = {}

    def _check_max_length(self) -> None:
        if isinstance(self.max_length, int) and not 1 <= self.max_length <= self.context_length:
            raise ValueError(
                f"data.max_length must be between 1 and the model's context of "
                f"{self.context_length} tokens, got {self.max_length}"
            )

    @abstractmethod
    def read(self) -> Splits:
        """Reads the files and splits them; called once, by ``setup``."""

    def _without_duplicates(self, table: pd.DataFrame) -> pd.DataFrame:
        """Keeps the first of the rows with the same text, and counts the others."""
        repeated = text_key(table).duplicated()
        self._num_dropped["duplicates"] += int(repeated.sum())
        return table[~repeated]

    def _undersampled(self, table: pd.DataFrame) -> pd.DataFrame:
        """Makes the classes equally frequent, and counts the dropped rows."""
        balanced = undersample(table, self.split_seed)
        self._num_dropped["undersampling"] += len(table) - len(balanced)
        return balanced

    def _split_stratified(
        self, table: pd.DataFrame, fractions: Sequence[float], class_names: Sequence[str]
    ) -> ThreeTables:
        """Splits by ``fractions``, or into the fold to test and the others."""
        if self.folds is None or self.fold is None:
            return split_stratified(table, fractions, self.split_seed, class_names)
        val = fractions[1] / (fractions[0] + fractions[1])
        return split_fold(table, self.folds, self.fold, val, self.split_seed, class_names)

    def setup(self, stage: str | None = None) -> None:
        """Reads, splits and encodes the texts; further calls do nothing."""
        if self._splits is not None:
            return
        self._check_max_length()
        splits = self.read()
        train = Tokens.encoded(self.tokenizer, splits.train[SPLIT_TEXT])
        longest = int(train.lengths.max())
        longest += len(self.tokenizer.prefix) + len(self.tokenizer.suffix)
        if self.num_train is not None:
            kept = first_of_each_class(splits.train, self.num_train)
            self._num_dropped["num_train"] = len(splits.train) - len(kept)
            splits.train = kept
            train = Tokens.encoded(self.tokenizer, kept[SPLIT_TEXT])
        check_batches(len(splits.train), self.batch_size, drop_last=self.drop_last)
        encoded = {"train": train} | {
            name: Tokens.encoded(self.tokenizer, table[SPLIT_TEXT])
            for name, table in splits.items()
            if name != "train"
        }
        limits = {"longest_train": longest, "context": self.context_length}
        max_length = min(limits.get(self.max_length, self.max_length), self.context_length)
        self._padder = Padder.of(self.tokenizer, max_length, self.padding, self.truncate)
        for name, table in splits.items():
            self._num_truncated[name] = int((encoded[name].lengths > self._padder.room).sum())
            tokens = encoded[name].prepared(self._padder)
            self._examples[name] = Examples(tokens, table[SPLIT_LABEL].tolist())
        self._splits = splits
        warn_of_truncation(
            sum(self._num_truncated.values()),
            sum(len(table) for _, table in splits.items()),
            f"a text longer than {max_length} tokens loses its {self.truncate}",
        )

    @property
    def splits(self) -> Splits:
        """The three tables; available after ``setup``."""
        return _after_setup(self._splits)

    @property
    def padder(self) -> Padder:
        """Truncation and padding of the texts; available after ``setup``."""
        return _after_setup(self._padder)

    @property
    def class_weights(self) -> list[float] | None:
        """Weight of each class in the loss, or ``None`` for equal weights.

        A class with n of N examples among C classes has the weight N / (C n).
        """
        if self.balance != "class_weights":
            return None
        counts = np.bincount(self.splits.train[SPLIT_LABEL], minlength=len(self.splits.class_names))
        return [float(weight) for weight in counts.sum() / (len(counts) * counts)]

    @cached_property
    def test_in_train(self) -> int:
        """Number of test texts that also occur, word for word, in the training split."""
        return int(self.splits.test[SPLIT_TEXT].isin(set(self.splits.train[SPLIT_TEXT])).sum())

    def facts(self) -> dict[str, Any]:
        """See :class:`~llm_lightning.data.module.DataModule`."""
        splits = self.splits
        return {
            "source": self.source,
            "class_names": splits.class_names,
            "max_length": self.padder.max_length,
            "padding": self.padder.padding,
            "test_in_train": self.test_in_train,
            "duplicates_dropped": self._num_dropped["duplicates"],
            "rows_dropped": dict(self._num_dropped),
            "folds": self.folds,
            "fold": self.fold,
            **{f"{name}_examples": len(table) for name, table in splits.items()},
            "splits": {name: dict(found) for name, found in self._facts_of_splits.items()},
        }

    @cached_property
    def _facts_of_splits(self) -> dict[str, dict[str, Any]]:
        """Asked for a dozen times in a run, and the digest takes a while for many texts."""
        return {
            name: {
                "examples": len(table),
                "class_counts": {
                    class_name: int((table[SPLIT_LABEL] == label).sum())
                    for label, class_name in enumerate(self.splits.class_names)
                },
                "truncated": self._num_truncated[name],
                "sha256": hashlib.sha256(as_csv(table)).hexdigest(),
            }
            for name, table in self.splits.items()
        }

    def describe(self) -> list[str]:
        """One line per split, one on lengths and leakage, and one on dropped texts, if any."""
        return describe_splits(self.facts(), truncate=self.truncate, num_train=self.num_train)

    def task_arguments(self) -> dict[str, Any]:
        """Returns the classes, their weights, and the truncation and padding of texts."""
        return {
            "class_names": self.splits.class_names,
            "class_weights": self.class_weights,
            "text": asdict(self.padder),
        }

    def write_splits(self, folder: Path) -> None:
        """Writes ``train.csv``, ``val.csv`` and ``test.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in self.splits.items():
            (folder / split_file(name, self.kind)).write_bytes(as_csv(table))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Returns shuffled batches; ``seed`` and the epoch alone determine their order."""
        examples = self._examples["train"]
        is_grouped = self.group_by_length and self.padding == "batch"
        return self._shuffled(
            examples,
            self.padder.collate,
            lengths=examples.lengths if is_grouped else None,
            drop_last=self.drop_last,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Returns the validation split."""
        return self._in_order(self._examples["val"], self.padder.collate)

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """Returns training, validation and test split, for the final evaluation."""
        return [self._in_order(self._examples[name], self.padder.collate) for name in SPLITS]

    def sorted_batches(self, split: str, num_tokens: int) -> Iterator[Batch]:
        """See :class:`~llm_lightning.data.module.DataModule`."""
        examples = self._examples[split]
        is_wide, width = self.padding == "max_length", self.padder.max_length
        lengths = [width] * len(examples) if is_wide else examples.lengths
        if self.padding == "none":
            num_tokens = 1
        for indices in longest_first(lengths, num_tokens):
            yield self.padder.collate([examples[index] for index in indices])


def _after_setup(value: T | None) -> T:
    if value is None:
        raise RuntimeError("call prepare_data() and setup() first")
    return value
