"""JSON over HTTP with a server that may be slow, busy or gone.

Times are bounded as a whole: requests' own time-outs are those of single reads, and name
resolution has none.
"""

import ipaddress
import logging
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from llm_lightning.network import ANSWER_TIMEOUT_S, in_daemon, innermost, offline

logger = logging.getLogger(__name__)

BACKOFF_S = 1.0
"""Pause before the first retry, in seconds; it doubles with each further one."""
LONGEST_PAUSE_S = 120.0
"""A server that asks for a longer pause is given up, in seconds."""

_TEXT_SHOWN = 300


class NoServer(OSError):
    """Nothing that could be talked to answers at an address."""


class ServerFailed(OSError):
    """A server that was there does not give a usable answer."""


class Refused(ValueError):
    """A server does not want a request as it is: HTTP 3xx or 4xx.

    Args:
        status: HTTP status.
        message: what the server says about it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Stopped(Exception):
    """The exchange was stopped by :meth:`Exchange.stop`."""


class _TryAgain(Exception):
    """An attempt failed in a way that another one may not.

    Args:
        reason: what happened.
        answered: whether anything came back.
        pause_s: how long the server wants to be left alone, in seconds; None if it did not say.
    """

    def __init__(self, reason: str, answered: bool = False, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.answered, self.pause_s = answered, pause_s


class Exchange:
    """Requests to one server, from any number of threads.

    Args:
        url: address of the server, without a path of the protocol.
        timeout_s: time for one answer, in seconds.
        retries: further attempts after a drop, a time-out, HTTP 429 or 5xx.
        key: bearer key; ``None`` sends none. It never appears in a message.

    Raises:
        ValueError: if ``url`` is no address of a server, or names a user or a password, or
            ``key`` cannot be sent.
        NoServer: if ``LLM_LIGHTNING_OFFLINE=1`` forbids it, which it does not on this machine.
    """

    def __init__(self, url: str, timeout_s: float, retries: int, key: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--url must look like http://localhost:11434, got {url!r}")
        if parts.username or parts.password or parts.query:
            raise ValueError("--url is written to the results: keys belong into OPENAI_API_KEY")
        self.url = url.rstrip("/")
        self._is_local = _is_local(parts.hostname)
        if offline() and not self._is_local:
            raise NoServer(f"{self.url}: LLM_LIGHTNING_OFFLINE=1 forbids the network")
        if key and not (key.isascii() and key.isprintable()):
            # HTTP would refuse it in a message that shows it.
            raise ValueError("OPENAI_API_KEY holds a line end or another character no key has")
        self._timeout_s = timeout_s
        self._retries = retries
        self._key = key
        self._stopped: Future[None] = Future()
        self._lock = threading.Lock()

    def get(self, path: str) -> Any:
        """The JSON at a path, decided at once: one attempt, within ``ANSWER_TIMEOUT_S``.

        Raises:
            NoServer: if nothing answers.
            ServerFailed: if what answers is no JSON, or HTTP 429 or 5xx.
            Refused: HTTP 3xx and 4xx.
        """
        try:
            return self._attempt("GET", path, None, ANSWER_TIMEOUT_S)
        except _TryAgain as error:
            kind = ServerFailed if error.answered else NoServer
            raise kind(f"{self.url}: {error}") from error

    def post(self, path: str, body: dict[str, Any], patience: float = 1.0) -> Any:
        """The JSON answer to a JSON body.

        Args:
            path: path on the server.
            body: what to send.
            patience: how many times the usual time the answer may take.

        Raises:
            ServerFailed: if no attempt gets an answer.
            Refused: HTTP 3xx and 4xx but 429, without another attempt.
            Stopped: once :meth:`stop` was called.
        """
        for attempt in range(self._retries + 1):
            try:
                return self._attempt("POST", path, body, patience * self._timeout_s)
            except _TryAgain as error:
                pause_s = error.pause_s
                if pause_s is None:
                    pause_s = BACKOFF_S * 2**attempt
                elif pause_s > LONGEST_PAUSE_S:
                    told = f"{error}; wants a pause of {pause_s:.0f} s"
                    raise ServerFailed(f"{self.url}: {told}") from error
                if attempt == self._retries:
                    times = "once" if attempt == 0 else f"{attempt + 1} times"
                    raise ServerFailed(f"{self.url} was asked {times}; last: {error}") from error
                logger.info("%s: %s; next attempt in %g s", self.url, error, pause_s)
            if wait({self._stopped}, pause_s).done:
                raise Stopped
        raise AssertionError("the last attempt returns or raises")

    def stop(self) -> None:
        """Ends every waiting :meth:`post`, from any thread; requests under way are abandoned."""
        with self._lock:
            if not self._stopped.done():
                self._stopped.set_result(None)

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
        except (TimeoutError, requests.Timeout) as error:
            raise _TryAgain(f"no answer within {time_s:g} s") from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise _TryAgain(innermost(error)) from error
        except requests.RequestException as error:
            raise ServerFailed(f"{self.url}: {innermost(error)}") from error
        return self._read(response)

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None, time_s: float
    ) -> requests.Response:
        with requests.Session() as session:
            # A proxy of the environment knows nothing of this machine's own addresses.
            session.trust_env = not self._is_local
            return session.request(
                method,
                self.url + path,
                json=body,
                timeout=(min(time_s, ANSWER_TIMEOUT_S), time_s),
                allow_redirects=False,
                # Not as a header, which the user's .netrc would replace.
                auth=_bearer(self._key) if self._key else None,
            )

    def _read(self, response: requests.Response) -> Any:
        status = response.status_code
        if 200 <= status < 300:
            try:
                return response.json()
            except ValueError as error:
                told = self._safe(response.text)
                raise _TryAgain(f"not JSON: {told!r}", answered=True) from error
        told = self._safe(_error_text(response) or response.reason or "no reason given")
        if status == 429 or status >= 500:
            raise _TryAgain(f"HTTP {status}: {told}", True, _retry_after(response))
        if 300 <= status < 400:
            told = f"redirects to {response.headers.get('Location')}: give that as --url"
        raise Refused(status, f"{self.url} refused: HTTP {status}: {told}")

    def _safe(self, text: str) -> str:
        shown = text.replace(self._key, "***") if self._key else text
        return " ".join(shown[: 2 * _TEXT_SHOWN].split())[:_TEXT_SHOWN]


def _bearer(key: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {key}"
        return request

    return sign


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _error_text(response: requests.Response) -> str:
    """The server's own words: Ollama's ``error``, OpenAI's ``error.message``, or the body."""
    try:
        error = response.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return response.text


def _retry_after(response: requests.Response) -> float | None:
    """The pause that a server asks for, in seconds; None if it does not or not clearly."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
