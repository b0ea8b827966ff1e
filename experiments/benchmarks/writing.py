"""Greedy answers to many prompts: ours and transformers', a fixed number of tokens each.

Nothing ends an answer early, so that all write equally much; random weights would not know when.
"""

import time
import zlib
from typing import Any

import torch
from flops import answer_flops
from loop import PADDING_ID, read
from torch import nn

from llm_lightning.backbone.checkpoint import described, to_transformers
from llm_lightning.backbone.generation import GenerationOptions, generate
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.training.allocator import keep_freed_memory
from llm_lightning.training.precision import resolve

SEED = 123


def ours(
    *, prompts: str, sizes: dict[str, int], new_tokens: int, batch_size: int, precision: str
) -> dict[str, Any]:
    """Writes with this project's decoder."""
    keep_freed_memory()  # as our program does
    if precision == "auto":
        precision = "bf16" if resolve(precision, "cpu") == "bf16-mixed" else "fp32"
    questions, backbone = read(prompts), _backbone(sizes)
    backbone.to(_dtype(precision))
    head = nn.Linear(sizes["n_embd"], backbone.config.vocab_size, bias=False, device="meta")
    head.weight = backbone.wte.weight
    options = GenerationOptions(max_new_tokens=new_tokens, batch_size=batch_size)
    started = time.perf_counter()
    answers = generate(backbone, head, questions, options, stop_id=None)
    seconds = time.perf_counter() - started
    return _result(questions, answers, seconds, precision, sizes)


def transformers(
    *, prompts: str, sizes: dict[str, int], new_tokens: int, batch_size: int, precision: str
) -> dict[str, Any]:
    """Writes with ``generate``: one prompt at a time, or batches padded on the left.

    Batches hold prompts of similar length, as ours do.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    questions, backbone = read(prompts), _backbone(sizes)
    config = GPT2Config(**described(backbone.config), pad_token_id=PADDING_ID)
    model = GPT2LMHeadModel(config).eval()
    model.transformer.load_state_dict(to_transformers(backbone.state_dict()))
    model.tie_weights()
    model.to(_dtype(precision))
    model.generation_config.eos_token_id = None
    order = sorted(range(len(questions)), key=lambda index: len(questions[index]))
    answers: list[list[int]] = [[] for _ in questions]
    started = time.perf_counter()
    with torch.inference_mode(), _autocast(precision):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            width = max(len(questions[row]) for row in rows)
            blanks = [width - len(questions[row]) for row in rows]
            input_ids = torch.tensor(
                [
                    [PADDING_ID] * blank + questions[row]
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
                answers[row] = tokens
    seconds = time.perf_counter() - started
    return _result(questions, answers, seconds, precision, sizes)


def _backbone(sizes: dict[str, int]) -> GPT2:
    torch.manual_seed(SEED)
    return GPT2(GPTConfig(**sizes)).eval()


def _dtype(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast")


def _result(
    questions: list[list[int]],
    answers: list[list[int]],
    seconds: float,
    precision: str,
    sizes: dict[str, int],
) -> dict[str, Any]:
    tokens = sum(map(len, answers))
    flops = sum(
        answer_flops(n_layer=sizes["n_layer"], n_embd=sizes["n_embd"], prompt=len(q), answer=len(a))
        for q, a in zip(questions, answers, strict=True)
    )
    return {
        "precision": "fp32" if precision == "fp32" else "bf16",
        "gflops": flops / seconds / 1e9,
        "tokens_per_second": tokens / seconds,
        "tokens": tokens,
        "generation_s": seconds,
        "checksums": [zlib.crc32(bytes(str(answer), "ascii")) for answer in answers],
    }
