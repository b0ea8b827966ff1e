"""Generation with models of transformers: their own tokens, our options."""

from typing import Any

import pytest
import torch
from backbone.huggingface.tiny_models import CONFIGS, CONTEXT, VOCABULARY, trio
from torch import nn
from transformers import BertConfig, GraniteConfig

from llm_lightning.backbone.generation import generate, stream_tokens
from llm_lightning.backbone.huggingface.generation import language_model
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.finetuning.adaptation import LoRA
from llm_lightning.finetuning.lora import adapters

LENGTHS = [7, 1, 30, 12, 19]
FAMILIES = pytest.mark.parametrize("family", CONFIGS)


def prompts(lengths: list[int] = LENGTHS) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(VOCABULARY, (n,), generator=generator).tolist() for n in lengths]


def their_response(
    theirs: Any, prompt: list[int], stop_id: int | None, **options: Any
) -> list[int]:
    """What transformers writes after one prompt, without the stop token."""
    ids = theirs.generate(
        torch.tensor([prompt]), do_sample=False, eos_token_id=stop_id, pad_token_id=0, **options
    )[0]
    response = ids[len(prompt) :].tolist()
    return response[:-1] if response[-1] == stop_id else response


@FAMILIES
def test_greedy_is_transformers_own_row_by_row(family: str) -> None:
    theirs, backbone, head = trio(family)
    expected = [their_response(theirs, one, None, max_new_tokens=24) for one in prompts()]
    assert all(len(set(response)) > 5 for response in expected)
    options = GenerationOptions(24)
    assert generate(backbone, head, prompts(), options, stop_id=None) == expected
    assert [generate(backbone, head, [p], options, stop_id=None)[0] for p in prompts()] == expected
    options.batch_size = 2
    assert generate(backbone, head, prompts(), options, stop_id=None) == expected


@FAMILIES
def test_rows_end_at_the_stop_token_each_on_its_own(family: str) -> None:
    theirs, backbone, head = trio(family)
    whole = generate(backbone, head, prompts(), GenerationOptions(24), stop_id=None)
    stop_id = whole[2][6]
    expected = [their_response(theirs, one, stop_id, max_new_tokens=24) for one in prompts()]
    assert 0 < len(expected[2]) <= 6 < max(map(len, expected))
    assert generate(backbone, head, prompts(), GenerationOptions(24), stop_id=stop_id) == expected


def test_nothing_is_computed_after_all_have_stopped() -> None:
    _, backbone, head = trio("llama")
    first = generate(backbone, head, prompts()[:1], GenerationOptions(1), stop_id=None)[0][0]
    shapes: list[tuple[int, ...]] = []
    backbone.model.layers[0].register_forward_pre_hook(
        lambda _, inputs: shapes.append(tuple(inputs[0].shape))
    )
    assert generate(backbone, head, prompts()[:1], GenerationOptions(24), stop_id=first) == [[]]
    # One token to compare the head before, then the prompt.
    assert shapes == [(1, 1, 32)] * 2 + [(1, 7, 32)]
    assert generate(backbone, head, [], GenerationOptions(24)) == []


def test_a_batch_ends_once_nobody_wants_any_of_its_rows() -> None:
    _, backbone, head = trio("llama")
    expected = generate(backbone, head, prompts(), GenerationOptions(24), stop_id=None)
    passes: list[int] = []
    backbone.model.layers[0].register_forward_pre_hook(lambda *_: passes.append(1))
    found: list[list[int]] = [[] for _ in expected]
    unwanted: set[int] = set()
    for row, token in stream_tokens(
        backbone, head, prompts(), GenerationOptions(24), stop_id=None, unwanted=unwanted
    ):
        found[row].append(token)
        if len(found[row]) == 3 + row:
            unwanted.add(row)
    assert found == [response[: 3 + row] for row, response in enumerate(expected)]
    assert len(passes) == 2 + 7  # the comparison of the head, and a step for each token of row 4


