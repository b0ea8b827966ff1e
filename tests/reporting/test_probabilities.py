"""Calibration, thresholds and shifted precision, by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from llm_lightning.reporting.analyse import probabilities
from llm_lightning.reporting.analyse.threshold_curves import (
    has_curves,
    positive_curve,
)
from llm_lightning.reporting.read.run_record import Predictions


def predictions(truth: list[int], spam: list[float]) -> Predictions:
    both = np.column_stack([1 - np.array(spam), spam])
    return Predictions(
        ["ham", "spam"],
        [f"text {index}" for index in range(len(truth))],
        np.array(truth),
        both.argmax(axis=1),
        both,
    )


@pytest.fixture
def random_predictions() -> Predictions:
    random = np.random.default_rng(0)
    spam = random.uniform(size=500)
    truth = (random.uniform(size=500) < 0.2 + 0.6 * spam).astype(int)
    return predictions(truth.tolist(), spam.tolist())


def test_ece_by_hand() -> None:
    # Confidence 0.9, 0.9, 0.6, 0.6: one of two right in each of two bins.
    found = probabilities.calibration(predictions([1, 0, 1, 1], [0.9, 0.9, 0.6, 0.4]))
    assert found.confidence == pytest.approx([0.6, 0.9])
    assert found.accuracy == pytest.approx([0.5, 0.5])
    assert found.counts.tolist() == [2, 2]
    assert found.ece == pytest.approx((0.1 + 0.4) / 2)


def test_ece_is_the_definition(random_predictions: Predictions) -> None:
    confidence, right = random_predictions.probabilities.max(axis=1), random_predictions.right
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence >= low) & (confidence < low + 0.1)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    assert probabilities.calibration(random_predictions).ece == pytest.approx(expected)


def test_sure_and_right_is_perfect_and_sure_and_wrong_is_worst() -> None:
    perfect = probabilities.calibration(predictions([0, 1], [0.0, 1.0]))
    assert (perfect.ece, perfect.brier) == (0, 0)
    worst = probabilities.calibration(predictions([1, 0], [0.0, 1.0]))
    assert (worst.ece, worst.brier) == (1, 1)
    assert probabilities.calibration(predictions([0, 1], [0.5, 0.5])).brier == 0.25


def test_brier_and_areas_are_scikit_learns(random_predictions: Predictions) -> None:
    truth, spam = random_predictions.truth, random_predictions.probabilities[:, 1]
    brier = probabilities.calibration(random_predictions).brier
    assert brier == pytest.approx(metrics.brier_score_loss(truth, spam))
    assert positive_curve("roc", random_predictions).area == pytest.approx(
        metrics.roc_auc_score(truth, spam)
    )
    area = positive_curve("precision_recall", random_predictions).area
    assert area == pytest.approx(metrics.average_precision_score(truth, spam))


def test_brier_of_three_classes_stays_within_one() -> None:
    three = np.array([[0.0, 0.0, 1.0], [0.2, 0.3, 0.5]])
    found = Predictions(["x", "y", "z"], ["a", "b"], np.array([0, 2]), np.array([2, 2]), three)
    expected = (1.0 + (0.2**2 + 0.3**2 + 0.5**2) / 2) / 2
    assert probabilities.calibration(found).brier == pytest.approx(expected)
    assert not has_curves(found)
    assert probabilities.shifted_precision(found, 0.1) is None


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    found = predictions([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert positive_curve("roc", found).area == 0.75  # 3 of 4 pairs of ham and spam
    curve = positive_curve("roc", found)
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)


def test_precision_recall_has_no_made_up_point() -> None:
    curve = positive_curve("precision_recall", predictions([1, 0], [0.2, 0.9]))
    assert (curve.x.min(), curve.y.max()) == (0.0, 0.5)
    assert np.all(np.diff(curve.x) >= 0)


def test_curves_need_two_classes_and_finite_probabilities() -> None:
    assert has_curves(predictions([0, 1], [0.2, 0.3]))
    assert not has_curves(predictions([1, 1], [0.2, 0.3]))
    assert not has_curves(predictions([0, 1], [0.2, float("nan")]))


def test_precision_at_the_test_splits_own_share_is_its_precision(
    random_predictions: Predictions,
) -> None:
    share = float(random_predictions.truth.mean())
    found = probabilities.shifted_precision(random_predictions, share)
    assert found is not None
    expected = metrics.precision_score(random_predictions.truth, random_predictions.predicted)
    assert found.precision == pytest.approx(expected)


def test_precision_among_natural_messages_by_hand() -> None:
    # 90 % of spam caught, 5 % false alarms: 0.9 * 0.134 / (0.9 * 0.134 + 0.05 * 0.866).
    truth = [1] * 100 + [0] * 100
    spam = [0.9] * 90 + [0.1] * 10 + [0.9] * 5 + [0.1] * 95
    found = probabilities.shifted_precision(predictions(truth, spam), 0.134)
    assert found is not None
    assert found.true_positive_rate == pytest.approx(0.9)
    assert found.false_positive_rate == pytest.approx(0.05)
    assert found.precision == pytest.approx(0.1206 / (0.1206 + 0.0433), abs=1e-4)
    assert found.interval is not None
    assert found.interval.low < found.precision < found.interval.high


def test_the_natural_share_is_thirteen_percent() -> None:
    assert pytest.approx(0.134, abs=1e-4) == probabilities.NATURAL_SPAM_SHARE


def test_without_false_alarms_precision_is_one_but_not_surely() -> None:
    found = probabilities.shifted_precision(predictions([1, 0], [0.9, 0.1]), 0.1)
    assert found is not None
    assert found.precision == 1
    assert found.interval is not None
    assert found.interval.low < 0.5
    assert found.interval.high == 1


def test_nothing_called_spam_has_no_precision() -> None:
    found = probabilities.shifted_precision(predictions([1, 0], [0.1, 0.1]), 0.1)
    assert found is not None
    assert (found.precision, found.interval) == (None, None)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_lies_between_zero_and_one(share: float) -> None:
    with pytest.raises(ValueError, match="share must be between 0 and 1"):
        probabilities.shifted_precision(predictions([0, 1], [0.1, 0.9]), share)
