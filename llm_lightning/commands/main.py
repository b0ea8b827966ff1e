"""``python -m llm_lightning`` and ``llm-lightning``: sub-commands, help, or a run.

Nothing heavy is imported until there is something to run: the help should not wait for torch.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException
from rich.markup import escape

from llm_lightning.commands.startup import kept_objects
from llm_lightning.config.experiments import list_experiments
from llm_lightning.presentation.terminal import console, errors

COMMANDS = {
    "predict": "classify new texts with a run",
    "generate": "let a run follow an instruction",
    "judge": "have a second model score a run's responses",
    "report": "one page about many runs: which differences are real?",
    "export": "write a run's model for transformers, PEFT or llama.cpp",
}
"""Sub-commands: ``commands/<name>.py`` each, with a ``main(arguments) -> exit status``."""

# Hydra's options whose value may be a word of its own.
_TAKE_A_WORD = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-path", "-cp")
# With --config-dir a user brings experiments of their own, which only Hydra can look up.
_LEFT_TO_HYDRA = {"--config-dir", "-cd", "--hydra-help", "--version", "--info", "-i"}
_LEFT_TO_HYDRA |= {"--shell-completion", "-sc"}


def main(arguments: Sequence[str]) -> int:
    """Runs a command line; returns its exit status."""
    if arguments and arguments[0] in COMMANDS:
        with kept_objects():
            command = import_module(f"llm_lightning.commands.{arguments[0]}")
        return int(command.main(arguments[1:]))
    if not _LEFT_TO_HYDRA & {argument.split("=")[0] for argument in arguments}:
        asks_help = bool({"--help", "-h"} & set(arguments))
        experiments = list_experiments()
        problem = None if asks_help else experiment_problem(arguments, experiments)
        if asks_help or problem is not None:
            print_help(experiments, problem)
            return 0 if asks_help else 2
    with kept_objects():
        from llm_lightning.commands import train
    return train.main(arguments)


def print_help(experiments: dict[str, str], problem: str | None = None) -> None:
    """Lists experiments and commands.

    Args:
        experiments: name and description.
        problem: what was wrong with a command line; ``None`` if the list was asked for.
    """
    target = console if problem is None else errors
    if problem:
        target.print(f"[red]{escape(problem)}[/red]\n")
    target.print("Experiments: [bold]python -m llm_lightning +experiment=NAME[/bold]")
    _print_list(target, experiments)
    target.print("\nCommands: [bold]python -m llm_lightning NAME --help[/bold]")
    _print_list(target, COMMANDS)
    target.print(
        "\nExample: [bold]python -m llm_lightning +experiment=last_block optim.lr=1e-4[/bold]"
    )
    target.print("Add [bold]--cfg job[/bold] to see every setting, [bold]-m[/bold] to sweep.")


def _print_list(target: Any, entries: dict[str, str]) -> None:
    width = max(map(len, entries))
    for name, description in entries.items():
        target.print(f"  {name:<{width}}  {escape(description)}")


def experiment_problem(arguments: Sequence[str], experiments: dict[str, str]) -> str | None:
    """Returns what is wrong with the choice of experiment.

    Args:
        arguments: of the command line.
        experiments: that exist.

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
            meant = f"+experiment={word}" if word in experiments else "setting=value"
            return f"{word}: write {meant}"
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException:
        return None  # Hydra explains syntax better
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
                return f"+experiment: there is no experiment {', '.join(unknown)}"
        elif str(value) not in experiments:
            return f"+experiment={value}: there is no experiment of this name"
    return None
