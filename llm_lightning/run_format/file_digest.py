"""SHA-256 of a file's content."""

import hashlib
from functools import cache
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's content, computed once per process.

    The file counts as unchanged as long as its resolved path, size and modification time are the
    same; use :func:`file_sha256` to detect damage.

    Raises:
        OSError: if the file cannot be read.
    """
    path = path.resolve()
    status = path.stat()
    return _cached(path, status.st_size, status.st_mtime_ns)


@cache
def _cached(path: Path, size: int, mtime_ns: int) -> str:
    return file_sha256(path)
