"""Loads and saves GPT-2 checkpoints in transformers' layout.

Parameter names are the same; projections are transposed, because transformers stores them as
``Conv1D`` (in_features, out_features). Loading checks everything before it changes the model.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import LAYER_NORM_EPSILON, GPTConfig
from llm_lightning.backbone.tensor_files import MOST_LISTED, check_finite, listed, tensor_readers
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID
from llm_lightning.run_format.bounded_files import read_json_object
from llm_lightning.run_format.file_digest import cached_sha256

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
WEIGHTS_NAMES = (WEIGHTS_NAME, "model.safetensors.index.json", "pytorch_model.bin")
"""The names that transformers looks for in a folder, the first of which it takes."""

# Heads that a file may contain beside the backbone: a classification head, and an output embedding
# that is not tied to the input embedding.
HEADS = ("score.weight", "score.bias", "lm_head.weight")

_CONV1D = re.compile(r"h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight")
_CAUSAL_MASK_BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")


@dataclass
class Loaded:
    """What was loaded from a checkpoint."""

    sha256: str
    """Of the file."""
    heads: dict[str, tuple[int, ...]]
    """Shapes of the heads in the file, by their names in ``HEADS``."""
    unused: list[str] = field(default_factory=list)
    """Keys of tensors that nothing here uses: heads of other tasks, and poolers before them."""


def load_weights(
    model: GPT2,
    path: Path,
    *,
    expected_sha256: str | None = None,
    heads: Mapping[str, Tensor] | None = None,
) -> Loaded:
    """Copies a checkpoint into a model, tensor by tensor.

    Keys may start with ``transformer.``; causal-mask buffers and an ``lm_head.weight`` that
    equals ``wte.weight`` are skipped. Beside the model itself this needs the memory of one
    tensor. Only tensors are unpickled (``weights_only=True``).

    Args:
        model: changed in place, adapters aside; half-precision tensors are converted to the
            model's dtype.
        path: a ``.safetensors``, ``.bin`` or ``.pt`` file in transformers' GPT-2 layout.
        expected_sha256: the SHA-256 that the file must have, if known.
        heads: tensors to overwrite with heads of the file, by their names in ``HEADS``; those that
            the file does not contain in this shape are left unchanged.

    Raises:
        ValueError: if the file is damaged, or its keys or shapes are not those of the model; the
            message lists missing, unexpected and mis-shaped keys. Also if values are NaN or
            infinite, which is only found while they are copied: the model is then of no use.
    """
    sha256 = checked_sha256(path, expected_sha256)
    # The parameters of the plain architecture: adapters are not in a base checkpoint.
    with torch.device("meta"):
        names = [name for name, _ in GPT2(replace(model.config, init="empty")).named_parameters()]
    targets: dict[str, Tensor] = {name: model.get_parameter(name) for name in names}
    tensors = tensor_readers(path)
    problems = _config_problems(path.with_name(CONFIG_NAME), model.config)
    keys: dict[str, str] = {}
    for key in tensors:
        name = key.removeprefix("transformer.")
        if _CAUSAL_MASK_BUFFER.fullmatch(name):
            continue
        if name in keys:
            problems.append(f"duplicate: {keys[name]} and {key}")
        keys[name] = key
    if "lm_head.weight" in keys and "wte.weight" in keys:
        head, embedding = tensors[keys["lm_head.weight"]], tensors[keys["wte.weight"]]
        if head.shape == embedding.shape and torch.equal(head.read(), embedding.read()):
            del keys["lm_head.weight"]
    found_heads = {name: tensors[keys.pop(name)] for name in HEADS if name in keys}

    problems += [f"missing: {name}" for name in targets if name not in keys]
    problems += [f"unexpected: {key}" for name, key in keys.items() if name not in targets]
    for name, target in targets.items():
        if _CONV1D.fullmatch(name):
            targets[name] = target.T  # a view: writing to it writes to the parameter
        wanted = tuple(targets[name].shape)
        if name in keys and tensors[keys[name]].shape != wanted:
            got = tensors[keys[name]].shape
            problems.append(f"wrong shape: {keys[name]} is {got}, the model needs {wanted}")
        if name in keys and not tensors[keys[name]].is_floating:
            problems.append(f"wrong type: {keys[name]} is not a floating-point tensor")
    if problems:
        raise ValueError(
            f"model.weights: {path} does not fit this GPT-2 ({model.config.n_layer} layers, "
            f"{model.config.n_embd} wide); {listed(problems)}"
        )
    unused = []
    with torch.no_grad():
        # Largest first: the memory of an empty model is allocated as it is filled, so that the
        # largest temporary tensor never exists beside a full model.
        for name in sorted(targets, key=lambda name: targets[name].numel(), reverse=True):
            targets[name].copy_(tensors[keys[name]].read())
        for name, head in found_heads.items():
            wanted_head = (heads or {}).get(name)
            if wanted_head is not None and tuple(wanted_head.shape) == head.shape:
                wanted_head.copy_(head.read())
                targets[name] = wanted_head
            else:
                unused.append(name)
    check_base(path, targets)
    return Loaded(sha256, {name: head.shape for name, head in found_heads.items()}, unused)


def check_base(path: Path, loaded: Mapping[str, Tensor]) -> None:
    """Checks the weights that a model now has; see :func:`.check_finite`.

    Args:
        path: where they came from.
        loaded: by their names.
    """
    check_finite(
        loaded,
        f"model.weights: {path} contains values that are NaN or infinite, or too large for float32",
    )


def checked_sha256(path: Path, expected: str | None) -> str:
    """Returns the SHA-256 of a checkpoint, as :func:`content_sha256`.

    Raises:
        ValueError: if it is not the expected one, or parts are missing.
    """
    sha256 = content_sha256(path)
    if expected not in (None, sha256):
        raise ValueError(
            f"model.weights: {path} is damaged: its sha256 is {sha256}, expected {expected}; "
            f"delete it and run again"
        )
    return sha256


def content_sha256(path: Path) -> str:
    """Returns the SHA-256 of a checkpoint; of one in parts, that of the SHA-256 of every part.

    Raises:
        ValueError: if parts are missing, or cannot be read.
    """
    files = checkpoint_files(path)
    try:
        if files == [path]:
            return cached_sha256(path)
        return hashlib.sha256("".join(map(cached_sha256, files)).encode()).hexdigest()
    except OSError as error:
        raise ValueError(
            f"model.weights: {error.filename or path} cannot be read: {error.strerror}"
        ) from error


def checkpoint_files(path: Path) -> list[Path]:
    """Returns the files of a checkpoint: itself, or the parts that an index lists, sorted.

    Raises:
        ValueError: if parts are missing, or the index cannot be read.
    """
    if path.suffix != ".json":
        return [path]
    try:
        found = read_json_object(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"model.weights: no readable index of parts: {error}") from error
    parts = found.get("weight_map")
    names = list(parts.values()) if isinstance(parts, dict) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"model.weights: {path} has no weight_map from keys to names of files")
    if outside := sorted(name for name in names if not _is_file_name(name)):
        raise ValueError(
            f"model.weights: {path} lists parts outside its own folder: {outside[0]!r:.100}"
        )
    files = [path.parent / name for name in sorted(set(names))]
    if missing := [file.name for file in files if not file.is_file()]:
        raise ValueError(
            f"model.weights: {path} lists parts that are missing: "
            f"{', '.join(missing[:MOST_LISTED])}"
            + (f" and {len(missing) - MOST_LISTED:,} more" if len(missing) > MOST_LISTED else "")
        )
    return files


def _is_file_name(name: str) -> bool:
    """Whether a text can be the name of a file in a folder, and leads nowhere else."""
    return Path(name).name == name and len(name.encode(errors="replace")) <= 255


def save_weights(model: GPT2, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Writes a model as transformers' ``GPT2LMHeadModel`` with a tied head.

    Args:
        model: a plain one, without adapters.
        folder: for ``model.safetensors`` and ``config.json``; created if necessary.
        dtype: of the tensors in the file.
    """
    config = {"architectures": ["GPT2LMHeadModel"], "tie_word_embeddings": True}
    tensors = {name: value.to(dtype) for name, value in model.state_dict().items()}
    write_folder(folder, to_transformers(tensors), described(model.config) | config)


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Transposes the projections in a backbone's state dict, as ``Conv1D`` stores them."""
    return {
        name: (value.T if _CONV1D.fullmatch(name) else value).contiguous()
        for name, value in state.items()
    }


