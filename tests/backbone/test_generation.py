import math

import pytest
import torch
from scipy.stats import chisquare
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from llm_lightning.backbone.checkpoint import load_weights
from llm_lightning.backbone.generation import (
    GenerationOptions,
    generate,
    penalize,
    sample,
    stream_tokens,
)
from llm_lightning.backbone.gpt2 import GPT2, GPTConfig
from llm_lightning.backbone.kv_cache import KeyValueCache

SIZES = {"n_layer": 3, "n_head": 4, "n_embd": 32, "n_positions": 96, "vocab_size": 211}
LENGTHS = [7, 1, 30, 12, 19]


def language_model(seed: int, **fields: object) -> tuple[GPT2, nn.Linear]:
    """A random model that does not say one thing only, and its tied head."""
    torch.manual_seed(seed)
    backbone = GPT2(GPTConfig(**SIZES, **fields)).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.3)
        backbone.wpe.weight.normal_(std=1.0)  # a tied head alone would repeat the token just read
    head = nn.Linear(SIZES["n_embd"], SIZES["vocab_size"], bias=False)
    head.weight = backbone.wte.weight
    return backbone, head


def ragged_prompts(seed: int, lengths: list[int] = LENGTHS) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(211, (length,), generator=generator).tolist() for length in lengths]


@pytest.fixture(params=[1, 2, 3], scope="module")
def trio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """transformers' language model, and our backbone and head from the checkpoint it saved."""
    torch.manual_seed(request.param)
    config = GPT2Config(
        **SIZES, initializer_range=0.3, bos_token_id=None, eos_token_id=None, pad_token_id=None
    )
    theirs = GPT2LMHeadModel(config).eval()
    # A tied head likes the token just read; strong positions keep the answer moving.
    nn.init.normal_(theirs.transformer.wpe.weight, std=1.0)
    folder = tmp_path_factory.mktemp("language_model")
    theirs.save_pretrained(folder)
    ours = GPT2(GPTConfig(**SIZES, init="empty")).eval()
    load_weights(ours, folder / "model.safetensors")
    head = nn.Linear(SIZES["n_embd"], SIZES["vocab_size"], bias=False)
    head.weight = ours.wte.weight
    return theirs, ours, head


