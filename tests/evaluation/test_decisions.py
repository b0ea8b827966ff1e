"""Temperature, thresholds, costs and abstaining."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import f1_score, log_loss

from llm_lightning.evaluation.decisions import (
    MOST_PROBABLE,
    Decide,
    Decision,
    fit_temperature,
    fit_threshold,
    scaled,
)


def drawn(temperature: float, num_classes: int = 3, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose logits are too large by a factor, and labels of the right ones."""
    random = np.random.default_rng(0)
    logits = 2 * random.standard_normal((n, num_classes))
    right = softmax(logits, axis=1)
    labels = np.array([random.choice(num_classes, p=row) for row in right])
    return softmax(temperature * logits, axis=1), labels


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0, 20.0])
def test_the_temperature_undoes_logits_that_are_too_large_or_small(factor: float) -> None:
    probabilities, labels = drawn(factor)
    found = fit_temperature(probabilities, labels)
    assert found == pytest.approx(factor, rel=0.1)
    losses = [log_loss(labels, scaled(probabilities, found * step)) for step in (0.95, 1, 1.05)]
    assert losses[1] == min(losses)


def test_scaling_changes_confidence_and_never_the_most_probable_class() -> None:
    probabilities, _ = drawn(3.0)
    softer = scaled(probabilities, 3.0)
    assert (softer.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert softer.max(axis=1).mean() < probabilities.max(axis=1).mean()
    assert softer.sum(axis=1) == pytest.approx(1)
    assert scaled(probabilities, 1.0) is probabilities
    certain = np.array([[1.0, 0.0]])  # as float32 rounds it
    assert np.isfinite(scaled(certain, 2.0)).all()


def test_where_all_are_right_no_temperature_can_be_fitted() -> None:
    assert fit_temperature(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])) == 1
    assert fit_temperature(np.empty((0, 2)), np.empty(0, dtype=int)) == 1


def best_by_trying(scores: np.ndarray, labels: np.ndarray, kind: str, costs: list) -> float:
    def quality(threshold: float) -> float:
        called = (scores >= threshold).astype(int)
        if kind == "f1":
            return float(f1_score(labels, called, zero_division=0))
        if kind == "cost":
            return -float(np.asarray(costs)[labels, called].sum())
        return float((called == labels).sum())

    return max(quality(threshold) for threshold in np.append(np.unique(scores), 2))


@pytest.mark.parametrize("kind", ["accuracy", "f1", "cost"])
@pytest.mark.parametrize("seed", range(8))
def test_no_threshold_is_better(kind: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=40)
    scores = np.round(np.clip(0.3 * labels + 0.7 * random.random(40), 0, 1), 2)  # with ties
    costs = [[0, 1], [4, 0.5]]
    found = fit_threshold(scores, labels, kind, costs if kind == "cost" else None)
    called = (scores >= found).astype(int)
    reached = {
        "accuracy": (called == labels).sum(),
        "f1": f1_score(labels, called, zero_division=0),
        "cost": -np.asarray(costs)[labels, called].sum(),
    }[kind]
    assert reached == pytest.approx(best_by_trying(scores, labels, kind, costs))


def test_the_usual_threshold_stays_where_no_other_is_better() -> None:
    scores, labels = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0, 0, 1, 1])
    assert fit_threshold(scores, labels, "accuracy") == 0.5
    assert fit_threshold(scores, labels, "cost", [[0, 1], [1, 0]]) == 0.5
    # Elkan 2001: a false alarm three times as costly as a miss.
    assert fit_threshold(np.array([0.7, 0.8]), np.array([0, 1]), "cost", [[0, 3], [1, 0]]) == 0.75
    # Between 0.1 and 0.3, whose middle it is.
    assert fit_threshold(np.array([0.1, 0.3]), np.array([0, 1]), "accuracy") == pytest.approx(0.2)


def test_of_a_single_class_nothing_is_learnt() -> None:
    assert fit_threshold(np.array([0.9, 0.2]), np.array([0, 0]), "f1") == 0.5


def test_an_example_that_equals_the_threshold_is_of_the_second_class() -> None:
    decided = Decision("accuracy", 1.0, 0.3, None, 0.0).decide(np.array([[0.7, 0.3], [0.71, 0.29]]))
    assert decided.labels.tolist() == [1, 0]
    assert decided.confidence.tolist() == [0.3, 0.71]


def test_costs_choose_the_class_of_the_lowest_expected_cost() -> None:
    costs = [[0, 1, 1], [1, 0, 1], [10, 10, 0]]
    decision = Decide(kind="cost", costs=costs, temperature=False).fit(*drawn(1.0))
    assert (decision.temperature, decision.threshold) == (1, None)
    probabilities = np.array([[0.8, 0.15, 0.05], [0.5, 0.3, 0.2]])
    expected = [[min(range(3), key=(row @ np.array(costs)).__getitem__)] for row in probabilities]
    assert decision.decide(probabilities).labels.tolist() == [one for [one] in expected] == [0, 2]


def test_it_abstains_where_the_decided_class_is_not_probable_enough() -> None:
    decision = Decision("accuracy", 1.0, 0.5, None, 0.8)
    decided = decision.decide(np.array([[0.79, 0.21], [0.2, 0.8], [0.45, 0.55]]))
    assert decided.abstained.tolist() == [True, False, True]
    assert not MOST_PROBABLE.decide(np.array([[0.5, 0.5]])).abstained.any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "auto"}, "decide.kind must be one of none, accuracy, f1, cost, got 'auto'"),
        ({"kind": "cost"}, "decide.costs belongs to decide.kind=cost and is needed there"),
        ({"kind": "f1", "costs": [[0, 1], [1, 0]]}, "decide.costs belongs to decide.kind=cost"),
        ({"kind": "f1", "abstain_below": 1.0}, r"decide.abstain_below must lie in \[0, 1\)"),
        ({"abstain_below": 0.5}, "decide.abstain_below needs decide.kind"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decide(**fields)


@pytest.mark.parametrize(
    ("fields", "names", "message"),
    [
        ({"kind": "f1"}, ["a", "b", "c"], "decide.kind=f1 is a threshold between two classes"),
        ({"kind": "cost", "costs": [[0, 1]]}, ["a", "b"], "must be 2 rows .*a, b, got"),
        ({"kind": "cost", "costs": [[0, "x"], [1, 0]]}, ["a", "b"], "must be 2 rows"),
        ({"kind": "cost", "costs": [[0, -1], [1, 0]]}, ["a", "b"], "numbers >= 0"),
        ({"kind": "cost", "costs": [[1, 1], [1, 0]]}, ["a", "b"], "must be the cheapest"),
    ],
)
def test_decisions_that_the_classes_do_not_allow_are_refused(
    fields: dict, names: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Decide(**fields).check(names)