def test_later_steps_read_one_token_and_the_cache() -> None:
    _, backbone, head = trio("llama")
    lengths: list[int] = []
    backbone.model.layers[0].register_forward_pre_hook(
        lambda _, inputs: lengths.append(inputs[0].shape[1])
    )
    generate(backbone, head, prompts(), GenerationOptions(6), stop_id=None)
    assert lengths[-6:] == [30, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("penalty", [1.3, 0.8])
def test_repetition_penalty_is_transformers_own(penalty: float) -> None:
    theirs, backbone, head = trio("qwen3")
    options = GenerationOptions(24, repetition_penalty=penalty)
    expected = [
        their_response(theirs, one, None, max_new_tokens=24, repetition_penalty=penalty)
        for one in prompts()
    ]
    # In a batch too, where transformers itself would penalise the padding token.
    assert generate(backbone, head, prompts(), options, stop_id=None) == expected


@FAMILIES
def test_sampling_repeats_with_its_seed_and_a_row_ignores_the_others(family: str) -> None:
    _, backbone, head = trio(family)
    options = GenerationOptions(12, temperature=1.0, top_k=50, top_p=0.95, seed=7)
    first = generate(backbone, head, [[3, 4, 5]] * 4, options, stop_id=None)
    assert len(set(map(tuple, first))) == 4
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert generate(backbone, head, [[3, 4, 5]] * 4, options, stop_id=None) == first
    assert torch.equal(torch.get_rng_state(), state)
    others = [[3, 4, 5], [1] * 20, [3, 4, 5], [2]]
    assert generate(backbone, head, others, options, stop_id=None)[::2] == first[::2]
    options.seed = 8
    assert generate(backbone, head, [[3, 4, 5]] * 4, options, stop_id=None) != first


def test_responses_end_with_the_context() -> None:
    _, backbone, head = trio("llama")
    own = prompts([CONTEXT - 1, 4, CONTEXT - 6])
    longest = []
    backbone.model.layers[0].register_forward_pre_hook(
        lambda _, inputs, options: longest.append(int(options["position_ids"].max())),
        with_kwargs=True,
    )
    responses = generate(backbone, head, own, GenerationOptions(30), stop_id=None)
    assert [len(response) for response in responses] == [1, 30, 6]
    assert responses[1:2] == generate(backbone, head, own[1:2], GenerationOptions(30), stop_id=None)
    assert max(longest) < CONTEXT


@pytest.mark.parametrize("dora", [False, True])
def test_an_adapted_model_writes_what_the_merged_one_does(dora: bool) -> None:
    _, backbone, head = trio("llama")
    model = nn.Module()
    model.backbone, model.head = backbone, head
    before = generate(backbone, head, prompts(), GenerationOptions(24), stop_id=None)
    LoRA(rank=2, dora=dora, head="lora").apply(model)
    torch.manual_seed(2)
    with torch.no_grad():
        for layer in adapters(model).values():
            layer.lora_B.normal_(std=0.1)
    model.eval()
    adapted = generate(backbone, model.head, prompts(), GenerationOptions(24), stop_id=None)
    assert adapted != before
    for layer in adapters(model).values():
        layer.merge()
    assert adapted == generate(backbone, model.head, prompts(), GenerationOptions(24), stop_id=None)


def test_tokens_stream_as_they_are_chosen() -> None:
    _, backbone, head = trio("llama")
    passes: list[int] = []
    stream = stream_tokens(backbone, head, prompts()[:1], GenerationOptions(8), stop_id=None)
    backbone.model.register_forward_hook(lambda *_: passes.append(1))
    streamed = []
    for row, token in stream:
        assert row == 0
        if not streamed:
            start = len(passes)
        assert len(passes) - start == len(streamed)
        # What the reader does between tokens is none of the generator's business.
        assert torch.is_grad_enabled()
        streamed.append(token)
    assert [streamed] == generate(backbone, head, prompts()[:1], GenerationOptions(8), stop_id=None)


def test_rows_of_a_batch_stream_step_by_step() -> None:
    _, backbone, head = trio("llama")
    stream = stream_tokens(backbone, head, prompts([3, 5]), GenerationOptions(3), stop_id=None)
    assert [row for row, _ in stream] == [0, 1] * 3


@pytest.mark.parametrize("closed_early", [True, False])
def test_modes_and_the_model_itself_come_back(closed_early: bool) -> None:
    _, backbone, head = trio("gemma3")
    backbone.train()
    backbone.blocks[0].eval()  # as a frozen block may be
    modes = [module.training for module in backbone.modules()]
    weights = {name: value.data_ptr() for name, value in backbone.named_parameters()}
    stream = stream_tokens(backbone, head, prompts(), GenerationOptions(8))
    next(stream)
    assert not any(module.training for module in backbone.modules())
    if closed_early:
        stream.close()
    else:
        list(stream)
    assert [module.training for module in backbone.modules()] == modes
    assert {name: value.data_ptr() for name, value in backbone.named_parameters()} == weights
    head(backbone(torch.tensor([[1, 2, 3]]))).sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_the_language_model_shares_every_weight() -> None:
    _, backbone, head = trio("llama")
    model = language_model(backbone, head)
    own = {id(p) for p in [*backbone.parameters(), *head.parameters()]}
    assert {id(p) for p in model.parameters()} == own
    assert model.get_output_embeddings() is head


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_bfloat16_weights_and_autocast_write(temperature: float) -> None:
    _, backbone, head = trio("llama")
    options = GenerationOptions(12, temperature)
    full = generate(backbone, head, prompts(), options, stop_id=None)
    dtypes = set()
    hook = head.register_forward_hook(lambda *passed: dtypes.add(passed[-1].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = generate(backbone, head, prompts(), options, stop_id=None)
    assert dtypes == {torch.bfloat16}, "autocast reaches the thread of transformers"
    hook.remove()
    half = generate(backbone.bfloat16(), head.bfloat16(), prompts(), options, stop_id=None)
    for responses in (mixed, half):
        assert [len(response) for response in responses] == [12] * 5
        # Rounding changes a token somewhere; a wrong position or a lost mask changes them all.
        starts = [response[0] == other[0] for response, other in zip(responses, full, strict=True)]
        assert sum(starts) >= 3


@torch.no_grad()
def test_logits_that_are_not_numbers_are_an_error() -> None:
    _, backbone, head = trio("llama")
    backbone.train()
    backbone.model.norm.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="logits are NaN: its training has diverged"):
        generate(backbone, head, [[1]], GenerationOptions())
    assert backbone.training


def test_prompts_without_room_for_a_response_are_refused() -> None:
    _, backbone, head = trio("llama")
    with pytest.raises(ValueError, match="prompt 1 is empty: give it at least one token"):
        generate(backbone, head, [[1], []], GenerationOptions())
    with pytest.raises(ValueError, match=r"prompt 0 is 96 tokens long .* at most 95 tokens"):
        generate(backbone, head, [[1] * CONTEXT], GenerationOptions())


def test_an_encoder_says_why_it_cannot() -> None:
    config = BertConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    with pytest.raises(ValueError, match="bert is an encoder: it reads whole texts"):
        generate(
            TransformersBackbone(config.to_dict()), nn.Linear(16, 50), [[1]], GenerationOptions()
        )


def test_a_head_that_is_not_linear_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing in the configuration says so by a name that is known."""
    config = GraniteConfig(**{**CONFIGS["llama"].to_diff_dict(), "logits_scaling": 3.0})
    backbone = TransformersBackbone(config.to_dict()).eval()
    monkeypatch.setattr(backbone, "why_no_language_model", lambda: None)
    head = nn.Linear(32, VOCABULARY, bias=False)
    with pytest.raises(ValueError, match="GraniteForCausalLM are not those of a linear head"):
        generate(backbone, head, [[1]], GenerationOptions())
