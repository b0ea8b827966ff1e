"""Trainable and frozen parameters of each part of a model, as rows of a table."""

import math
import re

from torch import nn

from llm_lightning.run_format.summary import ParameterGroup


def parameter_groups(model: nn.Module) -> list[ParameterGroup]:
    """Counts trainable and total parameters by part, in the model's order.

    Consecutive blocks with equal counts are one row. A tensor that two modules share is counted
    once, where it first appears.

    Args:
        model: a module with ``backbone`` and ``head``.
    """
    parts: dict[str, ParameterGroup] = {}
    for name, parameter in model.named_parameters():
        match = re.match(r"(backbone\.h\.\d+|backbone\.\w+|\w+)", name)
        part = match.group() if match else name
        group = parts.setdefault(part, ParameterGroup(name=part, trainable=0, total=0))
        group.total += _numel(parameter)
        group.trainable += _numel(parameter) if parameter.requires_grad else 0

    merged: list[ParameterGroup] = []
    previous = None  # the last unmerged block: (trainable, total)
    for group in parts.values():
        block = re.fullmatch(r"backbone\.h\.(\d+)", group.name)
        size = (group.trainable, group.total) if block else None
        if block and size == previous:
            run = merged[-1]
            first = run.name.removeprefix("backbone.h.").split("-")[0]
            merged[-1] = ParameterGroup(
                name=f"backbone.h.{first}-{block.group(1)}",
                trainable=run.trainable + group.trainable,
                total=run.total + group.total,
            )
        else:
            merged.append(group)
        previous = size
    return merged


def _numel(parameter: nn.Parameter) -> int:
    """Number of weights; for a quantized tensor, before quantization."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else math.prod(state.shape)
