"""Votes become ratings: Bradley-Terry, with intervals, position bias and agreement with a judge.

Bradley and Terry 1952, "Rank Analysis of Incomplete Block Designs", Biometrika 39: the chance that
``i`` is preferred to ``j`` is ``s_i / (s_i + s_j)``. The likelihood is concave in the logarithms
of ``s``, whose maximum Newton's method finds. A tie, and two bad responses, are half a win for each
side, as in Chatbot Arena (Chiang et al. 2024).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from llm_lightning.evaluation.arena.votes import Vote
from llm_lightning.statistics.choices import PositionBias, cohens_kappa, position_bias
from llm_lightning.statistics.intervals import Interval

BOOTSTRAPS = 1000
PRIOR_DRAWS = 1.0
"""Draws of each run with an imaginary one of average strength: without any, the rating of a run
that never lost would be infinite."""

_ELO = 400 / np.log(10)
_CENTRE = 1000.0
_STEPS = 200
_LONGEST_STEP = 2.0
_PRECISION = 1e-8

_POINTS = {"left": 1.0, "right": 0.0, "tie": 0.5, "both_bad": 0.5}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rating:
    """How strong a run is."""

    run: str
    rating: float
    """On Elo's scale: 400 points are odds of ten to one; 1000 is average."""
    interval: Interval
    """95 %, from resampled tasks."""
    votes: int
    wins: int
    losses: int
    ties: int
    both_bad: int


@dataclass(frozen=True)
class Agreement:
    """Of people with a judge: the better one of two, or neither."""

    votes: int
    """Votes about responses that the judge scored on both sides."""
    same: int
    kappa: float | None
    """Cohen's; ``None`` without votes, or where both always say the same one thing."""


@dataclass(frozen=True)
class Ratings:
    """What the votes say."""

    runs: list[Rating]
    """The strongest first."""
    num_votes: int
    num_tasks: int
    position: PositionBias

    def report(self) -> dict[str, Any]:
        """Returns all of it as plain JSON."""
        return asdict(self)


def ratings(
    votes: Sequence[Vote], runs: Sequence[str], *, bootstraps: int = BOOTSTRAPS, seed: int = 123
) -> Ratings:
    """Rates runs by votes.

    Args:
        votes: about these runs only.
        runs: names, those without a vote among them.
        bootstraps: resamplings of the tasks. Votes about one task are kept together: two people
            who read the same two responses tell less than two who read different ones.
        seed: of the resampling.
    """
    index = {run: place for place, run in enumerate(runs)}
    tasks = {item: place for place, item in enumerate(dict.fromkeys(v.item for v in votes))}
    wins = np.zeros((len(tasks), len(runs), len(runs)))  # [task, i, j]: points of i against j
    for vote in votes:
        left, right, points = index[vote.left_run], index[vote.right_run], _POINTS[vote.choice]
        wins[tasks[vote.item], left, right] += points
        wins[tasks[vote.item], right, left] += 1 - points
    best = bradley_terry(wins.sum(axis=0)[None])[0]
    low = high = best
    if tasks:
        rng = np.random.default_rng(seed)
        shares = np.full(len(tasks), 1 / len(tasks))
        drawn = rng.multinomial(len(tasks), shares, size=bootstraps)  # (bootstraps, tasks)
        resampled = bradley_terry(np.einsum("bt,tij->bij", drawn, wins))
        low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    rated = [
        Rating(
            run=run,
            rating=float(best[place]),
            interval=Interval(float(low[place]), float(high[place])),
            **_counts(votes, run),
        )
        for run, place in index.items()
    ]
    return Ratings(
        runs=sorted(rated, key=lambda one: -one.rating),
        num_votes=len(votes),
        num_tasks=len(tasks),
        position=position_bias(
            vote.choice == "left" for vote in votes if vote.choice in ("left", "right")
        ),
    )


def bradley_terry(wins: Floats) -> Floats:
    """Fits strengths to wins.

    Args:
        wins: (sets, runs, runs), points of the second axis' runs against the third's.

    Returns:
        (sets, runs) ratings on Elo's scale, 1000 being the imaginary average run.
    """
    games = wins + wins.transpose(0, 2, 1)
    points = wins.sum(axis=2) + PRIOR_DRAWS / 2
    strengths = np.zeros(points.shape)  # logarithms; that of the imaginary run is 0
    diagonal = np.arange(points.shape[1])
    for _ in range(_STEPS):
        chances = expit(strengths[:, :, None] - strengths[:, None, :])
        prior = expit(strengths)
        gradient = points - (games * chances).sum(axis=2) - PRIOR_DRAWS * prior
        curvature = -games * chances * (1 - chances)
        curvature[:, diagonal, diagonal] = -curvature.sum(axis=2) + (
            PRIOR_DRAWS * prior * (1 - prior) - curvature[:, diagonal, diagonal]
        )
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        strengths += np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        if np.abs(step).max(initial=0.0) < _PRECISION:
            break
    rated: Floats = _CENTRE + _ELO * strengths
    return rated


def agreement(votes: Iterable[Vote], scores: Mapping[str, Mapping[str, float | None]]) -> Agreement:
    """Compares votes with a judge's scores.

    Args:
        votes: of people.
        scores: the judge's, by run and item; ``None`` where its reply gave none. The higher score
            is the judge's choice; equal ones are a tie.
    """
    said: list[tuple[int, int]] = []
    for vote in votes:
        left = scores.get(vote.left_run, {}).get(vote.item)
        right = scores.get(vote.right_run, {}).get(vote.item)
        if left is not None and right is not None:
            person = {"left": 1, "right": -1}.get(vote.choice, 0)
            said.append((person, int(np.sign(left - right))))
    same = sum(person == judge for person, judge in said)
    return Agreement(len(said), same, cohens_kappa(said))


def _counts(votes: Iterable[Vote], run: str) -> dict[str, int]:
    found = {"votes": 0, "wins": 0, "losses": 0, "ties": 0, "both_bad": 0}
    for vote in votes:
        if run not in (vote.left_run, vote.right_run):
            continue
        found["votes"] += 1
        side = "left" if vote.left_run == run else "right"
        outcome = {"tie": "ties", "both_bad": "both_bad", side: "wins"}.get(vote.choice, "losses")
        found[outcome] += 1
    return found
