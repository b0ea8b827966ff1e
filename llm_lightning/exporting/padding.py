"""Classifiers whose answers depend on the padding around a text, which other programs choose."""

from llm_lightning.exporting.exporter import Objection
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.pooling import depends_on_padding
from llm_lightning.tasks.text_classifier import TextClassifier


def padding_objection(task: FineTunedModel, target: str) -> Objection | None:
    """Returns why another program would compute something else; ``None`` if padding is hidden.

    Args:
        task: the run's.
        target: what it would be exported to, for the remedy.
    """
    if not isinstance(task, TextClassifier):
        return None
    is_masked = task.options.mask_padding
    if not depends_on_padding(task.pooling, is_causal=task.backbone.is_causal, is_masked=is_masked):
        return None
    return Objection(
        f"with task.pooling={task.pooling} and task.mask_padding={str(is_masked).lower()} what "
        f"this run computes of a text depends on the padding around it",
        f"train with task.pooling=auto and task.mask_padding=true to export to {target}",
    )
