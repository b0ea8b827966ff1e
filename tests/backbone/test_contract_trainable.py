"""Every strategy trains exactly what it says: names, gradients and what changes in a step."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from contract import (
    ALL,
    DECODERS,
    LAST_BLOCK,
    LAST_LAYER,
    LORA,
    QLORA,
    ROOM,
    batch,
    classifier,
    language_model,
    trainable,
)
from contract_families import BLOCKS, FAMILIES, Family
from torch import nn

from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.tasks.task import Task

Folders = Callable[[str], Path]
Names = Callable[[Family], set[str]]


def blocks(*indices: int, final: bool = True) -> Names:
    """The parameters of some blocks, of what follows the last one, and of the head."""

    def names(family: Family) -> set[str]:
        chosen = {
            f"backbone.{name}"
            for name in family.parameters()
            if family.block_of(name) in indices or (final and family.is_final(name))
        }
        return chosen | {"head.weight", "head.bias"}

    return names


def everything(family: Family) -> set[str]:
    return {f"backbone.{name}" for name in family.parameters()} | {"head.weight", "head.bias"}


def adapters(*parts: str, roles: tuple[str, ...], only: range = range(BLOCKS)) -> Names:
    """Parts of the adapters of the layers with some roles, and the head."""

    def names(family: Family) -> set[str]:
        layers = [layer for block in only for layer in family.layers_of(block, *roles)]
        adapted = {f"backbone.{layer}.lora_{part}" for layer in layers for part in parts}
        return adapted | {"head.weight", "head.bias"}

    return names


EVERY = ("q", "k", "v", "out", "fc1", "fc2")
STRATEGIES: dict[str, tuple[dict[str, Any], Names]] = {
    "last_layer": (LAST_LAYER, blocks(final=False)),
    "last_layer_and_norm": (LAST_LAYER | {"train_final_norm": True}, blocks()),
    "last_block": (LAST_BLOCK, blocks(2)),
    "last_two_blocks": (LAST_BLOCK | {"num_blocks": 2}, blocks(1, 2)),
    "chosen_blocks": (
        {"_target_": f"{ROOM}.strategies.ChosenBlocks", "blocks": [0, 2]}
        | {"train_final_norm": False},
        blocks(0, 2, final=False),
    ),
    "all": (ALL, everything),
    "lora": (LORA, adapters("A", "B", roles=EVERY)),
    "lora_on_few": (
        LORA | {"targets": ["q", "v"], "blocks": 2},
        adapters("A", "B", roles=("q", "v"), only=range(1, 3)),
    ),
    "dora": (LORA | {"dora": True}, adapters("A", "B", "magnitude", roles=EVERY)),
    "qlora": (QLORA, adapters("A", "B", roles=EVERY)),
}


def loss(task: Task) -> torch.Tensor:
    texts = batch()
    if hasattr(task, "class_weights"):
        return task(texts.input_ids, texts.lengths).sin().sum()  # type: ignore[no-any-return]
    return task(texts.input_ids).sin().mean()  # type: ignore[no-any-return]


def check_training(task: Task) -> None:
    """Gradients are where something trains, and two steps change exactly that."""
    task.train()
    before = {name: parameter.detach().clone() for name, parameter in task.named_parameters()}
    optimizer = task.optim.optimizer(task.parameters(), fused=False)
    for _ in range(2):  # the first one leaves A as it is, because B is 0
        optimizer.zero_grad()
        loss(task).backward()
        with_gradient = {name for name, p in task.named_parameters() if p.grad is not None}
        assert with_gradient == trainable(task)
        optimizer.step()
    changed = {name for name, p in task.named_parameters() if not torch.equal(p, before[name])}
    assert changed == trainable(task)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_strategy_trains_exactly_its_parameters(
    folder_of: Folders, name: str, strategy: str
) -> None:
    fields, names = STRATEGIES[strategy]
    made = classifier(FAMILIES[name], folder_of(name), fields)
    assert trainable(made) == names(FAMILIES[name])
    check_training(made)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_table_of_parts_counts_every_parameter_once(folder_of: Folders, name: str) -> None:
    family = FAMILIES[name]
    made = classifier(family, folder_of(name), LAST_BLOCK)
    groups = {group.name: group for group in parameter_groups(made)}
    assert sum(group.total for group in groups.values()) == count(made.parameters())
    trains = [parameter for parameter in made.parameters() if parameter.requires_grad]
    assert sum(group.trainable for group in groups.values()) == count(trains)
    blocks = f"backbone.{family.inside}{family.blocks}"
    sizes = [count(block.parameters()) for block in made.backbone.blocks]
    # ModernBERT's first block has no norm before attention.
    first = ["0-1"] if sizes[0] == sizes[1] else ["0", "1"]
    found = {part for part in groups if part.startswith(blocks)}
    assert found == {f"{blocks}.{indices}" for indices in (*first, "2")}
    last = groups[f"{blocks}.2"]
    assert last.trainable == last.total == sizes[2]


def count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


@pytest.mark.parametrize("strategy", ["last_block", "all", "lora"])
@pytest.mark.parametrize("name", DECODERS)
def test_a_tied_head_trains_with_the_embedding(
    folder_of: Folders, name: str, strategy: str
) -> None:
    fields, names = STRATEGIES[strategy]
    made = language_model(FAMILIES[name], folder_of(name), fields, tied=False)
    assert trainable(made) == names(FAMILIES[name]) - {"head.bias"}
    if not FAMILIES[name].is_tied:
        return
    tied = language_model(FAMILIES[name], folder_of(name), fields, tied=True)
    # named_parameters() gives a shared tensor the name that comes first, the embedding's.
    assert trainable(tied) == names(FAMILIES[name]) - {"head.weight", "head.bias"}
    embedding = tied.backbone.input_embedding.weight
    assert tied.head.weight is embedding
    assert embedding.requires_grad == (strategy == "all")
    check_training(tied)


@pytest.mark.parametrize("name", DECODERS)
def test_a_tied_head_cannot_train_alone(folder_of: Folders, name: str) -> None:
    if FAMILIES[name].is_tied:
        with pytest.raises(ValueError, match="the head alone cannot train"):
            language_model(FAMILIES[name], folder_of(name), LAST_LAYER)
