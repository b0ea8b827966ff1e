"""Two models judged by the same judge on the same items."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from llm_lightning.evaluation.judging.judgement import Judgement
from llm_lightning.statistics.crossed import CrossedMean, crossed_difference


@dataclass(frozen=True)
class JudgedDifference:
    """The difference between two models' judged scores."""

    shared: int
    """Items in both: same task, same reference. Repeated items are paired one by one."""
    only_a: int
    only_b: int
    unscored: int
    """Shared items left out because one side or both have no score."""
    mean_a: float
    """Over the items that are compared."""
    mean_b: float
    difference: CrossedMean
    """``b - a``, with its interval and p-value over items; 1 of a single item."""

    def report(self) -> dict[str, Any]:
        """Returns all of it as plain JSON."""
        return {
            "shared": self.shared,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "unscored": self.unscored,
            "mean_a": self.mean_a,
            "mean_b": self.mean_b,
            "difference": self.difference.fields() | {"p_value": self.difference.p_value()},
        }


def judged_difference(a: Judgement, b: Judgement) -> JudgedDifference:
    """Compares two models' scores, item by item.

    Args:
        a: the judgement of one model's responses.
        b: that of the other's.

    Raises:
        ValueError: if no item has a score on both sides; names how many are shared.
    """
    of_a, of_b = _by_item(a), _by_item(b)
    shared = [key for key in of_a if key in of_b]
    pairs = [(of_a[key], of_b[key]) for key in shared]
    scored = [(x, y) for x, y in pairs if x is not None and y is not None]
    if not scored:
        raise ValueError(
            f"nothing to compare: of {len(of_a)} and {len(of_b)} items {len(shared)} are shared "
            f"(same instruction, input and output), none with a score on both sides; give two "
            f"runs with responses to the same test split"
        )
    rubric = a.settings.rubric
    scores_a, scores_b = [x for x, _ in scored], [y for _, y in scored]
    return JudgedDifference(
        shared=len(shared),
        only_a=len(of_a) - len(shared),
        only_b=len(of_b) - len(shared),
        unscored=len(shared) - len(scored),
        mean_a=sum(scores_a) / len(scores_a),
        mean_b=sum(scores_b) / len(scores_b),
        difference=crossed_difference(
            [scores_a], [scores_b], paired=True, scale=rubric.highest - rubric.lowest
        ),
    )


def _by_item(judgement: Judgement) -> dict[tuple[str, str, int], int | None]:
    """Scores by task, reference, and how often both occurred before."""
    seen: Counter[tuple[str, str]] = Counter()
    scores = {}
    for item, judged in zip(judgement.items, judgement.item_scores, strict=True):
        key = (item.task, item.reference)
        scores[(*key, seen[key])] = judged.score
        seen[key] += 1
    return scores
