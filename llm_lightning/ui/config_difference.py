"""In which settings two runs differ."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from llm_lightning.run_format.files import CONFIG


class Difference(NamedTuple):
    """A setting that two runs do not share."""

    key: str
    """Such as ``optim.lr``."""
    first: str
    """Its value in the first run, as YAML has it; empty if there is none."""
    second: str


def config_difference(first: Path, second: Path) -> tuple[list[Difference], int]:
    """Compares the configurations of two runs.

    Args:
        first: a run's folder.
        second: another's.

    Returns:
        The settings that differ, in the order of the files, and how many are equal.

    Raises:
        ValueError: if one of them has no readable configuration.
    """
    one, other = _settings(first), _settings(second)
    keys = list(one) + [key for key in other if key not in one]
    differing = [
        Difference(key, _shown(one, key), _shown(other, key))
        for key in keys
        if key not in one or key not in other or one[key] != other[key]
    ]
    return differing, len(keys) - len(differing)


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the configuration of a run.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    file = folder / CONFIG
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{folder} has no readable {CONFIG}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged: it holds no settings")
    return found


def _settings(folder: Path) -> dict[str, Any]:
    return dict(_flat(read_config(folder), ""))


def _flat(value: Any, key: str) -> list[tuple[str, Any]]:
    """Leaves with their dotted keys; an empty mapping is one, and a list as a whole."""
    if not isinstance(value, dict) or not value:
        return [(key, value)]
    return [
        leaf
        for name, inner in value.items()
        for leaf in _flat(inner, f"{key}.{name}" if key else str(name))
    ]


def _shown(settings: dict[str, Any], key: str) -> str:
    if key not in settings:
        return ""
    text: str = yaml.safe_dump(settings[key], default_flow_style=True, allow_unicode=True)
    return text.removesuffix("...\n").strip()
