"""AdamW, its parameter groups and the learning-rate schedule."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

SCHEDULES = ("constant", "cosine")


@dataclass
class AdamW:
    """Decoupled weight decay (Loshchilov & Hutter 2019), with linear warm-up and cosine decay.

    The defaults are the book's.

    Raises:
        ValueError: if a field is out of range.
    """

    lr: float = 5e-5
    """Peak learning rate, above 0."""
    weight_decay: float = 0.1
    """Decay, at least 0."""
    decay_norms_and_biases: bool = True
    """Whether LayerNorm weights and biases decay too, as in the book."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    """Decay rates of the two moments, in [0, 1)."""
    eps: float = 1e-8
    """Added to the denominator, above 0."""
    warmup_fraction: float = 0.0
    """Share of all optimizer steps over which the rate rises linearly, in [0, 1)."""
    schedule: str = "constant"
    """After the warm-up: ``constant``, or ``cosine`` down to 0."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for key, value in (("lr", self.lr), ("eps", self.eps)):
            if value <= 0:
                raise ValueError(f"optim.{key} must be above 0, got {value}")
        if self.weight_decay < 0:
            raise ValueError(f"optim.weight_decay must be at least 0, got {self.weight_decay}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optim.betas must be two numbers in [0, 1), got {list(self.betas)}")
        if not 0 <= self.warmup_fraction < 1:
            raise ValueError(
                f"optim.warmup_fraction must lie in [0, 1), got {self.warmup_fraction}"
            )
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"optim.schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}"
            )

    def optimizer(
        self, parameters: Iterable[nn.Parameter], *, fused: bool = True
    ) -> torch.optim.AdamW:
        """Returns an optimizer over the trainable parameters.

        Args:
            parameters: of the model; frozen ones are ignored.
            fused: whether to use the fused kernel, which is faster on CPUs and GPUs.

        Raises:
            ValueError: if nothing trains.
        """
        from torch.distributed.tensor import DTensor  # only to train: it imports half a second

        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        if not trainable:
            raise ValueError("nothing trains: the strategy of finetune left no parameter trainable")
        matrices = [p for p in trainable if p.ndim >= 2 or self.decay_norms_and_biases]
        vectors = [p for p in trainable if p.ndim < 2 and not self.decay_norms_and_biases]
        groups = [
            {"params": [p for p in of_kind if isinstance(p, DTensor) == is_sharded], **decay}
            for of_kind, decay in (
                (matrices, {"weight_decay": self.weight_decay}),
                (vectors, {"weight_decay": 0.0}),
            )
            for is_sharded in (False, True)  # one kernel does not update both
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=self.lr,
            betas=(self.betas[0], self.betas[1]),
            eps=self.eps,
            fused=fused,
        )

    def scheduler(self, optimizer: torch.optim.Optimizer, total_steps: int) -> LambdaLR:
        """Returns the schedule, which must be stepped once per optimizer step."""
        factor: Callable[[int], float] = partial(self.lr_factor, total_steps=total_steps)
        return LambdaLR(optimizer, factor)

    def lr_factor(self, step: int, total_steps: int) -> float:
        """Returns the factor of ``lr`` at an optimizer step.

        The first step of a warm-up already trains (factor 1 / warm-up steps); the cosine reaches 0
        just after the last step.

        Args:
            step: number of the step, from 0.
            total_steps: of the whole run.
        """
        warmup_steps = round(self.warmup_fraction * total_steps)
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if self.schedule == "constant":
            return 1.0
        progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
