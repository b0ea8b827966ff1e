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
    check_base,
    checked_sha256,
    checkpoint_files,
)
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.huggingface.quiet import quiet
from llm_lightning.backbone.tensor_files import Reader, listed, tensor_readers

# Causal masks and counting positions, which old versions of transformers stored as tensors.
_COMPUTED = re.compile(r"(attn|attention)\.(bias|masked_bias)|rotary_emb\.inv_freq|position_ids")
_ADAPTER = "adapter_config.json"
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

    Heads of other tasks, and a pooling layer before them, are left out and listed as unused.

    Args:
        backbone: changed in place, adapters aside; weights become float32.
        path: the checkpoint, or the index of its parts, beside its ``config.json``.
        expected_sha256: the SHA-256 that the file must have, if known.
        heads: tensors to overwrite with heads of the file, by their names in ``HEADS``; those that
            the file does not contain in this shape are left unchanged.

    Raises:
        ValueError: if the file is damaged, lacks weights of the model, has others of another shape
            or type or more in its blocks; the message lists them. Also if values are NaN or
            infinite.
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
    others = sorted(key for key in found["unexpected_keys"] if not _COMPUTED.search(key))
    problems += [f"unexpected: {key}" for key in others if in_block.search(key)]
    problems += [
        f"wrong type: {key} is not a floating-point tensor"
        for key, reader in sorted(readers.items())
        if key.endswith((".weight", ".bias"))
        and not (reader.is_floating or _COMPUTED.search(key) or key in others)
    ]
    if problems:
        raise ValueError(
            f"model.weights: {path} does not fit this {type(backbone.model).__name__}; "
            f"{listed(problems)}"
        )
    check_base(path, dict(source.named_parameters()))
    with torch.no_grad():
        for name, value in source.named_parameters():
            # The storage changes hands: nothing is copied, and adapters keep their layer's weight.
            backbone.model.get_parameter(name).data = value.data
        for name, value in source.named_buffers():
            backbone.model.get_buffer(name).copy_(value)
    shapes, used = _load_heads(path, backbone, readers, heads or {})
    return Loaded(sha256, shapes, [key for key in others if key not in used])


def _read(
    backbone: TransformersBackbone, path: Path, readers: Mapping[str, Reader]
) -> tuple[Any, Mapping[str, Any]]:
    """The model with the checkpoint's weights, and which keys did not fit."""
    if (adapter := path.with_name(_ADAPTER)).exists():
        # transformers would put the adapter into the model without a word.
        raise ValueError(
            f"model.weights: {adapter} is that of an adapter, which is not read here: merge it "
            f"into its base, or move the base's files into a folder of their own"
        )
    # As the backbone made it, so that there are no parts that it does not have.
    options: dict[str, Any] = {
        "local_files_only": True,
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
    # Its own code for every architecture meets whatever a file holds.
    except Exception as error:
        raise ValueError(
            f"model.weights: {path} is not a readable checkpoint: {type(error).__name__}: {error}"
        ) from error
    model, found = loaded
    return model, found


def _load_heads(
    path: Path,
    backbone: TransformersBackbone,
    readers: Mapping[str, Reader],
    wanted: Mapping[str, Tensor],
) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """Copies heads of a checkpoint.

    Returns:
        Shapes of those that are not the embedding; and the keys of those that are used, of which
        the embedding is one.
    """
    embedding = backbone.input_embedding.weight
    found, used = {}, set()
    for key, reader in readers.items():
        name = _SAME_HEAD.get(key, key)
        if name not in HEADS:
            continue
        value = reader.read()
        if value.shape == embedding.shape and torch.equal(value.to(embedding.dtype), embedding):
            used.add(key)
            continue  # tied, and stored twice
        found[name] = reader.shape
        target = wanted.get(name)
        if target is not None and tuple(target.shape) == reader.shape:
            with torch.no_grad():
                target.copy_(value)
            check_base(path, {name: target})
            used.add(key)
    return found, used
