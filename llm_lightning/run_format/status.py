"""``status.json``: how far a run has come; and how far a sweep of runs has."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llm_lightning.run_format.files import STATUS


def write(folder: Path, state: str, *, error: str | None = None, **facts: Any) -> None:
    """Writes the state of a run.

    Args:
        folder: the run's folder; made if need be.
        state: ``running``, ``finished``, ``failed`` or ``interrupted``.
        error: what was wrong, for a failed one.
        facts: what else is known, such as ``epoch``.
    """
    now = datetime.now(UTC).isoformat()
    before = read(folder)
    started_at = before["started_at"] if before and before["state"] == "running" else now
    status = {"state": state, "error": error, "started_at": started_at, "updated_at": now} | facts
    folder.mkdir(parents=True, exist_ok=True)
    # Replaced as a whole, because others read it while it is written.
    draft = folder / f"{STATUS}.part"
    draft.write_text(json.dumps(status, indent=2) + "\n", encoding="utf-8")
    draft.replace(folder / STATUS)


def read(folder: Path) -> dict[str, Any] | None:
    """Reads the state of a run; ``None`` if there is none."""
    file = folder / STATUS
    if not file.is_file():
        return None
    status: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return status


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
    done: int
    failed: list[Path]
    """Folders."""
    running: int
    seconds: float
    """Since the sweep began."""

    @property
    def left(self) -> int | None:
        """Runs that have not begun."""
        return None if self.total is None else self.total - self.ended - self.running

    @property
    def ended(self) -> int:
        """Runs that are done or failed."""
        return self.done + len(self.failed)

    @property
    def eta_seconds(self) -> float | None:
        """Time to go if the rest takes as long as what has ended; ``None`` where nothing has."""
        if self.total is None or not self.ended:
            return None
        return self.seconds / self.ended * (self.total - self.ended)


def read_progress(runs_dir: Path, since: datetime, total: int | None) -> SweepProgress:
    """Counts the runs below a folder whose status changed since a moment."""
    done, running, failed = 0, 0, []
    for file in sorted(runs_dir.glob(f"*/*/{STATUS}")):
        found = read(file.parent)
        if found is None or datetime.fromisoformat(found["updated_at"]) < since:
            continue
        done += found["state"] == "finished"
        running += found["state"] == "running"
        if found["state"] == "failed":
            failed.append(file.parent)
    seconds = (datetime.now(UTC) - since).total_seconds()
    return SweepProgress(total, done, failed, running, seconds)
