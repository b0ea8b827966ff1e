"""Text generation: many prompts at once, one new token per row and step, with a key/value cache.

Shapes: B unfinished rows of a batch, T prompt positions, C embedding width, V vocabulary size.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.kv_cache import KeyValueCache
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID


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


def generate(
    backbone: GPT2,
    head: nn.Module,
    prompts: Sequence[Sequence[int]],
    options: GenerationOptions,
    *,
    stop_id: int | None = END_OF_TEXT_ID,
) -> list[list[int]]:
    """Generates a response to each prompt.

    Args:
        backbone: a causal model.
        head: maps hidden states (B, C) to logits (B, V).
        prompts: token ids of each prompt, of any lengths.
        options: how tokens are chosen.
        stop_id: the token that ends a row; ``None``: only length does.

    Returns:
        The new tokens of each prompt, in the prompts' order, without the stop token.

    Raises:
        ValueError: as :func:`stream_tokens`.
    """
    responses: list[list[int]] = [[] for _ in prompts]
    for row, token in stream_tokens(backbone, head, prompts, options, stop_id=stop_id):
        responses[row].append(token)
    return responses


def stream_tokens(
    backbone: GPT2,
    head: nn.Module,
    prompts: Sequence[Sequence[int]],
    options: GenerationOptions,
    *,
    stop_id: int | None = END_OF_TEXT_ID,
) -> Iterator[tuple[int, int]]:
    """Generates a response to each prompt and yields each token as soon as it is chosen.

    A row ends at ``stop_id``, after ``max_new_tokens``, or when prompt and response fill the
    context, whichever comes first; it then leaves the batch. A row does not depend on the others
    (up to floating-point rounding of the logits): a sampled one depends on the seed,
    ``max_new_tokens`` and the index of its prompt.

    The modules are in eval mode until the last token, or until the iterator is closed; then their
    previous modes are restored.

    Args:
        backbone: a causal model.
        head: maps hidden states (B, C) to logits (B, V).
        prompts: token ids of each prompt, of any lengths.
        options: how tokens are chosen.
        stop_id: the token that ends a row; ``None``: only length does.

    Yields:
        Index of a prompt and its next token; never the stop token. Prompts are processed
        ``batch_size`` at a time, the shortest first.

    Raises:
        ValueError: if a prompt is empty or leaves no room in the context, if the model is not
            causal, or if logits are NaN. Raised at the first step, as in every generator.
    """
    context_length = backbone.context_length
    for row, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(
                f"prompt {row} is empty: give it at least one token, such as the end-of-text "
                f"token {END_OF_TEXT_ID}, after which GPT-2 starts a new text"
            )
        if len(prompt) >= context_length:
            raise ValueError(
                f"prompt {row} is {len(prompt)} tokens long and the model's context is "
                f"{context_length}, which leaves no room for a response: shorten the prompt to at "
                f"most {context_length - 1} tokens"
            )
    uniforms = _uniforms(len(prompts), options)
    # Prompts of similar length share a batch, which needs little padding.
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    with _eval_mode(backbone, head):
        for start in range(0, len(order), options.batch_size):
            rows = order[start : start + options.batch_size]
            yield from _generate_batch(backbone, head, prompts, rows, uniforms, options, stop_id)


def _generate_batch(
    backbone: GPT2,
    head: nn.Module,
    prompts: Sequence[Sequence[int]],
    rows: list[int],
    uniforms: Tensor | None,
    options: GenerationOptions,
    stop_id: int | None,
) -> Iterator[tuple[int, int]]:
    """Generates for the prompts with these indices; see :func:`stream_tokens`."""
    device = next(backbone.parameters()).device
    context_length = backbone.context_length
    lengths = torch.tensor([len(prompts[row]) for row in rows], device=device)
    longest = max(len(prompts[row]) for row in rows)
    padded = [[*prompts[row], *[0] * (longest - len(prompts[row]))] for row in rows]
    input_ids = torch.tensor(padded, device=device)  # (B, T)
    padding_mask = torch.arange(longest, device=device) < lengths[:, None]
    room = {row: min(options.max_new_tokens, context_length - len(prompts[row])) for row in rows}

    # The last token of a response is no input, so it needs no slot.
    capacity = max(len(prompts[row]) + room[row] - 1 for row in rows)
    cache = KeyValueCache(backbone.num_blocks, capacity)
    seen: Tensor | None = None  # (B, V) bool
    # Not around `yield`: the caller's code between two tokens must not run in inference mode.
    with torch.inference_mode():
        hidden = backbone(input_ids, padding_mask, cache=cache)
        hidden = hidden[torch.arange(len(rows), device=device), lengths - 1]  # (B, C)
    for step in range(options.max_new_tokens):
        with torch.inference_mode():
            logits = head(hidden).float()  # (B, V)
            if logits.amax(dim=-1).isnan().any():  # the maximum is NaN if any value is
                raise ValueError("the model's logits are NaN: its training has diverged")
            if options.repetition_penalty != 1:
                if seen is None:
                    seen = torch.zeros_like(logits, dtype=torch.bool)
                    # At padding, the row's first token is marked again, which changes nothing.
                    seen.scatter_(1, torch.where(padding_mask, input_ids, input_ids[:, :1]), True)
                logits = penalize(logits, seen, options.repetition_penalty)
            if uniforms is None:
                tokens = logits.argmax(dim=-1)
            else:
                tokens = sample(logits, uniforms[rows, step], options)

        unfinished = []  # batch indices of rows that continue
        for place, (row, token) in enumerate(zip(rows, tokens.tolist(), strict=True)):
            if token != stop_id:
                yield row, token
                if step + 1 < room[row]:
                    unfinished.append(place)
        if not unfinished:
            return
        with torch.inference_mode():
            if len(unfinished) < len(rows):
                rows = [rows[place] for place in unfinished]
                kept = torch.tensor(unfinished, device=device)
                tokens = tokens[kept]
                seen = None if seen is None else seen[kept]
                cache.keep(kept)
            if seen is not None:
                seen.scatter_(1, tokens[:, None], True)
            hidden = backbone(tokens[:, None], cache=cache)[:, 0]


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


def _uniforms(rows: int, options: GenerationOptions) -> Tensor | None:
    """(rows, max_new_tokens) float64 samples on the CPU; ``None`` if greedy.

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


@contextmanager
def _eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Puts modules in eval mode, then restores the mode of every sub-module."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
