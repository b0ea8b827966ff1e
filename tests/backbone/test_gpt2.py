import math
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2Model

from llm_lightning.backbone.checkpoint import load_weights
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig

LAYOUTS = {
    "gpt2_small": (12, 12),
    "gpt2_medium": (24, 16),
    "gpt2_large": (36, 20),
    "gpt2_xl": (48, 25),
}


@pytest.fixture(params=LAYOUTS, scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """transformers' GPT-2 and ours, loaded from the checkpoint that transformers saved."""
    n_layer, n_head = LAYOUTS[request.param]
    torch.manual_seed(1)
    sizes = {"n_layer": n_layer, "n_head": n_head, "n_embd": 4 * n_head, "n_positions": 24}
    theirs = GPT2Model(GPT2Config(**sizes, vocab_size=99, initializer_range=0.1)).eval()
    folder = tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(folder)
    ours = GPT2(GPTConfig(**sizes, vocab_size=99, init="empty")).eval()
    load_weights(ours, folder / "model.safetensors")
    return theirs, ours


@torch.no_grad()
def test_hidden_states_equal_transformers(pair: tuple) -> None:
    theirs, ours = pair
    input_ids = torch.randint(99, (3, 24))
    expected = theirs(input_ids).last_hidden_state
    assert expected.std() > 0.5
    torch.testing.assert_close(ours(input_ids), expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_hidden_states_equal_transformers_with_right_padding(pair: tuple) -> None:
    theirs, ours = pair
    input_ids = torch.randint(99, (3, 24))
    mask = torch.arange(24) < torch.tensor([24, 10, 1])[:, None]
    expected = theirs(input_ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(ours(input_ids, mask), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("sizes", "published"),
    [
        ((12, 12, 768), 124_439_808),
        ((24, 16, 1024), 354_823_168),
        ((36, 20, 1280), 774_030_080),
        ((48, 25, 1600), 1_557_611_200),
    ],
)
def test_parameter_counts_are_the_published_ones(sizes: tuple, published: int) -> None:
    with torch.device("meta"):
        model = GPT2(GPTConfig(*sizes))
    assert sum(parameter.numel() for parameter in model.parameters()) == published


@torch.no_grad()
def test_causal_model_does_not_look_ahead_and_the_other_does(tiny_config: GPTConfig) -> None:
    before = torch.randint(50257, (1, 12))
    after = before.clone()
    after[0, 7] += 1
    causal = GPT2(tiny_config)
    changed = (causal(before) != causal(after)).any(dim=-1)[0]
    assert changed.tolist() == [False] * 7 + [True] * 5
    tiny_config.causal = False
    sees_all = GPT2(tiny_config)
    assert (sees_all(before) != sees_all(after)).any(dim=-1).all()


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_masked_padding_changes_nothing(tiny_config: GPTConfig, causal: bool) -> None:
    tiny_config.causal = causal
    model = GPT2(tiny_config)
    text = torch.randint(50257, (2, 9))
    padded = torch.cat([text, torch.randint(50257, (2, 5))], dim=1)
    mask = torch.arange(14).expand(2, -1) < 9
    torch.testing.assert_close(model(padded, mask)[:, :9], model(text))


def test_input_longer_than_the_context_is_refused(tiny_config: GPTConfig) -> None:
    with pytest.raises(ValueError, match=r"input is 33 tokens long, the model's context is 32"):
        GPT2(tiny_config)(torch.zeros(1, 33, dtype=torch.long))


@pytest.mark.parametrize("place", ["embd_pdrop", "attn_pdrop", "resid_pdrop"])
def test_each_dropout_acts_in_training_only(tiny_config: GPTConfig, place: str) -> None:
    setattr(tiny_config, place, 0.5)
    model = GPT2(tiny_config)
    input_ids = torch.randint(50257, (1, 9))
    assert not torch.equal(model(input_ids), model(input_ids))
    model.eval()
    assert torch.equal(model(input_ids), model(input_ids))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_head": 5}, "multiple of model.n_head, got n_embd=768 and n_head=5"),
        ({"n_layer": 0}, "model.n_layer must be at least 1, got 0"),
        ({"attn_pdrop": 1.0}, r"model.attn_pdrop must lie in \[0, 1\), got 1.0"),
        ({"init": "zeros"}, "model.init must be one of gpt2, torch, empty, got 'zeros'"),
    ],
)
def test_bad_sizes_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GPTConfig(**fields)


def test_gpt2_initialisation_has_the_published_spread() -> None:
    model = GPT2(GPTConfig(n_layer=4, n_head=4, n_embd=128, init="gpt2"))
    assert model.wte.weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert model.h[0].attn.c_attn.weight.std().item() == pytest.approx(0.02, rel=0.02)
    residual = 0.02 / math.sqrt(8)
    assert model.h[3].mlp.c_proj.weight.std().item() == pytest.approx(residual, rel=0.02)
    assert model.h[3].attn.c_proj.weight.std().item() == pytest.approx(residual, rel=0.02)
    assert not model.h[0].attn.c_attn.bias.any()
    assert model.ln_f.weight.eq(1).all()
    assert model.ln_f.bias.eq(0).all()


def test_torch_initialisation_is_that_of_separate_torch_layers(tiny_config: GPTConfig) -> None:
    """The book's model has three linear layers where GPT-2's checkpoint has one."""
    tiny_config.init = "torch"
    torch.manual_seed(5)
    model = GPT2(tiny_config)
    torch.manual_seed(5)
    assert torch.equal(model.wte.weight, nn.Embedding(50257, 8).weight)
    assert torch.equal(model.wpe.weight, nn.Embedding(32, 8).weight)
    for block in model.h:
        parts = [nn.Linear(8, 8) for _ in range(3)]
        assert torch.equal(block.attn.c_attn.weight, torch.cat([part.weight for part in parts]))
        assert torch.equal(block.attn.c_attn.bias, torch.cat([part.bias for part in parts]))
        for ours, expected in (
            (block.attn.c_proj, nn.Linear(8, 8)),
            (block.mlp.c_fc, nn.Linear(8, 32)),
            (block.mlp.c_proj, nn.Linear(32, 8)),
        ):
            assert torch.equal(ours.weight, expected.weight)
            assert torch.equal(ours.bias, expected.bias)


def test_empty_initialisation_draws_nothing(tiny_config: GPTConfig) -> None:
    tiny_config.init = "empty"
    state = torch.get_rng_state()
    GPT2(tiny_config)
    assert torch.equal(torch.get_rng_state(), state)


def test_names_are_gpt2s_own(tmp_path: Path, tiny_config: GPTConfig) -> None:
    theirs = GPT2Model(GPT2Config(n_layer=3, n_head=2, n_embd=8, n_positions=32))
    assert set(GPT2(tiny_config).state_dict()) == set(theirs.state_dict())
