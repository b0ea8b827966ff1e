"""All runs below some folders and how far each has come, whoever started them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from llm_lightning.reporting.read.run_folders import find_folders
from llm_lightning.run_format import status
from llm_lightning.run_format.files import CONFIG, STATUS, SUMMARY
from llm_lightning.run_format.folder_lock import Holder, holder_of
from llm_lightning.run_format.summary import Summary, read_summary

MOST_SHOWN = 200
"""Runs in the table; the newest."""
_HEAD, _TAIL = 16, 21
"""Characters that are kept of a long path; its end, with the seed, tells more."""


@dataclass(frozen=True)
class FoundRun:
    """A run's folder as it is now."""

    folder: Path
    shown: str
    """Its path for people."""
    state: str
    """``running``, ``finished``, ``failed``, ``interrupted``, ``stopped`` (its process ended and
    said nothing) or ``damaged``."""
    changed_at: float
    """When its status last changed, in seconds since 1970."""
    epoch: int | None
    """Epochs that are done."""
    note: str
    """What is wrong with it, or how it goes on; may be empty."""
    holder: Holder | None
    """The process that works on it."""
    summary: Summary | None
    """Of a finished run."""

    @property
    def is_running(self) -> bool:
        """Whether a process works on it."""
        return self.state == "running"

    @property
    def has_model(self) -> bool:
        """Whether it can be loaded."""
        return self.summary is not None and self.summary.checkpoint is not None

    @property
    def kind(self) -> str | None:
        """Of its data; ``None`` if it is not finished."""
        return None if self.summary is None else self.summary.kind


def find_runs(roots: Iterable[Path]) -> list[FoundRun]:
    """Returns all runs at or below some folders, those that changed last first."""
    found = [_read(folder, shown) for folder, shown in find_folders(roots).items()]
    return sorted(found, key=lambda run: (-run.changed_at, run.shown))


def short_names(paths: Sequence[str]) -> list[str]:
    """Returns paths without their middles, for lists; those that would look alike stay whole."""
    short = [
        path if len(path) <= _HEAD + _TAIL + 1 else f"{path[:_HEAD]}…{path[-_TAIL:]}"
        for path in paths
    ]
    counts = Counter(short)
    return [one if counts[one] == 1 else path for one, path in zip(short, paths, strict=True)]


def _read(folder: Path, shown: str) -> FoundRun:
    facts = status.read(folder) or {}
    state, note = str(facts.get("state") or "damaged"), str(facts.get("error") or "")
    summary, problem = _summary(folder)
    holder = holder_of(folder)
    if holder is not None:
        state = "running"
    elif state == "running":
        state, note = "stopped", "its process ended; the same command continues it"
    elif state == "interrupted":
        note = note or "the same command continues it"
    elif summary is None:
        state = "damaged" if state == "finished" else state
        note = note or problem
    return FoundRun(
        folder=folder,
        shown=shown,
        state=state,
        changed_at=_changed_at(folder),
        epoch=facts.get("epoch") if summary is None else summary.epochs,
        note=note.strip().split("\n")[0],
        holder=holder,
        summary=summary if state == "finished" else None,
    )


def _changed_at(folder: Path) -> float:
    files = (folder / STATUS, folder / SUMMARY, folder / CONFIG)
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)


def _summary(folder: Path) -> tuple[Summary | None, str]:
    """The summary, or what is wrong with it."""
    try:
        changed = (folder / SUMMARY).stat()
    except OSError:
        return None, f"there is no {SUMMARY}"
    return _read_summary(folder, changed.st_mtime_ns, changed.st_size)


@lru_cache(maxsize=4096)
def _read_summary(folder: Path, changed_ns: int, size: int) -> tuple[Summary | None, str]:
    try:
        return read_summary(folder), ""
    except (ValueError, OSError) as error:
        return None, str(error)
