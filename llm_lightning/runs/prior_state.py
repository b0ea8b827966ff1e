"""What a run's folder holds before the run starts, and what becomes of it."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from rich.markup import escape

from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import errors
from llm_lightning.run_format import files, status
from llm_lightning.run_format.atomic_files import UNFINISHED, remove_unfinished, write_text
from llm_lightning.run_format.benchmarks import BENCHMARKS
from llm_lightning.run_format.setting_effects import OF_FILES, WITHOUT_EFFECT
from llm_lightning.run_format.summary import Summary, read_summary
from llm_lightning.runs.damage import MARK, has_mark, problems, read_configuration
from llm_lightning.runs.settings import Found, RunSettings

# What a run writes; the first are deleted first, so that a folder that is only half cleared never
# looks finished.
_WRITTEN = (
    files.SUMMARY,
    f"{files.CHECKPOINTS}/{files.RESUME}",
    files.CURVES,
    files.CURVES_BEFORE,
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
    files.HPARAMS,
    f"*{UNFINISHED}",
)
_FOLDERS = (files.SPLITS_FOLDER, files.CHECKPOINTS, files.PLOTS, files.TOKENIZER)
_KEYS_SHOWN = 5


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
    """Returns what is in a run's folder; changes nothing, but says why something is not kept.

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
    damaged = problems(folder)
    summary = None if files.SUMMARY in damaged else _summary(folder)
    resume = f"{files.CHECKPOINTS}/{files.RESUME}"
    has_begun = (folder / resume).is_file() and resume not in damaged
    _refuse_worse_fallbacks(folder, found, summary)
    configuration = read_configuration(folder)
    if configuration is None or settings.rerun:
        return PriorState.NOTHING
    if changed := _differences(configuration, settings.configuration):
        if summary or has_begun:
            shown = ", ".join(changed[:_KEYS_SHOWN])
            more = f" and {len(changed) - _KEYS_SHOWN} more" if changed[_KEYS_SHOWN:] else ""
            _say(f"{folder} holds a run of other settings ({shown}{more}), which is replaced")
        return PriorState.NOTHING
    if lacking := _missing(configuration, settings.configuration):
        shown = ", ".join(lacking[:_KEYS_SHOWN])
        _say(
            f"{folder} was written by an earlier version, which had no {shown}: kept, with their "
            f"present values taken for what it did"
        )
    interrupted = PriorState.INTERRUPTED if has_begun else PriorState.NOTHING
    if summary is None:
        return interrupted
    if not _has_used(summary, found):
        _say(f"{folder} holds a run on other data or weights, which is replaced")
        return PriorState.NOTHING
    stopped_after = summary.trial.stopped_after if summary.trial else None
    if stopped_after is not None and not settings.may_stop_early:
        epochs = counted(stopped_after, "epoch")
        _say(f"{folder} holds a trial that a search stopped after {epochs}: it is made again")
        return PriorState.NOTHING
    if lost := _lost(folder, summary, damaged):
        _say(f"{folder} was finished, but {lost}: it is made again")
        return interrupted
    if summary.kind != "instructions" or summary.responses is not None:
        return PriorState.FINISHED
    if has_begun:  # with everything that comes after the responses
        return PriorState.INTERRUPTED
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
        remove_unfinished(folder)
        (folder / files.SUMMARY).unlink(missing_ok=True)  # of a run whose end was interrupted
        status.write(folder, "running", fallbacks=list(fallbacks))
        return folder / files.CHECKPOINTS / files.RESUME
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    # Before the configuration: a run that is known to be this one has its fallbacks recorded.
    (folder / files.STATUS).unlink(missing_ok=True)
    status.write(folder, "running", fallbacks=list(fallbacks))
    text = yaml.safe_dump(settings.configuration, sort_keys=False, allow_unicode=True)
    write_text(folder / files.CONFIG, MARK + text)
    return None


