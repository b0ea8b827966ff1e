"""Confusion matrices: the figure of one run and the panel of a row."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.draw import style
from llm_lightning.reporting.read.run_record import Predictions

MAX_NUMBERED_CLASSES = 30
"""Most classes whose figure has numbers in its cells; beyond, colour has to do."""

MAX_NUMBERED_IN_PANEL = 5
"""The same for a panel."""

MAX_NAMED_IN_PANEL = 12
"""Most classes whose names are at the sides of a panel."""


def confusion_counts(predictions: Predictions) -> NDArray[np.int64]:
    """Examples by true class (row) and predicted class (column)."""
    num_classes = len(predictions.class_names)
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (predictions.truth, predictions.predicted), 1)
    return counts


def confusion_figure(predictions: Predictions, caption: style.Caption) -> Figure:
    """Counts and percentages of each row; the shade is the share of the row."""
    counts, names = confusion_counts(predictions), predictions.class_names
    num_classes = len(names)
    numbered = num_classes <= MAX_NUMBERED_CLASSES
    # The figure grows with the classes: a cell holds two lines of text, or is as high as its name.
    height = max(style.SIZE[1], 1.8 + (0.45 if numbered else 0.15) * num_classes)
    width = max(style.SIZE[0], height + 1.0)
    heading = f"Confusion matrix, {counts.sum():,} test examples"
    figure, axes = style.new_figure(heading, caption, size=(width, height))
    size = 13.0 if num_classes <= 3 else 9.0 if num_classes <= 6 else 6.5
    _draw_cells(axes, counts, size if numbered else None)
    shown = [style.plain(name, limit=20) for name in names]
    axes.set_xticks(range(num_classes), shown, parse_math=False)
    axes.set_yticks(range(num_classes), shown, parse_math=False)
    inches = 0.085 * max(map(len, shown))
    if inches * num_classes > width - 0.8 - inches:  # names side by side would touch
        for label in axes.get_xticklabels():
            label.set(rotation=35 if numbered else 90, rotation_mode="anchor")
            label.set(ha="right", va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class (each row is 100%)")
    return figure


def confusion_panel(row: Row) -> Figure | None:
    """The confusion matrix of all seeds of a row together; None without predictions."""
    found = [run.predictions for run in row.runs if run.predictions is not None]
    if not found:
        return None
    counts = np.sum([confusion_counts(predictions) for predictions in found], axis=0)
    num_classes = len(counts)
    named = num_classes <= MAX_NAMED_IN_PANEL
    names = [style.plain(name, limit=14) if named else "" for name in found[0].class_names]
    widest = max(map(style.text_width, names))
    side = max(20.0, 170 / num_classes)
    is_upright = widest > side - 6  # names side by side would touch
    left, below = 30 + widest, 12 + (widest if is_upright else 12)
    width, height = left + side * num_classes + 6, 6 + side * num_classes + below + 18
    margins = style.Margins(left, 6, 6, below + 18)
    figure, axes = style.new_panel(width, height, margins, grid=None)
    size = 12 if side > 50 else 9
    _draw_cells(axes, counts, size if num_classes <= MAX_NUMBERED_IN_PANEL else None)
    axes.set_xticks(range(num_classes), names, parse_math=False)
    axes.set_yticks(range(num_classes), names, parse_math=False)
    if is_upright:
        for label in axes.get_xticklabels():
            label.set(rotation=90, rotation_mode="anchor", ha="right", va="center")
    style.label_axes(axes, "predicted", "true")
    axes.yaxis.set_label_coords(-(left - 12) / (side * num_classes), 0.5)
    axes.xaxis.set_label_coords(0.5, -(below + 2) / (side * num_classes))
    return figure


def _draw_cells(axes: Axes, counts: NDArray[np.int64], size: float | None) -> None:
    """Draws the cells: blue where the prediction is right, vermillion where it is wrong.

    Args:
        axes: an empty plot.
        counts: from :func:`confusion_counts`.
        size: of the numbers; None leaves them out.
    """
    num_classes = len(counts)
    axes.set(xlim=(-0.5, num_classes - 0.5), ylim=(num_classes - 0.5, -0.5))
    totals = counts.sum(axis=1)
    for (truth, predicted), count in np.ndenumerate(counts):
        # A class without examples has no percentages, rather than 0 / 0.
        share = count / totals[truth] if totals[truth] else 0.0
        axes.add_patch(
            Rectangle(
                (predicted - 0.49, truth - 0.49),
                0.98,
                0.98,
                color=style.BLUE if truth == predicted else style.VERMILLION,
                # Pale enough for text on it to be readable on a light and on a dark page.
                alpha=0.06 + 0.42 * share,
                linewidth=0,
            )
        )
        if size is not None:
            percent = f"{share:.1%}" if totals[truth] else "n/a"
            axes.text(
                predicted,
                truth,
                f"{count:,}\n{percent}",
                ha="center",
                va="center",
                size=size,
                color=style.INK if count else style.GREY,
            )
