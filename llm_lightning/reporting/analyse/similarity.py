"""The most similar training message of a text.

Similarity is the cosine of TF-IDF vectors of character n-grams (3 to 5 characters, within words):
it finds reworded offers and changed numbers, not the same meaning in other words. Counts are
damped to 1 + log(count) and frequencies smoothed, as in scikit-learn's ``TfidfVectorizer``.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

LENGTHS = range(3, 6)
"""Characters in an n-gram."""


@dataclass(frozen=True)
class Neighbour:
    """The training message that is most similar to a test message."""

    text: str
    label: str
    similarity: float
    """Cosine, from 0 to 1."""
    is_same: bool
    """Whether the two are equal except for case and whitespace."""


def normalized(text: str) -> str:
    """A text in lower case with single spaces."""
    return " ".join(text.lower().split())


def nearest(
    texts: Sequence[str], train: Sequence[tuple[str, str]] | None
) -> list[Neighbour | None]:
    """The most similar training message of each text; None without training messages.

    Args:
        texts: to compare.
        train: text and label of each training message.
    """
    counted = [Counter(_ngrams(text)) for text, _ in train or []]
    if not texts or train is None or not any(counted):
        return [None] * len(texts)
    columns = {ngram: i for i, ngram in enumerate(dict.fromkeys(chain.from_iterable(counted)))}
    frequency = Counter(chain.from_iterable(counts.keys() for counts in counted))
    rarity = np.array([1 + np.log((1 + len(train)) / (1 + frequency[name])) for name in columns])
    vectors = _vectors(counted, columns, rarity)
    queries = _vectors([Counter(_ngrams(text)) for text in texts], columns, rarity)
    cosines = queries @ vectors.T  # of vectors of length 1
    best = np.asarray(cosines.argmax(axis=1)).ravel()
    by_key = {normalized(text): index for index, (text, _) in reversed([*enumerate(train)])}
    found: list[Neighbour | None] = []
    for position, text in enumerate(texts):
        same = by_key.get(normalized(text))
        index = int(best[position]) if same is None else same
        similarity = 1.0 if same is not None else float(cosines[position, index])
        found.append(Neighbour(*train[index], similarity, same is not None))
    return found


def _ngrams(text: str) -> Iterator[str]:
    for word in text.lower().split():
        padded = f" {word} "
        for length in LENGTHS:
            for start in range(max(1, len(padded) - length + 1)):
                yield padded[start : start + length]
            if len(padded) <= length:  # a short word counts once
                break


def _vectors(
    counted: Sequence[Counter[str]], columns: dict[str, int], rarity: NDArray[np.float64]
) -> sparse.csr_matrix:
    """TF-IDF vectors of length 1, shape (texts, n-grams); unknown n-grams are ignored."""
    known = [
        {columns[name]: n for name, n in counts.items() if name in columns} for counts in counted
    ]
    ends = np.cumsum([0, *map(len, known)])
    indices = np.fromiter(chain.from_iterable(known), dtype=np.int64, count=ends[-1])
    counts = np.fromiter(chain.from_iterable(k.values() for k in known), float, count=ends[-1])
    weights = (1 + np.log(counts)) * rarity[indices]
    squares = np.add.reduceat(np.append(weights**2, 0.0), ends[:-1])
    lengths = np.sqrt(np.where(np.diff(ends) > 0, squares, 1.0))
    weights /= np.repeat(lengths, np.diff(ends))
    return sparse.csr_matrix((weights, indices, ends), shape=(len(counted), len(columns)))
