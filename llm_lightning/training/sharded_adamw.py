"""AdamW over parameters of which some are whole and some are parts of sharded ones."""

from collections.abc import Callable, Iterator
from typing import Any

import torch


class AdamWOfParts(torch.optim.AdamW):
    """Updates both kinds, which one kernel cannot, although they are in the same groups.

    So the groups are those of one device, and with them the names of the learning rates and the
    state in a checkpoint.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Does one optimizer step; returns what the closure returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        self.param_groups = list(_of_one_kind(groups))
        try:
            super().step()
        finally:
            self.param_groups = groups
        return loss


def _of_one_kind(groups: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for group in groups:
        for is_part in (False, True):
            # A DTensor has a mesh; to import its class takes a second, also where nothing trains.
            own = [p for p in group["params"] if hasattr(p, "device_mesh") == is_part]
            if own:
                yield {**group, "params": own}
