"""Selected positions: what they would be if all were computed, for less work."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from llm_lightning.backbone.attention import CausalSelfAttention
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.unpadding import Unpadding, select_positions

LENGTHS = torch.tensor([[12], [6], [3]])
REAL = torch.arange(12) < LENGTHS


def network(**fields: object) -> GPT2:
    torch.manual_seed(0)
    model = GPT2(GPTConfig(n_layer=2, n_head=2, n_embd=16, n_positions=12, **fields))
    for block in model.h:  # biases start at 0, where no error in them would show
        torch.nn.init.normal_(block.attn.c_attn.bias)
        torch.nn.init.normal_(block.attn.c_attn.weight, std=0.2)  # and scores near it
    return model


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mask", [None, REAL])
@pytest.mark.parametrize("positions", [[[11], [4], [2]], [[11, 0], [4, 5], [2, 2]]])
def test_read_positions_have_the_states_and_gradients_that_all_would_have(
    causal: bool, mask: torch.Tensor | None, positions: list[list[int]]
) -> None:
    model = network(causal=causal)
    input_ids = torch.randint(50257, (3, 12))
    at = torch.tensor(positions)
    towards = torch.randn(*at.shape, 16)
    found = []
    for states in (
        select_positions(model(input_ids, mask), at),
        model(input_ids, mask, positions=at),
    ):
        model.zero_grad()
        (states * towards).sum().backward()
        found.append((states, {name: p.grad.clone() for name, p in model.named_parameters()}))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_one_position_is_read_in_half_precision_too() -> None:
    model = network()
    input_ids, at = torch.randint(50257, (3, 12)), LENGTHS - 1
    expected = model(input_ids, positions=at)
    found = model.bfloat16()(input_ids, positions=at)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0)


@pytest.mark.parametrize("is_unpadded", [True, False])
def test_a_prefix_may_end_at_read_positions(is_unpadded: bool) -> None:
    model = network()
    input_ids = torch.randint(50257, (3, 12))
    at = LENGTHS - 1
    unpadding = Unpadding.of(LENGTHS[:, 0], 12) if is_unpadded else None
    assert (unpadding is not None) == is_unpadded
    found = model.first_blocks(input_ids, None, 2, positions=at, unpadding=unpadding)
    torch.testing.assert_close(model.ln_f(found), select_positions(model(input_ids), at))
    embedded = model.first_blocks(input_ids, None, 0)
    found = model.first_blocks(input_ids, None, 0, positions=at, unpadding=unpadding)
    assert torch.equal(found, select_positions(embedded, at))


def test_dropout_on_one_positions_attention_keeps_its_mean() -> None:
    attention = CausalSelfAttention(network(attn_pdrop=0.25).config)
    torch.nn.init.normal_(attention.c_attn.bias)
    x = torch.randn(1, 12, 16).expand(20_000, -1, -1)
    at, seen = torch.full((len(x), 1), 11), torch.ones(len(x), 1, 1, 12, dtype=torch.bool)
    expected = attention.eval()(x[:1], seen[:1], positions=at[:1])
    drawn = attention.train()(x, seen, positions=at)
    assert (drawn[0] - drawn[1]).abs().max() > 0.01
    torch.testing.assert_close(drawn.mean(dim=0), expected[0], atol=0.02, rtol=0)


def test_one_read_position_spares_keys_and_values_of_the_others() -> None:
    B, T, C, H = 3, 12, 16, 2
    block = network().h[0]
    x, at = torch.randn(B, T, C), LENGTHS - 1
    mask = torch.ones(B, 1, 1, T, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        block(x, mask, positions=at)
    # Every matrix once for each row, and each head's scores and means of states of full width.
    assert counter.get_total_flops() == B * 2 * 12 * C * C + B * 2 * 2 * H * T * C
