"""Exports of a run with a model of transformers, and how they are read again."""

from pathlib import Path
from typing import Any, cast

from torch import Tensor

from llm_lightning.backbone.families import architecture, locate
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.exporting.adapter_files import hub_base, write_adapters
from llm_lightning.exporting.dense import Dense, dense
from llm_lightning.exporting.exporter import Objection
from llm_lightning.exporting.huggingface import (
    gguf_model,
    gguf_tokenizer,
    plain_models,
    pooled_head,
)
from llm_lightning.exporting.huggingface.tokenizer_files import write_tokenizer
from llm_lightning.exporting.output_folder import BASE, FOLDER
from llm_lightning.exporting.padding import padding_objection
from llm_lightning.exporting.run_prompts import stop_id
from llm_lightning.exporting.verification import from_pretrained, transformers_logits, with_adapters
from llm_lightning.finetuning.lora import adapters
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.text_classifier import TextClassifier


class TransformersExporter:
    """An :class:`~llm_lightning.exporting.exporter.Exporter`.

    Args:
        task: the run's.
    """

    def __init__(self, task: FineTunedModel) -> None:
        self._task = task
        self._backbone = cast(TransformersBackbone, task.backbone)
        self._final_norm = _final_norm(task, self._backbone)

    def description(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        backbone = self._backbone
        return (
            f"{backbone.config.model_type} with {backbone.num_blocks} blocks, "
            f"{backbone.hidden_size} wide"
        )

    def auto_class(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        if not isinstance(self._task, TextClassifier):
            return "AutoModelForCausalLM"
        return "AutoModel" if self._final_norm is None else "AutoModelForSequenceClassification"

    def end_of_text(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return gguf_tokenizer.read(self._task.tokenizer).tokens[stop_id(self._task)]

    def start_of_text(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        tokenizer = self._task.tokenizer
        tokens = gguf_tokenizer.read(tokenizer).tokens
        return "".join(tokens[index] for index in tokenizer.prefix)

    def settings(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        task = cast(TextClassifier, self._task)
        is_masked = str(task.options.mask_padding).lower()
        return f"`task.pooling={task.pooling}` and `task.mask_padding={is_masked}`"

    def head_code(self) -> str:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        task = self._task
        is_beside = isinstance(task, TextClassifier) and self._final_norm is None
        return pooled_head.code(cast(TextClassifier, task), FOLDER) if is_beside else ""

    def loading_options(self) -> dict[str, str]:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return {name: repr(value) for name, value in self._options().items()}

    def objection(self, kind: str) -> Objection | None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        task = self._task
        if kind == "gguf":
            reason = gguf_model.why_not(self._backbone) or gguf_tokenizer.why_not(task.tokenizer)
            return None if reason is None else Objection(f"--format gguf: {reason}")
        return None if kind == "merged" else padding_objection(task, "transformers or ONNX")

    def write_merged(self, model: Dense, folder: Path) -> None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        plain_models.save(plain_models.plain_model(self._task, model), folder)
        if isinstance(self._task, TextClassifier):
            assert model.head_bias is not None
            head = {plain_models.SCORE: model.head, "score.bias": model.head_bias}
            plain_models.add_to_file(folder / "model.safetensors", head)
        write_tokenizer(self._task, folder)

    def write_transformers(self, model: Dense, folder: Path) -> None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        made = plain_models.plain_model(self._task, model, self._final_norm)
        plain_models.save(made, folder)
        if self.head_code():
            pooled_head.write_head(model, folder)
        write_tokenizer(self._task, folder)

    def write_peft(self, model: Dense, folder: Path) -> None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        whole, prefix, task_type = self._saved_whole(model)
        write_adapters(
            folder,
            self._task,
            {n.removeprefix("model."): layer for n, layer in adapters(self._backbone).items()},
            whole,
            prefix=prefix,
            task_type=task_type,
            is_transposed=False,
            modules_to_save=sorted({name.rpartition(".")[0] for name in whole}),
        )
        if self.head_code():
            pooled_head.write_head(model, folder)
        write_tokenizer(self._task, folder)
        if hub_base(self._task) is None:
            base = plain_models.plain_model(self._task, dense(self._task, merge=False))
            plain_models.save(base, folder / BASE)
            write_tokenizer(self._task, folder / BASE)  # `pipeline` looks for it beside the base

    def write_tokenizer(self, folder: Path) -> None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        write_tokenizer(self._task, folder)

    def write_gguf(self, model: Dense, file: Path, name: str, quantization: str) -> None:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        gguf_model.write_gguf(self._task, model, file, name, quantization)

    def reloaded(self, folder: Path) -> FineTunedModel:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        task = self._task
        fields: dict[str, Any] = dict(task.hparams)
        own = {key: fields["model"].get(key) for key in ("dropout", "context_length")}
        model = HubModel(name="export", weights=str(folder), **own)
        found = locate(model)
        fields["model"] = architecture(model, found)
        fields["finetune"] = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}
        if not isinstance(task, TextClassifier):
            is_tied = bool(fields["model"]["config"].get("tie_word_embeddings", True))
            fields["task"] = fields["task"] | {"tie_weights": is_tied}
        again = type(task)(**fields)
        again.load_base(model, found)
        again.tokenizer = task.tokenizer
        return again.eval()

    def transformers_logits(self, folder: Path) -> list[Tensor]:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return self._logits(from_pretrained(self._class(), folder, **self._options()), folder)

    def peft_logits(self, folder: Path) -> list[Tensor]:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        task = self._task
        base = dense(task, merge=False)
        if (folder / BASE).is_dir():
            options = self._options()
            if isinstance(task, TextClassifier):
                options |= {"num_labels": len(base.head), "pad_token_id": task.tokenizer.pad_id}
            else:
                options |= {"tie_word_embeddings": base.is_tied}
            made = from_pretrained(self._class(), folder / BASE, is_whole=False, **options)
        else:
            made = plain_models.plain_model(task, base, self._final_norm)
        return self._logits(with_adapters(made, folder), folder)

    def read_gguf(self, file: Path, model: Dense) -> Dense:
        """See :class:`~llm_lightning.exporting.exporter.Exporter`."""
        return gguf_model.read_gguf(self._backbone, file, model)

    def _saved_whole(self, model: Dense) -> tuple[dict[str, Tensor], str, str]:
        """What is saved beside the adapters, the prefix of the base's names, and PEFT's task."""
        if not isinstance(self._task, TextClassifier):
            made = plain_models.plain_model(self._task, model)
            name = f"{plain_models.output_embedding_name(made)}.weight"
            whole = {} if model.is_tied else {name: model.head}
            return whole, f"{made.base_model_prefix}.", "CAUSAL_LM"
        if self._final_norm is None:
            return {}, "", "FEATURE_EXTRACTION"
        made = plain_models.plain_model(self._task, model, self._final_norm)
        norm = self._final_norm.removeprefix("model.").removesuffix("bias")
        names = [
            plain_models.SCORE,
            *(f"{made.base_model_prefix}.{norm}{k}" for k in ("weight", "bias")),
        ]
        state = made.state_dict()
        return {name: state[name] for name in names}, f"{made.base_model_prefix}.", "SEQ_CLS"

    def _logits(self, made: Any, folder: Path) -> list[Tensor]:
        if self.head_code():
            return pooled_head.logits(cast(TextClassifier, self._task), made, folder)
        return transformers_logits(made, self._task)

    def _class(self) -> Any:
        import transformers

        return getattr(transformers, self.auto_class())

    def _options(self) -> dict[str, Any]:
        """Without a pooling layer, which the run's base does not have, where there could be one."""
        has_option = (
            self.auto_class() == "AutoModel" and "add_pooling_layer" in self._backbone.options
        )
        return {"add_pooling_layer": False} if has_option else {}


def _final_norm(task: FineTunedModel, backbone: TransformersBackbone) -> str | None:
    """The bias of the backbone into which a classifier's moves; ``None`` if it has its own head."""
    if not isinstance(task, TextClassifier) or task.pooling != "last_real":
        return None
    # The family's class finds the last token by its not being padding.
    is_found = backbone.is_causal and task.tokenizer.pad_id not in task.tokenizer.suffix
    has_room = len(task.hparams["class_names"]) <= backbone.hidden_size
    if not (is_found and has_room and plain_models.has_plain_score(backbone)):
        return None
    return plain_models.final_norm_bias(backbone)
