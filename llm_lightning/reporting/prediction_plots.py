"""Confusion matrix, ROC, precision against recall: the points, and the figures that show them.

Of two classes the second is the positive one; of more, each is set against the rest. An average
over classes is drawn so that the area under it is the mean of the areas under the classes' own
curves: the number in the legend is the number in the picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn import metrics

from llm_lightning.reporting import style

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_CLASSES = 10
"""Most classes with a curve of their own in one figure: more cannot be told apart."""

MAX_NUMBERED_CLASSES = 30
"""Most classes whose confusion matrix has numbers in its cells; beyond, colour has to do."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One ROC or precision-recall curve."""

    name: str
    """Class that counts as positive, or the average's name."""
    x: FloatArray
    """False positive rate, or recall; shares from 0 to 1, ascending."""
    y: FloatArray
    """True positive rate, or precision; shares from 0 to 1."""
    area: float
    """AUROC, or average precision."""
    prevalence: float
    """Share of positive examples: the precision of a blind guess."""


def confusion_counts(truth: IntArray, predicted: IntArray, num_classes: int) -> IntArray:
    """Examples by true class (row) and predicted class (column)."""
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def drawable_classes(truth: IntArray, num_classes: int) -> list[int]:
    """Positive classes that have a curve: there must be examples of them and of the rest."""
    counts = np.bincount(truth, minlength=num_classes)
    candidates = [1] if num_classes == 2 else range(num_classes)
    return [index for index in candidates if 0 < counts[index] < len(truth)]


def roc_curves(truth: IntArray, scores: FloatArray, class_names: Sequence[str]) -> list[Curve]:
    """True against false positive rate of each drawable class.

    Args:
        truth: Class index of each example, shape (N,).
        scores: Probability of each class, shape (N, number of classes).
        class_names: Name of each column of `scores`.
    """
    found = []
    for index in drawable_classes(truth, len(class_names)):
        positive, score = truth == index, scores[:, index]
        x, y, _ = metrics.roc_curve(positive, score)
        area = float(metrics.roc_auc_score(positive, score))
        found.append(Curve(class_names[index], x, y, area, float(positive.mean())))
    return found


def precision_recall_curves(
    truth: IntArray, scores: FloatArray, class_names: Sequence[str]
) -> list[Curve]:
    """Precision against recall of each drawable class; arguments as for `roc_curves`.

    The curve is a staircase, as average precision adds it up: the precision between two points is
    that of the higher recall, and a recall has the precision with which it is first reached.
    """
    found = []
    for index in drawable_classes(truth, len(class_names)):
        positive, score = truth == index, scores[:, index]
        precision, recall, _ = metrics.precision_recall_curve(positive, score)
        # Scikit-learn goes by rising threshold, so a recall is reached first at its last mention.
        x, first = np.unique(recall[::-1], return_index=True)
        y = precision[::-1][first]
        y[0] = y[1]  # instead of the made-up precision of 1 at a recall of 0
        area = float(metrics.average_precision_score(positive, score))
        found.append(Curve(class_names[index], x, y, area, float(positive.mean())))
    return found


def mean_roc(classes: Sequence[Curve]) -> Curve:
    """Macro average: the mean true positive rate at each false positive rate."""
    grid = np.unique(np.concatenate([curve.x for curve in classes]))
    # Where a curve rises straight up, interp returns the upper end, and mirrored the lower one.
    # Both are kept: with one alone the rise would slant and change the area.
    upper = [np.interp(grid, curve.x, curve.y) for curve in classes]
    lower = [np.interp(-grid, -curve.x[::-1], curve.y[::-1]) for curve in classes]
    y = np.column_stack([np.mean(lower, axis=0), np.mean(upper, axis=0)]).ravel()
    return _average(classes, np.repeat(grid, 2), y)


def mean_precision_recall(classes: Sequence[Curve]) -> Curve:
    """Macro average: the mean precision at each recall."""
    grid = np.unique(np.concatenate([curve.x for curve in classes]))
    stairs = [curve.y[np.searchsorted(curve.x, grid)] for curve in classes]
    return _average(classes, grid, np.mean(stairs, axis=0))


def _average(classes: Sequence[Curve], x: FloatArray, y: FloatArray) -> Curve:
    area = float(np.mean([curve.area for curve in classes]))
    prevalence = float(np.mean([curve.prevalence for curve in classes]))
    return Curve("macro average", x, y, area, prevalence)


