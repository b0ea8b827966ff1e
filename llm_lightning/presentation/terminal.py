"""The terminal: standard output for results, standard error for messages, framed errors."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table

from llm_lightning.presentation.harmless import harmless


class PlainConsole(Console):
    """A console that shows the control characters of what it prints, and obeys its own alone."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Renders anything, whatever text is in it; see :class:`rich.console.Console`."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                yield Segment(harmless(segment.text), segment.style)
            else:
                yield segment


console = PlainConsole(highlight=False)
"""Standard output."""
errors = PlainConsole(highlight=False, stderr=True)
"""Standard error."""


def print_error(message: str) -> None:
    """Prints what was wrong, where, and what to do."""
    errors.print(Panel(escape(message), title="error", title_align="left", border_style="red"))


def working(what: str) -> AbstractContextManager[Any]:
    """Shows on a terminal that something is taking time."""
    return console.status(escape(what))


def facts_grid() -> Table:
    """A grid of names and facts; what is too long for a line, as a path, wraps."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def results_table(*columns: str, footer: bool = False) -> Table:
    """A table of results: the first column on the left, the others on the right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=footer)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table
