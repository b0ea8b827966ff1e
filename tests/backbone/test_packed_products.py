"""Packed products: what the same layers compute under autocast, and nothing of them stays."""

import pytest
import torch
from torch import Tensor, nn

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.packed_products import PackedLinear, _is_supported, packed
from llm_lightning.finetuning.lora import LoRALinear

IS_SUPPORTED = _is_supported()
IDS = torch.randint(50257, (6, 30), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> GPT2:
    torch.manual_seed(0)
    made = GPT2(GPTConfig(n_layer=3, n_head=2, n_embd=64, n_positions=30)).requires_grad_(False)
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):  # they start at 0, where no error in them would show
            nn.init.normal_(parameter, std=0.1)
    return made.eval()


def states(model: GPT2) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return model(IDS).float()


@pytest.mark.skipif(not IS_SUPPORTED, reason="this processor has no products in bf16")
def test_blocks_compute_what_they_compute_under_autocast(model: GPT2) -> None:
    with torch.no_grad():
        exact = model(IDS)
    usual = states(model)
    with packed(model.blocks, 64):
        found = states(model)
        replaced = [n for n, m in model.named_modules() if isinstance(m, PackedLinear)]
    places = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert replaced == [f"h.{block}.{place}" for block in range(3) for place in places]
    errors = [(x - exact).abs().mean() for x in (found, usual)]
    assert errors[0] <= 1.25 * errors[1]  # GELU is rounded once less
    torch.testing.assert_close(found, usual, atol=0.05, rtol=0.05)


@pytest.mark.skipif(not IS_SUPPORTED, reason="this processor has no products in bf16")
def test_a_layer_alone_computes_what_it_computes_under_autocast(model: GPT2) -> None:
    layer = model.h[0].attn.c_attn
    for rows in (1, 7, 64, 200):
        x = torch.randn(rows, 64)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            usual = layer(x)
        found = PackedLinear(layer, 64)(x)
        # Kernels of some processors may add up in another order: one rounding of bf16.
        torch.testing.assert_close(found, usual, rtol=2**-7, atol=1e-4)


def test_everything_is_as_before_afterwards(model: GPT2) -> None:
    before = dict(model.named_modules())
    with pytest.raises(KeyboardInterrupt), packed(model.blocks, 64):
        raise KeyboardInterrupt
    assert dict(model.named_modules()) == before
    assert list(dict(model.named_modules())) == list(before)


def test_adapted_and_watched_layers_stay(model: GPT2) -> None:
    block = model.h[0]
    block.attn.c_attn = LoRALinear(block.attn.c_attn, rows=[(0, 192)], rank=2, scale=1.0)
    block.mlp.c_proj.register_forward_hook(lambda *args: None)
    kept = block.attn.c_attn, block.mlp.c_proj
    with packed([block], 64):
        assert (block.attn.c_attn, block.mlp.c_proj) == kept
