"""Initial weights."""

from typing import Any

import torch
from torch import nn

INITS = ("gpt2", "torch", "empty")


def allocate(model: nn.Module) -> None:
    """Gives a model without buffers that is on the meta device memory on the default device.

    As ``to_empty``, which imports SymPy to do so: a third of a second of every command.
    """
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            memory = torch.empty(parameter.shape, dtype=parameter.dtype)
            setattr(module, name, nn.Parameter(memory, parameter.requires_grad))


@torch.no_grad()
def initialize(model: Any, scheme: str) -> None:
    """Draws initial weights from torch's global generator.

    Args:
        model: a :class:`~llm_lightning.backbone.gpt2.GPT2`, changed in place.
        scheme: ``gpt2``: Radford et al. 2019, section 2.3, as in the published code: N(0, 0.02),
            residual projections divided by sqrt(2 * n_layer), biases zero. ``torch``: PyTorch's
            layer defaults, drawn in the order of the book's ``GPTModel`` (query, key and value
            one after the other, weight then bias), so that one seed gives the book's numbers.
            ``empty``: nothing.
    """
    if scheme == "empty":
        return
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    if scheme == "torch":
        model.wte.reset_parameters()
        model.wpe.reset_parameters()
        width = model.config.n_embd
        for block in model.h:
            for start in range(0, 3 * width, width):
                part = nn.Linear(width, width)
                block.attn.c_attn.weight[start : start + width] = part.weight
                block.attn.c_attn.bias[start : start + width] = part.bias
            block.attn.c_proj.reset_parameters()
            block.mlp.c_fc.reset_parameters()
            block.mlp.c_proj.reset_parameters()
        return
    residual_std = 0.02 / (2 * model.config.n_layer) ** 0.5
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=residual_std if "c_proj" in name else 0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
