"""A benchmark's prompts, continued up to its stop texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from torch import nn

from llm_lightning.backbone.generation import stream_tokens
from llm_lightning.backbone.protocol import Backbone
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.presentation.progress import progress_bar

DEFAULT_MAX_TOKENS = 256
"""Longest response of a task that names no length, as in the harness."""
_SHARED_FROM = 16
"""Tokens that all prompts of a batch must have in common before they are computed apart."""
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_KNOWN = {*_LENGTHS, "until", "do_sample", "temperature", "top_k", "top_p", "repetition_penalty"}


@dataclass
class Made:
    """Responses, and what had to give way for them."""

    texts: list[str]
    num_cut: int = 0
    """Prompts that lost their beginning."""
    num_capped: int = 0
    """Prompts whose responses may be only half as long as the model's context."""


def generate_until(
    backbone: Backbone,
    head: nn.Module,
    tokenizer: Tokenizer,
    prompts: Sequence[tuple[Sequence[int], Mapping[str, Any]]],
    *,
    stop_id: int | None,
    batch_size: int,
) -> Made:
    """Continues each prompt until one of its stop texts, the end of a text or its length.

    Args:
        backbone: a causal model.
        head: hidden states to logits.
        tokenizer: the model's.
        prompts: token ids and the task's settings: ``until``, ``max_gen_toks``, ``temperature``...
        stop_id: ends a response, beside the tokenizer's end of text.
        batch_size: prompts at a time.

    Raises:
        ValueError: if a task has a setting that is not known.
    """
    made = Made([""] * len(prompts))
    # Batches of one kind of settings, of prompts of similar length.
    order = sorted(range(len(prompts)), key=lambda i: (repr(prompts[i][1]), len(prompts[i][0])))
    with progress_bar() as progress:
        bar = progress.add_task("responses", total=len(prompts))
        while order:
            settings = prompts[order[0]][1]
            batch = [row for row in order[:batch_size] if prompts[row][1] == settings]
            order = order[len(batch) :]
            options = _options(settings, len(batch))
            room = min(options.max_new_tokens, backbone.context_length // 2)
            made.num_capped += len(batch) if room < options.max_new_tokens else 0
            options.max_new_tokens = room
            longest = backbone.context_length - room
            given = [list(prompts[row][0][-longest:]) or [tokenizer.start_id] for row in batch]
            made.num_cut += sum(len(prompts[row][0]) > longest for row in batch)
            until = _stop_texts(settings)
            for row, text in zip(
                batch,
                _continued(backbone, head, tokenizer, given, options, until, stop_id),
                strict=True,
            ):
                made.texts[row] = text
            progress.advance(bar, len(batch))
    return made


def _continued(
    backbone: Backbone,
    head: nn.Module,
    tokenizer: Tokenizer,
    prompts: list[list[int]],
    options: GenerationOptions,
    until: Sequence[str],
    stop_id: int | None,
) -> list[str]:
    """Continues one batch; a row leaves it as soon as it has reached a stop text."""
    stop = tokenizer.end_id if stop_id is None else stop_id
    tokens: list[list[int]] = [[] for _ in prompts]
    ended: set[int] = set()
    # A token is at least a byte, so a stop text is within as many of them, and a beginning of one.
    looked_at = max((len(text.encode()) for text in until), default=0) + 1
    num_shared = _num_shared(prompts)
    for row, token in stream_tokens(
        backbone,
        head,
        prompts,
        options,
        stop_id=stop,
        unwanted=ended,
        num_shared=num_shared if num_shared >= _SHARED_FROM else 0,
    ):
        if token == tokenizer.end_id:
            ended.add(row)
            continue
        tokens[row].append(token)
        newest = tokenizer.decode(tokens[row][-looked_at:])
        if any(text in newest for text in until):
            ended.add(row)
    return [_before(tokenizer.decode(row), until) for row in tokens]


def _num_shared(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with, the same in all."""
    together = zip(*prompts, strict=False)
    return sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, together))


def _before(text: str, until: Sequence[str]) -> str:
    for stop in until:
        text = text.split(stop)[0]
    return text


def _stop_texts(settings: Mapping[str, Any]) -> list[str]:
    until = settings.get("until") or []
    return [text for text in ([until] if isinstance(until, str) else until) if text]


def _options(settings: Mapping[str, Any], batch_size: int) -> GenerationOptions:
    if unknown := set(settings) - _KNOWN:
        raise ValueError(
            f"generation_kwargs: {', '.join(sorted(unknown))} is not supported; known are "
            f"{', '.join(sorted(_KNOWN))}"
        )
    lengths = [settings[key] for key in _LENGTHS if settings.get(key) is not None]
    temperature = float(settings.get("temperature") or 0.0)
    if settings.get("do_sample") and not temperature:
        temperature = 1.0
    return GenerationOptions(
        max_new_tokens=int(lengths[0]) if lengths else DEFAULT_MAX_TOKENS,
        temperature=temperature if settings.get("do_sample", temperature > 0) else 0.0,
        top_k=settings.get("top_k"),
        top_p=settings.get("top_p"),
        repetition_penalty=settings.get("repetition_penalty", 1.0),
        batch_size=batch_size,
    )
