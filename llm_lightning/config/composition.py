"""A command line becomes a configuration, or a line about what is wrong with it."""

import copy
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from llm_lightning.config import schema
from llm_lightning.config.experiments import conf_dir
from llm_lightning.config.overrides import first, parse

_KEY = re.compile(
    r"(?:Could not override '|Could not append to config\. An item is already at '"
    r"|Could not delete from config\. ')([^']+)'"
)
_MERGED = re.compile(r"Error merging override (.*)")
_UNKNOWN_IN_FILE = re.compile(r"In '([^']+)': ConfigKeyError.*full_key: (\S+)", re.DOTALL)


def composed(overrides: Sequence[str]) -> DictConfig:
    """Composes a configuration, with Hydra's own part.

    Args:
        overrides: as on a command line; of those with several values the first counts.

    Raises:
        ValueError: naming the setting that is wrong, and the nearest one that exists.
    """
    parsed = parse(overrides)
    schema.register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            return _compose([first(one) for one in parsed])
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(_explained(error, parsed)) from error


class Composer:
    """Composes configurations that differ in few settings, and reads each choice of files once."""

    def __init__(self) -> None:
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def composed(self, overrides: Sequence[str]) -> DictConfig:
        """See :func:`composed`, ten times as slow."""
        parsed = parse(overrides)
        files = tuple(first(one) for one in parsed if _chooses_file(one))
        if files not in self._bases:
            self._bases[files] = composed(files)
        cfg = copy.deepcopy(self._bases[files])
        values = parse([first(one) for one in parsed if not _chooses_file(one)])
        try:
            ConfigLoaderImpl._apply_overrides_to_config(values, cfg)
        except (HydraException, OmegaConfBaseException) as error:
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                raise ValueError(_explained(error, parsed)) from error
        return cfg


def _chooses_file(override: Override) -> bool:
    return (conf_dir() / override.key_or_group).is_dir()


def _compose(overrides: Sequence[str]) -> DictConfig:
    return compose("config", overrides=list(overrides), return_hydra_config=True)


def _explained(error: Exception, overrides: Sequence[Override]) -> str:
    cause = str(error.__cause__ or "").splitlines()
    found = _KEY.search(str(error))
    if merged := _MERGED.match(str(error)):
        return f"{merged[1]}: {cause[0] if cause else 'it does not fit the setting'}"
    if in_file := _UNKNOWN_IN_FILE.match(str(error)):
        file, key = in_file.groups()
        group = key.partition(".")[0]
        chosen = [str(one.input_line) for one in overrides if one.key_or_group == group]
        lacking = " ".join(chosen) or "this choice of files"
        return f"{file} sets {key}, which {lacking} does not have"
    if found is None or isinstance(error, MissingConfigException):
        return "\n".join(line for line in [*str(error).splitlines()[:1], *cause[:1]] if line)
    key = found[1]
    given = next((str(one.input_line) for one in overrides if one.key_or_group == key), key)
    if "already at" in str(error):
        return f"{given}: write it without the plus sign, since {key} exists"
    known = _known_keys(overrides)
    if key in known and cause:  # the value is wrong
        return f"{given}: {cause[0]}"
    return f"there is no setting {key}{nearest(key, known)}"


def nearest(key: str, known: Sequence[str]) -> str:
    """Returns ``; did you mean ...?`` with the setting whose name is nearest, or nothing.

    Args:
        key: such as ``optim.lrr``, or its last part alone.
        known: all settings.
    """
    close = get_close_matches(key, known, n=1)
    if not close or close[0].rpartition(".")[2] != key.rpartition(".")[2]:
        # A key without its group, or in another one.
        last = key.rpartition(".")[2]
        ends = {one.rpartition(".")[2]: one for one in reversed(known)}
        if last in ends:
            close = [ends[last]]
        elif not close:
            close = [ends[end] for end in get_close_matches(last, list(ends), n=1)]
    return f"; did you mean {close[0]}?" if close else ""


def _known_keys(overrides: Sequence[Override]) -> list[str]:
    """Every setting there is with the chosen files."""
    chosen = [first(one) for one in overrides if _chooses_file(one)]
    try:
        cfg = _compose(chosen)
    except (HydraException, OmegaConfBaseException):
        cfg = _compose([])
    plain = OmegaConf.to_container(cfg, resolve=False)
    return [key for key in _flat_keys(plain, "") if not key.startswith("hydra.")]


def _flat_keys(fields: object, prefix: str) -> Iterator[str]:
    if isinstance(fields, dict):
        for key, value in fields.items():
            yield f"{prefix}{key}"
            yield from _flat_keys(value, f"{prefix}{key}.")
