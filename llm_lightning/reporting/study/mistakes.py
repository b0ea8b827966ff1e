"""The test messages that networks get wrong, and the training message that each resembles most.

Resemblance is the cosine of TF-IDF vectors of character n-grams (3 to 5 characters, inside words):
it sees reworded offers and changed numbers, not meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from llm_lightning.reporting.study.rows import Row
from llm_lightning.reporting.study.runs import Run


@dataclass(frozen=True)
class Vote:
    """What one run says about one message."""

    row: Row
    seed: int
    predicted: str
    truth_probability: float
    """Probability of the message's label."""
    is_wrong: bool


@dataclass(frozen=True)
class Neighbour:
    """The training message that a test message resembles most."""

    text: str
    label: str
    similarity: float
    """Cosine, from 0 to 1."""
    is_same: bool
    """Whether the two are the same, but for case and spaces."""


@dataclass(frozen=True)
class Mistake:
    """A test message that at least one run gets wrong."""

    position: int
    """In the test split, from 0."""
    text: str
    label: str
    votes: list[Vote]
    """Of all runs, in the order of rows and seeds."""
    wrong_baselines: list[str]
    """Baselines that get it wrong, too."""
    neighbour: Neighbour | None
    """None where the training split is not at hand."""

    @property
    def num_wrong(self) -> int:
        """Runs that get it wrong."""
        return sum(vote.is_wrong for vote in self.votes)


def normalized(text: str) -> str:
    """A text without differences of case and spaces."""
    return " ".join(text.lower().split())


def find_mistakes(rows: Sequence[Row], train: Sequence[tuple[str, str]] | None) -> list[Mistake]:
    """The messages that some run gets wrong, the most missed first.

    Args:
        rows: networks and baselines of one test set. Where there are networks, only their mistakes
            count; the majority baseline misses every message of a class.
        train: text and label of each training message, if they are at hand.
    """
    usable = [row for row in rows if row.first.predictions is not None]
    if not usable:
        return []
    expected = usable[0].first.predictions
    assert expected is not None
    networks = [row for row in usable if not row.is_baseline] or usable
    voters = [(row, run) for row in networks for run in row.runs if _texts(run) == expected.texts]
    baselines = [
        row
        for row in usable
        if row.is_baseline and row not in networks and _texts(row.first) == expected.texts
    ]
    wrong = np.zeros(len(expected.texts), dtype=np.int64)
    for _, run in voters:
        assert run.predictions is not None
        wrong += ~run.predictions.right
    positions = [int(i) for i in np.argsort(-wrong, kind="stable") if wrong[i]]
    neighbours = nearest([expected.texts[position] for position in positions], train)
    return [
        Mistake(
            position,
            expected.texts[position],
            str(usable[0].first.summary["class_names"][expected.truth[position]]),
            [_vote(row, run, position) for row, run in voters],
            [row.label for row in baselines if not _is_right(row.first, position)],
            neighbour,
        )
        for position, neighbour in zip(positions, neighbours, strict=True)
    ]


def nearest(
    texts: Sequence[str], train: Sequence[tuple[str, str]] | None
) -> list[Neighbour | None]:
    """The most similar training message of each text; None where there is none to speak of."""
    known = [text for text, _ in train or [] if text.strip()]
    if not texts or train is None or not known:
        return [None] * len(texts)
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    vectors = vectorizer.fit_transform([text for text, _ in train])
    # Rows have length 1, so a product is a cosine.
    cosines = vectorizer.transform(texts) @ vectors.T
    best = np.asarray(cosines.argmax(axis=1)).ravel()
    found: list[Neighbour | None] = []
    by_key = {normalized(text): index for index, (text, _) in reversed([*enumerate(train)])}
    for position, text in enumerate(texts):
        same = by_key.get(normalized(text))
        index = int(best[position]) if same is None else same
        similarity = 1.0 if same is not None else float(cosines[position, index])
        other, label = train[index]
        found.append(Neighbour(other, label, similarity, same is not None))
    return found


def _texts(run: Run) -> list[str] | None:
    return None if run.predictions is None else run.predictions.texts


def _is_right(run: Run, position: int) -> bool:
    return run.predictions is not None and bool(run.predictions.right[position])


def _vote(row: Row, run: Run, position: int) -> Vote:
    predictions = run.predictions
    assert predictions is not None
    truth, predicted = int(predictions.truth[position]), int(predictions.predicted[position])
    return Vote(
        row,
        int(run.summary["seed"]),
        str(run.summary["class_names"][predicted]),
        float(predictions.probabilities[position, truth]),
        truth != predicted,
    )
