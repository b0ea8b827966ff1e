"""What the splits behind a test set hold: classes, lengths, repeats, cuts, checksums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llm_lightning.reporting.study.mistakes import normalized
from llm_lightning.reporting.study.reading import read_split
from llm_lightning.reporting.study.rows import Row, without_folders
from llm_lightning.reporting.study.runs import Run
from llm_lightning.reporting.study.summary_rules import SPLIT_NAMES


@dataclass(frozen=True)
class SplitFacts:
    """One split."""

    name: str
    examples: int
    class_counts: dict[str, int]
    truncated: int | None
    """Examples that lost their end to ``data.max_length``; None if it was not counted."""
    sha256: str
    in_train: int | None
    """Texts that stand in training, too, word for word; None for training itself."""
    nearly_in_train: int | None
    """The same where case and spaces do not count."""
    repeated: int | None
    """Texts that stand in the split before already; None if its file is not at hand."""


@dataclass(frozen=True)
class Lengths:
    """Characters of a class's training messages."""

    class_name: str
    examples: int
    quantiles: tuple[int, int, int, int, int]
    """Least, lower quartile, median, upper quartile, most."""
    histogram: list[float]
    """Share of the class in each bin."""


@dataclass(frozen=True)
class DataCard:
    """The data behind a test set."""

    source: str
    max_length: str
    padding: str
    splits: list[SplitFacts]
    lengths: list[Lengths]
    """By class; empty if the training split is not at hand."""
    bin_width: int
    """Characters in a bin of the histograms."""
    train: list[tuple[str, str]] | None
    """Text and label of each training message."""
    other_train_sets: int
    """Rows of the section that have trained on other messages than described here."""

    @property
    def test_in_train(self) -> int | None:
        """Test texts that stand in training, too."""
        return self.splits[-1].in_train

    @property
    def majority_accuracy(self) -> float | None:
        """Test accuracy of always naming training's most frequent class; None if not known."""
        counts = {split.name: split.class_counts for split in self.splits}
        train, test = counts.get("train"), counts.get("test")
        if not train or not test or not sum(test.values()):
            return None
        return test.get(max(train, key=lambda name: train[name]), 0) / sum(test.values())


def make_card(rows: Sequence[Row]) -> DataCard:
    """Describes the data of the first row whose splits are at hand; the rows share a test set."""
    best, tables = rows[0].first, dict[str, pd.DataFrame]()
    for row in rows:
        found = {split: read_split(row.first, split) for split in SPLIT_NAMES}
        tables = {name: table for name, table in found.items() if table is not None}
        if len(tables) == len(SPLIT_NAMES):
            best = row.first
            break
    else:
        tables = {}
    data = best.summary["data"]
    names: list[str] = best.summary["class_names"]
    lengths, bin_width = _lengths(tables["train"], names) if tables else ([], 0)
    trained_on = data["splits"].get("train", {}).get("sha256")
    others = sum(_train_sha256(row.first) != trained_on for row in rows)
    train = None
    if tables:
        labels = [names[label] for label in tables["train"]["Label"]]
        train = list(zip(tables["train"]["Text"].tolist(), labels, strict=True))
    return DataCard(
        source=without_folders(str(data.get("source", "unknown"))),
        max_length=str(data.get("max_length", "unknown")),
        padding=str(data.get("padding", "unknown")),
        splits=_splits(best, tables),
        lengths=lengths,
        bin_width=bin_width,
        train=train,
        other_train_sets=others,
    )


def _train_sha256(run: Run) -> str | None:
    found: Mapping[str, str] = run.summary["data"]["splits"].get("train", {})
    return found.get("sha256")


def _splits(run: Run, tables: Mapping[str, pd.DataFrame]) -> list[SplitFacts]:
    data = run.summary["data"]
    exact = {name: table["Text"].tolist() for name, table in tables.items()}
    nearly = {name: [normalized(text) for text in texts] for name, texts in exact.items()}
    found = []
    for name in SPLIT_NAMES:
        facts = data["splits"].get(name)
        if facts is None:
            continue
        found.append(
            SplitFacts(
                name=name,
                examples=int(facts["examples"]),
                class_counts=facts.get("class_counts") or {},
                truncated=facts.get("truncated"),
                sha256=str(facts["sha256"]),
                in_train=_shared(exact, name),
                nearly_in_train=_shared(nearly, name),
                repeated=len(exact[name]) - len(set(exact[name])) if exact else None,
            )
        )
    return found


def _shared(texts: Mapping[str, Sequence[str]], split: str) -> int | None:
    """How many texts of a split stand in training, too."""
    if split == "train" or not texts:
        return None
    trained = set(texts["train"])
    return sum(text in trained for text in texts[split])


def _lengths(train: pd.DataFrame, names: Sequence[str]) -> tuple[list[Lengths], int]:
    """Lengths by class, and the width of the bins: 20 of them, the last one open."""
    characters = train["Text"].str.len().to_numpy(dtype=np.int64)
    longest = max(20, int(np.quantile(characters, 0.99)))
    width = -(-longest // 20)
    found = []
    for label, name in enumerate(names):
        of_class = characters[(train["Label"] == label).to_numpy()]
        if not len(of_class):
            continue
        least, lower, median, upper, most = (
            round(float(value)) for value in np.quantile(of_class, [0, 0.25, 0.5, 0.75, 1])
        )
        bins = np.bincount(np.minimum(of_class // width, 19), minlength=20) / len(of_class)
        quantiles = (least, lower, median, upper, most)
        found.append(Lengths(name, len(of_class), quantiles, bins.tolist()))
    return found, width
