import numpy as np
import pytest

from llm_lightning.evaluation.audit.to_label import most_worth_labelling

TEXTS = ["win a prize", "see you soon", "maybe a prize maybe not", "maybe a prize maybe not!", "hm"]
PROBABILITIES = np.array([[0.05, 0.95], [0.99, 0.01], [0.5, 0.5], [0.51, 0.49], [0.6, 0.4]])


def choose(most: int, known: set[str] = frozenset()) -> list[int]:  # type: ignore[assignment]
    found = most_worth_labelling(TEXTS, PROBABILITIES, ["ham", "spam"], known=known, most=most)
    return found["line"].tolist()


def test_the_least_sure_come_first_and_similar_ones_wait() -> None:
    assert choose(2) == [3, 5]
    assert set(choose(9)) == {1, 2, 3, 4, 5}


def test_labelled_and_repeated_texts_are_left_out() -> None:
    assert 3 not in choose(9, {"maybe a prize maybe not"})
    again = most_worth_labelling(
        ["a b", "A  b", ""], np.full((3, 2), 0.5), ["ham", "spam"], known=set(), most=9
    )
    assert again["line"].tolist() == [1]


def test_values_are_those_of_the_prediction() -> None:
    found = most_worth_labelling(TEXTS, PROBABILITIES, ["ham", "spam"], known=set(), most=5)
    row = found[found["line"] == 1].iloc[0]
    assert (row["predicted"], row["probability"]) == ("spam", 0.95)
    assert row["margin"] == pytest.approx(0.9)
    assert row["entropy"] == pytest.approx(-(0.05 * np.log(0.05) + 0.95 * np.log(0.95)))


def test_nothing_to_choose_from() -> None:
    assert most_worth_labelling([], np.empty((0, 2)), ["a", "b"], known=set(), most=5).empty
