"""What a run's checkpoint must contain, checked before a model is made of it.

A run folder that somebody shares may hold any checkpoint: of another version, edited, or made to
fill the memory. Nothing in it is executed.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from llm_lightning.backbone.tensor_files import check_finite, unpickled
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.text_classifier import TextClassifier

_ADVICE = "train the run again"


def described(path: Path) -> str:
    """Names a checkpoint in errors."""
    return f"the checkpoint {path}"


def read_checkpoint(path: Path, task_class: type[FineTunedModel]) -> dict[str, Any]:
    """Reads a checkpoint and checks that it is one of a task.

    Args:
        path: of the file.
        task_class: the task whose constructor takes the hyper-parameters.

    Returns:
        ``hyper_parameters``, ``state_dict``, ``base`` among others.

    Raises:
        ValueError: naming the file and what is wrong.
    """
    found = unpickled(path, described(path))
    problem = _structure_problem(found) or _task_problem(found, task_class)
    if problem:
        raise ValueError(f"{described(path)} {problem}: {_ADVICE}")
    check_finite(
        found["state_dict"],
        f"{described(path)} contains weights that are NaN or infinite, so its training diverged or "
        f"it was changed; nothing can be predicted with it: {_ADVICE}, with a lower optim.lr",
    )
    return dict(found)


def _structure_problem(found: Any) -> str | None:
    """What is wrong with the parts of a checkpoint, as the end of a sentence."""
    if not isinstance(found, dict):
        return f"holds a {type(found).__name__} and no training state"
    for key in ("hyper_parameters", "state_dict"):
        if not isinstance(found.get(key), Mapping):
            return f"has no {key}, so it is not one of this program, or not a whole one"
    for name, value in found["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.is_meta:
            return f"has an entry {name!r:.60} in its state_dict that is no tensor with values"
    base = found.get("base", ...)
    if base is None:
        return None
    if not isinstance(base, Mapping) or not isinstance(base.get("model"), Mapping):
        return "does not say which base it belongs to"
    if not all(isinstance(base.get(key), str) for key in ("source", "fingerprint")):
        return "does not say which base it belongs to: source or fingerprint is no text"
    return None


def _task_problem(found: Mapping[str, Any], task_class: type[FineTunedModel]) -> str | None:
    """What is wrong with the hyper-parameters for a task, as the end of a sentence."""
    fields = found["hyper_parameters"]
    wanted = set(inspect.signature(task_class).parameters)
    if missing := sorted(wanted - fields.keys()):
        return f"lacks the hyper-parameters {', '.join(missing)}"
    if unknown := sorted(str(key) for key in fields.keys() - wanted):
        return f"has unknown hyper-parameters ({', '.join(unknown[:5])})"
    for key in ("task", "model", "finetune", "optim", "text"):
        if not isinstance(fields[key], Mapping):
            return f"has hyper-parameters in which {key} is no table of settings"
    state = found["state_dict"]
    rank = fields["finetune"].get("rank", 0)
    largest = max((max(value.shape, default=0) for value in state.values()), default=0)
    if isinstance(rank, int) and rank > largest:
        return f"has finetune.rank={rank:,}, and no adapter of that size"
    return _class_problem(fields, state) if issubclass(task_class, TextClassifier) else None


def _class_problem(fields: Mapping[str, Any], state: Mapping[str, Tensor]) -> str | None:
    """Whether a classifier's names and head belong together, as the end of a sentence."""
    names = fields["class_names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return "has class_names that are no list of texts"
    if len(set(names)) != len(names) or len(names) < 2:
        return f"must have two or more different class names, got {names!r:.100}"
    head = state.get("head.weight")
    if head is None or head.dim() != 2:
        return "has no head.weight of classes by width"
    if len(head) != len(names):
        return f"has names for {len(names):,} classes and a head for {len(head):,}"
    return None
