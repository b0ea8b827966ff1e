"""Texts that are equal but for case, white space and compatible characters."""

import unicodedata

import pandas as pd

from llm_lightning.run_format.audit_files import GROUP, LABEL, TEXT


def normalized(text: str) -> str:
    """A text in Unicode's form NFKC, without case, with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def conflicting_labels(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose text also occurs with another label.

    Args:
        table: with columns ``label`` and ``text`` among others.

    Returns:
        These rows, with the number of their group of equal texts, from 1, in front.
    """
    keys = table[TEXT].map(normalized)
    is_conflict = table[LABEL].groupby(keys).transform("nunique") > 1
    rows = table[is_conflict]
    groups = pd.Series(pd.factorize(keys[is_conflict])[0] + 1, index=rows.index, dtype=int)
    found = rows.copy()
    found.insert(0, GROUP, groups)
    return found.sort_values(GROUP, kind="stable")
