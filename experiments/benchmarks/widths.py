"""What many widths of batches cost in half precision on CPUs: prepared products, kept by oneDNN.

python experiments/benchmarks/widths.py --attention fused
python experiments/benchmarks/widths.py --attention products --multiple 1
python experiments/benchmarks/widths.py --attention products

takes 200 steps of one block of nano's size on batches of eight texts of 8 to 59 tokens, as wide as
the longest of them, and prints the memory of the process and the processor time as new widths come.
Products are as wide as the next multiple. A process for each, because what is kept stays.
"""

import argparse
import time

import torch
from torch.nn import functional as F

from llm_lightning.backbone import short_attention
from llm_lightning.backbone.block import Block
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.unpadding import Unpadding
from llm_lightning.training.allocator import keep_freed_memory

_SHOWN = (1, 10, 25, 50, 100, 200)  # steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", choices=("all", "one"), default="all")
    parser.add_argument("--attention", choices=("fused", "products"), default="products")
    parser.add_argument("--multiple", type=int, default=short_attention.WIDTHS)
    args = parser.parse_args()
    short_attention.WIDTHS = args.multiple
    if args.attention == "fused":
        short_attention.LONGEST = 0
    keep_freed_memory()  # as every run does
    torch.set_num_threads(1)
    block, head = Block(GPTConfig(n_layer=1, n_embd=128, n_head=4)), torch.nn.Linear(128, 2)
    optimizer = torch.optim.AdamW([*block.parameters(), *head.parameters()], fused=True)
    draw, widths = torch.Generator().manual_seed(1), set()
    print(f"before: {own_mib():.0f} MiB")
    started = time.process_time()
    for step in range(1, _SHOWN[-1] + 1):
        lengths = torch.randint(8, 60, (8,), generator=draw)
        width = int(lengths.max())
        widths.add(width)
        unpadding = Unpadding.of(lengths, width)
        shape = (8, width, 128) if unpadding is None else (len(unpadding.indices), 128)
        x = torch.randn(shape, generator=draw)
        last = lengths[:, None] - 1
        with torch.autocast("cpu", torch.bfloat16):
            if args.positions == "one":
                mask = torch.arange(width) < lengths[:, None]
                states = block(x, mask[:, None, None], positions=last, unpadding=unpadding)
            else:
                states = block(x, None, unpadding=unpadding)
                states = states.mean(dim=-2).expand(8, 128)[:, None]
            loss = F.cross_entropy(head(states[:, 0]).float(), torch.ones(8, dtype=torch.long))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step in _SHOWN:
            took = time.process_time() - started
            print(
                f"step {step}: {own_mib():.0f} MiB, {took:.2f} s of processor time, "
                f"{len(widths)} widths",
                flush=True,
            )


def own_mib() -> float:
    """Memory that this process has allocated, in MiB, as Linux counts it."""
    with open("/proc/self/status", encoding="utf-8") as status:
        kib = next(line.split()[1] for line in status if line.startswith("RssAnon"))
    return int(kib) / 1024


if __name__ == "__main__":
    main()
