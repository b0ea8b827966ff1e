"""Linear layers have the roles that their names promise, in every family."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from contract import backbone
from contract_families import BLOCKS, FAMILIES, SIZES
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
            assert all(stop == start for (_, stop), (start, _) in pairwise(rows))
            assert len({stop - start for start, stop in rows}) == 1


NO_ROLE: tuple[str, ...] = ()
OTHERS = {
    # Query, key and value in one matrix, in an order that differs between families.
    "phi3": {
        "self_attn.o_proj": ("out",),
        "self_attn.qkv_proj": NO_ROLE,
        "mlp.gate_up_proj": ("fc1",),
        "mlp.down_proj": ("fc2",),
    },
    "gpt_neox": {
        "attention.query_key_value": NO_ROLE,
        "attention.dense": ("out",),
        "mlp.dense_h_to_4h": ("fc1",),
        "mlp.dense_4h_to_h": ("fc2",),
    },
    "falcon": {
        "self_attention.query_key_value": NO_ROLE,
        "self_attention.dense": ("out",),
        "mlp.dense_h_to_4h": ("fc1",),
        "mlp.dense_4h_to_h": ("fc2",),
    },
    "gptj": {
        "attn.k_proj": ("k",),
        "attn.v_proj": ("v",),
        "attn.q_proj": ("q",),
        "attn.out_proj": ("out",),
        "mlp.fc_in": ("fc1",),
        "mlp.fc_out": ("fc2",),
    },
    "phi": {
        "self_attn.q_proj": ("q",),
        "self_attn.k_proj": ("k",),
        "self_attn.v_proj": ("v",),
        "self_attn.dense": ("out",),
        "mlp.fc1": ("fc1",),
        "mlp.fc2": ("fc2",),
    },
}


def other(kind: str) -> TransformersBackbone:
    return TransformersBackbone({"model_type": kind, **SIZES, "rotary_dim": 4}, dropout=0.0)


@pytest.mark.parametrize("kind", OTHERS)
def test_names_of_other_families_have_roles_where_these_are_certain(kind: str) -> None:
    made = other(kind)
    prefix = f"{made.blocks_name}.1."
    found = {layer.name.removeprefix(prefix): tuple(layer.rows) for layer in made.linear_layers(1)}
    assert found == OTHERS[kind]


class Model(nn.Module):
    def __init__(self, made: TransformersBackbone) -> None:
        super().__init__()
        self.backbone = made
        self.head = nn.Linear(made.hidden_size, 2)


@pytest.mark.parametrize("kind", ["phi3", "gpt_neox"])
def test_adapters_of_unknown_parts_are_refused_and_patterns_work(kind: str) -> None:
    layer = next(name for name, roles in OTHERS[kind].items() if roles is NO_ROLE)
    model = Model(other(kind))
    with pytest.raises(
        ValueError, match=rf"^finetune.targets: 'q' matches no layer; possible are .*{layer}"
    ):
        LoRA(targets=["q", "v"]).apply(model)
    LoRA(targets=[f"*.{layer}", "out"], rank=2).apply(model)
    adapted = {name for name, p in model.backbone.named_parameters() if p.requires_grad}
    wanted = {layer, *(name for name, roles in OTHERS[kind].items() if roles == ("out",))}
    assert adapted == {
        f"{model.backbone.blocks_name}.{block}.{name}.lora_{part}"
        for block in range(BLOCKS)
        for name in wanted
        for part in "AB"
    }
