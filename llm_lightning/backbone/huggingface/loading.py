"""Loads and saves the weights of a transformers model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llm_lightning.backbone.checkpoint import HEADS, Loaded, checked_sha256, tensor_readers
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.huggingface.quiet import quiet

# Heads of pretraining, and the pooling layer before some of them, which no task here uses.
_INDEX = "model.safetensors.index.json"


def load_weights(
    backbone: TransformersBackbone,
    path: Path,
    *,
    expected_sha256: str | None = None,
    heads: Mapping[str, Tensor] | None = None,
) -> Loaded:
    """Gives a backbone the weights of a checkpoint, by transformers' own rules for names.

    Args:
        backbone: changed in place, adapters aside; weights become float32.
        path: the checkpoint, or the index of its parts, beside its ``config.json``.
        expected_sha256: the SHA-256 that the file must have, if known.
        heads: tensors to overwrite with heads of the file, by their names in ``HEADS``; those that
            the file does not contain in this shape are left unchanged.

    Raises:
        ValueError: if the file is damaged, lacks weights of the model or has others of another
            shape; the message lists them.
    """
    sha256 = checked_sha256(path, expected_sha256)
    with quiet():
        source, found = _read(backbone, path)
    problems = [f"missing: {key}" for key in sorted(found["missing_keys"])]
    problems += [f"wrong shape: {key}" for key in sorted(map(str, found["mismatched_keys"]))]
    if problems:
        raise ValueError(
            f"model.weights: {path} does not fit this {type(backbone.model).__name__}; "
            f"{len(problems)} problems:\n  " + "\n  ".join(problems)
        )
    with torch.no_grad():
        for name, value in source.named_parameters():
            # The storage changes hands: nothing is copied, and adapters keep their layer's weight.
            backbone.model.get_parameter(name).data = value.data
        for name, value in source.named_buffers():
            backbone.model.get_buffer(name).copy_(value)
    return Loaded(sha256, _load_heads(path, heads or {}))


def _read(backbone: TransformersBackbone, path: Path) -> tuple[Any, Mapping[str, Any]]:
    """The model with the checkpoint's weights, and which keys did not fit."""
    # As the backbone made it, so that there are no parts that it does not have.
    options: dict[str, Any] = {
        "config": backbone.config,
        "dtype": torch.float32,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # reported, and refused above
        **backbone.options,
    }
    is_named_as_usual = path.name in ("model.safetensors", _INDEX, "pytorch_model.bin")
    try:
        if is_named_as_usual:
            return type(backbone.model).from_pretrained(path.parent, **options)  # type: ignore[no-any-return]
        state = {key: reader.read() for key, reader in tensor_readers(path).items()}
        return type(backbone.model).from_pretrained(None, state_dict=state, **options)  # type: ignore[no-any-return]
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"model.weights: {path} is not a readable checkpoint: {error}") from error


def _load_heads(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Copies heads of a checkpoint; returns the shapes of those in it."""
    files = sorted(path.parent.glob("model-*.safetensors")) if path.name == _INDEX else [path]
    found = {}
    for file in files:
        for key, reader in tensor_readers(file).items():
            if key not in HEADS:
                continue
            found[key] = reader.shape
            target = wanted.get(key)
            if target is not None and tuple(target.shape) == reader.shape:
                with torch.no_grad():
                    target.copy_(reader.read())
    return found
