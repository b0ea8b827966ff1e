"""One run's folder: what is in it, and how a model is rebuilt from it.

::

    config.yaml            the resolved configuration
    status.json            running, finished, failed (and why) or interrupted
    summary.json           final metrics, counts, fingerprints, versions, times
    metrics.csv            curves (and TensorBoard events)
    predictions_test.csv   what a classifier says about each test text
    instruction-data-with-response.json  what a language model answers to each test instruction
    answer_scores.csv      how close each answer is to its reference
    judge-*.json           what a judge says about these answers
    splits/                the texts of each split
    checkpoints/           best.ckpt (lowest validation loss) and last.ckpt: what trained, and
                           which base it belongs to; resume.ckpt while the run is unfinished
    plots/                 pictures of the above
    output.txt             what it said, if it ran beside others in a sweep
"""

import json
import pickle
import shutil
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from llm_lightning.runs.build import Found
from llm_lightning.run_format.files import RESPONSES
from llm_lightning.run_format.files import STATUS
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task

T = TypeVar("T", bound=Task)

_NOT_A_SETTING = (
    "run_dir", "runs_dir", "rerun", "offline_fallback", "dry_run", "objective",
)  # fmt: skip

CONFIG = "config.yaml"
SUMMARY = "summary.json"
SPLITS = "splits"
CURVES = "metrics.csv"
CURVES_BEFORE = "metrics_before_interruption.csv"
CHECKPOINTS = "checkpoints"
RESUME = "resume.ckpt"
OUTPUT = "output.txt"
PREDICTIONS = "predictions_test.csv"
ANSWER_SCORES = "answer_scores.csv"
_MARK = "# A run of llm_lightning: running the same command again replaces this folder's files.\n"


class Former(Enum):
    """What a run's folder holds before the run starts."""

    NOTHING = "nothing"
    """Or what the run replaces."""
    INTERRUPTED = "interrupted"
    """The same run, part of the way."""
    UNANSWERED = "unanswered"
    """The same run, trained, whose test split is not answered yet."""
    FINISHED = "finished"
    """The same run."""


def former(folder: Path, cfg: DictConfig, found: Found) -> Former:
    """Says what is in a run's folder; changes nothing.

    A run is the same if its configuration, its data and the source of its weights are.

    Args:
        folder: the run's folder.
        cfg: the composed configuration.
        found: the data and weights that this run would use.

    Raises:
        ValueError: if the folder holds something that is not a run, or the results of a run on
            the real thing that a stand-in would replace.
    """
    if is_free(folder):
        if cfg.rerun or not (folder / CONFIG).is_file():
            return Former.NOTHING
    else:
        raise ValueError(f"run_dir {folder} is not empty and holds no run; choose another runs_dir")
    is_finished = (folder / SUMMARY).is_file()
    summary = read_summary(folder) if is_finished else None
    if found.notices and summary and not summary["notices"]:
        raise ValueError(
            f"run_dir {folder} holds a run on the real data and weights, which this run with "
            f"stand-ins would replace; choose another runs_dir, or delete that folder"
        )
    is_same = _settings(OmegaConf.load(folder / CONFIG)) == _settings(cfg)
    if not is_same:
        return Former.NOTHING
    if summary is None:
        is_begun = (folder / CHECKPOINTS / RESUME).is_file()
        return Former.INTERRUPTED if is_begun else Former.NOTHING
    if not _has_used(summary, found):
        return Former.NOTHING
    is_unanswered = summary["kind"] == "instructions" and summary["answers"] is None
    return Former.UNANSWERED if is_unanswered else Former.FINISHED


def start(folder: Path, cfg: DictConfig, before: Former) -> Path | None:
    """Makes the folder and writes the configuration; what the run does not go on from goes.

    Args:
        folder: the run's folder.
        cfg: the composed configuration.
        before: what :func:`former` said.

    Returns:
        The checkpoint to go on from, if there is one.
    """
    if before is Former.INTERRUPTED:
        return folder / CHECKPOINTS / RESUME
    _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    movable = cfg.copy()
    movable.run_dir = "."  # paths inside the folder are recorded relative to it
    (folder / CONFIG).write_text(_MARK + OmegaConf.to_yaml(movable, resolve=True))
    return None


def is_free(folder: Path) -> bool:
    """Whether a run may write to the folder: it holds a run already, or nothing."""
    inside = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if inside <= {STATUS, OUTPUT}:
        return True
    config = folder / CONFIG
    return config.is_file() and config.read_text().startswith(_MARK)


