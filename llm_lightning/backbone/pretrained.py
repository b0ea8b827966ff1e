"""Where weights come from: locate, check, convert.

A checkpoint in the layout that transformers publishes (``model.safetensors`` of
``openai-community/gpt2``) becomes this package's GPT-2: names are the same, projections are
transposed because transformers stores them as ``Conv1D`` (in_features, out_features).
"""

import contextlib
import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import constants, hf_hub_download, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from llm_lightning.backbone.gpt2 import GPT2, LAYER_NORM_EPSILON, GPTConfig
from llm_lightning.backbone.tokenizer import VOCAB_SIZE
from llm_lightning.network import Probe, Unavailable, offline

_CONV1D = re.compile(r"h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight")
_CAUSAL_MASK_BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_FILE_NAMES = ("model.safetensors", "pytorch_model.bin")
_CONFIG_NAME = "config.json"


@dataclass
class ModelConfig(GPTConfig):
    """One GPT-2 and where its weights come from: the ``model`` configuration group."""

    name: str = "gpt2_small"
    """Short name, as in ``conf/model/``."""
    weights: str = "pretrained"
    """``pretrained``, ``random``, a file or folder on disk, or a Hub id (``owner/name`` or
    ``owner/name@revision``). Anything but ``random`` is in transformers' GPT-2 layout."""
    hub_id: str | None = None
    """Hub repository that ``pretrained`` means; none if no weights are published for this size."""
    revision: str | None = None
    """Commit of ``hub_id``, pinned so that the same weights come tomorrow."""

    def __post_init__(self) -> None:
        """Checks what a network of any kind need not.

        Raises:
            ValueError: naming the key, the rule and the value got.
        """
        super().__post_init__()
        if self.init == "empty":
            raise ValueError("model.init must be gpt2 or torch, got 'empty'")
        if self.vocab_size < VOCAB_SIZE:
            raise ValueError(
                f"model.vocab_size must be at least the tokenizer's {VOCAB_SIZE}, "
                f"got {self.vocab_size}"
            )

    def architecture(self) -> dict[str, Any]:
        """Returns the fields that :class:`GPTConfig` takes, as a plain dict."""
        names = {field.name for field in fields(GPTConfig)}
        return {key: value for key, value in asdict(self).items() if key in names}


@dataclass
class Weights:
    """Weights that were found, before they are loaded."""

    source: str
    """Where they come from, for people."""
    path: Path | None
    """The checkpoint; ``None`` for random weights."""
    sha256: str | None = None
    """What the Hub says the file's SHA-256 is; ``None`` where nobody says."""


def ask_hub(model: ModelConfig) -> Probe | None:
    """Starts asking whether the Hub answers, if the pretrained weights are not cached.

    The answer is waited for in :func:`locate`; meanwhile other things can be fetched.
    """
    if model.weights != "pretrained" or model.hub_id is None or _hub_is_off():
        return None
    if _cached(model.hub_id, model.revision):
        return None
    return Probe(hf_hub_url(model.hub_id, _FILE_NAMES[0], revision=model.revision))


def locate(model: ModelConfig, hub_probe: Probe | None = None) -> Weights:
    """Finds the checkpoint that ``model.weights`` names, downloading it if it must.

    The Hub is asked through ``huggingface_hub``: HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE apply.

    Args:
        model: what to find.
        hub_probe: what :func:`ask_hub` started, if it was asked before.

    Raises:
        Unavailable: if weights from the Hub cannot be had, within 10 s where there is no network.
        ValueError: if ``model.weights`` names nothing that exists.
    """
    if model.weights == "random":
        return Weights(f"random ({model.init} initialisation)", None)
    if model.weights == "pretrained":
        if model.hub_id is None:
            raise ValueError(
                f"model.weights=pretrained: no weights are published for {model.name}; "
                f"use model.weights=random, or a file, folder or Hub id"
            )
        what = f"the weights {_source(model.hub_id, model.revision)}"
        return _from_hub(what, model.hub_id, model.revision, hub_probe)
    path = Path(model.weights).expanduser()
    if path.is_dir():
        for name in _FILE_NAMES:
            if (path / name).is_file():
                return Weights(str(path / name), path / name)
        raise ValueError(f"model.weights={model.weights}: no {' or '.join(_FILE_NAMES)} in there")
    if path.is_file():
        return Weights(str(path), path)
    if _HUB_ID.fullmatch(model.weights) and path.suffix not in {".safetensors", ".bin", ".pt"}:
        hub_id, _, revision = model.weights.partition("@")
        what = f"the weights {model.weights} (no file or folder here, so taken for a Hub id)"
        return _from_hub(what, hub_id, revision or None, hub_probe)
    raise ValueError(
        f"model.weights must be pretrained, random, an existing file or folder, or a Hub id "
        f"(owner/name), got {model.weights!r}"
    )


def _cached(hub_id: str, revision: str | None) -> Path | None:
    with contextlib.suppress(LocalEntryNotFoundError):
        return Path(
            hf_hub_download(hub_id, _FILE_NAMES[0], revision=revision, local_files_only=True)
        )
    return None


def _hub_is_off() -> bool:
    return constants.HF_HUB_OFFLINE or offline()


def _source(hub_id: str, revision: str | None) -> str:
    return f"{hub_id}@{revision[:7]}" if revision else hub_id


