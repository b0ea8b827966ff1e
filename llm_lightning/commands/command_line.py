"""What is wrong with a command line, found before Hydra and torch are imported for a run."""

import os
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException

from llm_lightning.config.overrides import parse, quoted, suggestion, unknown_choice

# Hydra's options whose value may be a word of its own.
_TAKE_A_WORD = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-path", "-cp")
MULTIRUN = {"-m", "--multirun"}
"""Options that make a sweep."""


def command_line_problem(
    arguments: Sequence[str], experiments: Collection[str], commands: Collection[str]
) -> str | None:
    """Returns what is wrong with the command line of a run.

    Args:
        arguments: of the command line.
        experiments: that exist.
        commands: that exist.

    Returns:
        ``None`` if nothing is wrong, ``""`` if no experiment is chosen at all.
    """
    overrides = overrides_of(arguments)
    for word in overrides:
        if "=" not in word and not word.startswith("~"):
            return _stray_word(word, experiments, commands)
        if (problem := _tilde_problem(word)) is not None:
            return problem
    try:
        parsed = parse(overrides)
    except ValueError as error:
        return str(error)
    for override in parsed:
        key = override.key_or_group
        if key == "run_dir":
            return "run_dir follows from runs_dir, the command and the seed: set runs_dir"
        is_folder = key == "runs_dir" and not override.is_sweep_override()
        if is_folder and (problem := _runs_dir_problem(override.value())):
            return problem
        if override.is_sweep_override() and not MULTIRUN & set(arguments):
            one = quoted(str(override.input_line))
            hint = f"; if it is one value, quote it: {one}" if one else ""
            return f"{override.input_line}: several values make a sweep, which needs -m{hint}"
    chosen = [override for override in parsed if override.key_or_group == "experiment"]
    if not chosen:
        return ""
    for override in chosen:
        if not override.is_add():
            return f"write +{override.input_line}, with a plus sign"
        value: Any = override.value()
        if isinstance(value, Glob):
            if not value.filter(list(experiments)):
                return f"{override.input_line}: no experiment matches"
        elif override.is_sweep_override():
            names = [str(name) for name in override.sweep_string_iterator()]
            if unknown := [name for name in names if name not in experiments]:
                hint = suggestion(unknown[0], list(experiments))
                return f"+experiment: there is no experiment {', '.join(unknown)}{hint}"
        elif str(value) not in experiments:
            hint = suggestion(str(value), list(experiments))
            return f"+experiment={value}: there is no experiment of this name{hint}"
    problems = (unknown_choice(one) for one in parsed if one.key_or_group != "experiment")
    return next((problem for problem in problems if problem), None)


def overrides_of(arguments: Sequence[str]) -> list[str]:
    """Returns the settings on a command line, without options and their values."""
    return [
        argument
        for argument, before in zip(arguments, ["", *arguments], strict=False)
        if not argument.startswith("-") and before not in _TAKE_A_WORD
    ]


def only_settings(arguments: Sequence[str]) -> list[str]:
    """Returns the settings on a command line without other options than ``-m``; else nothing.

    Other options are Hydra's, such as ``--cfg``, which shows a configuration and runs nothing.
    """
    overrides = overrides_of(arguments)
    is_run = all(argument in overrides or argument in MULTIRUN for argument in arguments)
    return overrides if is_run else []


def _runs_dir_problem(value: Any) -> str | None:
    """What is wrong with the folder of all runs, whatever is on the disk."""
    text = str(value).strip() if value is not None else ""
    if not text or text == "/":  # as from runs_dir=$UNSET or runs_dir=$UNSET/
        shown = "empty" if not text else "the root of the file system"
        return f"runs_dir is {shown}: name a folder, such as runs_dir=runs"
    return _tilde_problem(f"runs_dir={text}")


def _tilde_problem(word: str) -> str | None:
    """What is wrong with a path that begins with ``~``, which shells leave as it is here."""
    key, _, path = word.partition("=")
    if not path.startswith("~"):
        return None
    whole = os.path.expanduser(path)
    if whole == path:
        return f"{word}: there is no such user, or no home folder; write the whole path"
    return f"{word}: the shell did not replace ~; write {key}={whole}"


def dry_run_is_set(arguments: Sequence[str]) -> bool:
    """Returns whether a command line sets ``dry_run`` to a value that is true."""
    try:
        given = [argument for argument in arguments if "dry_run=" in argument]
        parsed = OverridesParser.create().parse_overrides(given)
    except HydraException:
        return False  # Hydra explains syntax better
    true = {"true", "yes", "on", "1", "y"}  # what OmegaConf takes for true
    return any(
        override.key_or_group == "dry_run" and str(override.value()).lower() in true
        for override in parsed
    )


def _stray_word(word: str, experiments: Collection[str], commands: Collection[str]) -> str:
    if word in experiments:
        return f"{word}: write +experiment={word}"
    if close := get_close_matches(word, [*commands, *experiments], n=1):
        meant = close[0] if close[0] in commands else f"+experiment={close[0]}"
        return f"{word}: there is no such command; did you mean {meant}?"
    return (
        f"{word}: there is no such command; a setting is written as setting=value, without blanks"
    )
