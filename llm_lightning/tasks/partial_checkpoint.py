"""Checkpoints contain only what trains; the frozen base is identified and loaded separately."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from llm_lightning.backbone.families import Model
from llm_lightning.backbone.weights import Weights
from llm_lightning.finetuning.base import check, fingerprint, frozen_parameters

Base = dict[str, Any]
"""A frozen base as plain values: ``model`` (fields of a :data:`Model`, from which it can be
located), ``source`` (for display) and ``fingerprint`` (of its parameters)."""


def describe_base(
    module: nn.Module, pretrained_parts: Sequence[str], model: Model, weights: Weights
) -> Base | None:
    """Describes the frozen base of a model whose weights were just loaded.

    Args:
        module: a model after its strategy was applied.
        pretrained_parts: first parts of the names of parameters that the base contains.
        model: the model and its ``weights`` setting.
        weights: the loaded weights.

    Returns:
        ``None`` if everything trains.
    """
    frozen = frozen_parameters(module, pretrained_parts)
    if not frozen:
        return None
    return {
        "model": model.source(),
        "source": weights.source,
        "fingerprint": fingerprint(frozen),
    }


def names_in_base(
    module: nn.Module, pretrained_parts: Sequence[str], base: Mapping[str, Any] | None
) -> set[str]:
    """Returns the names of the parameters that a checkpoint leaves to the base.

    Args:
        module: the model.
        pretrained_parts: first parts of the names of parameters that a base contains.
        base: which one was loaded; ``None``: none, so that everything is kept.
    """
    return set(frozen_parameters(module, pretrained_parts)) if base else set()


def remove_base(
    checkpoint: dict[str, Any],
    module: nn.Module,
    pretrained_parts: Sequence[str],
    base: Mapping[str, Any] | None,
) -> None:
    """Removes the frozen parameters from a checkpoint's ``state_dict`` and adds ``base``.

    Args:
        checkpoint: changed in place.
        module: the model that it is of.
        pretrained_parts: first parts of the names of parameters that a base contains.
        base: which one was loaded; ``None``: none, so that everything is kept.
    """
    left_out = names_in_base(module, pretrained_parts, base)
    checkpoint["state_dict"] = {
        name: value for name, value in checkpoint["state_dict"].items() if name not in left_out
    }
    checkpoint["base"] = base


def restore_base(
    checkpoint: dict[str, Any],
    module: nn.Module,
    pretrained_parts: Sequence[str],
    base: Mapping[str, Any] | None,
) -> None:
    """Completes a checkpoint's ``state_dict`` with the frozen parameters of a model.

    Args:
        checkpoint: that :func:`remove_base` left; changed in place.
        module: the model, with its base loaded.
        pretrained_parts: as for :func:`remove_base`.
        base: the one that was loaded into the model.

    Raises:
        ValueError: if the checkpoint needs a base that was not loaded into the model, or another
            than the one that was.
    """
    if checkpoint["base"] is None:
        return
    check(base, checkpoint["base"])
    state = module.state_dict()
    for name in frozen_parameters(module, pretrained_parts):
        checkpoint["state_dict"][name] = state[name]
