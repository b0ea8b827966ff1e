"""From probabilities to a decision: temperature, threshold, costs, and when to abstain.

A classifier's most probable class is a good decision only if its probabilities are right and all
mistakes cost the same. Both can be corrected after training, on the validation split:

- *Temperature scaling* (Guo et al. 2017, section 4.2) divides all logits by one number, which
  minimises the validation loss. It changes confidences and never which class is most probable.
- A *threshold* on the probability of the second of two classes replaces one half.
- *Costs* choose the class of the lowest expected cost (Elkan 2001).

Logarithms of probabilities are logits up to a constant that softmax does not see, so probabilities
are all that is needed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = ("none", "accuracy", "f1", "cost")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_TEMPERATURES = (0.05, 100.0)  # naive Bayes on long texts needs tens
_SMALLEST = 1e-45  # half a step of float32 above 0, whose logarithm is finite


@dataclass
class Decide:
    """How a classifier's run decides after training, fitted on its validation split.

    Raises:
        ValueError: if a field is out of range or contradicts another.
    """

    kind: str = "none"
    """What the decision maximises on the validation split: ``accuracy``; ``f1``, of the second of
    two classes; ``cost``, the expected cost, which it minimises. ``none``: the most probable class,
    as it is."""
    temperature: bool = True
    """Whether one temperature for all logits, which minimises the validation loss, comes first."""
    costs: Any = None
    """With ``kind=cost``: what each decision costs, a row for each true class and a column for each
    decided one, in the order of the class names: ``[[0,1],[5,0]]`` makes a missed second class five
    times as costly as a false alarm."""
    abstain_below: float = 0.0
    """The decision is left to people where the probability of the decided class is below this; in
    [0, 1). 0: never."""

    def __post_init__(self) -> None:
        """Checks what does not depend on the data."""
        if self.kind not in KINDS:
            raise ValueError(f"decide.kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not 0 <= self.abstain_below < 1:
            raise ValueError(f"decide.abstain_below must lie in [0, 1), got {self.abstain_below}")
        if (self.costs is not None) != (self.kind == "cost"):
            raise ValueError(
                f"decide.costs belongs to decide.kind=cost and is needed there, got "
                f"decide.kind={self.kind}, decide.costs={self.costs}"
            )
        if self.kind == "none" and self.abstain_below:
            raise ValueError("decide.abstain_below needs decide.kind=accuracy, f1 or cost")

    def check(self, class_names: list[str]) -> None:
        """Checks what depends on the classes.

        Raises:
            ValueError: if the decision is not defined for them.
        """
        if self.kind == "f1" and len(class_names) != 2:
            raise ValueError(
                f"decide.kind=f1 is a threshold between two classes, and these are "
                f"{len(class_names)}: use accuracy or cost"
            )
        if self.kind != "cost":
            return
        size = len(class_names)
        try:
            costs = np.asarray(self.costs, dtype=np.float64)
        except (TypeError, ValueError):
            costs = np.empty(0)
        if costs.shape != (size, size) or not np.isfinite(costs).all() or (costs < 0).any():
            raise ValueError(
                f"decide.costs must be {size} rows (true class) of {size} numbers >= 0 (decided "
                f"class), in the order {', '.join(class_names)}, got {self.costs}"
            )
        if ((costs <= costs.diagonal()[:, None]).sum(axis=1) > 1).any():
            raise ValueError(
                f"decide.costs: in each row the right decision must be the cheapest, got "
                f"{self.costs}"
            )

    def fit(self, probabilities: FloatArray, labels: IntArray) -> "Decision":
        """Fits temperature and threshold.

        Args:
            probabilities: (N, num_classes) of the validation split.
            labels: (N,) class indices.
        """
        temperature = fit_temperature(probabilities, labels) if self.temperature else 1.0
        costs = None
        if self.kind == "cost":
            costs = [[float(cost) for cost in row] for row in self.costs]
        threshold = None
        if probabilities.shape[1] == 2:
            scores = scaled(probabilities, temperature)[:, 1]
            threshold = fit_threshold(scores, labels, self.kind, costs)
        return Decision(self.kind, temperature, threshold, costs, self.abstain_below)


@dataclass(frozen=True)
class Decided:
    """What was decided for N examples."""

    probabilities: FloatArray
    """After temperature scaling, shape (N, num_classes)."""
    labels: IntArray
    """Class indices, shape (N,), also where it abstained."""
    confidence: FloatArray
    """Probability of the decided class, shape (N,)."""
    abstained: NDArray[np.bool_]
    """Shape (N,)."""


@dataclass(frozen=True)
class Decision:
    """A fitted decision."""

    kind: str
    temperature: float
    threshold: float | None
    """Least probability of the second of two classes that decides for it; ``None`` for more."""
    costs: list[list[float]] | None
    abstain_below: float

    def decide(self, probabilities: FloatArray) -> Decided:
        """Decides for examples.

        Args:
            probabilities: (N, num_classes), before temperature scaling.
        """
        found = scaled(probabilities, self.temperature)
        if self.threshold is not None:
            labels = (found[:, 1] >= self.threshold).astype(np.int64)
        elif self.costs is not None:
            labels = (found @ np.asarray(self.costs)).argmin(axis=1)
        else:
            labels = found.argmax(axis=1)
        confidence = found[np.arange(len(found)), labels]
        return Decided(found, labels, confidence, confidence < self.abstain_below)


MOST_PROBABLE = Decision("none", 1.0, None, None, 0.0)
"""Of a run that fitted no decision."""


def scaled(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Returns (N, num_classes) probabilities whose logits are divided by a temperature."""
    if temperature == 1:
        return probabilities
    from scipy.special import softmax  # of few decisions, and it takes a while

    found: FloatArray = softmax(_logits(probabilities) / temperature, axis=1)
    return found


