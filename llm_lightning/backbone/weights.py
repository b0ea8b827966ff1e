"""Where weights come from: the Hub, this package, a file or folder, or nowhere.

Loading what was found is ``checkpoint.py``'s business.
"""

import contextlib
import re
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError

from llm_lightning.backbone.checkpoint import CONFIG_NAME
from llm_lightning.backbone.gpt2 import GPTConfig
from llm_lightning.backbone.tokenizer import VOCAB_SIZE
from llm_lightning.network import Reachability, Unavailable, offline

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_FILE_NAMES = ("model.safetensors", "pytorch_model.bin")


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
    packaged: str | None = None
    """Folder in this package's ``backbone/assets`` that ``pretrained`` means, where there is no
    ``hub_id``."""
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

    def source(self) -> dict[str, Any]:
        """Returns all fields as a plain dict from which the weights are found from any folder."""
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
    """Weights that were found, before they are loaded."""

    source: str
    """Where they come from, for people."""
    path: Path | None
    """The checkpoint; ``None`` for random weights."""
    sha256: str | None = None
    """What the Hub says the file's SHA-256 is; ``None`` where nobody says."""


def ask_hub(model: ModelConfig) -> Reachability | None:
    """Starts asking whether the Hub answers, if the pretrained weights are not cached.

    The answer is waited for in :func:`locate`; meanwhile other things can be fetched.
    """
    if model.weights != "pretrained" or model.hub_id is None or _hub_is_off():
        return None
    if _cached(model.hub_id, model.revision):
        return None
    return Reachability(hf_hub_url(model.hub_id, _FILE_NAMES[0], revision=model.revision))


def locate(model: ModelConfig, hub_probe: Reachability | None = None) -> Weights:
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
        if model.packaged is not None and model.hub_id is None:
            folder = Path(str(resources.files(__package__))) / "assets" / model.packaged
            return Weights("packaged weights", folder / _FILE_NAMES[0])
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
    # hf_hub_download(local_files_only=True) would ask the Hub for data of its own, for 3 s if there
    # is no network.
    found = try_to_load_from_cache(hub_id, _FILE_NAMES[0], revision=revision)
    return Path(found) if isinstance(found, str) else None


def _hub_is_off() -> bool:
    return constants.HF_HUB_OFFLINE or offline()


def _source(hub_id: str, revision: str | None) -> str:
    return f"{hub_id}@{revision[:7]}" if revision else hub_id


def _from_hub(what: str, hub_id: str, revision: str | None, probe: Reachability | None) -> Weights:
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
    probe = probe or Reachability(hf_hub_url(hub_id, filename, revision=revision))
    if problem := probe.problem():
        raise Unavailable(what, problem, advice)
    try:
        path = Path(hf_hub_download(hub_id, filename, revision=revision))
        with contextlib.suppress(EntryNotFoundError):  # compared with the model when loading
            hf_hub_download(hub_id, CONFIG_NAME, revision=revision)
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