def their_answers(
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
    answers = [sequence[longest:].tolist() for sequence in sequences]
    return [answer[: answer.index(stop_id)] if stop_id in answer else answer for answer in answers]


# --- against transformers


def test_greedy_equals_transformers_for_one_prompt(trio: tuple) -> None:
    theirs, ours, head = trio
    for prompt in ragged_prompts(5):
        expected = their_answers(theirs, [prompt], None, max_new_tokens=48)
        assert len(set(expected[0])) > 5
        options = GenerationOptions(max_new_tokens=48)
        assert generate(ours, head, [prompt], options, stop_id=None) == expected


def test_greedy_equals_transformers_for_ragged_batches(trio: tuple) -> None:
    theirs, ours, head = trio
    prompts = ragged_prompts(6)
    expected = their_answers(theirs, prompts, None, max_new_tokens=48)
    assert all(len(answer) == 48 and len(set(answer)) > 5 for answer in expected)
    options = GenerationOptions(max_new_tokens=48)
    assert generate(ours, head, prompts, options, stop_id=None) == expected


def test_rows_that_stop_at_different_steps_equal_transformers(trio: tuple) -> None:
    theirs, ours, head = trio
    prompts = ragged_prompts(7, [5, 9, 2, 17, 11, 3, 8, 24])
    options = GenerationOptions(max_new_tokens=48)
    whole = generate(ours, head, prompts, options, stop_id=None)
    said = [token for answer in whole for token in set(answer[2:])]
    stop_id = max(set(said), key=said.count)  # said by most rows, though not as their first word
    expected = their_answers(theirs, prompts, stop_id, max_new_tokens=48)
    assert len({len(answer) for answer in expected}) > 2
    assert generate(ours, head, prompts, options, stop_id=stop_id) == expected


@pytest.mark.parametrize("penalty", [1.3, 0.8])
def test_repetition_penalty_equals_transformers(trio: tuple, penalty: float) -> None:
    theirs, ours, head = trio
    options = GenerationOptions(max_new_tokens=48, repetition_penalty=penalty)
    prompts = ragged_prompts(8)
    answers = generate(ours, head, prompts, options, stop_id=None)
    # One by one: in a batch, transformers penalises the padding token as if the row held it.
    for prompt, answer in zip(prompts, answers, strict=True):
        expected = their_answers(
            theirs, [prompt], None, max_new_tokens=48, repetition_penalty=penalty
        )
        assert [answer] == expected
    assert answers != generate(
        ours, head, prompts, GenerationOptions(max_new_tokens=48), stop_id=None
    )


# --- the cache


@torch.no_grad()
def test_cached_states_equal_uncached_ones_step_by_step() -> None:
    backbone, head = language_model(1)
    texts = [torch.tensor(text) for text in ragged_prompts(1, [50, 31, 44])]
    lengths = torch.tensor([20, 1, 14])  # 30 more tokens follow in each row
    input_ids = nn.utils.rnn.pad_sequence(
        [text[:length] for text, length in zip(texts, lengths, strict=True)],
        batch_first=True,
        padding_value=9,
    )
    cache = KeyValueCache(SIZES["n_layer"], capacity=50)
    states = backbone(input_ids, torch.arange(20) < lengths[:, None], cache=cache)
    last = states[torch.arange(3), lengths - 1]
    for step in range(31):
        for row, text in enumerate(texts):
            expected = head(backbone(text[None, : lengths[row] + step]))[0, -1]
            assert expected.std() > 0.5
            torch.testing.assert_close(head(last[row]), expected, rtol=0, atol=1e-5)
        if step < 30:
            following = torch.stack(
                [text[length + step] for text, length in zip(texts, lengths, strict=True)]
            )
            last = backbone(following[:, None], cache=cache)[:, -1]


@torch.no_grad()
def test_cache_takes_text_in_ragged_pieces_and_drops_rows() -> None:
    backbone, _ = language_model(2)
    first, second = (torch.tensor(text) for text in ragged_prompts(2, [12, 9]))
    cache = KeyValueCache(SIZES["n_layer"], capacity=12)
    start = torch.stack([first[:5], torch.cat([second[:2], torch.tensor([7, 7, 7])])])
    backbone(start, torch.arange(5) < torch.tensor([[5], [2]]), cache=cache)
    piece = backbone(torch.stack([first[5:9], second[2:6]]), cache=cache)
    torch.testing.assert_close(piece[0], backbone(first[None, :9])[0, 5:], rtol=0, atol=1e-5)
    torch.testing.assert_close(piece[1], backbone(second[None, :6])[0, 2:], rtol=0, atol=1e-5)
    cache.keep(torch.tensor([1]))
    assert cache.width == 6
    rest = backbone(second[None, 6:], cache=cache)
    torch.testing.assert_close(rest[0], backbone(second[None])[0, 6:], rtol=0, atol=1e-5)


def test_cache_refuses_what_does_not_fit() -> None:
    backbone, _ = language_model(1)
    cache = KeyValueCache(SIZES["n_layer"], capacity=4)
    with pytest.raises(ValueError, match="the cache holds 4 tokens a row, got 5"):
        backbone(torch.zeros(1, 5, dtype=torch.long), cache=cache)
    cache = KeyValueCache(SIZES["n_layer"], capacity=200)
    backbone(torch.zeros(1, 90, dtype=torch.long), cache=cache)
    with pytest.raises(ValueError, match="input is 97 tokens long, the model's context is 96"):
        backbone(torch.zeros(1, 7, dtype=torch.long), cache=cache)


# --- how tokens are chosen


def test_top_k_of_one_and_a_tiny_top_p_are_greedy() -> None:
    backbone, head = language_model(3)
    prompts = ragged_prompts(3)
    greedy = generate(backbone, head, prompts, GenerationOptions(40), stop_id=None)
    for options in (
        GenerationOptions(40, temperature=2.0, top_k=1),
        GenerationOptions(40, temperature=2.0, top_p=1e-6),
        GenerationOptions(40, temperature=1e-300),
    ):
        assert generate(backbone, head, prompts, options, stop_id=None) == greedy
    free = GenerationOptions(40, temperature=2.0)
    assert generate(backbone, head, prompts, free, stop_id=None) != greedy


def draws(logits: list[float], count: int, **fields: object) -> torch.Tensor:
    """Counts of each token in many draws from one distribution."""
    uniforms = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    options = GenerationOptions(**{"temperature": 1.0, **fields})
    tokens = sample(torch.tensor(logits).expand(count, -1), uniforms, options)
    return tokens.bincount(minlength=len(logits))


HAND_MADE = [math.log(p) for p in (0.05, 0.5, 0.1, 0.3, 0.05)]


@pytest.mark.parametrize(
    ("fields", "support"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 3}, {1, 2, 3}),
        ({"top_k": 99}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.49}, {1}),
        ({"top_p": 0.51}, {1, 3}),
        ({"top_p": 0.79}, {1, 3}),
        ({"top_p": 0.81}, {1, 2, 3}),
        ({"top_p": 1.0}, {0, 1, 2, 3, 4}),
        # Of the first two, 0.5 / 0.8 = 0.625 belongs to the first: top-k comes before top-p.
        ({"top_k": 2, "top_p": 0.6}, {1}),
        ({"top_k": 2, "top_p": 0.65}, {1, 3}),
        # At half the temperature the first has 0.25 / 0.355 = 0.70: temperature comes before.
        ({"temperature": 0.5, "top_p": 0.69}, {1}),
    ],
)
def test_sampled_tokens_are_exactly_the_allowed_ones(fields: dict, support: set[int]) -> None:
    assert set(draws(HAND_MADE, 5000, **fields).nonzero()[:, 0].tolist()) == support


