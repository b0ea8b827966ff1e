"""Downloads a file once, verifies it and keeps it in the cache.

pooch writes to a temporary file and moves it into place, tenacity repeats what failed for the
moment, filelock lets one of several processes download. Decided here: whether any address can be
reached at all, which of several mirrors is used, and which error the user gets if none works.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pooch
from filelock import FileLock, Timeout
from rich.progress import Progress, TaskID
from tenacity import (
    RetryError,
    Retrying,
    before_sleep_log,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
)

from llm_lightning.network import (
    ANSWER_TIMEOUT_S,
    Reachability,
    Stalled,
    Unavailable,
    check_secure,
    innermost,
    offline,
    while_moving,
)
from llm_lightning.presentation.progress import progress_bar
from llm_lightning.run_format.file_digest import file_sha256

logger = logging.getLogger(__name__)
pooch.get_logger().setLevel(logging.WARNING)  # below that it prints addresses and checksums

MAX_BYTES = 2 << 30
"""Largest download: the largest known one, the IMDb reviews, has 84 MB."""
TOTAL_TIMEOUT_S = 3600.0
"""Longest download of one address, its repetitions included, in seconds."""
SLOW_AFTER_S = 60.0
"""Seconds after which a download must have been faster than ``LEAST_RATE``, on average."""
LEAST_RATE = 1000
"""Bytes a second."""

_BACKOFF_S = 0.5
"""Pause before the first retry, in seconds; doubles with each further one."""


def fetch(
    what: str,
    urls: Sequence[str],
    destination: Path,
    *,
    known_hash: str | None = None,
    verify: Callable[[Path], None] | None = None,
    advice: str,
    reach_timeout_s: float = ANSWER_TIMEOUT_S,
    read_timeout_s: float = 15.0,
    retries: int = 3,
    total_timeout_s: float = TOTAL_TIMEOUT_S,
    slow_after_s: float = SLOW_AFTER_S,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Downloads a file from the first of several mirrors that works.

    A file that is already at ``destination`` and passes the same checks is used without touching
    the network; one that fails them is downloaded again.

    Args:
        what: name of the file in messages, e.g. "the SMS Spam Collection".
        urls: mirrors of the file, best first.
        destination: path of the file; it appears there complete and verified, or not at all.
        known_hash: SHA-256 of the file in hexadecimal, if it is known.
        verify: a further check; raises ValueError with a message if the content is wrong.
        advice: what the user can do if no mirror works; the last line of the error.
        reach_timeout_s: time within which one of the hosts must respond, in seconds.
        read_timeout_s: longest pause of a server during the download, in seconds.
        retries: further attempts per mirror after a lost connection or HTTP 5xx.
        total_timeout_s: time within which a mirror must deliver the file, retries included, in
            seconds.
        slow_after_s: time after which a download is given up that is slower than ``LEAST_RATE``,
            in seconds; the content must begin within twice this and ``read_timeout_s``.
        max_bytes: largest file to accept, in bytes.

    Returns:
        ``destination``.

    Raises:
        Unavailable: no mirror delivered a file that passes the checks, or
            ``LLM_LIGHTNING_OFFLINE`` is 1.
    """
    problem = _problem_with(destination, known_hash, verify)
    if problem is None:
        return destination
    if destination.exists():
        logger.warning("%s must be downloaded again: %s", destination, problem)
    if offline():
        raise Unavailable(what, "LLM_LIGHTNING_OFFLINE=1 forbids using the network", advice)
    hosts = {url: Reachability(url, reach_timeout_s) for url in urls}
    failures: dict[str, str] = {}
    # Before the lock: without a network, no folder is made and no other process is waited for.
    if any(host.problem() is None for host in hosts.values()):
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _locked(destination, what), progress_bar(unit="bytes") as progress:
            if _problem_with(destination, known_hash, verify) is None:
                return destination  # another process was faster
            destination.unlink(missing_ok=True)
            limits = _Limits(total_timeout_s, slow_after_s, max_bytes)
            downloader = _Downloader(
                what, verify, reach_timeout_s, read_timeout_s, retries, limits, progress
            )
            for url in (url for url, host in hosts.items() if host.problem() is None):
                try:
                    pooch.retrieve(
                        url, known_hash, destination.name, destination.parent, downloader=downloader
                    )
                    return destination
                except (httpx2.HTTPError, RetryError, Stalled, ValueError) as error:
                    failures[url] = _reason(error)
                    logger.info("%s: %s: %s", what, url, failures[url])
    reasons = [
        f"{url}: {failures[url]}" if url in failures else str(host.problem())
        for url, host in hosts.items()
    ]
    raise Unavailable(what, "\n".join(reasons), advice)


