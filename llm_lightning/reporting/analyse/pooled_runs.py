"""The runs of a seed on several splits, or on all folds, as one run that tested all their messages.

Every message counts once: in cross-validation each is tested once; of random splits, which overlap,
the first split that tests a message counts. The accuracy is that of the messages that count, so
that their number is the right one for intervals and for tests between rows. Other metrics are means
over the splits, weighted by their tested messages.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from llm_lightning.reporting.read.run_record import Predictions, Problem, RunRecord
from llm_lightning.run_format.splits import SPLITS
from llm_lightning.run_format.summary import Metrics

_SPLITTING = ("data.split_seed", "data.fold")


def pool(runs: Sequence[RunRecord]) -> tuple[list[RunRecord], list[Problem]]:
    """Makes one run of those that differ in the split only.

    Args:
        runs: classification runs.

    Returns:
        The runs, those of a single split as they are; and where folds are missing.
    """
    groups: dict[object, list[RunRecord]] = {}
    for run in runs:
        is_one_of_many = any(override.startswith(_SPLITTING) for override in run.summary.overrides)
        key = (run.setting, run.summary.seed, run.init_seed, run.order_seed)
        groups.setdefault(key if is_one_of_many else id(run), []).append(run)
    pooled, problems = [], []
    for group in groups.values():
        parts = sorted(group, key=lambda run: run.split)
        pooled.append(_pooled(parts) if len(parts) > 1 else parts[0])
        problems += _missing(parts)
    return pooled, problems


def _pooled(parts: list[RunRecord]) -> RunRecord:
    first = parts[0].summary
    predictions = _counted_once(parts)
    tested = (
        sum(part.num_evaluated for part in parts) if predictions is None else len(predictions.texts)
    )
    metrics: Metrics = {split: _means(parts, split) for split in SPLITS}
    if predictions is not None:
        metrics["test"]["accuracy"] = float(predictions.right.mean())
    facts = first.data.splits
    fingerprints = sorted(part.summary.data.splits["test"].sha256 for part in parts)
    test = facts["test"].model_copy(
        update={
            "examples": tested,
            "sha256": hashlib.sha256("".join(fingerprints).encode()).hexdigest(),
            "class_counts": _class_counts(predictions) or facts["test"].class_counts,
        }
    )
    seconds = {
        name: float(np.mean([getattr(part.summary.seconds, name) for part in parts]))
        for name in ("total", "training", "validation", "evaluation")
    }
    peaks = [part.summary.peak_memory_mib for part in parts]
    summary = first.model_copy(
        update={
            "metrics": metrics,
            "fallbacks": list(dict.fromkeys(f for p in parts for f in p.summary.fallbacks)),
            "evaluated_examples": {**first.evaluated_examples, "test": tested},
            "data": first.data.model_copy(update={"splits": {**facts, "test": test}}),
            "seconds": first.seconds.model_copy(update=seconds),
            "peak_memory_mib": max((peak for peak in peaks if peak is not None), default=None),
            "baselines": _mean_baselines(parts),
        }
    )
    return RunRecord(parts[0].folder, parts[0].shown, summary, None, predictions, parts=parts)


def _counted_once(parts: Sequence[RunRecord]) -> Predictions | None:
    """The predictions for all tested messages, each of the first split that tests it."""
    found = [part.predictions for part in parts if part.predictions is not None]
    if len(found) < len(parts):
        return None
    seen: set[str] = set()
    kept = []
    for predictions in found:
        kept.append(np.array([text not in seen for text in predictions.texts], dtype=bool))
        seen.update(predictions.texts)
    return Predictions(
        found[0].class_names,
        [text for one, keep in zip(found, kept, strict=True) for text in np.array(one.texts)[keep]],
        np.concatenate([one.truth[keep] for one, keep in zip(found, kept, strict=True)]),
        np.concatenate([one.predicted[keep] for one, keep in zip(found, kept, strict=True)]),
        np.concatenate([one.probabilities[keep] for one, keep in zip(found, kept, strict=True)]),
    )


def _means(parts: Sequence[RunRecord], split: str) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for name in parts[0].summary.metrics[split]:  # type: ignore[index]
        values = [part.metric(split, name) for part in parts]
        weights = [part.summary.evaluated_examples.get(split, 1) for part in parts]  # type: ignore[call-overload]
        known = [value for value in values if value is not None]
        is_complete = len(known) == len(parts)
        means[name] = float(np.average(known, weights=weights)) if is_complete else None
    return means


def _mean_baselines(parts: Sequence[RunRecord]) -> dict[str, dict[str, float | None]]:
    """Mean accuracy of each baseline that all of them recorded."""
    recorded = [part.summary.baseline_accuracy for part in parts]
    weights = [part.num_evaluated for part in parts]
    return {
        name: {"accuracy": float(np.average([found[name] for found in recorded], weights=weights))}
        for name in recorded[0]
        if all(name in found for found in recorded)
    }


def _class_counts(predictions: Predictions | None) -> dict[str, int] | None:
    if predictions is None:
        return None
    counts = Counter(predictions.truth.tolist())
    return {name: counts[label] for label, name in enumerate(predictions.class_names)}


def _missing(parts: Sequence[RunRecord]) -> list[Problem]:
    """Which folds of a cross-validation have no results."""
    problems = []
    for seed in dict.fromkeys(part.split[0] for part in parts):
        own = [part for part in parts if part.split[0] == seed]
        folds = own[0].summary.data.folds
        if folds is None:
            continue
        missing = sorted(set(range(folds)) - {part.split[1] for part in own})
        if missing:
            names = ", ".join(map(str, missing))
            reason = f"of {folds} folds, {names} have no results: their messages are not tested"
            problems.append(Problem(own[0].shown, "used", reason))
    return problems