def confusion_figure(counts: IntArray, class_names: Sequence[str], run: style.Run) -> Figure:
    """Counts and each row's percentages; the colour is the share of the row."""
    num_classes = len(class_names)
    numbered = num_classes <= MAX_NUMBERED_CLASSES
    # The page grows with the classes: a cell holds two lines of text, or is as high as its name.
    height = max(style.SIZE[1], 1.8 + (0.45 if numbered else 0.15) * num_classes)
    width = max(style.SIZE[0], height + 1.0)
    figure, axes = style.new_figure(
        f"Confusion matrix, {counts.sum():,} test examples", run, size=(width, height)
    )
    totals = counts.sum(axis=1, keepdims=True)
    # A class without examples has an empty row and no percentages, rather than 0 / 0.
    shares = counts / np.maximum(totals, 1)
    shades = LinearSegmentedColormap.from_list("shades", ["#F3F7FA", style.BLUE])
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="auto")
    size = 13.0 if num_classes <= 3 else 9.0 if num_classes <= 6 else 6.5
    for (row, column), count in np.ndenumerate(counts) if numbered else ():
        percent = f"{shares[row, column]:.1%}" if totals[row, 0] else "n/a"
        colour = "white" if shares[row, column] > 0.55 else style.INK if count else style.GREY
        axes.text(
            column, row, f"{count:,}\n{percent}", ha="center", va="center", size=size, color=colour
        )
    # White seams part the cells.
    seams, seam = np.arange(num_classes - 1) + 0.5, 2.0 if numbered else 0.5
    axes.vlines(seams, -0.5, num_classes - 0.5, color="white", linewidth=seam)
    axes.hlines(seams, -0.5, num_classes - 0.5, color="white", linewidth=seam)
    names = [style.plain(name, limit=20) for name in class_names]
    axes.set_xticks(range(num_classes), names)
    axes.set_yticks(range(num_classes), names)
    inches = 0.085 * max(map(len, names))
    if inches * num_classes > width - 0.8 - inches:  # names side by side would touch
        for label in axes.get_xticklabels():
            label.set(rotation=35 if numbered else 90, rotation_mode="anchor")
            label.set(ha="right", va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class (each row is 100%)")
    return figure


def roc_figure(classes: Sequence[Curve], run: style.Run) -> Figure:
    """ROC curve of the positive class, or of each class against the rest and their average."""
    figure, axes = style.new_figure("ROC curve, test split", run)
    _draw_classes(axes, classes, mean_roc, drawstyle="default")
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=1, linestyle="--", label="chance 0.500")
    _finish(axes, classes, "AUROC", "False positive rate (%)", "True positive rate (%)")
    return figure


def precision_recall_figure(classes: Sequence[Curve], run: style.Run) -> Figure:
    """Precision against recall, arranged like the ROC curves."""
    figure, axes = style.new_figure("Precision-recall curve, test split", run)
    _draw_classes(axes, classes, mean_precision_recall, drawstyle="steps-pre")
    level = float(np.mean([curve.prevalence for curve in classes]))
    name = f"{'prevalence' if len(classes) == 1 else 'mean prevalence'} {level:.3f}"
    axes.axhline(level, color=style.GREY, linewidth=1, linestyle="--", label=name)
    _finish(axes, classes, "Average precision", "Recall (%)", "Precision (%)")
    return figure


def _draw_classes(
    axes: Axes,
    classes: Sequence[Curve],
    average: Callable[[Sequence[Curve]], Curve],
    drawstyle: str,
) -> None:
    """Draw each class, or the most frequent ones where there are too many, and the average."""
    frequent = sorted(classes, key=lambda curve: -curve.prevalence)[:MAX_CLASSES]
    drawn = [curve for curve in classes if curve in frequent]
    for index, curve in enumerate(drawn):
        cycle, colour = divmod(index, len(style.CLASS_COLOURS))
        axes.plot(
            curve.x,
            curve.y,
            color=style.CLASS_COLOURS[colour],
            linewidth=2 if len(classes) == 1 else 1.4,
            linestyle=("-", (0, (4, 1.5)))[cycle],
            drawstyle=drawstyle,
            solid_capstyle="butt",
            label=f"{style.plain(curve.name, limit=20)} {curve.area:.3f}",
            clip_on=False,
            zorder=3,
        )
    if len(classes) > 1:
        mean = average(classes)
        axes.plot(
            mean.x,
            mean.y,
            color=style.INK,
            linewidth=2.4,
            drawstyle=drawstyle,
            label=f"{mean.name} {mean.area:.3f}",
            clip_on=False,
            zorder=4,
        )


def _finish(axes: Axes, classes: Sequence[Curve], area: str, x_label: str, y_label: str) -> None:
    """Set a square plot of percentages with the legend at its right."""
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=x_label, ylabel=y_label, aspect="equal", anchor="W")
    style.percent_axis(axes.xaxis)
    style.percent_axis(axes.yaxis)
    axes.grid(color=style.PALE, linewidth=0.6)
    heading = area
    if len(classes) > 1:
        heading += "\neach class against the rest"
    if len(classes) > MAX_CLASSES:
        heading += f"\n{MAX_CLASSES} most frequent of {len(classes)} classes"
    legend = axes.legend(
        title=heading,
        loc="center left",
        bbox_to_anchor=(1.05, 0.5),
        frameon=False,
        fontsize=9,
        title_fontsize=9,
        alignment="left",
    )
    legend.get_title().set_color(style.GREY)
