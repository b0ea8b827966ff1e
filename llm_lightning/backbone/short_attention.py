"""Attention over short texts in half precision on CPUs, by plain matrix products.

PyTorch's fused attention never holds all weights at once, which is what long texts need. On CPUs
its gradient in bf16 multiplies many small blocks one by one: with 64 positions it takes six times
as long as these products, a fifth of a step that trains everything. It also keeps some MiB for
every new width of a batch, which these do not (experiments/benchmarks).

Shapes: B batch, H attention heads, Q queries, S keys, D width of a head.
"""

from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LONGEST = 256
"""Positions up to which all weights of a batch are held: 2 B H Q S bytes in each block."""
WIDTHS = 16
"""Widths of products in half precision on CPUs are filled up to multiples of this with zeros.

oneDNN prepares a product anew for every width, which takes about a millisecond, and keeps up to
1,024 of them, of some hundred KiB each. A few widths return.
"""


def is_better(query: Float[Tensor, "B H Q D"], key: Float[Tensor, "B H S D"]) -> bool:
    """Whether these should go through :func:`attend`."""
    return (
        query.device.type == "cpu"
        and query.dtype in (torch.bfloat16, torch.float16)
        and key.shape[2] <= LONGEST
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
        mask = query.new_ones(1, 1, query.shape[2], key.shape[2], dtype=torch.bool).tril()
    hiding = _hiding(mask, query.shape[2], key.shape[2], query.device)
    return cast(Tensor, _Attention.apply(query, key, value, hiding))  # type: ignore[no-untyped-call]


def returning(width: int) -> int:
    """Returns the next width of those that return."""
    return -(-width // WIDTHS) * WIDTHS


def _hiding(
    mask: Tensor | None, num_queries: int, num_keys: int, device: torch.device
) -> Float[Tensor, "#B 1 Q S"]:
    """What is added to scores, at returning widths: minus infinity where a key is hidden.

    Added queries see every key: their weights must be finite, and are not used.
    """
    shape = (1, 1) if mask is None else mask.shape[:2]
    hiding = torch.zeros(*shape, returning(num_queries), returning(num_keys), device=device)
    hiding[..., :num_queries, num_keys:] = -torch.inf
    if mask is not None:
        hiding[..., :num_queries, :num_keys].masked_fill_(~mask, -torch.inf)
    return hiding


def _widened(x: Tensor) -> Tensor:
    """(B, H, T, D) to (B H, returning T, D), with zeros behind."""
    missing = returning(x.shape[2]) - x.shape[2]
    return (F.pad(x, (0, 0, 0, missing)) if missing else x).flatten(0, 1)


class _Attention(torch.autograd.Function):
    """The gradient is that of Vaswani et al. 2017, equation 1, product by product."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, hiding: Tensor) -> Tensor:
        rows = query.shape[:2]
        q, k, v = (_widened(x) for x in (query, key, value))
        scale = q.shape[-1] ** -0.5
        with torch.autocast("cpu", enabled=False):
            scores = q.float() @ (k.float() * scale).transpose(1, 2)
            # To fill the scores themselves with minus infinity takes ten times as long.
            scores.unflatten(0, rows).add_(hiding)
            weights = scores.softmax(dim=-1).to(q.dtype)
        ctx.save_for_backward(q, k, v, weights)
        ctx.scale, ctx.num_keys = scale, key.shape[2]
        attended: Tensor = weights @ v
        return attended.view(*rows, -1, v.shape[-1])[:, :, : query.shape[2]]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, weights = ctx.saved_tensors
        rows, num_queries = grad.shape[:2], grad.shape[2]
        grad = _widened(grad)
        of_weights = grad @ v.transpose(1, 2)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_scores *= ctx.scale
        of_query = (of_scores @ k).unflatten(0, rows)[:, :, :num_queries]
        of_key = (of_scores.transpose(1, 2) @ q).unflatten(0, rows)[:, :, : ctx.num_keys]
        of_value = (weights.transpose(1, 2) @ grad).unflatten(0, rows)[:, :, : ctx.num_keys]
        return of_query, of_key, of_value, None
