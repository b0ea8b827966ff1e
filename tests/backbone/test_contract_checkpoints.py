"""A checkpoint contains what trains; over its base it gives the same logits, over another none."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from contract import (
    ALL,
    DECODERS,
    LAST_BLOCK,
    LORA,
    QLORA,
    batch,
    classifier,
    language_model,
    pretraining_head,
    save,
    trainable,
)
from contract_families import FAMILIES
from torch import Tensor

from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.task import Task

Folders = Callable[[str], Path]
STRATEGIES = {
    "last_block": LAST_BLOCK,
    "lora": LORA,
    "dora": LORA | {"dora": True, "head": "both"},
    "qlora": QLORA,
    "all": ALL,
}


@torch.no_grad()
def trained(task: Task) -> Task:
    """Changes everything that trains."""
    generator = torch.Generator().manual_seed(8)
    for parameter in task.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise.to(parameter.dtype), alpha=0.1)
    return task


def checkpoint(task: FineTunedModel) -> dict[str, Any]:
    """What Lightning would write and read, through a file."""
    values: dict[str, Any] = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(values)
    file = io.BytesIO()
    torch.save(values, file)
    file.seek(0)
    read: dict[str, Any] = torch.load(file, weights_only=True)
    return read


@torch.no_grad()
def logits(task: Task) -> Tensor:
    texts = batch()
    if isinstance(task, Classifier):
        return task(texts.input_ids, texts.lengths)
    return task(texts.input_ids)  # type: ignore[no-any-return]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_gives_identical_logits(folder_of: Folders, name: str, strategy: str) -> None:
    family, finetune = FAMILIES[name], STRATEGIES[strategy]
    task = trained(classifier(family, folder_of(name), finetune))
    written = checkpoint(task)
    assert set(written["state_dict"]) == trainable(task)
    again = classifier(family, folder_of(name), finetune)
    assert not torch.equal(logits(again), logits(task))
    again.load_trained(written)
    assert torch.equal(logits(again), logits(task))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", DECODERS)
def test_a_language_models_head_comes_back(folder_of: Folders, name: str, tied: bool) -> None:
    family = FAMILIES[name]
    if tied and not family.is_tied:
        with pytest.raises(ValueError, match=r"would discard it: set task\.tie_weights=false"):
            language_model(family, folder_of(name), tied=True)
        return
    task = trained(language_model(family, folder_of(name), tied=tied))
    written = checkpoint(task)
    again = language_model(family, folder_of(name), tied=tied)
    again.load_trained(written)
    assert torch.equal(logits(again), logits(task))
    assert (again.head.weight is again.backbone.input_embedding.weight) == tied


@pytest.mark.parametrize("name", FAMILIES)
def test_another_base_is_refused(folder_of: Folders, name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    written = checkpoint(classifier(family, folder_of(name)))
    save(family, pretraining_head(family), tmp_path / "other", seed=99)
    other = classifier(family, tmp_path / "other")
    with pytest.raises(ValueError, match="the weights there have changed"):
        other.load_trained(written)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_architecture_is_plain_and_rebuilds_the_model(folder_of: Folders, name: str) -> None:
    from llm_lightning.backbone.families import build

    made = classifier(FAMILIES[name], folder_of(name)).backbone
    again = build(made.architecture())
    assert again.architecture() == made.architecture()
    shapes = [
        {name: tuple(value.shape) for name, value in model.state_dict().items()}  # type: ignore[attr-defined]
        for model in (made, again)
    ]
    assert shapes[0] == shapes[1]
    is_plain(made.architecture())


def is_plain(value: Any) -> None:
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        for part in value.values():
            is_plain(part)
    elif isinstance(value, list | tuple):
        for part in value:
            is_plain(part)
    else:
        assert value is None or type(value) in (bool, int, float, str), value
