"""What a user's table holds, as far as a configuration for it must know."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_lightning.backbone.tokenizer import encode
from llm_lightning.data.labelled_files import read_labelled, read_table
from llm_lightning.data.one_label_a_text import refuse_other_tasks
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT

_MOST_CLASSES = 100
_SAMPLED = 2000
"""Texts whose tokens are counted."""


@dataclass(frozen=True)
class TableProfile:
    """The columns, classes and lengths of a table of labelled texts."""

    path: Path
    columns: list[str]
    text_column: str
    label_column: str
    class_counts: dict[str, int]
    """The most frequent first."""
    repeated: int
    """Rows whose text occurs before, surrounding white space aside."""
    tokens: dict[int, int]
    """GPT-2 tokens of a text at the 50th, 95th and 100th percentile."""
    sampled: int
    """Texts whose tokens were counted."""

    @property
    def num_texts(self) -> int:
        """Rows of the table."""
        return sum(self.class_counts.values())

    @property
    def imbalance(self) -> float:
        """Texts of the most frequent class for each of the rarest."""
        counts = list(self.class_counts.values())
        return counts[0] / counts[-1]


def profile(path: Path, text_column: str | None, label_column: str | None) -> TableProfile:
    """Looks at a table.

    Args:
        path: see :func:`~llm_lightning.data.labelled_files.read_table`.
        text_column: with the texts; ``None``: the one with the longest.
        label_column: with the labels; ``None``: the only other one that repeats few values.

    Raises:
        ValueError: if the file cannot be read, which columns are meant is not clear, or the labels
            are no classes.
    """
    table = read_table(path)
    columns = [str(column) for column in table.columns]
    if table.empty:
        raise ValueError(f"{path} has a header but no rows")
    for option, column in (("--text-column", text_column), ("--label-column", label_column)):
        if column is not None and column not in columns:
            raise ValueError(f"{option}: {path} has no column {column!r}; it has {columns}")
    if len(columns) < 2:
        raise ValueError(f"{path} has one column, {columns[0]!r}: texts and labels need two")
    if text_column is None:
        others = [column for column in columns if column != label_column]
        lengths = {column: table[column].map(str).str.len().mean() for column in others}
        text_column = max(others, key=lambda column: lengths[column])
    if label_column is None:
        few = [
            column
            for column in columns
            if column != text_column
            and 2 <= table[column].map(str).nunique() <= min(_MOST_CLASSES, len(table) // 3)
        ]
        if len(few) != 1:
            found = f"{' and '.join(map(repr, few))} could be" if few else "no other column can be"
            raise ValueError(
                f"{path}: with the texts in {text_column!r}, {found} the labels: name them with "
                f"--label-column"
            )
        label_column = few[0]
    labelled = read_labelled(path, text_column=text_column, label_column=label_column)
    texts = labelled[SPLIT_TEXT].str.strip()
    counts = Counter(labelled[SPLIT_LABEL])
    if len(counts) < 2:
        raise ValueError(
            f"{path}, column {label_column!r}: a single class; a classifier needs at least two"
        )
    refuse_other_tasks(counts, f"{path}, column {label_column!r}")
    step = -(-len(texts) // _SAMPLED)
    lengths_of = [len(encode(text)) for text in texts.iloc[::step]]
    at = {share: int(np.percentile(lengths_of, share)) for share in (50, 95, 100)}
    return TableProfile(
        path=path,
        columns=columns,
        text_column=text_column,
        label_column=label_column,
        class_counts=dict(counts.most_common()),
        repeated=int(texts.duplicated().sum()),
        tokens=at,
        sampled=len(lengths_of),
    )
