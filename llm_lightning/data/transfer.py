"""Bytes over HTTP: one file from one address, resumed where possible.

- `Partial`: the unfinished file on disk and the note that says what it is a part of.
- `Transfer`: streams an address into the partial file, with retries and a progress bar.

Which addresses, which checksum and where the file ends up are decided in `download`.
"""

import json
import logging
import os
import time
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import requests
from rich.progress import Progress, TaskID

from llm_lightning.network import in_daemon, innermost

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 16
_BACKOFF_S = 0.5
"""Pause before the first retry, in seconds; it doubles with each further one."""


class GiveUp(Exception):
    """This address will not do; another one may."""


class _TryAgain(Exception):
    """The transfer broke off in a way that another attempt may not."""


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
        answer = in_daemon(
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
            raise GiveUp(innermost(error)) from error
        except requests.ConnectionError as error:
            raise _TryAgain(innermost(error)) from error
        except requests.RequestException as error:
            raise GiveUp(innermost(error)) from error

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
