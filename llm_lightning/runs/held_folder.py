"""A run's folder, held while one process works on it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from llm_lightning.run_format import folder_lock
from llm_lightning.runs.errors import FolderHeld


@contextlib.contextmanager
def held(folder: Path, *, by_others: str) -> Iterator[None]:
    """Keeps other processes away from a run's folder.

    Args:
        folder: of a run, which need not exist yet.
        by_others: what another process that holds it is doing, for people.

    Raises:
        FolderHeld: if one works on it already.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(folder_lock.holding(folder))
        except folder_lock.Held as error:
            raise FolderHeld(f"{error}: {by_others}") from error
        yield
