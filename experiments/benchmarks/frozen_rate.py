"""How fast frozen blocks are computed in bf16 on one core: under autocast, and with packed weights.

    python experiments/benchmarks/frozen_rate.py [--rounds 7]

The eleven frozen blocks of ``last_block`` with gpt2_small, on 33 texts of 32 tokens, by turns; one
thread; medians of CPU time. The rate counts matrix products alone, by the formula in ``flops.py``.
"""

import argparse
import statistics
import time
from contextlib import nullcontext

import torch
from flops import step_flops
from machine import rates
from schedule import sizes

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.packed_products import packed
from llm_lightning.training.allocator import keep_freed_memory

TEXTS, TOKENS = 33, 32
SIZE = 2048  # of the product that the rate is set against


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    keep_freed_memory()  # as our program does
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = sizes("gpt2_small")
    backbone, depth = GPT2(GPTConfig(**shape)).eval(), shape["n_layer"] - 1
    ids = torch.randint(0, 50000, (TEXTS, TOKENS))
    seconds: dict[str, list[float]] = {"under autocast": [], "with packed weights": []}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(rounds + 1):  # the first one prepares the products
            for name, own in seconds.items():
                is_packed = name == "with packed weights"
                blocks = backbone.blocks[:depth]
                with packed(blocks, TEXTS * TOKENS) if is_packed else nullcontext():
                    backbone.first_blocks(ids[:1], None, depth)
                    started = time.process_time()
                    backbone.first_blocks(ids, None, depth)
                    own.append(time.process_time() - started)
    flops = step_flops(
        **{key: shape[key] for key in ("n_layer", "n_head", "n_embd")},
        strategy="last_layer", rows=TEXTS, width=TOKENS, first_block=1,
    )  # fmt: skip
    best = rates(sizes=[[SIZE, SIZE, SIZE]], seconds=1.0)["gflops"]["bf16"]
    print("| frozen blocks | GFLOP/s of a core | of the best |")
    print("| --- | ---: | ---: |")
    for name, own in seconds.items():
        rate = flops / statistics.median(own[1:]) / 1e9
        print(f"| {name} | {rate:.0f} | {rate / best:.0%} |")
    print(f"\nBest of a product of {SIZE} x {SIZE} matrices: {best:.0f} GFLOP/s.")


if __name__ == "__main__":
    main()