def _from_hub(what: str, hub_id: str, revision: str | None, probe: Probe | None) -> Weights:
    source = _source(hub_id, revision)
    advice = (
        "connect once so that the file is cached, or point model.weights at a folder with "
        "model.safetensors, or set HF_ENDPOINT to a mirror"
    )
    if cached := _cached(hub_id, revision):
        return Weights(source, cached, _promised_sha256(cached))
    filename = _FILE_NAMES[0]
    if _hub_is_off():
        switch = "HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else "LLM_LIGHTNING_OFFLINE"
        raise Unavailable(what, f"{switch} is set, and no cached copy", advice)
    # The client itself would retry for minutes where a host accepts connections and says nothing.
    probe = probe or Probe(hf_hub_url(hub_id, filename, revision=revision))
    if problem := probe.problem():
        raise Unavailable(what, problem, advice)
    try:
        path = Path(hf_hub_download(hub_id, filename, revision=revision))
        with contextlib.suppress(EntryNotFoundError):  # compared with the model when loading
            hf_hub_download(hub_id, _CONFIG_NAME, revision=revision)
        return Weights(source, path, _promised_sha256(path))
    # Besides its own errors the Hub client lets those of its HTTP library through, which differ
    # between its versions and share no base class. All of them mean: not to be had.
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0]
        reason = f"{constants.ENDPOINT}: {type(error).__name__}: {first_line}"
        raise Unavailable(what, reason, advice) from error


def _promised_sha256(path: Path) -> str | None:
    # The cache keeps large files under their ETag, which for them is the SHA-256.
    etag = path.resolve().name
    return etag if re.fullmatch("[0-9a-f]{64}", etag) else None


def load_weights(model: GPT2, path: Path, *, expected_sha256: str | None = None) -> str:
    """Copies a checkpoint into a model, tensor by tensor.

    Keys may carry the prefix ``transformer.``; causal-mask buffers and an ``lm_head.weight`` that
    equals ``wte.weight`` are skipped. Beside the model itself this needs the memory of one
    tensor. Nothing is unpickled but tensors (``weights_only=True``).

    Args:
        model: changed in place; half-precision tensors are converted to the model's dtype.
        path: a ``.safetensors``, ``.bin`` or ``.pt`` file in transformers' GPT-2 layout.
        expected_sha256: what the file's SHA-256 must be, if it is known.

    Returns:
        The file's SHA-256.

    Raises:
        ValueError: if the file is damaged, or its keys or shapes are not the model's; every
            missing, unexpected and mis-shaped key is listed.
    """
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if expected_sha256 not in (None, sha256):
        raise ValueError(
            f"model.weights: {path} is damaged: its sha256 is {sha256}, expected "
            f"{expected_sha256}; delete it and run again"
        )
    targets: dict[str, Tensor] = dict(model.named_parameters())
    tensors = _readers(path)
    problems = _config_problems(path.with_name(_CONFIG_NAME), model.config)
    keys: dict[str, str] = {}
    for key in tensors:
        name = key.removeprefix("transformer.")
        if _CAUSAL_MASK_BUFFER.fullmatch(name):
            continue
        if name in keys:
            problems.append(f"twice: {keys[name]} and {key}")
        keys[name] = key
    if "lm_head.weight" in keys and "wte.weight" in keys:
        head, embedding = tensors[keys["lm_head.weight"]], tensors[keys["wte.weight"]]
        if head.shape == embedding.shape and torch.equal(head.read(), embedding.read()):
            del keys["lm_head.weight"]

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
            problems.append(f"wrong type: {keys[name]} holds no floating-point numbers")
    if problems:
        raise ValueError(
            f"model.weights: {path} does not fit this GPT-2 ({model.config.n_layer} layers, "
            f"{model.config.n_embd} wide); {len(problems)} problems:\n  " + "\n  ".join(problems)
        )
    with torch.no_grad():
        # Largest first: an empty model's memory is touched as it is filled, so that the largest
        # temporary tensor never stands beside a full model.
        for name in sorted(targets, key=lambda name: targets[name].numel(), reverse=True):
            targets[name].copy_(tensors[keys[name]].read())
    return sha256


def _config_problems(file: Path, config: GPTConfig) -> list[str]:
    """What a ``config.json`` beside the weights says that tensor shapes do not show."""
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
        f"{_CONFIG_NAME}: {key} is {found[key]}, the model has {values[0]}"
        for key, values in expected.items()
        if key in found and found[key] not in values
    ]


@dataclass
class _Reader:
    """One tensor of a checkpoint, read when asked."""

    shape: tuple[int, ...]
    is_floating: bool
    read: Callable[[], Tensor]


def _readers(path: Path) -> dict[str, _Reader]:
    try:
        if path.suffix == ".safetensors":
            return _safetensors_readers(path)
        # Archives are mapped rather than read; files from before torch 1.6 are none.
        state = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
        return {
            key: _Reader(tuple(value.shape), value.is_floating_point(), value.detach)
            for key, value in state.items()
        }
    except (pickle.UnpicklingError, AttributeError) as error:
        # torch's own message advises to turn the protection off.
        raise ValueError(f"model.weights: {path} holds something else than tensors") from error
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise ValueError(f"model.weights: {path} is not a readable checkpoint: {error}") from error


def _safetensors_readers(path: Path) -> dict[str, _Reader]:
    def read(key: str) -> Tensor:
        # Opened anew for each tensor: closing the file gives back its mapped pages, which would
        # otherwise add up to a second copy of the model.
        with safe_open(path, framework="pt") as file:
            return cast(Tensor, file.get_tensor(key))

    readers = {}
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 (not a dict)
            part = file.get_slice(key)
            is_floating = "F" in part.get_dtype()  # F32, F16, BF16 ... as against I64, BOOL
            readers[key] = _Reader(tuple(part.get_shape()), is_floating, partial(read, key))
    return readers
