"""Heads and poolers of a checkpoint that nothing here uses are counted and named."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from contract import classifier, language_model, save
from contract_families import FAMILIES
from safetensors.torch import load_file, save_file

from llm_lightning.presentation.terminal import console
from llm_lightning.run_format.run_facts import WeightFacts
from llm_lightning.runs import terminal_start

Folders = Callable[[str], Path]


def test_heads_of_pretraining_and_poolers_are_named(folder_of: Folders, tmp_path: Path) -> None:
    family = FAMILIES["bert"]
    found = classifier(family, folder_of("bert")).unused_weights
    assert found
    assert all(name.startswith("cls.predictions.") for name in found)
    save(family, transformers.AutoModel, tmp_path / "pooled")
    found = classifier(family, tmp_path / "pooled").unused_weights
    assert found == ["pooler.dense.bias", "pooler.dense.weight"]


def test_a_head_that_is_used_or_tied_is_not_unused(folder_of: Folders, tmp_path: Path) -> None:
    llama, gpt2 = FAMILIES["llama"], FAMILIES["gpt2"]
    assert language_model(llama, folder_of("llama")).unused_weights == []
    assert classifier(llama, folder_of("llama")).unused_weights == ["lm_head.weight"]
    assert classifier(FAMILIES["qwen3"], folder_of("qwen3")).unused_weights == []
    assert classifier(gpt2, folder_of("gpt2")).unused_weights == []
    for number, unused in ((3, []), (5, ["score.weight"])):  # of three classes, or too many
        folder = tmp_path / str(number)
        folder.mkdir()
        state = load_file(folder_of("gpt2") / "model.safetensors")
        save_file(state | {"score.weight": torch.ones(number, 32)}, folder / "model.safetensors")
        model = classifier(gpt2, folder)
        assert model.unused_weights == unused
        assert model.head_is_loaded == (number == 3)


@pytest.mark.parametrize(
    ("count", "line"),
    [
        (1, "not used: 1 tensor of the file (a0)"),
        (3, "not used: 3 tensors of the file (a0, a1, a2)"),
        (20_000, "not used: 20,000 tensors of the file (a0, a1, a2 and 19,997 more)"),
    ],
)
def test_one_line_counts_them(count: int, line: str) -> None:
    names = [f"a{number}" for number in range(min(count, 20))]
    facts = WeightFacts(model="m", source="s", unused=count, unused_names=names)
    with console.capture() as captured:
        console.print(terminal_start.unused_weights(facts), soft_wrap=True)
    assert captured.get().strip() == line
