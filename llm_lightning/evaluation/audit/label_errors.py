"""Labels that are probably wrong, by confident learning (Northcutt et al. 2021).

A label is suspicious if a model that did not learn from it finds another class more probable than
is usual for examples of that class. cleanlab estimates how many of each class are mislabelled, and
names that many; they are ranked by the probability of the given label.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from llm_lightning.evaluation.audit.equal_texts import normalized
from llm_lightning.evaluation.baselines import Baseline, Probabilities

NUM_FOLDS = 5

IntArray = NDArray[np.int64]


def out_of_fold_probabilities(texts: Sequence[str], labels: IntArray, seed: int) -> Probabilities:
    """Probabilities by logistic regression on words that was fitted without the text.

    Equal texts are in the same fold, so that none vouches for its own label.

    Args:
        texts: N of them.
        labels: (N,) class indices; each class with at least ``NUM_FOLDS`` different texts.
        seed: of the folds.

    Returns:
        (N, num_classes).
    """
    keys = [normalized(text) for text in texts]
    folds = StratifiedGroupKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    found = np.zeros((len(texts), int(labels.max()) + 1))
    for train, held_out in folds.split(keys, labels, keys):
        fitted = Baseline("logreg").fit([texts[index] for index in train], labels[train].tolist())
        classes = fitted.pipeline.classes_  # a class may be missing from a fold's training part
        found[np.ix_(held_out, classes)] = fitted.probabilities([texts[i] for i in held_out])
    return found


def large_enough(texts: Sequence[str], labels: IntArray) -> NDArray[np.bool_]:
    """Whether each example's class has ``NUM_FOLDS`` different texts, shape (N,)."""
    texts_of: dict[int, set[str]] = {}
    for text, label in zip(texts, labels.tolist(), strict=True):
        texts_of.setdefault(label, set()).add(normalized(text))
    return np.array([len(texts_of[label]) >= NUM_FOLDS for label in labels.tolist()], dtype=bool)


def suspicious(labels: IntArray, probabilities: Probabilities) -> list[int]:
    """Positions of the probably wrong labels, the least probable label first.

    Args:
        labels: (N,) class indices.
        probabilities: (N, num_classes), of a model that did not learn from these labels.
    """
    # An extra, and slow to import.
    from cleanlab.filter import find_label_issues

    if len(set(labels.tolist())) < 2:
        return []
    # Of two or more classes, those that occur: cleanlab estimates a noise rate for each.
    classes, indices = np.unique(labels, return_inverse=True)
    shares = probabilities[:, classes]
    totals = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, totals, out=np.full_like(shares, 1 / len(classes)), where=totals > 0)
    found = find_label_issues(indices, shares, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [int(position) for position in found]
