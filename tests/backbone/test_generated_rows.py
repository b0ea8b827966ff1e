"""Rows of a batch: independent, stopped separately, streamed; and the modes of the model."""

import math

import pytest
import torch
from generation_models import language_model, ragged_prompts

from llm_lightning.backbone.generation import generate, stream_tokens
from llm_lightning.backbone.sampling import GenerationOptions


def test_sampling_repeats_with_its_seed_and_ignores_the_global_one() -> None:
    backbone, head = language_model(5)
    prompts = [[3, 4, 5]] * 4
    options = GenerationOptions(30, temperature=1.0, seed=7)
    first = generate(backbone, head, prompts, options, stop_id=None)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert generate(backbone, head, prompts, options, stop_id=None) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert len(set(map(tuple, first))) == 4  # equal prompts get responses of their own
    options.seed = 8
    assert generate(backbone, head, prompts, options, stop_id=None) != first


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_does_not_depend_on_the_others(temperature: float) -> None:
    backbone, head = language_model(6)
    prompts = ragged_prompts(9)
    options = GenerationOptions(40, temperature, top_p=0.9, repetition_penalty=1.5)
    stop_id = generate(backbone, head, prompts, options, stop_id=None)[1][4]
    together = generate(backbone, head, prompts, options, stop_id=stop_id)
    assert len(together[1]) <= 4 < max(map(len, together))  # a row leaves the batch early
    for batch_size in (1, 2):
        options.batch_size = batch_size
        assert generate(backbone, head, prompts, options, stop_id=stop_id) == together
    others = [prompts[0], [1, 2], *prompts[2:4], [3] * 40, [4]]
    kept = [0, 2, 3]
    responses = generate(backbone, head, others, options, stop_id=stop_id)
    assert [responses[row] for row in kept] == [together[row] for row in kept]


def test_each_row_stops_on_its_own_and_leaves_the_batch() -> None:
    backbone, head = language_model(7)
    prompts = ragged_prompts(10)
    whole = generate(backbone, head, prompts, GenerationOptions(40), stop_id=None)
    stop_id = whole[2][6]
    expected = [response[: [*response, stop_id].index(stop_id)] for response in whole]
    assert 0 < len(expected[2]) <= 6 < max(map(len, expected))
    batch_sizes = []
    backbone.register_forward_pre_hook(lambda _, inputs: batch_sizes.append(len(inputs[0])))
    assert generate(backbone, head, prompts, GenerationOptions(40), stop_id=stop_id) == expected
    # Steps read a row's tokens but for its last: a stop token, or the fortieth.
    steps = [min(len(response), 39) for response in expected]
    assert sum(batch_sizes) == len(prompts) + sum(steps)
    assert batch_sizes == sorted(batch_sizes, reverse=True)


