"""Where adapters go, and what trains."""

import pytest
import torch
from torch import nn

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.finetuning.adaptation import LoRA
from llm_lightning.finetuning.lora import adapters
from llm_lightning.finetuning.strategies import from_dict


class Model(nn.Module):
    """A GPT-2 with a two-class head, or with a head tied to its embedding."""

    def __init__(self, config: GPTConfig, *, tied: bool = False) -> None:
        super().__init__()
        self.backbone = GPT2(config)
        self.head = nn.Linear(config.n_embd, config.vocab_size if tied else 2, bias=not tied)
        if tied:
            self.head.weight = self.backbone.wte.weight

    def trainable(self) -> set[str]:
        return {name for name, parameter in self.named_parameters() if parameter.requires_grad}

    def count(self) -> int:
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


@pytest.fixture
def small() -> Model:
    """124M, without its memory."""
    with torch.device("meta"):
        return Model(GPTConfig())


@pytest.fixture
def tiny(tiny_config: GPTConfig) -> Model:
    return Model(tiny_config)


def sites(model: nn.Module) -> dict[str, tuple[tuple[int, int], ...]]:
    return {name: layer.rows for name, layer in adapters(model).items()}


def test_the_books_appendix_trains_as_many_parameters_as_it_prints(small: Model) -> None:
    LoRA(rank=16, head="lora").apply(small)
    assert small.count() == 2_666_528


def test_the_books_exercise_on_355m_trains_as_many_parameters_as_it_prints() -> None:
    with torch.device("meta"):
        config = GPTConfig(n_layer=24, n_head=16, n_embd=1024)
        model = Model(config, tied=True)
        model.head.weight = nn.Parameter(torch.empty(config.vocab_size, config.n_embd))  # untied
    LoRA(rank=16, head="lora").apply(model)
    assert model.count() == 7_898_384


@pytest.mark.parametrize(
    ("head", "trains"),
    [
        ("full", {"head.weight", "head.bias"}),
        ("lora", {"head.lora_A", "head.lora_B"}),
        ("both", {"head.weight", "head.bias", "head.lora_A", "head.lora_B"}),
        ("frozen", set()),
    ],
)
def test_what_of_the_head_trains(tiny: Model, head: str, trains: set[str]) -> None:
    LoRA(head=head, targets=["fc2"], blocks=1).apply(tiny)
    block = {"backbone.h.2.mlp.c_proj.lora_A", "backbone.h.2.mlp.c_proj.lora_B"}
    assert tiny.trainable() == block | trains


@pytest.mark.parametrize(("head", "adapted"), [("full", False), ("both", True), ("lora", True)])
def test_a_tied_head_stays_frozen_with_the_embedding(
    tiny_config: GPTConfig, head: str, adapted: bool
) -> None:
    model = Model(tiny_config, tied=True)
    LoRA(head=head, targets=["q"]).apply(model)
    assert model.head.weight is model.backbone.wte.weight
    assert not model.head.weight.requires_grad
    assert ("head.lora_A" in model.trainable()) == adapted


def test_short_names_and_blocks_choose_rows_of_layers(tiny: Model) -> None:
    LoRA(targets=["q", "v", "fc1"], blocks=[0, 2], rank=2).apply(tiny)
    assert sites(tiny) == {
        "backbone.h.0.attn.c_attn": ((0, 8), (16, 24)),
        "backbone.h.0.mlp.c_fc": ((0, 32),),
        "backbone.h.2.attn.c_attn": ((0, 8), (16, 24)),
        "backbone.h.2.mlp.c_fc": ((0, 32),),
    }


def test_patterns_choose_layers(tiny: Model) -> None:
    LoRA(targets=["h.*.c_proj", "head"], blocks=1).apply(tiny)
    assert set(sites(tiny)) == {
        "backbone.h.2.attn.c_proj",
        "backbone.h.2.mlp.c_proj",
        "head",
    }


