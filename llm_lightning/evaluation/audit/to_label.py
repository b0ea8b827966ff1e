"""Which unlabelled texts are most worth a label: different ones of which a model is least sure.

Uncertainty is the entropy of the predicted probabilities. Texts are taken one after another, each
time that with the highest entropy after what it shares with the texts already taken is deducted
(maximal marginal relevance, Carbonell and Goldstein 1998).
"""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from llm_lightning.evaluation.audit.equal_texts import normalized
from llm_lightning.evaluation.baselines import Probabilities
from llm_lightning.run_format.audit_files import (
    ENTROPY,
    LINE,
    MARGIN,
    PREDICTED,
    PROBABILITY,
    TEXT,
)

CANDIDATES_FOR_ONE = 20
"""Most uncertain texts among which each is chosen."""


def most_worth_labelling(
    texts: Sequence[str],
    probabilities: Probabilities,
    class_names: Sequence[str],
    *,
    known: Collection[str],
    most: int,
) -> pd.DataFrame:
    """Chooses texts to label.

    Args:
        texts: N unlabelled ones.
        probabilities: (N, num_classes).
        class_names: in the order of the columns.
        known: normalized texts that have a label, which are not chosen.
        most: how many at most.

    Returns:
        The chosen texts in the order of their choice: line from 1, predicted class and its
        probability, entropy in nats, margin between the two most probable classes, text.
    """
    logs = np.log(np.maximum(probabilities, 1e-12))
    entropy = -(probabilities * logs).sum(axis=1)
    seen = set(known)
    candidates: list[int] = []
    for index in np.argsort(-entropy, kind="stable").tolist():
        key = normalized(texts[index])
        if key and key not in seen:
            seen.add(key)
            candidates.append(index)
    candidates = candidates[: most * CANDIDATES_FOR_ONE]
    chosen = _different(texts, entropy, candidates, most)
    ordered = np.sort(probabilities[chosen], axis=1)
    return pd.DataFrame(
        {
            LINE: [index + 1 for index in chosen],
            PREDICTED: [class_names[probabilities[index].argmax()] for index in chosen],
            PROBABILITY: ordered[:, -1],
            ENTROPY: entropy[chosen],
            MARGIN: ordered[:, -1] - ordered[:, -2],
            TEXT: [texts[index] for index in chosen],
        }
    )


def _different(
    texts: Sequence[str], entropy: Probabilities, candidates: list[int], most: int
) -> list[int]:
    """The candidates in the order of their choice, at most so many."""
    if not candidates:
        return []
    # Parts of words, so that a changed number or ending does not make a text different.
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5))
    vectors = vectorizer.fit_transform([texts[index] for index in candidates])
    score = entropy[candidates] / max(float(entropy[candidates].max()), 1e-12)
    shared = np.zeros(len(candidates))
    chosen: list[int] = []
    left = np.ones(len(candidates), dtype=bool)
    while left.any() and len(chosen) < most:
        best = int(np.where(left, score - shared, -np.inf).argmax())
        left[best] = False
        chosen.append(candidates[best])
        cosines = (vectors @ vectors[best].T).toarray().ravel()
        shared = np.maximum(shared, cosines)
    return chosen