def test_a_row_that_nobody_wants_any_more_leaves_the_batch() -> None:
    backbone, head = language_model(7)
    prompts = ragged_prompts(10)
    expected = generate(backbone, head, prompts, GenerationOptions(40), stop_id=None)
    sizes = []
    backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    found: list[list[int]] = [[] for _ in prompts]
    unwanted: set[int] = set()
    for row, token in stream_tokens(
        backbone, head, prompts, GenerationOptions(40), stop_id=None, unwanted=unwanted
    ):
        found[row].append(token)
        if len(found[row]) == 3 + row:
            unwanted.add(row)
    assert found == [response[: 3 + row] for row, response in enumerate(expected)]
    assert sizes == [5, 5, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("num_shared", [1, 20, 30])
def test_tokens_that_prompts_share_are_computed_once(num_shared: int) -> None:
    backbone, head = language_model(8)
    (beginning,) = ragged_prompts(11, [20])
    prompts = [beginning + end for end in ragged_prompts(12, [3, 1, 9, 6])]
    options = GenerationOptions(30, repetition_penalty=1.2, batch_size=3)
    expected = generate(backbone, head, prompts, options, stop_id=None)
    shapes = []
    backbone.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    found: list[list[int]] = [[] for _ in prompts]
    for row, token in stream_tokens(
        backbone, head, prompts, options, stop_id=None, num_shared=num_shared
    ):
        found[row].append(token)
    assert found == expected
    once = min(num_shared, 20)  # the last token of the shortest prompt is its own
    assert shapes[:2] == [(1, once), (3, 26 - once)]
    assert (1, 29) in shapes  # alone in its batch, it shares nothing


def test_nothing_is_computed_after_all_have_stopped() -> None:
    backbone, head = language_model(7)
    prompt = ragged_prompts(11)[0]
    first = generate(backbone, head, [prompt], GenerationOptions(1), stop_id=None)[0][0]
    passes = []
    backbone.register_forward_hook(lambda *_: passes.append(1))
    assert generate(backbone, head, [prompt], GenerationOptions(40), stop_id=first) == [[]]
    assert len(passes) == 1
    assert generate(backbone, head, [], GenerationOptions(40)) == []


def test_head_sees_one_position_a_row() -> None:
    backbone, head = language_model(7)
    shapes = []
    head.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    generate(backbone, head, ragged_prompts(12), GenerationOptions(3), stop_id=None)
    assert shapes == [(5, 32)] * 3


def test_responses_end_with_the_context() -> None:
    backbone, head = language_model(8)
    prompts = ragged_prompts(13, [95, 4, 90])
    responses = generate(backbone, head, prompts, GenerationOptions(30), stop_id=None)
    assert [len(response) for response in responses] == [1, 30, 6]
    alone = generate(backbone, head, prompts[1:2], GenerationOptions(30), stop_id=None)
    assert responses[1:2] == alone


def test_tokens_stream_as_they_are_chosen() -> None:
    backbone, head = language_model(9)
    passes = []
    backbone.register_forward_hook(lambda *_: passes.append(torch.is_inference_mode_enabled()))
    prompts = ragged_prompts(14, [6])
    stream = stream_tokens(backbone, head, prompts, GenerationOptions(20), stop_id=None)
    assert passes == []
    streamed = []
    for count, (row, token) in enumerate(stream, start=1):
        assert row == 0
        assert len(passes) == count
        # What the reader does between tokens is none of the generator's business.
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        streamed.append(token)
    assert passes == [True] * 20
    assert [streamed] == generate(backbone, head, prompts, GenerationOptions(20), stop_id=None)


@pytest.mark.parametrize("closed_early", [True, False])
def test_dropout_is_off_and_modes_come_back(closed_early: bool) -> None:
    expected = generate(*language_model(10), ragged_prompts(15), GenerationOptions(20))
    backbone, head = language_model(10, embd_pdrop=0.5, attn_pdrop=0.5, resid_pdrop=0.5)
    backbone.train()
    head.train()
    backbone.h[0].eval()  # as a frozen block may be
    modes = [module.training for module in backbone.modules()]
    assert generate(backbone, head, ragged_prompts(15), GenerationOptions(20)) == expected
    stream = stream_tokens(backbone, head, ragged_prompts(15), GenerationOptions(20))
    next(stream)
    assert not any(module.training for module in backbone.modules())
    if closed_early:
        stream.close()
    else:
        list(stream)
    assert [module.training for module in backbone.modules()] == modes
    assert head.training


def test_modes_come_back_after_an_error() -> None:
    backbone, head = language_model(10)
    backbone.train()
    with torch.no_grad():
        backbone.ln_f.bias.fill_(math.nan)
    with pytest.raises(ValueError, match="logits are NaN"):
        generate(backbone, head, [[1]], GenerationOptions())
    assert backbone.training


def test_model_still_trains_after_generating() -> None:
    backbone, head = language_model(10)
    generate(backbone, head, ragged_prompts(15), GenerationOptions(5))
    head(backbone(torch.tensor([[1, 2, 3]]))).sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_bfloat16_weights_and_autocast_write(temperature: float) -> None:
    backbone, head = language_model(11)
    prompts = ragged_prompts(16)
    options = GenerationOptions(20, temperature)
    full = generate(backbone, head, prompts, options, stop_id=None)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = generate(backbone, head, prompts, options, stop_id=None)
    half = generate(backbone.bfloat16(), head.bfloat16(), prompts, options, stop_id=None)
    for responses in (mixed, half):
        assert [len(response) for response in responses] == [20] * 5
        # Rounding changes a token somewhere; a wrong position or a lost mask changes them all.
        starts = [response[0] == other[0] for response, other in zip(responses, full, strict=True)]
        assert sum(starts) >= 4


def test_prompts_without_room_for_a_response_are_refused() -> None:
    backbone, head = language_model(12)
    with pytest.raises(ValueError, match="prompt 1 is empty: give it at least one token"):
        generate(backbone, head, [[1], []], GenerationOptions())
    with pytest.raises(
        ValueError,
        match=r"prompt 0 is 96 tokens long and the model's context is 96, .* at most 95 tokens",
    ):
        generate(backbone, head, [[1] * 96], GenerationOptions())


def test_a_model_that_is_not_causal_is_refused() -> None:
    backbone, head = language_model(12, causal=False)
    with pytest.raises(ValueError, match=r"model.causal must be true to generate text, got false"):
        generate(backbone, head, [[1]], GenerationOptions())
