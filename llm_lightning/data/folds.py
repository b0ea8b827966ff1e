"""K-fold cross-validation: every row is tested in exactly one of k runs.

Rows with equal texts stay together, so that no text is tested by a model that was trained on it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from llm_lightning.data.splits import ThreeTables, permutation, text_key
from llm_lightning.presentation.plurals import counted
from llm_lightning.run_format.files import SPLIT_LABEL
from llm_lightning.run_format.splits import SPLITS


def check_folds(folds: int | None, fold: int | None) -> None:
    """Checks the settings of cross-validation.

    Args:
        folds: number of folds; ``None`` for a single split.
        fold: the one that is tested, from 0.

    Raises:
        ValueError: if they are out of range or contradict each other.
    """
    if folds is None:
        if fold is not None:
            raise ValueError(f"data.fold={fold} needs data.folds, the number of folds")
        return
    if folds < 2:
        raise ValueError(f"data.folds must be at least 2, got {folds}")
    if fold is None or not 0 <= fold < folds:
        raise ValueError(
            f"data.folds={folds} needs data.fold between 0 and {folds - 1}, got {fold}; "
            f"-m +sweep=cross_validation runs them all"
        )


def split_fold(
    table: pd.DataFrame, folds: int, fold: int, val: float, seed: int, class_names: Sequence[str]
) -> ThreeTables:
    """Tests one fold; trains and validates on the others.

    Folds have the classes in proportion, and so has validation, which is taken from the training
    folds. The folds depend on ``seed`` alone, validation on ``fold`` too.

    Args:
        table: with the columns ``Label`` and ``Text``.
        folds: number of folds.
        fold: the one to test, from 0.
        val: share of the training folds for validation, between 0 and 1.
        seed: determines which rows go where, and their order.
        class_names: name of each class index, for the error.

    Returns:
        Training, validation and test rows, each with a new index.

    Raises:
        ValueError: if classes have too few texts to be in every split; names all of them.
    """
    is_tested = _deal(table, np.full(folds, 1 / folds), seed) == fold
    rest, test = table[~is_tested], table[is_tested]
    is_validation = _deal(rest, np.array([1 - val, val]), seed) == 1
    parts = (rest[~is_validation], rest[is_validation], test)
    lacking = {
        label: name
        for name, part in zip(SPLITS, parts, strict=True)
        for label in sorted(set(table[SPLIT_LABEL]) - set(part[SPLIT_LABEL]))
    }
    if lacking:
        small = "; ".join(
            f"class {class_names[label]!r} has "
            f"{counted(int((table[SPLIT_LABEL] == label).sum()), 'row')}, none of them in {name}"
            for label, name in sorted(lacking.items())
        )
        raise ValueError(f"too few rows for data.folds={folds}, fold {fold}: {small}")
    train_rows, val_rows, test_rows = (
        part.iloc[permutation(len(part), seed)].reset_index(drop=True) for part in parts
    )
    return train_rows, val_rows, test_rows


def _deal(table: pd.DataFrame, shares: np.ndarray, seed: int) -> np.ndarray:
    """Deals the groups of equal texts out to parts, class by class, in random order.

    A group goes to the part that lacks most of its share of the class, and of what lack as much to
    the one that lacks most of all classes together.

    Returns:
        (len(table),) the part of each row.
    """
    groups = text_key(table).groupby(text_key(table), sort=False).ngroup().to_numpy()
    sizes = np.bincount(groups)
    # The first of a group's rows stands for it, should its labels differ.
    labels = table[SPLIT_LABEL].groupby(groups).first().to_numpy()
    part_of = np.empty(len(sizes), dtype=int)
    lacks_of_all = shares * len(table)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        lacks = shares * sizes[own].sum()
        for group in own[permutation(len(own), seed)]:
            # Rounded: what is equal must not be decided by the last bit.
            best = np.lexsort((-lacks_of_all.round(6), -lacks.round(6)))[0]
            part_of[group] = best
            lacks[best] -= sizes[group]
            lacks_of_all[best] -= sizes[group]
    return part_of[groups]
