"""Texts on which an export is compared with its run."""

import torch
from jaxtyping import Int
from torch import Tensor

from llm_lightning.data.batching import Padder
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.text_classifier import TextClassifier

# Texts of different lengths, so that mistakes with padding show.
SAMPLES = (
    "ok",
    "see you at 7?",
    "WINNER!! You have been chosen for a prize of £1000. Call 09061701461 now to claim.",
    "I'm at the station, the train is late again. Shall we meet in the café instead?",
    "The quick brown fox jumps over the lazy dog. " * 12,
)


def max_length(task: FineTunedModel) -> int:
    """Returns a task's longest input, in tokens: its context, or a lower ``max_length``."""
    context = task.backbone.context_length
    length: int = task.hparams["text"].get("max_length", context)
    return min(length, context)


def sample_rows(task: FineTunedModel) -> list[list[int]]:
    """Returns the token ids of each sample, with special tokens as in training."""
    ids = [task.tokenizer.encode(text) for text in SAMPLES]
    if isinstance(task, TextClassifier):
        padder = Padder(**task.hparams["text"] | {"max_length": max_length(task)})
        return [padder.whole(text) for text in ids]
    return [[*task.tokenizer.prefix, *row][: max_length(task)] for row in ids]


def sample_batch(task: FineTunedModel) -> tuple[Int[Tensor, "B T"], Int[Tensor, " B"]]:
    """Returns (B, T) ids of the samples, padded on the right, and their (B,) lengths."""
    rows = sample_rows(task)
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), task.tokenizer.pad_id)
    for row, own in zip(ids, rows, strict=True):
        row[: len(own)] = torch.tensor(own)
    return ids, lengths
