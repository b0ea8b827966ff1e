"""Greedy generation is that of transformers."""

import pytest
import torch
from generation_models import SIZES, ragged_prompts
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from llm_lightning.backbone.checkpoint import load_weights
from llm_lightning.backbone.generation import generate
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.sampling import GenerationOptions


@pytest.fixture(params=[1, 2, 3], scope="module")
def trio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """transformers' language model, and our backbone and head from the checkpoint it saved."""
    torch.manual_seed(request.param)
    config = GPT2Config(
        **SIZES, initializer_range=0.3, bos_token_id=None, eos_token_id=None, pad_token_id=None
    )
    theirs = GPT2LMHeadModel(config).eval()
    # A tied head likes the token just read; strong positions keep the response moving.
    nn.init.normal_(theirs.transformer.wpe.weight, std=1.0)
    folder = tmp_path_factory.mktemp("language_model")
    theirs.save_pretrained(folder)
    ours = GPT2(GPTConfig(**SIZES, init="empty")).eval()
    load_weights(ours, folder / "model.safetensors")
    head = nn.Linear(SIZES["n_embd"], SIZES["vocab_size"], bias=False)
    head.weight = ours.wte.weight
    return theirs, ours, head


def their_responses(
    theirs: GPT2LMHeadModel, prompts: list[list[int]], stop_id: int | None, **options: object
) -> list[list[int]]:
    """What transformers generates greedily: left padding, an attention mask, cut at the stop."""
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    sequences = theirs.generate(
        torch.tensor([[0] * pad + prompt for pad, prompt in zip(padding, prompts, strict=True)]),
        attention_mask=torch.tensor([[0] * pad + [1] * (longest - pad) for pad in padding]),
        do_sample=False,
        pad_token_id=stop_id or 0,
        eos_token_id=stop_id,
        **options,
    )
    responses = [sequence[longest:].tolist() for sequence in sequences]
    return [
        response[: response.index(stop_id)] if stop_id in response else response
        for response in responses
    ]


def test_greedy_equals_transformers_for_one_prompt(trio: tuple) -> None:
    theirs, ours, head = trio
    for prompt in ragged_prompts(5):
        expected = their_responses(theirs, [prompt], None, max_new_tokens=48)
        assert len(set(expected[0])) > 5
        options = GenerationOptions(max_new_tokens=48)
        assert generate(ours, head, [prompt], options, stop_id=None) == expected


def test_greedy_equals_transformers_for_ragged_batches(trio: tuple) -> None:
    theirs, ours, head = trio
    prompts = ragged_prompts(6)
    expected = their_responses(theirs, prompts, None, max_new_tokens=48)
    assert all(len(response) == 48 and len(set(response)) > 5 for response in expected)
    options = GenerationOptions(max_new_tokens=48)
    assert generate(ours, head, prompts, options, stop_id=None) == expected


def test_rows_that_stop_at_different_steps_equal_transformers(trio: tuple) -> None:
    theirs, ours, head = trio
    prompts = ragged_prompts(7, [5, 9, 2, 17, 11, 3, 8, 24])
    options = GenerationOptions(max_new_tokens=48)
    whole = generate(ours, head, prompts, options, stop_id=None)
    generated = [token for response in whole for token in set(response[2:])]
    # In most rows, though not as their first token.
    stop_id = max(set(generated), key=generated.count)
    expected = their_responses(theirs, prompts, stop_id, max_new_tokens=48)
    assert len({len(response) for response in expected}) > 2
    assert generate(ours, head, prompts, options, stop_id=stop_id) == expected


@pytest.mark.parametrize("penalty", [1.3, 0.8])
def test_repetition_penalty_equals_transformers(trio: tuple, penalty: float) -> None:
    theirs, ours, head = trio
    options = GenerationOptions(max_new_tokens=48, repetition_penalty=penalty)
    prompts = ragged_prompts(8)
    responses = generate(ours, head, prompts, options, stop_id=None)
    # One by one: in a batch, transformers penalises the padding token as if the row held it.
    for prompt, response in zip(prompts, responses, strict=True):
        expected = their_responses(
            theirs, [prompt], None, max_new_tokens=48, repetition_penalty=penalty
        )
        assert [response] == expected
    assert responses != generate(
        ours, head, prompts, GenerationOptions(max_new_tokens=48), stop_id=None
    )