def _settings(cfg: Any) -> dict[str, Any]:
    """What of a configuration decides what a run computes."""
    movable = cfg.copy()
    movable.run_dir = "."
    settings = cast(dict[str, Any], OmegaConf.to_container(movable, resolve=True, enum_to_str=True))
    return {key: value for key, value in settings.items() if key not in _NOT_A_SETTING}


def _has_used(summary: dict[str, Any], found: Found) -> bool:
    splits = found.data.facts()["splits"]
    data = {name: split["sha256"] for name, split in splits.items()}
    used = {name: split["sha256"] for name, split in summary["data"]["splits"].items()}
    source = summary["weights"]["source"] if summary["weights"] else None
    return used == data and source == found.source


def set_curves_aside(folder: Path, num_steps: int) -> None:
    """Keeps the curves of the first ``num_steps`` steps while an interrupted run goes on.

    Lightning's logger starts its file anew.
    """
    files = [folder / name for name in (CURVES_BEFORE, CURVES) if (folder / name).is_file()]
    if not files:
        return
    curves = pd.concat([pd.read_csv(file) for file in files])
    curves[curves["step"] < num_steps].to_csv(folder / CURVES_BEFORE, index=False)
    (folder / CURVES).unlink(missing_ok=True)


def join_curves(folder: Path) -> None:
    """Puts what was set aside before the curves of the resumed run."""
    before, after = folder / CURVES_BEFORE, folder / CURVES
    if before.is_file():
        parts = [pd.read_csv(file) for file in (before, after) if file.is_file()]
        pd.concat(parts).sort_index(axis="columns").to_csv(after, index=False)
        before.unlink()


def _clear(folder: Path) -> None:
    """Deletes what a run writes and nothing else."""
    patterns = (
        CONFIG,
        SUMMARY,
        CURVES,
        CURVES_BEFORE,
        STATUS,
        PREDICTIONS,
        ANSWER_SCORES,
        f"{RESPONSES}*",  # .part of an interrupted run among them
        "judge-*.json",
        "events.out.tfevents.*",
    )
    for pattern in patterns:
        for file in folder.glob(pattern):
            file.unlink()
    for name in (SPLITS, CHECKPOINTS, "plots"):
        shutil.rmtree(folder / name, ignore_errors=True)


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Writes ``summary.json``."""
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")


def read_summary(folder: Path) -> dict[str, Any]:
    """Reads ``summary.json``.

    Raises:
        ValueError: if the folder is not that of a finished run; runs inside it are named.
    """
    file = folder / SUMMARY
    if not file.is_file():
        inside = sorted(str(found.parent) for found in folder.glob(f"**/{SUMMARY}"))
        hint = f"; did you mean {inside[0]}?" if inside else ""
        raise ValueError(f"{folder} is not the folder of a finished run (no {SUMMARY}){hint}")
    summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return summary


def load_classifier(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """Rebuilds the classifier that a run's summary speaks of; see :func:`_load`."""
    return _load(folder, Classifier)


def load_language_model(folder: Path) -> tuple[LanguageModel, dict[str, Any]]:
    """Rebuilds the language model that a run's summary speaks of; see :func:`_load`."""
    return _load(folder, LanguageModel)


def _load(folder: Path, task_class: type[T]) -> tuple[T, dict[str, Any]]:
    """Rebuilds a model in evaluation mode, on the CPU.

    Returns:
        The model and the summary.

    Raises:
        ValueError: if the folder holds no finished run, or one of another kind, or its checkpoint
            is gone or damaged, or the weights it was trained on are not what they were.
        Unavailable: if these weights cannot be had any more.
    """
    summary = read_summary(folder)
    if summary["kind"] not in task_class.data_kinds:
        command = "predict" if summary["kind"] == "classification" else "generate"
        raise ValueError(
            f"{folder} is a {summary['kind']} run: use python -m llm_lightning.{command}"
        )
    if summary["checkpoint"] is None:
        raise ValueError(f"{folder} kept no checkpoint: callbacks.checkpoint was removed")
    path = folder / summary["checkpoint"]
    if not path.is_file():
        raise ValueError(f"the checkpoint {path} is missing")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"the checkpoint {path} is damaged: {type(error).__name__}") from error
    fields = checkpoint["hyper_parameters"]
    if checkpoint["base"] is None:
        fields["model"] = fields["model"] | {"init": "empty"}  # every weight is loaded next
    model = task_class(**fields)
    model.load_trained(checkpoint)
    return model.eval(), summary