def _problem_with(
    file: Path, known_hash: str | None, verify: Callable[[Path], None] | None
) -> str | None:
    """Why a file cannot be used, or ``None`` if it exists and passes both checks."""
    if not file.exists():
        return "it does not exist"
    if known_hash is not None and (found := file_sha256(file)) != known_hash.lower():
        return f"its SHA-256 is {found}, expected {known_hash}"
    try:
        if verify:
            verify(file)
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class _Limits:
    """What ends a download that would not end by itself."""

    total_timeout_s: float
    slow_after_s: float
    max_bytes: int

    def check(self, num_bytes: int, seconds: float, seconds_in_all: float) -> None:
        """Raises ValueError if a download is too large, too long or too slow.

        Args:
            num_bytes: received so far, or announced.
            seconds: since this attempt began.
            seconds_in_all: since the first attempt began.
        """
        if num_bytes > self.max_bytes:
            raise ValueError(f"the file has more than {self.max_bytes:,} bytes")
        if seconds_in_all > self.total_timeout_s:
            raise ValueError(
                f"given up after {self.total_timeout_s:g} s, with {num_bytes:,} bytes received"
            )
        if seconds > self.slow_after_s and num_bytes < LEAST_RATE * seconds:
            raise ValueError(
                f"given up: only {num_bytes:,} bytes in {seconds:.0f} s, less than "
                f"{LEAST_RATE:,} a second"
            )


@dataclass(frozen=True)
class _Downloader:
    """What pooch calls to write the content of an address to a temporary file."""

    what: str
    verify: Callable[[Path], None] | None
    connect_timeout_s: float
    read_timeout_s: float
    retries: int
    limits: _Limits
    progress: Progress

    def __call__(self, url: str, output_file: str, _: object) -> None:
        file = Path(output_file)
        # pooch's file is private to its owner; a new one follows the umask, so that several users
        # can share a cache.
        file.unlink()
        task = self.progress.add_task(self.what, total=None)
        try:
            Retrying(
                stop=stop_after_attempt(self.retries + 1),
                wait=wait_exponential(multiplier=_BACKOFF_S),
                retry=retry_if_exception(_is_temporary),
                before_sleep=before_sleep_log(logger, logging.INFO),
            )(self._stream, url, file, task, time.monotonic())
        finally:
            self.progress.remove_task(task)
        if self.verify:
            self.verify(file)

    def _stream(self, url: str, file: Path, task: TaskID, started: float) -> None:
        """Streams an answer to a file, in a thread that is left behind if nothing comes.

        The client's time-outs are of single reads, which a server that sends its headers a byte at
        a time never exceeds.
        """
        received = _Received()
        try:
            while_moving(
                lambda: self._write(url, file, task, started, received),
                lambda: received.num_bytes,
                within_s=self.limits.slow_after_s + self.read_timeout_s,
                least_bytes=1,
            )
        finally:
            received.is_over.set()

    def _write(
        self, url: str, file: Path, task: TaskID, started: float, received: "_Received"
    ) -> None:
        began = time.monotonic()
        timeout = httpx2.Timeout(self.read_timeout_s, connect=self.connect_timeout_s)
        # Not compressed, so that Content-Length counts the bytes of the file.
        headers = {"Accept-Encoding": "identity"}
        with httpx2.stream(
            "GET", url, headers=headers, timeout=timeout, follow_redirects=True
        ) as response:
            response.raise_for_status()
            check_secure(url, str(response.url))
            length = response.headers.get("Content-Length")
            self.limits.check(int(length or 0), 0.0, 0.0)
            if received.is_over.is_set():
                return
            self.progress.reset(task, total=int(length) if length else None)
            with file.open("wb") as target:
                for chunk in response.iter_bytes():
                    now = time.monotonic()
                    received.num_bytes = response.num_bytes_downloaded
                    self.limits.check(received.num_bytes, now - began, now - started)
                    if received.is_over.is_set():
                        return
                    target.write(chunk)
                    self.progress.update(task, completed=received.num_bytes)


@dataclass
class _Received:
    """How far one attempt has come."""

    num_bytes: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    """Set once nobody waits for it any more: it is to write nothing."""


def _is_temporary(error: BaseException) -> bool:
    """Whether another attempt may succeed: lost connections, short reads and HTTP 5xx."""
    if isinstance(error, httpx2.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError)


def _reason(error: BaseException) -> str:
    """What kept a file from being downloaded, in one line."""
    if isinstance(error, RetryError) and (cause := error.last_attempt.exception()):
        number = error.last_attempt.attempt_number
        return _reason(cause) + (f" ({number} attempts)" if number > 1 else "")
    if isinstance(error, httpx2.HTTPStatusError):
        return f"HTTP {error.response.status_code} {error.response.reason_phrase}"
    if isinstance(error, httpx2.TimeoutException):
        return "the server stopped responding"
    return str(error) if isinstance(error, ValueError) else innermost(error)


@contextmanager
def _locked(destination: Path, what: str) -> Iterator[None]:
    """Holds the lock beside ``destination``; the system releases it if this process dies."""
    lock = FileLock(destination.with_name(destination.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("waiting for another process that is downloading %s", what)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
