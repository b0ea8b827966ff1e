"""A table of texts and labels becomes batches.

Where the table comes from is a subclass's business (``spam.py``, ``table.py``): it fills
``Splits`` (``splits.py``); encoding, padding, loaders and the facts worth recording are here.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch.utils.data import DataLoader

from llm_lightning.backbone.tokenizer import encode
from llm_lightning.data.batching import Batch, Example, Padder, longest_first
from llm_lightning.data.module import DataModule

# `as SPLIT_NAMES`: other rooms import it from here.
from llm_lightning.data.splits import SPLIT_NAMES as SPLIT_NAMES
from llm_lightning.data.splits import Splits, as_csv, first_of_each_class

BALANCES = ("none", "undersample", "class_weights")

T = TypeVar("T")


@dataclass(eq=False)
class ClassificationData(DataModule, ABC):
    """Splits to loaders. Loaders keep their own random generator, so looking twice is harmless.

    Raises:
        ValueError: if a field is out of range.
    """

    kind: ClassVar[str] = "classification"

    balance: str = "none"
    """``undersample``: every class as rare as the rarest; ``class_weights``: the loss weighs
    classes by inverse frequency; ``none``."""
    num_train: int | None = None
    """Training examples that are kept, classes in proportion; ``null`` keeps all."""
    max_length: Any = "longest_train"
    """Longest input: ``longest_train``, the longest of all training texts, up to the context;
    ``context``, the model's context; or a number of tokens."""
    padding: str = "batch"
    """``max_length``, ``batch`` or ``none`` (needs ``batch_size`` 1)."""
    batch_size: int = 8
    """Examples in one training batch, at least 1."""
    eval_batch_size: int = 32
    """Examples in one evaluation batch, at least 1; 1 where ``padding`` is ``none``."""
    group_by_length: bool = False
    """Whether training batches hold texts of similar length, where ``padding`` is ``batch``, so
    that attention sees less of it; which batch comes when is random either way. Where classes
    differ in length, as spam and ham do, most of a batch is then of one class, and a little less
    is learnt."""
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
        for key, least in (("batch_size", 1), ("eval_batch_size", 1), ("num_workers", 0)):
            if getattr(self, key) < least:
                raise ValueError(f"data.{key} must be at least {least}, got {getattr(self, key)}")
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
        self.num_duplicates_dropped = 0
        """How many rows ``read`` left out because an earlier one has the same text."""
        self._splits: Splits | None = None
        self._padder: Padder | None = None
        self._examples: dict[str, list[Example]] = {}
        self._num_truncated: dict[str, int] = {}

    @abstractmethod
    def read(self) -> Splits:
        """Reads files and splits; called once, by ``setup``."""

    def setup(self, stage: str | None = None) -> None:
        """Reads, splits and encodes; the second call does nothing."""
        if self._splits is not None:
            return
        splits = self.read()
        longest = max(len(encode(text)) for text in splits.train["Text"])
        if self.num_train is not None:
            splits.train = first_of_each_class(splits.train, self.num_train)
        encoded = {name: [encode(text) for text in table["Text"]] for name, table in splits.items()}
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
            "duplicates_dropped": self.num_duplicates_dropped,
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

    def describe(self) -> list[str]:
        """A line a split, and one on lengths and leakage."""
        facts = self.facts()
        lines = []
        for name, split in facts["splits"].items():
            counts = ", ".join(
                f"{n:,} {class_name}" for class_name, n in split["class_counts"].items()
            )
            cut = f", {split['truncated']} truncated" if split["truncated"] else ""
            lines.append(f"{name}: {split['examples']:,} ({counts}){cut}")
        return [
            *lines,
            f"at most {facts['max_length']} tokens, padding {facts['padding']}; "
            f"{facts['test_in_train']} of {facts['test_examples']} test texts also stand in "
            f"training",
        ]

    def task_arguments(self) -> dict[str, Any]:
        """Classes, their weights, and how texts are cut and padded."""
        return {
            "class_names": self.splits.class_names,
            "class_weights": self.class_weights,
            "text": asdict(self.padder),
        }

    def write_splits(self, folder: Path) -> None:
        """Writes ``train.csv``, ``val.csv`` and ``test.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in self.splits.items():
            (folder / f"{name}.csv").write_bytes(as_csv(table))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled, in an order that only ``seed`` and the epoch decide."""
        examples = self._examples["train"]
        is_grouped = self.group_by_length and self.padding == "batch"
        return self._shuffled(
            examples,
            self.padder.collate,
            lengths=list(map(len, examples)) if is_grouped else None,
            drop_last=self.drop_last,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation split in order."""
        return self._in_order(self._examples["val"], self.padder.collate)

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """All of training, validation and test in order: the final evaluation."""
        return [self._in_order(self._examples[name], self.padder.collate) for name in SPLIT_NAMES]

    def sorted_batches(self, split: str, num_tokens: int) -> Iterator[Batch]:
        """See :class:`~llm_lightning.data.module.DataModule`."""
        examples = self._examples[split]
        is_wide, width = self.padding == "max_length", self.padder.max_length
        lengths = [width if is_wide else len(example) for example in examples]
        if self.padding == "none":
            num_tokens = 1
        for indices in longest_first(lengths, num_tokens):
            yield self.padder.collate([examples[index] for index in indices])


def _after_setup(value: T | None) -> T:
    if value is None:
        raise RuntimeError("call prepare_data() and setup() first")
    return value
