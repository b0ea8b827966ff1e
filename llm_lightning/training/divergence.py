"""Detects training that has diverged."""

from collections.abc import Iterable

from torch import nn
from torch.distributed.tensor import DTensor


class Diverged(ValueError):
    """Weights are no longer finite."""


def check_finite(parameters: Iterable[nn.Parameter], *, epoch: int, lr: float) -> None:
    """Checks the weights that train.

    Args:
        parameters: of the model, frozen ones included.
        epoch: number of the epoch, from 1; for the message.
        lr: learning rate; for the message.

    Raises:
        Diverged: if they are not finite.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    # One step with a loss that is not finite makes all of them NaN, so the last tensor is enough.
    last = trained[-1].detach()
    part = last.to_local() if isinstance(last, DTensor) else last
    if not part.isfinite().all():
        raise Diverged(
            f"training diverged in epoch {epoch}: weights are no longer finite; lower optim.lr "
            f"(now {lr:g}) or set trainer.gradient_clip_val"
        )
