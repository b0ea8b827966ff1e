"""Your own data: any table with a text column and a label column.

Either one file, which is split here, or three files that are split already. Errors name file,
column and row; rows count from 1, without the header.
"""

import csv
import numbers
import warnings
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llm_lightning.data.classification import ClassificationData
from llm_lightning.data.splits import Splits, text_key
from llm_lightning.data.text_files import read_json_lines, read_parquet, read_text
from llm_lightning.presentation.plurals import counted
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT


@dataclass(eq=False)
class Table(ClassificationData):
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
    """All labels in the order of their class index; by default sorted. Of two classes the second
    is the positive one, for which precision and recall are computed."""
    fractions: list[float] = field(default_factory=lambda: [0.7, 0.1, 0.2])
    """Shares of training, validation and test in ``path``; they sum to 1."""
    deduplicate: bool = True
    """Whether to keep only the first of equal texts in ``path``, so that no text is in two splits.
    Surrounding white space is ignored, and equal texts with different labels are an error. Three
    files are never deduplicated."""

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
            or min(self.fractions) <= 0
            or abs(sum(self.fractions) - 1) > 1e-6
        ):
            raise ValueError(
                f"data.fractions must be three positive numbers that sum to 1, "
                f"got {list(self.fractions)}"
            )

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
            if name is not None and not Path(name).expanduser().is_file():
                raise ValueError(f"data=table: {name} does not exist or is not a file")

    def read(self) -> Splits:
        """Reads one file and splits it, or reads three files.

        Raises:
            ValueError: if a file cannot be read or used; names file, column and row.
        """
        if self.path is not None:
            splits = self._read_one(Path(self.path).expanduser())
        else:
            splits = self._read_three()
        if self.balance == "undersample":
            splits.train = self._undersampled(splits.train)
        return splits

    def _read_one(self, path: Path) -> Splits:
        table = self._read_file(path)
        class_names = self._class_names(table, path)
        if self.deduplicate:
            self._check_labels_agree(table, path)
        table[SPLIT_LABEL] = _to_index(table[SPLIT_LABEL], class_names, path, self.label_column)
        if self.deduplicate:
            table = self._without_duplicates(table)
        try:
            parts = self._split_stratified(table, self.fractions, class_names)
            return Splits(*parts, class_names)
        except ValueError as error:
            raise ValueError(f"{path}, column {self.label_column!r}: {error}") from error

    def _check_labels_agree(self, table: pd.DataFrame, path: Path) -> None:
        keys = text_key(table)
        contradicts = (
            table[SPLIT_LABEL] != table[SPLIT_LABEL].groupby(keys).transform("first")
        ).to_numpy()
        if not contradicts.any():
            return
        row = int(contradicts.argmax())
        first = int((keys == keys.iloc[row]).to_numpy().argmax())
        raise ValueError(
            f"{path}, column {self.text_column!r}, rows {first + 1} and {row + 1}: the same text "
            f"is labelled {table[SPLIT_LABEL].iloc[first]!r} and {table[SPLIT_LABEL].iloc[row]!r} "
            f"({counted(keys[contradicts].nunique(), 'such text')}); correct the labels, or keep "
            f"every row with data.deduplicate=false"
        )

    def _read_three(self) -> Splits:
        paths = [Path(str(path)).expanduser() for path in self._three_paths]
        train, val, test = (self._read_file(path) for path in paths)
        class_names = self._class_names(train, paths[0])
        for table, path in zip((train, val, test), paths, strict=True):
            table[SPLIT_LABEL] = _to_index(table[SPLIT_LABEL], class_names, path, self.label_column)
        return Splits(train, val, test, class_names)

    def _read_file(self, path: Path) -> pd.DataFrame:
        return read_labelled(path, text_column=self.text_column, label_column=self.label_column)

    def _class_names(self, train: pd.DataFrame, path: Path) -> list[str]:
        present = set(train[SPLIT_LABEL])
        if len(present) < 2:
            raise ValueError(
                f"{path}, column {self.label_column!r}: a single class, {present.pop()!r}; "
                f"a classifier needs at least two"
            )
        if self.class_names is None:
            if all(name.removeprefix("-").isdecimal() for name in present):
                return sorted(present, key=lambda name: (int(name), name))  # int("01") == int("1")
            return sorted(present)
        if unused := set(self.class_names) - present:
            raise ValueError(f"data.class_names: {path} has no rows labelled {sorted(unused)}")
        return list(self.class_names)


