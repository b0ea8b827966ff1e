"""ROC and precision-recall curves: of the classes of one run, or of the rows of a chapter."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.analyse.threshold_curves import (
    CurveKind,
    ThresholdCurve,
    has_curves,
    mean_curve,
    positive_curve,
)
from llm_lightning.reporting.draw import style

MAX_CLASSES = 10
"""Most classes with a curve of their own in one figure: more cannot be distinguished."""

X_NAMES = {"roc": "False positive rate (%)", "precision_recall": "Recall (%)"}
Y_NAMES = {"roc": "True positive rate (%)", "precision_recall": "Precision (%)"}
AREAS = {"roc": "AUROC", "precision_recall": "Average precision"}
_HEADINGS = {"roc": "ROC curve", "precision_recall": "Precision-recall curve"}
_DRAWSTYLES = {"roc": "default", "precision_recall": "steps-pre"}


def class_figure(
    kind: CurveKind, classes: Sequence[ThresholdCurve], caption: style.Caption
) -> Figure:
    """Curve of the positive class, or of each class against the rest and their macro average.

    Args:
        kind: of the curves.
        classes: from ``class_curves``; at least one.
        caption: title and footnote.
    """
    figure, axes = style.new_figure(f"{_HEADINGS[kind]}, test split", caption)
    frequent = sorted(classes, key=lambda curve: -curve.prevalence)[:MAX_CLASSES]
    names: list[str] = []
    for index, curve in enumerate(curve for curve in classes if curve in frequent):
        names.append(f"{style.plain(curve.name, limit=20)} {curve.area:.3f}")
        cycle, colour = divmod(index, len(style.SERIES))
        axes.plot(
            curve.x,
            curve.y,
            color=style.SERIES[colour],
            linewidth=2 if len(classes) == 1 else 1.4,
            linestyle=("-", (0, (4, 1.5)))[cycle],
            drawstyle=_DRAWSTYLES[kind],
            solid_capstyle="butt",
            label=f"class {index}",  # a legend leaves out names that begin with "_"
            clip_on=False,
            zorder=3,
        )
    if len(classes) > 1:
        mean = mean_curve(kind, classes)
        axes.plot(
            mean.x,
            mean.y,
            color=style.INK,
            linewidth=2.4,
            drawstyle=_DRAWSTYLES[kind],
            label=f"{mean.name} {mean.area:.3f}",
            clip_on=False,
            zorder=4,
        )
    _draw_chance(axes, kind, classes)
    _finish(axes, kind, len(classes), names)
    return figure


def _draw_chance(axes: Axes, kind: CurveKind, classes: Sequence[ThresholdCurve]) -> None:
    """Draws what random guesses reach."""
    if kind == "roc":
        level, name, ends = 0.5, "chance", (0.0, 1.0)
    else:
        level = float(np.mean([curve.prevalence for curve in classes]))
        name, ends = "prevalence" if len(classes) == 1 else "mean prevalence", (level, level)
    label = f"{name} {level:.3f}"
    axes.plot([0, 1], ends, color=style.GREY, linewidth=1, linestyle="--", label=label)


def _finish(axes: Axes, kind: CurveKind, num_classes: int, names: Sequence[str]) -> None:
    """Sets a square plot of percentages, with the legend on its right.

    Args:
        axes: with the curves, those of classes first.
        kind: of the curves.
        num_classes: of the run.
        names: of the drawn classes, with their areas.
    """
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", anchor="W")
    axes.set(xlabel=X_NAMES[kind], ylabel=Y_NAMES[kind])
    style.percent_axis(axes.xaxis)
    style.percent_axis(axes.yaxis)
    axes.grid(color=style.PALE, linewidth=0.6)
    heading = AREAS[kind]
    if num_classes > 1:
        heading += "\neach class against the rest"
    if num_classes > MAX_CLASSES:
        heading += f"\n{MAX_CLASSES} most frequent of {num_classes} classes"
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
    for text in legend.get_texts():
        text.set(parse_math=False, color=style.INK)
    for text, name in zip(legend.get_texts(), names, strict=False):
        text.set_text(name)


def row_panel(kind: CurveKind, rows: Sequence[Row]) -> Figure | None:
    """The positive class's curve of each row's lowest seed, with the areas below the plot.

    Args:
        kind: of the curves.
        rows: the first few get colours and a line of the legend each; the others are pale.

    Returns:
        None if no row has such a curve.
    """
    curves = [
        (row, positive_curve(kind, predictions))
        for row in rows
        if (predictions := row.first.predictions) and has_curves(predictions)
    ]
    if not curves:
        return None
    named, others = curves[: len(style.SERIES)], curves[len(style.SERIES) :]
    lines = len(named) + 1 + bool(others)
    bottom = 50 + 17 * lines
    figure, axes = style.new_panel(500, 340 + bottom, style.Margins(46, 14, 12, bottom))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    style.percent_axis(axes.xaxis)
    style.percent_axis(axes.yaxis)
    style.label_axes(axes, X_NAMES[kind], Y_NAMES[kind])
    for row, curve in others:
        _draw_row(axes, kind, row, curve, style.MUTED, linewidth=1, alpha=0.45)
    for (row, curve), colour in reversed([*zip(named, style.SERIES, strict=False)]):
        _draw_row(axes, kind, row, curve, colour, linewidth=2, alpha=1)
    if kind == "roc":
        axes.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=(0, (3, 3)))
    entries = [
        (f"{style.plain(row.short, limit=40)}  {curve.area:.3f}", colour)
        for (row, curve), colour in zip(named, style.SERIES, strict=False)
    ]
    if others:
        entries.append((f"{len(others)} more", style.MUTED))
    _draw_legend(axes, AREAS[kind], entries)
    return figure


def _draw_row(
    axes: Axes,
    kind: CurveKind,
    row: Row,
    curve: ThresholdCurve,
    colour: str,
    *,
    linewidth: float,
    alpha: float,
) -> None:
    (line,) = axes.plot(
        curve.x,
        curve.y,
        color=colour,
        linewidth=linewidth,
        alpha=alpha,
        drawstyle=_DRAWSTYLES[kind],
        clip_on=False,
    )
    style.tip(line, f"{row.numbered}: {curve.area:.3f}")


def _draw_legend(axes: Axes, heading: str, entries: Sequence[tuple[str, str]]) -> None:
    """Writes a heading and a line for each entry below the axis label of a panel."""
    for place, (text, colour) in enumerate([(heading, style.GREY), *entries]):
        below = -56 - 17 * place
        axes.annotate(
            text,
            (0, 0),
            xycoords="axes fraction",
            xytext=(0 if place == 0 else 22, below),
            textcoords="offset points",
            va="center",
            fontsize=11,
            color=style.GREY if place == 0 else style.INK,
            parse_math=False,
            annotation_clip=False,
        )
        if place:
            start, end = (axes.transAxes.inverted().transform((x, 0))[0] for x in (46, 62))
            height = axes.transAxes.inverted().transform((0, axes.bbox.y0 + below))[1]
            axes.plot(
                [start, end],
                [height, height],
                color=colour,
                linewidth=3,
                transform=axes.transAxes,
                clip_on=False,
            )
