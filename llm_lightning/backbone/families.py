"""Which code makes, finds and loads a backbone: GPT-2 in plain torch, or one of transformers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from llm_lightning.backbone import checkpoint, weights
from llm_lightning.backbone.checkpoint import Loaded
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.hub import HUB_ID, REVISION, BeforeDownload
from llm_lightning.backbone.huggingface import loading, location
from llm_lightning.backbone.huggingface import tokenizer as huggingface_tokenizer
from llm_lightning.backbone.huggingface.configuration import own_context_length, read_config
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.backbone.memory import check_fits
from llm_lightning.backbone.protocol import Backbone
from llm_lightning.backbone.tokenizer import GPT2Tokenizer, Tokenizer
from llm_lightning.backbone.weights import ModelConfig, Weights
from llm_lightning.network import Reachability, Unavailable

_FOLDER = re.compile(r"[\w-]+")

Model = ModelConfig | HubModel
"""A model and the origin of its weights: what the ``model`` configuration group holds."""


def model_from(fields: Mapping[str, Any]) -> Model:
    """Rebuilds a model from the plain values of its ``source()``, perhaps in somebody's file.

    Raises:
        TypeError: if there are other fields.
        ValueError: if a value is impossible.
    """
    for key, pattern in (("hub_id", HUB_ID), ("revision", REVISION), ("packaged", _FOLDER)):
        value = fields.get(key)
        if value is not None and not pattern.fullmatch(value):
            raise ValueError(f"model.{key} is not possible: {value!r:.100}")
    return ModelConfig(**fields) if "n_layer" in fields else HubModel(**fields)


def ask_hub(model: Model) -> Reachability | None:
    """Starts to check whether the Hub can be reached, if the weights would come from there.

    :func:`locate` waits for the result; meanwhile other files can be downloaded.
    """
    return location.ask_hub(model) if isinstance(model, HubModel) else weights.ask_hub(model)


def locate(
    model: Model,
    reachability: Reachability | None = None,
    before_download: BeforeDownload | None = None,
) -> Weights:
    """Finds the weights that ``model.weights`` names, downloading them if necessary.

    Args:
        model: the model and its ``weights`` setting.
        reachability: the result of :func:`ask_hub`, if it was called before.
        before_download: called with what is about to be fetched; may raise. ``None``: nothing is.

    Raises:
        Unavailable: if weights from the Hub are unavailable; without a network, within 10 s.
        ValueError: if ``model.weights`` names nothing that exists or can be read, or transformers
            is needed and not installed.
    """
    try:
        if isinstance(model, HubModel):
            return location.locate(model, reachability, before_download)
        return weights.locate(model, reachability, before_download)
    except Unavailable:
        raise
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise ValueError(
            f"model.weights={model.weights[:100]} cannot be used: {error.strerror or error}"
        ) from error


def architecture(model: Model, found: Weights) -> dict[str, Any]:
    """Returns what :func:`build` makes the model from, as plain values.

    Args:
        model: the model.
        found: its located weights. If there is a checkpoint, the weights are left uninitialised.
    """
    if isinstance(model, HubModel):
        return {
            "config": read_config(_folder(model, found)),
            "dropout": model.dropout,
            "context_length": model.context_length,
            "init": "transformers" if found.path is None else "empty",
        }
    own = model.architecture()
    return own if found.path is None else own | {"init": "empty"}


def load_tokenizer(model: Model, found: Weights) -> Tokenizer:
    """Returns the tokenizer of a model.

    Args:
        model: the model.
        found: its located weights.

    Raises:
        ValueError: if its files are missing, damaged or not supported.
    """
    if isinstance(model, HubModel):
        return huggingface_tokenizer.load_tokenizer(_folder(model, found))
    return GPT2Tokenizer()


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes a tokenizer into a folder, from which :func:`saved_tokenizer` loads it.

    GPT-2's needs no files: it comes with this package.
    """
    if not isinstance(tokenizer, GPT2Tokenizer):
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(folder)


def saved_tokenizer(folder: Path) -> Tokenizer:
    """Loads what :func:`save_tokenizer` wrote.

    Raises:
        ValueError: if the files are damaged.
    """
    return huggingface_tokenizer.load_tokenizer(folder) if folder.is_dir() else GPT2Tokenizer()


def context_length(model: Model, found: Weights) -> int:
    """Returns the longest input of a model, in tokens.

    Args:
        model: the model.
        found: its located weights.

    Raises:
        ValueError: if neither the model's configuration nor ``model.context_length`` has one.
    """
    if not isinstance(model, HubModel):
        return model.n_positions
    longest = model.context_length or own_context_length(read_config(_folder(model, found)))
    if longest is None:
        raise ValueError("model.context_length must be set: the model declares no limit")
    return longest


def build(architecture: Mapping[str, Any]) -> Backbone:
    """Makes a backbone.

    Args:
        architecture: as from :func:`architecture` or :meth:`Backbone.architecture`.

    Raises:
        ValueError: if a value is out of range, the architecture is not supported, or the model is
            larger than the memory.
    """
    if "config" in architecture:
        return TransformersBackbone(**architecture)
    config = GPTConfig(**architecture)
    check_fits(config.num_parameters, "model: this GPT-2")
    return GPT2(config)


def load_weights(
    backbone: Backbone,
    path: Path,
    *,
    expected_sha256: str | None = None,
    heads: Mapping[str, Tensor] | None = None,
) -> Loaded:
    """Copies a checkpoint into a backbone.

    Args:
        backbone: changed in place, adapters aside.
        path: the checkpoint.
        expected_sha256: the SHA-256 that the file must have, if known.
        heads: tensors to overwrite with heads of the file, by their names in
            :data:`~llm_lightning.backbone.checkpoint.HEADS`.

    Raises:
        ValueError: if the file is damaged or does not fit the model.
    """
    options: dict[str, Any] = {"expected_sha256": expected_sha256, "heads": heads}
    if isinstance(backbone, TransformersBackbone):
        return loading.load_weights(backbone, path, **options)
    if isinstance(backbone, GPT2):
        return checkpoint.load_weights(backbone, path, **options)
    raise TypeError(f"no checkpoint can be loaded into a {type(backbone).__name__}")


def _folder(model: HubModel, found: Weights) -> Path:
    if found.folder is None:
        raise ValueError(f"the weights of {model.name} have no folder: use locate()")
    return found.folder
