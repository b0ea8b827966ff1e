"""SHA-256 of a file's content, computed once per process while the file stays the same."""

import hashlib
from functools import cache
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's content.

    The file counts as unchanged as long as its resolved path, size and modification time are.

    Raises:
        OSError: if the file cannot be read.
    """
    path = path.resolve()
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
