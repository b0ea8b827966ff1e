"""What accuracy costs: parameters and minutes."""

import itertools
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from llm_lightning.reporting.study.axis import Axis
from llm_lightning.reporting.study.charts import percent, series
from llm_lightning.reporting.study.rows import Row
from llm_lightning.reporting.study.svg import CHARACTER, Plot, cut

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""


def accuracy_over(
    rows: Sequence[Row], costs: dict[int, float], name: str, *, is_log: bool
) -> Markup | None:
    """Mean test accuracy over what a row costs; None if fewer than two rows have both.

    Args:
        rows: of one test set.
        costs: by a row's number; a logarithmic axis leaves out what is not above zero.
        name: of the cost, with its unit.
        is_log: whether the axis is logarithmic.
    """
    points = []
    for row in rows:
        accuracy, cost = row.mean("test", "accuracy"), costs.get(row.number)
        if accuracy is not None and cost is not None and (cost > 0 or not is_log):
            points.append((row, cost, accuracy))
    if len(points) < 2:
        return None
    xs, ys = [point[1] for point in points], [point[2] for point in points]
    low = max(0.0, np.floor(20 * min(ys) - 0.2) / 20)
    x = (
        Axis(min(xs) / 1.6, max(xs) * 1.6, name, is_log=True, write=_big)
        if is_log
        else Axis(0, 1.08 * max(xs), name)
    )
    plot = Plot(
        540,
        340,
        x,
        Axis(low, 1.0, "Test accuracy (%)", write=percent),
        f"Test accuracy over {name}",
    )
    plot.axes()
    taken: list[Box] = []
    for _, cost, accuracy in points:
        left, top = plot.at(cost, accuracy)
        taken.append((left - 5, top - 5, left + 5, top + 5))
    for row, cost, accuracy in points:
        tip = f"{row.numbered}: {100 * accuracy:.2f} %"
        css = "hollow" if row.stand_in else "dot"
        plot.dot(cost, accuracy, series(row), radius=5, css=css, tip=tip)
        _name_point(plot, plot.at(cost, accuracy), cut(row.short, 32), taken)
    return plot.render()


def _name_point(
    plot: Plot,
    point: tuple[float, float],
    name: str,
    taken: list[Box],
) -> None:
    """Writes a name beside its point where nothing is yet; nowhere if all places are taken."""
    width = CHARACTER * len(name)
    left, top = point
    places = itertools.product((4, -9, 17, -22, 30), ("start", "end", "middle"))
    for below, anchor in places:
        if anchor == "middle" and below == 4:
            continue
        start = {"start": left + 9, "end": left - 9 - width, "middle": left - width / 2}[anchor]
        box = (start, top + below - 10, start + width, top + below + 3)
        inside = box[0] >= plot.left and box[2] <= plot.width - 2 and box[1] >= 0
        inside = inside and box[3] <= plot.height - plot.bottom
        if inside and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            plot.text(start, top + below, name, css="label")
            return


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _big(number: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"
