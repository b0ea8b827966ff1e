"""Loads and saves GPT-2 checkpoints in transformers' layout.

Parameter names are the same; projections are transposed, because transformers stores them as
``Conv1D`` (in_features, out_features). Loading checks everything before it changes the model.
"""

import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import LAYER_NORM_EPSILON, GPTConfig
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID
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
            message lists every missing, unexpected and mis-shaped key.
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
            f"{model.config.n_embd} wide); {len(problems)} problems:\n  " + "\n  ".join(problems)
        )
    with torch.no_grad():
        # Largest first: the memory of an empty model is allocated as it is filled, so that the
        # largest temporary tensor never exists beside a full model.
        for name in sorted(targets, key=lambda name: targets[name].numel(), reverse=True):
            targets[name].copy_(tensors[keys[name]].read())
        for name, head in found_heads.items():
            wanted_head = (heads or {}).get(name)
            if wanted_head is not None and tuple(wanted_head.shape) == head.shape:
                wanted_head.copy_(head.read())
    return Loaded(sha256, {name: head.shape for name, head in found_heads.items()})


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
        ValueError: if parts are missing.
    """
    files = checkpoint_files(path)
    if files == [path]:
        return cached_sha256(path)
    return hashlib.sha256("".join(map(cached_sha256, files)).encode()).hexdigest()


def checkpoint_files(path: Path) -> list[Path]:
    """Returns the files of a checkpoint: itself, or the parts that an index lists, sorted.

    Raises:
        ValueError: if parts are missing, or the index cannot be read.
    """
    if path.suffix != ".json":
        return [path]
    try:
        names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"model.weights: {path} is not a readable index: {error}") from error
    files = [path.parent / name for name in names]
    if missing := [file.name for file in files if not file.is_file()]:
        raise ValueError(
            f"model.weights: {path} lists parts that are missing: {', '.join(missing)}"
        )
    return files


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
    if not file.is_file():
        return []
    found = json.loads(file.read_text(encoding="utf-8"))
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


@dataclass
class Reader:
    """One tensor of a checkpoint, read on demand."""

    shape: tuple[int, ...]
    is_floating: bool
    read: Callable[[], Tensor]


def tensor_readers(path: Path) -> dict[str, Reader]:
    """Returns what reads each tensor of a checkpoint, by its key.

    Raises:
        ValueError: if the file is damaged, or contains anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return _safetensors_readers(path)
        # Files from before torch 1.6 are not zip archives and cannot be memory-mapped.
        state = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
        return {
            key: Reader(tuple(value.shape), value.is_floating_point(), value.detach)
            for key, value in state.items()
        }
    except (pickle.UnpicklingError, AttributeError) as error:
        # torch's own message advises to turn this protection off.
        raise ValueError(f"model.weights: {path} contains objects other than tensors") from error
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise ValueError(f"model.weights: {path} is not a readable checkpoint: {error}") from error


def _safetensors_readers(path: Path) -> dict[str, Reader]:
    def read(key: str) -> Tensor:
        # Opened for each tensor: closing the file releases its mapped pages, which would otherwise
        # add up to a second copy of the model.
        with safe_open(path, framework="pt") as file:
            return cast(Tensor, file.get_tensor(key))

    readers = {}
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 (not a dict)
            part = file.get_slice(key)
            is_floating = "F" in part.get_dtype()  # F32, F16, BF16 ... rather than I64, BOOL
            readers[key] = Reader(tuple(part.get_shape()), is_floating, partial(read, key))
    return readers
