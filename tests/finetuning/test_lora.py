"""The maths of one adapted layer."""

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional as F

from llm_lightning.finetuning.lora import LoRALinear, effective_scale

WIDTH = 12
LAYOUTS = {
    "one": ((0, 3 * WIDTH),),
    "three": ((0, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, 3 * WIDTH)),
    "first and last": ((0, WIDTH), (2 * WIDTH, 3 * WIDTH)),
    "middle": ((WIDTH, 2 * WIDTH),),
}


def adapted(rows: str = "one", *, trained: bool = True, **options: object) -> LoRALinear:
    base = nn.Linear(WIDTH, 3 * WIDTH)
    layer = LoRALinear(base, rows=LAYOUTS[rows], rank=4, scale=0.7, **options)  # type: ignore[arg-type]
    if trained:
        nn.init.normal_(layer.lora_B)
        if layer.lora_magnitude is not None:
            with torch.no_grad():
                layer.lora_magnitude *= torch.rand_like(layer.lora_magnitude) + 0.5
    return layer


@pytest.mark.parametrize("rows", LAYOUTS)
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_new_adapter_changes_no_bit(rows: str, dora: bool, bias: bool) -> None:
    base = nn.Linear(WIDTH, 3 * WIDTH, bias=bias)
    x = torch.randn(5, 7, WIDTH)
    before = base(x)
    layer = LoRALinear(base, rows=LAYOUTS[rows], rank=4, scale=16, dora=dora)
    assert torch.equal(layer(x), before)


def test_the_base_keeps_its_names_and_its_memory() -> None:
    base = nn.Linear(WIDTH, WIDTH)
    weight = base.weight
    layer = LoRALinear(base, rows=((0, WIDTH),), rank=2, scale=1)
    assert layer.weight is weight
    assert set(layer.state_dict()) == {"weight", "bias", "lora_A", "lora_B"}
    trains = {name for name, parameter in layer.named_parameters() if parameter.requires_grad}
    assert trains == {"lora_A", "lora_B"}


def test_the_output_is_the_papers_equation() -> None:
    layer = adapted()
    x = torch.randn(5, WIDTH)
    expected = (
        x @ layer.weight.T + layer.bias + 0.7 * (x @ layer.lora_A.T @ layer.lora_B.T)
    )  # Hu et al. 2021, equation 3
    torch.testing.assert_close(layer(x), expected)


def test_groups_are_adapters_of_their_own() -> None:
    layer = adapted("first and last")
    x = torch.randn(5, WIDTH)
    out = layer(x) - F.linear(x, layer.weight, layer.bias)
    first_A, last_A = layer.lora_A.split(4)
    first_B, last_B = layer.lora_B.split(WIDTH)
    torch.testing.assert_close(out[:, :WIDTH], 0.7 * x @ first_A.T @ first_B.T)
    assert torch.equal(out[:, WIDTH : 2 * WIDTH], torch.zeros(5, WIDTH))
    torch.testing.assert_close(out[:, 2 * WIDTH :], 0.7 * x @ last_A.T @ last_B.T)


@pytest.mark.parametrize("rows", LAYOUTS)
@pytest.mark.parametrize("dora", [False, True])
def test_merging_computes_the_same_and_unmerging_gives_the_base_back(rows: str, dora: bool) -> None:
    layer = adapted(rows, dora=dora)
    x = torch.randn(5, 7, WIDTH)
    unmerged, weight, values = layer(x), layer.weight, layer.weight.clone()
    layer.merge()
    torch.testing.assert_close(layer(x), unmerged, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="already merged"):
        layer.merge()
    layer.unmerge()
    assert layer.weight is weight
    assert torch.equal(layer.weight, values)
    assert torch.equal(layer(x), unmerged)
    with pytest.raises(ValueError, match="not merged"):
        layer.unmerge()


def test_merging_a_tied_weight_leaves_its_other_owner_alone() -> None:
    embedding = nn.Embedding(3 * WIDTH, WIDTH)
    head = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
    head.weight = embedding.weight
    layer = LoRALinear(head, rows=((0, 3 * WIDTH),), rank=4, scale=1)
    nn.init.normal_(layer.lora_B)
    before = embedding.weight.clone()
    layer.merge()
    assert not torch.equal(layer.weight, before)
    assert torch.equal(embedding.weight, before)
    layer.unmerge()
    assert layer.weight is embedding.weight


def test_dropout_acts_on_the_adapter_alone_and_only_in_training() -> None:
    layer = adapted(dropout=0.5)
    x = torch.randn(64, WIDTH)
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    layer.train()
    assert not torch.equal(layer(x), layer(x))
    nn.init.zeros_(layer.lora_B)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("dora", [False, True])
def test_values_and_gradients_are_pefts(dora: bool) -> None:
    ours = adapted(dora=dora)
    model = nn.Sequential(nn.Linear(WIDTH, 3 * WIDTH))
    model[0].load_state_dict({"weight": ours.weight, "bias": ours.bias})
    config = LoraConfig(r=4, lora_alpha=2.8, target_modules=["0"], use_dora=dora)
    theirs = get_peft_model(model, config)
    parameters = {
        name.split(".lora_")[-1].split(".")[0]: parameter
        for name, parameter in theirs.named_parameters()
        if "lora_" in name
    }
    with torch.no_grad():
        parameters["A"].copy_(ours.lora_A)
        parameters["B"].copy_(ours.lora_B)
        if ours.lora_magnitude is not None:
            parameters["magnitude_vector"].copy_(ours.lora_magnitude)
    x = torch.randn(5, WIDTH)
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    torch.testing.assert_close(ours.lora_A.grad, parameters["A"].grad)
    torch.testing.assert_close(ours.lora_B.grad, parameters["B"].grad)
    if ours.lora_magnitude is not None:
        torch.testing.assert_close(ours.lora_magnitude.grad, parameters["magnitude_vector"].grad)


def test_effective_scales() -> None:
    assert effective_scale("alpha_over_rank", 16, 8) == 0.5
    assert effective_scale("alpha", 16, 8) == 8
    assert effective_scale("rslora", 16, 8) == 2


@pytest.mark.parametrize(("init", "fan"), [("fan_in", 3000), ("rank", 16)])
def test_a_starts_uniform_and_b_at_zero(init: str, fan: int) -> None:
    layer = LoRALinear(nn.Linear(3000, 8), rows=((0, 8),), rank=16, scale=1, init=init)
    bound = 1 / math.sqrt(fan)
    assert 0.99 * bound < layer.lora_A.max() <= bound
    assert -bound <= layer.lora_A.min() < -0.99 * bound
    assert abs(layer.lora_A.mean()) < 0.02 * bound
    assert torch.equal(layer.lora_B, torch.zeros(8, 16))
