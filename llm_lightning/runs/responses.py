"""Responses to a run's test instructions: generated, written, scored."""

import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from llm_lightning.data.instructions import Instructions
from llm_lightning.data.records import read_records
from llm_lightning.evaluation.responses import generate_responses
from llm_lightning.evaluation.text_scores import score_responses, summarize_scores
from llm_lightning.run_format import files
from llm_lightning.run_format.atomic_files import replacing
from llm_lightning.run_format.run_facts import ResponseFacts
from llm_lightning.run_format.summary import Summary
from llm_lightning.runs.generation import prompts_of
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.training.precision import AUTO, resolve


def ready_to_generate(model: LanguageModel, device: torch.device, trained_in: str) -> LanguageModel:
    """Moves a model to the device where it generates, for good.

    Weights become bf16 if the run trained in it and the device computes in it natively: each token
    reads every weight once, and half as many bytes take half the time.

    Args:
        model: will train no more.
        device: where to compute.
        trained_in: Lightning's name of the run's precision, as in its summary.
    """
    model = model.to(device).eval()
    is_native = resolve(AUTO, device.type).startswith("bf16")
    return model.bfloat16() if is_native and trained_in.startswith("bf16") else model


def precision_of(model: LanguageModel) -> str:
    """Returns what a model's weights are in: ``fp32``, ``bf16``, or torch's name."""
    name = str(next(model.parameters()).dtype).removeprefix("torch.")
    return {"float32": "fp32", "bfloat16": "bf16"}.get(name, name)


def respond(model: LanguageModel, device: torch.device, summary: Summary, folder: Path) -> Summary:
    """Generates and scores responses to the test split of a run that is trained.

    An interrupted call is continued by the next one.

    Args:
        model: the run's.
        device: where to compute.
        summary: of the run.
        folder: the run's, whose ``splits/test.json`` holds the records.

    Returns:
        The summary with the facts about the responses; it is not written yet.

    Raises:
        KeyboardInterrupt: with a message on how to continue.
    """
    started = time.perf_counter()
    try:
        ready = ready_to_generate(model, device, summary.precision)
        scores, num_tokens = _generate_and_score(
            ready, folder, files.RESPONSES, files.RESPONSE_SCORES
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "while generating responses; the same command continues, as does\n"
            f'python -m llm_lightning generate "{folder}" --responses'
        ) from None
    seconds = time.perf_counter() - started
    untrained = folder / files.UNTRAINED_SCORES
    summary.responses = ResponseFacts.model_validate(
        {
            "file": files.RESPONSES,
            "examples": len(next(iter(scores.values()))),
            "scores": summarize_scores(scores),
            "untrained_scores": _read_scores(untrained) if untrained.is_file() else None,
            "seconds": seconds,
            "tokens_per_second": num_tokens / seconds,
            "precision": precision_of(ready),
        }
    )
    return summary


def respond_untrained(model: LanguageModel, data: Any, folder: Path) -> None:
    """Generates and scores responses to the test split before fine-tuning, unless that was done.

    Args:
        model: with its pretrained weights; stays as it is.
        data: after ``setup``; other data than instructions have no responses.
        folder: the run's, with its splits written.
    """
    if isinstance(data, Instructions) and not (folder / files.UNTRAINED_SCORES).is_file():
        _generate_and_score(model, folder, files.UNTRAINED_RESPONSES, files.UNTRAINED_SCORES)


def _generate_and_score(
    model: LanguageModel, folder: Path, responses_name: str, scores_name: str
) -> tuple[dict[str, list[float]], int]:
    records = read_records(folder / files.SPLITS_FOLDER / files.split_file("test", "instructions"))
    responses, num_tokens = generate_responses(
        model.backbone,
        model.head,
        records,
        prompts_of(model),
        model.options.generation,
        folder / responses_name,
    )
    scores = score_responses([record.output for record in records], responses)
    table = pd.DataFrame(scores)
    with replacing(folder / scores_name) as new:
        table.to_csv(new, index_label=files.INDEX, lineterminator="\n")
    return scores, num_tokens


def _read_scores(file: Path) -> Any:
    table = pd.read_csv(file, index_col=files.INDEX)
    return summarize_scores({str(name): table[name].tolist() for name in table})
