"""Bytes over HTTP: is the host there, and one file from one address, resumed where possible.

- `Probe`: whether a host accepts a connection, with an answer in time even if DNS hangs.
- `Partial`: the unfinished file on disk and the note that says what it is a part of.
- `Transfer`: streams an address into the partial file, with retries and a progress bar.

Which addresses, which checksum and where the file ends up are decided in `download`.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy
from rich.progress import Progress, TaskID

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 16
_BACKOFF_S = 0.5
"""Pause before the first retry, in seconds; it doubles with each further one."""
_PORTS = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}

T = TypeVar("T")


class GiveUp(Exception):
    """This address will not do; another one may."""


class _TryAgain(Exception):
    """The transfer broke off in a way that another attempt may not."""


def _in_daemon(work: Callable[[], T]) -> Future[T]:
    """Run `work` in a thread that may be abandoned.

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


class Probe:
    """Whether the host of an address accepts a connection; the asking starts with construction.

    Args:
        url: The address. Where the environment names a proxy for it, the proxy's host is asked.
        timeout_s: Seconds from now after which silence counts as a no.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._where = urlsplit(url).netloc
        self._answer = _in_daemon(lambda: self._connect(url))

    def problem(self) -> str | None:
        """Why the host cannot be reached, None if it can. Waits until the deadline at most."""
        try:
            self._answer.result(max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            return f"no connection to {self._where} within {self._timeout_s:g} s"
        except OSError as error:
            return f"no connection to {self._where}: {error.strerror or error}"
        except ValueError as error:
            return str(error)
        return None

    def _connect(self, url: str) -> None:
        """Open and close a connection to the host, or to the proxy that leads there."""
        proxy = select_proxy(url, get_environ_proxies(url))
        target = urlsplit(prepend_scheme_if_needed(proxy, "http") if proxy else url)
        if not target.hostname or target.scheme not in _PORTS:
            raise ValueError("not an http:// or https:// address")
        host, port = target.hostname, target.port or _PORTS[target.scheme]
        self._where = f"the proxy {host}:{port}" if proxy else f"{host}:{port}"
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # One address a family: a dead IPv6 route must leave IPv4 its share of the time.
        untried = {info[0]: info for info in reversed(infos)}
        while untried:
            family, kind, protocol, _, address = untried.pop(next(reversed(untried)))
            left_s = max(self._deadline - time.monotonic(), 0.01)
            with socket.socket(family, kind, protocol) as connection:
                connection.settimeout(left_s / (len(untried) + 1))
                try:
                    connection.connect(address)
                    return
                except OSError:
                    if not untried:
                        raise


@dataclass(frozen=True)
class Partial:
    """The bytes of an unfinished download, with a note of which version of which file they are."""

    path: Path
    """File with the bytes; the note is `<path>.json`."""

    @property
    def _note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def validator(self, url: str) -> str | None:
        """The ETag or date of the file at `url` that the bytes begin, None if they do not."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            usable = note["url"] == url and self.path.stat().st_size > 0
            return str(note["validator"]) if usable else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # a note cut short by a crash is no note

    def start(self, url: str, response: requests.Response) -> None:
        """Drop what is there and note what comes next, if the answer lets it be told apart."""
        self.discard()
        # A weak ETag promises the same meaning, not the same bytes.
        etag = response.headers.get("ETag", "W/")
        validator = response.headers.get("Last-Modified") if etag.startswith("W/") else etag
        if validator:
            note = json.dumps({"url": url, "validator": validator})
            self._note.write_text(note, encoding="utf-8")

    def discard(self) -> None:
        """Remove the bytes and the note."""
        # The note goes first: bytes without a note are never resumed.
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Transfer:
    """One file from any one of several addresses into a partial file."""

    part: Partial
    """Where the bytes go, and stay for the next attempt when it breaks off."""
    connect_s: float
    """Time for one connection, in seconds."""
    read_s: float
    """Longest silence of a connected server, in seconds."""
    retries: int
    """Further attempts after a drop, a short read or HTTP 5xx."""
    progress: Progress
    task: TaskID

    def run(self, url: str) -> None:
        """Have the whole file in `part`.

        Raises:
            GiveUp: The address does not give the file; says why.
        """
        for attempt in range(self.retries + 1):
            try:
                return self._attempt(url)
            except _TryAgain as error:
                if attempt == self.retries:
                    raise GiveUp(f"{error} ({attempt + 1} attempts)") from error
                pause_s = _BACKOFF_S * 2**attempt
                logger.info("%s: %s; next attempt in %g s", url, error, pause_s)
                time.sleep(pause_s)

    def _attempt(self, url: str) -> None:
        validator = self.part.validator(url)
        # Compressed on the way, neither Range nor Content-Length would count the file's own bytes.
        headers = {"Accept-Encoding": "identity"}
        done = 0
        if validator:
            done = self.part.path.stat().st_size
            headers |= {"Range": f"bytes={done}-", "If-Range": validator}
        with closing(self._open(url, headers)) as response:
            status = response.status_code
            if validator and not _continues(response, done, validator):
                self.part.discard()
                return self._attempt(url)
            if status >= 500:
                raise _TryAgain(f"HTTP {status} {response.reason}")
            if status != 200 and not (validator and status == 206):
                raise GiveUp(f"HTTP {status} {response.reason}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise GiveUp(f"sent as {response.headers['Content-Encoding']}, not as it is")
            if status == 200:
                done = 0
                self.part.start(url, response)
            self._receive(response, done)

    def _open(self, url: str, headers: dict[str, str]) -> requests.Response:
        """The answer to a GET, body unread. Bounded as a whole: a redirect may lead anywhere."""
        timeouts = (self.connect_s, self.read_s)
        answer = _in_daemon(
            lambda: requests.get(url, headers=headers, stream=True, timeout=timeouts)
        )
        try:
            return answer.result(sum(timeouts))
        except TimeoutError as error:
            answer.add_done_callback(_close)
            raise GiveUp(f"no answer within {sum(timeouts):g} s") from error
        except requests.Timeout as error:
            raise GiveUp(f"connected, but no answer within {self.read_s:g} s") from error
        except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
            raise GiveUp(_innermost(error)) from error
        except requests.ConnectionError as error:
            raise _TryAgain(_innermost(error)) from error
        except requests.RequestException as error:
            raise GiveUp(_innermost(error)) from error

    def _receive(self, response: requests.Response, done: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        self.progress.reset(self.task, total=total, completed=done)
        with self.part.path.open("ab") as file:
            try:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                    done += len(chunk)
                    self.progress.update(self.task, completed=done)
            except requests.RequestException as error:
                of = "" if total is None else f" of {total:,}"
                raise _TryAgain(f"connection lost after {done:,}{of} bytes") from error
            file.flush()
            os.fsync(file.fileno())
        if total is not None and done != total:
            raise _TryAgain(f"got {done:,} of {total:,} bytes")


def _continues(response: requests.Response, done: int, validator: str) -> bool:
    """Whether the answer to a Range request can be used: the rest of the same file, or all of it.

    If-Range should settle this, but not every server heeds it, and a splice of two versions of a
    file is only found by a checksum that the caller may not have.
    """
    if response.status_code == 416:
        return False
    if response.status_code != 206:
        return True
    names = [response.headers[key] for key in ("ETag", "Last-Modified") if key in response.headers]
    follows = response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
    return follows and (not names or validator in names)


def _close(answer: Future[requests.Response]) -> None:
    if answer.exception() is None:
        answer.result().close()


def _innermost(error: BaseException) -> str:
    """The cause at the core of requests' and urllib3's nested exceptions, in one line."""
    while True:
        nested = [getattr(error, "reason", None), *error.args]
        inner = next((part for part in nested if isinstance(part, BaseException)), None)
        if inner is None:
            return f"{type(error).__name__}: {error}"
        error = inner
