"""Whether something can be had from the network, decided in time.

Below every room, because both weights and data are fetched: the backbone from a model hub, the
data by plain HTTP.
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar
from urllib.parse import urlsplit

import requests

ANSWER_TIMEOUT_S = 4.0
"""Time a host has to answer at all, in seconds: data and weights together stay below 10."""

T = TypeVar("T")


def offline() -> bool:
    """Whether ``LLM_LIGHTNING_OFFLINE=1`` forbids the network."""
    return os.environ.get("LLM_LIGHTNING_OFFLINE") == "1"


class Unavailable(OSError):
    """Something could not be had from the network.

    Args:
        what: What was wanted, e.g. "the SMS Spam Collection".
        reason: One line for each address that was tried, and what happened there.
        advice: What the user can do about it.
    """

    def __init__(self, what: str, reason: str, advice: str) -> None:
        super().__init__()
        self.what, self.reason, self.advice = what, reason, advice

    def __str__(self) -> str:
        reason = "\n".join(f"  {line}" for line in self.reason.splitlines())
        return f"{self.what} could not be downloaded:\n{reason}\nWhat to do: {self.advice}"

    def __reduce__(self) -> tuple[type["Unavailable"], tuple[str, str, str]]:
        # OSError would pickle its own arguments; sweep launchers send exceptions across processes.
        return type(self), (self.what, self.reason, self.advice)


class Probe:
    """Whether an address answers; the asking starts with construction.

    Any HTTP answer counts, errors included. Proxies named by the environment are used.

    Args:
        url: The address.
        timeout_s: Seconds from now after which silence counts as a no.
    """

    def __init__(self, url: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._host = urlsplit(url).netloc or url
        # The request's own time-out only ends the thread; the deadline above is what counts.
        self._answer = in_daemon(
            lambda: requests.head(url, timeout=2 * timeout_s, allow_redirects=False).close()
        )

    def problem(self) -> str | None:
        """Why nothing can be had there, None if something can. Waits until the deadline at most."""
        try:
            self._answer.result(max(0.0, self._deadline - time.monotonic()))
        except (TimeoutError, requests.Timeout):
            return f"{self._host} did not answer within {self._timeout_s:g} s"
        except requests.RequestException as error:
            return f"{self._host}: {innermost(error)}"
        return None


def in_daemon(work: Callable[[], T]) -> Future[T]:
    """Runs ``work`` in a thread that may be abandoned.

    getaddrinfo takes no time-out, so only a thread left behind bounds it; a daemon, because the
    threads of an executor are waited for when the interpreter exits.
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
    """Returns the cause at the core of requests' and urllib3's nested exceptions, in one line."""
    while True:
        nested = [getattr(error, "reason", None), *error.args, error.__cause__]
        inner = next((part for part in nested if isinstance(part, BaseException)), None)
        if inner is None:
            break
        error = inner
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text if isinstance(error, OSError) else f"{type(error).__name__}: {text}"
