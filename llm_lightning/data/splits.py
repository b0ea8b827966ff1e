"""Splitting a table with the columns ``Label`` and ``Text`` into training, validation and test.

Pure functions that read no files and no global random state: the seed determines the result.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from llm_lightning.presentation.plurals import counted
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT
from llm_lightning.run_format.splits import SPLITS

ThreeTables: TypeAlias = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


@dataclass
class Splits:
    """Three tables with the columns ``Label`` (class index) and ``Text``."""

    train: pd.DataFrame
    val: pd.DataFrame
    test: pd.DataFrame
    class_names: list[str]
    """Name of each class index; of two classes the second is the positive one."""

    def items(self) -> list[tuple[str, pd.DataFrame]]:
        """Returns (name, table) of each split, in the order of ``SPLITS``."""
        return [(name, getattr(self, name)) for name in SPLITS]


def as_csv(table: pd.DataFrame) -> bytes:
    """Returns a split as CSV (header ``Label,Text``, no index), whose SHA-256 identifies it.

    It reads back equal: before CPython 3.11.9 the writer leaves texts with a carriage return
    unquoted, so files that hold one have every text quoted. All others are as the book's.
    """
    return table.to_csv(
        index=False,
        lineterminator="\n",
        columns=[SPLIT_LABEL, SPLIT_TEXT],
        quoting=quoting_for(table[SPLIT_TEXT]),
    ).encode()


def quoting_for(texts: pd.Series) -> Literal[0, 2]:
    """Returns how the CSV writer must quote so that these texts read back equal."""
    has_return = texts.str.contains("\r", regex=False).any()
    return csv.QUOTE_NONNUMERIC if has_return else csv.QUOTE_MINIMAL


def permutation(size: int, seed: int, take: int | None = None) -> np.ndarray:
    """Shuffles ``range(size)``.

    NumPy guarantees the stream of ``RandomState`` (NEP 19), so splits stay the same with later
    versions. ``DataFrame.sample(random_state=seed)``, with which the book shuffles, uses it too.

    Args:
        size: number of indices to choose from.
        seed: determines the order.
        take: number of indices to return, by default all.

    Returns:
        (take,) int64, distinct indices in random order.
    """
    return np.random.RandomState(seed).choice(size, size if take is None else take, replace=False)


def text_key(table: pd.DataFrame) -> pd.Series:
    """Returns the texts without surrounding white space: equal keys mean duplicate texts."""
    return table[SPLIT_TEXT].str.strip()


def undersample(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Samples from every class as many rows as the rarest class has.

    The result is ordered by class, the rarest last and in its original order, as in the book's
    ``create_balanced_dataset``.

    Args:
        table: with the column ``Label``.
        seed: determines which rows are kept.

    Returns:
        A new table with a new index.
    """
    counts = table[SPLIT_LABEL].value_counts()
    rarest = counts.index[counts == counts.min()].max()
    parts = []
    for label in sorted(counts.index, key=lambda label: (label == rarest, label)):
        rows = table[table[SPLIT_LABEL] == label]
        if label != rarest:
            rows = rows.iloc[permutation(len(rows), seed, take=int(counts.min()))]
        parts.append(rows)
    balanced: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return balanced


def first_of_each_class(table: pd.DataFrame, size: int) -> pd.DataFrame:
    """Keeps ``size`` rows with the classes in proportion.

    The rows kept for a smaller size are a subset of those kept for a larger one.

    Args:
        table: with the column ``Label``.
        size: number of rows to keep.

    Returns:
        The kept rows in their original order, with a new index.

    Raises:
        ValueError: if there are fewer rows, or a class would lose all of its rows.
    """
    if not table[SPLIT_LABEL].nunique() <= size <= len(table):
        raise ValueError(
            f"data.num_train must be between the {table[SPLIT_LABEL].nunique()} classes and the "
            f"{len(table)} training examples, got {size}"
        )
    by_class = table.groupby(SPLIT_LABEL)[SPLIT_LABEL]
    # Position of a row within its class, from 0 to 1.
    place = (by_class.cumcount() + 0.5) / by_class.transform("size")
    kept = place.sort_values(kind="stable").index[:size]
    rows = table.loc[kept.sort_values()]
    if rows[SPLIT_LABEL].nunique() < table[SPLIT_LABEL].nunique():
        raise ValueError(
            f"data.num_train must be larger: with {counted(size, 'row')} a class has none"
        )
    return rows.reset_index(drop=True)


def split_in_order(table: pd.DataFrame, train: float, val: float) -> ThreeTables:
    """Cuts a table into three consecutive parts.

    Args:
        table: with the columns ``Label`` and ``Text``.
        train: fraction of the rows for training, rounded down to whole rows.
        val: fraction for validation, rounded down; the rest is for testing.

    Returns:
        Training, validation and test rows, each with a new index.

    Raises:
        ValueError: if a split would be empty, or a class would be missing from training.
    """
    first = int(len(table) * train)
    second = first + int(len(table) * val)
    parts = (table.iloc[:first], table.iloc[first:second], table.iloc[second:])
    for name, part in zip(SPLITS, parts, strict=True):
        if part.empty:
            raise ValueError(
                f"{counted(len(table), 'row')}, too few to split: {name} would be empty"
            )
    if parts[0][SPLIT_LABEL].nunique() < table[SPLIT_LABEL].nunique():
        raise ValueError(
            f"{counted(len(table), 'row')}, too few to split: a class would have no row in train"
        )
    train_rows, val_rows, test_rows = (part.reset_index(drop=True) for part in parts)
    return train_rows, val_rows, test_rows


def split_stratified(
    table: pd.DataFrame, fractions: Sequence[float], seed: int, class_names: Sequence[str]
) -> ThreeTables:
    """Splits each class by the same fractions, then shuffles each split.

    Args:
        table: with the columns ``Label`` and ``Text``.
        fractions: shares of training, validation and test; they sum to 1.
        seed: determines which rows go where, and their order.
        class_names: name of each class index, for the error.

    Returns:
        Training, validation and test rows, each with a new index.

    Raises:
        ValueError: if classes have fewer than three rows; names all of them.
    """
    parts: list[list[pd.DataFrame]] = [[], [], []]
    sizes = table[SPLIT_LABEL].value_counts()
    if small := [label for label in sorted(sizes.index) if sizes[label] < len(SPLITS)]:
        names = ", ".join(
            f"{class_names[label]!r} has {counted(int(sizes[label]), 'row')}" for label in small
        )
        raise ValueError(
            f"{counted(len(small), 'class is', 'classes are')} too small: {names}; every class "
            f"needs a row in each split"
        )
    for _, rows in table.groupby(SPLIT_LABEL, sort=True):
        shuffled = rows.iloc[permutation(len(rows), seed)]
        first, second = np.round(np.cumsum(fractions)[:2] * len(rows)).astype(int)
        # Rounding may leave a small class out of a split.
        first = min(max(first, 1), len(rows) - 2)
        second = min(max(second, first + 1), len(rows) - 1)
        pieces = np.split(np.arange(len(rows)), [first, second])
        for part, piece in zip(parts, pieces, strict=True):
            part.append(shuffled.iloc[piece])
    train, val, test = (pd.concat(part) for part in parts)
    return _shuffled(train, seed), _shuffled(val, seed), _shuffled(test, seed)


def _shuffled(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    return table.iloc[permutation(len(table), seed)].reset_index(drop=True)
