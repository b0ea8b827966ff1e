"""Mean losses of a language model."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchmetrics import MeanMetric


class LanguageMetrics(nn.Module):
    """Loss, perplexity and response loss of one split; every token has the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = MeanMetric()
        self.response_loss = MeanMetric()

    def update(self, losses: Float[Tensor, " N"], in_response: Bool[Tensor, " N"]) -> None:
        """Adds the token losses of a batch.

        Args:
            losses: in nats.
            in_response: true where the predicted token is part of a response.
        """
        self.loss.update(losses)
        if in_response.any():
            self.response_loss.update(losses[in_response])

    def state(self) -> list[Tensor]:
        """Returns sum, weight and number of updates of both means, for a checkpoint."""
        return [
            part.detach().cpu()
            for mean in (self.loss, self.response_loss)
            for part in (mean.mean_value, mean.weight, torch.tensor(mean.update_count))
        ]

    def restore(self, state: list[Tensor], device: torch.device) -> None:
        """Goes on from a state of :meth:`state`."""
        for mean, at in ((self.loss, 0), (self.response_loss, 3)):
            mean.mean_value, mean.weight = (part.to(device) for part in state[at : at + 2])
            mean._update_count = int(state[at + 2])

    def compute_and_reset(self) -> dict[str, Tensor]:
        """Returns the values since the last call; ``response_loss`` only if there are responses."""
        values = {"loss": self.loss.compute()}
        values["perplexity"] = values["loss"].exp()
        self.loss.reset()
        if self.response_loss.update_called:
            values["response_loss"] = self.response_loss.compute()
            self.response_loss.reset()
        return values
