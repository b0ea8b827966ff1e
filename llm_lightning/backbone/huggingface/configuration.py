"""The configuration of a transformers model: read, checked, and what it says about the model."""

import copy
import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llm_lightning.backbone.checkpoint import CONFIG_NAME
from llm_lightning.backbone.huggingface.quiet import quiet


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the configuration in a transformers folder, as plain values.

    Raises:
        ValueError: if there is none that can be read, or it is GPT-2's, which has its own groups.
    """
    file = folder / CONFIG_NAME
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"model.weights: {file} cannot be read: {error}") from error
    if not isinstance(fields, dict) or "model_type" not in fields:
        raise ValueError(f"model.weights: {file} names no model_type")
    if fields["model_type"] == "gpt2":
        raise ValueError(
            f"model.weights: {folder} is a GPT-2, which is built in: use model=gpt2_small (or its "
            f"size) with the same model.weights"
        )
    return fields


def own_context_length(config: Mapping[str, Any]) -> int | None:
    """Returns the longest input that a model was made for; ``None`` if it does not say.

    Args:
        config: its configuration as plain values.
    """
    known = configured(config, None)
    with torch.device("meta"), quiet():
        return longest_input(made(known, {}, is_empty=True), known)


def configured(fields: Mapping[str, Any], dropout: float | None) -> Any:
    """Returns the configuration as transformers has it.

    Args:
        fields: as plain values.
        dropout: the probability everywhere in the network; ``None``: as it is.

    Raises:
        ValueError: if a value is out of range, or the model is not supported.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    values = copy.deepcopy(dict(fields))
    kind = values.pop("model_type", None)
    if kind not in CONFIG_MAPPING:
        raise ValueError(
            f"model.weights: this version of transformers knows no model of type {kind!r}"
        )
    try:
        config = AutoConfig.for_model(kind, **values)
    except Exception as error:  # transformers' own checks share no base class
        lines = str(error).split("\n")
        raise ValueError(
            f"model.weights: {CONFIG_NAME} is not valid for {kind}: {lines[-1].strip()}"
        ) from error
    if problem := _problem(config):
        raise unsupported(f"a model of type {kind}", problem)
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(
            "model.weights: the weights are quantized in a format that is not read here: use the "
            "model's own weights (finetune=qlora quantizes them), or a .gguf file"
        )
    if dropout is not None:
        if not 0 <= dropout < 1:
            raise ValueError(f"model.dropout must be null or lie in [0, 1), got {dropout}")
        for key in dropouts(config):
            setattr(config, key, dropout)
    return config


def dropouts(config: Any) -> dict[str, float]:
    """Returns the dropout probabilities of the network itself, by their names."""
    return {
        key: value
        for key, value in config.to_dict().items()
        if ("dropout" in key or "pdrop" in key)
        and not any(part in key for part in ("classif", "summary", "layerdrop"))
        and isinstance(value, int | float)
    }


def made(config: Any, options: dict[str, Any], *, is_empty: bool) -> Any:
    """Makes the model without a head.

    Args:
        config: as from :func:`configured`.
        options: arguments of transformers beside it.
        is_empty: whether the weights are left uninitialised.
    """
    from transformers import AutoModel
    from transformers.initialization import no_init_weights

    with no_init_weights() if is_empty else nullcontext():
        auto: Any = AutoModel  # without types
        return auto.from_config(config, dtype=torch.float32, **options)


def _problem(config: Any) -> str | None:
    """Why the model cannot be a backbone, as the end of a sentence."""
    from transformers import AutoModel

    if type(config) not in AutoModel._model_mapping:
        return "is no model without a head"
    if not (hasattr(config, "num_hidden_layers") and hasattr(config, "hidden_size")):
        return "has several parts, such as one for texts and one for images"
    if getattr(config, "num_kv_shared_layers", 0):
        return "has blocks that use keys and values of other blocks"
    return None


def unsupported(what: str, problem: str) -> ValueError:
    """Returns the error for a model that is not supported.

    Args:
        what: the model.
        problem: the end of a sentence about it.
    """
    return ValueError(f"model.weights: {what} {problem}: this architecture is not supported")


def longest_input(model: nn.Module, config: Any) -> int | None:
    """Returns the longest input that a model was made for; ``None`` if it does not say."""
    for name, module in model.named_modules():
        # RoBERTa's positions start behind the index of the padding token.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - offset
    longest = getattr(config, "max_position_embeddings", None)
    return longest if longest and longest > 0 else None  # XLNet has -1: any length
