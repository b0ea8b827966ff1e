"""A folder for transformers' ``from_pretrained`` and this package's ``model.weights``."""

import json
from pathlib import Path
from typing import Any

from llm_lightning.backbone.checkpoint import described, to_transformers, write_folder
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID
from llm_lightning.exporting.dense import Dense, with_bias_in_norm
from llm_lightning.exporting.gpt2.tokenizer_files import write_tokenizer
from llm_lightning.exporting.samples import max_length
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.text_classifier import TextClassifier


def write_merged(task: FineTunedModel, model: Dense, folder: Path) -> None:
    """Writes ``model.safetensors`` and ``config.json``, adapters merged in.

    A classifier's bias moves into the final LayerNorm, because the format's head has none.

    Args:
        task: the run's.
        model: its plain weights.
        folder: created if it does not exist.
    """
    tensors = {
        f"transformer.{name}": value
        for name, value in to_transformers(with_bias_in_final_norm(model).backbone).items()
    }
    if isinstance(task, TextClassifier):
        tensors["score.weight"] = model.head
    elif not model.is_tied:
        tensors["lm_head.weight"] = model.head
    write_folder(folder, tensors, described(model.config) | head_config(task, model))


def write_transformers(task: FineTunedModel, model: Dense, folder: Path) -> None:
    """Writes weights, configuration and tokenizer; see :func:`write_merged`."""
    write_merged(task, model, folder)
    write_tokenizer(folder, max_length(task))
    if not isinstance(task, TextClassifier):
        ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), END_OF_TEXT_ID)
        text = json.dumps(ids, indent=2)
        (folder / "generation_config.json").write_text(text + "\n", encoding="utf-8")


def head_config(task: FineTunedModel, model: Dense) -> dict[str, Any]:
    """Returns the fields of ``config.json`` that describe the head."""
    if isinstance(task, TextClassifier):
        names = task.hparams["class_names"]
        return {
            "architectures": ["GPT2ForSequenceClassification"],
            "num_labels": len(names),
            "id2label": {str(index): name for index, name in enumerate(names)},
            "label2id": {name: index for index, name in enumerate(names)},
            "problem_type": "single_label_classification",
            "pad_token_id": END_OF_TEXT_ID,
            "tie_word_embeddings": False,
        }
    return {
        "architectures": ["GPT2LMHeadModel"],
        "pad_token_id": END_OF_TEXT_ID,
        "tie_word_embeddings": model.is_tied,
    }


def with_bias_in_final_norm(model: Dense) -> Dense:
    """Moves a classifier's bias into ``ln_f``; see :func:`~llm_lightning.exporting.dense`."""
    return with_bias_in_norm(model, "ln_f.bias")
