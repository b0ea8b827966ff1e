"""Reliability of a row's probabilities."""

import numpy as np
from matplotlib.figure import Figure

from llm_lightning.reporting.analyse.probabilities import Calibration
from llm_lightning.reporting.draw import style


def reliability_panel(calibration: Calibration) -> Figure:
    """Accuracy over confidence; the size of a point grows with its examples."""
    figure, axes = style.new_panel(230, 220, style.Margins(46, 12, 10, 40))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    style.percent_axis(axes.xaxis, nbins=5)
    style.percent_axis(axes.yaxis, nbins=5)
    style.label_axes(axes, "confidence (%)", "correct (%)")
    axes.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=(0, (3, 3)))
    confidence, accuracy = calibration.confidence, calibration.accuracy
    axes.plot(confidence, accuracy, color=style.BLUE, linewidth=2, clip_on=False)
    most = calibration.counts.max()
    for x, y, count in zip(confidence, accuracy, calibration.counts, strict=True):
        size = 5 + 9 * float(np.sqrt(count / most))
        (dot,) = axes.plot(x, y, "o", color=style.BLUE, markersize=size, clip_on=False)
        dot.set_markeredgecolor(style.WHITE)
        style.tip(dot, f"{count} examples: confidence {100 * x:.0f} %, correct {100 * y:.0f} %")
    return figure
