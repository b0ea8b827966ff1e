"""Where weights come from: the Hub, this package, a file or folder, or random initialisation.

``checkpoint.py`` loads the file that is found here.
"""

import contextlib
import re
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.utils.tqdm import tqdm

from llm_lightning.backbone.checkpoint import CONFIG_NAME, content_sha256
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.hub import (
    HUB_ID,
    BeforeDownload,
    hub_errors,
    hub_is_off,
    hub_source,
    watched,
)
from llm_lightning.backbone.tokenizer import VOCAB_SIZE
from llm_lightning.network import Reachability, Unavailable

_FILE_NAMES = ("model.safetensors", "pytorch_model.bin")


@dataclass
class ModelConfig(GPTConfig):
    """A GPT-2 and the origin of its weights: the ``model`` configuration group."""

    name: str = "gpt2_small"
    """Short name, as in ``conf/model/``."""
    weights: str = "pretrained"
    """``pretrained``, ``random``, a file or folder on disk, or a Hub id (``owner/name`` or
    ``owner/name@revision``). Anything but ``random`` is in transformers' GPT-2 layout."""
    hub_id: str | None = None
    """Hub repository of the ``pretrained`` weights; null if none are published for this size."""
    packaged: str | None = None
    """Folder in this package's ``backbone/assets`` with the ``pretrained`` weights, for a model
    without ``hub_id``."""
    revision: str | None = None
    """Commit of ``hub_id``, pinned so that the weights cannot change."""
    fallback: str | None = None
    """The model whose package, if it is installed, replaces this one where the Hub cannot be
    reached."""

    def __post_init__(self) -> None:
        """Checks the rules of the configuration group beside those of the architecture.

        Raises:
            ValueError: naming the setting, its rule and the value.
        """
        super().__post_init__()
        if self.init == "empty":
            raise ValueError("model.init must be gpt2 or torch, got 'empty'")
        if self.vocab_size < VOCAB_SIZE:
            raise ValueError(
                f"model.vocab_size must be at least the tokenizer's {VOCAB_SIZE}, "
                f"got {self.vocab_size}"
            )

    def source(self) -> dict[str, Any]:
        """Returns all fields as plain values, with a path that is valid in any folder."""
        fields = asdict(self)
        local = Path(self.weights).expanduser()
        if self.weights not in ("pretrained", "random") and local.exists():
            fields["weights"] = str(local.resolve())
        return fields

    def architecture(self) -> dict[str, Any]:
        """Returns the fields that :class:`GPTConfig` takes, as a plain dict."""
        names = {field.name for field in fields(GPTConfig)}
        return {key: value for key, value in asdict(self).items() if key in names}


@dataclass
class Weights:
    """Located weights, before they are loaded."""

    source: str
    """Their origin, for display."""
    path: Path | None
    """The checkpoint; ``None`` for random weights."""
    sha256: str | None = None
    """SHA-256 of the file according to the Hub; ``None`` if unknown."""
    folder: Path | None = None
    """Where configuration and tokenizer of a transformers model are; ``None`` for GPT-2."""

    def fingerprint(self) -> str | None:
        """Returns the SHA-256 of the content of all files, to tell whether weights have changed.

        Each is hashed once per process and version of the file.

        Returns:
            ``None`` for random weights.
        """
        return None if self.path is None else content_sha256(self.path)


def ask_hub(model: ModelConfig) -> Reachability | None:
    """Starts to check whether the Hub can be reached, if the pretrained weights are not cached.

    :func:`locate` waits for the result; meanwhile other files can be downloaded.
    """
    if model.weights != "pretrained" or model.hub_id is None or hub_is_off():
        return None
    if _cached(model.hub_id, model.revision):
        return None
    return Reachability(hf_hub_url(model.hub_id, _FILE_NAMES[0], revision=model.revision))


