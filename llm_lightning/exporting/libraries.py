"""Other libraries' messages, kept off the terminal."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARIES = ("bitsandbytes", "peft", "transformers")


@contextmanager
def quiet() -> Iterator[None]:
    """Hides these libraries' warnings, none of which the user can act on; errors come through."""
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
