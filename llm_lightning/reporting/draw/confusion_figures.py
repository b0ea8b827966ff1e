"""Confusion matrices: the figure of one run and the panel of a row.

Few classes are shown in their own order. Of many, those with the most errors come first, and
beyond a readable number the others share one row and one column.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from llm_lightning.reporting.analyse.confusions import ConfusionCounts, count_confusions, in_words
from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.draw import style
from llm_lightning.reporting.read.run_record import Predictions

MAX_IN_OWN_ORDER = 12
"""Most classes that keep their own order."""

MAX_IN_FIGURE = 50
"""Most classes with a row of their own in a figure."""

MAX_NUMBERED_CLASSES = 30
"""Most classes whose figure has numbers in its cells; beyond, colour has to do."""

MAX_IN_PANEL = 12
"""Most classes with a row of their own in a panel."""

MAX_NUMBERED_IN_PANEL = 5
"""Most classes whose panel has numbers in its cells."""

WORST_IN_FIGURE = 2
"""Confusions that the figure of many classes names in words."""


def confusion_figure(predictions: Predictions, caption: style.Caption) -> Figure:
    """Counts and percentages of each row; the shade is the share of the row."""
    confusions = count_confusions([predictions])
    counts, names = _shown(confusions, MAX_IN_FIGURE, limit=20)
    num_classes = len(names)
    numbered = num_classes <= MAX_NUMBERED_CLASSES
    # The figure grows with the classes: a cell holds two lines of text, or is as high as its name.
    height = max(style.SIZE[1], 1.8 + (0.45 if numbered else 0.17) * num_classes)
    width = max(style.SIZE[0], height + 1.0)
    heading = f"Confusion matrix, {counts.sum():,} test examples"
    figure, axes = style.new_figure(heading, _with_worst(caption, confusions), size=(width, height))
    size = 13.0 if num_classes <= 3 else 9.0 if num_classes <= 6 else 6.5
    _draw_cells(axes, counts, names, size if numbered else None)
    axes.set_xticks(range(num_classes), names, parse_math=False)
    axes.set_yticks(range(num_classes), names, parse_math=False)
    inches = 0.085 * max(map(len, names))
    if inches * num_classes > width - 0.8 - inches:  # names side by side would touch
        for label in axes.get_xticklabels():
            label.set(rotation=35 if numbered else 90, rotation_mode="anchor")
            label.set(ha="right", va="center")
    if not numbered:
        axes.tick_params(labelsize=7.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("Predicted class")
    in_own_order = len(confusions.class_names) <= MAX_IN_OWN_ORDER
    order = "" if in_own_order else ", most errors first"
    axes.set_ylabel(f"True class (each row is 100%){order}")
    return figure


def confusion_panel(row: Row) -> Figure | None:
    """The confusion matrix of all seeds of a row together; None without predictions."""
    found = [run.predictions for run in row.runs if run.predictions is not None]
    if not found:
        return None
    counts, names = _shown(count_confusions(found), MAX_IN_PANEL, limit=14)
    num_classes = len(counts)
    widest = max(map(style.text_width, names))
    side = max(20.0, 170 / num_classes)
    is_upright = widest > side - 6  # names side by side would touch
    left, below = 30 + widest, 12 + (widest if is_upright else 12)
    width, height = left + side * num_classes + 6, 6 + side * num_classes + below + 18
    margins = style.Margins(left, 6, 6, below + 18)
    figure, axes = style.new_panel(width, height, margins, grid=None)
    size = 12 if side > 50 else 9
    _draw_cells(axes, counts, names, size if num_classes <= MAX_NUMBERED_IN_PANEL else None)
    axes.set_xticks(range(num_classes), names, parse_math=False)
    axes.set_yticks(range(num_classes), names, parse_math=False)
    if is_upright:
        for label in axes.get_xticklabels():
            label.set(rotation=90, rotation_mode="anchor", ha="right", va="center")
    style.label_axes(axes, "predicted", "true")
    axes.yaxis.set_label_coords(-(left - 12) / (side * num_classes), 0.5)
    axes.xaxis.set_label_coords(0.5, -(below + 2) / (side * num_classes))
    return figure


def _shown(
    confusions: ConfusionCounts, most: int, *, limit: int
) -> tuple[NDArray[np.int64], list[str]]:
    """The counts to draw and the names of their rows, the last of them perhaps for the others."""
    num_classes = len(confusions.class_names)
    in_own_order = num_classes <= MAX_IN_OWN_ORDER
    classes = [*range(num_classes)] if in_own_order else confusions.by_errors()[:most]
    names = [style.plain(confusions.class_names[index], limit=limit) for index in classes]
    if len(classes) < num_classes:
        names.append(f"{num_classes - len(classes)} others")
    return confusions.matrix(classes), names


def _with_worst(caption: style.Caption, confusions: ConfusionCounts) -> style.Caption:
    """A caption whose footnote also names the worst confusions of many classes."""
    worst = confusions.worst(WORST_IN_FIGURE)
    if len(confusions.class_names) <= MAX_IN_OWN_ORDER or not worst:
        return caption
    said = ", ".join(map(in_words, worst))
    return style.Caption(caption.title, "; ".join(filter(None, (caption.footnote, said))))


def _draw_cells(
    axes: Axes, counts: NDArray[np.int64], names: Sequence[str], size: float | None
) -> None:
    """Draws the cells: blue where the prediction is right, vermillion where it is wrong.

    Args:
        axes: an empty plot.
        counts: true classes as rows.
        names: of the rows and columns; what a cell without a number is, is told to the pointer.
        size: of the numbers; None leaves them out.
    """
    num_classes = len(counts)
    axes.set(xlim=(-0.5, num_classes - 0.5), ylim=(num_classes - 0.5, -0.5))
    totals = counts.sum(axis=1)
    for (truth, predicted), count in np.ndenumerate(counts):
        # A class without examples has no percentages, rather than 0 / 0.
        share = count / totals[truth] if totals[truth] else 0.0
        cell = Rectangle(
            (predicted - 0.49, truth - 0.49),
            0.98,
            0.98,
            color=style.BLUE if truth == predicted else style.VERMILLION,
            # Pale enough for text on it to be readable on a light and on a dark page.
            alpha=0.06 + 0.42 * share,
            linewidth=0,
        )
        axes.add_patch(cell)
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
        elif count:
            style.tip(cell, f"{names[truth]} as {names[predicted]}: {count:,} ({share:.1%})")
