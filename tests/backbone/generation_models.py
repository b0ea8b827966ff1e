"""Small random language models and prompts of different lengths."""

import torch
from torch import nn

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig

SIZES = {"n_layer": 3, "n_head": 4, "n_embd": 32, "n_positions": 96, "vocab_size": 211}
LENGTHS = [7, 1, 30, 12, 19]


def language_model(seed: int, **fields: object) -> tuple[GPT2, nn.Linear]:
    """A random model that does not repeat a single token, and its tied head."""
    torch.manual_seed(seed)
    backbone = GPT2(GPTConfig(**SIZES, **fields)).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.3)
        backbone.wpe.weight.normal_(std=1.0)  # a tied head alone would repeat the token just read
    head = nn.Linear(SIZES["n_embd"], SIZES["vocab_size"], bias=False)
    head.weight = backbone.wte.weight
    return backbone, head


def ragged_prompts(seed: int, lengths: list[int] = LENGTHS) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(211, (length,), generator=generator).tolist() for length in lengths]
