"""A run's model as ``serve`` needs it: what computes, and what the server must know.

Loaded in the process of the model; what describes it travels to that of the server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import llm_lightning
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.prompts import Prompts
from llm_lightning.run_format.summary import Summary
from llm_lightning.runs.load import load_task, refuse_download
from llm_lightning.runs.prediction import best_device, decision_of, predict
from llm_lightning.runs.responses import precision_of, ready_to_generate
from llm_lightning.serving.model_process import Cancelled, Compute, Emit
from llm_lightning.serving.writing_batch import writes
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.text_classifier import TextClassifier

VERSION = f"llm_lightning-{llm_lightning.__version__}"


@dataclass
class ServedClassifier:
    """What the server knows of a classifier."""

    facts: dict[str, Any]
    """For /info."""
    can_share: bool
    """Whether texts of different requests may be in one batch."""


@dataclass
class ServedLanguageModel:
    """What the server knows of a language model."""

    facts: dict[str, Any]
    """For /info."""
    name: str
    tokenizer: Tokenizer
    context_length: int
    generation: GenerationOptions
    prompts: Prompts | None
    """Of a run that follows instructions."""


def load_served(
    run: Path, *, allow_download: bool = False
) -> tuple[Compute, ServedClassifier | ServedLanguageModel]:
    """Loads a run's model, on the GPU if there is one.

    Args:
        run: a run folder.
        allow_download: whether its base is fetched if it is not on this machine.

    Raises:
        ValueError: if it is not the folder of a finished run with a network.
        Unavailable: if the weights that it was trained on are no longer available.
    """
    task, summary = load_task(run, None if allow_download else refuse_download)
    if isinstance(task, TextClassifier):
        return _classifier(task, summary)
    assert isinstance(task, LanguageModel)
    return _language_model(task, summary)


def _classifier(model: TextClassifier, summary: Summary) -> tuple[Compute, ServedClassifier]:
    model = model.to(best_device())
    decide = partial(predict, model, decision=decision_of(summary))
    decide(["the first text takes longer than all others"])

    def classify(texts: Sequence[str], emit: Emit, cancelled: Cancelled) -> list[dict[str, Any]]:
        return [found.fields() for found in decide(texts)]

    facts = _facts(summary) | {
        "classes": model.hparams["class_names"],
        "decision": None if summary.decision is None else summary.decision.kind,
        "max_length": model.hparams["text"]["max_length"],
        "precision": "fp32",
        "device": str(model.device),
    }
    return classify, ServedClassifier(facts, model.why_not_cacheable() is None)


def _language_model(model: LanguageModel, summary: Summary) -> tuple[Compute, ServedLanguageModel]:
    model = ready_to_generate(model, best_device(), summary.precision)
    style, tokenizer = model.hparams["text"].get("prompt_style"), model.tokenizer
    prompts = None if style is None else Prompts(style, tokenizer)
    context_length = model.backbone.context_length
    facts = _facts(summary) | {
        "prompt_style": style,
        "context_length": context_length,
        "precision": precision_of(model),
        "device": str(model.device),
    }
    described = ServedLanguageModel(
        facts, summary.name, tokenizer, context_length, model.options.generation, prompts
    )
    return writes(model, tokenizer.end_id if prompts is None else prompts.stop_id), described


def _facts(summary: Summary) -> dict[str, Any]:
    return {
        "run": summary.name,
        "kind": summary.kind,
        "metrics": summary.metrics["test"],
        "fallbacks": summary.fallbacks,
        "server": VERSION,
    }
