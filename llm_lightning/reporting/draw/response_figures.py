"""How close a language model's test responses are to their references."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_lightning.reporting.analyse.side_by_side import SCORES
from llm_lightning.reporting.draw import style
from llm_lightning.run_format.run_facts import Score


def scores_figure(
    scores: Mapping[str, Score], per_response: pd.DataFrame | None, caption: style.Caption
) -> Figure:
    """Mean of each score with its 95 % interval, over faint points of the single responses.

    Args:
        scores: by the score's column.
        per_response: one row per response, one column per score; None leaves the points out.
        caption: title and footnote.
    """
    figure, axes = style.new_figure("Test responses against their references", caption)
    random = np.random.default_rng(0)  # scatters points that would coincide
    for height, (name, score) in enumerate(reversed([*scores.items()])):
        if per_response is not None and name in per_response:
            values = per_response[name]
            heights = height - 0.3 + random.uniform(-0.09, 0.09, len(values))
            axes.scatter(values, heights, s=9, color=style.STEEL, alpha=0.5, linewidths=0)
        axes.plot(
            [score.low, score.high],
            [height, height],
            color=style.BLUE,
            linewidth=3,
            solid_capstyle="butt",
        )
        axes.plot(score.mean, height, "o", color=style.BLUE, markersize=8, clip_on=False)
        text = f"{100 * score.mean:.1f}  ({100 * score.low:.1f} to {100 * score.high:.1f})"
        axes.annotate(
            text,
            (score.mean, height),
            xytext=(0, 9),
            textcoords="offset points",
            ha="left" if score.mean < 0.15 else "center",
            fontsize=9,
            color=style.INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},  # hides the grid
        )
    axes.set_yticks(range(len(scores)), [SCORES.get(name, name) for name in reversed([*scores])])
    axes.set_ylim(-0.6, len(scores) - 0.4)
    axes.set_xlim(-0.02, 1.02)
    style.percent_axis(axes.xaxis)
    axes.set_xlabel("Score (%): mean, 95 % interval, and each response below it")
    axes.grid(axis="x", color=style.PALE, linewidth=0.6)
    return figure
