"""Files of frozen activations: shared by runs, verified when opened, evicted oldest first."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from jaxtyping import Float
from torch import Tensor

from llm_lightning.run_format.atomic_files import UNFINISHED, sync, write_text
from llm_lightning.run_format.file_digest import file_sha256

FOLDER = "frozen_activations"
_SUFFIX = ".activations"


class CacheFull(ValueError):
    """There is no space for frozen activations, on the disk or by the configured limit."""


class ActivationFiles:
    """The files of frozen activations in one folder.

    Beside each ``<key>.activations`` is a ``<key>.sha256``, written last: if it is missing or does
    not match, the activations are computed again.

    Args:
        folder: created if necessary.
        max_bytes: largest total size; older files are deleted when a new one needs the space.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def open(
        self,
        key: str,
        shape: tuple[int, int],
        fill: Callable[[Float[Tensor, "num_rows C"]], None],
    ) -> Float[Tensor, "num_rows C"]:
        """Maps a file into memory; another process that needs it waits until it is complete.

        Args:
            key: identifies what the contents depend on.
            shape: (num_rows, C) of the float32 matrix.
            fill: writes the values, if the file is missing or damaged.

        Returns:
            The matrix; changes to it are never written to the file.

        Raises:
            CacheFull: if it does not fit on the disk or exceeds ``max_bytes``.
        """
        num_bytes = _num_bytes(shape)
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{key}{_SUFFIX}"
        with FileLock(self._folder / f"{key}.lock"):
            if not _is_intact(file, num_bytes):
                self._make_room(num_bytes, keep=file)
                self._write(file, shape, fill)
            os.utime(file)  # so that the oldest is the least recently used
            return mapped(file, shape, shared=False)

    def part(self, key: str) -> Path:
        """Returns the file in which the activations of a key are while they are computed."""
        return self._folder / f"{key}.part{UNFINISHED}"

    def _write(self, file: Path, shape: tuple[int, int], fill: Callable[[Tensor], None]) -> None:
        _checksum_file(file).unlink(missing_ok=True)
        part = self.part(file.stem)
        try:
            with part.open("wb") as opened:
                # Reserves the space: writing to mapped memory on a full disk kills the process.
                zeros = bytes(shape[1] * torch.float32.itemsize)
                for _ in range(shape[0]):
                    opened.write(zeros)
            activations = mapped(part, shape, shared=True)
            fill(activations)
            del activations
            digest = file_sha256(part)
            sync(part)
            part.replace(file)
            write_text(_checksum_file(file), digest)
        except OSError as error:
            raise CacheFull(f"{file} cannot be written: {error.strerror}; {_ADVICE}") from error
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, num_bytes: int, keep: Path) -> None:
        if num_bytes > self._max_bytes:
            raise CacheFull(
                f"callbacks.frozen_activations.disk_mib must be at least {num_bytes / 2**20:,.0f} "
                f"for this run, got {self._max_bytes / 2**20:,.0f}; {_ADVICE}"
            )
        with FileLock(self._folder / "room.lock"):  # one process at a time counts and deletes
            self._delete_oldest(num_bytes, keep)

    def _delete_oldest(self, num_bytes: int, keep: Path) -> None:
        for left in self._folder.glob(f"*{UNFINISHED}"):
            with _locked_if_free(self._lock_of(left)) as is_ours:
                if is_ours:  # by a process that was killed
                    left.unlink(missing_ok=True)
        others = sorted(
            (_Other(file, *found) for file in self._folder.glob(f"*{_SUFFIX}")
             if file != keep and (found := _time_and_size(file))),
            key=lambda other: other.used_at,
        )  # fmt: skip
        used = sum(other.num_bytes for other in others)
        for other in others:
            free = shutil.disk_usage(self._folder).free
            if used + num_bytes <= self._max_bytes and free >= num_bytes:
                return
            with _locked_if_free(self._lock_of(other.file)) as is_ours:
                if not is_ours:
                    continue  # it is being written or opened
                # A run that has it mapped can use it until the run ends.
                _checksum_file(other.file).unlink(missing_ok=True)
                other.file.unlink(missing_ok=True)
                used -= other.num_bytes
        if (free := shutil.disk_usage(self._folder).free) < num_bytes:
            raise CacheFull(
                f"{self._folder} has {free / 2**20:,.0f} MiB left, and the activations of the "
                f"frozen blocks need {num_bytes / 2**20:,.0f}; {_ADVICE}"
            )

    def _lock_of(self, file: Path) -> Path:
        """The lock of the key that a file belongs to."""
        return self._folder / f"{file.name.partition('.')[0]}.lock"


@dataclass(frozen=True)
class _Other:
    file: Path
    used_at: float
    num_bytes: int


def _time_and_size(file: Path) -> tuple[float, int] | None:
    """When a file was last used, and its size; ``None`` if it was deleted meanwhile."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime, found.st_size


@contextlib.contextmanager
def _locked_if_free(lock: Path) -> Iterator[bool]:
    """Yields whether a lock could be taken at once."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        held.release()


_ADVICE = (
    "free some space, set LLM_LIGHTNING_CACHE to another folder, or compute them in every epoch "
    "with finetune.cache_frozen_activations=false"
)


def _checksum_file(file: Path) -> Path:
    return file.with_suffix(".sha256")


def _is_intact(file: Path, num_bytes: int) -> bool:
    if not (file.is_file() and _checksum_file(file).is_file() and file.stat().st_size == num_bytes):
        return False
    # As bytes: what is damaged need not be text.
    return _checksum_file(file).read_bytes() == file_sha256(file).encode()


def _num_bytes(shape: tuple[int, int]) -> int:
    return shape[0] * shape[1] * torch.float32.itemsize


def mapped(file: Path, shape: tuple[int, int], *, shared: bool) -> Float[Tensor, "num_rows C"]:
    """Maps a float32 matrix into memory; if ``shared``, changes to it reach the file."""
    flat = torch.from_file(str(file), shared=shared, size=shape[0] * shape[1], dtype=torch.float32)
    return flat.view(shape)
