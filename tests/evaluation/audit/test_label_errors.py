import numpy as np
import pytest

from llm_lightning.evaluation.audit.label_errors import (
    large_enough,
    out_of_fold_probabilities,
    suspicious,
)

WORDS = {0: ["cat", "dog", "cow", "hen"], 1: ["rain", "snow", "hail", "wind"]}


def labelled(n: int = 120) -> tuple[list[str], np.ndarray]:
    """Texts that tell their class, each with a number of its own."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % 2
    texts = [
        " ".join(random.choice(WORDS[int(label)], 3)) + f" {index}"
        for index, label in enumerate(labels)
    ]
    return texts, labels


def test_changed_labels_are_found_first() -> None:
    texts, labels = labelled()
    wrong = [7, 40, 93]
    labels[wrong] = 1 - labels[wrong]
    found = suspicious(labels, out_of_fold_probabilities(texts, labels, seed=0))
    assert set(found[:3]) == set(wrong)
    assert len(found) <= 6


def test_equal_texts_do_not_vouch_for_each_other() -> None:
    texts, labels = labelled(60)
    texts[0] = texts[2] = texts[4] = "Rain snow HAIL"
    texts[6] = "rain  snow hail"
    probabilities = out_of_fold_probabilities(texts, labels, seed=0)
    assert (probabilities[[0, 2, 4, 6], 1] > 0.5).all()
    assert probabilities[0] == pytest.approx(probabilities[6], abs=1e-9)  # the same fold
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_classes_with_too_few_texts_are_not_judged() -> None:
    texts = ["a", "b", "c", "d", "e", "A ", "x", "x"]
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    assert large_enough(texts, labels).tolist() == [True] * 6 + [False] * 2


def test_a_class_that_does_not_occur_and_a_single_class() -> None:
    labels = np.array([0, 2, 0, 2])
    probabilities = np.array([[0.9, 0, 0.1], [0.1, 0, 0.9], [0.05, 0, 0.95], [0.1, 0.2, 0.7]])
    assert set(suspicious(labels, probabilities)) <= {2}
    assert suspicious(np.array([1, 1]), probabilities[:2]) == []
