"""The configuration of a transformers model: read, checked, and what it says about the model."""

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llm_lightning.backbone.checkpoint import CONFIG_NAME
from llm_lightning.backbone.huggingface.quiet import quiet
from llm_lightning.backbone.memory import MOST_BLOCKS, check_fits
from llm_lightning.run_format.bounded_files import read_json_object

_IGNORED = ("auto_map", "transformers_weights", "attn_implementation", "_attn_implementation")
"""Keys that name code of the model's own, another file of weights, or kernels to be fetched."""


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the configuration in a transformers folder, as plain values.

    Raises:
        ValueError: if there is none that can be read, or it is GPT-2's, which has its own groups.
    """
    file = folder / CONFIG_NAME
    try:
        fields = read_json_object(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"model.weights: {error}") from error
    if not isinstance(fields.get("model_type"), str):
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
    return longest_input(without_memory(known, {}), known)


def configured(fields: Mapping[str, Any], dropout: float | None) -> Any:
    """Returns the configuration as transformers has it.

    Args:
        fields: as plain values.
        dropout: the probability everywhere in the network; ``None``: as it is.

    Raises:
        ValueError: if a value is out of range, or the model is not supported.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    values = {key: copy.deepcopy(value) for key, value in fields.items() if key not in _IGNORED}
    kind = values.pop("model_type", None)
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
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
    _check_blocks(config)
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


def without_memory(config: Any, options: dict[str, Any]) -> nn.Module:
    """Makes the model with shapes alone, and refuses one that is larger than the memory.

    Args:
        config: as from :func:`configured`.
        options: as in :func:`made`.

    Raises:
        ValueError: if its weights do not fit, or it cannot be made at all.
    """
    width = _number(config, "hidden_size")
    rows = _number(config, "vocab_size") + width * _number(config, "num_hidden_layers")
    check_fits(rows * width, _described(config))
    try:
        with torch.device("meta"), quiet():
            model: nn.Module = made(config, options, is_empty=True)
    # Of the architecture's own code, for sizes that are zero, negative, or too large for 64 bits.
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise ValueError(
            f"{_described(config)} cannot be made: {type(error).__name__}: {lines[0]}"
        ) from error
    check_fits(sum(one.numel() for one in model.parameters()), _described(config))
    return model


def _described(config: Any) -> str:
    return f"model.weights: this {config.model_type}"


def _check_blocks(config: Any) -> None:
    number = _number(config, "num_hidden_layers")
    if number > MOST_BLOCKS:
        raise ValueError(
            f"model.weights: {CONFIG_NAME} has num_hidden_layers={number:,}, and no model has more "
            f"than {MOST_BLOCKS:,}"
        )


def _number(config: Any, key: str) -> int:
    """The value of a size; 0 where there is none."""
    value = getattr(config, key, 0)
    return value if isinstance(value, int) else 0


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
