"""JSON over HTTP with a server that may be slow, busy, gone or hostile.

Each request has a limit on its whole duration: httpx's own time-outs limit single reads, and name
resolution has none. Each answer has a limit on its size, unpacked.
"""

import ipaddress
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any
from urllib.parse import urlsplit

import httpx2
import tenacity

from llm_lightning.evaluation.judging.answers import (
    Answer,
    Unreadable,
    error_code,
    error_inside,
    error_text,
    read_bounded,
    retry_after,
)
from llm_lightning.network import ANSWER_TIMEOUT_S, in_daemon, innermost, offline

logger = logging.getLogger(__name__)

BACKOFF_S = 1.0
"""Pause before the first retry, in seconds; it doubles with each further one."""
LONGEST_PAUSE_S = 120.0
"""A server whose Retry-After is longer is not retried, in seconds."""

_TEXT_SHOWN = 300


class NoServer(OSError):
    """Nothing answers at an address, or it may not be contacted."""


class ServerFailed(OSError):
    """A server is there, but gives no usable answer."""


class RequestRefused(ValueError):
    """A server rejects a request as it is: HTTP 3xx or 4xx, or an error in place of an answer.

    Args:
        status: HTTP status, or the code in the error.
        message: the server's reason.
        said: what the error says, with the parameter that it names.
    """

    def __init__(self, status: int, message: str, said: str = "") -> None:
        super().__init__(message)
        self.status, self.said = status, said


class Stopped(Exception):
    """The exchange was stopped by :meth:`Exchange.stop`."""


