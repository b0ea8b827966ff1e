"""The figures of one run: from its folder's files to ``plots/*.png``, or to matplotlib figures.

A missing file costs only the figures that need it: an unfinished run gets those there are data for.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from llm_lightning.reporting.analyse.learning_curves import learning_curve
from llm_lightning.reporting.analyse.threshold_curves import class_curves
from llm_lightning.reporting.draw import learning_figures, response_figures, style
from llm_lightning.reporting.draw.confusion_figures import confusion_figure
from llm_lightning.reporting.draw.threshold_figures import class_figure
from llm_lightning.reporting.read import run_tables
from llm_lightning.reporting.read.run_record import Predictions
from llm_lightning.run_format.files import CURVES, PLOTS, PREDICTIONS, RESPONSE_SCORES, SUMMARY
from llm_lightning.run_format.run_facts import Score
from llm_lightning.run_format.summary import Summary, read_summary

FALLBACK = "fallback data or weights: not comparable with published numbers"
UNFINISHED = f"unfinished run: there is no {SUMMARY}"

MAX_NAMED_ABSENT = 5
"""Most classes that the warning about classes without test examples names."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFacts:
    """What the figures need from a run's summary; None for what an unfinished run lacks."""

    caption: style.Caption
    class_names: list[str] | None = None
    steps_per_epoch: int | None = None
    """Optimizer steps, not batches."""
    examples_per_epoch: int | None = None
    test_accuracy: float | None = None
    """Share from 0 to 1."""
    baselines: dict[str, float] = field(default_factory=dict)
    """Test accuracy of baselines on the same splits, by name."""
    loss_unit: str = "example"
    """What a loss is a mean over."""
    scores: dict[str, Score] | None = None
    """Scores of the test responses."""


def plot_run(folder: Path, summary: Summary | None = None) -> list[Path]:
    """Draws a run's figures into the ``plots`` folder inside its folder.

    Args:
        folder: the run's.
        summary: of the run, if it is not in the folder yet.

    Returns:
        The files written, as far as there are data for them: ``loss.png``, ``accuracy.png``,
        ``perplexity.png``, ``confusion_matrix.png``, ``roc.png``, ``precision_recall.png`` and
        ``responses.png``, in this order.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if a file is damaged, for example has a label that is no class name.
    """
    return [
        style.save_png(figure, folder / PLOTS / f"{name}.png")
        for name, figure in figures(folder, summary).items()
    ]


def figures(folder: Path, summary: Summary | None = None) -> dict[str, Figure]:
    """The figures that :func:`plot_run` writes, by file name without its ending."""
    if not folder.is_dir():
        raise FileNotFoundError(f"the run's folder must exist, got {folder}")
    facts = _read_facts(folder, summary)
    found: dict[str, Figure] = {}
    if _has(folder / CURVES):
        found |= _learning(_curves(folder), facts)
    if _has(folder / PREDICTIONS):
        try:
            predictions = run_tables.read_predictions(folder, facts.class_names)
        except ValueError as error:
            raise ValueError(f"{folder / PREDICTIONS}: {error}") from error
        found |= _predictions(predictions, facts.caption)
    if facts.scores:
        has_scores = _has(folder / RESPONSE_SCORES)
        per_response = run_tables.read_response_scores(folder) if has_scores else None
        found["responses"] = response_figures.scores_figure(
            facts.scores, per_response, facts.caption
        )
    return found


def _curves(folder: Path) -> pd.DataFrame:
    try:
        return run_tables.read_curves(folder)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{folder / CURVES}: {str(error).splitlines()[0]}") from error


def _has(file: Path) -> bool:
    """Whether there is such a file, with at least a header in it."""
    return file.is_file() and file.stat().st_size > 0


def _read_facts(folder: Path, summary: Summary | None) -> RunFacts:
    if summary is None:
        if not (folder / SUMMARY).is_file():
            return RunFacts(style.Caption(folder.resolve().name, UNFINISHED))
        summary = read_summary(folder)
    return RunFacts(
        caption=style.Caption(
            f"{summary.name}, seed {summary.seed}", FALLBACK if summary.fallbacks else None
        ),
        class_names=summary.class_names,
        steps_per_epoch=summary.steps_per_epoch or None,
        examples_per_epoch=summary.examples_per_epoch,
        test_accuracy=summary.metrics["test"].get("accuracy"),
        baselines=summary.baseline_accuracy,
        loss_unit="example" if summary.kind == "classification" else "token",
        scores=summary.responses.scores if summary.responses else None,
    )


def _learning(metrics: pd.DataFrame, facts: RunFacts) -> dict[str, Figure]:
    """Loss, accuracy and perplexity over training time, each if it was logged."""
    curve = learning_curve(metrics, facts.steps_per_epoch)
    caption, examples = facts.caption, facts.examples_per_epoch
    found = {}
    if curve.filter(like="_loss").notna().to_numpy().any():
        found["loss"] = learning_figures.loss_figure(curve, caption, examples, facts.loss_unit)
    if curve.filter(like="_accuracy").notna().to_numpy().any():
        found["accuracy"] = learning_figures.accuracy_figure(
            curve,
            _with_baselines(caption, facts.baselines),
            examples,
            test_accuracy=facts.test_accuracy,
            baseline=max(facts.baselines.values(), default=None),
        )
    if curve["perplexity"].notna().any():
        found["perplexity"] = learning_figures.perplexity_figure(curve, caption, examples)
    return found


def _with_baselines(caption: style.Caption, baselines: dict[str, float]) -> style.Caption:
    """A caption whose footnote also names the baselines and their test accuracies."""
    if not baselines:
        return caption
    each = (f"{name.replace('_', ' ')} {accuracy:.1%}" for name, accuracy in baselines.items())
    footnotes = [caption.footnote] if caption.footnote else []
    footnotes.append(f"test accuracy of baselines: {', '.join(each)}")
    return style.Caption(caption.title, "; ".join(footnotes))


def _predictions(predictions: Predictions, caption: style.Caption) -> dict[str, Figure]:
    """Confusion matrix, ROC and precision-recall curves of the test predictions."""
    if not predictions.texts:
        logger.warning("%s: there are no test predictions to draw", caption.title)
        return {}
    found = {"confusion_matrix": confusion_figure(predictions, caption)}
    present = set(predictions.truth.tolist())
    if len(present) == 1 or not predictions.is_finite:
        reason = "only one class" if len(present) == 1 else "probabilities that are not finite"
        logger.warning("%s: no ROC and PR curves, the test split has %s", caption.title, reason)
        return found
    absent = [name for i, name in enumerate(predictions.class_names) if i not in present]
    if absent:
        shown = ", ".join(map(repr, absent[:MAX_NAMED_ABSENT]))
        if len(absent) > MAX_NAMED_ABSENT:
            shown += f" and {len(absent) - MAX_NAMED_ABSENT} more"
        logger.warning("%s: no curves for classes absent from test: %s", caption.title, shown)
    found["roc"] = class_figure("roc", class_curves("roc", predictions), caption)
    found["precision_recall"] = class_figure(
        "precision_recall", class_curves("precision_recall", predictions), caption
    )
    return found
