"""A run's decision: fitted on its validation predictions, applied to those of its test split."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from llm_lightning.evaluation.decisions import Decide, Decided, Decision
from llm_lightning.reporting.analyse.probabilities import calibration
from llm_lightning.reporting.read.run_record import Predictions
from llm_lightning.reporting.read.run_tables import read_predictions
from llm_lightning.run_format.atomic_files import replacing
from llm_lightning.run_format.class_metrics import class_metrics
from llm_lightning.run_format.decision_facts import DecisionEffect, DecisionFacts, Outcome
from llm_lightning.run_format.files import (
    ABSTAINED,
    DECIDED,
    DECISIONS,
    INDEX,
    LABEL,
    PREDICTED,
    PREDICTIONS,
    PROBABILITY,
    VAL_PREDICTIONS,
)


def decide(options: Decide, folder: Path, class_names: list[str]) -> DecisionFacts | None:
    """Fits a decision to a run's predictions, and writes what it decides for the test split.

    Args:
        options: how to decide.
        folder: the run's, with the predictions of both splits.
        class_names: in the order of their indices.

    Returns:
        The decision and what it changes; ``None`` if there is none to make or the probabilities are
        not finite.
    """
    if options.kind == "none":
        return None
    val, test = (
        read_predictions(folder, class_names, file) for file in (VAL_PREDICTIONS, PREDICTIONS)
    )
    if not (val.is_finite and test.is_finite):
        return None
    decision = options.fit(val.probabilities, val.truth)
    decided = decision.decide(test.probabilities)
    _write(folder / DECISIONS, test, decided)
    effects: dict[Literal["train", "val", "test"], DecisionEffect] = {
        "val": _effect(val, decision.decide(val.probabilities), decision),
        "test": _effect(test, decided, decision),
    }
    return DecisionFacts.model_validate(
        vars(decision) | {"fitted_on": len(val.truth), "effects": effects}
    )


def _write(file: Path, test: Predictions, decided: Decided) -> None:
    names = np.asarray(test.class_names, dtype=object)
    table = pd.DataFrame(
        {
            INDEX: np.arange(len(test.truth)),
            LABEL: names[test.truth],
            PREDICTED: names[test.predicted],
            DECIDED: names[decided.labels],
            PROBABILITY: decided.confidence,
            ABSTAINED: decided.abstained,
        }
    )
    with replacing(file) as new:
        table.to_csv(new, index=False, lineterminator="\n")


def _effect(predictions: Predictions, decided: Decided, decision: Decision) -> DecisionEffect:
    truth, before, after = predictions.truth, predictions.predicted, decided.labels
    kept = ~decided.abstained
    changed = kept & (before != after)
    nothing_abstained = np.ones(len(truth), dtype=bool)
    scaled = Predictions(
        predictions.class_names, predictions.texts, truth, after, decided.probabilities
    )
    return DecisionEffect(
        before=_outcome(predictions, before, nothing_abstained, decision),
        after=_outcome(scaled, after, kept, decision),
        abstained=int((~kept).sum()),
        abstained_wrong=int((~kept & (before != truth)).sum()),
        changed=int(changed.sum()),
        corrected=int((changed & (after == truth)).sum()),
        spoiled=int((changed & (before == truth)).sum()),
    )


def _outcome(
    predictions: Predictions,
    labels: np.ndarray,
    kept: np.ndarray,
    decision: Decision,
) -> Outcome:
    """Results of labels on the examples that were kept; loss and calibration are of all."""
    truth, names = predictions.truth, predictions.class_names
    metrics = class_metrics(truth[kept], labels[kept], names)
    right = int((truth == labels)[kept].sum())
    of_truth = predictions.probabilities[np.arange(len(truth)), truth]
    # Calibration is that of the most probable class, whatever was decided.
    most_probable = Predictions(
        names,
        predictions.texts,
        truth,
        predictions.probabilities.argmax(axis=1),
        predictions.probabilities,
    )
    cost = None
    if decision.costs is not None and kept.any():
        cost = float(np.asarray(decision.costs)[truth[kept], labels[kept]].mean())
    f1 = float(metrics.f1[1]) if len(names) == 2 else metrics.macro()["f1"]
    recall = metrics.macro()["recall"]
    return Outcome(
        examples=int(kept.sum()),
        right=right,
        f1=None if np.isnan(f1) else f1,
        balanced_accuracy=None if np.isnan(recall) else recall,
        cost=cost,
        loss=float(-np.log(np.maximum(of_truth, 1e-12)).mean()),
        ece=calibration(most_probable).ece,
    )
