"""Values that a function hands over while it runs, as an iterator.

transformers' ``generate`` calls a streamer with each token and returns at the end; a caller that
reads token by token wants to be the one who asks.
"""

from collections.abc import Callable, Generator
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")


class _Closed(BaseException):
    """Ends the function, through whatever it is in the middle of."""


def pushed_values(function: Callable[[Callable[[T], None]], object]) -> Generator[T]:
    """Yields the values that a function passes to its argument.

    The function runs in a thread of its own, but only while the next value is waited for: the two
    never run at the same time. If the iterator is closed early, the function's next call of its
    argument does not return.

    Args:
        function: takes ``push``, which it calls with each value.

    Raises:
        BaseException: what the function raises.
    """
    results: SimpleQueue[tuple[str, T | BaseException | None]] = SimpleQueue()
    may_run = Semaphore(0)
    is_closed = False

    def push(value: T) -> None:
        results.put(("value", value))
        may_run.acquire()
        if is_closed:
            raise _Closed

    def run() -> None:
        may_run.acquire()
        try:
            function(push)
        except BaseException as error:
            results.put(("error", error))
        else:
            results.put(("end", None))

    # A daemon: an iterator that nobody closes does not keep the program from ending.
    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            may_run.release()
            kind, result = results.get()
            if kind == "end":
                return
            if isinstance(result, BaseException) and kind == "error":
                raise result
            yield result  # type: ignore[misc]
    finally:
        is_closed = True
        may_run.release()
        thread.join()
