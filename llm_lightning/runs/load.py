"""A trained model, rebuilt from its run's folder."""

import pickle
from pathlib import Path
from typing import TypeVar

import torch

from llm_lightning.backbone.families import locate, model_from, saved_tokenizer
from llm_lightning.run_format import files
from llm_lightning.run_format.summary import Summary, read_summary
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task

T = TypeVar("T", bound=Task)


def load_task(folder: Path) -> tuple[Task, Summary]:
    """Rebuilds the model of a run of any kind; see :func:`load_classifier`.

    Raises:
        ValueError: also if the run is a baseline, which has no network.
    """
    summary = read_summary(folder)
    if summary.weights is None:
        raise ValueError(f"{folder} is a baseline: it has no network")
    if summary.kind == "classification":
        return load_classifier(folder)
    return load_language_model(folder)


def load_classifier(folder: Path) -> tuple[Classifier, Summary]:
    """Rebuilds the classifier that a run's summary describes, on the CPU, in evaluation mode.

    Raises:
        ValueError: if the folder holds no finished run, or one of another kind, or its checkpoint
            is gone or damaged, or the weights it was trained on changed.
        Unavailable: if those weights are unavailable.
    """
    return _load(folder, Classifier)


def load_language_model(folder: Path) -> tuple[LanguageModel, Summary]:
    """Rebuilds the language model that a run's summary describes; see :func:`load_classifier`."""
    return _load(folder, LanguageModel)


def _load(folder: Path, task_class: type[T]) -> tuple[T, Summary]:
    if (folder / files.CONFIG).is_file() and not (folder / files.SUMMARY).is_file():
        raise ValueError(f"the run in {folder} is not finished: its command continues it")
    summary = read_summary(folder)
    if summary.kind not in task_class.data_kinds:
        command = "predict" if summary.kind == "classification" else "generate"
        raise ValueError(
            f"{folder} holds a run of kind {summary.kind}: use python -m llm_lightning {command}"
        )
    if summary.checkpoint is None:
        raise ValueError(
            f"{folder} kept no checkpoint: it is a baseline, or callbacks.checkpoint was removed"
        )
    path = folder / summary.checkpoint
    if not path.is_file():
        raise ValueError(f"the checkpoint {path} is missing")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"the checkpoint {path} is damaged: {type(error).__name__}") from error
    fields, base = checkpoint["hyper_parameters"], checkpoint["base"]
    if base is None:
        fields["model"] = fields["model"] | {"init": "empty"}  # every weight is loaded next
    model = task_class(**fields)
    if base is not None:
        config = model_from(base["model"])
        model.load_base(config, locate(config))
    model.load_trained(checkpoint)
    model.tokenizer = saved_tokenizer(folder / files.TOKENIZER)
    return model.eval(), summary
