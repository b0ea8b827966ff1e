"""How a command starts and ends: fast, and with an exit status whatever happens."""

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from rich.markup import escape

from llm_lightning.presentation.terminal import errors
from llm_lightning.training.allocator import keep_freed_memory

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


@contextlib.contextmanager
def kept_objects() -> Iterator[None]:
    """Keeps the garbage collector away from the objects of heavy imports.

    The libraries create half a million objects that live as long as the process. Python would scan
    them several times while they are created and once more at exit, which takes a third of the
    time that a command needs to start and stop.
    """
    if "torch" in sys.modules:  # nothing heavy is left to import
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
        main: the command. The message of a KeyboardInterrupt that it raises is printed.
    """
    keep_freed_memory()
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        message = f"interrupted: {stop}" if str(stop) else "interrupted"
        errors.print(escape(message), soft_wrap=True)
        status = INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    gc.freeze()  # the process is ending: collecting its garbage would be wasted
    sys.exit(status)
