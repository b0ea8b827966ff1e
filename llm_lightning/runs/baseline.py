"""A baseline's run: fitted and evaluated on the same splits, with the same run folder."""

import time
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig
from torch.nn import functional as F

from llm_lightning.presentation import console
from llm_lightning.runs import folder as run_folder
from llm_lightning.runs.build import Found, plain
from llm_lightning.data.classification import ClassificationData
from llm_lightning.evaluation.baselines import Baseline, Probabilities
from llm_lightning.evaluation.metrics import ClassificationMetrics
from llm_lightning.runs.record import common_facts
from llm_lightning.training.memory import peak_memory_mib
from llm_lightning.callbacks.predictions import write_predictions


def is_baseline(cfg: DictConfig) -> bool:
    """Whether a configuration asks for a baseline rather than a network."""
    return bool(cfg.task._target_ == Baseline._target_)


def fit_baseline(cfg: DictConfig, found: Found) -> dict[str, Any]:
    """Fits, evaluates and writes the run folder.

    Returns:
        The summary.
    """
    started = time.perf_counter()
    run_dir = Path(cfg.run_dir)
    data = cast(ClassificationData, found.data)
    splits = data.splits
    data.write_splits(run_dir / run_folder.SPLITS)
    console.print_heading(run_dir.parent.name, cfg.seed, [data.source, *data.describe()])
    baseline = Baseline(**plain(cfg.task))
    fitted = baseline.fit(splits.train["Text"].tolist(), splits.train["Label"].tolist())
    fitted_after = time.perf_counter() - started
    metrics, probabilities = {}, {}
    for name, table in splits.items():
        probabilities[name] = fitted.probabilities(table["Text"].tolist())
        metrics[name] = _metrics(probabilities[name], table["Label"].tolist())
    write_predictions(
        run_dir / run_folder.PREDICTIONS, splits.test, splits.class_names, probabilities["test"]
    )
    seconds = time.perf_counter() - started
    parameters = fitted.num_parameters()
    summary = common_facts(cfg, data, found.notices, metrics) | {
        "evaluated_examples": {name: len(table) for name, table in splits.items()},
        "checkpoint": None,
        "other_checkpoints": [],
        "parameters": {"trainable": parameters, "total": parameters, "groups": []},
        "finetune": {},
        "weights": None,
        "epochs": None,
        "optimizer_steps": None,
        "steps_per_epoch": None,
        "examples_per_epoch": None,
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
    run_folder.write_summary(run_dir, summary)
    return summary


def _metrics(probabilities: Probabilities, labels: list[int]) -> dict[str, float | None]:
    """Loss in nats an example, and the metrics that networks are measured by."""
    scores, targets = torch.from_numpy(probabilities), torch.tensor(labels)
    metrics = ClassificationMetrics(probabilities.shape[1])
    # A tree is as sure of its leaves as can be, and one mistake would cost an infinite loss.
    losses = F.nll_loss(scores.clamp(min=1e-12).log(), targets, reduction="none")
    metrics.update(losses, scores, targets)
    return {
        name: float(value) if bool(value.isfinite()) else None
        for name, value in metrics.compute_and_reset().items()
    }
