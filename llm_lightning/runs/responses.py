"""Answers to a run's test split: generated, written, scored."""

import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from llm_lightning.runs import folder as run_folder
from llm_lightning.data.records import read_records
from llm_lightning.run_format.files import RESPONSES
from llm_lightning.evaluation.responses import generate_responses
from llm_lightning.evaluation.text_scores import score_responses, summarize_scores
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.training.precision import AUTO, resolve


def ready_to_answer(model: LanguageModel, device: torch.device, trained_in: str) -> LanguageModel:
    """Moves a model to where it answers, for good.

    Weights become bf16 if the run trained in it and the device computes in it natively: a token
    costs one look at every weight, and half as many bytes are read in half the time.

    Args:
        model: will train no more.
        device: that is to do the work.
        trained_in: Lightning's name of the run's precision, as in its summary.
    """
    model = model.to(device).eval()
    is_native = resolve(AUTO, device.type).startswith("bf16")
    return model.bfloat16() if is_native and trained_in.startswith("bf16") else model


def answer_test_split(model: LanguageModel, folder: Path) -> dict[str, Any]:
    """Answers the test split of a run and scores the answers against the references.

    An interrupted call is continued by the next one.

    Args:
        model: the run's model, as :func:`ready_to_answer` returns it.
        folder: the run's folder, whose ``splits/test.json`` holds the records.

    Returns:
        What the summary says about the answers: ``file``, ``examples``, ``scores``, and
        ``seconds`` and ``tokens_per_second`` of this call.
    """
    records = read_records(folder / run_folder.SPLITS / "test.json")
    started = time.perf_counter()
    responses, num_tokens = generate_responses(
        model.backbone,
        model.head,
        records,
        model.hparams["text"]["prompt_style"],
        model.options.generation,
        folder / RESPONSES,
    )
    seconds = time.perf_counter() - started
    scores = score_responses([record.output for record in records], responses)
    table = pd.DataFrame(scores)
    table.to_csv(folder / run_folder.ANSWER_SCORES, index_label="index", lineterminator="\n")
    return {
        "file": RESPONSES,
        "examples": len(records),
        "scores": summarize_scores(scores),
        "seconds": seconds,
        "tokens_per_second": num_tokens / seconds,
    }
