"""Classifiers without a network."""

from pathlib import Path

import numpy as np
import pytest

from llm_lightning.data.spam import SmsSpam
from llm_lightning.evaluation.baselines import METHODS, Baseline

TEXTS = ["win a prize now", "prize draw win cash", "see you at seven", "are you home", "call me"]
LABELS = [1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("split", "naive_bayes", "length"), [("chapter", 95.33, 83.33), ("table", 96.00, 82.33)]
)
def test_accuracies_on_the_books_splits(
    sms_zip: Path, split: str, naive_bayes: float, length: float
) -> None:
    data = SmsSpam(path=str(sms_zip), split=split)
    data.prepare_data()
    splits = data.read()
    for method, expected in (("naive_bayes", naive_bayes), ("length", length)):
        fitted = Baseline(method).fit(splits.train["Text"].tolist(), splits.train["Label"].tolist())
        predicted = fitted.probabilities(splits.test["Text"].tolist()).argmax(axis=1)
        assert round(100 * float((predicted == splits.test["Label"]).mean()), 2) == expected


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_sum_to_one(method: str) -> None:
    fitted = Baseline(method).fit(TEXTS, LABELS)
    probabilities = fitted.probabilities(["win", "", "nothing known here"])
    assert probabilities.shape == (3, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_naive_bayes_by_hand() -> None:
    fitted = Baseline("naive_bayes").fit(["a b", "b c c"], [0, 1])
    # Add-one smoothing over the words a, b, c: P(c | 0) = 1/5, P(c | 1) = 3/6; equal priors.
    assert fitted.probabilities(["C"])[0] == pytest.approx([0.2 / 0.7, 0.5 / 0.7])
    assert fitted.num_parameters() == 2 * 3 + 2


def test_length_is_one_threshold() -> None:
    fitted = Baseline("length").fit(["ab", "abc", "abcdefgh", "abcdefghi"], [0, 0, 1, 1])
    predicted = fitted.probabilities(["", "abcd", "abcdefg", "x" * 100]).argmax(axis=1)
    assert predicted.tolist() == [0, 0, 1, 1]
    assert fitted.num_parameters() == 3


def test_majority_ignores_the_text() -> None:
    fitted = Baseline("majority").fit(TEXTS, LABELS)
    assert fitted.probabilities(TEXTS).tolist() == [[0.6, 0.4]] * 5


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task\.method must be one of majority, .*, got 'svm'"):
        Baseline("svm")
