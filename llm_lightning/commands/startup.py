"""How a command starts and ends: fast, with an exit status, whoever reads what it says."""

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from llm_lightning.presentation import console
from llm_lightning.training.allocator import keep_freed_memory

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


@contextlib.contextmanager
def kept_objects() -> Iterator[None]:
    """For the first import of what is heavy: no garbage is looked for, then or later, in it.

    The libraries bring half a million objects that live as long as the process. Python would go
    through them several times while they are made and once more at the end, which takes a third
    of the time that a command needs to start and stop.
    """
    if "torch" in sys.modules:  # nothing heavy is left, and others' garbage is not to be kept
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def run_and_exit(main: Callable[[], int]) -> NoReturn:
    """Runs a command and ends the process with its exit status.

    Args:
        main: the command. What a KeyboardInterrupt of its own says is told.
    """
    keep_freed_memory()
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        console.print_error(f"interrupted: {stop}" if str(stop) else "interrupted")
        status = INTERRUPTED
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    gc.freeze()  # the process ends: its garbage need not be found
    sys.exit(status)
