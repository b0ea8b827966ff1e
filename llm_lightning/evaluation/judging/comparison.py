"""Two models by the same judge on the same items."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from llm_lightning.evaluation.bootstrap import PairedDifference, paired_difference
from llm_lightning.evaluation.judging.judgement import Judgement


@dataclass(frozen=True)
class Comparison:
    """The difference between two models' answers."""

    shared: int
    """Items that both have: same task, same reference. Repeated ones count as often as both."""
    only_a: int
    only_b: int
    unscored: int
    """Shared items left out because one side or both have no score."""
    mean_a: float
    """Over the items that are compared."""
    mean_b: float
    difference: PairedDifference
    """What ``b`` has over ``a``."""

    def report(self) -> dict[str, Any]:
        """All of it, as plain JSON."""
        return asdict(self)


def compare(a: Judgement, b: Judgement) -> Comparison:
    """Compares two lists of answers, item by item.

    Raises:
        ValueError: if no item has a score on both sides; says how many are shared.
    """
    of_a, of_b = _by_item(a), _by_item(b)
    shared = [key for key in of_a if key in of_b]
    pairs = [(of_a[key], of_b[key]) for key in shared]
    scored = [(x, y) for x, y in pairs if x is not None and y is not None]
    if not scored:
        raise ValueError(
            f"nothing to compare: of {len(of_a)} and {len(of_b)} items {len(shared)} are shared "
            f"(same instruction, input and output), none with a score on both sides; give two "
            f"runs that answered the same test split"
        )
    scores_a, scores_b = [x for x, _ in scored], [y for _, y in scored]
    return Comparison(
        shared=len(shared),
        only_a=len(of_a) - len(shared),
        only_b=len(of_b) - len(shared),
        unscored=len(shared) - len(scored),
        mean_a=sum(scores_a) / len(scores_a),
        mean_b=sum(scores_b) / len(scores_b),
        difference=paired_difference(scores_a, scores_b),
    )


def _by_item(judgement: Judgement) -> dict[tuple[str, str, int], int | None]:
    """Scores by task, reference, and how often both came before."""
    seen: Counter[tuple[str, str]] = Counter()
    scores = {}
    for item, verdict in zip(judgement.items, judgement.verdicts, strict=True):
        key = (item.task, item.reference)
        scores[(*key, seen[key])] = verdict.score
        seen[key] += 1
    return scores
