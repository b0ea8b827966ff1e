"""One set of metrics for each split that is logged."""

from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from llm_lightning.run_format.splits import EVALUATED

LOGGED = ("train", "val", *EVALUATED)
"""The curves of training and validation, and the final evaluation of all three splits."""


@runtime_checkable
class SplitMetric(Protocol):
    """Metrics of one split."""

    def update(self, *values: Any) -> None:
        """Adds a batch."""

    def compute_and_reset(self) -> dict[str, Tensor]:
        """Returns the values over everything added since the last call, by name."""

    def state(self) -> list[Tensor]:
        """Returns everything added since then, for a checkpoint."""

    def restore(self, states: list[list[Tensor]], device: torch.device) -> None:
        """Goes on, on a device, from the states of one process or of several together."""


class SplitMetrics(nn.Module):
    """Metrics for every name in ``LOGGED``.

    Args:
        make: makes the metrics of one split, which must be a module.
    """

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        # A ModuleDict refuses the key "train", which is the name of a method.
        self._splits = nn.ModuleDict({f"{split}_split": make() for split in LOGGED})

    def __getitem__(self, split: str) -> SplitMetric:
        """The metrics of a split."""
        return cast(SplitMetric, self._splits[f"{split}_split"])

    def logs(self, split: str) -> dict[str, Tensor]:
        """Returns a split's values under the names they are logged by, and resets them."""
        return {f"{split}/{key}": value for key, value in self[split].compute_and_reset().items()}
