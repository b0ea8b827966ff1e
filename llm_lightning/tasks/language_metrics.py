"""Mean losses of a language model."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchmetrics import MeanMetric

from llm_lightning.distributed.collectives import summed


class LanguageMetrics(nn.Module):
    """Loss, perplexity and response loss of one split; every token has the same weight."""

    def __init__(self) -> None:
        super().__init__()
        # Summed over processes below: one without a response would keep the others waiting.
        self.loss = MeanMetric(sync_on_compute=False)
        self.response_loss = MeanMetric(sync_on_compute=False)

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

    def restore(self, states: list[list[Tensor]], device: torch.device) -> None:
        """Goes on from what :meth:`state` returned, in one process or in several."""
        for mean, at in ((self.loss, 0), (self.response_loss, 3)):
            mean.reset()
            for state in states:
                mean.mean_value = mean.mean_value + state[at].to(device)
                mean.weight = mean.weight + state[at + 1].to(device)
                mean._update_count += int(state[at + 2])

    def compute_and_reset(self) -> dict[str, Tensor]:
        """Returns the values since the last call, over all processes.

        ``response_loss`` is among them only if there are responses.
        """
        means = (self.loss, self.response_loss)
        sums = [torch.stack([mean.mean_value, mean.weight]) for mean in means]
        (loss, tokens), (response_loss, response_tokens) = summed(torch.stack(sums))
        for mean in means:
            mean.reset()
        values = {"loss": loss / tokens, "perplexity": (loss / tokens).exp()}
        if response_tokens > 0:
            values["response_loss"] = response_loss / response_tokens
        return values
