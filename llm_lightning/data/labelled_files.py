"""Labelled texts from a table: CSV, TSV, JSON Lines or Parquet.

Errors name file, column and row; rows count from 1, without the header.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llm_lightning.data.delimited import read_delimited, shortened
from llm_lightning.data.labels import label_text, spelling
from llm_lightning.data.table_format import Given, Reading
from llm_lightning.data.text_files import MAX_TEXT, existing_file, read_json_lines, read_parquet
from llm_lightning.presentation.plurals import counted
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_DETECTED = Given()


@dataclass(frozen=True, eq=False)
class LabelledFile:
    """The labelled texts of one file."""

    path: Path
    table: pd.DataFrame
    """A ``Label``, as it is written, and a ``Text`` a row of the file, in its order."""
    reading: Reading | None
    """How a CSV or TSV file was read."""
    notes: list[str] = field(default_factory=list)
    """What was filled or left out."""


def read_labelled(path: Path, *, text_column: str, label_column: str) -> pd.DataFrame:
    """Reads the labelled texts of a table, with labels as the classes are called.

    Args:
        path: see :func:`read_table`.
        text_column: name of the column with the texts.
        label_column: name of the column with the labels, strings or numbers.

    Returns:
        A ``Label`` (as text) and a ``Text`` a row of the file, in its order.

    Raises:
        ValueError: if a column is missing, a text or label is empty, or labels are ambiguous; names
            file and row.
    """
    table = read_labelled_file(path, text_column=text_column, label_column=label_column).table
    where = f"{path}, column {label_column!r}"
    names = spelling(table[SPLIT_LABEL].str.strip(), where, merge=True).name_of
    return table.assign(**{SPLIT_LABEL: table[SPLIT_LABEL].str.strip().map(dict(names))})


def read_labelled_file(
    path: Path, *, text_column: str, label_column: str, given: Given = _DETECTED
) -> LabelledFile:
    """Reads the labelled texts of a table, with labels as they are written.

    Args:
        path: see :func:`read_table`.
        text_column: name of the column with the texts.
        label_column: name of the column with the labels, strings or numbers.
        given: what is known of a CSV or TSV file.

    Raises:
        ValueError: if a column is missing, or a text or label is empty; names file and row.
    """
    raw, reading, notes = _read(path, given, (text_column, label_column), label_column)
    for key, column in (("text_column", text_column), ("label_column", label_column)):
        if column not in raw.columns:
            alike = [name for name in raw.columns if str(name).casefold() == column.casefold()]
            meant = f"; did you mean data.{key}={alike[0]}?" if alike else ""
            raise ValueError(
                f"{path} has no column {column!r} (data.{key}); it has "
                f"{', '.join(shortened(str(name)) for name in raw.columns)}{meant}"
            )
    if raw.empty:
        raise ValueError(f"{path} has a header but no rows")
    if (lists := raw[label_column].map(_is_list)).any():
        raise ValueError(
            f"{path}, column {label_column!r}, row {int(lists.to_numpy().argmax()) + 1}: a list of "
            f"labels ({counted(int(lists.sum()), 'such row')}); a text has one label here: train "
            f"one run a label, each with a column that says whether a text has it"
        )
    # As objects: pandas' own texts cannot hold the half of a character.
    texts = raw[text_column].astype(object)
    labels = pd.Series([label_text(label) for label in raw[label_column]], dtype=object)
    _check_cells(path, text_column, texts, label_column, labels)
    # As lists, so that pandas finds the type of texts, whatever the file's was.
    table = pd.DataFrame({SPLIT_LABEL: labels.tolist(), SPLIT_TEXT: texts.tolist()})
    return LabelledFile(path, table, reading, notes)


def read_table(path: Path) -> pd.DataFrame:
    """Reads a table, in the format given by the file's extension.

    CSV and TSV cells stay strings: the text ``NA`` is not a missing value, the label ``01`` is not
    ``1``. Double quotes delimit cells in CSV, also across lines; in TSV they are ordinary
    characters; unless the file shows that it was written in another way.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson`` or ``.parquet`` file.

    Returns:
        All columns of the file.

    Raises:
        ValueError: if the file is missing, empty, not text or not in the format of its extension.
    """
    return _read(path, _DETECTED, (), None)[0]


def _read(
    path: Path, given: Given, wanted: tuple[str, ...], label: str | None
) -> tuple[pd.DataFrame, Reading | None, list[str]]:
    path = existing_file(str(path), "data=table")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{path}: the extension must be .csv, .tsv, .jsonl, .ndjson or .parquet, "
            f"got {path.suffix!r}"
        )
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    if suffix == ".parquet":
        return read_parquet(path), None, []
    if suffix in (".jsonl", ".ndjson"):
        return _read_objects(path), None, []
    return read_delimited(path, given, wanted=wanted, label=label)


def _read_objects(path: Path) -> pd.DataFrame:
    records = []
    for number, record in read_json_lines(path):
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number} must be a JSON object, got {record!r:.60}")
        records.append(record)
    # As objects: pandas would turn 1 and 1.0 into the same number, and refuses half characters.
    return pd.DataFrame(records, dtype=object)


def _check_cells(
    path: Path, text_column: str, texts: pd.Series, label_column: str, labels: pd.Series
) -> None:
    for column, bad, what in (
        (text_column, ~texts.map(_is_text), "not a text"),
        (text_column, texts.map(_is_blank), "an empty text"),
        (label_column, labels.isna(), "no label (a string or a number)"),
        (text_column, texts.map(_has_half_character), _HALF),
        (label_column, labels.map(_has_half_character), _HALF),
        (
            text_column,
            texts.map(_is_endless),
            f"a text of more than {MAX_TEXT:,} characters, which is longer than any book: split it",
        ),
    ):
        if bad.any():
            raise ValueError(
                f"{path}, column {column!r}, row {int(bad.to_numpy().argmax()) + 1}: {what} "
                f"({counted(int(bad.sum()), 'such row')})"
            )


_HALF = (
    "half of a character (an unpaired surrogate such as \\ud83d), which is no text: it was cut "
    "there; remove it"
)


def _is_list(label: Any) -> bool:
    return isinstance(label, list | tuple | set | np.ndarray)


def _is_text(text: Any) -> bool:
    return isinstance(text, str)


def _is_blank(text: Any) -> bool:
    return isinstance(text, str) and not text.strip()


def _is_endless(text: Any) -> bool:
    return isinstance(text, str) and len(text) > MAX_TEXT


def _has_half_character(text: Any) -> bool:
    if not isinstance(text, str) or text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
