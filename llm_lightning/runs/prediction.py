"""New texts, classified as a run classified its test split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm_lightning.backbone.faster_products import faster_products
from llm_lightning.data.batching import Padder
from llm_lightning.evaluation.decisions import MOST_PROBABLE, Decision
from llm_lightning.run_format.summary import Summary
from llm_lightning.tasks.text_classifier import TextClassifier

BATCH_SIZE = 32


@dataclass
class Prediction:
    """The prediction for one text."""

    text: str
    label: str
    """The run's decision if it fitted one, else the most probable class."""
    probability: float
    """Probability of ``label``."""
    abstained: bool
    """Whether the run's decision is left to people; ``label`` is then no more than a guess."""
    probabilities: dict[str, float]
    """Probability of every class, after temperature scaling if the run fitted a decision."""
    truncated: bool
    """Whether the text was longer than the run's ``max_length`` and was cut as in training."""
    empty: bool
    """Whether there is nothing but white space in the text: the label says nothing about it."""
    raw_label: str | None = None
    """The most probable class; ``None`` where there is no decision, and it is ``label``."""
    raw_probabilities: dict[str, float] | None = None
    """Before temperature scaling; ``None`` where there is no decision."""

    def fields(self) -> dict[str, Any]:
        """Returns the fields by name, without those that need a decision where there is none."""
        return {name: value for name, value in vars(self).items() if value is not None}


@torch.inference_mode()
def predict(
    model: TextClassifier, texts: Sequence[str], decision: Decision | None = None
) -> list[Prediction]:
    """Classifies texts with the tokenization, truncation and padding of the model's run.

    Args:
        model: in evaluation mode.
        texts: any strings, empty ones included.
        decision: that the run fitted; ``None`` takes the most probable class.

    Returns:
        One prediction a text, in their order.
    """
    padder = Padder(**model.hparams["text"])
    class_names: list[str] = model.hparams["class_names"]
    token_ids = [model.tokenizer.encode(text) for text in texts]
    examples = padder.examples(token_ids)
    step = 1 if padder.padding == "none" else BATCH_SIZE
    if model.why_not_cacheable() is None:  # the padding of a batch cannot change a prediction
        examples.sort(key=len, reverse=True)
    raw = np.empty((len(texts), len(class_names)))
    for start in range(0, len(examples), step):
        batch = padder.collate(examples[start : start + step])
        with faster_products(int(batch.lengths.sum())):
            logits = model(batch.input_ids.to(model.device), batch.lengths.to(model.device))
        raw[batch.indices.numpy()] = logits.float().softmax(dim=-1).cpu().numpy()
    decided = (decision or MOST_PROBABLE).decide(raw)
    predictions = []
    for index, (text, ids) in enumerate(zip(texts, token_ids, strict=True)):
        found = Prediction(
            text=text,
            label=class_names[decided.labels[index]],
            probability=float(decided.confidence[index]),
            abstained=bool(decided.abstained[index]),
            probabilities=_by_name(class_names, decided.probabilities[index]),
            truncated=padder.truncates(ids),
            empty=not text.strip(),
        )
        if decision is not None:
            found.raw_label = class_names[raw[index].argmax()]
            found.raw_probabilities = _by_name(class_names, raw[index])
        predictions.append(found)
    return predictions


def decision_of(summary: Summary) -> Decision | None:
    """Returns the decision that a run's summary records, if there is one."""
    facts = summary.decision
    if facts is None:
        return None
    return Decision(
        facts.kind, facts.temperature, facts.threshold, facts.costs, facts.abstain_below
    )


def _by_name(class_names: Sequence[str], row: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(class_names, row.tolist(), strict=True))


def best_device() -> torch.device:
    """Returns the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
