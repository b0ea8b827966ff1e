"""Means over seeds and items: against published intervals, other methods, and simulated truths."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from llm_lightning.statistics.crossed import CrossedMean, crossed_difference, crossed_mean
from llm_lightning.statistics.intervals import Interval, wilson_interval


def pairs(only_a: int, only_b: int, n: int) -> CrossedMean:
    """Two models of one seed that differ on so many items."""
    a, b = np.ones((1, n)), np.ones((1, n))
    b[0, :only_a] = 0
    a[0, only_a : only_a + only_b] = 0
    return crossed_difference(a, b, paired=True)


def tango(only_a: int, only_b: int, n: int, z: float) -> tuple[float, float]:
    """Tango's interval of ``b - a`` by his closed form of the restricted estimate."""

    def statistic(value: float) -> float:
        x, y = only_b, only_a
        b = -x - y + (2 * n - x + y) * value
        c = -y * value * (1 - value)
        q = (np.sqrt(b * b - 8 * n * c) - b) / (4 * n)
        return float((x - y - n * value) / np.sqrt(n * (2 * q + value * (1 - value))))

    grid = np.linspace(-0.999, 0.999, 400_001)
    inside = [value for value in grid if abs(statistic(value)) <= z]
    return inside[0], inside[-1]


@pytest.mark.parametrize(("right", "n"), [(0, 20), (96, 100), (289, 300), (30, 30)])
def test_one_seed_of_right_and_wrong_is_wilsons_interval_with_student_s_t(
    right: int, n: int
) -> None:
    scores = (np.arange(n) < right).astype(float)[None]
    as_normal = 2 * stats.norm.cdf(stats.t.ppf(0.975, n - 1)) - 1
    expected = wilson_interval(right, n, confidence=float(as_normal))
    found = crossed_mean(scores).interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(0, 0, 300), (3, 9, 300), (1, 4, 150)])
def test_one_seed_of_two_models_is_tangos_interval_with_student_s_t(
    only_a: int, only_b: int, n: int
) -> None:
    found = pairs(only_a, only_b, n).interval
    expected = tango(only_a, only_b, n, float(stats.t.ppf(0.975, n - 1)))
    assert (found.low, found.high) == pytest.approx(expected, abs=2e-5)


def test_differences_that_point_the_same_way_are_near_tangos_interval() -> None:
    found = pairs(0, 4, 150).interval
    expected = tango(0, 4, 150, float(stats.t.ppf(0.975, 149)))
    assert (found.low, found.high) == pytest.approx(expected, abs=2e-3)


def test_scores_on_a_scale_are_near_the_t_test() -> None:
    random = np.random.default_rng(0)
    a = random.uniform(size=110)
    b = np.clip(a + random.normal(0.03, 0.1, 110), 0, 1)
    found = crossed_difference([a], [b], paired=True)
    expected = stats.ttest_rel(b, a)
    interval = expected.confidence_interval()
    assert found.p_value() == pytest.approx(expected.pvalue, abs=0.01)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (interval.low, interval.high), abs=0.003
    )
    assert found.standard_error == pytest.approx(stats.sem(b - a))


def random_difference(random: np.random.Generator) -> CrossedMean:
    num_seeds, num_items = random.integers(1, 6), random.integers(10, 60)
    easy = random.uniform(0.6, 1, num_items)
    a, b = (random.uniform(size=(num_seeds, num_items)) < easy for _ in range(2))
    return crossed_difference(a, b, paired=bool(random.integers(2)))


def test_the_p_value_is_small_exactly_where_the_interval_excludes_zero() -> None:
    random = np.random.default_rng(1)
    found = [random_difference(random) for _ in range(300)]
    small = [difference.p_value() < 0.05 for difference in found]
    assert 3 < sum(small) < 100
    assert small == [not difference.interval.holds(0) for difference in found]


def test_two_one_sided_tests_are_the_90_percent_interval_within_the_margin() -> None:
    random = np.random.default_rng(2)
    for _ in range(200):
        found, margin = random_difference(random), random.uniform(0.02, 0.3)
        interval = found.interval_at(0.9)
        within = -margin < interval.low and interval.high < margin
        assert (found.p_within(margin) < 0.05) is within
        assert (found.p_above(-margin) < 0.05) is (interval.low > -margin)


def test_the_interval_is_one_stretch() -> None:
    random = np.random.default_rng(3)
    for _ in range(30):
        found = random_difference(random)
        p_values = [found.p_value(value) for value in np.linspace(-1, 1, 401)]
        top = int(np.argmax(p_values))
        assert np.all(np.diff(p_values[: top + 1]) >= -1e-9)
        assert np.all(np.diff(p_values[top:]) <= 1e-9)