def test_boundaries_belong_to_the_right_token() -> None:
    """A draw of 0 takes no impossible token; a nucleus that top-p fills exactly is full."""
    options = GenerationOptions(temperature=1.0)
    impossible_first = torch.tensor([[-math.inf, 0.0, 0.0]])
    zero, half = (torch.tensor([value], dtype=torch.float64) for value in (0.0, 0.5))
    assert sample(impossible_first, zero, options).tolist() == [1]
    assert sample(impossible_first, half, options).tolist() == [2]
    assert len(draws([0.0, 0.0], 500, top_p=0.5).nonzero()) == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize(
    ("fields", "kept"), [({}, 12), ({"top_k": 5}, 5), ({"top_k": 8, "top_p": 1.0}, 8)]
)
def test_draws_follow_the_softmax(temperature: float, fields: dict, kept: int) -> None:
    logits = torch.randn(12)
    probabilities = (logits.double() / temperature).softmax(dim=-1)
    allowed = probabilities.argsort(descending=True)[:kept]
    counts = draws(logits.tolist(), 20_000, temperature=temperature, **fields)
    assert counts[allowed].sum() == 20_000
    expected = 20_000 * probabilities[allowed] / probabilities[allowed].sum()
    assert chisquare(counts[allowed], expected).pvalue > 0.01


def test_whole_answers_follow_the_models_probabilities() -> None:
    """First tokens of many equal prompts: rows draw independently, from the right softmax."""
    backbone, head = language_model(4)
    with torch.no_grad():
        head.weight = nn.Parameter(head.weight[:9] / 4)
        probabilities = head(backbone(torch.tensor([[5, 6, 7]])))[0, -1].double().softmax(dim=-1)
    options = GenerationOptions(1, temperature=1.0, batch_size=512)
    answers = generate(backbone, head, [[5, 6, 7]] * 3000, options, stop_id=None)
    counts = torch.tensor(answers)[:, 0].bincount(minlength=9)
    assert chisquare(counts, 3000 * probabilities).pvalue > 0.01


