import torch
from torch import nn

from llm_lightning.training.gradient_mean import GradientMean


def gradients(weights: list[float], num_batches: int) -> torch.Tensor:
    """Of sum(batch sum) / total weight, through Lightning's division by ``num_batches``."""
    parameter, mean = nn.Parameter(torch.zeros(())), GradientMean()
    for weight in weights:
        loss = mean.loss(parameter * weight * 3, weight, num_batches)
        (loss if num_batches == 1 else loss / num_batches).backward()
    mean.finish_step([parameter, nn.Parameter(torch.ones(()))], num_batches)
    assert parameter.grad is not None
    return parameter.grad


def test_one_batch_is_divided_by_its_weight() -> None:
    assert gradients([4.0], 1) == 3


def test_accumulated_batches_are_divided_by_their_total_weight() -> None:
    assert torch.isclose(gradients([1.0, 5.0, 2.0], 3), torch.tensor(3.0))
    # The last window of an epoch may have fewer batches.
    assert torch.isclose(gradients([1.0, 5.0], 3), torch.tensor(3.0))


def test_each_step_starts_anew() -> None:
    parameter, mean = nn.Parameter(torch.zeros(())), GradientMean()
    for _ in range(2):
        parameter.grad = None
        (mean.loss(parameter * 6, 2.0, 2) / 2).backward()
        mean.finish_step([parameter], 2)
        assert parameter.grad == 3
