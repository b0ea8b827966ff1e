"""Batches without padding: the real positions of all rows one after another.

Everything in a transformer block except attention acts on each position separately, so it can skip
padding; attention alone works on padded rows. The same idea as in Zhai et al. 2022,
"ByteTransformer: A High-Performance Transformer Boosted for Variable-Length Inputs", and as
"unpadding" in Warner et al. 2024, "ModernBERT".

Shapes: B rows, T positions, N positions that are computed, Q selected positions, C any width.
"""

from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

# N is rounded up to a multiple of this. oneDNN on CPUs, as torch.compile, prepares matrix products
# anew for every size, so a few sizes that return are cheaper than many exact ones.
BUCKET = 32


class Unpadding(NamedTuple):
    """The positions of (B, T) that are computed: the first ones of each row, and a few more.

    N is rounded up, so that up to ``BUCKET`` - 1 positions of padding follow the real ones.
    """

    indices: Tensor
    """(N,) int64 indices into the flattened (B, T): real positions row by row, then padding."""
    starts: Tensor
    """(B,) int64, index among the N positions of each row's first one."""
    lengths: Tensor
    """(B,) int64, how many of a row's first positions are computed, at least 1."""
    shape: tuple[int, int]
    """B and T."""

    @classmethod
    def of(cls, lengths: Int[Tensor, " B"], num_positions: int) -> "Unpadding | None":
        """Selects the first positions of each row.

        Args:
            lengths: how many of each row's first positions are needed, from 1 to T.
            num_positions: T, the width of the padded batch.

        Returns:
            ``None`` if no position would be saved.
        """
        is_needed = torch.arange(num_positions, device=lengths.device) < lengths[:, None]  # (B, T)
        count = -(-int(lengths.sum()) // BUCKET) * BUCKET
        if count >= is_needed.numel():
            return None
        indices = is_needed.flatten().logical_not().to(torch.int8).argsort(stable=True)[:count]
        starts = lengths.cumsum(0) - lengths
        return cls(indices, starts, lengths, (len(lengths), num_positions))

    def to(self, device: torch.device) -> "Unpadding":
        """Copies the indices to a device; does nothing if they are there."""
        indices, starts, lengths = (
            tensor.to(device, non_blocking=True)
            for tensor in (self.indices, self.starts, self.lengths)
        )
        return Unpadding(indices, starts, lengths, self.shape)

    def wider(self, num_positions: int) -> "Unpadding":
        """Returns the same positions of a batch that is padded to at least T positions."""
        B, T = self.shape
        if num_positions == T:
            return self
        indices = self.indices // T * num_positions + self.indices % T
        return self._replace(indices=indices, shape=(B, num_positions))

    def unpad(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "N C"]:
        """Returns the computed positions of a padded batch."""
        return cast(Tensor, _Unpad.apply(x, self.indices))  # type: ignore[no-untyped-call]

    def pad(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "B T C"]:
        """Returns a padded batch, with zeros where nothing was computed."""
        padded = _Pad.apply(x, self.indices, self.shape)  # type: ignore[no-untyped-call]
        return cast(Tensor, padded)

    def select(
        self, x: Float[Tensor, "N C"], positions: Int[Tensor, "B Q"]
    ) -> Float[Tensor, "B Q C"]:
        """Returns some positions of each row.

        Args:
            x: states of the computed positions.
            positions: in their row, from 0; those beyond a row's length give its last one.
        """
        last = self.lengths[:, None] - 1
        return x[self.starts[:, None] + positions.minimum(last)]


def select_positions(
    x: Float[Tensor, "*rows C"], positions: Int[Tensor, "B Q"], unpadding: Unpadding | None = None
) -> Float[Tensor, "B Q C"]:
    """Returns some positions of each row of a batch, padded or not.

    Args:
        x: (B, T, C), or (N, C) if unpadded.
        positions: in their row, from 0.
        unpadding: of an unpadded ``x``.
    """
    if unpadding is not None:
        return unpadding.select(x, positions)
    return x.gather(1, positions[:, :, None].expand(-1, -1, x.shape[2]))


# Each function is the gradient of the other. PyTorch's own gradients of indexing add up rows one
# at a time, in case an index occurs twice; here none does.


class _Unpad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, indices: Tensor) -> Tensor:
        ctx.save_for_backward(indices)
        ctx.shape = x.shape[:2]
        return x.flatten(0, 1).index_select(0, indices)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (indices,) = ctx.saved_tensors
        return _Pad.apply(grads[0], indices, ctx.shape), None  # type: ignore[no-untyped-call]


class _Pad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, indices: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(indices)
        B, T = shape
        return x.new_zeros(B * T, x.shape[1]).index_copy_(0, indices, x).view(B, T, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (indices,) = ctx.saved_tensors
        return _Unpad.apply(grads[0], indices), None, None  # type: ignore[no-untyped-call]