def test_penalty_makes_seen_tokens_less_likely_whatever_their_sign() -> None:
    seen = torch.tensor([[True, True, False, False]])
    logits = torch.tensor([[3.0, -3.0, 3.0, -3.0]])
    assert penalize(logits, seen, 1.5).tolist() == [[2.0, -4.5, 3.0, -3.0]]


# --- rows


def test_sampling_repeats_with_its_seed_and_ignores_the_global_one() -> None:
    backbone, head = language_model(5)
    prompts = [[3, 4, 5]] * 4
    options = GenerationOptions(30, temperature=1.0, seed=7)
    first = generate(backbone, head, prompts, options, stop_id=None)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert generate(backbone, head, prompts, options, stop_id=None) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert len(set(map(tuple, first))) == 4  # equal prompts get answers of their own
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
    answers = generate(backbone, head, others, options, stop_id=stop_id)
    assert [answers[row] for row in kept] == [together[row] for row in kept]


def test_each_row_stops_on_its_own_and_leaves_the_batch() -> None:
    backbone, head = language_model(7)
    prompts = ragged_prompts(10)
    whole = generate(backbone, head, prompts, GenerationOptions(40), stop_id=None)
    stop_id = whole[2][6]
    expected = [answer[: [*answer, stop_id].index(stop_id)] for answer in whole]
    assert 0 < len(expected[2]) <= 6 < max(map(len, expected))
    batch_sizes = []
    backbone.register_forward_pre_hook(lambda _, inputs: batch_sizes.append(len(inputs[0])))
    assert generate(backbone, head, prompts, GenerationOptions(40), stop_id=stop_id) == expected
    # Steps read a row's tokens but for its last: a stop token, or the fortieth.
    steps = [min(len(answer), 39) for answer in expected]
    assert sum(batch_sizes) == len(prompts) + sum(steps)
    assert batch_sizes == sorted(batch_sizes, reverse=True)


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


def test_answers_end_with_the_context() -> None:
    backbone, head = language_model(8)
    prompts = ragged_prompts(13, [95, 4, 90])
    answers = generate(backbone, head, prompts, GenerationOptions(30), stop_id=None)
    assert [len(answer) for answer in answers] == [1, 30, 6]
    alone = generate(backbone, head, prompts[1:2], GenerationOptions(30), stop_id=None)
    assert answers[1:2] == alone


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


# --- modes and precision


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
    for answers in (mixed, half):
        assert [len(answer) for answer in answers] == [20] * 5
        # Rounding changes a token somewhere; a wrong position or a lost mask changes them all.
        starts = [answer[0] == other[0] for answer, other in zip(answers, full, strict=True)]
        assert sum(starts) >= 4


# --- what is refused


def test_prompts_that_cannot_be_answered_are_refused() -> None:
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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_new_tokens": 0}, "task.generation.max_new_tokens must be at least 1, got 0"),
        ({"temperature": -0.1}, "temperature must be at least 0 and finite, got -0.1"),
        ({"temperature": math.inf}, "temperature must be at least 0 and finite, got inf"),
        ({"temperature": math.nan}, "temperature must be at least 0 and finite, got nan"),
        ({"top_k": 0}, "task.generation.top_k must be null or at least 1, got 0"),
        ({"top_p": 0.0}, r"task.generation.top_p must be null or lie in \(0, 1\], got 0.0"),
        ({"top_p": 1.1}, r"task.generation.top_p must be null or lie in \(0, 1\], got 1.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0 and finite, got 0.0"),
        ({"seed": -1}, r"task.generation.seed must lie in \[0, 2\*\*32\), got -1"),
        ({"batch_size": 0}, "task.generation.batch_size must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenerationOptions(**fields)
