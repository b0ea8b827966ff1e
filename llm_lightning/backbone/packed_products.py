"""Matrix products in bf16 on CPUs whose weights are converted and laid out once.

Under autocast a frozen weight is converted to bf16 at every call, and oneDNN brings it into the
layout of its kernels. For frozen blocks, which all texts go through, both can be done once; and
GPT-2's GELU, computed within the product, need not read its result again. Together they save a
fifth of the time (experiments/benchmarks). Only for inference: the operator has no gradient.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llm_lightning.backbone.block import MLP


class PackedLinear(nn.Module):
    """A linear layer in bf16 without a gradient, perhaps with tanh GELU behind it.

    Args:
        layer: whose weight and bias these are.
        num_rows: about as many rows as are multiplied at a time; others give the same.
        has_gelu: whether GELU follows.
    """

    def __init__(self, layer: nn.Linear, num_rows: int, *, has_gelu: bool = False) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias  # some models look at them
        weight = layer.weight.detach().bfloat16()
        bias = None if layer.bias is None else layer.bias.detach().bfloat16()
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, num_rows)
        name, algorithm = ("gelu", "tanh") if has_gelu else ("none", "")
        self._arguments: tuple[Any, ...] = (packed, bias, name, [], algorithm)

    def forward(self, x: Float[Tensor, "*rows I"]) -> Float[Tensor, "*rows O"]:
        """Applies it as under autocast; GELU is rounded once less."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x.bfloat16(), *self._arguments)
        return found


@contextmanager
def packed(blocks: Iterable[nn.Module], num_rows: int) -> Iterator[None]:
    """Has the linear layers of frozen blocks computed so, where the processor multiplies bf16.

    Layers that are adapted, quantized, watched or not on the CPU stay as they are.

    Args:
        blocks: frozen; used under autocast to bf16, without gradients.
        num_rows: about as many positions as are computed at a time.
    """
    replaced: list[tuple[nn.Module, str, nn.Module]] = []

    def replace(parent: nn.Module, name: str, new: nn.Module) -> None:
        replaced.append((parent, name, getattr(parent, name)))
        setattr(parent, name, new)

    parents = [module for block in blocks for module in block.modules()] if _is_supported() else []
    for parent in parents:
        for name, child in list(parent.named_children()):
            if not _is_plain(child):
                continue
            has_gelu = type(parent) is MLP and name == "c_fc"
            replace(parent, name, PackedLinear(child, num_rows, has_gelu=has_gelu))
            if has_gelu:
                replace(parent, "act", nn.Identity())
    try:
        yield
    finally:
        for parent, name, old in replaced:
            setattr(parent, name, old)


def _is_supported() -> bool:
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _is_plain(module: nn.Module) -> TypeGuard[nn.Linear]:
    return (
        type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and module.weight.device.type == "cpu"
        and not module._forward_hooks
        and not module._forward_pre_hooks
    )
