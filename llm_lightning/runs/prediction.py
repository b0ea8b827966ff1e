"""New texts, classified as a run classified its test split."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llm_lightning.data.batching import Padder
from llm_lightning.tasks.classifier import Classifier

BATCH_SIZE = 32


@dataclass
class Prediction:
    """The prediction for one text."""

    text: str
    label: str
    """The most probable class."""
    probability: float
    """Probability of ``label``."""
    probabilities: dict[str, float]
    """Probability of every class."""
    truncated: bool
    """Whether the text was longer than the run's ``max_length`` and was cut as in training."""


@torch.inference_mode()
def predict(model: Classifier, texts: Sequence[str]) -> list[Prediction]:
    """Classifies texts with the tokenization, truncation and padding of the model's run.

    Args:
        model: in evaluation mode.
        texts: any strings, empty ones included.

    Returns:
        One prediction a text, in their order.
    """
    padder = Padder(**model.hparams["text"])
    class_names: list[str] = model.hparams["class_names"]
    token_ids = [model.tokenizer.encode(text) for text in texts]
    examples = padder.examples(token_ids)
    step = 1 if padder.padding == "none" else BATCH_SIZE
    probabilities: list[list[float]] = []
    for start in range(0, len(examples), step):
        batch = padder.collate(examples[start : start + step])
        logits = model(batch.input_ids.to(model.device), batch.lengths.to(model.device))
        probabilities += logits.float().softmax(dim=-1).tolist()
    predictions = []
    for text, ids, row in zip(texts, token_ids, probabilities, strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        by_name = dict(zip(class_names, row, strict=True))
        truncated = padder.truncates(ids)
        predictions.append(Prediction(text, class_names[best], row[best], by_name, truncated))
    return predictions


def best_device() -> torch.device:
    """Returns the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
