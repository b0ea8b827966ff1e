"""``status.json``: how far a run has come; and how far a sweep of runs has."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llm_lightning.run_format.atomic_files import write_text
from llm_lightning.run_format.bounded_files import read_json_object
from llm_lightning.run_format.files import STATUS
from llm_lightning.run_format.redaction import without_secrets

SWEEP = "LLM_LIGHTNING_SWEEP"
"""Environment variable in which a sweep tells its jobs which sweep it is."""
DAMAGED = f"its {STATUS} is damaged, so how it ended is unknown"
_MOST_BYTES = 2**20


def write(folder: Path, state: str, *, error: str | None = None, **facts: Any) -> None:
    """Writes the state of a run.

    Args:
        folder: the run's folder; made if need be.
        state: ``running``, ``finished``, ``failed`` or ``interrupted``.
        error: what was wrong, for a failed one.
        facts: such as ``epoch``; they are kept when the state changes.
    """
    now = datetime.now(UTC).isoformat()
    before = read(folder) or {"started_at": now}
    before.pop("refused_at", None)
    error = None if error is None else without_secrets(error)
    own = {"state": state, "error": error, "updated_at": now, "sweep": os.environ.get(SWEEP)}
    _replace(folder, before | own | facts)


def refuse(folder: Path, error: str) -> None:
    """Records that a job was refused; a finished run in its folder stays finished.

    Args:
        folder: the run's folder; made if need be.
        error: what was wrong.
    """
    before = read(folder)
    if before is None or before["state"] != "finished":
        write(folder, "failed", error=error)
        return
    refused = {"error": without_secrets(error), "refused_at": datetime.now(UTC).isoformat()}
    _replace(folder, before | refused)


def _replace(folder: Path, status: dict[str, Any]) -> None:
    write_text(folder / STATUS, json.dumps(status, indent=2) + "\n")


def read(folder: Path) -> dict[str, Any] | None:
    """Reads the state of a run; ``None`` if there is none that can be read."""
    try:
        return checked(folder / STATUS)
    except (FileNotFoundError, ValueError):
        return None


def checked(file: Path) -> dict[str, Any]:
    """Reads a ``status.json`` and checks what others rely on.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: naming the file, if it is damaged.
    """
    found = read_json_object(file, _MOST_BYTES)
    for key in ("state", "updated_at"):
        if not isinstance(found.get(key), str):
            raise ValueError(f"{file} is damaged: {key} must be a text, got {found.get(key)!r:.60}")
    for key in ("updated_at", "refused_at"):
        _check_time(file, key, found.get(key))
    if not isinstance(found.get("error"), str | None):
        raise ValueError(f"{file} is damaged: error must be a text, got {found['error']!r:.60}")
    return found


def _check_time(file: Path, key: str, value: Any) -> None:
    """Refuses what is no time with a time zone, which cannot be compared with others."""
    if value is None:
        return
    try:
        is_time = datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        is_time = False
    if not is_time:
        raise ValueError(f"{file} is damaged: {key} must be a time with a zone, got {value!r:.60}")


@contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """Records that a run is running, and how it ended."""
    write(folder, "running")
    try:
        yield
    except Exception as error:
        write(folder, "failed", error=f"{type(error).__name__}: {error}")
        raise
    except BaseException:
        write(folder, "interrupted")
        raise
    write(folder, "finished")


@dataclass
class SweepProgress:
    """How many runs of a sweep are where."""

    total: int | None
    """All of them; ``None`` where the sweeper decides as it goes."""
    finished: list[Path]
    """Folders."""
    failed: list[Path]
    """Folders of runs that failed, were interrupted, or left a status that cannot be read."""
    unfinished: list[Path]
    """Folders of runs that are running, or were when their process died."""
    seconds: float
    """Since the sweep began."""

    @property
    def done(self) -> int:
        """Runs that are finished."""
        return len(self.finished)

    @property
    def running(self) -> int:
        """Runs that are under way."""
        return len(self.unfinished)

    @property
    def left(self) -> int | None:
        """Runs that have not begun."""
        return None if self.total is None else max(0, self.total - self.ended - self.running)

    @property
    def of_others(self) -> int:
        """Runs more than there should be: another sweep writes into the same folder."""
        return 0 if self.total is None else max(0, self.ended + self.running - self.total)

    @property
    def ended(self) -> int:
        """Runs that are done or failed."""
        return self.done + len(self.failed)

    @property
    def eta_seconds(self) -> float | None:
        """Time to go if the rest takes as long as what has ended; ``None`` where nothing has."""
        if self.total is None or not self.ended:
            return None
        return self.seconds / self.ended * max(0, self.total - self.ended)


def read_progress(runs_dir: Path, since: datetime, total: int | None) -> SweepProgress:
    """Counts the runs below a folder whose status changed since a moment.

    In a sweep, those of another one that writes into the same folder are left out.

    Args:
        runs_dir: the folder.
        since: the moment, with its time zone.
        total: runs that there will be; ``None`` if it is not known.
    """
    own = os.environ.get(SWEEP)
    finished: list[Path] = []
    failed: list[Path] = []
    unfinished: list[Path] = []
    for file in sorted(runs_dir.glob(f"*/*/{STATUS}")):
        folder, found = file.parent, read(file.parent)
        if found is None:
            if _changed_at(file) >= since:
                failed.append(folder)
            continue
        if datetime.fromisoformat(found.get("refused_at", found["updated_at"])) < since:
            continue
        if own is not None and found.get("sweep") not in (None, own):
            continue
        if "refused_at" in found or found["state"] in ("failed", "interrupted"):
            failed.append(folder)
        elif found["state"] == "finished":
            finished.append(folder)
        else:
            unfinished.append(folder)
    seconds = (datetime.now(UTC) - since).total_seconds()
    return SweepProgress(total, finished, failed, unfinished, seconds)


def reason(folder: Path) -> str:
    """Returns in a line why a run counts as failed."""
    found = read(folder)
    if found is None:
        return DAMAGED
    said = found.get("error") or ("it was interrupted" if found["state"] == "interrupted" else "")
    return (said or "no reason was recorded").splitlines()[0]


def _changed_at(file: Path) -> datetime:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except OSError:
        return datetime.min.replace(tzinfo=UTC)
