"""Fetch, verify, cache. What happens without a network is decided here and nowhere else.

- Whether anything can be reached is settled within `reach_timeout_s`, even where packets vanish.
- An interrupted download is carried on, by the same process or by a later one.
- A file appears under its final name only when it is whole and verified; one process writes it.

What is fetched, from where and with which checksum is the business of the caller; how bytes
travel is that of `transfer`.
"""

import hashlib
import logging
import os
import secrets
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from llm_lightning.data.transfer import GiveUp, Partial, Transfer
from llm_lightning.network import ANSWER_TIMEOUT_S, Probe, Unavailable, offline

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 16
_NAMES_SHOWN = 10


def cache_dir() -> Path:
    """Where downloads are kept: `LLM_LIGHTNING_CACHE`, or the user's cache folder. Not created."""
    if own := os.environ.get("LLM_LIGHTNING_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "llm_lightning"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(
    what: str,
    urls: Sequence[str],
    destination: Path,
    *,
    verify: Callable[[Path], None] | None = None,
    advice: str,
    reach_timeout_s: float = ANSWER_TIMEOUT_S,
    read_timeout_s: float = 15.0,
    retries: int = 3,
) -> Path:
    """Download a file from the first of several addresses that has it, unless it is there already.

    Args:
        what: Name of the file for messages, e.g. "the SMS Spam Collection".
        urls: Addresses of the same bytes, best first.
        destination: Final path. A file there was verified when it was written: no network then.
        verify: Raises ValueError with a message if the bytes of a file are wrong.
        advice: What the user can do when nothing works; the last line of the error.
        reach_timeout_s: Time all hosts together have to answer at all, in seconds.
        read_timeout_s: Longest silence of a server that accepted one, in seconds.
        retries: Further attempts at one address after a drop, a short read or HTTP 5xx.

    Returns:
        `destination`.

    Raises:
        Unavailable: No address gave a file that passes `verify`, or `LLM_LIGHTNING_OFFLINE` is 1.
    """
    if destination.exists():
        return destination
    if offline():
        raise Unavailable(what, "LLM_LIGHTNING_OFFLINE=1: the network was not touched", advice)
    probes = {url: Probe(url, reach_timeout_s) for url in urls}
    problems: dict[str, str] = {}
    # Ahead of the lock: without a network, no folder is made and no other process waited for.
    if any(probe.problem() is None for probe in probes.values()):
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _locked(destination, what), _progress_bar() as progress:
            if destination.exists():  # another process was faster
                return destination
            transfer = Transfer(
                part=Partial(destination.with_name(destination.name + ".part")),
                connect_s=reach_timeout_s,
                read_s=read_timeout_s,
                retries=retries,
                progress=progress,
                task=progress.add_task(what, total=None),
            )
            for url, probe in probes.items():
                try:
                    _deliver(transfer, url, probe, verify, destination)
                    return destination
                except GiveUp as error:
                    problems[url] = str(error)
                    logger.info("%s: %s: %s", what, url, error)
    reasons = [
        f"{url}: {problems[url]}" if url in problems else str(probe.problem())
        for url, probe in probes.items()
    ]
    raise Unavailable(what, "\n".join(reasons), advice)


def _deliver(
    transfer: Transfer,
    url: str,
    probe: Probe,
    verify: Callable[[Path], None] | None,
    destination: Path,
) -> None:
    """Download, verify and move into place; GiveUp says what kept it from happening."""
    if problem := probe.problem():
        raise GiveUp(problem)
    resumed = transfer.part.path.exists()
    transfer.run(url)
    if verify:
        try:
            verify(transfer.part.path)
        except ValueError as error:
            transfer.part.discard()
            if resumed:  # what an earlier process left may be at fault, e.g. after a power cut
                return _deliver(transfer, url, probe, verify, destination)
            raise GiveUp(str(error)) from error
    os.replace(transfer.part.path, destination)
    transfer.part.discard()


@contextmanager
def _locked(destination: Path, what: str) -> Iterator[None]:
    """Hold the lock beside `destination`; the system releases it should this process die."""
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


def _progress_bar() -> Progress:
    """A bar on stderr with bytes, speed and time left; nothing where stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def extract_member(archive: Path, member: str, destination: Path, max_bytes: int = 1 << 30) -> Path:
    """Write one member of a zip archive to `destination`, whatever path the archive gives it.

    Args:
        archive: The zip file.
        member: Exact name of the member inside it.
        destination: Path to write; replaced in one step if it exists.
        max_bytes: Largest size to accept, declared or actual, in bytes.

    Returns:
        `destination`.

    Raises:
        ValueError: The archive is damaged or lacks the member, or the member is encrypted, too
            large, or not a file.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(f"{destination.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as target:
            target.writelines(_member_chunks(archive, member, max_bytes))
            target.flush()
            os.fsync(target.fileno())
        os.replace(part, destination)
    finally:
        part.unlink(missing_ok=True)
    return destination


class _Refused(ValueError):
    """A sound archive whose member is missing or not to be written."""


def _member_chunks(archive: Path, member: str, max_bytes: int) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(archive) as source:
            info = _checked_member(source, archive, member, max_bytes)
            size = 0
            with source.open(info) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    size += len(chunk)
                    # zipfile stops at the declared size, but does not promise to.
                    if size > max_bytes:
                        raise _Refused(f"{archive}: {member} is larger than {max_bytes:,} bytes")
                    yield chunk
    except (_Refused, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # zipfile meets damage with anything from BadZipFile to OSError
        raise ValueError(
            f"{archive} is damaged or no zip archive ({error}): delete it and fetch it again"
        ) from error


def _checked_member(
    source: zipfile.ZipFile, archive: Path, member: str, max_bytes: int
) -> zipfile.ZipInfo:
    try:
        info = source.getinfo(member)
    except KeyError as error:
        names = source.namelist()
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        shown = ", ".join(names[:_NAMES_SHOWN]) or "nothing"
        raise _Refused(f"{archive} has no member {member}; it holds {shown}{more}") from error
    if info.flag_bits & 0x1:
        raise _Refused(f"{archive}: {member} is encrypted")
    # The upper half of the external attributes is the Unix mode, 0 where another system packed.
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.is_dir() or kind not in (0, stat.S_IFREG):
        raise _Refused(f"{archive}: {member} is not a regular file")
    if info.file_size > max_bytes:
        raise _Refused(
            f"{archive}: {member} declares {info.file_size:,} bytes, more than {max_bytes:,}"
        )
    return info