def tidy(folder: Path) -> None:
    """Removes what a finished run does not need, which a kill at its very end leaves."""
    (folder / files.CHECKPOINTS / files.RESUME).unlink(missing_ok=True)
    remove_unfinished(folder)


def is_free(folder: Path) -> bool:
    """Whether a run may write to the folder: it holds a run already, or nothing."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    if has_mark(folder):
        return True
    inside = [path.name for path in folder.iterdir() if not path.name.endswith(files.DAMAGED)]
    if files.CONFIG in inside and read_configuration(folder) is not None:
        return False  # somebody else's
    if status.read(folder) is not None:
        return True
    known = (*_WRITTEN, *_FOLDERS, files.CONFIG, files.STATUS, files.OUTPUT)
    return all(any(fnmatch(name, pattern) for pattern in known) for name in inside)


def _summary(folder: Path) -> Summary | None:
    return read_summary(folder) if (folder / files.SUMMARY).is_file() else None


def _say(line: str) -> None:
    errors.print(escape(line), soft_wrap=True)


def _refuse_worse_fallbacks(folder: Path, found: Found, summary: Summary | None) -> None:
    """Refuses to replace a run by one with fallbacks that it did not need.

    Raises:
        ValueError: if so.
    """
    recorded = status.read(folder)
    if recorded is None and summary is None:
        return  # a checkpoint names its data and its base, and goes on with no others
    before = (recorded or {}).get("fallbacks")
    if before is None and summary is not None:
        before = summary.fallbacks
    known = {_title(fallback) for fallback in before or []}
    if new := [title for fallback in found.fallbacks if (title := _title(fallback)) not in known]:
        what = "the real data and weights" if not known else "more of the real data and weights"
        raise ValueError(
            f"run_dir {folder} holds a run on {what}, which this run with fallbacks would replace "
            f"({'; '.join(new)}); choose another runs_dir, or delete that folder"
        )


def _title(fallback: str) -> str:
    """What replaced what; the reason below it differs from time to time."""
    return (fallback.splitlines() or [""])[0].rstrip(":")


def _compared(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that tell runs apart, by their dotted keys."""

    def flat(part: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in part.items():
            name = f"{prefix}{key}"
            if name in WITHOUT_EFFECT or name in OF_FILES:
                continue
            if isinstance(value, Mapping) and value:
                yield from flat(value, f"{name}.")
            else:
                yield name, value

    return dict(flat(configuration, ""))


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Keys with different values; those that the first lacks are no difference.

    An earlier version could not be given them, or the folder would have another name.
    """
    before, now = _compared(one), _compared(other)
    return [key for key, value in before.items() if key not in now or now[key] != value]


def _missing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    before = _compared(one)
    return [key for key in _compared(other) if key not in before]


def _has_used(summary: Summary, found: Found) -> bool:
    fingerprints = {name: part["sha256"] for name, part in found.data.facts()["splits"].items()}
    used = {name: part.sha256 for name, part in summary.data.splits.items()}
    weights = summary.weights
    return (
        used == fingerprints
        and (weights.source if weights else None) == found.weights_source
        and (weights.sha256 if weights else None) == found.weights_sha256
    )


def _lost(folder: Path, summary: Summary, damaged: Mapping[str, str]) -> str | None:
    """What a finished run lacks that only training brings back."""
    if summary.checkpoint:
        if not (folder / summary.checkpoint).is_file():
            return f"{summary.checkpoint} is missing"
        if summary.checkpoint in damaged:
            return f"{summary.checkpoint} is damaged"
    aside = folder / f"{files.CURVES}{files.DAMAGED}"
    if files.CURVES in damaged or (aside.exists() and not (folder / files.CURVES).exists()):
        return f"{files.CURVES} is damaged"
    return None


def _clear(folder: Path) -> None:
    """Deletes what a run writes and nothing else; the configuration stays until it is replaced."""
    for pattern in _WRITTEN:
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
