"""The exact mean gradient of an optimizer step, whatever batches it consists of."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llm_lightning.distributed.collectives import group_size, summed


class GradientMean:
    """Divides summed gradients by the total weight of an optimizer step.

    A mean of batch means would weight the examples of a smaller batch more. Here each batch
    contributes its summed loss, and the gradients are divided by the weight (the number of
    examples or tokens, or their class weights) of all batches of the step together, those of other
    processes included.
    """

    def __init__(self) -> None:
        self._weight = 0.0  # of the batches since the last optimizer step

    def loss(self, total: Float[Tensor, ""], weight: float, num_batches: int) -> Float[Tensor, ""]:
        """Returns the loss whose gradients Lightning should accumulate.

        Args:
            total: the batch's summed loss.
            weight: the batch's weight.
            num_batches: batches in an optimizer step, ``accumulate_grad_batches``.
        """
        if num_batches == group_size() == 1:
            return total / weight
        self._weight += weight
        # Lightning divides by the number of batches, and data parallelism by that of processes;
        # undone here, because the divisor is known only at the end of the step.
        return total * num_batches * group_size()

    def finish_step(self, parameters: Iterable[nn.Parameter], num_batches: int) -> None:
        """Turns accumulated gradients into a mean, before they are clipped or used."""
        if num_batches == group_size() == 1:
            return
        weight = float(summed(torch.tensor(self._weight, dtype=torch.float64)))
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= weight
        self._weight = 0.0
