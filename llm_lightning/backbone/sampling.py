"""How the next token is chosen from its logits: greedily, or sampled.

Shapes: B rows of a batch, V vocabulary size.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor


@dataclass
class GenerationOptions:
    """How tokens are chosen, and when generation ends.

    Sampling applies, in this order: repetition penalty, temperature, top-k, top-p.

    Raises:
        ValueError: if a field is out of range.
    """

    max_new_tokens: int = 256
    """Longest response in tokens, at least 1; the end of the context may come sooner."""
    temperature: float = 0.0
    """Divides the logits, at least 0; 0 is greedy decoding, which ignores ``top_k``, ``top_p`` and
    ``seed``."""
    top_k: int | None = None
    """Sample among this many most likely tokens, at least 1; null: among all."""
    top_p: float | None = None
    """Sample among the fewest most likely tokens that together reach this probability, in (0, 1]
    (nucleus sampling, Holtzman et al. 2020); null: among all."""
    repetition_penalty: float = 1.0
    """Divides positive logits, and multiplies negative ones, of tokens that the prompt or the
    response already contains; above 0, 1 changes nothing (CTRL, Keskar et al. 2019)."""
    seed: int = 123
    """Random seed of sampling, in [0, 2**32)."""
    batch_size: int = 32
    """Prompts in one batch, at least 1; affects memory and speed, not the responses."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        rules = {
            "max_new_tokens": ("be at least 1", self.max_new_tokens >= 1),
            "temperature": ("be at least 0 and finite", 0 <= self.temperature < math.inf),
            "top_k": ("be null or at least 1", self.top_k is None or self.top_k >= 1),
            "top_p": ("be null or lie in (0, 1]", self.top_p is None or 0 < self.top_p <= 1),
            "repetition_penalty": (
                "be above 0 and finite",
                0 < self.repetition_penalty < math.inf,
            ),
            "seed": ("lie in [0, 2**32)", 0 <= self.seed < 2**32),
            "batch_size": ("be at least 1", self.batch_size >= 1),
        }
        for key, (rule, holds) in rules.items():
            if not holds:
                raise ValueError(f"task.generation.{key} must {rule}, got {getattr(self, key)}")


def choose(
    logits: Float[Tensor, "B V"],
    seen: Bool[Tensor, "B V"] | None,
    uniforms: Float64[Tensor, " B"] | None,
    options: GenerationOptions,
) -> Int64[Tensor, " B"]:
    """Chooses one token per row.

    Args:
        logits: of the next token, in full precision.
        seen: true at tokens that the row already contains; needed for a repetition penalty.
        uniforms: on the CPU, in [0, 1); ``None``: the most likely token.
        options: how tokens are chosen.

    Raises:
        ValueError: if logits are NaN.
    """
    if logits.amax(dim=-1).isnan().any():  # the maximum is NaN if any value is
        raise ValueError("the model's logits are NaN: its training has diverged")
    if seen is not None:
        logits = penalize(logits, seen, options.repetition_penalty)
    if uniforms is None:
        return logits.argmax(dim=-1)
    return sample(logits, uniforms, options)


def penalize(
    logits: Float[Tensor, "B V"], seen: Bool[Tensor, "B V"], penalty: float
) -> Float[Tensor, "B V"]:
    """Makes tokens that occurred before less likely (Keskar et al. 2019, "CTRL", section 4.1).

    The paper divides every logit, which would make negative ones more likely; here, as in
    transformers, those are multiplied.

    Args:
        logits: of the next token.
        seen: true at tokens that the row already contains.
        penalty: above 0; below 1 favours repetition.
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def sample(
    logits: Float[Tensor, "B V"], uniforms: Float64[Tensor, " B"], options: GenerationOptions
) -> Int64[Tensor, " B"]:
    """Samples one token per row by inverting its cumulative distribution.

    In double precision on the CPU: no allowed token is too rare to be drawn, and a seed gives
    the same sample on every device.

    Args:
        logits: of the next token.
        uniforms: on the CPU, in [0, 1).
        options: temperature above 0, top-k and top-p.

    Returns:
        Token ids, on the logits' device.
    """
    candidates = None  # (B, K) token ids, the most likely first; None: all, in order
    scores = logits
    if options.top_k is not None or options.top_p is not None:
        vocab_size = logits.shape[-1]
        scores, candidates = logits.topk(min(options.top_k or vocab_size, vocab_size), dim=-1)
    scores = scores.cpu().double()
    # Subtracting the maximum first keeps small temperatures from overflowing.
    scores = (scores - scores.amax(dim=-1, keepdim=True)) / options.temperature
    probabilities = scores.softmax(dim=-1)
    if options.top_p is not None:
        more_likely = probabilities.cumsum(dim=-1) - probabilities
        probabilities = probabilities.masked_fill(more_likely >= options.top_p, 0)
    cumulative = probabilities.cumsum(dim=-1)
    # After top-p the total is below 1. `right`: never a token of probability 0.
    targets = uniforms[:, None] * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, targets, right=True).to(logits.device)  # (B, 1)
    return (drawn if candidates is None else candidates.gather(1, drawn))[:, 0]


def draw_uniforms(rows: int, options: GenerationOptions) -> Tensor | None:
    """Returns (rows, max_new_tokens) samples of [0, 1) on the CPU; ``None`` if greedy.

    Drawn row by row in advance, so that a row's samples depend neither on the lengths of other
    rows nor on the batches.
    """
    if options.temperature == 0:
        return None
    generator = torch.Generator().manual_seed(options.seed)
    draws = torch.empty(rows, options.max_new_tokens, dtype=torch.float64)
    for draw in draws:
        draw.uniform_(generator=generator)
    return draws