def test_separate_and_shared_adapters_of_query_key_and_value(tiny_config: GPTConfig) -> None:
    separate, shared = Model(tiny_config), Model(tiny_config)
    LoRA(targets=["q", "k", "v"], rank=2).apply(separate)
    LoRA(targets=["q", "k", "v"], rank=2, qkv="shared").apply(shared)
    layers = [model.backbone.h[0].attn.c_attn for model in (separate, shared)]
    assert [layer.lora_A.shape for layer in layers] == [(6, 8), (2, 8)]
    assert [layer.spread_b().shape for layer in layers] == [(24, 6), (24, 2)]
    with pytest.raises(ValueError, match=r"qkv=shared .* must name q, k and v, got \['q', 'v'\]"):
        LoRA(targets=["q", "v"], qkv="shared").apply(Model(tiny_config))


@pytest.mark.parametrize("dora", [False, True])
def test_hidden_states_are_bit_equal_before_training(tiny_config: GPTConfig, dora: bool) -> None:
    model = Model(tiny_config)
    ids = torch.randint(50257, (2, 9))
    before = model.head(model.backbone(ids))
    strategy = LoRA(head="both", dora=dora)
    strategy.apply(model)
    strategy.base_loaded(model)
    assert torch.equal(model.head(model.backbone(ids)), before)
    assert len(adapters(model)) == 4 * 3 + 1


def test_dora_measures_the_weights_that_were_loaded(tiny: Model) -> None:
    strategy = LoRA(targets=["fc1"], dora=True)
    strategy.apply(tiny)
    layer = tiny.backbone.h[1].mlp.c_fc
    with torch.no_grad():
        layer.weight.normal_()
    strategy.base_loaded(tiny)
    torch.testing.assert_close(layer.lora_magnitude, layer.weight.norm(dim=1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rank": 0}, "finetune.rank must be at least 1, got 0"),
        ({"rank": -2}, "finetune.rank must be at least 1, got -2"),
        ({"alpha": 0}, "finetune.alpha must be above 0, got 0"),
        ({"alpha": -1.0}, "finetune.alpha must be above 0, got -1.0"),
        ({"dropout": 1.0}, r"finetune.dropout must lie in \[0, 1\), got 1.0"),
        ({"scaling": "beta"}, "finetune.scaling must be one of .*, got 'beta'"),
        ({"qkv": "fused"}, "finetune.qkv must be one of separate, shared, got 'fused'"),
        ({"head": "none"}, "finetune.head must be one of full, lora, both, frozen, got 'none'"),
        ({"init": "zero"}, "finetune.init must be one of fan_in, rank, got 'zero'"),
        ({"blocks": "last"}, "finetune.blocks must be all, a number or .*, got 'last'"),
        ({"blocks": True}, "finetune.blocks must be all, a number or .*, got True"),
        ({"blocks": -1}, "finetune.blocks must be all, a number or .*, got -1"),
    ],
)
def test_fields_out_of_range_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoRA(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"targets": ["qq"]},
            "'qq' matches no layer; possible are q, k, v, out, fc1, fc2, h.0.attn",
        ),
        ({"targets": ["h.0.mlp.*"], "blocks": 1}, r"'h.0.mlp.\*' matches no layer; .* h.2.mlp"),
        ({"targets": []}, r"finetune.targets must name at least one layer, got \[\]"),
        ({"blocks": 4}, "finetune.blocks must be at most the model's 3 blocks, got 4"),
        ({"blocks": [0, 3, 7]}, r"the model's blocks are 0 to 2, got \[3, 7\]"),
    ],
)
def test_what_names_nothing_is_refused(
    tiny: Model, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LoRA(**fields).apply(tiny)


def test_the_head_alone_can_be_adapted(tiny: Model) -> None:
    LoRA(targets=[], head="lora").apply(tiny)
    assert tiny.trainable() == {"head.lora_A", "head.lora_B"}


def test_the_strategy_survives_as_a_plain_dict_and_describes_its_scale(tiny: Model) -> None:
    fields = {
        "_target_": "llm_lightning.finetuning.adaptation.LoRA",
        "rank": 4,
        "alpha": 8.0,
        "scaling": "rslora",
    }
    strategy = from_dict(fields)
    assert strategy == LoRA(rank=4, alpha=8.0, scaling="rslora")
    strategy.apply(tiny)
    assert strategy.describe(tiny) == {"adapters": 12, "rank": 4, "effective_scale": 4.0}
