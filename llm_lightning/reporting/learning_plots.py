"""Loss, accuracy and perplexity over training time: the points, and the figures that show them.

Time is counted in epochs done, with the training examples seen above the same ticks. A value of a
step stands where that step ends, a value of an epoch where the epoch ends.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from llm_lightning.reporting import style

METRICS = {
    "step_loss": "train/loss",
    "train_loss": "train/epoch_loss",
    "val_loss": "val/loss",
    "train_accuracy": "train/accuracy",
    "val_accuracy": "val/accuracy",
    "response_loss": "val/response_loss",
    "perplexity": "val/perplexity",
}
"""Each column of `learning_curve` and the metric in `metrics.csv` that it shows."""

STEP_LINE, STEP_NAME = "#A9CCE3", "#3F7FA8"
"""Paler kin of the training colour: the line may be faint, its name must be readable."""


def learning_curve(metrics: pd.DataFrame, steps_per_epoch: int | None) -> pd.DataFrame:
    """Losses and accuracies over epochs done.

    A step's loss stands at (step + 1) / steps_per_epoch and what is logged once an epoch at
    epoch + 1. A point logged twice, as by a resumed run, keeps its last value; values that are not
    finite are left out.

    Args:
        metrics: Lightning's `metrics.csv`: sparse rows, `step` and `epoch` counted from 0.
        steps_per_epoch: Optimizer steps in an epoch; None, if unknown, leaves the step losses out.

    Returns:
        The columns of `METRICS`, NaN where nothing was logged, indexed by `epochs_done`.
    """
    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise ValueError(f"steps_per_epoch must be at least 1, got {steps_per_epoch}")
    found = {name: metric for name, metric in METRICS.items() if metric in metrics}
    if steps_per_epoch is None:
        found.pop("step_loss", None)
    curves = {}
    for name, metric in found.items():
        logged = metrics[np.isfinite(metrics[metric].astype(float))]
        if name == "step_loss":
            epochs_done = (logged["step"] + 1.0) / (steps_per_epoch or 1)
        else:
            epochs_done = logged["epoch"] + 1.0
        curves[name] = logged[metric].astype(float).groupby(epochs_done).last()
    table = pd.DataFrame(curves, columns=list(METRICS), dtype=float)
    return table.sort_index().rename_axis("epochs_done")


def loss_figure(
    curve: pd.DataFrame, run: style.Run, examples_per_epoch: int | None, unit: str = "example"
) -> Figure:
    """Loss over epochs: steps thin and pale, epoch means and validation bold.

    The loss of responses alone is a line of its own, unless nothing else was learnt.

    Args:
        curve: From `learning_curve`, with at least one loss in it.
        run: Title and footnote.
        examples_per_epoch: Examples in an epoch; None, if unknown, leaves the upper axis out.
        unit: What the loss is a mean over: an example or a token.
    """
    figure, axes = style.new_figure("Cross-entropy loss", run)
    ends = []
    steps = curve["step_loss"].dropna()
    if not steps.empty:
        axes.plot(steps.index, steps, color=STEP_LINE, linewidth=0.9, zorder=1)
        ends.append((float(steps.iloc[-1]), "train, single steps", STEP_NAME))
    ends += _draw_splits(axes, curve, "loss", "{:.3f}")
    responses = curve["response_loss"].dropna()
    if not responses.empty and not np.allclose(responses, curve["val_loss"][responses.index]):
        axes.plot(
            responses.index,
            responses,
            color=style.PURPLE,
            linewidth=2,
            linestyle="--",
            marker="D",
            markersize=5,
            clip_on=False,
            zorder=3,
        )
        last = float(responses.iloc[-1])
        ends.append((last, f"val. responses {last:.3f}", style.PURPLE))
    axes.set_ylabel(f"Loss (nats per {unit})")
    axes.set_ylim(bottom=0)
    _finish(axes, curve, ends, examples_per_epoch)
    return figure


def accuracy_figure(
    curve: pd.DataFrame,
    run: style.Run,
    examples_per_epoch: int | None,
    test_accuracy: float | None = None,
) -> Figure:
    """Accuracy over epochs; the test accuracy, a share from 0 to 1, is a level line if given."""
    figure, axes = style.new_figure("Accuracy", run)
    ends = _draw_splits(axes, curve, "accuracy", "{:.1%}")
    lowest = float(np.nanmin(curve[["train_accuracy", "val_accuracy"]]))
    if test_accuracy is not None:
        colour = style.SPLIT_COLOURS["test"]
        axes.axhline(test_accuracy, color=colour, linewidth=1.5, linestyle=(0, (1, 1.5)), zorder=2)
        ends.append((test_accuracy, f"test {test_accuracy:.1%}", colour))
        lowest = min(lowest, test_accuracy)
    axes.set_ylabel("Accuracy (%)")
    style.percent_axis(axes.yaxis)
    # Up to 100 %, the end that matters, from a whole ten with some room below the lowest point.
    axes.set_ylim(max(0.0, np.floor(10 * lowest - 0.2) / 10), 1)
    _finish(axes, curve, ends, examples_per_epoch)
    return figure


def perplexity_figure(
    curve: pd.DataFrame, run: style.Run, examples_per_epoch: int | None
) -> Figure:
    """Validation perplexity over epochs, on a logarithmic axis."""
    figure, axes = style.new_figure("Validation perplexity", run)
    values = curve["perplexity"].dropna()
    colour = style.SPLIT_COLOURS["val"]
    axes.plot(values.index, values, color=colour, linewidth=2, marker="s", clip_on=False)
    axes.set_yscale("log")
    axes.set_ylim(0.9 * values.min(), 1.1 * values.max())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("Perplexity (log scale)")
    last = float(values.iloc[-1])
    _finish(axes, curve, [(last, f"{last:,.1f}", colour)], examples_per_epoch)
    return figure


def _draw_splits(
    axes: Axes, curve: pd.DataFrame, quantity: str, number: str
) -> list[tuple[float, str, str]]:
    """Draw the values of each epoch; returns height, name and colour of the lines' ends."""
    ends = []
    for split, word, marker in (("train", "train", "o"), ("val", "validation", "s")):
        values = curve[f"{split}_{quantity}"].dropna()
        if values.empty:
            continue
        colour = style.SPLIT_COLOURS[split]
        # Unclipped, so that a marker on the frame, as at 100 %, stays whole.
        axes.plot(
            values.index,
            values,
            color=colour,
            linewidth=2,
            marker=marker,
            markersize=min(6.0, max(2.5, 90 / len(values))),
            clip_on=False,
            zorder=3,
        )
        last = float(values.iloc[-1])
        ends.append((last, f"{word} {number.format(last)}", colour))
    return ends


def _finish(
    axes: Axes,
    curve: pd.DataFrame,
    ends: Sequence[tuple[float, str, str]],
    examples_per_epoch: int | None,
) -> None:
    """Set the epoch axis, the examples axis with its ticks above the same epochs, and names."""
    last = float(curve.index.max())
    locator = MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=last >= 1)
    ticks = [tick for tick in locator.tick_values(0, last) if 0 <= tick <= last]
    axes.set_xlim(0, last)
    axes.set_xticks(ticks)
    axes.set_xlabel("Epochs done")
    axes.grid(axis="y", color=style.PALE, linewidth=0.6)
    if examples_per_epoch is not None:
        top = axes.secondary_xaxis("top")
        top.set_xticks(ticks, [f"{tick * examples_per_epoch:,.0f}" for tick in ticks])
        top.set_xlabel("Training examples seen", fontsize=9, color=style.GREY)
        top.tick_params(color=style.GREY, labelcolor=style.GREY, labelsize=8)
        top.spines["top"].set_color(style.GREY)
    style.name_line_ends(axes, ends)
