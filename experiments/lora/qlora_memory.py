"""Prints the memory of GPT-2's block matrices in fp32, bf16 and four bits, as a Markdown table.

python experiments/lora/qlora_memory.py

Sizes are those of the tensors themselves, quantized by bitsandbytes; values do not matter, so they
are random. "model" is everything a frozen base holds: embeddings and LayerNorms stay in fp32.
"""

import torch
from torch import nn

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.finetuning.qlora import QLoRA

SIZES = {"gpt2_small": (12, 12, 768), "gpt2_medium": (24, 16, 1024)}


class Model(nn.Module):
    """Backbone and head without weights of a task: what a strategy needs."""

    def __init__(self, n_layer: int, n_head: int, n_embd: int) -> None:
        super().__init__()
        self.backbone = GPT2(GPTConfig(n_layer=n_layer, n_head=n_head, n_embd=n_embd))
        self.head = nn.Linear(n_embd, 2)


def main() -> None:
    print("| model | weights of the blocks | MiB | of bf16 | model, MiB |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, size in SIZES.items():
        dense = sum(p.numel() * p.element_size() for p in Model(*size).backbone.parameters())
        for double in (False, True):
            model, strategy = Model(*size), QLoRA(double_quantization=double)
            strategy.apply(model)
            strategy.base_loaded(model)
            facts = strategy.describe(model)
            rest = dense / 2**20 - facts["as_fp32_mib"]
            if not double:
                for precision, ratio in (("fp32", 2.0), ("bf16", 1.0)):
                    mib = facts[f"as_{precision}_mib"]
                    print(
                        f"| `{name}` | {precision} | {mib:.1f} | {ratio:.3f} | {mib + rest:.1f} |"
                    )
            kind = "NF4, double quantisation" if double else "NF4"
            mib, share = facts["quantized_mib"], facts["share_of_bf16"]
            print(f"| `{name}` | {kind} | {mib:.1f} | {share:.3f} | {mib + rest:.1f} |")


if __name__ == "__main__":
    with torch.no_grad():
        main()
