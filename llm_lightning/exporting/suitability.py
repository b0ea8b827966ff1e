"""Which formats can hold a run, and what to do where one cannot."""

from llm_lightning.exporting.exporter import Objection
from llm_lightning.exporting.families import exporter_of
from llm_lightning.exporting.formats import FORMATS
from llm_lightning.finetuning.lora import adapters
from llm_lightning.finetuning.strategies import as_module
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.language_model import LanguageModel


def check_can(task: FineTunedModel, kind: str) -> None:
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


def suited_formats(task: FineTunedModel) -> list[str]:
    """Returns the formats that can hold a run; ``merged`` always can."""
    return [kind for kind in FORMATS if objection(task, kind) is None]


def objection(task: FineTunedModel, kind: str) -> Objection | None:
    """Returns why a format cannot hold a run; ``None`` if it can.

    Args:
        task: the run's.
        kind: one of ``FORMATS``.
    """
    if kind == "gguf" and not isinstance(task, LanguageModel):
        return Objection("--format gguf is for language models; this run is a classifier")
    if kind == "peft" and not adapters(as_module(task.backbone)):
        return Objection(
            "--format peft needs adapters in the blocks; this run trained with "
            f"finetune={type(task.strategy).__name__} and has none there"
        )
    return exporter_of(task).objection(kind)
