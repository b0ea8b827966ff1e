"""Keeps the progress bars and notices of transformers off the screen."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing but errors is printed by transformers within; its settings are then restored."""
    from transformers.utils import logging

    log: Any = logging  # without types
    level, had_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if had_bars:
            log.enable_progress_bar()
