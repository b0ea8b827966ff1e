"""How a command starts and ends: fast, and with an exit status whatever happens."""

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from rich.markup import escape

from llm_lightning.presentation.terminal import errors
from llm_lightning.training import stop_signals
from llm_lightning.training.allocator import keep_freed_memory

HELD = 75
"""Exit status of a run whose folder another process holds: EX_TEMPFAIL of sysexits.h."""


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
        main: the command. The message of a KeyboardInterrupt that it raises, as Ctrl-C and signals
            do, is printed, and the exit status is 128 and the signal's number.
    """
    keep_freed_memory()
    try:
        with stop_signals.handled():
            status = main()
            sys.stdout.flush()
        if stop_signals.name():
            status = stop_signals.exit_status()  # ended early, in its own way
    except KeyboardInterrupt as stop:
        name = stop_signals.name()
        how = f"interrupted by {name}" if name else "interrupted"
        errors.print(escape(f"{how}: {stop}" if str(stop) else how), soft_wrap=True)
        if queued := stop_signals.requeue_if_asked():
            errors.print(escape(queued), soft_wrap=True)
        status = stop_signals.exit_status()
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    gc.freeze()  # the process is ending: collecting its garbage would be wasted
    sys.exit(status)
