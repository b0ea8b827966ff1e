"""How checkpoints reach the disk: whole or not at all, and without a second copy in memory."""

import time
from collections import Counter
from pathlib import Path
from typing import IO, Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from llm_lightning.distributed.collectives import of_main
from llm_lightning.run_format.atomic_files import replacing


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there once it is on the disk.

    Lightning's own writes it into memory first, twice over, which for a model of which everything
    trains is more than the rest of the training needs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        """Spent in :func:`save` so far."""
        self.failures: Counter[str] = Counter()
        """How often :func:`save` could not write a file, by its name."""
        self._is_tolerant = False
        self._failure: OSError | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Writes a checkpoint; a previous file of this name is replaced at the very end.

        Args:
            checkpoint: what Lightning saves.
            path: of the file; its folder is created if necessary.
            storage_options: none, as files are local.

        Raises:
            TypeError: if there are storage options.
            OSError: if the file cannot be written, unless :func:`save` asked for it.
        """
        if storage_options is not None:
            raise TypeError("checkpoints are local files, which have no storage options")
        try:
            _write(checkpoint, Path(path))
        except OSError as error:
            if not self._is_tolerant:
                raise
            self._failure = error

    def save(self, trainer: L.Trainer, file: Path, *, weights_only: bool) -> OSError | None:
        """See :func:`save`."""
        self._failure, self._is_tolerant = None, True
        try:
            trainer.save_checkpoint(file, weights_only)
        finally:
            self._is_tolerant = False
        return self._failure


def save(trainer: L.Trainer, file: Path, *, weights_only: bool = False) -> OSError | None:
    """Saves a checkpoint, or keeps the previous one where the disk refuses the new one.

    Args:
        trainer: in each of its processes, which wait for each other.
        file: the main one's.
        weights_only: whether the optimizer's state and the like are left out.

    Returns:
        In every process, why it was not saved; ``None`` if it was.

    Raises:
        OSError: if it cannot be written, of a trainer without :class:`CheckpointFiles`.
    """
    files = trainer.strategy.checkpoint_io
    if not isinstance(files, CheckpointFiles):
        trainer.save_checkpoint(file, weights_only)
        return None
    started = time.perf_counter()
    failure = of_main(files.save(trainer, file, weights_only=weights_only))
    files.seconds += time.perf_counter() - started
    if failure is not None:
        files.failures[file.name] += 1
    return failure


class _Watched:
    """A file that remembers why it could not be written.

    torch turns what a file raises into errors of its own, such as "unexpected pos 64".

    Args:
        out: opened for writing.
    """

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.failure: OSError | None = None

    def write(self, content: Any) -> int:
        """Writes; see :meth:`io.RawIOBase.write`."""
        try:
            return self._out.write(content)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """Writes what is buffered."""
        try:
            self._out.flush()
        except OSError as error:
            self.failure = error
            raise


def _write(checkpoint: dict[str, Any], file: Path) -> None:
    with replacing(file) as new, new.open("wb") as out:
        watched = _Watched(out)
        try:
            torch.save(checkpoint, watched)  # type: ignore[arg-type]  # all that it uses
        except Exception as error:
            if watched.failure is not None and not isinstance(error, OSError):
                raise watched.failure from error
            raise
