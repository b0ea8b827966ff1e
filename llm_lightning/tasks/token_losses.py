"""The loss of each predicted token, without the logits of all tokens in memory at once."""

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# Tokens whose logits exist at the same time: 128 x 50,257 float32 logits are 25 MiB, and a few
# temporary tensors of that size are needed with them, whatever the size of the batch.
_TOKENS_AT_ONCE = 128


def token_losses(
    head: nn.Module, hidden: Float[Tensor, "N C"], labels: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """Computes the cross entropy of each label, in nats.

    The logits are recomputed in the backward pass instead of stored: they would be by far the
    largest tensor of a training step, and the head is a small part of its arithmetic.

    Args:
        head: maps hidden states (N, C) to logits (N, V).
        hidden: the states that predict the labels.
        labels: token ids.
    """

    def losses(hidden: Tensor, labels: Tensor) -> Tensor:
        # In half precision, logits near 20 would be rounded to multiples of 1/8.
        return F.cross_entropy(head(hidden).float(), labels, reduction="none")

    chunks = zip(
        torch.split(hidden, _TOKENS_AT_ONCE), torch.split(labels, _TOKENS_AT_ONCE), strict=True
    )
    return torch.cat([cast(Tensor, checkpoint(losses, *c, use_reentrant=False)) for c in chunks])
