"""Text generation: many prompts at once, one new token per row and step, with a key/value cache.

GPT-2 is run here; a model of transformers by its own code, in ``huggingface/generation.py``.

Shapes: B unfinished rows of a batch, T prompt positions, C embedding width, V vocabulary size.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.huggingface.generation import generate_batch
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.kv_cache import KeyValueCache
from llm_lightning.backbone.protocol import Backbone
from llm_lightning.backbone.sampling import GenerationOptions, choose, draw_uniforms
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID


def generate(
    backbone: Backbone,
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
    backbone: Backbone,
    head: nn.Module,
    prompts: Sequence[Sequence[int]],
    options: GenerationOptions,
    *,
    stop_id: int | None = END_OF_TEXT_ID,
    unwanted: Container[int] = (),
    num_shared: int = 0,
) -> Iterator[tuple[int, int]]:
    """Generates a response to each prompt and yields each token as soon as it is chosen.

    A row ends at ``stop_id``, after ``max_new_tokens``, or when prompt and response fill the
    context, whichever comes first, or when the caller wants no more of it; it then leaves the
    batch. A row does not depend on the others (up to floating-point rounding of the logits): a
    sampled one depends on the seed, ``max_new_tokens`` and the index of its prompt.

    The modules are in eval mode until the last token, or until the iterator is closed; then their
    previous modes are restored.

    Args:
        backbone: a causal model.
        head: maps hidden states (B, C) to logits (B, V).
        prompts: token ids of each prompt, of any lengths.
        options: how tokens are chosen.
        stop_id: the token that ends a row; ``None``: only length does.
        unwanted: prompts that get no more tokens; the caller adds to it between two of them.
        num_shared: tokens with which every prompt begins, the same in all; GPT-2 computes them once
            for each batch.

    Yields:
        Index of a prompt and its next token; never the stop token. Prompts are processed
        ``batch_size`` at a time, the shortest first.

    Raises:
        ValueError: if a prompt is empty or leaves no room in the context, if the model cannot
            generate text, or if logits are NaN. Raised at the first step, as in every generator.
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
    uniforms = draw_uniforms(len(prompts), options)
    # Prompts of similar length share a batch, which needs little padding.
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    run: Callable[..., Iterator[tuple[int, int]]] = partial(_generate_batch, num_shared=num_shared)
    if isinstance(backbone, TransformersBackbone):
        run = generate_batch
    with _eval_mode(cast(nn.Module, backbone), head):
        for start in range(0, len(order), options.batch_size):
            rows = order[start : start + options.batch_size]
            yield from run(backbone, head, prompts, rows, uniforms, options, stop_id, unwanted)


def _generate_batch(
    backbone: GPT2,
    head: nn.Module,
    prompts: Sequence[Sequence[int]],
    rows: list[int],
    uniforms: Tensor | None,
    options: GenerationOptions,
    stop_id: int | None,
    unwanted: Container[int],
    *,
    num_shared: int,
) -> Iterator[tuple[int, int]]:
    """Generates for the prompts with these indices; see :func:`stream_tokens`."""
    device = next(backbone.parameters()).device
    context_length = backbone.context_length
    lengths = torch.tensor([len(prompts[row]) for row in rows], device=device)
    longest = max(len(prompts[row]) for row in rows)
    padded = [[*prompts[row], *[0] * (longest - len(prompts[row]))] for row in rows]
    input_ids = torch.tensor(padded, device=device)  # (B, T)
    padding_mask = torch.arange(longest, device=device) < lengths[:, None]
    # The last token of each prompt stays, since its state is what the first new one comes from.
    num_shared = min(num_shared, int(lengths.min()) - 1) if len(rows) > 1 else 0
    room = {row: min(options.max_new_tokens, context_length - len(prompts[row])) for row in rows}

    # The last token of a response is no input, so it needs no slot.
    capacity = max(len(prompts[row]) + room[row] - 1 for row in rows)
    cache = KeyValueCache(backbone.num_blocks, capacity)
    seen: Tensor | None = None  # (B, V) bool
    # Not around `yield`: the caller's code between two tokens must not run in inference mode.
    with torch.inference_mode():
        if num_shared > 0:
            beginning = KeyValueCache(backbone.num_blocks, num_shared)
            backbone(input_ids[:1, :num_shared], cache=beginning)
            cache = beginning.repeated(torch.zeros_like(lengths), room=capacity - num_shared)
        hidden = backbone(input_ids[:, num_shared:], padding_mask[:, num_shared:], cache=cache)
        last = lengths - num_shared - 1
        hidden = hidden[torch.arange(len(rows), device=device), last]  # (B, C)
    for step in range(options.max_new_tokens):
        with torch.inference_mode():
            logits = head(hidden).float()  # (B, V)
            if options.repetition_penalty != 1 and seen is None:
                seen = torch.zeros_like(logits, dtype=torch.bool)
                # At padding, the row's first token is marked again, which changes nothing.
                seen.scatter_(1, torch.where(padding_mask, input_ids, input_ids[:, :1]), True)
            drawn = None if uniforms is None else uniforms[rows, step]
            tokens = choose(logits, seen, drawn, options)

        unfinished = []  # batch indices of rows that continue
        for place, (row, token) in enumerate(zip(rows, tokens.tolist(), strict=True)):
            if token != stop_id and row not in unwanted:
                yield row, token
                if step + 1 < room[row]:
                    unfinished.append(place)
        unfinished = [place for place in unfinished if rows[place] not in unwanted]
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
