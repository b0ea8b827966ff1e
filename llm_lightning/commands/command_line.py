"""What is wrong with a command line, found before Hydra and torch are imported for a run."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException

# Hydra's options whose value may be a word of its own.
_TAKE_A_WORD = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-path", "-cp")
_MULTIRUN = {"-m", "--multirun"}

ALLOW_DOWNLOAD = "fetch the run's base from the Hub if it is not on this machine"
"""Help of ``--allow-download``, of every command that loads a run's model."""


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
    overrides = [
        argument
        for argument, before in zip(arguments, ["", *arguments], strict=False)
        if not argument.startswith("-") and before not in _TAKE_A_WORD
    ]
    for word in overrides:
        if "=" not in word and not word.startswith("~"):
            return _stray_word(word, experiments, commands)
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException:
        return None  # Hydra explains syntax better
    for override in parsed:
        key = override.key_or_group
        if key == "run_dir":
            return "run_dir follows from runs_dir, the command and the seed: set runs_dir"
        if key == "runs_dir" and not override.is_sweep_override() and not override.value():
            return "runs_dir is empty: name a folder, such as runs_dir=runs"
        if override.is_sweep_override() and not _MULTIRUN & set(arguments):
            return f"{override.input_line}: several values make a sweep, which needs -m"
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
                suggestion = _suggestion(unknown[0], experiments)
                return f"+experiment: there is no experiment {', '.join(unknown)}{suggestion}"
        elif str(value) not in experiments:
            suggestion = _suggestion(str(value), experiments)
            return f"+experiment={value}: there is no experiment of this name{suggestion}"
    return None


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


def _suggestion(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
