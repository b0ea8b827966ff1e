"""Intervals of F1: by hand, and how many of them hold the true value."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from llm_lightning.statistics.f1 import f1_interval, macro_f1_interval
from llm_lightning.statistics.intervals import Interval

SHARES = np.array([[0.5, 0.04, 0.02], [0.05, 0.2, 0.03], [0.01, 0.05, 0.1]])
"""Of pairs of a true class (row) and a predicted one."""


def draw(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.random.default_rng(seed).choice(9, n, p=SHARES.ravel())
    return pairs // 3, pairs % 3


def test_the_interval_of_one_class_is_wilsons_of_its_hits() -> None:
    truth = [1] * 9 + [0] * 91
    predicted = [1] * 8 + [0] + [1] + [0] * 90  # 8 hits, one missed, one false alarm
    found = f1_interval(truth, predicted)
    # Wilson's interval of 8 of 10 is 0.4902 to 0.9433, and F1 is 2 J / (1 + J).
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.6579, 0.9708), abs=1e-4)
    assert f1_score(truth, predicted) == pytest.approx(2 * 0.8 / 1.8)


def test_intervals_hold_the_true_value_as_often_as_they_say() -> None:
    by_class = 2 * SHARES.diagonal() / (SHARES.sum(axis=0) + SHARES.sum(axis=1))
    held = np.zeros(2)
    for seed in range(500):
        truth, predicted = draw(seed, 300)
        one, mean = f1_interval(truth, predicted), macro_f1_interval(truth, predicted)
        assert isinstance(one, Interval)
        assert isinstance(mean, Interval)
        held += one.holds(by_class[1]), mean.holds(by_class.mean())
    assert ((held > 0.92 * 500) & (held < 0.98 * 500)).all(), held


def test_the_mean_is_over_the_classes_that_occur() -> None:
    truth, predicted = draw(1, 200)
    unseen = np.where(truth == 2, 3, truth)  # class 2 is predicted and never true
    found = macro_f1_interval(unseen, predicted)
    assert found is not None
    assert found.holds(f1_score(unseen, predicted, labels=[0, 1, 3], average="macro"))


def test_there_is_none_where_nothing_can_be_estimated() -> None:
    assert f1_interval([0, 0], [0, 0]) is None
    assert macro_f1_interval([0, 1], [0, 1]) is None
    assert macro_f1_interval([0, 1], [1, 0]) is None
    assert f1_interval([1, 1], [1, 1]) == Interval(pytest.approx(0.5101, abs=1e-4), 1.0)
