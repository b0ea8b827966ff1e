"""The picture of all rows: test accuracies with their intervals, seeds and baselines."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from llm_lightning.reporting.study.axis import Axis
from llm_lightning.reporting.study.published import Verdict
from llm_lightning.reporting.study.rows import Row
from llm_lightning.reporting.study.svg import CHARACTER, Plot, cut

LABEL = 44
"""Most characters of a row's label in a picture."""


def percent(share: float) -> str:
    """A share as a whole percentage, or with a digit where that is needed."""
    return f"{100 * share:.1f}".removesuffix(".0")


def series(row: Row) -> str:
    """The colour of a row: a stand-in's is grey, a baseline's its own."""
    if row.stand_in:
        return "muted"
    return "series-2" if row.is_baseline else "series-1"


def accuracy_by_row(
    rows: Sequence[Row], verdicts: dict[int, Verdict], majority: float | None = None
) -> Markup:
    """Mean test accuracy of each row: seeds as points, both intervals, baselines as lines.

    Args:
        rows: of one test set, as in its table.
        verdicts: the published values, by a row's number.
        majority: accuracy of naming the most frequent class; drawn where no baseline was run.
    """
    shown = [row for row in rows if not row.is_baseline] or list(rows)
    accuracies = {row.number: row.mean("test", "accuracy") or 0.0 for row in rows}
    baselines = [row for row in rows if row.is_baseline]
    lines = [(accuracies[row.number], _baseline_name(row)) for row in baselines if row not in shown]
    if not baselines and majority is not None:
        lines.append((majority, "most frequent class"))
    ends = [*accuracies.values(), *(value for value, _ in lines)]
    ends += [row.wilson.low for row in shown if row.wilson]
    low = max(0.0, np.floor(20 * min(ends) - 0.2) / 20)
    labels = [cut(row.short, LABEL) for row in shown]
    levels = _levels(lines, low)
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
    for (value, name), level in zip(lines, levels, strict=True):
        x, _ = plot.at(value, 0)
        plot.segment((x, top - 15 * level - 4), (x, top + height), "baseline", "series-2")
        last = plot.width - CHARACTER * len(name) / 2 - 2
        plot.text(min(x, last), top - 15 * level - 6, name, anchor="middle", css="on-2")
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
    tip = f"{row.numbered}: {100 * accuracy:.2f} %"
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
