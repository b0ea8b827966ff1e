"""Ratings recover known strengths; bias and agreement have the values of hand calculations."""

import math

import numpy as np
import pytest

from llm_lightning.evaluation.arena.ratings import agreement, bradley_terry, ratings
from llm_lightning.evaluation.arena.votes import Vote
from llm_lightning.statistics.choices import cohens_kappa, position_bias


def vote(left: str, right: str, choice: str, item: str = "i", voter: str = "v") -> Vote:
    return Vote(item, left, right, "l", "r", choice, voter, "2026-01-01T00:00:00+00:00")


def test_strengths_of_ten_to_one_are_400_points_apart() -> None:
    wins = np.array([[[0.0, 10_000.0], [1_000.0, 0.0]]])
    ((a, b),) = bradley_terry(wins).tolist()
    assert a - b == pytest.approx(400, abs=0.5)
    assert a + b == pytest.approx(2000, abs=1), "the average is 1000"


def test_known_strengths_are_recovered_within_their_intervals() -> None:
    rng = np.random.default_rng(0)
    names, strengths = ["a", "b", "c"], np.array([4.0, 2.0, 1.0])
    votes = []
    for number in range(1500):
        i, j = rng.choice(3, size=2, replace=False)
        won = rng.random() < strengths[i] / (strengths[i] + strengths[j])
        votes.append(vote(names[i], names[j], "left" if won else "right", item=str(number)))
    found = ratings(votes, names, bootstraps=200)
    assert [one.run for one in found.runs] == names
    truth = 400 * np.log10(strengths)
    centred = {one.run: one.rating for one in found.runs}
    differences = [centred["a"] - centred["b"], centred["b"] - centred["c"]]
    assert differences == pytest.approx([truth[0] - truth[1], truth[1] - truth[2]], abs=40)
    for one in found.runs:
        assert one.interval.low < one.rating < one.interval.high
        assert 20 < one.interval.high - one.interval.low < 80


def test_votes_about_one_task_are_resampled_together() -> None:
    together = [vote("a", "b", "left", item=str(n // 10)) for n in range(40)]
    together += [vote("a", "b", "right", item=str(10 + n // 10)) for n in range(40)]
    apart = [vote("a", "b", one.choice, item=str(number)) for number, one in enumerate(together)]
    widths = [
        one.interval.high - one.interval.low
        for votes in (together, apart)
        for one in ratings(votes, ["a", "b"], bootstraps=400).runs[:1]
    ]
    assert widths[0] > 2 * widths[1]


def test_ties_and_two_bad_responses_are_half_a_win_each() -> None:
    found = ratings(
        [vote("a", "b", "tie"), vote("b", "a", "both_bad"), vote("a", "b", "left"),
         vote("a", "b", "right")], ["a", "b", "c"], bootstraps=10,
    )  # fmt: skip
    by_run = {one.run: one for one in found.runs}
    assert by_run["a"].rating == pytest.approx(1000, abs=1e-3)
    assert by_run["b"].rating == pytest.approx(1000, abs=1e-3)
    of_a = by_run["a"]
    counts = (of_a.votes, of_a.wins, of_a.losses, of_a.ties, of_a.both_bad)
    assert counts == (4, 1, 1, 1, 1)
    assert by_run["c"].votes == 0
    assert by_run["c"].rating == 1000


def test_a_run_that_never_lost_has_a_finite_rating() -> None:
    best, worst = ratings([vote("a", "b", "left")] * 3, ["a", "b"], bootstraps=10).runs
    assert best.run == "a"
    assert 1000 < best.rating < 1500
    assert best.rating - 1000 == pytest.approx(1000 - worst.rating)


def test_without_votes_everybody_is_average() -> None:
    found = ratings([], ["a", "b"])
    assert [one.rating for one in found.runs] == [1000, 1000]
    assert found.position.share is None


def test_position_bias_counts_decided_votes() -> None:
    votes = [vote("a", "b", "left")] * 15 + [vote("b", "a", "right")] * 5 + [vote("a", "b", "tie")]
    position = ratings(votes, ["a", "b"], bootstraps=10).position
    assert (position.first, position.decided, position.share) == (15, 20, 0.75)
    assert position.interval is not None
    # Wilson's interval for 15 of 20.
    assert (position.interval.low, position.interval.high) == pytest.approx(
        (0.531, 0.888), abs=1e-3
    )
    assert position_bias([]).interval is None


def test_kappa_is_that_of_cohens_formula() -> None:
    # 20 both yes, 15 both no, 5 and 10 apart: the usual textbook table, kappa 0.4.
    said = [(1, 1)] * 20 + [(1, -1)] * 5 + [(-1, 1)] * 10 + [(-1, -1)] * 15
    assert cohens_kappa(said) == pytest.approx(0.4)
    assert cohens_kappa([(1, 1), (1, 1)]) is None
    assert cohens_kappa([]) is None


def test_agreement_with_a_judges_scores() -> None:
    scores = {"a": {"1": 80, "2": 10, "3": 50, "4": None}, "b": {"1": 20, "2": 90, "3": 50, "4": 1}}
    votes = [
        vote("a", "b", "left", "1"),  # both: a
        vote("b", "a", "right", "2"),  # person: a, judge: b
        vote("a", "b", "both_bad", "3"),  # both: neither
        vote("a", "b", "left", "4"),  # the judge has no score
    ]
    found = agreement(votes, scores)
    assert (found.votes, found.same) == (3, 2)
    # Chance: people say left, right, neither once each; so does the judge: left, left, neither.
    assert found.kappa == pytest.approx((2 / 3 - 1 / 3) / (1 - 1 / 3))
    assert math.isfinite(found.kappa or math.nan)
