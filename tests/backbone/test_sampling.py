"""How tokens are chosen."""

import math

import pytest
import torch
from generation_models import language_model, ragged_prompts
from scipy.stats import chisquare
from torch import nn

from llm_lightning.backbone.generation import generate
from llm_lightning.backbone.sampling import GenerationOptions, penalize, sample


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


def test_whole_responses_follow_the_models_probabilities() -> None:
    """First tokens of many equal prompts: rows draw independently, from the right softmax."""
    backbone, head = language_model(4)
    with torch.no_grad():
        head.weight = nn.Parameter(head.weight[:9] / 4)
        probabilities = head(backbone(torch.tensor([[5, 6, 7]])))[0, -1].double().softmax(dim=-1)
    options = GenerationOptions(1, temperature=1.0, batch_size=512)
    responses = generate(backbone, head, [[5, 6, 7]] * 3000, options, stop_id=None)
    counts = torch.tensor(responses)[:, 0].bincount(minlength=9)
    assert chisquare(counts, 3000 * probabilities).pvalue > 0.01


def test_penalty_makes_seen_tokens_less_likely_whatever_their_sign() -> None:
    seen = torch.tensor([[True, True, False, False]])
    logits = torch.tensor([[3.0, -3.0, 3.0, -3.0]])
    assert penalize(logits, seen, 1.5).tolist() == [[2.0, -4.5, 3.0, -3.0]]


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
