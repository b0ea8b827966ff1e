"""The frozen part of a model, which checkpoints leave out: its parameters and its fingerprint."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def frozen_parameters(model: nn.Module, pretrained_parts: Sequence[str]) -> dict[str, Tensor]:
    """Returns the parameters that a checkpoint can leave out, because they come from the base.

    Args:
        model: a model after its strategy was applied.
        pretrained_parts: first parts of the names of parameters that the base contains.
    """
    return {
        name: parameter
        # A head tied to the embedding has two names, and a state dict contains both.
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad and name.startswith(tuple(pretrained_parts))
    }


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of names, shapes and values, whatever file format they came from."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().data)
    return digest.hexdigest()


def check(found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
    """Checks that a model's base is the one that a checkpoint was trained on.

    Args:
        found: ``source`` and ``fingerprint`` of the loaded base; ``None`` if it has no frozen part
            or was not loaded.
        wanted: those in the checkpoint.

    Raises:
        ValueError: if they differ, or nothing was loaded.
    """
    if found is None:
        raise ValueError(
            f"this checkpoint contains only what was trained on the base {wanted['source']}: load "
            f"that base with load_base() first, into a model with the same fine-tuning strategy"
        )
    if found["fingerprint"] != wanted["fingerprint"]:
        raise ValueError(
            f"this checkpoint was trained on the base {wanted['source']} (fingerprint "
            f"{wanted['fingerprint'][:12]}), but the weights there have changed: {found['source']} "
            f"has {found['fingerprint'][:12]}. Restore the earlier weights, or train again"
        )
