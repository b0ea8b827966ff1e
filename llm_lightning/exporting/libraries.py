"""Other people's libraries: whether they are there, and that they keep quiet."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

INSTALL = "pip install 'llm-lightning[export]'"
_NEEDED = {
    "hf": ("transformers",),
    "peft": ("peft", "transformers"),
    "merged": (),
    "gguf": ("gguf",),
}
_TALKATIVE = ("bitsandbytes", "peft", "transformers")


def check_installed(kind: str) -> None:
    """Refuses a format whose libraries are not there.

    Args:
        kind: a format.

    Raises:
        ValueError: with the line that installs them.
    """
    missing = [name for name in _NEEDED[kind] if find_spec(name) is None]
    if missing:
        raise ValueError(f"--format {kind} needs {' and '.join(missing)}: {INSTALL}")


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what these libraries advise off the terminal: none of it is the user's to change.

    Errors come through; that a model was loaded as a whole is checked rather than read.
    """
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
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
