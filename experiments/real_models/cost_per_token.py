"""What does a token cost in a forward and in a backward pass of a transformers model?

    python experiments/real_models/cost_per_token.py MODEL_FOLDER --threads 1

prints a JSON line for each precision and length: milliseconds of processor time a token, without a
head, of a forward pass alone, of forward and backward with every weight trained, and with only the
last block trained. From it follows how long a run will take: tokens times passes. Processor time
counts all threads together and does not depend on what else the machine does.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from transformers import AutoModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="folder of a transformers model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--repeats", type=int, default=3, help="of which the median counts")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = AutoModel.from_pretrained(arguments.model, dtype=torch.float32)
    for precision in ("fp32", "bf16"):
        for length in arguments.lengths:
            costs = _costs(model, (arguments.rows, length), precision == "bf16", arguments.repeats)
            line = {"precision": precision, "threads": arguments.threads, "rows": arguments.rows}
            print(json.dumps(line | {"length": length, "ms_per_token": costs}), flush=True)


def _costs(
    model: nn.Module, shape: tuple[int, int], is_bf16: bool, repeats: int
) -> dict[str, float]:
    ids = torch.randint(5, 1000, shape)
    mask = torch.ones_like(ids)

    def forward() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            return model(input_ids=ids, attention_mask=mask).last_hidden_state

    def both() -> None:
        model.zero_grad()
        forward().float().square().mean().backward()

    costs = {}
    with torch.inference_mode():
        costs["forward"] = _milliseconds(forward, repeats)
    model.requires_grad_(False)
    _last_block(model).requires_grad_(True)
    costs["last block"] = _milliseconds(both, repeats)
    model.requires_grad_(True)
    costs["all"] = _milliseconds(both, repeats)
    return {name: round(value / ids.numel(), 3) for name, value in costs.items()}


def _last_block(model: nn.Module) -> nn.Module:
    blocks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(blocks, key=len)[-1]


def _milliseconds(work: Callable[[], object], repeats: int) -> float:
    work()  # kernels are prepared for every new size
    seconds = []  # of processor time
    for _ in range(repeats):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds) * 1000


if __name__ == "__main__":
    main()
