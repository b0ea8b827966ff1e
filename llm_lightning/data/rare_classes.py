"""Classes that are too small for every split to have one of their texts."""

from collections.abc import Mapping, Sequence

import pandas as pd

from llm_lightning.presentation.plurals import counted
from llm_lightning.run_format.files import SPLIT_LABEL

RARE = ("refuse", "drop", "merge")
OTHER = "other"
"""The class that rare classes are merged into."""


def without_rare(
    table: pd.DataFrame,
    class_names: Sequence[str],
    rows_before: Mapping[str, int],
    *,
    least: int,
    rare: str,
) -> tuple[pd.DataFrame, list[str], dict[str, int]]:
    """Treats classes with fewer rows than there are splits.

    Args:
        table: with the name of a class in the column ``Label``.
        class_names: all of them, in their order.
        rows_before: rows of each class before duplicates were dropped.
        least: number of rows that a class must have.
        rare: ``refuse``, ``drop`` or ``merge``.

    Returns:
        The table without them, or with their label ``OTHER``; the classes that remain, in order;
        and the rows of each rare class.

    Raises:
        ValueError: if classes are too small and ``rare`` is ``refuse``, or too few or too small
            ones remain; names all of them.
    """
    counts = {name: 0 for name in class_names} | table[SPLIT_LABEL].value_counts().to_dict()
    small = {name: counts[name] for name in class_names if counts[name] < least}
    if not small:
        return table, list(class_names), {}
    names = ", ".join(
        f"{name!r} ({_numbers(rows_before.get(name, 0), number)})" for name, number in small.items()
    )
    what = counted(len(small), "class", "classes") + f" of fewer than {least} rows: {names}"
    if rare == "refuse":
        raise ValueError(
            f"{what}; every split needs one of each class: add texts, or set data.rare=drop "
            f"(leaves these classes out) or data.rare=merge (makes them one class, {OTHER!r})"
        )
    is_small = table[SPLIT_LABEL].isin(list(small))
    kept = [name for name in class_names if name not in small]
    if rare == "drop":
        table = table[~is_small]
    else:
        table = table.assign(**{SPLIT_LABEL: table[SPLIT_LABEL].mask(is_small, OTHER)})
        kept += [OTHER] if OTHER not in kept else []
        if (merged := int((table[SPLIT_LABEL] == OTHER).sum())) < least:
            raise ValueError(
                f"{what}; together they have {counted(merged, 'row')}, too few for a class "
                f"{OTHER!r}: set data.rare=drop, or add texts"
            )
    if len(kept) < 2:
        raise ValueError(f"{what}; without them fewer than two classes remain: add texts")
    return table, kept, small


def _numbers(before: int, after: int) -> str:
    if before == after:
        return counted(after, "row")
    return f"{counted(before, 'row')}, {after:,} without duplicates"
