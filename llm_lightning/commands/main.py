"""``python -m llm_lightning``: answers what is no run, and hands runs to Hydra.

Nothing heavy is imported until there is something to run: the list of experiments should not wait
for torch.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException

from llm_lightning.commands.startup import kept_objects
from llm_lightning.presentation import console

_TAKE_A_WORD = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-path", "-cp")
"""Hydra's options whose value may be a word of its own."""


def main() -> None:
    """Entry point of the command."""
    arguments = sys.argv[1:]
    # With --config-dir a user brings experiments of their own, which only Hydra can look up.
    hydras = {"--config-dir", "-cd", "--hydra-help", "--version", "--info", "-i"}
    if not hydras & {argument.split("=")[0] for argument in arguments}:
        asks_help = bool({"--help", "-h"} & set(arguments))
        problem = None if asks_help else _experiment_problem(arguments, list_experiments())
        if asks_help or problem is not None:
            console.print_experiments(list_experiments(), problem)
            sys.exit(0 if asks_help else 2)

    with kept_objects():
        from llm_lightning.config import root as config
        from llm_lightning.runs.run import run

    config.register()
    run_one = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(run)
    with tempfile.TemporaryDirectory() as scratch:
        if any(re.fullmatch(r"\+{0,2}dry_run=(true|yes|on|1)", a, re.I) for a in arguments):
            # Hydra makes the folders of runs, and searches write theirs, whatever the runs do.
            sys.argv += [f"hydra.run.dir='{scratch}/run'", f"hydra.sweep.dir='{scratch}'"]
            sys.argv += ["hydra/hydra_logging=none"]
        run_one()


def conf_dir() -> Path:
    """Returns the folder of YAML files: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def list_experiments() -> dict[str, str]:
    """Returns each experiment's name and the one line that says what it is."""
    experiments = {}
    for file in sorted((conf_dir() / "experiment").glob("[!_]*.yaml")):
        comments = [line for line in file.read_text().splitlines() if line.startswith("# ")]
        experiments[file.stem] = comments[1].removeprefix("# ")  # after the package line
    return experiments


def _experiment_problem(arguments: Sequence[str], experiments: dict[str, str]) -> str | None:
    """Says what is wrong with the choice of experiment: ``""`` if there is none at all."""
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
