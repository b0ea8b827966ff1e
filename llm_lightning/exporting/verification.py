"""Whether an export computes the same as the run: the largest difference of logits."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llm_lightning.backbone.checkpoint import CONFIG_NAME, described, to_transformers
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, encode
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.exporting.dense import Dense
from llm_lightning.exporting.libraries import quiet
from llm_lightning.exporting.output_folder import BASE
from llm_lightning.exporting.tokenizer_files import max_length
from llm_lightning.exporting.transformers_folder import head_config
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task

TOLERANCE = 1e-3
"""Largest difference of logits allowed for a format in full precision."""

# Texts of different lengths, so that mistakes with padding show.
SAMPLES = (
    "ok",
    "see you at 7?",
    "WINNER!! You have been chosen for a prize of £1000. Call 09061701461 now to claim.",
    "I'm at the station, the train is late again. Shall we meet in the café instead?",
    "The quick brown fox jumps over the lazy dog. " * 12,
)


@dataclass
class LogitDifference:
    """How far logits are from the run's."""

    what: str
    """What computed them."""
    difference: float
    """The largest absolute one; NaN if any logit is."""
    limit: float
    """The largest allowed; infinite if it need only be finite."""

    @property
    def is_close(self) -> bool:
        """Whether the difference is within its limit; NaN and infinity never are."""
        return math.isfinite(self.difference) and self.difference <= self.limit


def sample_batch(length: int) -> tuple[Int[Tensor, "B T"], Int[Tensor, " B"]]:
    """Returns (B, T) ids of ``SAMPLES``, padded on the right, and their (B,) lengths.

    Args:
        length: most tokens of a text.
    """
    rows = [encode(text)[:length] for text in SAMPLES]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), END_OF_TEXT_ID)
    for row, own in zip(ids, rows, strict=True):
        row[: len(own)] = torch.tensor(own)
    return ids, lengths


@torch.no_grad()
def logits_of(task: Task) -> list[Float[Tensor, "..."]]:
    """Returns each sample's logits: (classes,) of a classifier, (tokens, V) of a language model."""
    ids, lengths = sample_batch(max_length(task))
    if isinstance(task, Classifier):
        return list(task(ids, lengths))
    return _unpadded(task(ids), lengths)


@torch.no_grad()
def transformers_logits(model: nn.Module, task: Task) -> list[Float[Tensor, "..."]]:
    """Returns the same of a transformers model, with its own treatment of padding.

    Args:
        model: a transformers model.
        task: the run's, for the length of the samples and the kind of model.
    """
    ids, lengths = sample_batch(max_length(task))
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    logits = model(input_ids=ids, attention_mask=mask).logits
    return list(logits) if isinstance(task, Classifier) else _unpadded(logits, lengths)


def largest_difference(
    ours: list[Float[Tensor, "..."]], theirs: list[Float[Tensor, "..."]]
) -> float:
    """Returns the largest absolute difference; NaN if any logit is.

    Args:
        ours: logits of each sample.
        theirs: of the same shapes.
    """
    pairs = zip(ours, theirs, strict=True)
    # torch's max propagates NaN, Python's does not.
    return float(torch.stack([(a.float() - b.float()).abs().max() for a, b in pairs]).max())


def reloaded(task: Task, folder: Path) -> Task:
    """Loads an exported folder as ``model.weights=<folder>`` does."""
    fields: dict[str, Any] = dict(task.hparams)
    model = ModelConfig(**_architecture(task.backbone.config), weights=str(folder))
    fields["model"] = model.architecture() | {"init": "empty"}
    fields["finetune"] = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}
    if isinstance(task, LanguageModel):
        fields["task"] = fields["task"] | {"tie_weights": not _has_untied_head(folder)}
    again = type(task)(**fields)
    again.load_base(model, locate(model))
    return again.eval()


def through_transformers(task: Task, folder: Path) -> nn.Module:
    """Loads an exported folder with transformers.

    Raises:
        ValueError: if transformers reports missing or unexpected keys.
    """
    loaded, info = _from_pretrained(task, folder)
    if wrong := {key: value for key, value in info.items() if value}:
        raise ValueError(f"transformers does not load {folder.name} as it is: {wrong}")
    return loaded


def through_peft(task: Task, base: Dense, folder: Path) -> nn.Module:
    """Loads an exported adapter with PEFT, on the base it was trained on.

    Args:
        task: the run's.
        base: the weights before training; ignored where the export contains them.
        folder: the adapter's.
    """
    with quiet():
        import peft
        from transformers import GPT2Config

        head = head_config(task, base)
        if (folder / BASE).is_dir():
            model: Any = _from_pretrained(task, folder / BASE, **head)[0]
        else:
            model = _transformers_class(task)(GPT2Config(**described(base.config) | head))
            model.transformer.load_state_dict(to_transformers(base.backbone))
            model.tie_weights()
        loaded: nn.Module = peft.PeftModel.from_pretrained(model, folder).eval()
    return loaded


def _from_pretrained(task: Task, folder: Path, **config: Any) -> tuple[nn.Module, dict[str, Any]]:
    with quiet():
        from transformers import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # loading takes no time
        config.pop("architectures", None)
        kind = _transformers_class(task)
        model, info = kind.from_pretrained(folder, output_loading_info=True, **config)
        return model.eval(), info


def _transformers_class(task: Task) -> Any:
    from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel

    return GPT2ForSequenceClassification if isinstance(task, Classifier) else GPT2LMHeadModel


def _unpadded(
    logits: Float[Tensor, "B T V"], lengths: Int[Tensor, " B"]
) -> list[Float[Tensor, "T_own V"]]:
    return [row[:length] for row, length in zip(logits, lengths, strict=True)]


def _architecture(config: GPTConfig) -> dict[str, Any]:
    return asdict(config) | {"init": "gpt2"}


def _has_untied_head(folder: Path) -> bool:
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    return not config["tie_word_embeddings"]