def locate(
    model: ModelConfig,
    reachability: Reachability | None = None,
    before_download: BeforeDownload | None = None,
) -> Weights:
    """Finds the checkpoint that ``model.weights`` names, downloading it if necessary.

    Downloads use ``huggingface_hub``: HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE apply. Arguments and
    errors are those of :func:`~llm_lightning.backbone.families.locate`.
    """
    if model.weights == "random":
        return Weights(f"random ({model.init} initialisation)", None)
    if model.weights == "pretrained":
        if model.packaged is not None and model.hub_id is None:
            folder = Path(str(resources.files(__package__))) / "assets" / model.packaged
            return Weights("packaged weights", folder / _FILE_NAMES[0])
        if model.hub_id is None:
            raise ValueError(
                f"model.weights=pretrained: no weights are published for {model.name}; "
                f"use model.weights=random, or a file, folder or Hub id"
            )
        what = f"the weights {hub_source(model.hub_id, model.revision)}"
        return _from_hub(what, model.hub_id, model.revision, reachability, before_download)
    path = Path(model.weights).expanduser()
    if path.is_dir():
        for name in _FILE_NAMES:
            if (path / name).is_file():
                return Weights(str(path / name), path / name)
        raise ValueError(
            f"model.weights={model.weights}: the folder contains no {' or '.join(_FILE_NAMES)}"
        )
    if path.is_file():
        return Weights(str(path), path)
    if HUB_ID.fullmatch(model.weights) and path.suffix not in {".safetensors", ".bin", ".pt"}:
        hub_id, _, revision = model.weights.partition("@")
        what = f"the weights {model.weights} (no file or folder here, so taken for a Hub id)"
        return _from_hub(what, hub_id, revision or None, reachability, before_download)
    raise ValueError(
        f"model.weights must be pretrained, random, an existing file or folder, or a Hub id "
        f"(owner/name), got {model.weights!r}"
    )


def _cached(hub_id: str, revision: str | None) -> Path | None:
    # hf_hub_download(local_files_only=True) would request other data from the Hub, for 3 s if there
    # is no network.
    found = try_to_load_from_cache(hub_id, _FILE_NAMES[0], revision=revision)
    return Path(found) if isinstance(found, str) else None


def _from_hub(
    what: str,
    hub_id: str,
    revision: str | None,
    reachability: Reachability | None,
    before_download: BeforeDownload | None,
) -> Weights:
    source = hub_source(hub_id, revision)
    advice = (
        "connect once so that the file is cached, or point model.weights at a folder with "
        "model.safetensors, or set HF_ENDPOINT to a mirror"
    )
    if cached := _cached(hub_id, revision):
        return Weights(source, cached, _promised_sha256(cached))
    filename = _FILE_NAMES[0]
    if hub_is_off():
        switch = "HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else "LLM_LIGHTNING_OFFLINE"
        raise Unavailable(what, f"{switch} is set, and there is no cached copy", advice)
    if before_download is not None:
        before_download(source)
    # The client itself would retry for minutes if a host accepts connections and never responds.
    reachability = reachability or Reachability(hf_hub_url(hub_id, filename, revision=revision))
    if problem := reachability.problem():
        raise Unavailable(what, problem, advice)
    with hub_errors(what, advice):
        path = watched(partial(_fetch, hub_id, revision))
        return Weights(source, path, _promised_sha256(path))


def _fetch(hub_id: str, revision: str | None, bar: type[tqdm]) -> Path:
    path = Path(hf_hub_download(hub_id, _FILE_NAMES[0], revision=revision, tqdm_class=bar))
    with contextlib.suppress(EntryNotFoundError):  # checked against the model when loading
        hf_hub_download(hub_id, CONFIG_NAME, revision=revision, tqdm_class=bar)
    return path


def _promised_sha256(path: Path) -> str | None:
    # The cache keeps large files under their ETag, which for them is the SHA-256.
    etag = path.resolve().name
    return etag if re.fullmatch("[0-9a-f]{64}", etag) else None
