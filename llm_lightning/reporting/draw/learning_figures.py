"""Loss, accuracy and perplexity over training time, of one run or of a row of runs.

The figures of a run count time in finished epochs, with the training examples seen above the same
ticks. The panel of a row shows means over seeds and the range of the seeds.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from llm_lightning.reporting.analyse.learning_curves import RowCurves
from llm_lightning.reporting.draw import style

_LOSSES = ["step_loss", "train_loss", "val_loss", "response_loss"]

MAX_MARKED = 12
"""Most epochs that are marked with a point each; of more only the last is."""


def loss_figure(
    curve: pd.DataFrame,
    caption: style.Caption,
    examples_per_epoch: int | None,
    unit: str = "example",
) -> Figure:
    """Loss over epochs: steps thin and pale, epoch means and validation bold.

    The loss of responses alone is a line of its own, unless the loss covers nothing else.

    Args:
        curve: from ``learning_curve``, with at least one loss in it.
        caption: title and footnote.
        examples_per_epoch: examples per epoch; None, if unknown, leaves the upper axis out.
        unit: what the loss is a mean over: an example or a token.
    """
    figure, axes = style.new_figure("Cross-entropy loss", caption)
    ends = []
    steps = curve["step_loss"].dropna()
    if not steps.empty:
        axes.plot(steps.index, steps, color=style.STEEL, alpha=0.5, linewidth=0.9, zorder=1)
        ends.append((float(steps.iloc[-1]), "train, single steps", style.STEEL))
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
    axes.set_ylim(0, _top(curve[_LOSSES].max().max()))
    _finish(axes, curve, ends, examples_per_epoch)
    return figure


def _top(highest: float) -> float:
    """The upper end of an axis from 0, with room for a marker at the highest value."""
    return 1.08 * highest if np.isfinite(highest) and highest > 0 else 1.0


def accuracy_figure(
    curve: pd.DataFrame,
    caption: style.Caption,
    examples_per_epoch: int | None,
    *,
    test_accuracy: float | None = None,
    baseline: float | None = None,
) -> Figure:
    """Accuracy over epochs, with single values as horizontal lines.

    Args:
        curve: from ``learning_curve``, with at least one accuracy in it.
        caption: title and footnote.
        examples_per_epoch: examples per epoch; None, if unknown, leaves the upper axis out.
        test_accuracy: share from 0 to 1.
        baseline: test accuracy of the best baseline, a share from 0 to 1.
    """
    figure, axes = style.new_figure("Accuracy", caption)
    ends = _draw_splits(axes, curve, "accuracy", "{:.1%}")
    lowest = float(np.nanmin(curve[["train_accuracy", "val_accuracy"]]))
    for name, value, colour in (
        ("test", test_accuracy, style.SPLIT_COLOURS["test"]),
        ("best baseline", baseline, style.GREY),
    ):
        if value is not None:
            axes.axhline(value, color=colour, linewidth=1.5, linestyle=(0, (1, 1.5)), zorder=2)
            ends.append((value, f"{name} {value:.1%}", colour))
            lowest = min(lowest, value)
    axes.set_ylabel("Accuracy (%)")
    style.percent_axis(axes.yaxis)
    # Up to 100 %, the end that matters, from a multiple of 10 % with some room below the lowest.
    axes.set_ylim(max(0.0, np.floor(10 * lowest - 0.2) / 10), 1)
    _finish(axes, curve, ends, examples_per_epoch)
    return figure


def perplexity_figure(
    curve: pd.DataFrame, caption: style.Caption, examples_per_epoch: int | None
) -> Figure:
    """Validation perplexity over epochs, on a logarithmic axis."""
    figure, axes = style.new_figure("Validation perplexity", caption)
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
    """Draws the values of each epoch; returns height, name and colour of the lines' ends."""
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
    """Sets the axes of epochs and of examples, with the same ticks, and names the lines."""
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


def row_panels(rows: Sequence[RowCurves]) -> list[Figure]:
    """A small panel for each row, all with the same axes: means over seeds, and their range."""
    if not rows:
        return []
    tables = [table for curves in rows for table in (curves.training, curves.validation)]
    values = pd.concat(tables)
    is_share = rows[0].is_share
    low, high = float(values.min().min()), float(values.max().max())
    limits = (max(0.0, np.floor(10 * low) / 10), 1.0) if is_share else (0.0, _top(high))
    return [_row_panel(curves, limits, max(1.0, float(values.index.max()))) for curves in rows]


def _row_panel(curves: RowCurves, limits: tuple[float, float], last_epoch: float) -> Figure:
    figure, axes = style.new_panel(250, 160, style.Margins(36, 10, 10, 36))
    axes.set_xlim(0, last_epoch)
    axes.set_ylim(limits)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    if curves.is_share:
        style.percent_axis(axes.yaxis, nbins=4)
    style.label_axes(axes, "epochs")
    for name, table, colour in (
        ("training", curves.training, style.SPLIT_COLOURS["train"]),
        ("validation", curves.validation, style.SPLIT_COLOURS["val"]),
    ):
        if table.empty:
            continue
        means = table.mean(axis=1)
        if table.shape[1] > 1:
            lowest, highest = table.min(axis=1), table.max(axis=1)
            axes.fill_between(means.index, lowest, highest, color=colour, alpha=0.2, linewidth=0)
        axes.plot(means.index, means, color=colour, linewidth=2, clip_on=False)
        points = list(zip(means.index.astype(float), means, strict=True))
        for epoch, mean in points if len(points) <= MAX_MARKED else points[-1:]:
            (dot,) = axes.plot(epoch, mean, "o", color=colour, markersize=5.5, clip_on=False)
            dot.set_markeredgewidth(0)
            value = f"{100 * mean:.2f} %" if curves.is_share else f"{mean:.3f}"
            style.tip(dot, f"{name}, epoch {epoch:g}: {value}")
    return figure
