"""Confusion matrices: the figure of one run and the panel of a row."""

from collections.abc import Sequence

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

MAX_NUMBERED_IN_PANEL = 6
"""The same for a panel."""


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
    names = [style.plain(name, limit=9) for name in found[0].class_names]
    numbered = len(names) <= MAX_NUMBERED_IN_PANEL
    side = max(18.0, 170 / len(names))
    left = 30 + max(map(style.text_width, names)) if numbered else 30
    width, height = left + side * len(names) + 6, side * len(names) + 48
    figure, axes = style.new_panel(width, height, style.Margins(left, 6, 6, 42), grid=None)
    _draw_cells(axes, counts, (12 if side > 40 else 9) if numbered else None)
    shown: Sequence[str] = names if numbered else [""] * len(names)
    axes.set_xticks(range(len(names)), shown, parse_math=False)
    axes.set_yticks(range(len(names)), shown, parse_math=False)
    style.label_axes(axes, "predicted", "true")
    axes.yaxis.set_label_coords(-(left - 12) / (side * len(names)), 0.5)
    axes.xaxis.set_label_coords(0.5, -26 / (side * len(names)))
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
