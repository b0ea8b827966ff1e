"""How a command ends: with an exit status, after Ctrl-C, and where nobody reads what it says."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from llm_lightning import console

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def run_and_exit(main: Callable[[], int]) -> NoReturn:
    """Runs a command and ends the process with its exit status.

    Args:
        main: the command. What a KeyboardInterrupt of its own says is told.
    """
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        console.print_error(f"interrupted: {stop}" if str(stop) else "interrupted")
        status = INTERRUPTED
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)
