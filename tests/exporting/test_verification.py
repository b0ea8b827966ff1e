"""Differences are seen, wherever they are."""

import math
from pathlib import Path

import pytest
import torch
from exporting.tasks_to_export import classifier, language_model
from safetensors.torch import load_file, save_file

from llm_lightning.exporting.dense import dense, rebuilt
from llm_lightning.exporting.families import exporter_of
from llm_lightning.exporting.gpt2.transformers_folder import write_merged
from llm_lightning.exporting.samples import SAMPLES, sample_batch
from llm_lightning.exporting.verification import (
    TOLERANCE,
    LogitDifference,
    largest_difference,
    logits_of,
)
from llm_lightning.tasks.task import Task

NAN = math.nan


def test_the_largest_difference_of_all() -> None:
    ours = [torch.zeros(2), torch.zeros(3, 2)]
    theirs = [torch.tensor([0.25, 0.0]), torch.tensor([[0.0, 0.0], [0.0, -2.0], [1.0, 0.0]])]
    assert largest_difference(ours, theirs) == 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nan_is_never_agreement_wherever_it_is(place: int) -> None:
    theirs = [torch.zeros(2) for _ in range(3)]
    theirs[place] = torch.tensor([0.0, NAN])
    assert math.isnan(largest_difference([torch.zeros(2)] * 3, theirs))


@pytest.mark.parametrize(
    ("difference", "limit", "is_close"),
    [
        (1e-3, TOLERANCE, True),
        (1.001e-3, TOLERANCE, False),
        (5.0, math.inf, True),
        (NAN, math.inf, False),
        (math.inf, math.inf, False),
    ],
)
def test_only_numbers_within_the_limit_are_close(
    difference: float, limit: float, is_close: bool
) -> None:
    assert LogitDifference("this", difference, limit).is_close is is_close


def test_samples_are_of_different_lengths_and_padded() -> None:
    ids, lengths = sample_batch(classifier())
    assert ids.shape == (len(SAMPLES), 32)
    assert len(set(lengths.tolist())) == len(SAMPLES)
    assert lengths.max() == 32
    short = classifier(text={"max_length": 3, "padding": "batch"})
    assert sample_batch(short)[0].shape == (len(SAMPLES), 3)


@pytest.mark.parametrize("task", [classifier(), language_model()], ids=["classifier", "language"])
def test_a_model_in_plain_tensors_is_the_same_to_the_bit(task: Task) -> None:
    assert largest_difference(logits_of(task), logits_of(rebuilt(task, dense(task)))) == 0


@pytest.mark.parametrize(
    "name", ["transformer.wpe.weight", "transformer.h.2.mlp.c_fc.bias", "score.weight"]
)
def test_one_wrong_tensor_is_seen(name: str, tmp_path: Path) -> None:
    task = classifier()
    write_merged(task, dense(task), tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors[name] = tensors[name] + 0.01 * torch.randn_like(tensors[name])
    save_file(tensors, file)
    assert (
        largest_difference(logits_of(task), logits_of(exporter_of(task).reloaded(tmp_path)))
        > TOLERANCE
    )
