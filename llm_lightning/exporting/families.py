"""Which code exports a run's model: that for GPT-2, or that for models of transformers."""

from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.exporting.exporter import Exporter
from llm_lightning.exporting.gpt2.exporter import GPT2Exporter
from llm_lightning.exporting.huggingface.exporter import TransformersExporter
from llm_lightning.tasks.finetuned_model import FineTunedModel


def exporter_of(task: FineTunedModel) -> Exporter:
    """Returns what exports a task's model."""
    if isinstance(task.backbone, TransformersBackbone):
        return TransformersExporter(task)
    return GPT2Exporter(task)
