"""Greedy responses to many prompts: ours and transformers', a fixed number of tokens each.

Nothing ends a response early, so that all generate equally much: random weights rarely end a text.
"""

import time
import zlib
from typing import Any

import torch
from flops import response_flops
from loop import PADDING_ID, read
from torch import nn

from llm_lightning.backbone.checkpoint import described, to_transformers
from llm_lightning.backbone.generation import generate
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.training.allocator import keep_freed_memory
from llm_lightning.training.precision import resolve

SEED = 123


def ours(
    *, prompts: str, sizes: dict[str, int], new_tokens: int, batch_size: int, precision: str
) -> dict[str, Any]:
    """Generates with this project's decoder."""
    keep_freed_memory()  # as our program does
    if precision == "auto":
        precision = "bf16" if resolve(precision, "cpu") == "bf16-mixed" else "fp32"
    prompt_ids, backbone = read(prompts), _backbone(sizes)
    backbone.to(_dtype(precision))
    head = nn.Linear(sizes["n_embd"], backbone.config.vocab_size, bias=False, device="meta")
    head.weight = backbone.wte.weight
    options = GenerationOptions(max_new_tokens=new_tokens, batch_size=batch_size)
    started = time.perf_counter()
    responses = generate(backbone, head, prompt_ids, options, stop_id=None)
    seconds = time.perf_counter() - started
    return _result(prompt_ids, responses, seconds, precision, sizes)


def transformers(
    *, prompts: str, sizes: dict[str, int], new_tokens: int, batch_size: int, precision: str
) -> dict[str, Any]:
    """Generates with ``generate``: one prompt at a time, or batches padded on the left.

    Batches hold prompts of similar length, as ours do.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    prompt_ids, backbone = read(prompts), _backbone(sizes)
    config = GPT2Config(**described(backbone.config), pad_token_id=PADDING_ID)
    model = GPT2LMHeadModel(config).eval()
    model.transformer.load_state_dict(to_transformers(backbone.state_dict()))
    model.tie_weights()
    model.to(_dtype(precision))
    model.generation_config.eos_token_id = None
    order = sorted(range(len(prompt_ids)), key=lambda index: len(prompt_ids[index]))
    responses: list[list[int]] = [[] for _ in prompt_ids]
    started = time.perf_counter()
    with torch.inference_mode(), _autocast(precision):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            width = max(len(prompt_ids[row]) for row in rows)
            blanks = [width - len(prompt_ids[row]) for row in rows]
            input_ids = torch.tensor(
                [
                    [PADDING_ID] * blank + prompt_ids[row]
                    for row, blank in zip(rows, blanks, strict=True)
                ]
            )
            is_real = torch.arange(width) >= torch.tensor(blanks)[:, None]
            written = model.generate(
                input_ids,
                attention_mask=is_real.long(),
                max_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=PADDING_ID,
            )
            for row, tokens in zip(rows, written[:, width:].tolist(), strict=True):
                responses[row] = tokens
    seconds = time.perf_counter() - started
    return _result(prompt_ids, responses, seconds, precision, sizes)


def _backbone(sizes: dict[str, int]) -> GPT2:
    torch.manual_seed(SEED)
    return GPT2(GPTConfig(**sizes)).eval()


def _dtype(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast")


def _result(
    prompt_ids: list[list[int]],
    responses: list[list[int]],
    seconds: float,
    precision: str,
    sizes: dict[str, int],
) -> dict[str, Any]:
    tokens = sum(map(len, responses))
    flops = sum(
        response_flops(
            n_layer=sizes["n_layer"], n_embd=sizes["n_embd"], prompt=len(p), response=len(r)
        )
        for p, r in zip(prompt_ids, responses, strict=True)
    )
    return {
        "precision": "fp32" if precision == "fp32" else "bf16",
        "gflops": flops / seconds / 1e9,
        "tokens_per_second": tokens / seconds,
        "tokens": tokens,
        "generation_s": seconds,
        "checksums": [zlib.crc32(bytes(str(response), "ascii")) for response in responses],
    }
