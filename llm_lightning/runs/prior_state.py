"""What a run's folder holds before the run starts, and what becomes of it."""

import shutil
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from rich.markup import escape

from llm_lightning.presentation.terminal import errors
from llm_lightning.run_format import files, status
from llm_lightning.run_format.benchmarks import BENCHMARKS
from llm_lightning.run_format.setting_effects import WITHOUT_EFFECT
from llm_lightning.run_format.summary import Summary, read_summary
from llm_lightning.runs.settings import Found, RunSettings

_MARK = "# A run of llm_lightning: running the same command again replaces this folder's files.\n"


class PriorState(Enum):
    """What a run's folder holds before the run starts."""

    NOTHING = "nothing"
    """Or something that the run replaces."""
    INTERRUPTED = "interrupted"
    """The same run, trained in part."""
    NO_RESPONSES = "no responses"
    """The same run, trained, but without responses to its test split."""
    FINISHED = "finished"
    """The same run."""


def prior_state(folder: Path, settings: RunSettings, found: Found) -> PriorState:
    """Returns what is in a run's folder; changes nothing.

    A run is the same if its configuration, the fingerprints of its data and the origin and the
    contents of its weights are.

    Args:
        folder: the run's folder.
        settings: of the run that is about to start.
        found: the data and weights that it would use.

    Raises:
        ValueError: if the folder holds something that is not a run, or the results of a run on
            real data and weights that one with fallbacks would replace.
    """
    if not is_free(folder):
        raise ValueError(f"run_dir {folder} is not empty and holds no run; choose another runs_dir")
    if not (folder / files.CONFIG).is_file():
        return PriorState.NOTHING
    if found.fallbacks and not (status.read(folder) or {}).get("fallbacks", []):
        raise ValueError(
            f"run_dir {folder} holds a run on the real data and weights, which this run with "
            f"fallbacks would replace; choose another runs_dir, or delete that folder"
        )
    if settings.rerun:
        return PriorState.NOTHING
    summary = _readable_summary(folder)
    if not _is_same(_read_configuration(folder), settings.configuration):
        return PriorState.NOTHING
    if summary is None:
        has_begun = (folder / files.CHECKPOINTS / files.RESUME).is_file()
        return PriorState.INTERRUPTED if has_begun else PriorState.NOTHING
    if not _has_used(summary, found):
        return PriorState.NOTHING
    if summary.kind != "instructions" or summary.responses is not None:
        return PriorState.FINISHED
    # Without a checkpoint there is nothing left that could respond.
    return PriorState.NO_RESPONSES if summary.checkpoint else PriorState.NOTHING


def start(settings: RunSettings, prior: PriorState, fallbacks: Sequence[str]) -> Path | None:
    """Makes the folder and writes the configuration; removes what the run does not resume from.

    Args:
        settings: of the run.
        prior: what its folder holds.
        fallbacks: what replaced data or weights that were unavailable; recorded, so that a run
            without any is never replaced by one with some.

    Returns:
        The checkpoint to resume from, if there is one.
    """
    folder = settings.run_dir
    if prior is PriorState.INTERRUPTED:
        return folder / files.CHECKPOINTS / files.RESUME
    _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(settings.configuration, sort_keys=False, allow_unicode=True)
    (folder / files.CONFIG).write_text(_MARK + text, encoding="utf-8")
    status.write(folder, "running", fallbacks=list(fallbacks))
    return None


def is_free(folder: Path) -> bool:
    """Whether a run may write to the folder: it holds a run already, or nothing."""
    inside = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if inside <= {files.STATUS, files.OUTPUT}:
        return True
    config = folder / files.CONFIG
    return config.is_file() and config.read_text(encoding="utf-8").startswith(_MARK)


def _readable_summary(folder: Path) -> Summary | None:
    """The summary of a finished run; ``None`` if there is none, or a damaged or older one."""
    try:
        return read_summary(folder) if (folder / files.SUMMARY).is_file() else None
    except ValueError as error:
        errors.print(escape(f"{error}; the run starts over"), soft_wrap=True)
        return None


def _read_configuration(folder: Path) -> Mapping[str, Any]:
    found = yaml.safe_load((folder / files.CONFIG).read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    def compared(configuration: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in configuration.items() if key not in WITHOUT_EFFECT}

    return compared(one) == compared(other)


def _has_used(summary: Summary, found: Found) -> bool:
    fingerprints = {name: part["sha256"] for name, part in found.data.facts()["splits"].items()}
    used = {name: part.sha256 for name, part in summary.data.splits.items()}
    weights = summary.weights
    return (
        used == fingerprints
        and (weights.source if weights else None) == found.weights_source
        and (weights.sha256 if weights else None) == found.weights_sha256
    )


def _clear(folder: Path) -> None:
    """Deletes what a run writes and nothing else."""
    patterns = (
        files.CONFIG,
        files.SUMMARY,
        files.CURVES,
        files.CURVES_BEFORE,
        files.STATUS,
        files.PREDICTIONS,
        files.VAL_PREDICTIONS,
        files.CLASS_METRICS,
        files.DECISIONS,
        files.RESPONSE_SCORES,
        files.UNTRAINED_SCORES,
        f"{files.RESPONSES}*",  # .part of an interrupted run among them
        f"{files.UNTRAINED_RESPONSES}*",
        files.JUDGEMENTS,
        files.PAIRS,
        BENCHMARKS,
        files.EVENTS,
    )
    for pattern in patterns:
        for file in folder.glob(pattern):
            file.unlink()
    for name in (files.SPLITS_FOLDER, files.CHECKPOINTS, files.PLOTS):
        shutil.rmtree(folder / name, ignore_errors=True)