def test_swapping_the_sides_swaps_the_signs() -> None:
    random = np.random.default_rng(4)
    a, b = (random.uniform(size=(3, 50)) < p for p in (0.9, 0.8))
    forth, back = (crossed_difference(*sides, paired=True) for sides in ((a, b), (b, a)))
    assert back.mean == pytest.approx(-forth.mean)
    assert back.p_value() == pytest.approx(forth.p_value())
    assert back.interval.low == pytest.approx(-forth.interval.high, abs=1e-6)


def test_seeds_that_scatter_widen_the_interval() -> None:
    items = np.arange(300)
    calm = np.array([(items >= 10 + s) for s in (0, 1, 2)], dtype=float)
    wild = np.array([(items >= 10 + s) for s in (-10, 1, 12)], dtype=float)
    widths = [found.high - found.low for found in (
        crossed_mean(calm).interval, crossed_mean(wild).interval
    )]  # fmt: skip
    assert widths[1] > 2 * widths[0]
    truth = np.ones((1, 300))
    assert crossed_difference(truth, wild, paired=False).standard_error == pytest.approx(
        crossed_mean(wild).standard_error
    )


def test_a_method_without_chance_has_one_row_and_adds_no_seed_part() -> None:
    random = np.random.default_rng(5)
    network, baseline = random.uniform(size=(4, 80)) < 0.9, random.uniform(size=(1, 80)) < 0.8
    found = crossed_difference(baseline, network, paired=False)
    (part,) = found.seed_parts
    assert part.num_seeds == 4
    repeated = crossed_difference(np.repeat(baseline, 4, axis=0), network, paired=True)
    assert repeated.interval == found.interval


def test_unpaired_seeds_have_a_part_each() -> None:
    random = np.random.default_rng(6)
    a, b = random.uniform(size=(3, 80)) < 0.9, random.uniform(size=(5, 80)) < 0.8
    found = crossed_difference(a, b, paired=False)
    assert [part.num_seeds for part in found.seed_parts] == [3, 5]
    expected = a.mean(axis=1).var(ddof=1) / 3
    assert found.seed_parts[0].total == pytest.approx(expected)


def test_equal_models_do_not_differ_and_are_not_known_to_be_equal() -> None:
    found = pairs(0, 0, 300)
    assert (found.mean, found.p_value()) == (0, 1)
    # 3.84 of 300 items: what was never seen to differ may differ on about one in a hundred.
    assert found.interval.high == pytest.approx(0.0128, abs=3e-4)
    assert found.p_within(0.02) < 0.05 < found.p_within(0.005)


def test_a_single_item_says_nothing() -> None:
    found = crossed_mean([[0.5]])
    assert found.interval == Interval(0, 1)
    assert (found.p_value(), found.standard_error) == (1, None)
    assert found.fields() == {"mean": 0.5, "low": 0, "high": 1, "standard_error": None, "n": 1}


def test_what_cannot_be_compared_is_refused() -> None:
    ones = np.ones((2, 3))
    with pytest.raises(ValueError, match="same items, got 3 and 4"):
        crossed_difference(ones, np.ones((2, 4)), paired=True)
    with pytest.raises(ValueError, match="equal numbers, got 2 and 3"):
        crossed_difference(ones, np.ones((3, 3)), paired=True)
    with pytest.raises(ValueError, match=r"from 0.0 to 1.0"):
        crossed_mean(2 * ones)
    with pytest.raises(ValueError, match="finite, got nan at index 1"):
        crossed_mean([[1.0, float("nan")]])


def simulated(
    random: np.random.Generator, num_seeds: int, num_items: int, seed_sd: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two rows that are equally accurate, 95 %, and differ on about 5 % of the items."""
    easiness = random.standard_t(2, num_items) + 3.1
    latent = easiness + seed_sd * random.standard_normal((2, num_seeds, 1))
    latent = latent + 0.7 * random.standard_normal((2, 1, num_items))
    latent = latent + 0.7 * random.standard_normal((2, num_seeds, num_items))
    first, second = (latent > 0).astype(float)
    return first, second


@pytest.mark.parametrize(("num_seeds", "seed_sd"), [(1, 0.0), (3, 0.0), (3, 0.4), (5, 0.4)])
def test_equal_rows_are_called_different_as_seldom_as_promised(
    num_seeds: int, seed_sd: float
) -> None:
    """The whole table takes minutes: experiments/statistics."""
    random, repeats = np.random.default_rng(7), 800
    errors = sum(
        crossed_difference(*simulated(random, num_seeds, 300, seed_sd), paired=True).p_value()
        < 0.05
        for _ in range(repeats)
    )
    assert 0.02 < errors / repeats < 0.075  # 5 %, and three standard errors of 800 repeats
