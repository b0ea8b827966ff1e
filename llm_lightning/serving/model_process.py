"""A model in a process of its own, so that its computation and the connections share no Python.

In one process the thread of the model would wait for Python's lock after every operation, most of
the time of a small model. What crosses the border is a batch at a time, pickled over a pipe between
the two processes alone.
"""

import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from llm_lightning.serving.refusals import ModelFailed
from llm_lightning.training.allocator import keep_freed_memory

logger = logging.getLogger(__name__)

D = TypeVar("D")

Emit = Callable[[Any], None]
"""Takes a part of an answer, as soon as there is one."""
Cancelled = Callable[[], Collection[int]]
"""Tells which rows of a batch nobody waits for any more."""
Compute = Callable[[Any, Emit, Cancelled], Any]
"""Answers a batch."""
Make = Callable[[], tuple[Compute, D]]
"""Loads a model: what computes with it, and what the server must know about it."""

_GOODBYE_S = 5.0


@dataclass(frozen=True)
class _Cancel:
    """Sent while a batch is computed: nobody waits for this row."""

    row: int


class ModelProcess(Generic[D]):
    """A process that has loaded a model.

    Args:
        make: called in the process; must be importable there, as must be what it returns.
        on_death: called, in some thread, if the process ends by itself.

    Raises:
        Exception: whatever ``make`` raises.
        ModelFailed: if the process ended before it was ready.
    """

    description: D
    """From ``make``."""

    def __init__(self, make: Make[D], on_death: Callable[[], None]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._is_closing = False
        self._process = context.Process(target=_work, args=(theirs, make), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        kind, value = self._received()
        if kind == "failed":
            self.close()
            raise value
        self.description = value
        self._on_death = on_death
        threading.Thread(target=self._watch, daemon=True).start()

    def is_alive(self) -> bool:
        """Whether it can still answer."""
        return self._process.is_alive()

    def compute(self, batch: Any, emit: Emit, cancelled: Cancelled) -> Any:
        """Answers a batch there; a :data:`Compute`, for one thread at a time.

        Raises:
            ModelFailed: if the model fails at it, or the process has ended.
        """
        told: set[int] = set()
        try:
            self._connection.send(batch)
        except OSError as error:
            raise ModelFailed("its process has ended") from error
        while True:
            kind, value = self._received()
            if kind == "result":
                return value
            if kind == "failed":
                raise ModelFailed(value)
            emit(value)
            for row in set(cancelled()) - told:
                told.add(row)
                self._connection.send(_Cancel(row))

    def close(self) -> None:
        """Ends the process."""
        self._is_closing = True
        self._connection.close()
        self._process.join(_GOODBYE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _received(self) -> tuple[str, Any]:
        try:
            kind, value = self._connection.recv()
        except (EOFError, OSError) as error:
            raise ModelFailed("its process has ended") from error
        return kind, value

    def _watch(self) -> None:
        self._process.join()
        if not self._is_closing:
            self._on_death()


def _work(connection: Connection, make: Make[Any]) -> None:
    """What the process does: it ends with the pipe, not with the signals of a terminal."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    keep_freed_memory()
    try:
        compute, description = make()
    except Exception as error:
        connection.send(("failed", error))
        return
    connection.send(("ready", description))
    with suppress(EOFError, OSError):  # the server is gone
        while True:
            batch = connection.recv()
            if not isinstance(batch, _Cancel):  # which came too late
                connection.send(_answered(connection, compute, batch))


def _answered(connection: Connection, compute: Compute, batch: Any) -> tuple[str, Any]:
    gone: set[int] = set()

    def cancelled() -> set[int]:
        while connection.poll():
            gone.add(connection.recv().row)  # nothing else is sent during a batch
        return gone

    try:
        return "result", compute(batch, lambda item: connection.send(("item", item)), cancelled)
    except BaseException as error:  # a panic in a library written in Rust is no Exception
        logger.error("a batch failed", exc_info=error)
        return "failed", f"{type(error).__name__}: {error}"
