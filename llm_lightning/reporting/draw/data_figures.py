"""Lengths of the training messages."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from llm_lightning.reporting.analyse.data_card import Lengths
from llm_lightning.reporting.draw import style


def lengths_panel(lengths: Lengths, bin_width: int, highest: float) -> Figure:
    """Histogram of the lengths of a class's messages.

    Args:
        lengths: of the class.
        bin_width: characters per bin.
        highest: the upper end of the axis, a share: the same for all classes of a chapter.
    """
    figure, axes = style.new_panel(500, 190, style.Margins(36, 14, 10, 42), grid="y")
    starts = bin_width * np.arange(len(lengths.histogram))
    shares = lengths.histogram
    bars = axes.bar(starts, shares, bin_width, align="edge", color=style.BLUE, alpha=0.75)
    for start, share, bar in zip(starts.tolist(), shares, bars, strict=True):
        bar.set(edgecolor=style.WHITE, linewidth=1)
        more = "or more" if start == starts[-1] else f"to {start + bin_width - 1}"
        style.tip(bar, f"{start} {more} characters: {100 * share:.1f} %")
    axes.set(xlim=(0, bin_width * len(shares)), ylim=(0, highest))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    style.percent_axis(axes.yaxis, nbins=3)
    style.label_axes(axes, "characters (last bar: or more)")
    return figure
