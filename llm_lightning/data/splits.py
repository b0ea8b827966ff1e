"""Three tables, and the ways a table of ``Label`` and ``Text`` becomes three.

Pure functions: no files and no global random state, so a seed decides everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

SPLIT_NAMES = ("train", "val", "test")

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


def permutation(size: int, seed: int, take: int | None = None) -> np.ndarray:
    """Returns ``take`` (default all) of ``range(size)``, shuffled.

    NumPy freezes the stream of ``RandomState`` (NEP 19), so a split made today is the split made
    tomorrow. It is also the generator behind ``DataFrame.sample(random_state=seed)``, which is
    how the book shuffles.
    """
    return np.random.RandomState(seed).choice(size, size if take is None else take, replace=False)


def text_key(table: pd.DataFrame) -> pd.Series:
    """What makes two texts the same: the text without white space at its ends."""
    return table["Text"].str.strip()


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


def first_of_each_class(table: pd.DataFrame, size: int) -> pd.DataFrame:
    """Keeps ``size`` rows with the classes in proportion; fewer rows are among more rows.

    Raises:
        ValueError: if there are fewer rows, or a class would have none.
    """
    if not table["Label"].nunique() <= size <= len(table):
        raise ValueError(
            f"data.num_train must be between the {table['Label'].nunique()} classes and the "
            f"{len(table)} training examples, got {size}"
        )
    by_class = table.groupby("Label")["Label"]
    # Where in its class a row stands, from 0 to 1.
    place = (by_class.cumcount() + 0.5) / by_class.transform("size")
    kept = place.sort_values(kind="stable").index[:size]
    rows = table.loc[kept.sort_values()]
    if rows["Label"].nunique() < table["Label"].nunique():
        raise ValueError(f"data.num_train must be larger: a class has no row among {size}")
    return rows.reset_index(drop=True)


def split_in_order(table: pd.DataFrame, train: float, val: float) -> ThreeTables:
    """Cuts a table into three at ``int(n * train)`` and ``int(n * val)`` further on.

    Raises:
        ValueError: if a split would be empty, or a class would be missing from training.
    """
    first = int(len(table) * train)
    second = first + int(len(table) * val)
    parts = (table.iloc[:first], table.iloc[first:second], table.iloc[second:])
    for name, part in zip(SPLIT_NAMES, parts, strict=True):
        if part.empty:
            raise ValueError(
                f"{counted(len(table), 'row')}, too few to split: {name} would be empty"
            )
    if parts[0]["Label"].nunique() < table["Label"].nunique():
        raise ValueError(
            f"{counted(len(table), 'row')}, too few to split: a class would have no row in train"
        )
    train_rows, val_rows, test_rows = (part.reset_index(drop=True) for part in parts)
    return train_rows, val_rows, test_rows


def split_stratified(
    table: pd.DataFrame, fractions: Sequence[float], seed: int, class_names: Sequence[str]
) -> ThreeTables:
    """Splits each class by ``fractions`` (train, val, test), then shuffles each split.

    Raises:
        ValueError: naming a class that has too few rows to stand in every split.
    """
    parts: list[list[pd.DataFrame]] = [[], [], []]
    for _, rows in table.groupby("Label", sort=True):
        shuffled = rows.iloc[permutation(len(rows), seed)]
        cuts = np.round(np.cumsum(fractions)[:2] * len(rows)).astype(int)
        for part, piece in zip(parts, np.split(np.arange(len(rows)), cuts), strict=True):
            if not len(piece):
                raise ValueError(
                    f"class {class_names[int(rows['Label'].iloc[0])]!r} has "
                    f"{counted(len(rows), 'row')}, too few for fractions "
                    f"{list(fractions)}: every class needs a row in each split"
                )
            part.append(shuffled.iloc[piece])
    train, val, test = (pd.concat(part) for part in parts)
    return _shuffled(train, seed), _shuffled(val, seed), _shuffled(test, seed)


def _shuffled(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    return table.iloc[permutation(len(table), seed)].reset_index(drop=True)


def counted(number: int, noun: str) -> str:
    """Returns ``1 row`` or ``2 rows``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
