"""The look that every figure shares: palette, page, title, footnote, names at the line ends.

- No pyplot: a figure belongs to whoever made it, so any thread may draw and no display is needed.
- Looks are set on the objects, never through rcParams, which the whole process shares.
- Colours are those of Okabe and Ito, told apart with every common form of colour blindness.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.isotonic import isotonic_regression

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, PURPLE, SKY = "#E69F00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#222222", "#6E6E6E", "#DDDDDD"

SPLIT_COLOURS = {"train": BLUE, "val": VERMILLION, "test": GREEN}
"""A split keeps its colour from figure to figure."""

CLASS_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""Without Okabe and Ito's yellow, too faint for a line on white, and black, kept for averages."""

DPI = 150
SIZE = (7.0, 4.2)
"""Width and height in inches: 1050 by 630 pixels."""


@dataclass(frozen=True)
class Run:
    """What each figure of a run says about it."""

    title: str
    """Run name and seed."""
    footnote: str | None = None
    """A caution that must stay with the picture wherever it is copied to."""


def new_figure(what: str, run: Run, *, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """One page: what it shows and of which run, one empty plot, the footnote if there is one."""
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    # Positions are in shares of the page, distances here in inches.
    inch_x, inch_y = 1 / size[0], 1 / size[1]
    left, top, foot = 0.13 * inch_x, 1 - 0.13 * inch_y, 0.1 * inch_y
    figure.text(left, top, what, va="top", size=12, weight="bold", color=INK)
    title = plain(run.title, limit=88)
    figure.text(left, top - 0.22 * inch_y, title, va="top", size=9, color=GREY)
    if run.footnote:
        figure.text(left, foot, run.footnote, va="bottom", size=7.5, color=GREY)
        foot += 0.2 * inch_y
    # Constrained layout does not see free text: the strips with text stay out of its reach.
    area = (left, foot, 1 - 2 * left, top - 0.45 * inch_y - foot)
    figure.set_layout_engine("constrained", rect=area, w_pad=0, h_pad=0)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(color=GREY, labelcolor=INK, labelsize=9)
    axes.set_axisbelow(True)
    return figure, axes


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG whose bytes depend on the picture alone: no library version inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})
    return path


def plain(text: str, *, limit: int) -> str:
    """Text as it stands: never read as a formula, and cut where it would leave the page."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut.replace("$", r"\$")


def percent_axis(axis: Axis) -> None:
    """Show shares as whole percents; the axis label carries the sign."""
    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=None))


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move heights as little as it takes to be a gap apart, within low and high if they fit.

    Least squares under "each is a gap above the one below" is isotonic regression, once each
    height is lowered by the gaps underneath it.
    """
    order = np.argsort(heights, kind="stable")
    gaps = gap * np.arange(len(heights))
    lowered = isotonic_regression(np.asarray(heights, dtype=float)[order] - gaps)
    placed = np.empty(len(heights))
    placed[order] = np.clip(lowered, low, high - gap * (len(heights) - 1)) + gaps
    return placed.tolist()


def name_line_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name each line to the right of the plot, level with its end; the y limits must be final.

    Args:
        axes: The plot.
        ends: Height in data units, text and colour of each line.
    """
    low, high = axes.get_ylim()
    heights = spread([height for height, _, _ in ends], 0.075 * (high - low), low, high)
    for height, (_, text, colour) in zip(heights, ends, strict=True):
        axes.annotate(
            text,
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour,
            annotation_clip=False,
        )