def fit_temperature(probabilities: FloatArray, labels: IntArray) -> float:
    """The temperature that minimises the mean negative log-likelihood.

    The loss is convex in 1 / temperature. Where every example is right, it falls for ever as the
    temperature approaches 0, and says nothing about how confident to be: the temperature is 1.

    Args:
        probabilities: (N, num_classes).
        labels: (N,) class indices.
    """
    logits, rows = _logits(probabilities), np.arange(len(labels))
    if not len(labels) or (logits.argmax(axis=1) == labels).all():
        return 1.0
    # Only to fit: predictions should not wait for it.
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_temperature: float) -> float:
        scores = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scores[rows, labels].mean())

    found = minimize_scalar(
        loss, bounds=np.log(_TEMPERATURES), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def fit_threshold(
    scores: FloatArray, labels: IntArray, kind: str, costs: list[list[float]] | None = None
) -> float:
    """The threshold with the best validation result.

    Every threshold between two neighbouring scores gives the same decisions. Of equally good
    intervals the one nearest to the usual threshold is taken, and the usual threshold itself where
    it is inside: one half or, with costs, the one that is right for right probabilities.

    Args:
        scores: (N,) probability of the second class.
        labels: (N,) 0 or 1.
        kind: ``accuracy``, ``f1`` or ``cost``.
        costs: 2 x 2, as in :class:`Decide`.
    """
    usual = 0.5
    if costs is not None:
        alarm, miss = costs[0][1] - costs[0][0], costs[1][0] - costs[1][1]
        usual = alarm / (alarm + miss)
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        return usual  # of a single class nothing can be learnt
    levels, place = np.unique(scores, return_inverse=True)
    # At position j everything from the j-th level up is decided for the second class.
    hits, alarms = (_from_each_level_up(place[labels == label], len(levels)) for label in (1, 0))
    negatives = len(labels) - positives
    if costs is not None:
        quality = -(
            costs[0][1] * alarms
            + costs[0][0] * (negatives - alarms)
            + costs[1][1] * hits
            + costs[1][0] * (positives - hits)
        )
    elif kind == "f1":
        quality = 2 * hits / (hits + alarms + positives)
    else:
        quality = hits + negatives - alarms
    best = np.flatnonzero(quality >= quality.max() - 1e-9)
    low = np.append(0.0, levels)[best]
    # Nothing reaches a threshold above 1.
    high = np.append(levels, np.nextafter(1.0, 2.0))[best]
    distance = np.maximum(np.maximum(low - usual, usual - high), 0)
    nearest = int(distance.argmin())
    if low[nearest] < usual <= high[nearest]:
        return usual
    return float(low[nearest] + high[nearest]) / 2


def _from_each_level_up(place: IntArray, num_levels: int) -> IntArray:
    """Scores at or above each level, and above all of them, shape (num_levels + 1,)."""
    counts = np.bincount(place, minlength=num_levels + 1)
    return counts[::-1].cumsum()[::-1]


def _logits(probabilities: FloatArray) -> FloatArray:
    found: FloatArray = np.log(np.maximum(probabilities, _SMALLEST, dtype=np.float64))
    return found
