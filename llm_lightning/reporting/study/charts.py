"""The pictures about rows: accuracies with intervals, learning curves, what accuracy costs."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from llm_lightning.reporting.study.published import Verdict
from llm_lightning.reporting.study.rows import Row
from llm_lightning.reporting.study.svg import CHARACTER, Axis, Plot, cut

LABEL = 38
"""Most characters of a row's label in a picture."""


def percent(share: float) -> str:
    """A share as a whole percentage, or with a digit where that is needed."""
    return f"{100 * share:.1f}".removesuffix(".0")


def series(row: Row) -> str:
    """The colour of a row: a stand-in's is grey, a baseline's its own."""
    if row.stand_in:
        return "muted"
    return "series-2" if row.is_baseline else "series-1"


def accuracy_by_row(rows: Sequence[Row], verdicts: dict[int, Verdict]) -> Markup:
    """Mean test accuracy of each row: seeds as points, both intervals, baselines as lines.

    Args:
        rows: of one test set, as in its table.
        verdicts: the published values, by a row's number.
    """
    shown = [row for row in rows if not row.is_baseline] or list(rows)
    lines = [row for row in rows if row.is_baseline and row not in shown]
    accuracies = {row.number: row.mean("test", "accuracy") or 0.0 for row in rows}
    ends = [accuracies[row.number] for row in rows]
    ends += [row.wilson.low for row in shown if row.wilson]
    low = max(0.0, np.floor(20 * min(ends) - 0.2) / 20)
    labels = [cut(row.label, LABEL) for row in shown]
    levels = _levels([(accuracies[row.number], _baseline_name(row)) for row in lines], low)
    height = 26 * len(shown)
    top = 14 + 15 * (max(levels, default=-1) + 1)
    plot = Plot(
        760,
        top + height + 44,
        Axis(low, 1.0, "Test accuracy (%)", write=percent),
        Axis(-0.5, len(shown) - 0.5, ticks=[]),
        f"Test accuracy of {len(shown)} rows with intervals",
        left=24 + CHARACTER * max(map(len, labels)),
        top=top,
    )
    plot.axes(x_ticks=7)
    for row, level in zip(lines, levels, strict=True):
        x, _ = plot.at(accuracies[row.number], 0)
        plot.segment((x, top - 15 * level - 4), (x, top + height), "baseline", "series-2")
        plot.text(x, top - 15 * level - 6, _baseline_name(row), anchor="middle", css="on-2")
    for place, (row, label) in enumerate(zip(shown, labels, strict=True)):
        _accuracy_of(plot, row, label, len(shown) - 1 - place)
        if found := verdicts.get(row.number):
            tip = f"published: {100 * found.published:.2f} % ({found.word})"
            plot.diamond(max(low, found.published), len(shown) - 1 - place, "series-3", tip)
    return plot.render()


def _accuracy_of(plot: Plot, row: Row, label: str, height: int) -> None:
    accuracy, color = row.mean("test", "accuracy") or 0.0, series(row)
    _, y = plot.at(plot.x.low, height)
    plot.text(plot.left - 8, y + 4, label, anchor="end", css="label")
    for interval, css in ((row.wilson, "thin"), (row.over_seeds, "thick")):
        if interval is not None:
            start, _ = plot.at(max(plot.x.low, interval.low), height)
            end, _ = plot.at(min(1.0, interval.high), height)
            plot.segment((start, y), (end, y), css, color)
    for seed, value in zip(row.seeds, row.values("test", "accuracy"), strict=False):
        if len(row.runs) > 1:
            tip = f"seed {seed}: {100 * value:.2f} %"
            plot.dot(max(plot.x.low, value), height, color, radius=2.5, css="seed", tip=tip)
    tip = f"{row.label}: {100 * accuracy:.2f} %"
    plot.dot(accuracy, height, color, radius=5, css="hollow" if row.stand_in else "dot", tip=tip)


def _baseline_name(row: Row) -> str:
    return cut(row.label.removeprefix("baseline_").replace("_", " "), 24)


