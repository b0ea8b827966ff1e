"""Against published numbers, other libraries' results, and what must hold of any data."""

import numpy as np
import pytest
from scipy import stats

from llm_lightning.statistics.intervals import (
    Interval,
    difference_interval,
    holm,
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


def test_intervals_hold_their_ends() -> None:
    interval = Interval(0.2, 0.4)
    assert interval.holds(0.2)
    assert interval.holds(0.4)
    assert not interval.holds(0.41)
