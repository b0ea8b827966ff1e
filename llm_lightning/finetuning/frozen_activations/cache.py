"""The activations of frozen blocks for every example of some splits.

Below the lowest trainable parameter, the network gives the same output in every epoch, unless
dropout acts there. It is computed once, and every later pass starts from the stored activations.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llm_lightning.backbone.protocol import Backbone
from llm_lightning.backbone.unpadding import Unpadding
from llm_lightning.finetuning.strategies import as_module


def frozen_depth(backbone: Backbone) -> int:
    """Returns how many of the first blocks give the same output in every epoch."""
    if backbone.has_dropout:
        return 0
    parts = (backbone.blocks, *backbone.final_modules())
    above = {id(parameter) for part in parts for parameter in part.parameters()}
    if any(p.requires_grad for p in as_module(backbone).parameters() if id(p) not in above):
        return 0  # an embedding trains
    trains = [any(p.requires_grad for p in block.parameters()) for block in backbone.blocks]
    return trains.index(True) if True in trains else len(trains)


class ActivationCache:
    """The inputs of block ``depth``: for each example a matrix of positions and width C.

    Everything in it is on the CPU, the examples' indices included, so that a training step needs
    nothing back from a GPU.

    Args:
        depth: the number of blocks that were run.
        selected_only: whether only the positions that the head takes are stored, which is enough
            if no block is left to run.
        counts: for each split the number of stored positions of each example, (N,) int64.
        width: C.
        contents: identifies which positions these are, and what they can attend to.
    """

    def __init__(
        self,
        depth: int,
        selected_only: bool,
        counts: Mapping[str, Tensor],
        width: int,
        contents: str = "",
    ) -> None:
        self.depth = depth
        self.selected_only = selected_only
        self.width = width
        self.contents = contents
        self._counts = dict(counts)
        self._starts: dict[str, Tensor] = {}
        self.num_rows = 0
        """Stored positions of all examples."""
        for split, count in counts.items():
            self._starts[split] = self.num_rows + count.cumsum(0) - count
            self.num_rows += int(count.sum())
        self._rows: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Size of the activations, in float32."""
        return self.num_rows * self.width * torch.float32.itemsize

    @property
    def num_examples(self) -> int:
        """Examples of all splits."""
        return sum(map(len, self._counts.values()))

    def __contains__(self, split: object) -> bool:
        """Whether the activations of a split are stored."""
        return self._rows is not None and split in self._starts

    def store_in(self, rows: Float[Tensor, "num_rows C"]) -> None:
        """Uses this tensor, which may already contain the activations, as storage."""
        self._rows = rows

    def free(self) -> None:
        """Gives up the storage; afterwards no split is stored."""
        self._rows = None

    @property
    def rows(self) -> Float[Tensor, "num_rows C"]:
        """The float32 storage that was given to :meth:`store_in`."""
        if self._rows is None:
            raise RuntimeError("call store_in() first")
        return self._rows

    def counts(self, split: str, indices: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Returns how many positions are stored for some examples of a split."""
        return self._counts[split][indices]

    def put(self, split: str, indices: Int[Tensor, " B"], x: Float[Tensor, "N C"]) -> None:
        """Stores the activations of a batch.

        Args:
            split: ``train``, ``val`` or ``test``.
            indices: of the examples in their split, on the CPU.
            x: the examples one after another, each with its number of stored positions.
        """
        counts, starts = self._counts[split][indices], self._starts[split][indices]
        before = (counts.cumsum(0) - counts).repeat_interleave(counts)  # (N,)
        rows = starts.repeat_interleave(counts) + torch.arange(len(before)) - before
        self.rows[rows] = x.to("cpu", torch.float32)

    def get(
        self,
        split: str,
        indices: Int[Tensor, " B"],
        device: torch.device,
        unpadding: Unpadding | None = None,
    ) -> Float[Tensor, "*out C"]:
        """Returns the activations of a batch.

        Args:
            split: ``train``, ``val`` or ``test``.
            indices: of the examples in their split, on the CPU.
            device: where the result is needed.
            unpadding: on the CPU; which of the (B, L) positions are needed; ``None``: all.

        Returns:
            (B, L, C), or (N, C) if unpadded. L is the largest number of stored positions; beyond
            a row's own positions its last one is repeated.
        """
        counts, starts = self._counts[split][indices], self._starts[split][indices]
        at = torch.arange(int(counts.max())).minimum(counts[:, None] - 1)
        rows = starts[:, None] + at  # (B, L)
        if unpadding is not None:
            rows = rows.flatten()[unpadding.indices]
        staged = staging_buffer((rows.numel(), self.width), device)
        torch.index_select(self.rows, 0, rows.flatten(), out=staged)
        return staged.view(*rows.shape, self.width).to(device, non_blocking=True)


def staging_buffer(shape: tuple[int, int], device: torch.device) -> Float[Tensor, "N C"]:
    """Returns uninitialised CPU memory from which a copy to ``device`` can be asynchronous.

    Only from page-locked ("pinned") memory does ``non_blocking`` have an effect on CUDA. PyTorch
    reuses such memory, and waits with that until the copy is done.
    """
    return torch.empty(shape, pin_memory=device.type == "cuda")
