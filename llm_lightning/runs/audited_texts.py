"""The labelled texts that an audit is about: of a run's folder, or of a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_lightning.data.labelled_files import read_labelled, read_table
from llm_lightning.data.spam import CLASS_NAMES, find_collection, read_collection
from llm_lightning.data.text_files import read_text
from llm_lightning.reporting.read.run_tables import read_split
from llm_lightning.run_format import files
from llm_lightning.run_format.audit_files import ALL, LABEL, ROW, SPLIT, TEXT
from llm_lightning.run_format.splits import SPLITS
from llm_lightning.run_format.summary import read_summary

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True, eq=False)
class AuditedTexts:
    """Labelled texts, and where each of them is."""

    source: str
    """For people."""
    table: pd.DataFrame
    """Columns ``split``, ``row`` (from 1), ``label`` (class name) and ``text``."""
    class_names: list[str]
    run: Path | None
    """The folder of the run whose splits they are."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, shape (N,)."""
        index = {name: position for position, name in enumerate(self.class_names)}
        return np.array([index[name] for name in self.table[LABEL]], dtype=np.int64)


def read_audited(path: Path, *, text_column: str, label_column: str) -> AuditedTexts:
    """Reads the splits of a run, a table, or the SMS Spam Collection.

    Args:
        path: a run's folder; a CSV, TSV, JSON Lines or Parquet file; or the collection.
        text_column: of a table.
        label_column: of a table.

    Raises:
        ValueError: if it is none of these, or cannot be read.
    """
    if path.is_dir() and not (path / files.SUMMARY).is_file() and not _is_collection(path):
        read_summary(path)  # says what is wrong with the folder, and which runs are inside
    if (path / files.SUMMARY).is_file():
        return _of_run(path)
    if path.suffix.lower() in _TABLES:
        found = read_labelled(path, text_column=text_column, label_column=label_column)
        names = sorted(set(found[files.SPLIT_LABEL]))
        return AuditedTexts(str(path), _numbered(found, ALL), names, None)
    if not path.exists():
        raise ValueError(f"{path} does not exist: give a run folder or a file of labelled texts")
    # Without quoting: every line is one message.
    found = read_collection(find_collection(path), quoting=False)
    found[files.SPLIT_LABEL] = [CLASS_NAMES[label] for label in found[files.SPLIT_LABEL]]
    return AuditedTexts(str(path), _numbered(found, ALL), CLASS_NAMES, None)


def read_unlabeled(file: Path, text_column: str) -> list[str]:
    """Reads texts without labels: of a table, or of a file with one a line.

    Raises:
        ValueError: if the file cannot be read, or the table has no such column.
    """
    if not file.is_file():
        raise ValueError(f"--unlabeled: {file} does not exist or is not a file")
    if file.suffix.lower() not in _TABLES:
        return read_text(file).removesuffix("\n").split("\n")
    table = read_table(file)
    if text_column not in table:
        raise ValueError(f"--unlabeled: {file} has no column {text_column!r} (--text-column)")
    return [str(text) for text in table[text_column]]


def _of_run(folder: Path) -> AuditedTexts:
    summary = read_summary(folder)
    if summary.kind != "classification" or summary.class_names is None:
        raise ValueError(
            f"{folder} holds a run of kind {summary.kind}: only classifiers have labels"
        )
    names, parts = summary.class_names, []
    for split in SPLITS:
        try:
            found = read_split(folder, split, len(names))
        # pandas' errors of an empty or torn file name no file.
        except (OSError, KeyError, ValueError) as error:
            lines = str(error).splitlines() or [""]
            raise ValueError(
                f"{folder} has no readable {split} split: {lines[0]}; train the run again"
            ) from error
        found[files.SPLIT_LABEL] = [names[label] for label in found[files.SPLIT_LABEL]]
        parts.append(_numbered(found, split))
    return AuditedTexts(str(folder), pd.concat(parts, ignore_index=True), names, folder)


def _numbered(found: pd.DataFrame, split: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            SPLIT: split,
            ROW: np.arange(1, len(found) + 1),
            LABEL: found[files.SPLIT_LABEL].to_numpy(),
            TEXT: found[files.SPLIT_TEXT].to_numpy(),
        }
    )


def _is_collection(folder: Path) -> bool:
    try:
        find_collection(folder)
    except ValueError:
        return False
    return True
