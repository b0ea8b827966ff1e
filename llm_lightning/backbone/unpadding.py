"""The tokens of a batch one after another, nearly without the padding between them.

All that a block does, except for attention, it does to each position by itself. So it is given the
positions that matter and no others; attention alone sees rows, padded again.

Shapes: B rows, T positions, N packed positions, C any width.
"""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

# N is a multiple of this: on CPUs (oneDNN), as under torch.compile, matrix products are prepared
# anew for every size, and few sizes are prepared once and for all.
BUCKET = 32


class Packing(NamedTuple):
    """Which positions of (B, T) are computed: the first ones of each row, and some to round up."""

    places: Tensor
    """(N,) int64 places in the flattened (B, T): those that matter, row by row, then padding."""
    starts: Tensor
    """(B,) int64 place among the N of each row's first position."""
    widths: Tensor
    """(B,) int64, how many positions of each row matter, at least 1."""
    shape: tuple[int, int]
    """B and T."""

    @classmethod
    def of(cls, widths: Tensor, num_positions: int) -> "Packing | None":
        """Packs rows of these widths among ``num_positions``; ``None`` if nothing is saved."""
        matters = torch.arange(num_positions, device=widths.device) < widths[:, None]  # (B, T)
        count = -(-int(widths.sum()) // BUCKET) * BUCKET
        if count >= matters.numel():
            return None
        places = matters.flatten().logical_not().to(torch.int8).argsort(stable=True)[:count]
        starts = widths.cumsum(0) - widths
        return cls(places, starts, widths, (len(widths), num_positions))

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, C) to (N, C)."""
        return cast(Tensor, _Pack.apply(x, self.places))  # type: ignore[no-untyped-call]

    def unpack(self, x: Tensor) -> Tensor:
        """(N, C) to (B, T, C), zeros elsewhere."""
        padded = _Unpack.apply(x, self.places, self.shape)  # type: ignore[no-untyped-call]
        return cast(Tensor, padded)

    def take(self, x: Tensor, positions: Tensor) -> Tensor:
        """(N, C) at (B, Q) positions of the rows: (B, Q, C); behind a row's end, its last one."""
        last = self.widths[:, None] - 1
        return x[self.starts[:, None] + positions.minimum(last)]


# The gradient of one is the other. PyTorch's own gradients of an index add what falls on the same
# place, one row at a time, in case some places are given twice; here none is.


class _Pack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape = x.shape[:2]
        return x.flatten(0, 1).index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return _Unpack.apply(grads[0], index, ctx.shape), None  # type: ignore[no-untyped-call]


class _Unpack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(index)
        B, T = shape
        return x.new_zeros(B * T, x.shape[1]).index_copy_(0, index, x).view(B, T, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        return _Pack.apply(grads[0], index), None, None  # type: ignore[no-untyped-call]
