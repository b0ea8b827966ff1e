"""A baseline without a network as a job: fitted and evaluated on the same splits."""

import json
import time
from dataclasses import dataclass
from typing import cast

import torch
from torch.nn import functional as F

from llm_lightning.callbacks.predictions import write_all_predictions
from llm_lightning.data.classification import ClassificationData
from llm_lightning.data.module import DataModule
from llm_lightning.evaluation.baselines import Baseline, Probabilities
from llm_lightning.evaluation.metrics import METRICS, ClassificationMetrics
from llm_lightning.run_format import files, status
from llm_lightning.run_format.atomic_files import replacing_inside
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT
from llm_lightning.run_format.summary import Metrics, Summary, write_summary
from llm_lightning.runs import terminal_output as terminal
from llm_lightning.runs.decisions import decide
from llm_lightning.runs.job import Job, prepare
from llm_lightning.runs.prior_state import PriorState, start, tidy
from llm_lightning.runs.record import averaged_classes, common_facts
from llm_lightning.runs.settings import Found
from llm_lightning.training.peak_memory import peak_memory_mib

_memory: dict[str, dict[str, float | None]] = {}  # test metrics by baseline and data


@dataclass(kw_only=True)
class BaselineJob(Job):
    """Fits one of scikit-learn's classifiers."""

    baseline: Baseline

    @property
    def metric_names(self) -> tuple[str, ...]:
        """See :class:`Job`."""
        return METRICS

    def find(self) -> tuple[Job, Found]:
        """See :class:`Job`."""
        fallback = prepare(self.data, fallback_allowed=self.settings.offline_fallback)
        self.data.setup("fit")
        return self, Found(data=self.data, fallbacks=[fallback] if fallback else [])

    def run(self, found: Found, prior: PriorState) -> Summary:
        """See :class:`Job`."""
        start(self.settings, prior, found.fallbacks)
        with status.recorded(self.settings.run_dir):
            terminal.print_heading(self.settings, [found.data.source, *found.data.describe()])
            summary = self.fit(found)
            terminal.draw(summary, self.settings.run_dir)
            write_summary(self.settings.run_dir, summary)
        tidy(self.settings.run_dir)
        terminal.show(summary, self.settings)
        return summary

    def fit(self, found: Found) -> Summary:
        """Fits, evaluates and writes splits and predictions into the run's folder."""
        started = time.perf_counter()
        folder = self.settings.run_dir
        data = cast(ClassificationData, found.data)
        splits = data.splits
        with replacing_inside(folder / files.SPLITS_FOLDER) as new:
            data.write_splits(new)
        fitted = self.baseline.fit(
            splits.train[SPLIT_TEXT].tolist(), splits.train[SPLIT_LABEL].tolist()
        )
        fitted_after = time.perf_counter() - started
        metrics, probabilities = {}, {}
        for name, table in splits.items():
            probabilities[name] = fitted.probabilities(table[SPLIT_TEXT].tolist())
            metrics[name] = _metrics(probabilities[name], table[SPLIT_LABEL].tolist())
        write_all_predictions(folder, splits, probabilities)
        seconds = time.perf_counter() - started
        parameters = fitted.num_parameters()
        evaluated = {name: len(table) for name, table in splits.items()}
        facts = common_facts(self.settings, data, found.fallbacks, cast(Metrics, metrics)) | {
            "evaluated_examples": evaluated,
            "averaged_classes": averaged_classes(data, evaluated),
            "parameters": {"trainable": parameters, "total": parameters},
            "seconds": {
                "total": seconds,
                "training": fitted_after,
                "validation": 0.0,
                "evaluation": seconds - fitted_after,
            },
            "peak_memory_mib": peak_memory_mib(torch.device("cpu")),
            "device": "cpu",
            "precision": "64",
        }
        summary = Summary.model_validate(facts)
        summary.decision = decide(self.decide, folder, splits.class_names)
        return summary


def baseline_metrics(
    methods: list[str], data: DataModule, num_test: int
) -> dict[str, dict[str, float | None]]:
    """Fits baselines on a classifier's training split; returns their metrics on its test split.

    Results are kept in memory, so that a sweep fits each baseline once for the same splits.

    Args:
        methods: names of baselines.
        data: after ``setup``.
        num_test: how many test examples the network was evaluated on, the first ones.
    """
    splits = cast(ClassificationData, data).splits
    fingerprints = {name: part["sha256"] for name, part in data.facts()["splits"].items()}
    metrics = {}
    for method in methods:
        key = json.dumps([method, num_test, fingerprints], sort_keys=True)
        if key not in _memory:
            train, test = splits.train, splits.test.iloc[:num_test]
            fitted = Baseline(method).fit(train[SPLIT_TEXT].tolist(), train[SPLIT_LABEL].tolist())
            found = fitted.probabilities(test[SPLIT_TEXT].tolist())
            _memory[key] = _metrics(found, test[SPLIT_LABEL].tolist())
        metrics[method] = _memory[key]
    return metrics


def _metrics(probabilities: Probabilities, labels: list[int]) -> dict[str, float | None]:
    """Mean loss in nats an example, and the metrics that networks are evaluated by."""
    scores, targets = torch.from_numpy(probabilities), torch.tensor(labels)
    metrics = ClassificationMetrics(probabilities.shape[1])
    # A tree is as sure of its leaves as can be, and one mistake would cost an infinite loss.
    losses = F.nll_loss(scores.clamp(min=1e-12).log(), targets, reduction="none")
    metrics.update(losses, scores, targets)
    return {
        name: float(value) if bool(value.isfinite()) else None
        for name, value in metrics.compute_and_reset().items()
    }