def _levels(names: Sequence[tuple[float, str]], low: float) -> list[int]:
    """On which level above the plot each name stands, so that none covers another."""
    levels = [0] * len(names)
    ends: list[float] = []
    for index in sorted(range(len(names)), key=lambda index: names[index][0]):
        value, name = names[index]
        centre, half = 500 * (value - low) / (1 - low), CHARACTER * len(name) / 2 + 4
        level = next((i for i, end in enumerate(ends) if end <= centre - half), len(ends))
        ends[level : level + 1] = [centre + half]
        levels[index] = level
    return levels


def learning_curves(rows: Sequence[Row]) -> list[tuple[str, Markup]]:
    """A small picture a row: accuracy, or loss, over epochs; lines are means over seeds.

    Returns:
        Label and picture of each row that has a curve.
    """
    of_rows = [(row, _curves(row)) for row in rows]
    with_curves = [(row, curves) for row, curves in of_rows if curves]
    if not with_curves:
        return []
    everything = pd.concat([table for _, curves in with_curves for table in curves.values()])
    is_share = "accuracy" in with_curves[0][0].first.summary["metrics"]["test"]
    low, high = float(everything.min().min()), float(everything.max().max())
    low = max(0.0, np.floor(10 * low) / 10) if is_share else 0.0
    last = max(1.0, float(everything.index.max()))
    pictures = []
    for row, curves in with_curves:
        plot = Plot(
            250,
            160,
            Axis(0, last, "epochs", is_whole=True),
            Axis(low, 1.0, write=percent) if is_share else Axis(low, high * 1.02),
            f"Learning curve of {row.label}",
            left=34,
            right=10,
            bottom=36,
        )
        plot.axes(x_ticks=4, y_ticks=4)
        for (name, table), color in zip(curves.items(), ("series-1", "series-2"), strict=False):
            _learning_line(plot, name, table, color, is_share)
        pictures.append((row.label, plot.render()))
    return pictures


def _learning_line(plot: Plot, name: str, table: pd.DataFrame, color: str, is_share: bool) -> None:
    means = table.mean(axis=1)
    epochs = [float(epoch) for epoch in means.index]
    if table.shape[1] > 1:
        plot.band(epochs, table.min(axis=1).tolist(), table.max(axis=1).tolist(), color)
    points = list(zip(epochs, means.tolist(), strict=True))
    if len(points) > 1:
        plot.line(points, color)
    for epoch, mean in points if len(points) <= 12 else points[-1:]:
        value = f"{100 * mean:.2f} %" if is_share else f"{mean:.3f}"
        plot.dot(epoch, mean, color, radius=2.8, tip=f"{name}, epoch {epoch:g}: {value}")


def _curves(row: Row) -> dict[str, pd.DataFrame]:
    """Training and validation by epochs done; a column a seed. Empty if there are none."""
    for names in (
        {"training": "train/accuracy", "validation": "val/accuracy"},
        {"training": "train/epoch_loss", "validation": "val/response_loss"},
        {"training": "train/epoch_loss", "validation": "val/loss"},
    ):
        found = {}
        for name, metric in names.items():
            columns = [
                _by_epoch(run.curves, metric)
                for run in row.runs
                if run.curves is not None and metric in run.curves
            ]
            table = (
                pd.concat(columns, axis=1, keys=range(len(columns))) if columns else pd.DataFrame()
            )
            if not table.empty:
                found[name] = table
        if "validation" in found:
            return found
    return {}


def _by_epoch(curves: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """The last finite value of each epoch, by epochs done."""
    values = curves[metric].astype(float)
    kept = np.isfinite(values)
    return values[kept].groupby(curves["epoch"][kept] + 1.0).last()


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
    taken: list[tuple[float, float, float, float]] = []
    for _, cost, accuracy in points:
        left, top = plot.at(cost, accuracy)
        taken.append((left - 5, top - 5, left + 5, top + 5))
    for row, cost, accuracy in points:
        tip = f"{row.label}: {100 * accuracy:.2f} %"
        css = "hollow" if row.stand_in else "dot"
        plot.dot(cost, accuracy, series(row), radius=5, css=css, tip=tip)
        _name_point(plot, plot.at(cost, accuracy), cut(row.label, 32), taken)
    return plot.render()


def _name_point(
    plot: Plot,
    point: tuple[float, float],
    name: str,
    taken: list[tuple[float, float, float, float]],
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


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _big(number: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"