class _TryAgain(Exception):
    """An attempt failed in a way that another one may not.

    Args:
        reason: what happened.
        answered: whether anything came back.
        pause_s: the server's Retry-After, in seconds; None if it gave none.
    """

    def __init__(self, reason: str, answered: bool = False, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.answered, self.pause_s = answered, pause_s


class Exchange:
    """Requests to one server, from any number of threads.

    Args:
        url: address of the server, without a path of the protocol.
        timeout_s: time for one answer, in seconds.
        retries: further attempts after a dropped connection, a time-out, HTTP 429 or 5xx.
        key: bearer key; ``None`` sends none. It never appears in a message.

    Raises:
        ValueError: if ``url`` is not the address of a server, or contains a user or a password,
            or ``key`` cannot be sent.
        NoServer: if ``LLM_LIGHTNING_OFFLINE=1`` forbids it; this machine itself is exempt.
    """

    def __init__(self, url: str, timeout_s: float, retries: int, key: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--url must look like http://localhost:11434, got {url!r}")
        if parts.username or parts.password or parts.query:
            raise ValueError("--url is written to the results: set a key with OPENAI_API_KEY")
        self.url = url.rstrip("/")
        self._is_local = _is_local(parts.hostname)
        if offline() and not self._is_local:
            raise NoServer(f"{self.url}: LLM_LIGHTNING_OFFLINE=1 forbids the network")
        if key and not (key.isascii() and key.isprintable()):
            # httpx would refuse it in a message that shows it.
            raise ValueError("OPENAI_API_KEY contains a line end or another invalid character")
        self._timeout_s = timeout_s
        self._retries = retries
        self._key = key
        # Loading the certificates takes longer than a request; plain HTTP needs none.
        self._tls = httpx2.create_ssl_context() if parts.scheme == "https" else False
        self._stopped: Future[None] = Future()
        self._lock = threading.Lock()

    def get(self, path: str) -> Any:
        """Returns the JSON at a path: one attempt, within ``ANSWER_TIMEOUT_S``.

        Raises:
            NoServer: if nothing answers.
            ServerFailed: if the answer is not JSON, or HTTP 429 or 5xx.
            RequestRefused: HTTP 3xx and 4xx.
        """
        try:
            return self._attempt("GET", path, None, ANSWER_TIMEOUT_S)
        except _TryAgain as error:
            kind = ServerFailed if error.answered else NoServer
            raise kind(f"{self.url}: {error}") from error

    def post(self, path: str, body: dict[str, Any], patience: float = 1.0) -> Any:
        """Returns the JSON answer to a JSON body.

        Args:
            path: path on the server.
            body: what to send.
            patience: how many times the usual time the answer may take.

        Raises:
            ServerFailed: if no attempt gets an answer.
            RequestRefused: HTTP 3xx and 4xx except 429, without another attempt.
            Stopped: once :meth:`stop` was called.
        """
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TryAgain),
            stop=tenacity.stop_after_attempt(self._retries + 1),
            wait=_pause,
            sleep=self._sleep,
            before_sleep=self._log,
            reraise=True,
        )
        try:
            return attempts(self._attempt, "POST", path, body, patience * self._timeout_s)
        except _TryAgain as error:
            times = "once" if self._retries == 0 else f"{self._retries + 1} times"
            raise ServerFailed(f"{self.url} was asked {times}; last: {error}") from error

    def stop(self) -> None:
        """Ends every waiting :meth:`post`, from any thread; requests under way are abandoned."""
        with self._lock:
            if not self._stopped.done():
                self._stopped.set_result(None)

    def _sleep(self, seconds: float) -> None:
        if wait({self._stopped}, seconds).done:
            raise Stopped

    def _log(self, state: tenacity.RetryCallState) -> None:
        logger.info("%s: %s; next attempt in %g s", self.url, _failure(state), state.upcoming_sleep)

    def _attempt(self, method: str, path: str, body: dict[str, Any] | None, time_s: float) -> Any:
        answer = in_daemon(lambda: self._send(method, path, body, time_s))
        either: set[Future[Any]] = {answer, self._stopped}
        done = wait(either, time_s, FIRST_COMPLETED).done
        if self._stopped in done:
            raise Stopped
        try:
            if not done:
                raise TimeoutError
            response = answer.result()
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise _TryAgain(f"no answer within {time_s:g} s") from error
        except httpx2.TransportError as error:
            raise _TryAgain(innermost(error)) from error
        except Unreadable as error:
            raise ServerFailed(f"{self.url}: {error}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ServerFailed(f"{self.url}: {innermost(error)}") from error
        return self._read(response)

    def _send(self, method: str, path: str, body: dict[str, Any] | None, time_s: float) -> Answer:
        deadline = time.monotonic() + time_s
        # A client of its own: an abandoned request must not hold up the connections of others.
        with httpx2.stream(
            method,
            self.url + path,
            json=body,
            headers={"Accept-Encoding": "gzip"},
            timeout=httpx2.Timeout(time_s, connect=min(time_s, ANSWER_TIMEOUT_S)),
            follow_redirects=False,
            auth=_bearer(self._key) if self._key else None,
            verify=self._tls,
            # A proxy of the environment cannot reach this machine's own addresses.
            trust_env=not self._is_local,
        ) as response:
            content = read_bounded(response, deadline)
            return Answer(response.status_code, response.headers, response.reason_phrase, content)

    def _read(self, answer: Answer) -> Any:
        status, content = answer.status, None
        if 200 <= status < 300:
            try:
                content = answer.json()
            except ValueError as error:
                reason = self._safe(answer.text())
                raise _TryAgain(f"not JSON: {reason!r}", answered=True) from error
            if (inside := error_inside(content)) is None:
                return content
            # Some servers and routers report what went wrong with status 200.
            status = error_code(inside)
        said = error_text(answer)
        reason = self._safe(said or answer.reason or "no reason given")
        shown = f"HTTP {status}"
        if content is not None:
            shown = f"HTTP 200 with error {status}" if status else "HTTP 200 with an error"
        if status == 429 or status >= 500:
            pause_s = retry_after(answer.headers)
            if pause_s is not None and pause_s > LONGEST_PAUSE_S:
                raise ServerFailed(
                    f"{self.url}: {shown}: {reason}; retry only after {pause_s:.0f} s"
                )
            raise _TryAgain(f"{shown}: {reason}", True, pause_s)
        if 300 <= status < 400:
            reason = f"redirects to {answer.headers.get('Location')}: give that as --url"
        raise RequestRefused(status, f"{self.url} refused: {shown}: {reason}", self._safe(said))

    def _safe(self, text: str) -> str:
        shown = text.replace(self._key, "***") if self._key else text
        return " ".join(shown[: 2 * _TEXT_SHOWN].split())[:_TEXT_SHOWN]


def _pause(state: tenacity.RetryCallState) -> float:
    """The server's Retry-After, else a pause that doubles with each attempt; in seconds."""
    asked = _failure(state).pause_s
    return tenacity.wait_exponential(BACKOFF_S)(state) if asked is None else asked


def _failure(state: tenacity.RetryCallState) -> _TryAgain:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, _TryAgain)  # the only exception that is retried
    return error


def _bearer(key: str) -> Callable[[httpx2.Request], httpx2.Request]:
    def sign(request: httpx2.Request) -> httpx2.Request:
        request.headers["Authorization"] = f"Bearer {key}"
        return request

    return sign


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
