"""Settings on a command line: what each says, and how one that Hydra misreads is to be written."""

import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from llm_lightning.config.experiments import conf_dir, list_experiments

_OF_HYDRA = {"basic", "none"}
"""Files that Hydra brings for the groups of ``conf/hydra``."""


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parses settings.

    Raises:
        ValueError: naming the one that cannot be read, and how to write it.
    """
    parser = OverridesParser.create()
    try:
        return parser.parse_overrides(list(overrides))
    except HydraException as error:
        for text in overrides:
            if problem := _misread(text):
                raise ValueError(problem) from error
        raise ValueError(str(error).splitlines()[0]) from error


def quoted(override: str) -> str | None:
    """Returns a setting with its value in quotes, ready to paste into a shell.

    Returns:
        ``None`` if it could not be read in quotes either.
    """
    key, _, value = override.partition("=")
    escaped = value.replace("'", "\\'")
    # Hydra reads a backslash as such, except before a quote.
    for inner in (escaped, escaped.replace("\\", "\\\\")):
        text = f"{key}='{inner}'"
        try:
            (read,) = OverridesParser.create().parse_overrides([text])
        except HydraException:
            continue
        if not read.is_sweep_override() and read.value() == value:
            is_plain = not set(text) & set('"$`\\!')
            return f'"{text}"' if is_plain else shlex.quote(text)
    return None


def values(override: Override) -> list[str]:
    """Returns the values of a setting as on the command line; of an interval its start."""
    value: Any = override.value()
    if isinstance(value, Glob):
        return [str(name) for name in value.filter(_names(override.key_or_group))]
    if not override.is_sweep_override():
        return [str(override.get_value_element_as_str())]
    if not override.is_discrete_sweep():
        return [str(value.start)]
    return [str(one) for one in override.sweep_string_iterator()]


def varies(override: Override) -> bool:
    """Whether a setting makes several jobs of a sweep."""
    return bool(override.is_sweep_override())


def with_values(override: Override) -> list[str]:
    """Returns a setting with each of its values; with its start, if that is an interval."""
    if not varies(override):
        return [str(override.input_line)]
    texts = [f"{override.get_key_element()}={value}" for value in values(override)]
    return texts or [str(override.input_line)]


def first(override: Override) -> str:
    """Returns a setting with the first of its values."""
    return with_values(override)[0]


def unknown_choice(override: Override) -> str | None:
    """Returns what is wrong with the file that a setting chooses in a configuration group.

    Returns:
        ``None`` if nothing is, or it chooses none.
    """
    group = override.key_or_group
    if override.is_delete() or not (conf_dir() / group).is_dir():
        return None
    known = _names(group)
    if isinstance(override.value(), Glob):
        return None if values(override) else f"{override.input_line}: nothing matches"
    if override.value() is None:
        return f"{override.input_line}: choose one of {', '.join(known)}"
    if not (override.is_sweep_override() or isinstance(override.value(), str)):
        return None  # a list of files
    is_hydras = group.startswith("hydra/")
    for text in values(override):
        name = text.strip("'\"").removesuffix(".yaml")
        if name not in known and not (is_hydras and name in _OF_HYDRA):
            return (
                f"{group}={name}: there is no {group} of this name{suggestion(name, known)}\n"
                f"There are: {', '.join(known)}"
            )
    return None


def suggestion(name: str, known: Sequence[str]) -> str:
    """Returns ``; did you mean ...?`` with the nearest of the known names, or nothing."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _names(group: str) -> list[str]:
    if group == "experiment":
        return list(list_experiments())
    return sorted(file.stem for file in (conf_dir() / group).glob("[!_]*.yaml"))


def _misread(text: str) -> str | None:
    """What is wrong with one setting; ``None`` if it can be read."""
    try:
        OverridesParser.create().parse_overrides([text])
    except HydraException as error:
        if "=" in text and (pasteable := quoted(text)):
            return f"{text}: Hydra cannot read this value; in quotes it can: {pasteable}"
        return f"{text}: {str(error).splitlines()[0]}"
    return None
