"""Accuracy over what it costs: trainable parameters or training time."""

import itertools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.draw import style
from llm_lightning.reporting.draw.accuracy_figures import row_colour

Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in pixels."""

MARKER = 10
"""Diameter of a point, in pixels."""


def accuracy_over_cost(
    rows: Sequence[Row], costs: Mapping[int, float], name: str, *, is_log: bool
) -> Figure | None:
    """Mean test accuracy over what a row costs; None if fewer than two rows have both.

    Args:
        rows: of one test set.
        costs: by the row's number; a logarithmic axis leaves out what is not positive.
        name: of the cost, with its unit.
        is_log: whether the axis is logarithmic.
    """
    points = [
        (row, cost, accuracy)
        for row in rows
        if (accuracy := row.mean("test", "accuracy")) is not None
        and (cost := costs.get(row.number)) is not None
        and (cost > 0 or not is_log)
    ]
    if len(points) < 2:
        return None
    xs, ys = [point[1] for point in points], [point[2] for point in points]
    figure, axes = style.new_panel(540, 340)
    axes.set_ylim(style.accuracy_floor(min(ys)), 1)
    style.percent_axis(axes.yaxis)
    if is_log:
        axes.set_xscale("log")
        axes.set_xlim(min(xs) / 1.6, max(xs) * 1.6)
        decades = max(xs) / min(xs) > 10
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades else (1, 2, 5), numticks=6))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    else:
        axes.set_xlim(0, 1.08 * max(xs) or 1)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    style.label_axes(axes, name, "Test accuracy (%)")
    taken = [_around(axes, cost, accuracy) for _, cost, accuracy in points]
    for row, cost, accuracy in points:
        colour = row_colour(row)
        (dot,) = axes.plot(
            cost,
            accuracy,
            "o",
            markersize=MARKER,
            markerfacecolor=style.WHITE if row.fallback else colour,
            markeredgecolor=colour if row.fallback else style.WHITE,
            markeredgewidth=2 if row.fallback else 1,
            clip_on=False,
        )
        style.tip(dot, f"{row.numbered}: {100 * accuracy:.2f} %")
        _name_point(axes, (cost, accuracy), style.plain(row.short, limit=32), taken)
    return figure


def short_number(number: float) -> str:
    """A number with few digits: 1500 is 1.5 k, 2000000 is 2 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g} {unit}"
    return f"{number:g}"


def _around(axes: Axes, x: float, y: float) -> Box:
    left, bottom = axes.transData.transform((x, y))
    half = MARKER / 2
    return (left - half, bottom - half, left + half, bottom + half)


def _name_point(axes: Axes, point: tuple[float, float], name: str, taken: list[Box]) -> None:
    """Writes a name beside its point where there is room; nowhere if every place is taken."""
    width = style.text_width(name)
    x, y = axes.transData.transform(point)
    area = axes.bbox
    for (above, below), side in itertools.product(
        ((0, 0), (13, 0), (0, 13), (26, 0), (0, 26)), ("right", "left", "middle")
    ):
        shift = above - below
        if side == "middle" and not shift:
            continue
        start = {"right": x + 9, "left": x - 9 - width, "middle": x - width / 2}[side]
        box = (start, y + shift - 6, start + width, y + shift + 7)
        inside = area.x0 <= box[0] and box[2] <= area.x1 + 10 and area.y0 + 1 <= box[1]
        if inside and box[3] <= area.y1 + 10 and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            axes.annotate(
                name,
                point,
                xytext=(start - x, shift),
                textcoords="offset points",
                va="center",
                fontsize=11,
                color=style.INK,
                parse_math=False,
                annotation_clip=False,
            )
            return


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
