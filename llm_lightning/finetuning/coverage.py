"""Trainable and frozen parameters of each part of a model, as rows of a table."""

import math
import re
from typing import cast

from torch import nn

from llm_lightning.finetuning.strategies import Model
from llm_lightning.run_format.run_facts import ParameterGroup


def parameter_groups(model: Model) -> list[ParameterGroup]:
    """Counts trainable and total parameters by part, in the model's order.

    Consecutive blocks with equal counts are one row. A tensor that two modules share is counted
    once, where it first appears.

    Args:
        model: a module with ``backbone`` and ``head``.
    """
    blocks = f"backbone.{model.backbone.blocks_name}"
    in_block = re.compile(rf"{re.escape(blocks)}\.(\d+)\.")
    parts: dict[str, ParameterGroup] = {}
    indices: dict[str, int] = {}  # of the parts that are blocks
    for name, parameter in cast(nn.Module, model).named_parameters():
        if match := in_block.match(name):
            part = match.group().rstrip(".")
            indices[part] = int(match.group(1))
        else:
            part = _part(name)
        group = parts.setdefault(part, ParameterGroup(name=part, trainable=0, total=0))
        group.total += _numel(parameter)
        group.trainable += _numel(parameter) if parameter.requires_grad else 0

    merged: list[ParameterGroup] = []
    first, previous = 0, None  # of the last blocks: the first index, and (trainable, total) of each
    for part, group in parts.items():
        size = (group.trainable, group.total) if part in indices else None
        if size is None or size != previous:
            merged.append(group)
            first = indices.get(part, 0)
        else:
            run = merged[-1]
            merged[-1] = ParameterGroup(
                name=f"{blocks}.{first}-{indices[part]}",
                trainable=run.trainable + group.trainable,
                total=run.total + group.total,
            )
        previous = size
    return merged


def _part(name: str) -> str:
    """``head`` of ``head.weight``, ``backbone.wte`` of ``backbone.wte.weight``."""
    modules = name.split(".")[:-1]
    return ".".join(modules[:1] if modules[:1] != ["backbone"] else modules[:3]) or name


def _numel(parameter: nn.Parameter) -> int:
    """Number of weights; for a quantized tensor, before quantization."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else math.prod(state.shape)
