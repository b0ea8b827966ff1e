"""Loggers whose files can be cut back to a checkpoint, so that no step is in them twice."""

import csv
import os
import socket
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor
from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

from llm_lightning.run_format import files
from llm_lightning.run_format.atomic_files import replacing, sync

_SECONDS_BETWEEN_WRITES = 10.0


@runtime_checkable
class Resumable(Protocol):
    """A logger that goes on from the state in a checkpoint."""

    def state(self) -> dict[str, Any]:
        """Returns what it has logged so far, as plain values, or where that is on the disk."""

    def resume(self, state: dict[str, Any]) -> None:
        """Goes on from a state; to be called before anything is logged."""


class CsvCurves(Logger):
    """Writes ``metrics.csv``, a row for each step at which something is logged.

    The rows stay in memory and the file is replaced as a whole, now and then while a run trains.

    Args:
        save_dir: folder of the file, the run's.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self._file = Path(save_dir) / files.CURVES
        self._rows: list[dict[str, float]] = []
        self._written = 0  # rows
        self._written_at = time.monotonic()

    @property
    def name(self) -> str:
        """Is empty: the run's folder has a name."""
        return ""

    @property
    def version(self) -> str:
        """Is empty: a run has one file."""
        return ""

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Does nothing: ``config.yaml`` holds them."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Adds a row."""
        row = {k: v.item() if isinstance(v, Tensor) else v for k, v in metrics.items()}
        self._rows.append(row | {"step": len(self._rows) if step is None else step})

    def save(self) -> None:
        """Replaces the file, unless that was done a moment ago."""
        if time.monotonic() - self._written_at > _SECONDS_BETWEEN_WRITES:
            self.write()

    def finalize(self, status: str) -> None:
        """Replaces the file."""
        self.write()

    def write(self) -> None:
        """Replaces the file if there are new rows."""
        if self._written == len(self._rows):
            return
        names = sorted(set().union(*self._rows))
        with replacing(self._file) as new, new.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.DictWriter(opened, fieldnames=names)
            writer.writeheader()
            writer.writerows(self._rows)
        self._written, self._written_at = len(self._rows), time.monotonic()

    def state(self) -> dict[str, Any]:
        """See :class:`Resumable`."""
        return {"rows": list(self._rows)}

    def resume(self, state: dict[str, Any]) -> None:
        """See :class:`Resumable`."""
        self._rows, self._written = list(state["rows"]), 0


class TensorBoardCurves(TensorBoardLogger):
    """Writes one TensorBoard event file, also if the run is interrupted."""

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="", version="", default_hp_metric=False)
        self._file: Path | None = None

    @property
    def experiment(self) -> SummaryWriter:
        """The writer, which opens the file when it is first asked for."""
        if self._experiment is None:
            if self._file is None:
                name = files.EVENTS.replace("*", f"{time.time():010.0f}.{socket.gethostname()}")
                self._file = Path(self.save_dir) / f"{name}.{os.getpid()}"
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._experiment = _OneFileWriter(self._file)
        return self._experiment

    def save(self) -> None:
        """Hands what was logged to the system."""
        self.experiment.flush()

    def finalize(self, status: str) -> None:
        """Closes the file; the next thing logged opens it again."""
        if self._experiment is not None:
            self._experiment.close()
            self._experiment = None

    def state(self) -> dict[str, Any]:
        """See :class:`Resumable`."""
        self.experiment.flush()
        if self._file is None:
            raise RuntimeError("the file is open, so it has a name")
        sync(self._file)
        return {"file": self._file.name, "bytes": self._file.stat().st_size}

    def resume(self, state: dict[str, Any]) -> None:
        """See :class:`Resumable`."""
        folder = Path(self.save_dir)
        for file in folder.glob(files.EVENTS):
            if file.name != state["file"]:
                file.unlink()
        self._file = folder / Path(state["file"]).name
        if self._file.is_file() and self._file.stat().st_size > state["bytes"]:
            os.truncate(self._file, state["bytes"])


class _EventFile:
    """Appends events to a file; what TensorBoard's own writer does in a thread, to a new file."""

    def __init__(self, file: Path) -> None:
        self._folder = str(file.parent)
        self._opened = file.open("ab")
        self._records = RecordWriter(self._opened)
        if self._opened.tell() == 0:
            source = SourceMetadata(writer="llm_lightning")
            self.add_event(
                Event(wall_time=time.time(), file_version="brain.Event:2", source_metadata=source)
            )

    def get_logdir(self) -> str:
        return self._folder

    def add_event(self, event: Event) -> None:
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        self._records.flush()

    def close(self) -> None:
        self._records.close()


class _FileWriter(FileWriter):
    def __init__(self, file: Path) -> None:
        self.event_writer = _EventFile(file)


class _OneFileWriter(SummaryWriter):
    def __init__(self, file: Path) -> None:
        self._file = file
        super().__init__(str(file.parent))

    def _get_file_writer(self) -> _FileWriter:
        own: Any = self  # torch declares these as None
        if own.file_writer is None:
            own.file_writer = _FileWriter(self._file)
            own.all_writers = {own.file_writer.get_logdir(): own.file_writer}
        return cast(_FileWriter, own.file_writer)
