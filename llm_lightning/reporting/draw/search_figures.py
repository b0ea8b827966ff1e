"""What a search finds with how many trials."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from llm_lightning.reporting.analyse.searches import Search
from llm_lightning.reporting.draw import style


def expected_best_panel(search: Search) -> Figure:
    """The expected best validation value over the number of trials."""
    figure, axes = style.new_panel(300, 220, style.Margins(60, 16, 12, 44))
    budgets = list(range(1, len(search.expected) + 1))
    axes.plot(budgets, search.expected, color=style.BLUE, linewidth=2, clip_on=False)
    name = f"validation {search.objective.replace('_', ' ')}"
    if search.is_share:
        style.percent_axis(axes.yaxis, nbins=5)
        name += " (%)"
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    style.label_axes(axes, "trials", name)
    for budget, value in zip(budgets, search.expected, strict=True):
        (dot,) = axes.plot(budget, value, "o", color=style.BLUE, markersize=5, clip_on=False)
        shown = f"{100 * value:.2f} %" if search.is_share else f"{value:.4f}"
        style.tip(dot, f"best of {budget}: {shown}")
    return figure
