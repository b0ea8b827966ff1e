"""Classifiers without a network, to compare every result with.

They are scikit-learn's, fitted on the training texts of the same splits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

Probabilities = NDArray[np.float64]

_WORD = r"[a-z0-9£$']+"  # prices indicate spam; texts are lower-cased

METHODS = ("majority", "length", "naive_bayes", "logreg")


@dataclass
class Baseline:
    """One method: the ``task`` group of a baseline.

    Raises:
        ValueError: if the method is unknown.
    """

    data_kinds: ClassVar[tuple[str, ...]] = ("classification",)

    method: str
    """``majority``: the class frequencies of training, whatever the text. ``length``: one threshold
    on the number of characters. ``naive_bayes``: multinomial, on word counts, with add-one
    smoothing. ``logreg``: logistic regression on TF-IDF of words and word pairs.
    """
    _target_: str = "llm_lightning.evaluation.baselines.Baseline"

    def __post_init__(self) -> None:
        """Checks the method."""
        if self.method not in METHODS:
            raise ValueError(
                f"task.method must be one of {', '.join(METHODS)}, got {self.method!r}"
            )

    def fit(self, texts: Sequence[str], labels: Sequence[int]) -> "Fitted":
        """Fits the method to the training split.

        Args:
            texts: of the examples.
            labels: class indices, each class at least once.

        Returns:
            The fitted classifier.
        """
        pipeline = _pipeline(self.method)
        pipeline.fit(list(texts), list(labels))
        return Fitted(pipeline)


@dataclass
class Fitted:
    """A fitted baseline."""

    pipeline: Pipeline

    def probabilities(self, texts: Sequence[str]) -> Probabilities:
        """Returns (len(texts), num_classes) probabilities."""
        probabilities: Probabilities = self.pipeline.predict_proba(list(texts))
        return probabilities

    def num_parameters(self) -> int:
        """Returns the number of fitted parameters."""
        model: Any = self.pipeline[-1]
        if isinstance(model, DecisionTreeClassifier):
            return 1 + len(model.classes_)  # the threshold, and a class for one of the sides
        if isinstance(model, DummyClassifier):
            return len(model.classes_)
        if isinstance(model, MultinomialNB):
            return int(model.feature_log_prob_.size + model.class_log_prior_.size)
        return int(model.coef_.size + model.intercept_.size)


def _pipeline(method: str) -> Pipeline:
    if method == "majority":
        return make_pipeline(FunctionTransformer(_lengths), DummyClassifier(strategy="prior"))
    if method == "length":
        # A tree with one split is the threshold that separates the training texts best.
        return make_pipeline(
            FunctionTransformer(_lengths), DecisionTreeClassifier(max_depth=1, random_state=0)
        )
    if method == "naive_bayes":
        return make_pipeline(CountVectorizer(token_pattern=_WORD), MultinomialNB())
    words = TfidfVectorizer(token_pattern=_WORD, ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(C=10))


def _lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    """(len(texts), 1) numbers of characters."""
    return np.array([[len(text)] for text in texts])
