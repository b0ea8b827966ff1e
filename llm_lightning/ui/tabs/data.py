"""Data: statistics of the splits, and the first training batch as the model sees it."""

import shlex
from pathlib import Path

import gradio as gr
import numpy as np
from matplotlib.ticker import MaxNLocator

from llm_lightning.presentation.command_lines import command_line
from llm_lightning.reporting.draw import style
from llm_lightning.reporting.draw.svg_elements import svg_element
from llm_lightning.ui import markup
from llm_lightning.ui.context import PRIVATE, Context, RunChooser, reported, typed
from llm_lightning.ui.data_statistics import SplitStatistics, split_statistics
from llm_lightning.ui.first_batch import (
    IN_LOSS,
    MASKED,
    PADDING,
    SPECIAL,
    TEXT,
    FirstBatch,
    first_batch,
)
from llm_lightning.ui.run_data import RunData, run_data

_BINS = 30
_MOST_CLASSES = 12
_MEANINGS = {
    TEXT: "token of the text",
    SPECIAL: "special token of the model",
    IN_LOSS: "the model must predict it",
    MASKED: "read, but not in the loss",
    PADDING: "fills the row",
}


def data_tab(context: Context, tab: gr.Tab) -> None:
    """Builds the screen."""
    chosen = RunChooser(context, "Run whose data to look at")
    button = gr.Button("Show its data", variant="primary", elem_id="show-data")
    shown = gr.HTML(elem_id="data-shown")
    tab.select(chosen.update, inputs=chosen.field, outputs=chosen.field, **PRIVATE)

    @reported
    def show(value: str | None) -> str:
        folder = context.folder(value)
        run = run_data(folder)
        return _statistics(run) + _first_batch(run) + markup.commands(*_commands(folder, run))

    button.click(show, inputs=chosen.field, outputs=shown, **PRIVATE)
    chosen.field.input(lambda: "", outputs=shown, **PRIVATE)  # it is of another run


def _commands(folder: Path, run: RunData) -> list[str]:
    code = (
        "from pathlib import Path; from llm_lightning.ui.run_data import run_data; "
        "from llm_lightning.ui.data_statistics import split_statistics; "
        "from llm_lightning.ui.first_batch import first_batch; "
        f"run = run_data(Path({typed(folder)!r})); "
        "print(split_statistics(run.data), first_batch(run))"
    )
    audit = [command_line("audit", typed(folder))] if run.pooling is not None else []
    return [shlex.join(["python", "-c", code]), *audit]


def _statistics(run: RunData) -> str:
    found = split_statistics(run.data)
    rows = []
    for one in found:
        low, middle, high, most = one.quantiles
        cut = "" if one.truncated is None else f"{one.truncated:,}"
        rows.append(
            (one.name, f"{one.examples:,}", *(f"{n:,}" for n in (low, middle, high, most)), cut)
        )
    headings = ("split", "examples", "least tokens", "median", "95 %", "most", "truncated")
    parts = ["<h3>Splits</h3>", *(markup.note(text) for text in run.notes)]
    parts.append(markup.table(headings, rows))
    if found[0].class_counts:
        parts.append("<h3>Classes</h3>" + _classes(found))
    parts.append("<h3>Lengths of the training examples</h3>" + _lengths(found[0]))
    return "".join(parts)


def _classes(found: list[SplitStatistics]) -> str:
    names = sorted(found[0].class_counts, key=lambda name: -found[0].class_counts[name])
    rows = []
    for name in names[:_MOST_CLASSES]:
        cells = [name]
        for one in found:
            count = one.class_counts[name]
            cells.append(f"{count:,} ({100 * count / max(1, one.examples):.1f} %)")
        rows.append(cells)
    left_out = len(names) - len(rows)
    more = f"{left_out} rarer classes are not shown" if left_out else ""
    return markup.table(("class", *(one.name for one in found)), rows) + markup.note(more)


def _lengths(one: SplitStatistics) -> str:
    figure, axes = style.new_panel(500, 190, style.Margins(48, 14, 10, 42), grid="y")
    most = max(one.lengths)
    width = max(1, -(-most // _BINS))
    edges = np.arange(0, most + width + 1, width)
    counts, _ = np.histogram(one.lengths, edges)
    axes.bar(edges[:-1], counts, width, align="edge", color=style.BLUE, alpha=0.75)
    axes.set(xlim=(0, edges[-1]))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10], integer=True))
    style.label_axes(axes, "tokens", "examples")
    text = f"examples by their number of tokens, {width} a bar"
    svg = svg_element(figure, key="lengths", title="Lengths", description=text)
    return f'<div class="panels"><figure>{svg}</figure></div>'


def _first_batch(run: RunData) -> str:
    found = first_batch(run)
    roles = [role for role in _MEANINGS if found.count(role)]
    return f"<h3>The first training batch, as the model sees it</h3>{_sizes(found)}" + markup.batch(
        found, {role: _MEANINGS[role] for role in roles}
    )


def _sizes(found: FirstBatch) -> str:
    rows, positions = found.shape
    share = 100 * found.num_padding / (rows * positions)
    asked = found.count(IN_LOSS)
    loss = f"; {asked:,} tokens are in the loss" if asked else ""
    return markup.note(
        f"{rows} rows of {positions} positions, {found.num_padding:,} ({share:.0f} %) of them "
        f"padding{loss}"
    )
