"""Curves of a run while it trains, over optimizer steps: its epochs may not be known yet."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from llm_lightning.reporting.draw import style
from llm_lightning.reporting.draw.svg_elements import svg_element
from llm_lightning.reporting.read.run_tables import read_curves
from llm_lightning.run_format.curves import EPOCH_LOSS, STEP_LOSS, VALIDATION_LOSS

_LOSSES = {
    STEP_LOSS: ("train, single steps", style.STEEL, 1.0),
    EPOCH_LOSS: ("train", style.SPLIT_COLOURS["train"], 2.0),
    VALIDATION_LOSS: ("validation", style.SPLIT_COLOURS["val"], 2.0),
}
_ACCURACIES = {
    "train/accuracy": ("train", style.SPLIT_COLOURS["train"], 2.0),
    "val/accuracy": ("validation", style.SPLIT_COLOURS["val"], 2.0),
}


def live_curves(folder: Path, key: str) -> list[str]:
    """Draws what a run has logged so far.

    Args:
        folder: the run's.
        key: different for each run on a page.

    Returns:
        An ``<svg>`` element each of loss and accuracy, as far as there is one.
    """
    try:
        curves = read_curves(folder)
    except (OSError, ValueError, KeyError):
        return []  # nothing is logged yet, or the file is just being written
    found = []
    for name, lines, is_share in (("loss", _LOSSES, False), ("accuracy", _ACCURACIES, True)):
        figure = _panel(curves, lines, is_share=is_share)
        if figure is not None:
            description = f"{name} over optimizer steps: {', '.join(_names(curves, lines))}"
            found.append(
                svg_element(
                    figure, key=f"{key}-{name}", title=name.capitalize(), description=description
                )
            )
    return found


def _names(curves: pd.DataFrame, lines: dict[str, tuple[str, str, float]]) -> list[str]:
    return [name for metric, (name, _, _) in lines.items() if metric in curves]


def _panel(
    curves: pd.DataFrame, lines: dict[str, tuple[str, str, float]], *, is_share: bool
) -> Figure | None:
    figure, axes = style.new_panel(460, 230, style.Margins(48, 130, 14, 42))
    ends, highest = [], 0.0
    for metric, (name, colour, width) in lines.items():
        if metric not in curves:
            continue
        logged = curves[np.isfinite(curves[metric])]
        if logged.empty:
            continue
        steps, values = logged["step"] + 1, logged[metric]
        marker = "" if metric == STEP_LOSS else "o"
        axes.plot(
            steps, values, color=colour, linewidth=width, marker=marker, markersize=4, clip_on=False
        )
        last = float(values.iloc[-1])
        ends.append((last, f"{name} {f'{last:.1%}' if is_share else f'{last:.3f}'}", colour))
        highest = max(highest, float(values.max()))
    if not ends:
        return None
    axes.set_xlim(0, max(1.0, float(curves["step"].max()) + 1))
    axes.set_ylim(0, 1 if is_share else 1.08 * highest or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    if is_share:
        style.percent_axis(axes.yaxis, nbins=4)
    style.label_axes(axes, "optimizer steps", "accuracy (%)" if is_share else "loss (nats)")
    style.name_line_ends(axes, ends)
    return figure
