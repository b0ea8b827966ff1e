"""The one progress bar: description, count, elapsed and remaining time; nothing off a terminal."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from llm_lightning.presentation.terminal import PlainConsole


def progress_bar(
    *, console: Console | None = None, unit: str = "items", detail: str | None = None
) -> Progress:
    """Returns a progress bar that disappears when it is done, and shows only on a terminal.

    Args:
        console: where to draw; by default standard error, so that piped output stays clean.
        unit: ``items`` counts them; ``bytes`` shows sizes and speed.
        detail: a field of each task that is shown beside the count, such as ``loss``.
    """
    console = console or PlainConsole(stderr=True, highlight=False)
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
    ]
    if unit == "bytes":
        columns += [DownloadColumn(), TransferSpeedColumn()]
    else:
        columns += [MofNCompleteColumn()]
    if detail is not None:
        columns += [TextColumn(f"{{task.fields[{detail}]}}", markup=False)]
    columns += [TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn()]
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
