import warnings
from itertools import product

import numpy as np
import pytest
from scipy import stats

from llm_lightning.evaluation.bootstrap import MeanInterval, mean_interval, paired_difference


def test_interval_of_many_values_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(1).normal(50, 30, size=400)
    interval = mean_interval(values.tolist())
    error = values.std(ddof=1) / 20
    assert interval.mean == pytest.approx(values.mean())
    assert interval.standard_error == pytest.approx(error)
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    assert interval.n == 400


def test_interval_of_three_values_is_read_from_all_resamples_there_are() -> None:
    values = [0.0, 30.0, 90.0]
    means = np.array([np.mean(drawn) for drawn in product(values, repeat=3)])
    interval = mean_interval(values, confidence=0.8)
    low, high = np.quantile(means, [0.1, 0.9], method="inverted_cdf")
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))


def test_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        interval = mean_interval(draw.exponential(10, size=60).tolist(), resamples=500)
        held += interval.low <= 10 <= interval.high
    assert 0.88 < held / 200 < 0.99


def test_seed_repeats_and_changes_the_interval_but_not_the_mean() -> None:
    values = np.random.default_rng(2).normal(size=25).tolist()
    first, again, other = (mean_interval(values, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert other.low != first.low
    assert (other.mean, other.standard_error) == (first.mean, first.standard_error)


@pytest.mark.parametrize("values", [[0.1] * 7, [0.0, 0.0]])
def test_constant_values_have_an_interval_without_width(values: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = MeanInterval(values[0], values[0], values[0], 0.0, len(values))
        assert mean_interval(values) == expected


def test_single_value_says_nothing_about_its_error() -> None:
    assert mean_interval([3]) == MeanInterval(3.0, 3.0, 3.0, None, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [([], "no values"), ([1.0, float("nan")], "value 1 is not finite"), ([float("inf")], "finite")],
)
def test_what_has_no_mean_is_refused(values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_interval(values)


def test_pairs_tell_apart_what_two_means_cannot() -> None:
    draw = np.random.default_rng(3)
    a = draw.normal(50, 30, size=110)
    b = a + draw.normal(3, 4, size=110)
    difference = paired_difference(a.tolist(), b.tolist())
    assert difference.mean == pytest.approx((b - a).mean())
    assert difference.low > 0
    assert difference.p_value is not None
    assert difference.p_value < 0.001
    alone, other = mean_interval(a.tolist()), mean_interval(b.tolist())
    assert other.low < alone.high, "each mean by itself is too uncertain"


def test_p_value_of_few_pairs_counts_every_change_of_signs() -> None:
    a, b = [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, -1.0]
    at_least = [abs(sum(signs)) >= 5 for signs in product((1, -1), (2, -2), (3, -3), (1, -1))]
    assert paired_difference(a, b).p_value == pytest.approx(sum(at_least) / 16)


def test_p_value_agrees_with_the_t_test_where_that_holds() -> None:
    draw = np.random.default_rng(4)
    a, b = draw.normal(size=80), draw.normal(0.25, size=80)
    expected = stats.ttest_rel(b, a).pvalue
    assert paired_difference(a.tolist(), b.tolist()).p_value == pytest.approx(expected, abs=0.02)


def test_equal_runs_do_not_differ() -> None:
    difference = paired_difference([1.0, 5.0, 3.0], [1.0, 5.0, 3.0])
    assert (difference.mean, difference.low, difference.high) == (0, 0, 0)
    assert difference.p_value == 1


def test_single_pair_has_no_p_value() -> None:
    assert paired_difference([1.0], [3.0]).p_value is None


def test_pairs_need_two_sides() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])
