"""Low-rank adaptation of a linear layer.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1: the frozen
weight W gets a trainable update of low rank, W + scale * B A. Liu et al. 2024, "DoRA:
Weight-Decomposed Low-Rank Adaptation", section 4: each row of that sum is normalised and multiplied
by a trainable magnitude.

A layer keeps its weight under its previous name, so that a checkpoint without adapters loads.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SCALINGS = ("alpha_over_rank", "alpha", "rslora")
INITS = ("fan_in", "rank")


def effective_scale(scaling: str, rank: int, alpha: float) -> float:
    """Returns the factor of B A.

    Args:
        scaling: ``alpha_over_rank`` as in the LoRA paper; ``alpha`` as in the book's chapters;
            ``rslora``: alpha / sqrt(rank) (Kalajdzievski 2023, "A Rank Stabilization Scaling
            Factor for Fine-Tuning with LoRA", theorem 3.2).
        rank: columns of B.
        alpha: the numerator.
    """
    return {"alpha_over_rank": alpha / rank, "alpha": alpha, "rslora": alpha / math.sqrt(rank)}[
        scaling
    ]


class LoRALinear(nn.Linear):
    """A frozen linear layer with one adapter, or several for different rows of its output.

    GPT-2 computes query, key and value with one matrix. With three groups of rows each of them has
    its own adapter, as if they were three layers; with one group over all rows they share one A,
    as in PEFT.

    Shapes: I in_features, O out_features, R rank, G groups, P adapted rows of all groups.

    Args:
        base: the layer to adapt; its parameters are frozen and shared, not copied.
        rows: the (start, stop) output rows of each group, in order, without overlap.
        rank: R, of each group.
        scale: factor of B A; see :func:`effective_scale`.
        dropout: on the adapter's input, in [0, 1).
        init: A is initialised uniformly in ±1/sqrt(I) (``fan_in``: the LoRA paper's code and PEFT)
            or in ±1/sqrt(R) (``rank``: the book, which stores A transposed); B is 0.
        dora: whether the magnitude of every adapted row trains.
    """

    def __init__(
        self,
        base: nn.Linear,
        *,
        rows: Sequence[tuple[int, int]],
        rank: int,
        scale: float,
        dropout: float = 0.0,
        init: str = "fan_in",
        dora: bool = False,
    ) -> None:
        # On the meta device: the parameters are those of the base.
        super().__init__(base.in_features, base.out_features, base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.requires_grad_(False)
        self.rows = tuple(rows)
        self.rank, self.scale = rank, scale
        self.dropout = nn.Dropout(dropout)
        self._unmerged: list[nn.Parameter] = []  # the base while merged; a list is not registered
        num_rows = sum(stop - start for start, stop in self.rows)
        new = base.weight.new_empty
        self.lora_A = nn.Parameter(new(len(self.rows) * rank, base.in_features))  # (G R, I)
        self.lora_B = nn.Parameter(new(num_rows, rank))  # (P, R), group after group
        bound = 1 / math.sqrt(base.in_features if init == "fan_in" else rank)
        nn.init.uniform_(self.lora_A, -bound, bound)
        nn.init.zeros_(self.lora_B)
        self.lora_magnitude = nn.Parameter(new(num_rows)) if dora else None  # (P,)
        self.measure_base()

    @property
    def is_merged(self) -> bool:
        """Whether the weight includes the adapter."""
        return bool(self._unmerged)

    @torch.no_grad()
    def measure_base(self) -> None:
        """Sets DoRA's magnitudes to the norms of the base's rows; call it when these change."""
        if self.lora_magnitude is not None:
            self.lora_magnitude.copy_(self._adapted(self.base_weight().norm(dim=1)))

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """Applies the layer and its adapter."""
        out = self._base_forward(x)
        if self.is_merged:
            return out
        x = self.dropout(x)
        # An adapter may have a lower precision than its input. Autocast converts by itself, and
        # would convert a bf16 input back.
        if not torch.is_autocast_enabled(x.device.type):
            x = x.to(self.lora_A.dtype)
        low = self.scale * F.linear(x, self.lora_A)  # (..., G R)
        if self.lora_magnitude is None and low.dtype == out.dtype:
            # One product adds the update to the output, which separate operations go over twice.
            added = torch.addmm(_rows(out), _rows(low), self.spread_b().T)
            return added.view_as(out)
        update = F.linear(low, self.spread_b()).to(out.dtype)  # (..., O)
        if self.lora_magnitude is None:
            return out + update
        # Equation 5 and section 4.3: the norm is a constant in the gradient. Written as a
        # difference, so that a ratio of exactly 1 does not change the base's output.
        ratio = self._dora_ratio()
        plain = out if self.bias is None else out - self.bias
        return out + (ratio - 1) * plain + ratio * update

    def spread_b(self) -> Float[Tensor, "O GR"]:
        """Returns B as one block matrix, whose product with A (G R, I) is the whole update."""
        if self.rows == ((0, self.out_features),):
            return self.lora_B
        pieces, done = [], 0
        each = torch.split(self.lora_B, [stop - start for start, stop in self.rows])
        for (start, stop), part in zip(self.rows, each, strict=True):
            pieces += [part.new_empty(start - done, 0), part]  # rows without an adapter are 0
            done = stop
        pieces.append(self.lora_B.new_empty(self.out_features - done, 0))
        return cast(Tensor, torch.block_diag(*pieces))  # type: ignore[no-untyped-call]

    def merged_weight(self) -> Float[Tensor, "O I"]:
        """Returns the weight of a plain layer that computes the same, without dropout."""
        merged = self.base_weight() + self._update()
        return merged if self.lora_magnitude is None else self._dora_ratio()[:, None] * merged

    @torch.no_grad()
    def merge(self) -> None:
        """Adds the adapter to the weight; ``unmerge`` restores the exact base.

        Raises:
            ValueError: if it is already merged.
        """
        if self.is_merged:
            raise ValueError("the adapter is already merged: unmerge() first")
        merged = self.merged_weight()
        self._unmerged.append(cast(nn.Parameter, self.weight))
        # A new parameter: the weight of a tied head is the embedding, which must not change.
        self.weight = nn.Parameter(merged, requires_grad=False)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Undoes ``merge``.

        Raises:
            ValueError: if it is not merged.
        """
        if not self.is_merged:
            raise ValueError("the adapter is not merged: there is nothing to undo")
        self.weight = self._unmerged.pop()

    def extra_repr(self) -> str:
        """What ``print(model)`` shows after the shapes."""
        return f"{super().extra_repr()}, rank={self.rank}, scale={self.scale:g}, rows={self.rows}"

    def base_weight(self) -> Float[Tensor, "O I"]:
        """Returns the weight without the adapter, in full precision."""
        return self.weight

    def _base_forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def _update(self) -> Tensor:
        """Returns scale * B A, (O, I)."""
        dtype = torch.promote_types(self.lora_A.dtype, torch.float32)
        return self.scale * (self.spread_b().to(dtype) @ self.lora_A.to(dtype))

    def _dora_ratio(self) -> Tensor:
        """(O,) magnitude divided by the norm of W + scale * B A; 1 for rows without adapter."""
        with torch.no_grad():
            adapted = self.base_weight() + self._update()
            norm = self._adapted(adapted.norm(dim=1))  # (P,)
        ratio = cast(Tensor, self.lora_magnitude) / norm
        if self.rows == ((0, self.out_features),):
            return ratio
        pieces = iter(torch.split(ratio, [stop - start for start, stop in self.rows]))
        whole, done = [], 0
        for start, stop in self.rows:
            whole += [ratio.new_ones(start - done), next(pieces)]
            done = stop
        return torch.cat([*whole, ratio.new_ones(self.out_features - done)])

    def _adapted(self, per_row: Tensor) -> Tensor:
        """Selects the values (P,) of adapted rows among those (O,) of all rows."""
        return torch.cat([per_row[start:stop] for start, stop in self.rows])


def _rows(x: Tensor) -> Tensor:
    """(..., C) to (N, C)."""
    return x.reshape(-1, x.shape[-1])


def adapters(model: nn.Module) -> dict[str, LoRALinear]:
    """Returns the adapted layers of a model by name, in the model's order."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LoRALinear)}
