"""One run folder to its pictures.

- Reads `metrics.csv`, `predictions_test.csv`, `answer_scores.csv` and `summary.json`; writes
  `plots/*.png` beside them.
- A file that is not there costs the figures that need it: an unfinished run gets what there is.
- Points and figures come from `learning_plots`, `prediction_plots` and `answer_plots`, their look
  from `style`.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_lightning.reporting import answer_plots, learning_plots, prediction_plots, style

STAND_IN = "stand-in data or weights: not comparable with published numbers"
UNFINISHED = "unfinished run: there is no summary.json"
PROBABILITY = "probability_"
"""Columns of `predictions_test.csv` are called this and the class name."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFacts:
    """What `summary.json` tells the figures; None for what an unfinished run does not know."""

    run: style.Run
    class_names: list[str] | None = None
    steps_per_epoch: int | None = None
    """Optimizer steps, not batches."""
    examples_per_epoch: int | None = None
    test_accuracy: float | None = None
    """Share from 0 to 1."""
    loss_unit: str = "example"
    """What a loss is a mean over."""
    answer_scores: dict[str, Any] | None = None
    """Mean and interval of each score of the test answers."""


def plot_run(run_dir: Path) -> list[Path]:
    """Draw what a run folder holds into its `plots` folder.

    Returns:
        The files written: `loss.png`, `accuracy.png`, `perplexity.png`, `confusion_matrix.png`,
        `roc.png`, `precision_recall.png` and `answers.png`, those of them that there are data for,
        in this order.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: A file breaks its contract, for example by a label that is no class name.
    """
    figures = run_figures(run_dir)
    return [
        style.save(figure, run_dir / "plots" / f"{name}.png") for name, figure in figures.items()
    ]


def run_figures(run_dir: Path) -> dict[str, Figure]:
    """The figures that `plot_run` writes, by file name without its ending."""
    if not run_dir.is_dir():
        raise FileNotFoundError(f"run_dir must be a folder, got {run_dir}")
    facts = read_facts(run_dir)
    figures: dict[str, Figure] = {}
    metrics = _read_table(run_dir / "metrics.csv")
    if metrics is not None:
        figures |= learning_figures(metrics, facts)
    predictions = _read_table(
        run_dir / "predictions_test.csv",
        usecols=lambda column: column != "text",  # in no figure, and most of the file
        dtype=str,
        keep_default_na=False,  # a class may be called "None" or "1" and stays that string
    )
    if predictions is not None:
        figures |= prediction_figures(predictions, facts)
    if facts.answer_scores is not None:
        per_answer = _read_table(run_dir / "answer_scores.csv")
        figures["answers"] = answer_plots.scores_figure(facts.answer_scores, per_answer, facts.run)
    return figures


def read_facts(run_dir: Path) -> RunFacts:
    """Facts from `summary.json`; without it, the folder's name has to do as a title."""
    path = run_dir / "summary.json"
    if not path.is_file():
        return RunFacts(style.Run(run_dir.resolve().name, UNFINISHED))
    summary = json.loads(path.read_text(encoding="utf-8"))
    return RunFacts(
        run=style.Run(
            title=f"{summary['name']}, seed {summary['seed']}",
            footnote=STAND_IN if summary["notices"] else None,
        ),
        class_names=summary["class_names"],
        steps_per_epoch=summary["steps_per_epoch"],
        examples_per_epoch=summary["examples_per_epoch"],
        test_accuracy=summary["metrics"]["test"].get("accuracy"),
        loss_unit="example" if summary["kind"] == "classification" else "token",
        answer_scores=summary["answers"]["scores"] if summary["answers"] else None,
    )


def learning_figures(metrics: pd.DataFrame, facts: RunFacts) -> dict[str, Figure]:
    """Loss, accuracy and perplexity over training time, each if it was logged."""
    curve = learning_plots.learning_curve(metrics, facts.steps_per_epoch)
    figures = {}
    if curve.filter(like="_loss").notna().to_numpy().any():
        figures["loss"] = learning_plots.loss_figure(
            curve, facts.run, facts.examples_per_epoch, facts.loss_unit
        )
    if curve.filter(like="_accuracy").notna().to_numpy().any():
        figures["accuracy"] = learning_plots.accuracy_figure(
            curve, facts.run, facts.examples_per_epoch, facts.test_accuracy
        )
    if curve["perplexity"].notna().any():
        figures["perplexity"] = learning_plots.perplexity_figure(
            curve, facts.run, facts.examples_per_epoch
        )
    return figures


def prediction_figures(predictions: pd.DataFrame, facts: RunFacts) -> dict[str, Figure]:
    """Confusion matrix, ROC and precision-recall of the test predictions."""
    columns = [column for column in predictions.columns if column.startswith(PROBABILITY)]
    names = facts.class_names or [column.removeprefix(PROBABILITY) for column in columns]
    missing = [name for name in names if PROBABILITY + name not in columns]
    if missing:
        raise ValueError(f"predictions_test.csv must have a column {PROBABILITY + missing[0]!r}")
    if predictions.empty:
        logger.warning("%s: there are no test predictions to draw", facts.run.title)
        return {}
    truth = _class_indices(predictions["label"], names)
    predicted = _class_indices(predictions["predicted"], names)
    counts = prediction_plots.confusion_counts(truth, predicted, len(names))
    figures = {"confusion_matrix": prediction_plots.confusion_figure(counts, names, facts.run)}

    scores = predictions[[PROBABILITY + name for name in names]].to_numpy(dtype=np.float64)
    present = set(truth.tolist())
    if len(present) == 1 or not np.isfinite(scores).all():
        reason = "only one class" if len(present) == 1 else "probabilities that are not finite"
        logger.warning("%s: no ROC and PR curves, the test split has %s", facts.run.title, reason)
        return figures
    if len(present) < len(names):
        absent = [name for index, name in enumerate(names) if index not in present]
        logger.warning("%s: no curves for classes absent from test: %s", facts.run.title, absent)
    roc = prediction_plots.roc_curves(truth, scores, names)
    figures["roc"] = prediction_plots.roc_figure(roc, facts.run)
    precision_recall = prediction_plots.precision_recall_curves(truth, scores, names)
    figures["precision_recall"] = prediction_plots.precision_recall_figure(
        precision_recall, facts.run
    )
    return figures


def _class_indices(column: "pd.Series[str]", class_names: list[str]) -> prediction_plots.IntArray:
    unknown = sorted(set(column) - set(class_names))
    if unknown:
        raise ValueError(f"{column.name} must be one of {class_names}, got {unknown[0]!r}")
    return np.array([class_names.index(name) for name in column], dtype=np.int64)


def _read_table(path: Path, **options: Any) -> pd.DataFrame | None:
    """Read a CSV file; None where it is missing or has not even a header yet."""
    if not path.is_file() or path.stat().st_size == 0:
        return None
    table: pd.DataFrame = pd.read_csv(path, **options)
    return table
