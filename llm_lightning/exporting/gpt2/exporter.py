"""Exports of a run with a GPT-2, and how they are read again."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from llm_lightning.backbone.checkpoint import CONFIG_NAME, described, to_transformers
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.tokenizer import END_OF_TEXT
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.exporting.dense import Dense, dense
from llm_lightning.exporting.exporter import Objection
from llm_lightning.exporting.gpt2 import gguf_files, peft_folder, transformers_folder
from llm_lightning.exporting.gpt2.tokenizer_files import write_tokenizer
from llm_lightning.exporting.libraries import quiet
from llm_lightning.exporting.output_folder import BASE
from llm_lightning.exporting.padding import padding_objection
from llm_lightning.exporting.samples import max_length
from llm_lightning.exporting.verification import from_pretrained, transformers_logits, with_adapters
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.text_classifier import TextClassifier


class GPT2Exporter:
    """An :class:`~llm_lightning.exporting.exporter.Exporter`.

    Args:
        task: the run's.
    """

    def __init__(self, task: FineTunedModel) -> None:
        self._task = task
        self._config = cast(GPT2, task.backbone).config

    def description(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return f"GPT-2 with {self._config.n_layer} blocks, {self._config.n_embd} wide"

    def auto_class(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        is_classifier = isinstance(self._task, TextClassifier)
        return f"AutoModelFor{'SequenceClassification' if is_classifier else 'CausalLM'}"

    def end_of_text(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return END_OF_TEXT

    def start_of_text(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return ""

    def head_code(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return ""

    def settings(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        pooling = cast(TextClassifier, self._task).pooling
        causal = str(self._config.causal).lower()
        return f"`task.pooling={pooling}` and `model.causal={causal}`"

    def loading_options(self) -> dict[str, str]:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return {}

    def objection(self, kind: str) -> Objection | None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        task = self._task
        if kind == "merged":
            return None
        if kind == "onnx":
            return padding_objection(task, "ONNX")
        if isinstance(task, TextClassifier) and task.pooling != "last_real":
            return Objection(
                "transformers' GPT2ForSequenceClassification pools the last real token; this run "
                f"has task.pooling={task.pooling}",
                "train with task.pooling=last_real to export to transformers",
            )
        if not self._config.causal:
            return Objection("transformers' GPT-2 is causal; this run has model.causal=false")
        return None

    def write_merged(self, model: Dense, folder: Path) -> None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        transformers_folder.write_merged(self._task, model, folder)

    def write_transformers(self, model: Dense, folder: Path) -> None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        transformers_folder.write_transformers(self._task, model, folder)

    def write_peft(self, model: Dense, folder: Path) -> None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        peft_folder.write_peft(self._task, model, folder)

    def write_tokenizer(self, folder: Path) -> None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        write_tokenizer(folder, max_length(self._task))

    def write_gguf(self, model: Dense, file: Path, name: str, quantization: str) -> None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        gguf_files.write_gguf(model, file, name, quantization)

    def reloaded(self, folder: Path) -> FineTunedModel:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        task = self._task
        fields: dict[str, Any] = dict(task.hparams)
        model = ModelConfig(**asdict(self._config) | {"init": "gpt2"}, weights=str(folder))
        fields["model"] = model.architecture() | {"init": "empty"}
        fields["finetune"] = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}
        if isinstance(task, LanguageModel):
            fields["task"] = fields["task"] | {"tie_weights": not _has_untied_head(folder)}
        again = type(task)(**fields)
        again.load_base(model, locate(model))
        return again.eval()

    def transformers_logits(self, folder: Path) -> list[Tensor]:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return transformers_logits(from_pretrained(self._class(), folder), self._task)

    def peft_logits(self, folder: Path) -> list[Tensor]:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        task = self._task
        base = dense(task, merge=False)  # unused where the export contains it
        head = transformers_folder.head_config(task, base)
        own = {key: value for key, value in head.items() if key != "architectures"}
        if (folder / BASE).is_dir():
            model = from_pretrained(self._class(), folder / BASE, is_whole=False, **own)
        else:
            with quiet():
                from transformers import GPT2Config

                model = self._class()(GPT2Config(**described(base.config) | head))
                model.transformer.load_state_dict(to_transformers(base.backbone))
                model.tie_weights()
        return transformers_logits(with_adapters(model, folder), task)

    def read_gguf(self, file: Path, model: Dense) -> Dense:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return gguf_files.read_back(file, model)

    def _class(self) -> Any:
        from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel

        is_classifier = isinstance(self._task, TextClassifier)
        return GPT2ForSequenceClassification if is_classifier else GPT2LMHeadModel


def _has_untied_head(folder: Path) -> bool:
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    return not config["tie_word_embeddings"]
