"""Activations of the frozen prefix, computed once for every example.

What lies below the lowest parameter that trains gives the same output in every epoch, unless
dropout acts there. It is computed once, and every later pass starts from what was kept.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.unpadding import Packing


class Reading(NamedTuple):
    """What a task needs of a batch: B examples, T positions, Q of them read by the head."""

    input_ids: Tensor
    """(B, T) int64, without columns that make no difference."""
    padding_mask: Tensor | None
    """(B, T) bool, true at real tokens; ``None`` where none must be hidden."""
    widths: Tensor
    """(B,) int64, how many of a row's first positions matter."""
    positions: Tensor | None
    """(B, Q) int64; ``None`` where all are read, which is the same for all batches."""
    num_positions: Tensor
    """(B,) int64, how many of a row's first positions read count, at most Q."""


def frozen_depth(backbone: GPT2) -> int:
    """Returns how many of the first blocks give the same output in every epoch."""
    config = backbone.config
    if config.embd_pdrop or config.attn_pdrop or config.resid_pdrop:
        return 0
    if backbone.wte.weight.requires_grad or backbone.wpe.weight.requires_grad:
        return 0
    trains = [any(p.requires_grad for p in block.parameters()) for block in backbone.h]
    return trains.index(True) if True in trains else len(trains)


class PrefixCache:
    """What block ``depth`` reads, for some splits: a matrix an example.

    Args:
        depth: the blocks that the states went through.
        is_read: whether only the positions that the head reads are kept, which is enough where
            no block is left to run.
        counts: for each split the positions kept of each example, (N,) int64.
        width: C.
    """

    def __init__(self, depth: int, is_read: bool, counts: Mapping[str, Tensor], width: int) -> None:
        self.depth = depth
        self.is_read = is_read
        self.width = width
        self._counts = dict(counts)
        self._starts: dict[str, Tensor] = {}
        self.num_rows = 0
        """Positions of all examples together."""
        for split, count in counts.items():
            self._starts[split] = self.num_rows + count.cumsum(0) - count
            self.num_rows += int(count.sum())
        self._rows: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Size of the states, in float32."""
        return self.num_rows * self.width * torch.float32.itemsize

    @property
    def num_examples(self) -> int:
        """Examples of all splits."""
        return sum(map(len, self._counts.values()))

    def __contains__(self, split: object) -> bool:
        """Whether the states of a split are here."""
        return self._rows is not None and split in self._starts

    def keep_in(self, rows: Tensor) -> None:
        """Keeps the states in a tensor, (num_rows, C), whose values may be there already."""
        self._rows = rows

    @property
    def rows(self) -> Tensor:
        """(num_rows, C) float32, what was given to :meth:`keep_in`."""
        if self._rows is None:
            raise RuntimeError("call keep_in() first")
        return self._rows

    def put(self, split: str, index: Tensor, states: Tensor) -> None:
        """Keeps the states of a batch.

        Args:
            split: where its examples are from.
            index: (B,) which they are.
            states: (N, C), one example after another, of each as many as are kept.
        """
        counts, starts = self._counts[split][index], self._starts[split][index]
        before = (counts.cumsum(0) - counts).repeat_interleave(counts)  # (N,)
        rows = starts.repeat_interleave(counts) + torch.arange(len(before)) - before
        self.rows[rows] = states.to("cpu", torch.float32)

    def states(self, split: str, index: Tensor, packing: Packing | None = None) -> Tensor:
        """Returns states of examples, on their device.

        Args:
            split: where the examples are from.
            index: (B,) which they are.
            packing: which of (B, L) are wanted; ``None``: all.

        Returns:
            (B, L, C), or (N, C) if packed. L is the largest count; what is behind a row's own
            positions are states of other positions, not zeros.
        """
        on_cpu = index.cpu()
        counts, starts = self._counts[split][on_cpu], self._starts[split][on_cpu]
        at = torch.arange(int(counts.max())).minimum(counts[:, None] - 1)
        rows = starts[:, None] + at  # (B, L)
        if packing is not None:
            rows = rows.flatten()[packing.places.cpu()]
        return self.rows[rows].to(index.device, non_blocking=True)
