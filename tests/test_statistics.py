"""Against published numbers, other libraries' results, and what must hold of any data."""

from itertools import product

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score

from llm_lightning.statistics import (
    Interval,
    Mean,
    bootstrap_mean,
    bootstrap_means,
    difference_interval,
    holm,
    mcnemar_exact,
    paired_differences,
    permutation_p_value,
    t_interval,
    wilson_interval,
)


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(right: int, n: int, low: float, high: float) -> None:
    assert ends(wilson_interval(right, n)) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 7, 300])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(n: int, confidence: float) -> None:
    for right in {0, 1, n // 3, n - 1, n}:
        theirs = stats.binomtest(right, n).proportion_ci(confidence, method="wilson")
        ours = wilson_interval(right, n, confidence=confidence)
        assert ends(ours) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_mirrors_and_stays_between_zero_and_one() -> None:
    for right in (0, 0.5, 3, 9.75, 10):
        interval, mirrored = wilson_interval(right, 10), wilson_interval(10 - right, 10)
        assert 0 <= interval.low <= right / 10 <= interval.high <= 1
        assert ends(mirrored) == pytest.approx((1 - interval.high, 1 - interval.low), abs=1e-12)


@pytest.mark.parametrize(("right", "n", "words"), [(0, 0, "n must"), (3, 2, "n=2"), (-1, 2, "-1")])
def test_wilson_refuses_what_is_no_share(right: int, n: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wilson_interval(right, n)


def test_t_interval_is_scipys_and_the_one_by_hand() -> None:
    values = [0.95, 0.96, 0.98]
    theirs = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert ends(t_interval(values)) == pytest.approx(theirs)
    # Two values: 12.706 standard errors each way, and a standard error is half their distance.
    assert ends(t_interval([0.4, 0.6])) == pytest.approx((0.5 - 1.2706, 0.5 + 1.2706), abs=1e-4)
    assert ends(t_interval([0.7, 0.7])) == pytest.approx((0.7, 0.7))


@pytest.mark.parametrize("values", [[], [0.5], [0.5, float("nan")]])
def test_t_interval_needs_two_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"at least 2|finite|no values"):
        t_interval(values)


def test_differences_of_shares_are_newcombes() -> None:
    # Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10: (a) and (h).
    a, b = wilson_interval(48, 80), wilson_interval(56, 70)
    assert ends(difference_interval(48 / 80, a, 56 / 70, b)) == pytest.approx(
        (0.0524, 0.3339), abs=5e-5
    )
    none, all_of_them = wilson_interval(0, 10), wilson_interval(10, 10)
    assert ends(difference_interval(0, none, 1, all_of_them)) == pytest.approx(
        (0.6075, 1.0), abs=5e-5
    )


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),
        (0, 5, 2 / 2**5),
        (5, 0, 2 / 2**5),
        (1, 9, 22 / 2**10),  # 2 * (1 + 10) of 1024
        (7, 7, 1.0),
        (59, 121, 4.434e-06),  # statsmodels' mcnemar([[101, 121], [59, 33]], exact=True)
    ],
)
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int, p_value: float) -> None:
    assert mcnemar_exact(only_a, only_b) == pytest.approx(p_value, rel=1e-3)
    assert mcnemar_exact(only_a, only_b) == mcnemar_exact(only_b, only_a)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        mcnemar_exact(-1, 3)


def test_holm_steps_down_and_keeps_the_order_given() -> None:
    # statsmodels' multipletests(p, method="holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_holm_lies_between_no_correction_and_bonferroni() -> None:
    p_values = np.random.default_rng(0).uniform(size=30).tolist()
    adjusted = holm(p_values)
    for before, after in zip(p_values, adjusted, strict=True):
        assert before <= after <= min(1.0, 30 * before)
    order = np.argsort(p_values)
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


def test_holm_refuses_what_is_no_p_value() -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        holm([0.5, 1.5])


def test_the_bootstrap_mean_is_the_mean_and_its_interval_nears_scipys() -> None:
    values = np.random.default_rng(1).exponential(size=200)
    (found,) = bootstrap_means(values[:, None], resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert found.mean == values.mean()
    assert found.n == 200
    assert ends(found.interval) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_bootstrap_repeats_with_its_seed_however_it_is_batched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(1).uniform(size=(50, 3))
    first = bootstrap_means(values, seed=3, resamples=500)
    assert bootstrap_means(values, seed=3, resamples=500) == first
    other = bootstrap_means(values, seed=4, resamples=500)
    assert other != first
    assert [mean.mean for mean in other] == [mean.mean for mean in first]
    assert [mean.standard_error for mean in other] == [mean.standard_error for mean in first]
    monkeypatch.setattr("llm_lightning.statistics._BATCH_NUMBERS", 70)
    for mean, same in zip(first, bootstrap_means(values, seed=3, resamples=500), strict=True):
        assert ends(mean.interval) == pytest.approx(ends(same.interval), rel=1e-12)


def test_a_paired_difference_is_the_difference_of_accuracies() -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 2, 300)
    ours, theirs = (np.where(random.uniform(size=300) < p, truth, 1 - truth) for p in (0.9, 0.8))
    (found,) = paired_differences(theirs == truth, (ours == truth)[:, None])
    expected = accuracy_score(truth, ours) - accuracy_score(truth, theirs)
    assert found.mean == pytest.approx(expected)
    assert found.interval.holds(found.mean)


