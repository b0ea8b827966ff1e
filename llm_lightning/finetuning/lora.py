"""Low-rank adaptation of a linear layer: the maths and nothing else.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1: the weight W of
a frozen layer gets a trainable difference of low rank, W + scale * B A. Liu et al. 2024, "DoRA:
Weight-Decomposed Low-Rank Adaptation", section 4: each row of that sum is brought to a length of
its own, which trains too.

A layer keeps its weight under the name it had, so that a checkpoint without adapters loads.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SCALINGS = ("alpha_over_rank", "alpha", "rslora")
INITS = ("fan_in", "rank")


def effective_scale(scaling: str, rank: int, alpha: float) -> float:
    """Returns what B A is multiplied by.

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
    """A frozen linear layer with one adapter, or several on different rows of its output.

    GPT-2 computes query, key and value by one matrix. With three groups of rows each of them has
    an adapter of its own, as if they were three layers; with one group over all rows they share
    A, as in PEFT, and with it the rank.

    Shapes: I in_features, O out_features, R rank, G groups, P rows in all groups.

    Args:
        base: the layer to adapt; its parameters are kept, not copied, and frozen.
        rows: the groups: (start, stop) rows of the output each, in order, without overlap.
        rank: R, of each group.
        scale: what B A is multiplied by; see :func:`effective_scale`.
        dropout: on the adapter's input, in [0, 1).
        init: A starts uniform in ±1/sqrt(I) (``fan_in``: the LoRA paper's code and PEFT) or in
            ±1/sqrt(R) (``rank``: the book, whose A is stored the other way round). B starts at 0.
        dora: whether the length of every adapted row trains.
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
        # Without memory: the parameters are those of the base.
        super().__init__(base.in_features, base.out_features, base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.requires_grad_(False)
        self.rows = tuple(rows)
        self.rank, self.scale = rank, scale
        self.dropout = nn.Dropout(dropout)
        self._unmerged: list[nn.Parameter] = []  # the base while merged; in a list, it is no part
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
        """Whether the weight holds the adapter."""
        return bool(self._unmerged)

    @torch.no_grad()
    def measure_base(self) -> None:
        """Sets DoRA's lengths to those of the base's rows; to be called when these change."""
        if self.lora_magnitude is not None:
            self.lora_magnitude.copy_(self._adapted(self.base_weight().norm(dim=1)))

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        out = self._base_forward(x)
        if self.is_merged:
            return out
        # An adapter may be of lower precision than its input.
        low = F.linear(self.dropout(x).to(self.lora_A.dtype), self.lora_A)  # (..., G R)
        difference = self.scale * F.linear(low, self.spread_b()).to(out.dtype)  # (..., O)
        if self.lora_magnitude is None:
            return out + difference
        # Equation 5 and section 4.3: the row's length is a constant in the gradient. Written as a
        # difference, so that a ratio of exactly 1 leaves the base's output as it is.
        ratio = self._dora_ratio()
        plain = out if self.bias is None else out - self.bias
        return out + (ratio - 1) * plain + ratio * difference

    def spread_b(self) -> Tensor:
        """Returns B as one (O, G R) matrix: each group's rows and columns, 0 elsewhere.

        With it one product with A, (G R, I), is the difference of the whole layer.
        """
        if self.rows == ((0, self.out_features),):
            return self.lora_B
        spread = self.lora_B.new_zeros(self.out_features, len(self.lora_A))
        done = 0
        for group, (start, stop) in enumerate(self.rows):
            part = self.lora_B[done : done + stop - start]
            spread[start:stop, group * self.rank : (group + 1) * self.rank] = part
            done += stop - start
        return spread

    def merged_weight(self) -> Tensor:
        """Returns the (O, I) weight of a plain layer that computes the same, without dropout."""
        merged = self.base_weight() + self._difference()
        return merged if self.lora_magnitude is None else self._dora_ratio()[:, None] * merged

    @torch.no_grad()
    def merge(self) -> None:
        """Adds the adapter to the weight; ``unmerge`` gives back the very same base.

        Raises:
            ValueError: if it is merged already.
        """
        if self.is_merged:
            raise ValueError("the adapter is merged already: unmerge() first")
        merged = self.merged_weight()
        self._unmerged.append(cast(nn.Parameter, self.weight))
        # A parameter of its own: the weight of a tied head is the embedding, which must not move.
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
        """What ``print(model)`` shows beside the shapes."""
        return f"{super().extra_repr()}, rank={self.rank}, scale={self.scale:g}, rows={self.rows}"

    def base_weight(self) -> Tensor:
        """Returns the (O, I) weight without the adapter, in full precision."""
        return self.weight

    def _base_forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def _difference(self) -> Tensor:
        """(O, I) what the adapter adds to the weight."""
        dtype = torch.promote_types(self.lora_A.dtype, torch.float32)
        return self.scale * (self.spread_b().to(dtype) @ self.lora_A.to(dtype))

    def _dora_ratio(self) -> Tensor:
        """(O,) trained length over the length of W + scale B A; 1 where there is no adapter."""
        with torch.no_grad():
            adapted = self.base_weight() + self._difference()
            length = self._adapted(adapted.norm(dim=1))  # (P,)
        ratio = cast(Tensor, self.lora_magnitude) / length
        if self.rows == ((0, self.out_features),):
            return ratio
        pieces = iter(torch.split(ratio, [stop - start for start, stop in self.rows]))
        whole, done = [], 0
        for start, stop in self.rows:
            whole += [ratio.new_ones(start - done), next(pieces)]
            done = stop
        return torch.cat([*whole, ratio.new_ones(self.out_features - done)])

    def _adapted(self, per_row: Tensor) -> Tensor:
        """(O,) values to those (P,) of adapted rows."""
        return torch.cat([per_row[start:stop] for start, stop in self.rows])


def adapters(model: nn.Module) -> dict[str, LoRALinear]:
    """Returns the adapted layers of a model by name, in its order."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LoRALinear)}
