"""A table of texts and labels becomes batches.

Where the table comes from is a subclass's business (``spam.py``, ``table.py``): it fills
``Splits``; encoding, padding, loaders and the facts worth recording are here.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import lightning as L
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from llm_lightning.backbone.tokenizer import encode
from llm_lightning.data.batching import Batch, Example, Padder

BALANCES = ("none", "undersample", "class_weights")
SPLIT_NAMES = ("train", "val", "test")

T = TypeVar("T")
ThreeTables: TypeAlias = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


@dataclass
class Splits:
    """Three tables with the columns ``Label`` (class index) and ``Text``, and the class names."""

    train: pd.DataFrame
    val: pd.DataFrame
    test: pd.DataFrame
    class_names: list[str]
    """Name of each class index; in two-class tasks the second is the positive class."""

    def items(self) -> list[tuple[str, pd.DataFrame]]:
        """Returns (name, table) for each split, in a fixed order."""
        return [(name, getattr(self, name)) for name in SPLIT_NAMES]


def as_csv(table: pd.DataFrame) -> bytes:
    """Returns a split's CSV bytes, which are its fingerprint: header ``Label,Text``, no index."""
    return table.to_csv(index=False, lineterminator="\n", columns=["Label", "Text"]).encode()


@dataclass(eq=False)
class ClassificationData(L.LightningDataModule, ABC):
    """Splits to loaders. Loaders keep their own random generator, so looking twice is harmless.

    Raises:
        ValueError: if a field is out of range.
    """

    balance: str = "none"
    """``undersample``: every class as rare as the rarest; ``class_weights``: the loss weighs
    classes by inverse frequency; ``none``."""
    max_length: Any = "longest_train"
    """Longest input: ``longest_train``, the longest training text, up to the context;
    ``context``, the model's context; or a number of tokens."""
    padding: str = "batch"
    """``max_length``, ``batch`` or ``none`` (needs ``batch_size`` 1)."""
    batch_size: int = 8
    """Examples in one training batch, at least 1."""
    eval_batch_size: int = 32
    """Examples in one evaluation batch, at least 1; 1 where ``padding`` is ``none``."""
    drop_last: bool = False
    """Whether training leaves out the last, smaller batch of each epoch."""
    context_length: int = 1024
    """The model's context, in tokens."""
    num_workers: int = 0
    """Loader processes. The data are small: 0, the main process, is fastest."""
    seed: int = 123
    """Seed of the order of training examples."""

    def __post_init__(self) -> None:
        """Checks ranges; touches neither network nor disk."""
        super().__init__()
        if self.balance not in BALANCES:
            raise ValueError(
                f"data.balance must be one of {', '.join(BALANCES)}, got {self.balance!r}"
            )
        for key in ("batch_size", "eval_batch_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"data.{key} must be at least 1, got {getattr(self, key)}")
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
        if isinstance(self.max_length, int) and not 1 <= self.max_length <= self.context_length:
            raise ValueError(
                f"data.max_length must be between 1 and the model's context of "
                f"{self.context_length} tokens, got {self.max_length}"
            )
        self._splits: Splits | None = None
        self._padder: Padder | None = None
        self._examples: dict[str, list[Example]] = {}
        self._num_truncated: dict[str, int] = {}

    @property
    @abstractmethod
    def source(self) -> str:
        """Where the texts come from, for people."""

    @abstractmethod
    def read(self) -> Splits:
        """Reads files and splits; called once, by ``setup``."""

    def setup(self, stage: str | None = None) -> None:
        """Reads, splits and encodes; the second call does nothing."""
        if self._splits is not None:
            return
        splits = self.read()
        encoded = {name: [encode(text) for text in table["Text"]] for name, table in splits.items()}
        longest = max(len(ids) for ids in encoded["train"])
        limits = {"longest_train": longest, "context": self.context_length}
        max_length = min(limits.get(self.max_length, self.max_length), self.context_length)
        self._padder = Padder(max_length=max_length, padding=self.padding)
        for name, table in splits.items():
            self._num_truncated[name] = sum(len(ids) > max_length for ids in encoded[name])
            self._examples[name] = self._padder.examples(encoded[name], list(table["Label"]))
        self._splits = splits

    @property
    def splits(self) -> Splits:
        """The three tables; after ``setup``."""
        return _after_setup(self._splits)

    @property
    def padder(self) -> Padder:
        """How texts are cut and padded; after ``setup``."""
        return _after_setup(self._padder)

    @property
    def class_weights(self) -> list[float] | None:
        """Weight of each class in the loss: n / (classes * n of the class), or ``None``."""
        if self.balance != "class_weights":
            return None
        counts = np.bincount(self.splits.train["Label"], minlength=len(self.splits.class_names))
        return [float(weight) for weight in counts.sum() / (len(counts) * counts)]

    @property
    def test_in_train(self) -> int:
        """How many test texts also stand, word for word, in the training split."""
        return int(self.splits.test["Text"].isin(set(self.splits.train["Text"])).sum())

    def facts(self) -> dict[str, Any]:
        """Returns what a summary should say about the data, as plain values."""
        splits = self.splits
        return {
            "source": self.source,
            "class_names": splits.class_names,
            "max_length": self.padder.max_length,
            "padding": self.padder.padding,
            "test_in_train": self.test_in_train,
            **{f"{name}_examples": len(table) for name, table in splits.items()},
            "splits": {
                name: {
                    "examples": len(table),
                    "class_counts": {
                        class_name: int((table["Label"] == label).sum())
                        for label, class_name in enumerate(splits.class_names)
                    },
                    "truncated": self._num_truncated[name],
                    "sha256": hashlib.sha256(as_csv(table)).hexdigest(),
                }
                for name, table in splits.items()
            },
        }

    def write_splits(self, folder: Path) -> None:
        """Writes ``train.csv``, ``val.csv`` and ``test.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in self.splits.items():
            (folder / f"{name}.csv").write_bytes(as_csv(table))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled, in an order that only ``seed`` and the epoch decide."""
        return DataLoader(
            self._examples["train"],  # type: ignore[arg-type]  # a list is a dataset
            batch_size=self.batch_size,
            shuffle=True,
            drop_last=self.drop_last,
            collate_fn=self.padder.collate,
            num_workers=self.num_workers,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation split in order."""
        return self._in_order("val")

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """All of training, validation and test in order: the final evaluation."""
        return [self._in_order(name) for name in SPLIT_NAMES]

    def _in_order(self, name: str) -> DataLoader[Batch]:
        return DataLoader(
            self._examples[name],  # type: ignore[arg-type]
            batch_size=self.eval_batch_size,
            collate_fn=self.padder.collate,
            num_workers=self.num_workers,
            generator=torch.Generator(),
        )


def permutation(size: int, seed: int, take: int | None = None) -> np.ndarray:
    """Returns ``take`` (default all) of ``range(size)``, shuffled.

    NumPy freezes the stream of ``RandomState`` (NEP 19), so a split made today is the split made
    tomorrow. It is also the generator behind ``DataFrame.sample(random_state=seed)``, which is
    how the book shuffles.
    """
    return np.random.RandomState(seed).choice(size, size if take is None else take, replace=False)


def undersample(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Cuts every class down to the size of the rarest, which keeps its order.

    Classes follow one another, the rarest last, as in the book's ``create_balanced_dataset``.
    """
    counts = table["Label"].value_counts()
    rarest = counts.index[counts == counts.min()].max()
    parts = []
    for label in sorted(counts.index, key=lambda label: (label == rarest, label)):
        rows = table[table["Label"] == label]
        if label != rarest:
            rows = rows.iloc[permutation(len(rows), seed, take=int(counts.min()))]
        parts.append(rows)
    balanced: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return balanced


def split_in_order(table: pd.DataFrame, train: float, val: float) -> ThreeTables:
    """Cuts a table into three at ``int(n * train)`` and ``int(n * val)`` further on."""
    first = int(len(table) * train)
    second = first + int(len(table) * val)
    return (
        table.iloc[:first].reset_index(drop=True),
        table.iloc[first:second].reset_index(drop=True),
        table.iloc[second:].reset_index(drop=True),
    )


def split_stratified(table: pd.DataFrame, fractions: Sequence[float], seed: int) -> ThreeTables:
    """Splits each class by ``fractions`` (train, val, test), then shuffles each split.

    Raises:
        ValueError: naming a class that has too few rows to stand in every split.
    """
    parts: list[list[pd.DataFrame]] = [[], [], []]
    for label, rows in table.groupby("Label", sort=True):
        shuffled = rows.iloc[permutation(len(rows), seed)]
        cuts = np.round(np.cumsum(fractions)[:2] * len(rows)).astype(int)
        for part, piece in zip(parts, np.split(np.arange(len(rows)), cuts), strict=True):
            if not len(piece):
                raise ValueError(
                    f"class {label} has {len(rows)} rows, too few for fractions "
                    f"{list(fractions)}: every class needs a row in each split"
                )
            part.append(shuffled.iloc[piece])
    train, val, test = (pd.concat(part) for part in parts)
    return _shuffled(train, seed), _shuffled(val, seed), _shuffled(test, seed)


def _shuffled(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    return table.iloc[permutation(len(table), seed)].reset_index(drop=True)


def _after_setup(value: T | None) -> T:
    if value is None:
        raise RuntimeError("call prepare_data() and setup() first")
    return value
