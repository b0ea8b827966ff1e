"""Who works on a folder: one process at a time, and the others can say which.

The lock is a file beside the folder that its holder keeps locked (``flock``), with facts about the
holder in it. The system releases it when the process ends, however it ends. On file systems without
such locks, as some network disks, the facts alone decide: a holder on this machine must still run.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_SUFFIX = ".lock"
_ATTEMPTS = 200
_PAUSE_S = 0.05


@dataclass(frozen=True)
class Holder:
    """The process that holds a folder."""

    pid: int
    host: str
    since: str
    """Date and time, UTC."""


class Held(Exception):
    """Another process works on the folder."""

    def __init__(self, folder: Path, holder: Holder | None) -> None:
        who = (
            f"by process {holder.pid} on {holder.host}, since {holder.since}"
            if holder
            else "by a process that is just starting"
        )
        super().__init__(f"{folder} is held {who}")
        self.holder = holder


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Holds a folder, which need not exist; takes over what a dead process held.

    Raises:
        Held: if another process holds it.
    """
    file = lock_file(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    opened = _acquire(folder, file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is locked: whoever waits for it looks again
        os.close(opened)


def holder_of(folder: Path) -> Holder | None:
    """Returns the live process that holds a folder; ``None`` if none does."""
    try:
        opened = os.open(lock_file(folder), os.O_RDWR)
    except OSError:
        return None
    try:
        is_free = _lock(opened)
        holder = _read(opened)
        return holder if is_free is False or (is_free is None and _is_alive(holder)) else None
    finally:
        os.close(opened)


def lock_file(folder: Path) -> Path:
    """Returns the file that is locked for a folder."""
    folder = folder.absolute()
    return folder.with_name(folder.name + _SUFFIX) if folder.name else folder / _SUFFIX


def _acquire(folder: Path, file: Path) -> int:
    """Returns the descriptor of the locked file."""
    for attempt in range(_ATTEMPTS):
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            is_free = _lock(opened)
            if is_free is None:  # no such locks here
                is_free = not _is_alive(_read(opened))
            if is_free and _is_still(file, opened):
                _write(opened)
                return opened
            holder = _read(opened)
            # Workers that outlive a killed process keep its lock for some seconds.
            if not is_free and (_is_alive(holder) or attempt == _ATTEMPTS - 1):
                raise Held(folder, holder)
        except BaseException:
            os.close(opened)
            raise
        os.close(opened)
        time.sleep(_PAUSE_S)
    raise Held(folder, None)


def _lock(opened: int) -> bool | None:
    """Whether the lock was free and is now ours; ``None`` where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _is_still(file: Path, opened: int) -> bool:
    """Whether the name still means the opened file: its last holder may just have deleted it."""
    try:
        return os.path.samestat(file.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False


def _is_alive(holder: Holder | None) -> bool:
    if holder is None:
        return False
    if holder.host != socket.gethostname():
        return True  # nobody can tell from here
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is another user's
    return True


def _write(opened: int) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    facts = asdict(Holder(os.getpid(), socket.gethostname(), now))
    os.ftruncate(opened, 0)
    os.pwrite(opened, json.dumps(facts).encode(), 0)


def _read(opened: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(opened, 4096, 0)))
    except (ValueError, TypeError):
        return None
