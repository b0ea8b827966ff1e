"""Adapters for PEFT on the Hub's GPT-2, whose projections are ``Conv1D``."""

from pathlib import Path

from torch import Tensor

from llm_lightning.backbone.checkpoint import described, to_transformers, write_folder
from llm_lightning.exporting.adapter_files import hub_base, write_adapters
from llm_lightning.exporting.dense import Dense, dense
from llm_lightning.exporting.gpt2.tokenizer_files import write_tokenizer
from llm_lightning.exporting.gpt2.transformers_folder import head_config, with_bias_in_final_norm
from llm_lightning.exporting.output_folder import BASE
from llm_lightning.exporting.samples import max_length
from llm_lightning.finetuning.lora import adapters
from llm_lightning.finetuning.strategies import as_module
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.text_classifier import TextClassifier


def write_peft(task: FineTunedModel, model: Dense, folder: Path) -> None:
    """Writes ``adapter_config.json``, ``adapter_model.safetensors`` and the tokenizer.

    The head is saved whole, its own adapter merged; a classifier's bias moves into the final
    LayerNorm, which is saved too.

    A base that is not on the Hub is written into a folder inside this one.

    Args:
        task: accepted by :func:`~llm_lightning.exporting.suitability.check_can`.
        model: its plain weights, adapters merged.
        folder: created if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = saved_whole(task, model)
    write_adapters(
        folder,
        task,
        adapters(as_module(task.backbone)),
        whole,
        prefix="transformer.",
        task_type="SEQ_CLS" if isinstance(task, TextClassifier) else "CAUSAL_LM",
        is_transposed=True,
        modules_to_save=sorted({name.split(".")[-2] for name in whole}),
    )
    write_tokenizer(folder, max_length(task))
    if hub_base(task) is None:
        _write_base(task, model, dense(task, merge=False), folder / BASE)


def saved_whole(task: FineTunedModel, model: Dense) -> dict[str, Tensor]:
    """Returns the parameters that are saved in full, by their names in transformers."""
    if isinstance(task, TextClassifier):
        backbone = with_bias_in_final_norm(model).backbone
        return {
            "score.weight": model.head,
            "transformer.ln_f.weight": backbone["ln_f.weight"],
            "transformer.ln_f.bias": backbone["ln_f.bias"],
        }
    return {} if model.is_tied else {"lm_head.weight": model.head}


def _write_base(task: FineTunedModel, model: Dense, base: Dense, folder: Path) -> None:
    tensors = {f"transformer.{k}": value for k, value in to_transformers(base.backbone).items()}
    # Its head, unless tied to the embedding, is saved with the adapter, and replaces this one's.
    write_folder(folder, tensors, described(base.config) | head_config(task, model))
    write_tokenizer(folder, max_length(task))  # `pipeline` looks for it beside the base
