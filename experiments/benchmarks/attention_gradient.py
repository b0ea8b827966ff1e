"""Attention of short texts in bf16 on a CPU: PyTorch's fused kernel and plain products.

    python experiments/benchmarks/attention_gradient.py [--rounds 7]

Eight causal texts of gpt2_small's 12 heads of 64; forward and backward, by turns; one thread;
medians of CPU time.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from llm_lightning.backbone import short_attention
from llm_lightning.training.allocator import keep_freed_memory

ROWS, HEADS, WIDTH = 8, 12, 64
LENGTHS = (32, 64, 128, 192, 256, 384)

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
KERNELS: dict[str, Attention] = {
    "fused": partial(F.scaled_dot_product_attention, is_causal=True),
    "products": partial(short_attention.attend, mask=None, is_causal=True),
}


def seconds(attention: Attention, projected: Tensor) -> tuple[float, float]:
    """Of the forward and of the backward pass."""
    query, key, value = (
        part.unflatten(2, (HEADS, WIDTH)).transpose(1, 2) for part in projected.chunk(3, dim=2)
    )
    started = time.process_time()
    attended = attention(query, key, value).transpose(1, 2).flatten(2)
    middle = time.process_time()
    attended.backward(attended.detach())
    projected.grad = None
    return middle - started, time.process_time() - middle


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    keep_freed_memory()  # as our program does
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| tokens | " + " | ".join(f"{n}: forward, backward, ms" for n in KERNELS) + " | ratio |")
    print("| ---: | ---: | ---: | ---: |")
    for length in LENGTHS:
        projected = torch.randn(ROWS, length, 3 * HEADS * WIDTH).bfloat16().requires_grad_()
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in KERNELS}
        for number in range(rounds + 2):  # the first two prepare the products
            for name, attention in KERNELS.items():
                measured = seconds(attention, projected)
                if number > 1:
                    found[name].append(measured)
        cells, totals = [], []
        for name in KERNELS:
            medians = [1e3 * statistics.median(part) for part in zip(*found[name], strict=True)]
            cells.append(f"{medians[0]:.1f}, {medians[1]:.1f}")
            totals.append(sum(medians))
        print(f"| {length} | {' | '.join(cells)} | {totals[0] / totals[1]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
