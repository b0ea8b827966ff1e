"""Which formats can hold a run, and what to do where one cannot."""

from typing import NamedTuple

from llm_lightning.exporting.formats import FORMATS
from llm_lightning.finetuning.lora import adapters
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task


class Objection(NamedTuple):
    """Why a format cannot hold a run."""

    reason: str
    remedy: str = ""
    """How to train a run that it can hold; empty if another format is the only way."""


def check_can(task: Task, kind: str) -> None:
    """Refuses a run that a format cannot represent.

    Args:
        task: the run's.
        kind: one of ``FORMATS``.

    Raises:
        ValueError: naming the reason and the formats that can.
    """
    found = objection(task, kind)
    if found is None:
        return
    suited = " or ".join(f"--format {one}" for one in suited_formats(task))
    remedy = f"{found.remedy}, or " if found.remedy else ""
    raise ValueError(f"{found.reason}: {remedy}use {suited}")


def suited_formats(task: Task) -> list[str]:
    """Returns the formats that can hold a run; ``merged`` always can."""
    return [kind for kind in FORMATS if objection(task, kind) is None]


def objection(task: Task, kind: str) -> Objection | None:
    """Returns why a format cannot hold a run; ``None`` if it can.

    Args:
        task: the run's.
        kind: one of ``FORMATS``.
    """
    if kind == "merged":
        return None
    if kind == "gguf" and not isinstance(task, LanguageModel):
        return Objection("--format gguf is for language models; this run is a classifier")
    if kind == "peft" and not adapters(task.backbone):
        return Objection(
            "--format peft needs adapters in the blocks; this run trained with "
            f"finetune={type(task.strategy).__name__} and has none there"
        )
    if isinstance(task, Classifier) and task.pooling != "last_real":
        return Objection(
            "transformers' GPT2ForSequenceClassification pools the last real token; this run has "
            f"task.pooling={task.pooling}",
            "train with task.pooling=last_real to export to transformers",
        )
    if not task.backbone.config.causal:
        return Objection("transformers' GPT-2 is causal; this run has model.causal=false")
    return None
