"""How close a language model's test answers are to the references: one figure."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_lightning.reporting import style

NAMES = {"exact_match": "exact match", "rouge_l": "ROUGE-L", "token_f1": "token F1"}


def scores_figure(
    scores: dict[str, dict[str, Any]], per_answer: pd.DataFrame | None, run: style.Run
) -> Figure:
    """Mean of each score with its 95 % interval, over faint points of the single answers.

    Args:
        scores: `mean`, `low` and `high` of each score, shares from 0 to 1.
        per_answer: A row an answer, a column a score; None leaves the points out.
        run: Title and footnote.
    """
    figure, axes = style.new_figure("Test answers against their references", run)
    random = np.random.default_rng(0)  # scatters points that would lie on each other
    for height, (name, score) in enumerate(reversed(scores.items())):
        if per_answer is not None:
            values = per_answer[name]
            heights = height - 0.3 + random.uniform(-0.09, 0.09, len(values))
            axes.scatter(values, heights, s=9, color=style.SKY, alpha=0.5, linewidths=0)
        axes.plot(
            [score["low"], score["high"]],
            [height, height],
            color=style.BLUE,
            linewidth=3,
            solid_capstyle="butt",
        )
        axes.plot(score["mean"], height, "o", color=style.BLUE, markersize=8, clip_on=False)
        text = f"{100 * score['mean']:.1f}  ({100 * score['low']:.1f} to {100 * score['high']:.1f})"
        axes.annotate(
            text,
            (score["mean"], height),
            xytext=(0, 9),
            textcoords="offset points",
            ha="left" if score["mean"] < 0.15 else "center",
            fontsize=9,
            color=style.INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},  # over the grid's lines
        )
    axes.set_yticks(range(len(scores)), [NAMES.get(name, name) for name in reversed(scores)])
    axes.set_ylim(-0.6, len(scores) - 0.4)
    axes.set_xlim(-0.02, 1.02)
    style.percent_axis(axes.xaxis)
    axes.set_xlabel("Score (%): mean, 95 % interval, and every answer below it")
    axes.grid(axis="x", color=style.PALE, linewidth=0.6)
    return figure
