"""``python -m llm_lightning`` and ``llm-lightning``: sub-commands, help, or a run.

Nothing heavy is imported until there is something to run: the help should not wait for torch.
"""

import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from rich.markup import escape

from llm_lightning.commands.failures import reported, without_debug
from llm_lightning.commands.startup import kept_objects
from llm_lightning.presentation.terminal import console, errors, facts_grid, print_error
from llm_lightning.run_format.redaction import without_secrets

COMMANDS = {
    "predict": "classify new texts with a run",
    "generate": "let a run follow an instruction",
    "judge": "have a second model score a run's responses",
    "evaluate": "benchmarks of lm-evaluation-harness on a run",
    "arena": "rate runs by blind votes on their responses",
    "init": "write a configuration for your own table",
    "tune": "search with as many trials for every row, then fresh seeds",
    "report": "one page about many runs: which differences are real?",
    "audit": "find label errors, near-duplicates, and what to label next",
    "export": "write a run's model for transformers, PEFT, ONNX or llama.cpp",
    "serve": "answer over HTTP with a run's model",
    "ui": "a page to watch and start runs, look at data, try, compare, vote",
}
"""Sub-commands: ``commands/<name>.py`` each, with a ``main(arguments) -> exit status``."""

# With --config-dir a user brings experiments of their own, which only Hydra can look up.
_LEFT_TO_HYDRA = {"--config-dir", "-cd", "--hydra-help", "--version", "--info", "-i"}
_LEFT_TO_HYDRA |= {"--shell-completion", "-sc"}


def main(arguments: Sequence[str]) -> int:
    """Runs a command line; returns its exit status, as :mod:`.failures` explains it."""
    arguments = without_debug(list(arguments))
    return reported(lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        with kept_objects():
            command = import_module(f"llm_lightning.commands.{arguments[0]}")
        return int(command.main(arguments[1:]))
    # Hydra, which reads settings, would hold up the other commands for a quarter of a second.
    from llm_lightning.commands.command_line import command_line_problem, only_settings
    from llm_lightning.config.experiments import list_experiments

    if not _LEFT_TO_HYDRA & {argument.split("=")[0] for argument in arguments}:
        asks_help = bool({"--help", "-h"} & set(arguments))
        experiments = list_experiments()
        if asks_help:
            print_help(experiments)
            return 0
        problem = command_line_problem(arguments, experiments, COMMANDS)
        if problem == "":
            print_help(experiments, is_error=True)
            return 2
        if problem is not None:
            print_error(
                f"{problem}\n`python -m llm_lightning --help` lists experiments and commands"
            )
            return 2
    if "torch" not in sys.modules and (overrides := only_settings(arguments)):
        print_beginning(overrides)
    with kept_objects():
        from llm_lightning.commands import train
    return train.main(arguments)


def print_beginning(overrides: Sequence[str]) -> None:
    """Says what will be run before seconds of imports, on standard error."""
    errors.print(
        f"loading PyTorch and Lightning for {escape(without_secrets(shlex.join(overrides)))}",
        soft_wrap=True,
    )


def print_help(experiments: dict[str, str], *, is_error: bool = False) -> None:
    """Lists experiments and commands.

    Args:
        experiments: name and description.
        is_error: whether the command line named no experiment.
    """
    target = errors if is_error else console
    target.print("Experiments: [bold]python -m llm_lightning +experiment=NAME[/bold]")
    _print_list(target, experiments)
    target.print("\nCommands: [bold]python -m llm_lightning NAME --help[/bold]")
    _print_list(target, COMMANDS)
    target.print(
        "\nExample: [bold]python -m llm_lightning +experiment=last_block optim.lr=1e-4[/bold]"
    )
    target.print(
        "Add [bold]--cfg job[/bold] to see every setting, [bold]-m[/bold] to sweep, "
        "[bold]--debug[/bold] to see where an error was raised."
    )


def _print_list(target: Any, entries: dict[str, str]) -> None:
    grid = facts_grid()
    for name, description in entries.items():
        grid.add_row(f"  {name}", escape(description))
    target.print(grid)
