"""The look that every chart shares: palette, canvas, percent axes, labels at the ends of lines.

- No pyplot: a figure belongs to whoever made it, so any thread may draw and no display is needed.
- The look is set on the objects, never through rcParams, which the whole process shares.
- Colours are those of Okabe and Ito, which all common forms of colour blindness can tell apart;
  green, purple and orange are darkened so that text in them is readable on white.

There are two kinds of canvas. A *figure* stands alone, as a PNG does: it has a title and a
footnote. A *panel* is part of a page, whose text explains it.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.optimize import isotonic_regression

from llm_lightning.run_format.atomic_files import replacing

BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#008a65"
PURPLE, ORANGE, SKY, STEEL = "#b5568f", "#a87400", "#56b4e9", "#4a7fb5"
INK, GREY, MUTED, PALE, WHITE = "#222222", "#5b6570", "#8b949c", "#dddddd", "#ffffff"

SPLIT_COLOURS = {"train": BLUE, "val": VERMILLION, "test": GREEN}
"""A split has the same colour in every chart."""

SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""Colours of curves side by side, without black, which averages have."""

DPI = 150
SIZE = (7.0, 4.2)
"""Width and height of a figure in inches: 1050 by 630 pixels."""

PANEL_DPI = 72
"""A pixel of a panel is a typographic point, so that sizes of text and canvas are in one unit."""

TIP = "tip:"
"""How the group id of an artist starts that carries a text for the pointer; see :func:`tip`."""


@dataclass(frozen=True)
class Caption:
    """What each figure of a run says about it."""

    title: str
    """Run name and seed."""
    footnote: str | None = None
    """A caution that must stay with the picture wherever it is copied to."""


@dataclass(frozen=True)
class Margins:
    """Space around a panel's plot area, in pixels."""

    left: float = 46
    right: float = 12
    top: float = 12
    bottom: float = 40


def new_figure(
    what: str, caption: Caption, *, size: tuple[float, float] = SIZE
) -> tuple[Figure, Axes]:
    """A figure that stands alone, with one empty plot.

    Args:
        what: the heading: what the figure shows.
        caption: of which run, and the footnote if there is one.
        size: width and height in inches.
    """
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor=WHITE)
    FigureCanvasAgg(figure)
    # Positions are in shares of the canvas, distances here in inches.
    inch_x, inch_y = 1 / size[0], 1 / size[1]
    left, top, foot = 0.13 * inch_x, 1 - 0.13 * inch_y, 0.1 * inch_y
    figure.text(left, top, what, va="top", size=12, weight="bold", color=INK)
    title = plain(caption.title, limit=88)
    figure.text(left, top - 0.22 * inch_y, title, va="top", size=9, color=GREY, parse_math=False)
    if caption.footnote:
        note = plain(caption.footnote, limit=130)
        figure.text(left, foot, note, va="bottom", size=7.5, color=GREY, parse_math=False)
        foot += 0.2 * inch_y
    # Constrained layout ignores free text: it gets the space that the text leaves.
    area = (left, foot, 1 - 2 * left, top - 0.45 * inch_y - foot)
    figure.set_layout_engine("constrained", rect=area, w_pad=0, h_pad=0)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(color=GREY, labelcolor=INK, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(INK)
    axes.set_axisbelow(True)
    return figure, axes


def new_panel(
    width: float,
    height: float,
    margins: Margins = Margins(),
    *,
    grid: Literal["x", "y", "both"] | None = "both",
) -> tuple[Figure, Axes]:
    """A transparent panel with one empty plot.

    Args:
        width: of the canvas, in pixels.
        height: of the canvas, in pixels.
        margins: around the plot area.
        grid: axis with grid lines: ``x``, ``y``, ``both`` or None.
    """
    figure = Figure(figsize=(width / PANEL_DPI, height / PANEL_DPI), dpi=PANEL_DPI)
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    inside = (width - margins.left - margins.right, height - margins.top - margins.bottom)
    place = (margins.left / width, margins.bottom / height, inside[0] / width, inside[1] / height)
    axes = figure.add_axes(place)
    axes.patch.set_alpha(0)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=GREY, labelsize=11, pad=5)
    axes.tick_params(axis="x", pad=8)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=PALE, linewidth=1)
    return figure, axes


def label_axes(axes: Axes, x: str = "", y: str = "") -> None:
    """Names the axes of a panel."""
    axes.set_xlabel(x, fontsize=11, color=GREY)
    # Anchored, so that it stays centred in whatever font a page has.
    axes.set_ylabel(y, fontsize=11, color=GREY, rotation_mode="anchor")


def tip(artist: Artist, text: str) -> None:
    """Gives an artist a text that a page shows under the pointer."""
    artist.set_gid(TIP + printable(text))


def save_png(figure: Figure, path: Path) -> Path:
    """Writes a PNG whose bytes depend on the picture alone: no library version inside.

    ``savefig`` would draw the same picture twice, the first time only for its layout.
    """
    with replacing(path) as new:
        canvas = FigureCanvasAgg(figure)
        canvas.print_png(new, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return path


def plain(text: str, *, limit: int) -> str:
    """A text of at most ``limit`` characters that any font and file can show."""
    text = printable(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def printable(text: str) -> str:
    """A text without control characters and lone surrogates, which no XML file may hold."""
    return "".join(c if c.isprintable() or c == "\N{NO-BREAK SPACE}" else " " for c in text)


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = 11) -> float:
    """The width of a text in a panel, in pixels."""
    canvas = FigureCanvasAgg(Figure(dpi=PANEL_DPI))
    label = canvas.figure.text(0, 0, text, size=size, parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        return float(label.get_window_extent().width)


def percent_axis(axis: Axis, nbins: int = 6) -> None:
    """Shows shares as whole percents; the axis label carries the sign."""
    axis.set_major_locator(MaxNLocator(nbins=nbins, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=None))


def accuracy_floor(lowest: float) -> float:
    """Where an accuracy axis starts: a multiple of 5 % with some room below the lowest value."""
    return max(0.0, float(np.floor(20 * lowest - 0.2)) / 20)


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves heights as little as possible to be a gap apart, within low and high if they fit.

    Least squares under "each is a gap above the one below" is isotonic regression, once each
    height is lowered by the gaps underneath it.
    """
    order = np.argsort(heights, kind="stable")
    gaps = gap * np.arange(len(heights))
    lowered = isotonic_regression(np.asarray(heights, dtype=float)[order] - gaps).x
    placed = np.empty(len(heights))
    placed[order] = np.clip(lowered, low, high - gap * (len(heights) - 1)) + gaps
    return placed.tolist()


def name_line_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names each line to the right of the plot, level with its end; the y limits must be final.

    Args:
        axes: the plot.
        ends: height in data units, text and colour of each line.
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
