"""The part of a model that stays as it was loaded: which it is, and that it is the same again."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def frozen_parameters(model: nn.Module, pretrained_parts: Sequence[str]) -> dict[str, Tensor]:
    """Returns what a checkpoint can leave out, because the base brings it back.

    Args:
        model: a model with a strategy applied.
        pretrained_parts: beginnings of the names that a base checkpoint fills.
    """
    return {
        name: parameter
        # A head tied to the embedding has two names, both of which a state holds.
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad and name.startswith(tuple(pretrained_parts))
    }


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of names, shapes and values: that of the same weights, in any file."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().data)
    return digest.hexdigest()


def check(found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
    """Refuses a base that is not the one that a checkpoint was trained on.

    Args:
        found: ``source`` and ``fingerprint`` of the base at hand; ``None`` where all trains.
        wanted: those in the checkpoint.

    Raises:
        ValueError: if they differ.
    """
    if found is None:
        raise ValueError(
            f"this checkpoint holds a part of a model, on the base {wanted['source']}; the model "
            f"here trains as a whole"
        )
    if found["fingerprint"] != wanted["fingerprint"]:
        raise ValueError(
            f"this checkpoint was trained on the base {wanted['source']} (fingerprint "
            f"{wanted['fingerprint'][:12]}); what is there now is another: {found['source']} "
            f"({found['fingerprint'][:12]}). Put the former weights back, or train again"
        )
