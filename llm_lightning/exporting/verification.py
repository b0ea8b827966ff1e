"""Whether what was written computes what the run computes: the largest difference of logits."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llm_lightning.backbone.checkpoint import CONFIG_NAME, described, to_transformers
from llm_lightning.backbone.gpt2 import GPTConfig
from llm_lightning.backbone.pretrained import ModelConfig, locate
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, encode
from llm_lightning.exporting.dense import SAMPLES, Dense, rebuilt
from llm_lightning.exporting.transformers_folder import head_config
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task


def sample_batch(max_length: int) -> tuple[Tensor, Tensor]:
    """Returns (B, T) ids of texts of different lengths, padded on the right, and (B,) lengths."""
    rows = [encode(text)[:max_length] for text in SAMPLES]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), END_OF_TEXT_ID)
    for row, own in zip(ids, rows, strict=True):
        row[: len(own)] = torch.tensor(own)
    return ids, lengths


@torch.no_grad()
def logits_of(task: Task) -> list[Tensor]:
    """Logits for every sample: (classes,) of a classifier, (tokens, V) of a language model."""
    ids, lengths = sample_batch(_max_length(task))
    if isinstance(task, Classifier):
        return list(task(ids, lengths))
    return _unpadded(task(ids), lengths)


@torch.no_grad()
def transformers_logits(model: nn.Module, task: Task) -> list[Tensor]:
    """The same of a transformers model, with its own way to treat padding."""
    ids, lengths = sample_batch(_max_length(task))
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    logits = model(input_ids=ids, attention_mask=mask).logits
    return list(logits) if isinstance(task, Classifier) else _unpadded(logits, lengths)


def largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Returns the largest absolute difference."""
    pairs = zip(ours, theirs, strict=True)
    return max(float((a.float() - b.float()).abs().max()) for a, b in pairs)


def reloaded(task: Task, folder: Path) -> Task:
    """Loads an exported folder the way ``model.weights=<folder>`` does."""
    fields: dict[str, Any] = dict(task.hparams)
    model = ModelConfig(**_architecture(task.backbone.config), weights=str(folder))
    fields["model"] = model.architecture() | {"init": "empty"}
    fields["finetune"] = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}
    if isinstance(task, LanguageModel):
        fields["task"] = fields["task"] | {"tie_weights": not _has_own_head(folder)}
    again = type(task)(**fields)
    again.load_base(model, locate(model))
    return again.eval()


def through_transformers(task: Task, folder: Path) -> nn.Module:
    """Loads an exported folder with transformers.

    Raises:
        ValueError: if transformers reports keys that are missing or too many.
    """
    from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel, logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it loads in no time
    kind: Any = GPT2ForSequenceClassification if isinstance(task, Classifier) else GPT2LMHeadModel
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    if wrong := {key: value for key, value in info.items() if value}:
        raise ValueError(f"transformers does not take {folder} as it is: {wrong}")
    loaded: nn.Module = model.eval()
    return loaded


def through_peft(task: Task, base: Dense, folder: Path) -> nn.Module:
    """Puts an exported adapter onto the base it was trained on, with PEFT.

    Args:
        task: the run's.
        base: the weights before training.
        folder: the adapter's.
    """
    import peft
    from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

    config = GPT2Config(**described(base.config) | head_config(task, base))
    is_classifier = isinstance(task, Classifier)
    kind: Any = GPT2ForSequenceClassification if is_classifier else GPT2LMHeadModel
    model = kind(config)
    model.transformer.load_state_dict(to_transformers(base.backbone))
    model.tie_weights()
    loaded: nn.Module = peft.PeftModel.from_pretrained(model, folder).eval()
    return loaded


def merged_in_memory(task: Task, model: Dense) -> list[Tensor]:
    """Logits of the plain model, before anything was written."""
    return logits_of(rebuilt(task, model))


def _unpadded(logits: Tensor, lengths: Tensor) -> list[Tensor]:
    return [row[:length] for row, length in zip(logits, lengths, strict=True)]


def _max_length(task: Task) -> int:
    context: int = task.backbone.config.n_positions
    length: int = task.hparams["text"].get("max_length", context)
    return min(length, context)


def _architecture(config: GPTConfig) -> dict[str, Any]:
    return asdict(config) | {"init": "gpt2"}


def _has_own_head(folder: Path) -> bool:
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    return not config["tie_word_embeddings"]