def read_labelled(path: Path, *, text_column: str, label_column: str) -> pd.DataFrame:
    """Reads the labelled texts of a table.

    Args:
        path: see :func:`read_table`.
        text_column: name of the column with the texts.
        label_column: name of the column with the labels, strings or numbers.

    Returns:
        A ``Label`` (as text) and a ``Text`` a row of the file, in its order.

    Raises:
        ValueError: if a column is missing, or a text or label is empty; names file and row.
    """
    raw = read_table(path)
    for key, column in (("text_column", text_column), ("label_column", label_column)):
        if column not in raw.columns:
            raise ValueError(
                f"{path} has no column {column!r} (data.{key}); it has "
                f"{', '.join(map(repr, raw.columns))}"
            )
    if raw.empty:
        raise ValueError(f"{path} has a header but no rows")
    texts, labels = raw[text_column], raw[label_column].map(_label)
    for column, bad, what in (
        (text_column, ~texts.map(lambda text: isinstance(text, str)), "not a text"),
        (text_column, texts.map(str).str.strip() == "", "an empty text"),
        (label_column, labels.isna(), "no label (a string or a number)"),
    ):
        if bad.any():
            raise ValueError(
                f"{path}, column {column!r}, row {int(bad.to_numpy().argmax()) + 1}: {what} "
                f"({counted(int(bad.sum()), 'such row')})"
            )
    return pd.DataFrame({SPLIT_LABEL: labels, SPLIT_TEXT: texts}).reset_index(drop=True)


def read_table(path: Path) -> pd.DataFrame:
    """Reads a table, in the format given by the file's extension.

    CSV and TSV cells stay strings: the text ``NA`` is not a missing value, the label ``01`` is not
    ``1``. Double quotes delimit cells in CSV, also across lines; in TSV they are ordinary
    characters.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson`` or ``.parquet`` file.

    Returns:
        All columns of the file.

    Raises:
        ValueError: if the file is missing, empty, not UTF-8 or not in the format of its extension.
    """
    if not path.is_file():
        raise ValueError(f"data=table: {path} does not exist or is not a file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix in (".jsonl", ".ndjson"):
        return _read_objects(path)
    if suffix not in (".csv", ".tsv"):
        raise ValueError(
            f"{path}: the extension must be .csv, .tsv, .jsonl, .ndjson or .parquet, "
            f"got {path.suffix!r}"
        )
    read_text(path)  # pandas' own error about invalid UTF-8 names neither byte nor line
    try:
        with warnings.catch_warnings():
            # With index_col=False pandas only warns of rows longer than the header; without it, it
            # would silently use the first cell of such rows as the index.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                sep="\t" if suffix == ".tsv" else ",",
                # TSV has no quoting: with it, two stray quotes would merge all rows between them.
                quoting=csv.QUOTE_NONE if suffix == ".tsv" else csv.QUOTE_MINIMAL,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                index_col=False,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} is not a readable table: {error}") from error


def _read_objects(path: Path) -> pd.DataFrame:
    records = []
    for number, record in read_json_lines(path):
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number} must be a JSON object, got {record!r:.60}")
        records.append(record)
    return pd.DataFrame(records)


def _label(value: Any) -> str | None:
    """The label as text, equal for all file formats; ``None`` if neither text nor number."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, numbers.Integral):
        return str(int(value))  # not through float, which is exact only up to 2**53
    if not isinstance(value, float | np.floating | Decimal) or value != value:
        return None  # null, NaN, lists, dates
    # pandas turns a column with both 4 and 4.5 into floats; the 4 is still the label "4".
    return str(int(value)) if float(value).is_integer() else str(value)


def _to_index(labels: pd.Series, class_names: list[str], path: Path, column: str) -> pd.Series:
    index = labels.map({name: position for position, name in enumerate(class_names)})
    if index.isna().any():
        row = int(index.isna().to_numpy().argmax())
        raise ValueError(
            f"{path}, column {column!r}, row {row + 1}: the label {labels.iloc[row]!r} is not one "
            f"of the training labels {class_names}"
        )
    return index.astype(int)
