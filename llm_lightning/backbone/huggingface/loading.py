"""Loads and saves the weights of a transformers model."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llm_lightning.backbone.checkpoint import (
    HEADS,
    WEIGHTS_NAMES,
    Loaded,
    Reader,
    checked_sha256,
    checkpoint_files,
    tensor_readers,
)
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.huggingface.quiet import quiet

# Causal masks, which old versions of transformers stored as tensors.
_MASK = re.compile(r"(attn|attention)\.(bias|masked_bias)")
# Other names of heads; this one is GPT-NeoX's.
_SAME_HEAD = {"embed_out.weight": "lm_head.weight"}


def load_weights(
    backbone: TransformersBackbone,
    path: Path,
    *,
    expected_sha256: str | None = None,
    heads: Mapping[str, Tensor] | None = None,
) -> Loaded:
    """Gives a backbone the weights of a checkpoint, by transformers' own rules for names.

    Heads of pretraining, and a pooling layer before them, are left out.

    Args:
        backbone: changed in place, adapters aside; weights become float32.
        path: the checkpoint, or the index of its parts, beside its ``config.json``.
        expected_sha256: the SHA-256 that the file must have, if known.
        heads: tensors to overwrite with heads of the file, by their names in ``HEADS``; those that
            the file does not contain in this shape are left unchanged.

    Raises:
        ValueError: if the file is damaged, lacks weights of the model, has others of another shape
            or more in its blocks; the message lists them.
    """
    sha256 = checked_sha256(path, expected_sha256)
    # Read here first: transformers' own errors differ between formats, and one of them advises to
    # turn the protection against code in a file off.
    readers: dict[str, Reader] = {}
    for file in checkpoint_files(path):
        readers |= tensor_readers(file)
    with quiet():
        source, found = _read(backbone, path, readers)
    in_block = re.compile(rf"(^|\.){re.escape(backbone.blocks_name.partition('.')[2])}\.\d+\.")
    problems = [f"missing: {key}" for key in sorted(found["missing_keys"])]
    problems += [
        f"wrong shape: {key} is {tuple(got)}, the model needs {tuple(wanted)}"
        for key, got, wanted in sorted(found["mismatched_keys"])
    ]
    problems += [
        f"unexpected: {key}"
        for key in sorted(found["unexpected_keys"])
        if in_block.search(key) and not _MASK.search(key)
    ]
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
    return Loaded(sha256, _load_heads(backbone, readers, heads or {}))


def _read(
    backbone: TransformersBackbone, path: Path, readers: Mapping[str, Reader]
) -> tuple[Any, Mapping[str, Any]]:
    """The model with the checkpoint's weights, and which keys did not fit."""
    # As the backbone made it, so that there are no parts that it does not have.
    options: dict[str, Any] = {
        "config": backbone.config,
        "dtype": torch.float32,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # reported, and refused above
        **backbone.options,
    }
    model_class: Any = type(backbone.model)
    names = [name for name in WEIGHTS_NAMES if (path.parent / name).is_file()]
    try:
        if names[:1] == [path.name]:  # the file that transformers takes, tensor by tensor
            loaded = model_class.from_pretrained(path.parent, **options)
        else:
            state = {key: reader.read() for key, reader in readers.items()}
            loaded = model_class.from_pretrained(None, state_dict=state, **options)
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"model.weights: {path} is not a readable checkpoint: {error}") from error
    model, found = loaded
    return model, found


def _load_heads(
    backbone: TransformersBackbone, readers: Mapping[str, Reader], wanted: Mapping[str, Tensor]
) -> dict[str, tuple[int, ...]]:
    """Copies heads of a checkpoint; returns the shapes of those that are not the embedding."""
    embedding = backbone.input_embedding.weight
    found = {}
    for key, reader in readers.items():
        name = _SAME_HEAD.get(key, key)
        if name not in HEADS:
            continue
        value = reader.read()
        if value.shape == embedding.shape and torch.equal(value.to(embedding.dtype), embedding):
            continue  # tied, and stored twice
        found[name] = reader.shape
        target = wanted.get(name)
        if target is not None and tuple(target.shape) == reader.shape:
            with torch.no_grad():
                target.copy_(value)
    return found
