"""Files that are there whole or not at all, whenever the process or the machine stops.

What is written goes to a temporary name in the same folder, onto the disk, and only then to its
place. So another file system for temporary files does not matter, and a reader never sees a part.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".new"
"""Ends the name of what a process that was killed had not finished."""


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yields a path to write to, which then takes the place of a file.

    Args:
        file: what is replaced, or made; its folder is created if necessary.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(file)
    try:
        yield new
        sync(new)
        os.replace(new, file)
        _sync_folder(file.parent)
    finally:
        new.unlink(missing_ok=True)


def write_bytes(file: Path, content: bytes) -> None:
    """Writes a file."""
    with replacing(file) as new:
        new.write_bytes(content)


def write_text(file: Path, text: str) -> None:
    """Writes a file in UTF-8, with the line ends as they are."""
    write_bytes(file, text.encode())


@contextlib.contextmanager
def replacing_inside(folder: Path) -> Iterator[Path]:
    """Yields a folder to write files to, which then take their places in another.

    Each file is there whole or not at all; without any, the folder is not made.

    Args:
        folder: of the files; those of other names in it stay.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(folder)
    new.mkdir()
    try:
        yield new
        for file in sorted(path for path in new.rglob("*") if path.is_file()):
            target = folder / file.relative_to(new)
            target.parent.mkdir(parents=True, exist_ok=True)
            sync(file)
            os.replace(file, target)
            _sync_folder(target.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Deletes what a killed process left in a folder and its subfolders.

    Args:
        folder: that no other process writes to.
    """
    for path in list(folder.rglob(f"*{UNFINISHED}")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sync(file: Path) -> None:
    """Waits until the contents of a file are on the disk."""
    opened = os.open(file, os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _beside(path: Path) -> Path:
    """A name that no other process takes."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{UNFINISHED}")


def _sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows opens no folders, some network disks sync none
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
