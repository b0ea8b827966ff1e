"""Texts that people paste or upload, and predictions as a file for them to take away."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from llm_lightning.run_format.files import probability
from llm_lightning.runs.audited_texts import read_unlabeled
from llm_lightning.runs.prediction import Prediction

MOST_TEXTS = 10_000
"""In one go: more belong on the command line."""


def pasted_texts(pasted: str) -> list[str]:
    """Returns one text a line; empty lines are no texts.

    Raises:
        ValueError: if there is none, or there are too many.
    """
    lines = pasted.replace("\r\n", "\n").split("\n")
    return _checked([line for line in lines if line.strip()], "the box")


def uploaded_texts(file: Path, column: str) -> list[str]:
    """Reads the texts of a table, or of a file with one a line.

    Args:
        file: ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, or any other name for lines.
        column: of a table.

    Raises:
        ValueError: if it cannot be read, has no such column or no text, or has too many.
    """
    try:
        texts = read_unlabeled(file, column)
    except ValueError as error:
        # Only its name says something to whoever uploaded it.
        message = str(error).removeprefix("--unlabeled: ").replace(str(file), file.name)
        raise ValueError(message.replace(" (--text-column)", ": name the right one")) from error
    return _checked(texts, file.name)


def predictions_table(predictions: Sequence[Prediction]) -> pd.DataFrame:
    """Returns a row a text, with the columns of :meth:`llm_lightning.runs.handle.Run.predict`."""
    rows = []
    for one in predictions:
        fields = one.fields()
        by_class, raw = fields.pop("probabilities"), fields.pop("raw_probabilities", {})
        fields |= {probability(name): value for name, value in by_class.items()}
        rows.append(fields | {f"raw_{probability(name)}": p for name, p in raw.items()})
    return pd.DataFrame(rows)


def _checked(texts: list[str], where: str) -> list[str]:
    if not texts:
        raise ValueError(f"there is no text in {where}")
    if len(texts) > MOST_TEXTS:
        raise ValueError(
            f"{where} has {len(texts):,} texts, more than {MOST_TEXTS:,}: use "
            f"`python -m llm_lightning predict`, which has no limit"
        )
    return texts
