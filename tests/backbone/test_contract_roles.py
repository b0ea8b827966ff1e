"""Linear layers have the roles that their names promise, in every family."""

from collections.abc import Callable
from pathlib import Path

import pytest
import transformers
from contract import backbone, classifier
from contract_families import BLOCKS, FAMILIES, _SIZES
from torch import nn

from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.finetuning.adaptation import LoRA

Folders = Callable[[str], Path]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_linear_layer_has_the_expected_roles(folder_of: Folders, name: str) -> None:
    family = FAMILIES[name]
    made = backbone(family, folder_of(name))
    assert isinstance(made, nn.Module)
    for block in range(BLOCKS):
        prefix = f"{family.inside}{family.blocks}.{block}."
        found = {layer.name.removeprefix(prefix): layer for layer in made.linear_layers(block)}
        assert {name: tuple(layer.rows) for name, layer in found.items()} == family.layers
        for layer in found.values():
            rows = list(layer.rows.values())
            out_features = made.get_submodule(layer.name).out_features
            assert rows[0][0] == 0
            assert rows[-1][1] == out_features, "roles cover all rows"
            assert all(stop == start for (_, stop), (start, _) in zip(rows, rows[1:], strict=False))
            assert len({stop - start for start, stop in rows}) == 1
