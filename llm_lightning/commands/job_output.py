"""Where a job's output goes: to the terminal, or to its own file if jobs run side by side."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

OUTPUT_TO_FILE = "LLM_LIGHTNING_OUTPUT_TO_FILE"
"""Environment variable by which a sweep makes its jobs print to files, not to the terminal."""


@contextmanager
def redirected(file: Path) -> Iterator[None]:
    """Sends a job's output to a file, if it runs beside others in a sweep."""
    if OUTPUT_TO_FILE not in os.environ:
        yield
        return
    with (
        file.open("a", encoding="utf-8") as output,
        redirect_stdout(output),
        redirect_stderr(output),
    ):
        yield
