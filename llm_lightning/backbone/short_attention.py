"""Attention over short texts in half precision on CPUs, with a gradient of plain matrix products.

PyTorch's fused attention never holds all weights at once, which is what long texts need. On CPUs
its gradient in bf16 multiplies many small blocks one by one: with 64 positions it takes eight times
as long as these products, and a fifth of a step that trains everything (experiments/benchmarks).

Shapes: B batch, H attention heads, Q queries, S keys, D width of a head.
"""

from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

LONGEST = 256
"""Positions up to which all weights of a batch are held: 2 B H Q S bytes in each block."""


def is_faster(query: Float[Tensor, "B H Q D"], key: Float[Tensor, "B H S D"]) -> bool:
    """Whether :func:`attend` is faster than the fused kernel for these: to train, on CPUs."""
    return (
        query.device.type == "cpu"
        and query.dtype in (torch.bfloat16, torch.float16)
        and key.shape[2] <= LONGEST
        and torch.is_grad_enabled()
        and (query.requires_grad or key.requires_grad)
        and not torch.compiler.is_compiling()  # the compiler has kernels of its own
    )


def attend(
    query: Float[Tensor, "B H Q D"],
    key: Float[Tensor, "B H S D"],
    value: Float[Tensor, "B H S D"],
    mask: Bool[Tensor, "#B 1 Q S"] | None,
    *,
    is_causal: bool,
) -> Float[Tensor, "B H Q D"]:
    """Computes softmax(q k^T / sqrt(D)) v as exactly as the fused kernel: scores are in float32.

    Args:
        query: of the positions that are computed.
        key: of all positions.
        value: of all positions.
        mask: true where a query may attend to a key, which is at least one; ``None``: everywhere.
        is_causal: in place of a mask: a query attends to itself and what precedes it. Q = S.
    """
    if is_causal:
        mask = query.new_ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    return cast(Tensor, _Attention.apply(query, key, value, mask))  # type: ignore[no-untyped-call]


class _Attention(torch.autograd.Function):
    """The gradient is that of Vaswani et al. 2017, equation 1, product by product."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (x.flatten(0, 1) for x in (query, key, value))
        scale = q.shape[-1] ** -0.5
        with torch.autocast("cpu", enabled=False):
            scores = q.float() @ (k.float() * scale).transpose(1, 2)
            if mask is not None:  # ten times as fast as to fill the scores themselves
                hiding = scores.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)
                scores.unflatten(0, query.shape[:2]).add_(hiding)
            weights = scores.softmax(dim=-1).to(q.dtype)
        ctx.save_for_backward(q, k, v, weights)
        ctx.scale = scale
        return cast(Tensor, weights @ v).view_as(query)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, weights = ctx.saved_tensors
        shape = grad.shape[:2]
        grad = grad.flatten(0, 1)
        of_weights = grad @ v.transpose(1, 2)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_scores *= ctx.scale
        grads = (of_scores @ k, of_scores.transpose(1, 2) @ q, weights.transpose(1, 2) @ grad)
        of_query, of_key, of_value = (x.unflatten(0, shape) for x in grads)
        return of_query, of_key, of_value, None