def described(config: GPTConfig) -> dict[str, Any]:
    """Returns an architecture in the format of transformers' ``config.json``."""
    return {
        "model_type": "gpt2",
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "n_positions": config.n_positions,
        "vocab_size": config.vocab_size,
        "embd_pdrop": config.embd_pdrop,
        "attn_pdrop": config.attn_pdrop,
        "resid_pdrop": config.resid_pdrop,
        "layer_norm_epsilon": LAYER_NORM_EPSILON,
        "activation_function": "gelu_new",
        "bos_token_id": END_OF_TEXT_ID,
        "eos_token_id": END_OF_TEXT_ID,
    }


def write_folder(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Writes ``model.safetensors`` and ``config.json``; creates the folder if necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / WEIGHTS_NAME, metadata={"format": "pt"})
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")


def _config_problems(file: Path, config: GPTConfig) -> list[str]:
    """Differences in a ``config.json`` beside the weights that tensor shapes do not show."""
    try:
        found = read_json_object(file)
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise ValueError(f"model.weights: {error}") from error
    expected = {
        "n_head": (config.n_head,),
        "layer_norm_epsilon": (LAYER_NORM_EPSILON,),
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),  # both are tanh GELU
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
    }
    return [
        f"{CONFIG_NAME}: {key} is {found[key]}, the model has {values[0]}"
        for key, values in expected.items()
        if key in found and found[key] not in values
    ]
