"""Test accuracies of all rows: means, seeds, intervals, baselines and published values."""

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from llm_lightning.reporting.analyse.rows import Row
from llm_lightning.reporting.analyse.verdicts import Verdict
from llm_lightning.reporting.draw import style

LABEL = 44
"""Most characters of a row's label in a panel."""

FAR_BELOW = 0.1
"""A baseline so much below all rows is not drawn but named: it would compress everything else."""

GAP = 12
"""Least room on each side of a baseline's name, in pixels: names closer than this are staggered."""

ROW_HEIGHT, LEVEL_HEIGHT, WIDTH = 26, 15, 760
"""In pixels: of a row, of a line of baseline names, of the panel."""


def row_colour(row: Row) -> str:
    """Grey for a row with fallbacks; baselines have a colour of their own."""
    if row.fallback:
        return style.MUTED
    return style.VERMILLION if row.is_baseline else style.BLUE


def accuracy_by_row(
    rows: Sequence[Row], verdicts: Mapping[int, Verdict], baselines: Mapping[str, float]
) -> Figure:
    """Mean test accuracy of each network, with the accuracies of baselines as vertical lines.

    Args:
        rows: of one test set, in the order of its table.
        verdicts: with the published values, by the row's number.
        baselines: test accuracy of each baseline, by name.
    """
    networks = [row for row in rows if not row.is_baseline]
    shown = networks or list(rows)
    ends = [row.mean("test", "accuracy") or 0.0 for row in shown]
    ends += [row.interval.low for row in shown if row.interval]
    ends += [found.published for row in shown if (found := verdicts.get(row.number))]
    lowest = min(ends)
    lines = {name: v for name, v in baselines.items() if networks and v >= lowest - FAR_BELOW}
    far_below = {name: v for name, v in baselines.items() if networks and name not in lines}
    low = style.accuracy_floor(min(lowest, *lines.values(), 1.0))
    labels = [style.plain(row.short, limit=LABEL) for row in shown]
    left = 20 + max(map(style.text_width, labels))
    scale = (WIDTH - left - 16) / (1 - low)
    places = {name: left + scale * (value - low) for name, value in lines.items()}
    levels = _levels(places)
    num_levels = max(levels.values(), default=-1) + 1
    top = 14 + LEVEL_HEIGHT * (num_levels + bool(far_below))
    height = top + ROW_HEIGHT * len(shown) + 44
    figure, axes = style.new_panel(WIDTH, height, style.Margins(left, 16, top, 44), grid="x")
    axes.set_xlim(low, 1)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_yticks(range(len(shown)), labels, color=style.INK, parse_math=False)
    style.percent_axis(axes.xaxis, nbins=10)
    style.label_axes(axes, "Test accuracy (%)")
    for name, value in lines.items():
        _draw_baseline(axes, name, value, places[name], levels[name])
    if far_below:
        each = (f"{style.plain(name, limit=24)} {v:.1%}" for name, v in far_below.items())
        _write_above(axes, f"further left: {', '.join(each)}", 0, num_levels, ha="left")
    for place, row in enumerate(shown):
        _draw_row(axes, row, place, low)
        if verdict := verdicts.get(row.number):
            (published,) = axes.plot(
                max(low, verdict.published),
                place,
                marker="D",
                color=style.GREEN,
                markerfacecolor=style.WHITE,
                markersize=7,
                markeredgewidth=2,
                clip_on=False,
            )
            style.tip(published, f"published: {100 * verdict.published:.2f} % ({verdict.word})")
    return figure


def _draw_row(axes: Axes, row: Row, place: int, low: float) -> None:
    accuracy, colour = row.mean("test", "accuracy") or 0.0, row_colour(row)
    if row.interval is not None:
        axes.plot(
            [max(low, row.interval.low), row.interval.high],
            [place, place],
            color=colour,
            linewidth=1.5 if len(row.runs) == 1 else 5,
            alpha=0.75 if len(row.runs) == 1 else 0.4,
            solid_capstyle="butt",
            clip_on=False,
        )
    for seed, value in zip(row.seeds, row.values("test", "accuracy"), strict=False):
        if len(row.runs) > 1:
            (dot,) = axes.plot(
                max(low, value), place, "o", color=colour, markersize=4, alpha=0.75, clip_on=False
            )
            dot.set_markeredgewidth(0)
            style.tip(dot, f"seed {seed}: {100 * value:.2f} %")
    (dot,) = axes.plot(accuracy, place, "o", color=colour, markersize=10, clip_on=False)
    dot.set_markerfacecolor(style.WHITE if row.fallback else colour)
    dot.set_markeredgecolor(colour if row.fallback else style.WHITE)
    dot.set_markeredgewidth(2 if row.fallback else 1)
    style.tip(dot, f"{row.numbered}: {100 * accuracy:.2f} %")


def _draw_baseline(axes: Axes, name: str, value: float, place: float, level: int) -> None:
    """Draws a baseline up to its name, which is above the plot.

    Args:
        axes: the plot.
        name: of the baseline.
        value: its accuracy.
        place: where that is, in pixels from the panel's left side.
        level: of the name, from 0 right above the plot.
    """
    top = 1 + (LEVEL_HEIGHT * level + 4) / axes.bbox.height
    axes.plot(
        [value, value],
        [0, top],
        transform=axes.get_xaxis_transform(),
        color=style.VERMILLION,
        linewidth=1,
        linestyle=(0, (4, 3)),
        alpha=0.8,
        clip_on=False,
    )
    shown = style.plain(name, limit=24)
    half = style.text_width(shown) / 2
    middle = min(max(place, half + 2), WIDTH - half - 2)
    _write_above(axes, shown, middle - axes.bbox.x0, level, ha="center")


def _write_above(
    axes: Axes, text: str, place: float, level: int, *, ha: Literal["left", "center"]
) -> None:
    """Writes a text above the plot, so many pixels from its left side."""
    axes.annotate(
        text,
        (0, 1),
        xycoords="axes fraction",
        xytext=(place, LEVEL_HEIGHT * level + 7),
        textcoords="offset points",
        ha=ha,
        fontsize=11,
        color=style.VERMILLION,
        annotation_clip=False,
        parse_math=False,
    )


def _levels(places: Mapping[str, float]) -> dict[str, int]:
    """The level above the plot of each name, so that no two names overlap.

    Args:
        places: where the middle of each name should be, in pixels.
    """
    levels: dict[str, int] = {}
    ends: list[float] = []
    for name in sorted(places, key=lambda name: places[name]):
        half = style.text_width(style.plain(name, limit=24)) / 2 + GAP
        # A name at the right side is moved to the left by as much as it would stick out.
        middle = min(places[name], WIDTH - half)
        level = next((i for i, end in enumerate(ends) if end <= middle - half), len(ends))
        ends[level : level + 1] = [middle + half]
        levels[name] = level
    return levels
