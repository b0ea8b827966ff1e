"""What the special path for one selected position saves in a training step.

    python experiments/benchmarks/single_position.py [--model gpt2_small] [--rounds 7] [--steps 20]

Steps of the last block on cached activations (batches of 8 examples of 40 to 80 tokens, float32,
one thread, random weights) with ``CausalSelfAttention`` as it is, and with attention that computes
the keys and values of all positions. The two alternate; the medians are of CPU time.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from llm_lightning.backbone.attention import CausalSelfAttention
from llm_lightning.backbone.unpadding import Unpadding
from llm_lightning.data.batching import Batch
from llm_lightning.finetuning.frozen_activations.cache import ActivationCache
from llm_lightning.tasks.classifier import Classifier

SIZES = {
    "gpt2_small": {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024},
    "nano": {"n_layer": 4, "n_head": 4, "n_embd": 128, "n_positions": 512},
}


def with_all_keys(
    self: CausalSelfAttention,
    x: Tensor,
    mask: Tensor | None,
    positions: Tensor,
    unpadding: Unpadding | None,
) -> Tensor:
    """In place of ``_attend_single``: the path that several positions take."""
    query, key, value = self._project(x, positions, unpadding)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return attended.transpose(1, 2).flatten(2)


def training_step(model: str, num_examples: int = 8) -> Callable[[], None]:
    """Returns a function that does one training step of the last block on cached activations."""
    torch.manual_seed(0)
    sizes = SIZES[model]
    task = Classifier(
        task={},
        model=sizes,
        finetune={"_target_": "llm_lightning.finetuning.strategies.TopBlocks", "num_blocks": 1},
        optim={},
        class_names=["ham", "spam"],
        class_weights=None,
        text={"max_length": 120, "padding": "batch"},
        seed=0,
    )
    lengths = torch.linspace(40, 80, num_examples).long()  # 60 tokens on average
    indices = torch.arange(num_examples)
    cache = ActivationCache(sizes["n_layer"] - 1, False, {"train": lengths}, sizes["n_embd"])
    cache.store_in(torch.randn(cache.num_rows, cache.width))
    task.frozen_activations = cache
    ids = torch.randint(50257, (num_examples, int(lengths.max())))
    batch = Batch(ids, lengths, torch.arange(num_examples) % 2, indices)
    optimizer = task.optim.optimizer(task.parameters())

    def step() -> None:
        loss = F.cross_entropy(task.logits(batch, "train"), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", choices=SIZES, default="gpt2_small")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    step = training_step(arguments.model)
    variants = {"single": CausalSelfAttention._attend_single, "all keys": with_all_keys}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_ in range(arguments.rounds + 1):  # the first one warms up
        for name, attend in variants.items():
            CausalSelfAttention._attend_single = attend  # type: ignore[method-assign]
            step()
            started = time.process_time()
            for _ in range(arguments.steps):
                step()
            if round_:
                seconds[name].append((time.process_time() - started) / arguments.steps)
    single, all_keys = (statistics.median(seconds[name]) for name in variants)
    for name, values in seconds.items():
        low, high = 1e3 * min(values), 1e3 * max(values)
        print(f"{name:10} {1e3 * statistics.median(values):7.2f} ms ({low:.2f} to {high:.2f})")
    print(f"saved {1 - single / all_keys:.1%} of a step, {arguments.rounds} alternating rounds")


if __name__ == "__main__":
    main()