def test_pairing_identities() -> None:
    right = np.array([1, 0, 1, 1, 0, 1])
    others = np.column_stack([right, 1 - right, right])
    same, opposite, again = paired_differences(right, others, resamples=2000)
    assert (same.mean, same.interval) == (0, Interval(0, 0))  # nothing differs, whatever is drawn
    assert same == again  # all columns share their resamples
    (mirrored,) = paired_differences(1 - right, right[:, None], resamples=2000)
    assert mirrored.mean == -opposite.mean
    assert ends(mirrored.interval) == pytest.approx(
        (-opposite.interval.high, -opposite.interval.low)
    )


def test_pairs_that_always_differ_have_no_spread() -> None:
    (found,) = paired_differences([0, 0, 0], [[1], [1], [1]])
    assert (found.mean, found.interval) == (1, Interval(1, 1))


def test_pairing_narrows_the_interval_of_predictions_that_agree() -> None:
    random = np.random.default_rng(6)
    hard = random.uniform(size=400) < 0.3
    a = ~hard
    b = a ^ (random.uniform(size=400) < 0.02)
    (paired,) = paired_differences(a, b[:, None])
    apart = difference_interval(
        float(a.mean()), wilson_interval(int(a.sum()), 400),
        float(b.mean()), wilson_interval(int(b.sum()), 400),
    )  # fmt: skip
    assert paired.interval.high - paired.interval.low < 0.5 * (apart.high - apart.low)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_bootstraps_refuse_what_has_no_mean(values: list[float]) -> None:
    message = "finite, got .* at index" if values else "no values"
    with pytest.raises(ValueError, match=message):
        bootstrap_means(np.array(values)[:, None])
    with pytest.raises(ValueError, match=message):
        permutation_p_value(values, values)


def test_pairs_need_two_sides() -> None:
    with pytest.raises(ValueError, match="got 2 and 3"):
        paired_differences([0, 1], [[0], [1], [1]])
    with pytest.raises(ValueError, match="got 2 and 1"):
        permutation_p_value([1.0, 2.0], [1.0])


def test_the_bootstrap_of_many_values_is_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(50, 30, size=400)
    found = bootstrap_mean(values.tolist())
    error = values.std(ddof=1) / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(error)
    normal = (values.mean() - 1.96 * error, values.mean() + 1.96 * error)
    assert ends(found.interval) == pytest.approx(normal, abs=0.1 * error)


def test_the_bootstrap_of_three_values_comes_from_all_resamples_there_are() -> None:
    values = [0.0, 30.0, 90.0]
    means = np.array([np.mean(drawn) for drawn in product(values, repeat=3)])
    (found,) = bootstrap_means(np.array(values)[:, None], confidence=0.8)
    expected = np.quantile(means, [0.1, 0.9], method="inverted_cdf")
    assert ends(found.interval) == pytest.approx(expected)


def test_the_bootstrap_interval_holds_the_true_mean_as_often_as_promised() -> None:
    draws = np.random.default_rng(5).exponential(10, size=(60, 200))
    held = sum(mean.interval.holds(10) for mean in bootstrap_means(draws, resamples=500))
    assert 0.88 < held / 200 < 0.99


@pytest.mark.parametrize("values", [[0.1] * 7, [0.0, 0.0]])
def test_constant_values_have_an_interval_without_width(values: list[float]) -> None:
    value = values[0]
    expected = Mean(value, Interval(value, value), len(values), 0.0)
    assert bootstrap_mean(values) == expected
    varied = np.arange(len(values))
    assert bootstrap_means(np.column_stack([varied, values]))[1] == expected


def test_a_single_value_has_no_standard_error() -> None:
    found = bootstrap_mean([3])
    assert found == Mean(3.0, Interval(3.0, 3.0), 1, None)
    assert found.fields() == {
        "mean": 3.0, "low": 3.0, "high": 3.0, "standard_error": None, "n": 1,
    }  # fmt: skip
    assert permutation_p_value([1.0], [3.0]) is None


def test_pairs_tell_apart_what_two_means_cannot() -> None:
    draw = np.random.default_rng(3)
    a = draw.normal(50, 30, size=110)
    b = a + draw.normal(3, 4, size=110)
    (difference,) = paired_differences(a, b[:, None])
    assert difference.mean == pytest.approx((b - a).mean())
    assert difference.interval.low > 0
    p_value = permutation_p_value(a.tolist(), b.tolist())
    assert p_value is not None
    assert p_value < 0.001
    alone, other = bootstrap_means(np.column_stack([a, b]))
    assert other.interval.low < alone.interval.high, "each mean by itself is too uncertain"


def test_the_p_value_of_few_pairs_counts_every_change_of_signs() -> None:
    a, b = [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, -1.0]
    at_least = [abs(sum(signs)) >= 5 for signs in product((1, -1), (2, -2), (3, -3), (1, -1))]
    assert permutation_p_value(a, b) == pytest.approx(sum(at_least) / 16)


def test_the_permutation_p_value_agrees_with_the_t_test_where_that_holds() -> None:
    draw = np.random.default_rng(4)
    a, b = draw.normal(size=80), draw.normal(0.25, size=80)
    expected = stats.ttest_rel(b, a).pvalue
    assert permutation_p_value(a.tolist(), b.tolist()) == pytest.approx(expected, abs=0.02)


def test_equal_values_do_not_differ() -> None:
    values = [1.0, 5.0, 3.0]
    assert permutation_p_value(values, values) == 1


def test_intervals_hold_their_ends_and_cover_each_other() -> None:
    interval = Interval(0.2, 0.4)
    assert interval.holds(0.2)
    assert interval.holds(0.4)
    assert not interval.holds(0.41)
    assert interval.hull(Interval(0.3, 0.5)) == Interval(0.2, 0.5)
