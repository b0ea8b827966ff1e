"""Text generation by transformers' own ``generate``: its cache, masks and positions.

Only the choice of the next token is ours, so that a seed and the options mean the same for every
model, and a row of a batch does not depend on the others.

Shapes: B rows of a batch, T prompt positions, V vocabulary size.
"""

from collections.abc import Callable, Container, Generator, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.huggingface.pushed_values import pushed_values
from llm_lightning.backbone.huggingface.quiet import quiet
from llm_lightning.backbone.sampling import GenerationOptions, choose

_TOLERANCE = 0.02
"""Largest difference of logits, relative to the largest: above the rounding of bfloat16, below what
a head that scales its input would make of it."""


def generate_batch(
    backbone: TransformersBackbone,
    head: nn.Module,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[int],
    uniforms: Float64[Tensor, "all_rows steps"] | None,
    options: GenerationOptions,
    stop_id: int | None,
    unwanted: Container[int],
) -> Iterator[tuple[int, int]]:
    """Generates for some prompts; see :func:`~llm_lightning.backbone.generation.stream_tokens`.

    Args:
        backbone: in eval mode.
        head: maps hidden states (B, C) to logits (B, V).
        prompts: token ids of all prompts, each shorter than the context.
        rows: indices of those to continue, the shortest first.
        uniforms: samples of [0, 1) for each prompt and step; ``None``: greedy.
        options: how tokens are chosen.
        stop_id: the token that ends a row; ``None``: only length does.
        unwanted: prompts that get no more tokens, though they are computed as long as another of
            their batch.

    Yields:
        Index of a prompt and its next token; never the stop token.

    Raises:
        ValueError: if the model cannot generate text, or if logits are NaN.
    """
    if reason := backbone.why_no_language_model():
        raise ValueError(reason)
    with quiet():
        model = language_model(backbone, head)

    def room(row: int) -> int:
        return min(options.max_new_tokens, backbone.context_length - len(prompts[row]))

    # With the same room for all, no row is computed beyond the context after it has ended.
    for num_tokens, group in groupby(rows, key=room):
        together = list(group)
        chosen = None if uniforms is None else uniforms[together]
        steps = _steps(
            model, [prompts[row] for row in together], num_tokens, chosen, options, stop_id
        )
        unfinished = dict(enumerate(together))
        for tokens in steps:
            for place, row in list(unfinished.items()):
                if tokens[place] == stop_id or row in unwanted:
                    del unfinished[place]
                else:
                    yield row, tokens[place]
            if all(row in unwanted for row in unfinished.values()):
                steps.close()
                break


def language_model(backbone: TransformersBackbone, head: nn.Module) -> Any:
    """Returns transformers' causal language model around a backbone and a head, without a copy.

    Args:
        backbone: its base model becomes that of the language model, adapters included.
        head: becomes its output embedding.

    Raises:
        ValueError: if the language model computes something else than the head of the backbone's
            hidden states.
    """
    import transformers

    library: Any = transformers
    with torch.device("meta"):  # all of its own weights are replaced
        model = library.AutoModelForCausalLM.from_config(
            backbone.config, dtype=backbone.model.dtype, **backbone.options
        )
    setattr(model, model.base_model_prefix, backbone.model)
    model.set_output_embeddings(head)
    model.generation_config = library.GenerationConfig()  # the model's own may change the choice
    model.eval()
    kind = type(model).__name__
    parts = [*model.named_parameters(), *model.named_buffers()]
    if foreign := [name for name, value in parts if value.is_meta]:
        raise ValueError(
            f"{kind} has parts besides a backbone and a head ({', '.join(foreign)}): it cannot "
            f"generate text here"
        )
    with torch.no_grad():
        ids = torch.zeros(1, 1, dtype=torch.long, device=backbone.input_embedding.weight.device)
        ours = head(backbone(ids)).float()
        theirs = model(ids, use_cache=False).logits.float()
    is_same = (theirs - ours).abs().max() <= _TOLERANCE * ours.abs().max()
    if not is_same and not ours.isnan().any():  # which has an error of its own
        raise ValueError(
            f"the logits of {kind} are not those of a linear head: it cannot generate text here"
        )
    return model


def _steps(
    model: Any,
    prompts: Sequence[Sequence[int]],
    num_tokens: int,
    uniforms: Float64[Tensor, "B steps"] | None,
    options: GenerationOptions,
    stop_id: int | None,
) -> Generator[list[int]]:
    """Yields the next token of every row, until all have reached the stop token or the length."""
    device = model.get_input_embeddings().weight.device
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    padded = [[0] * pad + [*prompt] for pad, prompt in zip(padding, prompts, strict=True)]
    # A setting of a thread, and `generate` runs in another.
    is_mixed = torch.is_autocast_enabled(device.type)
    dtype = torch.get_autocast_dtype(device.type)

    def run(push: Callable[[list[int]], None]) -> None:
        first = torch.tensor(padding, device=device)[:, None]
        mask = torch.arange(longest, device=device) >= first  # (B, T)
        with torch.autocast(device.type, dtype, enabled=is_mixed), quiet():
            model.generate(
                torch.tensor(padded, device=device),
                attention_mask=mask.long(),
                do_sample=False,
                max_new_tokens=num_tokens,
                eos_token_id=stop_id,
                pad_token_id=0 if stop_id is None else stop_id,
                logits_processor=[_Choice(mask, uniforms, options)],
                streamer=_Streamer(push),
            )

    return pushed_values(run)


class _Choice:
    """A logits processor that leaves only the chosen token of each row.

    Args:
        mask: true at the tokens of the prompts, (B, T).
        uniforms: as for :func:`generate_batch`, for the rows of this batch.
        options: how tokens are chosen.
    """

    def __init__(
        self,
        mask: Bool[Tensor, "B T"],
        uniforms: Float64[Tensor, "B steps"] | None,
        options: GenerationOptions,
    ) -> None:
        self._mask = mask
        self._uniforms = uniforms
        self._options = options
        self._seen: Tensor | None = None  # (B, V) bool

    def __call__(
        self, input_ids: Int[Tensor, "B S"], scores: Float[Tensor, "B V"]
    ) -> Float[Tensor, "B V"]:
        step = input_ids.shape[1] - self._mask.shape[1]
        if self._options.repetition_penalty != 1:
            if self._seen is None:
                self._seen = torch.zeros_like(scores, dtype=torch.bool)
                # At padding, the row's last token is marked again, which changes nothing.
                real = torch.where(self._mask, input_ids, input_ids[:, -1:])
                self._seen.scatter_(1, real, True)
            self._seen.scatter_(1, input_ids[:, -1:], True)
        drawn = None if self._uniforms is None else self._uniforms[:, step]
        tokens = choose(scores, self._seen, drawn, self._options)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)


class _Streamer:
    """What ``generate`` calls with the prompt first, and then with the tokens of each step."""

    def __init__(self, push: Callable[[list[int]], None]) -> None:
        self._push = push
        self._is_prompt = True

    def put(self, tokens: Tensor) -> None:
        if not self._is_prompt:
            self._push(tokens.tolist())
        self._is_prompt = False

    def end(self) -> None:
        """Nothing is held back."""
