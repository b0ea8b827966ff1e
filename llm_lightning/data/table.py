"""Your own data: any table with a text column and a label column.

Either one file, which is split here, or three files that are split already. Errors name file,
column and row; rows count from 1, without the header.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llm_lightning.data.classification import ClassificationData
from llm_lightning.data.labelled_files import LabelledFile, read_labelled_file
from llm_lightning.data.labels import Spelling, in_order, listed, spelling
from llm_lightning.data.one_label_a_text import note_on_numbers, refuse_other_tasks
from llm_lightning.data.rare_classes import OTHER, RARE, without_rare
from llm_lightning.data.splits import Splits, text_key
from llm_lightning.data.table_format import TableFormat
from llm_lightning.data.text_files import existing_file
from llm_lightning.presentation.plurals import counted
from llm_lightning.run_format.files import SPLIT_LABEL
from llm_lightning.run_format.splits import SPLITS

CONTRADICTIONS = ("refuse", "drop")


@dataclass(eq=False)
class Table(TableFormat, ClassificationData):
    """Texts and labels from CSV, TSV, JSON Lines or Parquet, with two or more classes.

    ``balance=undersample`` applies to the training split only: validation and test keep the
    natural class frequencies.

    Raises:
        ValueError: if fields are out of range or contradict each other.
    """

    _target_: str = "llm_lightning.data.table.Table"
    path: str | None = None
    """One file, to be split by ``fractions``; leave it out to give the three files below."""
    train_path: str | None = None
    """Training file."""
    val_path: str | None = None
    """Validation file."""
    test_path: str | None = None
    """Test file."""
    text_column: str = "text"
    """Name of the column with the texts."""
    label_column: str = "label"
    """Name of the column with the labels, which are strings or numbers."""
    class_names: list[str] | None = None
    """All labels in the order of their class index; by default sorted, numbers by value and words
    without regard to case. Of two classes the second is the positive one, for which precision and
    recall are computed."""
    merge_labels: bool | None = None
    """Whether labels that differ only in case, blanks, Unicode form or as a number is written
    (``1`` and ``1.0``) are one class, under its most frequent spelling; if false, they are
    different classes; if null, they are refused. If false, or with ``class_names``, cells that look
    like several labels, or like a quantity, are taken as classes too."""
    fractions: list[float] = field(default_factory=lambda: [0.7, 0.1, 0.2])
    """Shares of training, validation and test in ``path``; they sum to 1."""
    deduplicate: bool = True
    """Whether to keep only the first of equal texts in ``path``, so that no text is in two splits.
    Surrounding white space is ignored. Three files are never deduplicated."""
    contradictions: str = "refuse"
    """What happens to equal texts with different labels in ``path``: ``refuse`` them, or ``drop``
    every row of such a text. Only with ``deduplicate``."""
    rare: str = "refuse"
    """What happens to classes of ``path`` with fewer texts than there are splits: ``refuse`` them,
    ``drop`` their rows, or ``merge`` them into one class, ``other``."""

    def __post_init__(self) -> None:
        """Checks ranges; touches neither network nor disk."""
        super().__post_init__()
        three = self._three_paths
        if (self.path is None) == (None in three) or (self.path is not None and any(three)):
            raise ValueError(
                "data=table needs either data.path or all of data.train_path, data.val_path and "
                f"data.test_path, got path={self.path}, train_path={self.train_path}, "
                f"val_path={self.val_path}, test_path={self.test_path}"
            )
        if self.folds is not None and self.path is None:
            raise ValueError("data.folds needs data.path: three files are split already")
        if (
            len(self.fractions) != 3
            or not min(self.fractions) > 0
            or not abs(sum(self.fractions) - 1) <= 1e-6
        ):
            raise ValueError(
                f"data.fractions must be three positive numbers that sum to 1, "
                f"got {list(self.fractions)}"
            )
        for key, choices in (("contradictions", CONTRADICTIONS), ("rare", RARE)):
            if getattr(self, key) not in choices:
                raise ValueError(
                    f"data.{key} must be one of {', '.join(choices)}, got {getattr(self, key)!r}"
                )
            if getattr(self, key) != "refuse" and self.path is None:
                raise ValueError(f"data.{key} needs data.path: three files are taken as they are")
        if self.contradictions == "drop" and not self.deduplicate:
            raise ValueError("data.contradictions=drop needs data.deduplicate=true")
        self._given = self.given_format()
        self._files: list[LabelledFile] = []
        self._spelling = Spelling({})
        self._rare: dict[str, int] = {}

    @property
    def _three_paths(self) -> tuple[str | None, str | None, str | None]:
        return self.train_path, self.val_path, self.test_path

    @property
    def source(self) -> str:
        """The file or files."""
        return self.path or ", ".join(str(path) for path in self._three_paths)

    def prepare_data(self) -> None:
        """Checks that the files exist, before a model is downloaded.

        Raises:
            ValueError: if one does not exist.
        """
        for name in (self.path, *self._three_paths):
            if name is not None:
                existing_file(name, "data=table")

    def read(self) -> Splits:
        """Reads one file and splits it, or reads three files.

        Raises:
            ValueError: if a file cannot be read or used; names file, column and row.
        """
        names = [self.path] if self.path is not None else self._three_paths
        self._files = [
            read_labelled_file(
                Path(str(name)).expanduser(),
                text_column=self.text_column,
                label_column=self.label_column,
                given=self._given,
            )
            for name in names
        ]
        self._name_classes()
        splits = self._split_one(self._files[0]) if self.path is not None else self._three()
        if self.balance == "undersample":
            splits.train = self._undersampled(splits.train)
        return splits

    def _name_classes(self) -> None:
        """Replaces labels by the names of their classes."""
        where = ", ".join(str(file.path) for file in self._files)
        where = f"{where}, column {self.label_column!r}"
        labels = [label for file in self._files for label in file.table[SPLIT_LABEL]]
        if self.merge_labels is not False and self.class_names is None:
            refuse_other_tasks(Counter(labels), where)
        self._spelling = spelling(labels, where, merge=self.merge_labels)
        for file in self._files:
            file.table[SPLIT_LABEL] = file.table[SPLIT_LABEL].map(dict(self._spelling.name_of))

    def _split_one(self, file: LabelledFile) -> Splits:
        table, path = file.table, file.path
        class_names = self._class_names(table, path)
        self._check_known(file, class_names)
        rows_before = Counter(table[SPLIT_LABEL])
        if self.deduplicate:
            table = self._without_contradictions(table, path)
            table = self._without_duplicates(table)
        try:
            table, class_names, self._rare = without_rare(
                table,
                class_names,
                rows_before,
                least=max(len(SPLITS), self.folds or 0),
                rare=self.rare,
            )
            if self.rare == "drop":
                self._num_dropped["rare"] = sum(self._rare.values())
            table = table.assign(**{SPLIT_LABEL: _to_index(table[SPLIT_LABEL], class_names)})
            parts = self._split_stratified(table, self.fractions, class_names)
            return Splits(*parts, class_names)
        except ValueError as error:
            raise ValueError(f"{path}, column {self.label_column!r}: {error}") from error

    def _without_contradictions(self, table: pd.DataFrame, path: Path) -> pd.DataFrame:
        keys = text_key(table)
        contradicts = (
            table[SPLIT_LABEL] != table[SPLIT_LABEL].groupby(keys).transform("first")
        ).to_numpy()
        if not contradicts.any():
            return table
        if self.contradictions == "drop":
            is_contradictory = keys.isin(set(keys[contradicts]))
            self._num_dropped["contradictions"] = int(is_contradictory.sum())
            return table[~is_contradictory]
        row = int(contradicts.argmax())
        first = int((keys == keys.iloc[row]).to_numpy().argmax())
        raise ValueError(
            f"{path}, column {self.text_column!r}, rows {first + 1} and {row + 1}: the same text "
            f"is labelled {table[SPLIT_LABEL].iloc[first]!r} and {table[SPLIT_LABEL].iloc[row]!r} "
            f"({counted(keys[contradicts].nunique(), 'such text')}); correct the labels, leave "
            f"such texts out with data.contradictions=drop, or keep every row with "
            f"data.deduplicate=false"
        )

    def _three(self) -> Splits:
        class_names = self._class_names(self._files[0].table, self._files[0].path)
        for file in self._files:
            self._check_known(file, class_names)
            file.table[SPLIT_LABEL] = _to_index(file.table[SPLIT_LABEL], class_names)
        train, val, test = (file.table for file in self._files)
        return Splits(train, val, test, class_names)

    def _class_names(self, train: pd.DataFrame, path: Path) -> list[str]:
        counts = Counter(train[SPLIT_LABEL])
        if len(counts) < 2:
            raise ValueError(
                f"{path}, column {self.label_column!r}: a single class, {next(iter(counts))!r}; "
                f"a classifier needs at least two"
            )
        if self.class_names is None:
            return in_order(counts)
        found = {name: self._spelling.class_name(name) for name in self.class_names}
        if unused := [name for name, known in found.items() if known not in counts]:
            own = in_order(counts)
            shown = ",".join(f'"{name}"' for name in own) if len(own) <= 20 else '"...","..."'
            raise ValueError(
                f"data.class_names: {path} has no rows labelled {sorted(unused)}; its labels are "
                f"{listed(own, counts)}: write 'data.class_names=[{shown}]'"
            )
        names = [str(name) for name in found.values()]
        if len(set(names)) < len(self.class_names):
            raise ValueError(f"data.class_names: a class occurs twice in {self.class_names}")
        return names

    def _check_known(self, file: LabelledFile, class_names: list[str]) -> None:
        labels = file.table[SPLIT_LABEL]
        unknown = ~labels.isin(class_names)
        if unknown.any():
            row = int(unknown.to_numpy().argmax())
            raise ValueError(
                f"{file.path}, column {self.label_column!r}, row {row + 1}: the label "
                f"{labels.iloc[row]!r} is not one of the training labels {class_names} "
                f"({counted(int(unknown.sum()), 'such row')})"
            )

    def facts(self) -> dict[str, Any]:
        """Adds how files and labels were read, and what was dropped or merged."""
        return super().facts() | {
            "files": {str(file.path): file.reading.facts() for file in self._files if file.reading},
            "labels_merged": dict(self._spelling.merged),
            "rare_classes": {"treatment": self.rare, "rows": self._rare} if self._rare else None,
            "notes": self._notes(),
        }

    def describe(self) -> list[str]:
        """Adds how files and labels were read, and the positive class."""
        readings: dict[str, list[str]] = {}
        for file in self._files:
            if file.reading is not None:
                readings.setdefault(file.reading.describe(), []).append(file.path.name)
        lines = [
            f"read as: {reading}" + (f" ({', '.join(names)})" if len(readings) > 1 else "")
            for reading, names in readings.items()
        ]
        lines += self._notes()
        if len(names := self.splits.class_names) == 2:
            lines.append(f"positive class: {names[1]}")
        return [*super().describe(), *lines]

    def _notes(self) -> list[str]:
        notes = [f"{file.path.name}: {note}" for file in self._files for note in file.notes]
        notes += self._spelling.notes
        if self.class_names is None:
            notes += note_on_numbers(self._spelling.name_of.values())
        if self._rare and self.rare == "merge":
            names = ", ".join(f"{name} ({number:,})" for name, number in self._rare.items())
            notes.append(
                f"{counted(len(self._rare), 'rare class', 'rare classes')} merged into "
                f"{OTHER!r}: {names}"
            )
        return notes


def _to_index(labels: pd.Series, class_names: list[str]) -> pd.Series:
    index = {name: position for position, name in enumerate(class_names)}
    return labels.map(index).astype(np.int64)
