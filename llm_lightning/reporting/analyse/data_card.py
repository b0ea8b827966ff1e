"""The data behind a test set: classes, lengths, duplicates, truncation and fingerprints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llm_lightning.reporting.analyse.rows import Row, without_folders
from llm_lightning.reporting.analyse.similarity import normalized
from llm_lightning.reporting.read.run_folders import split_of_run
from llm_lightning.reporting.read.run_record import RunRecord
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT
from llm_lightning.run_format.splits import SPLITS

MAX_DRAWN_CLASSES = 12
"""Most classes whose lengths are described one by one."""


@dataclass(frozen=True)
class SplitCard:
    """One split."""

    name: str
    examples: int
    class_counts: dict[str, int]
    truncated: int | None
    """Examples truncated to ``data.max_length`` tokens; None if they were not counted."""
    sha256: str
    in_train: int | None
    """Texts that are also in the training split; None for the training split itself."""
    nearly_in_train: int | None
    """The same, ignoring case and whitespace."""
    repeated: int | None
    """Duplicates within the split; None if its file is not available."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of a class's training messages, in characters."""

    class_name: str
    examples: int
    quantiles: tuple[int, int, int, int, int]
    """Minimum, lower quartile, median, upper quartile, maximum."""
    histogram: list[float]
    """Share of the class in each bin."""


@dataclass(frozen=True)
class DataCard:
    """The data behind a test set."""

    source: str
    max_length: int | None
    """Tokens; None if unknown."""
    padding: str | None
    splits: list[SplitCard]
    lengths: list[Lengths]
    """One per class; empty if the training split is not available or the classes are many."""
    bin_width: int
    """Characters in a bin of the histograms."""
    train: list[tuple[str, str]] | None
    """Text and label of each training message; None if they are not available, or if there are
    several splits, where another one trains on what this one tests."""
    other_train_sets: int
    """Rows of the chapter that were trained on other messages than those described here."""
    num_splits: int
    """On how many splits or folds each seed was run; the first one is described here."""

    @property
    def test_in_train(self) -> int | None:
        """Test texts that are also in the training split; None if unknown."""
        return self.splits[-1].in_train

    @property
    def majority_accuracy(self) -> float | None:
        """Test accuracy of always predicting the most frequent training class; None if unknown."""
        counts = {split.name: split.class_counts for split in self.splits}
        train, test = counts.get("train"), counts.get("test")
        if not train or not test or not sum(test.values()):
            return None
        return test.get(max(train, key=lambda name: train[name]), 0) / sum(test.values())


def make_card(rows: Sequence[Row]) -> DataCard:
    """Describes the data of the first row whose splits are available; all rows share a test set."""
    best, tables = rows[0].first.trained[0], dict[str, pd.DataFrame]()
    for row in rows:
        run = row.first.trained[0]
        found = {split: split_of_run(run, split) for split in SPLITS}
        tables = {name: table for name, table in found.items() if table is not None}
        if len(tables) == len(SPLITS):
            best = run
            break
    else:
        tables = {}
    data = best.summary.data
    names = best.summary.class_names or []
    lengths, bin_width = _lengths(tables["train"], names) if tables else ([], 0)
    trained_on = data.splits["train"].sha256
    others = sum(
        row.first.trained[0].summary.data.splits["train"].sha256 != trained_on for row in rows
    )
    train = None
    num_splits = max(1, len(rows[0].first.parts))
    if tables and num_splits == 1:
        labels = [names[label] for label in tables["train"][SPLIT_LABEL]]
        train = list(zip(tables["train"][SPLIT_TEXT].tolist(), labels, strict=True))
    return DataCard(
        source=without_folders(data.source or "unknown data"),
        max_length=data.max_length,
        padding=data.padding,
        splits=_splits(best, tables),
        lengths=lengths,
        bin_width=bin_width,
        train=train,
        other_train_sets=others,
        num_splits=num_splits,
    )


def _splits(run: RunRecord, tables: Mapping[str, pd.DataFrame]) -> list[SplitCard]:
    exact = {name: table[SPLIT_TEXT].tolist() for name, table in tables.items()}
    nearly = {name: [normalized(text) for text in texts] for name, texts in exact.items()}
    found = []
    for name in SPLITS:
        facts = run.summary.data.splits[name]
        found.append(
            SplitCard(
                name=name,
                examples=facts.examples,
                class_counts=facts.class_counts or {},
                truncated=facts.truncated,
                sha256=facts.sha256,
                in_train=_shared(exact, name),
                nearly_in_train=_shared(nearly, name),
                repeated=len(exact[name]) - len(set(exact[name])) if exact else None,
            )
        )
    return found


def _shared(texts: Mapping[str, Sequence[str]], split: str) -> int | None:
    """How many texts of a split are also in the training split."""
    if split == "train" or not texts:
        return None
    trained = set(texts["train"])
    return sum(text in trained for text in texts[split])


def _lengths(train: pd.DataFrame, names: Sequence[str]) -> tuple[list[Lengths], int]:
    """Lengths by class, and the width of the bins: 20 of them, the last one open."""
    characters = train[SPLIT_TEXT].str.len().to_numpy(dtype=np.int64)
    longest = max(20, int(np.quantile(characters, 0.99)))
    width = -(-longest // 20)
    found = []
    if len(names) > MAX_DRAWN_CLASSES:
        return [], width
    for label, name in enumerate(names):
        of_class = characters[(train[SPLIT_LABEL] == label).to_numpy()]
        if not len(of_class):
            continue
        least, lower, median, upper, most = (
            round(float(value)) for value in np.quantile(of_class, [0, 0.25, 0.5, 0.75, 1])
        )
        bins = np.bincount(np.minimum(of_class // width, 19), minlength=20) / len(of_class)
        quantiles = (least, lower, median, upper, most)
        found.append(Lengths(name, len(of_class), quantiles, bins.tolist()))
    return found, width
