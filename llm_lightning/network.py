"""Whether the network can be used, decided within a few seconds; and where downloads are kept.

Both data (over plain HTTP) and weights (from a model hub) are downloaded, so this module lies
below the packages that do either.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from concurrent.futures.thread import _threads_queues
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx2

from llm_lightning.run_format.redaction import without_secrets

ANSWER_TIMEOUT_S = 4.0
"""Seconds within which a host must respond: data and weights together then fail within 10."""

STALLED_AFTER_S = 60.0
LEAST_BYTES = 2**18
"""A download is given up once fewer bytes than these arrive within so many seconds."""

# The client logs every request at a lower level.
logging.getLogger("httpx2").setLevel(logging.WARNING)

T = TypeVar("T")


def offline() -> bool:
    """Returns whether ``LLM_LIGHTNING_OFFLINE=1`` forbids using the network."""
    return os.environ.get("LLM_LIGHTNING_OFFLINE") == "1"


def cache_dir() -> Path:
    """Returns the folder for downloads, which may not exist yet.

    It is ``LLM_LIGHTNING_CACHE``, or ``llm_lightning`` in the user's cache folder.

    Raises:
        ValueError: if neither the environment nor the system names the user's home.
    """
    if own := os.environ.get("LLM_LIGHTNING_CACHE"):
        return Path(own).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "llm_lightning"
    try:
        return Path.home() / ".cache" / "llm_lightning"
    except RuntimeError as error:  # no HOME, and a user without an entry, as in some containers
        raise ValueError(
            "there is no home folder for the cache: set HOME, or LLM_LIGHTNING_CACHE to a folder"
        ) from error


class Unavailable(OSError):
    """Something could not be downloaded.

    Args:
        what: what was wanted, e.g. "the SMS Spam Collection".
        reason: one line per address that was tried: what went wrong there.
        advice: what the user can do about it.
    """

    def __init__(self, what: str, reason: str, advice: str) -> None:
        super().__init__()
        self.what, self.advice = what, advice
        self.reason = without_secrets(reason)

    def __str__(self) -> str:
        reason = "\n".join(f"  {line}" for line in self.reason.splitlines())
        return f"{self.what} could not be downloaded:\n{reason}\nWhat to do: {self.advice}"

    def __reduce__(self) -> tuple[type["Unavailable"], tuple[str, str, str]]:
        # OSError would pickle its own arguments; sweep launchers send exceptions across processes.
        return type(self), (self.what, self.reason, self.advice)


class Reachability:
    """Whether an address can be reached; the request is sent on construction, in the background.

    Redirects are followed and proxies set in the environment are used. Any HTTP response counts,
    errors included, except 429: the server is there, but wants to be left alone.

    Args:
        url: the address.
        timeout_s: seconds from now after which the address counts as unreachable.
    """

    def __init__(self, url: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._host = urlsplit(url).netloc.rpartition("@")[2] or url
        # The request's own timeout only ends the thread; the deadline above is what counts.
        self._response = in_daemon(
            lambda: httpx2.head(url, timeout=2 * timeout_s, follow_redirects=True)
        )

    def problem(self) -> str | None:
        """Waits for the response, until the deadline at most; the verdict is final.

        Returns:
            Why the address cannot be reached, or ``None`` if it can.
        """
        return self._problem

    @cached_property
    def _problem(self) -> str | None:
        try:
            response = self._response.result(max(0.0, self._deadline - time.monotonic()))
        except (TimeoutError, httpx2.TimeoutException):
            return f"{self._host} did not answer within {self._timeout_s:g} s"
        # Not only HTTPError: a proxy setting that the client cannot use is a ValueError or an
        # ImportError, and a malformed address an InvalidURL.
        except Exception as error:
            return f"{self._host}: {innermost(error)}"
        return refusal(self._host, response) if response.status_code == 429 else None


def refusal(host: str, response: httpx2.Response) -> str:
    """Says that a server has had too many requests, and for how long it wants no more.

    Args:
        host: the server's name.
        response: HTTP 429.
    """
    after = response.headers.get("Retry-After", "").strip()
    asked = f", and asks to wait {int(after):,} s" if after.isdecimal() and len(after) < 10 else ""
    return f"{host} has had too many requests (HTTP 429){asked}"


def check_secure(asked: str, answered: str) -> None:
    """Refuses an answer that came over plain HTTP though HTTPS was asked for.

    Args:
        asked: the address of the request.
        answered: that of the response, after all redirects.

    Raises:
        ValueError: if a redirect left HTTPS.
    """
    if urlsplit(asked).scheme == "https" and urlsplit(answered).scheme != "https":
        host = urlsplit(answered).hostname
        raise ValueError(f"it redirects to {host} over plain HTTP, where anybody can change it")


class Stalled(OSError):
    """A download has all but stopped."""


def while_moving(
    download: Callable[[], T],
    received: Callable[[], int],
    *,
    within_s: float | None = None,
    least_bytes: int | None = None,
) -> T:
    """Runs a download, and gives it up once it hardly moves.

    Clients limit the pause between two bytes, which a byte a second never exceeds, and obey a
    server that asks them to come back in an hour.

    Args:
        download: in a thread that is left behind if it is given up.
        received: returns how many bytes have arrived so far.
        within_s: length of a window, in seconds; ``None``: ``STALLED_AFTER_S``.
        least_bytes: that must arrive in each window; ``None``: ``LEAST_BYTES``.

    Returns:
        What ``download`` returns.

    Raises:
        Stalled: if fewer bytes arrive in one window; that is after two windows at the latest.
    """
    within_s = STALLED_AFTER_S if within_s is None else within_s
    least_bytes = LEAST_BYTES if least_bytes is None else least_bytes
    future, before = in_daemon(download), received()
    while not wait({future}, within_s).done:
        now = received()
        if now - before < least_bytes:
            _do_not_wait_at_exit()
            raise Stalled(
                f"only {now - before:,} bytes arrived within {within_s:g} s, "
                f"fewer than {least_bytes:,}"
            )
        before = now
    return future.result()


def _do_not_wait_at_exit() -> None:
    """Lets the process end without the threads that a client left behind has started.

    The interpreter waits at exit for those of an executor, also if they are daemon threads, as
    those are that a daemon thread starts.
    """
    for thread in threading.enumerate():
        if thread.daemon:
            cast(dict[Any, Any], _threads_queues).pop(thread, None)


def in_daemon(work: Callable[[], T]) -> Future[T]:
    """Runs ``work`` in a thread that may be abandoned.

    ``getaddrinfo`` has no timeout, so the only way to bound it is to leave its thread behind; a
    daemon thread, because the interpreter waits at exit for those of an executor.

    Args:
        work: the function to call.

    Returns:
        A future with its result or its exception.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def innermost(error: BaseException) -> str:
    """Describes the root cause of a chain of exceptions in one line.

    HTTP clients wrap the operating system's error two or three times.

    Args:
        error: the outermost exception.

    Returns:
        The message of the cause; the name of its type precedes it unless it is an ``OSError``.
    """
    while True:
        nested = (*error.args, error.__cause__)
        inner = next((part for part in nested if isinstance(part, BaseException)), None)
        if inner is None:
            break
        error = inner
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text if isinstance(error, OSError) else f"{type(error).__name__}: {text}"
